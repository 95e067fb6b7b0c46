"""Replay speed and fills beside hftbacktest: the same stream, strategy, latencies and queue models.

Both replay one generated market: several million level changes and trades. The strategy wakes on a fixed
clock and quotes the mid -+ a half spread, rounded outward, one post-only order of fixed size a side inside
an inventory cap; an order at the right price is left alone, any other is cancelled and placed again.
hftbacktest runs its own compiled strategy on the faster of its two books. Runs alternate and the best of
`--repeats` counts; compilation and loading are left out of both. The last line printed is one JSON object:
the figures at the first pace of `--events-per-second`, and the ratio at each.

Sizes of the stream are whole contracts and the order size is not: hftbacktest keeps an order whose fill
equals its remainder exactly on its book and fails at the next trade there. Its local position leaves out
partial fills, so position and volume are summed over its orders here.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import hftbacktest as hbt
import numba
import numpy as np
import numpy.typing as npt
from hftbacktest.order import CANCELED, EXPIRED, FILLED
from hftbacktest.types import event_dtype

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import replay
from pr3dict.kernels.flow import CONTRACT, DRAWN, FLOW, HOUR_NS, generate
from pr3dict.kernels.messages import ERRORS
from pr3dict.kernels.world import World, make_grids, new_market, new_world

TICK = 100  # price units: one cent
PRICES = np.arange(TICK, 10_000, TICK, dtype=np.int32)
START_NS = 1_790_000_000_000_000_000
FEED_NS = 20_000_000
ENTRY_NS = 15_000_000
RESPONSE_NS = 10_000_000
INTERVAL_NS = 100_000_000
HALF_SPREAD = 0.015
ORDER_CONTRACTS = 10.5
CAP_CONTRACTS = 525.0
BUSY_EVENTS_PER_S = 61.0  # what the rates below make; busy recorded markets have 10 to 100


BOOKS = ("roi_vector", "hash_map")


class Outcome(NamedTuple):
    """One run: how long it took and what was filled (contracts)."""

    seconds: float
    fills: int  # orders with at least one fill
    position: float
    traded: float


OFF = (  # parts of the generator that this stream does without
    "settle_delay_ns", "resolve", "rung_slope", "rung_curve", "pull", "depth_inside", "depth_follow",
    "news_tail", "alert", "herding", "rung_first", "rung_hump", "rung_hump_at", "rung_trim",
    "retreat_rate", "depth_leave", "noise_thrift", "depth_size_sigma", "retreat_reach", "return_rate",
)  # fmt: skip


def make_stream(count: int, seed: int, events_per_s: float) -> d.Array:
    """About `count` EVENT rows of one market that does not end."""
    p = np.zeros(1, FLOW)
    hours = count / events_per_s / 3_600
    pace = events_per_s / BUSY_EVENTS_PER_S
    fields: dict[str, float] = {
        "open_ns": START_NS,
        "duration_ns": int(hours * HOUR_NS),
        "feed_latency_ns": FEED_NS,
        "p0": 0.5,
        "outcome": DRAWN,
        "volatility": 0.8 / hours**0.5,
        "resolve_floor_ns": HOUR_NS,
        "news_rate": 6.0 / hours,
        "news_size": 0.15,
        "makers": 6,
        "levels": 8,
        "level_step": TICK,
        "half_spread": 60,
        "maker_size": 120 * CONTRACT,
        "refresh_rate": 6_000.0 * pace,
        "view_weight": 0.6,
        "view_noise": 0.015,
        "noise_rate": 12_000.0 * pace,
        "noise_size": 25 * CONTRACT,
        "noise_size_sigma": 1.2,
        "noise_buy": 0.5,
        "max_sweep": 400,
        "informed_rate": 4_000.0 * pace,
        "informed_size": 80 * CONTRACT,
        "informed_edge": 60,
        "depth_rate": 120_000.0 * pace,
        "depth_size": 60 * CONTRACT,
        "depth_limit": 4_000 * CONTRACT,
        "clustering": 0.5,
        "clustering_decay": 7_200.0 * pace,
        "maker_step": 0.25,
        "depth_reach": 2.0,
        "informed_size_sigma": 0.5,
        "herd_memory": 1.0,
        **dict.fromkeys(OFF, 0.0),
    }
    for name in FLOW.names or ():  # all of them: a field that was forgotten would be 0
        p[0][name] = fields[name]
    out: d.Array = np.zeros(0, d.EVENT)
    out = np.zeros(generate(out, p, seed, PRICES), d.EVENT)
    generate(out, p, seed, PRICES)
    return out[: len(out) - 2]  # neither closes nor settles


def to_hftbacktest(events: d.Array) -> npt.NDArray[Any]:
    """The level changes and trades of `events` as hftbacktest's event array."""
    rows = events[np.isin(events["kind"], (d.LEVEL, d.TRADE, d.SNAPSHOT))]
    out = np.zeros(len(rows), event_dtype)
    kind = np.where(rows["kind"] == d.TRADE, hbt.TRADE_EVENT, hbt.DEPTH_EVENT)
    side = np.where(rows["side"] == d.BID, hbt.BUY_EVENT, hbt.SELL_EVENT)
    out["ev"] = kind | side | hbt.EXCH_EVENT | hbt.LOCAL_EVENT
    out["exch_ts"] = rows["exch_ns"]
    out["local_ts"] = rows["local_ns"]
    out["px"] = rows["price"] / 10_000
    out["qty"] = rows["qty"] / CONTRACT
    return out


@numba.njit
def hft_strategy(h: Any, interval_ns: int, half: float, size: float, cap: float) -> tuple[int, float, float]:
    """The fixed-spread strategy; returns orders filled, position and contracts traded.

    One pass over the orders: of each side at most one is neither on its way out nor in a request.
    """
    fills = 0
    settled_position = 0.0  # of orders that are gone
    settled_traded = 0.0
    position = 0.0
    traded = 0.0
    order_id = 0
    tick = h.depth(0).tick_size
    half_ticks = half / tick
    top = round(1.0 / tick) - 1
    while h.elapse(interval_ns) == 0:
        position = settled_position
        traded = settled_traded
        bid_id = ask_id = -1
        bid_at = ask_at = 0
        open_bid = open_ask = 0.0
        gone = False
        orders = h.orders(0).values()
        while orders.has_next():
            order = orders.get()
            status = order.status
            done = order.qty - order.leaves_qty
            sign = 1.0 if order.side == hbt.BUY else -1.0
            position += sign * done
            traded += done
            if status in (FILLED, CANCELED, EXPIRED):
                gone = True
                settled_position += sign * done
                settled_traded += done
                fills += 1 if done > 0.0 else 0
            elif sign > 0.0:
                open_bid += order.leaves_qty
                if order.req == hbt.NONE:
                    bid_id, bid_at = order.order_id, order.price_tick
            else:
                open_ask += order.leaves_qty
                if order.req == hbt.NONE:
                    ask_id, ask_at = order.order_id, order.price_tick
        if gone:
            h.clear_inactive_orders(0)
        depth = h.depth(0)
        best_bid = depth.best_bid_tick
        best_ask = depth.best_ask_tick
        bid = ask = 0
        if 0 < best_bid < best_ask <= top:
            middle = 0.5 * (best_bid + best_ask)
            bid = max(int(np.floor(middle - half_ticks + 1e-9)), 0)
            ask = int(np.ceil(middle + half_ticks - 1e-9))
        wants_bid = bid > 0 and position < cap
        wants_ask = 0 < ask <= top and position > -cap
        keep_bid = bid_id >= 0 and wants_bid and bid_at == bid
        keep_ask = ask_id >= 0 and wants_ask and ask_at == ask
        if bid_id >= 0 and not keep_bid:
            h.cancel(0, bid_id, False)
        if ask_id >= 0 and not keep_ask:
            h.cancel(0, ask_id, False)
        bid_size = min(size, cap - position - open_bid)
        ask_size = min(size, cap + position - open_ask)
        if wants_bid and not keep_bid and bid_size > 1e-9:
            h.submit_buy_order(0, order_id, bid * tick, bid_size, hbt.GTX, hbt.LIMIT, False)
        if wants_ask and not keep_ask and ask_size > 1e-9:
            h.submit_sell_order(0, order_id + 1, ask * tick, ask_size, hbt.GTX, hbt.LIMIT, False)
        order_id += 2
    return fills, position, traded


QUEUES: dict[str, tuple[int, float, Callable[[Any], Any]]] = {
    "risk_averse": (d.QUEUE_RISK_AVERSE, 0.0, lambda asset: asset.risk_adverse_queue_model()),
    "power3": (d.QUEUE_POWER3, 3.0, lambda asset: asset.power_prob_queue_model3(3.0)),
}


def run_hftbacktest(data: npt.NDArray[Any], queue: str, book: str) -> Outcome:
    """One run of hftbacktest over `data`."""
    asset = (
        hbt.BacktestAsset()
        .data(data)
        .linear_asset(1.0)
        .constant_order_latency(ENTRY_NS, RESPONSE_NS)
        .partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(0.01)
        .lot_size(1e-6)
        .last_trades_capacity(0)
    )
    asset = QUEUES[queue][2](asset)
    if book == "roi_vector":
        backtest = hbt.ROIVectorMarketDepthBacktest([asset.roi_lb(0.0).roi_ub(1.0)])
    else:
        backtest = hbt.HashMapMarketDepthBacktest([asset])
    started = time.perf_counter()
    fills, position, traded = hft_strategy(backtest, INTERVAL_NS, HALF_SPREAD, ORDER_CONTRACTS, CAP_CONTRACTS)
    seconds = time.perf_counter() - started
    backtest.close()
    return Outcome(seconds, fills, position, traded)


def to_replay(events: d.Array) -> d.Array:
    """The same rows for our replay: a first snapshot is so many level changes of an empty book."""
    rows = events.copy()
    rows["kind"][rows["kind"] == d.SNAPSHOT] = d.LEVEL
    return rows


def new_replay(queue: str) -> World:
    """A world of one market under the fixed-spread policy, without fees or limits that the peer lacks."""
    params = np.zeros(1, d.PARAMS)
    p = params[0]
    p.policy = d.POLICY_FIXED_SPREAD
    p.fair_model = d.FAIR_MID
    p.fixed_half_spread_micros = round(HALF_SPREAD * 1_000_000)
    p.decision_interval_ns = INTERVAL_NS
    p.quote_size = round(ORDER_CONTRACTS * CONTRACT)
    p.max_order_size = p.quote_size
    p.max_inventory = round(CAP_CONTRACTS * CONTRACT)
    p.max_position_size = 2 * p.max_inventory
    p.price_band_micros = 1_000_000
    p.levels = 1
    p.max_quote_age_ns = 1 << 62
    markets = new_market()
    markets["nets_positions"] = 1
    markets["lot"] = 1
    markets["min_size"] = 1
    markets["status"] = d.ACTIVE
    rules = np.zeros(1, d.RULES)
    model, power, _ = QUEUES[queue]
    rules[0].queue = model
    rules[0].queue_power = power
    rules[0].entry_ns = ENTRY_NS
    rules[0].response_ns = RESPONSE_NS
    rules[0].max_heat_ppm = 1_000_000
    rules[0].curve_interval_ns = HOUR_NS
    return new_world(
        make_grids([PRICES.tolist()]),
        params,
        np.zeros(1, d.FEE),
        markets,
        grid_of_market=[0],
        rules=rules,
        cash_micros=10**15,
        fill_capacity=1 << 20,
        curve_capacity=1 << 16,
    )


def run_ours(events: d.Array, queue: str) -> Outcome:
    """One run of our replay over `events`."""
    world = new_replay(queue)
    started = time.perf_counter()
    done = replay.run(world, events, len(events))
    seconds = time.perf_counter() - started
    if not done or world.account[0].error:
        raise SystemExit(
            f"the replay stopped: {ERRORS[world.account[0].error] or 'not all events were used'}"
        )
    held = world.holdings[0]
    position = (int(held.yes_contracts) - int(held.no_contracts)) / CONTRACT
    stats = world.stats[0]
    return Outcome(seconds, int(stats.orders_filled), position, int(stats.contracts_filled) / CONTRACT)


def best(run: Callable[[], Outcome], so_far: Outcome | None) -> Outcome:
    """The faster of a new run and the best one before it."""
    gc.collect()
    outcome = run()
    return outcome if so_far is None or outcome.seconds < so_far.seconds else so_far


def compare(events: d.Array, repeats: int, books: Sequence[str]) -> dict[str, Any]:
    """Alternate both replays for each queue model and put the results side by side."""
    theirs_in = to_hftbacktest(events)
    ours_in = to_replay(events)
    for queue in QUEUES:  # compile and load
        run_ours(ours_in[:2_000], queue)
        for book in books:
            run_hftbacktest(theirs_in[:2_000], queue, book)
    models: dict[str, Any] = {}
    for queue in QUEUES:
        ours: Outcome | None = None
        peers: dict[str, Outcome | None] = dict.fromkeys(books)
        for _ in range(repeats):
            ours = best(partial(run_ours, ours_in, queue), ours)
            for book in books:
                peers[book] = best(partial(run_hftbacktest, theirs_in, queue, book), peers[book])
        assert ours is not None
        theirs, fastest = min((run, book) for book, run in peers.items() if run is not None)
        models[queue] = {
            "ours_events_per_s": round(len(ours_in) / ours.seconds),
            "hftbacktest_events_per_s": round(len(theirs_in) / theirs.seconds),
            "hftbacktest_book": fastest,
            "ratio": round(theirs.seconds / ours.seconds * len(ours_in) / len(theirs_in), 2),
            "ours_fills": ours.fills,
            "hftbacktest_fills": theirs.fills,
            "fills_ratio": round(ours.fills / max(1, theirs.fills), 4),
            "ours_final_position": ours.position,
            "hftbacktest_final_position": round(theirs.position, 6),
            "ours_traded": ours.traded,
            "hftbacktest_traded": round(theirs.traded, 6),
            "position_diff_share_of_volume": round(
                abs(ours.position - theirs.position) / max(1.0, theirs.traded), 6
            ),
        }
    slowest = min(models.values(), key=lambda model: float(model["ratio"]))
    return {
        "events": len(theirs_in),
        "ours_events_per_s": slowest["ours_events_per_s"],
        "hftbacktest_events_per_s": slowest["hftbacktest_events_per_s"],
        "ratio": slowest["ratio"],
        "models": models,
    }


def main() -> None:
    """Print the comparison as one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=3_000_000, help="about how many events to replay")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--events-per-second",
        type=float,
        nargs="+",
        default=[5.0, 20.0, 60.0],
        help="paces of the generated market; the first is the headline",
    )
    parser.add_argument("--book", choices=["fastest", *BOOKS], default="fastest", help="hftbacktest's book")
    arguments = parser.parse_args()
    books = BOOKS if arguments.book == "fastest" else (arguments.book,)
    by_pace: dict[str, Any] = {}
    for pace in arguments.events_per_second:
        stream = make_stream(arguments.events, arguments.seed, pace)
        by_pace[f"{pace:g}"] = compare(stream, arguments.repeats, books)
    headline = f"{arguments.events_per_second[0]:g}"
    ratios = {pace: result["ratio"] for pace, result in by_pace.items()}
    print(json.dumps({"events_per_second": headline, **by_pace[headline], "ratio_by_pace": ratios}))


if __name__ == "__main__":
    main()
