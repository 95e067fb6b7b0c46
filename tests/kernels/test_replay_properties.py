"""The replay with the real policy on generated recordings: two clocks, latency, chunks, limits, agreement."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from pr3dict.domain.fees import FeeTerms, Formula
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import exchange_reference as ref
from pr3dict.kernels.replay import run
from pr3dict.kernels.world import FIELDS, make_grids, new_market, new_world
from pr3dict.strategies.presets import build_config

CONTRACT = 1_000_000
MS = 1_000_000
SECOND = 1_000 * MS
OPEN = 1_700_000_000 * SECOND
GRIDS = (tuple(range(100, 10_000, 100)), tuple(range(50, 10_000, 50)))
MAPS = make_grids(GRIDS)
MARKETS = 3  # 0 and 1 net positions and exclude each other, 2 holds tokens apart
ALL = 1 << 40
FEED, ENTRY, RESPONSE = 30 * MS, 20 * MS, 25 * MS


# --- generated recordings -------------------------------------------------------------------------------


class Recorder:
    """Writes a random but consistent recording: trades come before their levels, only `wild` books cross."""

    def __init__(self, seed, *, rare, wild):
        self.rng = random.Random(seed)
        self.rows = []
        self.now = OPEN
        self.books = [({}, {}) for _ in range(MARKETS)]
        self.grid = [0] * MARKETS
        self.fair = [self.rng.randrange(3_000, 7_000) for _ in range(MARKETS)]
        self.rare, self.wild = rare, wild

    def write(self, m, kind, side=0, price=0, qty=0, aux=0):
        self.rows.append((self.now, m, kind, side, price, qty, aux))

    def level(self, m, side, price, size):
        book = self.books[m]
        crossed = [p for p in book[1 - side] if (p <= price if side == d.BID else p >= price)]
        if size == 0 or (self.wild and self.rng.random() < 0.3):
            crossed = []
        for other in crossed:
            self.write(m, d.LEVEL, 1 - side, other, 0)
            del book[1 - side][other]
        self.write(m, d.LEVEL, side, price, size)
        book[side][price] = size
        if size == 0:
            del book[side][price]

    def take(self, m, taker, size):
        resting = self.books[m][1 - taker]
        while size > 0 and resting:
            price = min(resting) if taker == d.BID else max(resting)
            traded = min(size, resting[price])
            self.write(m, d.TRADE, taker, price, traded)
            self.level(m, 1 - taker, price, resting[price] - traded)
            size -= traded

    def step(self):
        rng = self.rng
        self.now += rng.choice([0, 1, 5 * MS, 20 * MS, 200 * MS, 3 * SECOND])
        m = rng.randrange(MARKETS)
        self.fair[m] = min(max(self.fair[m] + rng.choice([-60, -20, 0, 20, 60]), 1_000), 9_000)
        kind = rng.random()
        if kind < 0.62:
            side = rng.randrange(2)
            away = rng.choice([-200, -50, 50, 100, 200] if self.wild else [100, 150, 250, 400, 700])
            price = self.fair[m] + (away if side == d.ASK else -away)
            price = price // 100 * 100 if self.grid[m] == 0 else price // 50 * 50
            size = rng.choice([0, 5, 40, 200]) * CONTRACT + rng.choice([0, 500_000])
            if size > 0 or price in self.books[m][side]:
                self.level(m, side, price, size)
        elif kind < 0.97 or not self.rare:
            self.take(m, rng.randrange(2), rng.choice([1, 8, 30, 300]) * CONTRACT)
        elif kind < 0.985:
            self.write(m, d.STATUS, aux=rng.choice([d.PAUSED, d.POST_ONLY_MODE, d.RESTARTING]))
            self.now += 100 * MS
            self.write(m, d.STATUS, aux=d.ACTIVE)
        elif self.grid[m] == 0:  # only ever finer, as prices near the ends ask for
            self.write(m, d.TICK, aux=1)
            self.grid[m] = 1
        else:
            self.write(m, d.NEWS, qty=2 * SECOND, aux=rng.choice([d.NEWS_WIDEN, d.NEWS_PULL]))

    def settle(self):
        for m in range(MARKETS):
            self.now += 10 * MS
            self.write(m, d.SETTLE, qty=1_000_000 if m == 1 else 0)
        self.now += 60 * SECOND
        self.write(0, d.TRADE, d.BID, 5_000, CONTRACT)  # one more event, so that all reports arrive


def recording(seed, steps=400, *, feed_ns=FEED, rare=True, settle=True, wild=False):
    """EVENT rows; what we see comes `feed_ns` and up to as much again later. A `wild` one crosses."""
    recorder = Recorder(seed, rare=rare, wild=wild)
    for m in range(MARKETS):
        for side in (d.BID, d.ASK):
            sign = 1 if side == d.ASK else -1
            for away in (150, 300):
                recorder.level(m, side, (recorder.fair[m] + sign * away) // 100 * 100, 60 * CONTRACT)
    for _ in range(steps):
        recorder.step()
    if settle:
        recorder.settle()
    events = np.zeros(len(recorder.rows), d.EVENT)
    for row, (at, m, kind, side, price, qty, aux) in zip(events, recorder.rows, strict=True):
        row["exch_ns"], row["market"], row["kind"], row["side"] = at, m, kind, side
        row["price"], row["qty"], row["aux"] = price, qty, aux
    jitter = np.random.default_rng(seed).integers(0, feed_ns + 1, len(events))
    events["local_ns"] = np.maximum.accumulate(events["exch_ns"] + feed_ns + jitter)
    return events


def new_params():
    settings = {"preset": "short_dated", "levels": 5, "quote_size": 12, "max_inventory": 60}
    params = np.repeat(build_config(file_settings=settings).to_params(), MARKETS)
    params["min_liquidity_micros"] = params["min_existing_spread_micros"] = 0
    params["target_inventory"] = [0, 5 * CONTRACT, 0]
    return params


def fresh_world(*, entry=ENTRY, response=RESPONSE, queue=d.QUEUE_POWER3, params=None, cash=2_000 * CONTRACT):
    rows = new_market(MARKETS)
    rows["nets_positions"], rows["reduce_in_place"], rows["status"] = [1, 1, 0], [1, 1, 0], d.ACTIVE
    rows["event"] = [0, 0, -1]
    rows["min_size"], rows["lot"] = CONTRACT, [CONTRACT, CONTRACT, 10_000]
    # The last one nears its end within the recording, so that it exits by taking.
    rows["close_ns"] = rows["resolution_ns"] = [OPEN + s * SECOND for s in (1_500, 1_500, 150)]
    fees = np.zeros(MARKETS, d.FEE)
    fees["kind"] = [d.FEE_KALSHI, d.FEE_KALSHI, d.FEE_POLYMARKET]
    fees["taker_ppm"], fees["maker_ppm"] = 70_000, [17_500, 17_500, 0]
    fees["rebate_ppm"], fees["unit_micros"] = [0, 0, 200_000], 100
    fees["trade_unit_micros"], fees["rebate_unit_micros"] = 1, 100
    rules = np.zeros(1, d.RULES)
    rules["queue"], rules["queue_power"] = queue, 2.0
    rules["entry_ns"], rules["response_ns"] = entry, response
    rules["order_rate"], rules["order_burst"] = 30.0, 20.0
    rules["max_heat_ppm"], rules["curve_interval_ns"] = 250_000, 10 * SECOND
    rules["merge_threshold"] = 5 * CONTRACT
    return new_world(
        MAPS, new_params() if params is None else params, fees, rows, grid_of_market=[0] * MARKETS,
        rules=rules, cash_micros=cash, fill_capacity=20_000, curve_capacity=1_000,
    )  # fmt: skip


def replayed(events, **how):
    world = fresh_world(**how)
    assert run(world, events, ALL)
    assert int(world.account[0]["error"]) == 0
    return world


def arrays(world):
    """Every array of a world by name, but for the grids."""
    return {name: getattr(world, name) for name in FIELDS if name != "grids"}


def digest(world):
    joined = hashlib.sha256()
    for name, array in arrays(world).items():
        joined.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return joined.hexdigest()


def messages(world, entry=ENTRY):
    """All that we ever sent, as (when it was sent, what)."""
    rows = world.outbox[: int(world.clock[0]["outbox_tail"])]
    assert len(rows) < len(world.outbox), "the ring has turned over"
    fields = ("kind", "market", "slot", "id", "qty", "price", "side", "tif", "leg")
    return [(int(row["at_ns"]) - entry, *(int(row[name]) for name in fields)) for row in rows]


def fills(world):
    return world.fills[: int(world.clock[0]["fill_count"])]


# --- one run, any way -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_in_chunks_or_in_one_go(seed):
    events = recording(seed)
    whole = replayed(events)
    assert len(fills(whole)) > 20 and len(messages(whole)) > 100, "the recording is alive"
    rng = random.Random(seed)
    parts = fresh_world()
    while not run(parts, events, rng.choice([1, 2, 7, 60])):
        pass
    for name, array in arrays(whole).items():
        assert array.tobytes() == getattr(parts, name).tobytes(), f"{name} differs"


NO_JIT = """
import importlib.util, sys, numba
assert numba.config.DISABLE_JIT
spec = importlib.util.spec_from_file_location("properties", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.digest(module.replayed(module.recording(11, 160))))
"""


def test_plain_python_gives_the_same_bytes():
    events = recording(11, 160)
    world = replayed(events)
    assert len(fills(world)) > 3
    answer = subprocess.run(
        [sys.executable, "-c", NO_JIT, __file__], env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == digest(world)


@pytest.mark.parametrize("queue", [d.QUEUE_RISK_AVERSE, d.QUEUE_LOG])
def test_the_same_input_gives_the_same_bytes(queue):
    events = recording(5, 200)
    assert digest(replayed(events, queue=queue)) == digest(replayed(events, queue=queue))


# --- against the slow reference -------------------------------------------------------------------------

KALSHI = FeeTerms(
    formula=Formula.KALSHI,
    taker_ppm=70_000,
    maker_ppm=17_500,
    balance_unit_micros=100,
    rebate_unit_micros=100,
)
POLYMARKET = FeeTerms(
    formula=Formula.POLYMARKET, taker_ppm=70_000, rebate_ppm=200_000, trade_fee_unit_micros=10
)


SUMS = ("skew_sum", "quoted_spread_sum")  # floats: nanoseconds times contracts pass 2^53


def tell(exchange, event):
    """Let the reference meet one event of the recording."""
    at, m, kind = int(event["exch_ns"]), int(event["market"]), int(event["kind"])
    side, price, qty, aux = (int(event[name]) for name in ("side", "price", "qty", "aux"))
    if kind == d.LEVEL:
        exchange.level(at, m, side, price, qty)
    elif kind == d.TRADE:
        exchange.trade(at, m, side, price, qty)
    elif kind == d.STATUS:
        exchange.status(at, m, aux)
    elif kind == d.TICK:
        exchange.tick(at, m, aux)
    elif kind == d.SETTLE:
        exchange.settle(at, m, qty, refund=False)


def deliver(exchange, row):
    """Let one of our messages reach the reference."""
    at, kind, m, slot, order_id, qty = (
        int(row[name]) for name in ("at_ns", "kind", "market", "slot", "id", "qty")
    )
    if kind == d.CANCEL:
        exchange.cancel(at, m, slot, order_id)
    elif kind == d.REDUCE:
        exchange.reduce(at, m, slot, order_id, qty)
    else:
        side, leg, price = int(row["side"]), int(row["leg"]), int(row["price"])
        order = ref.Own(order_id, slot, side, leg, price, qty, qty, int(row["expiry_ns"]))
        exchange.new(at, m, order, int(row["tif"]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("queue", "wild"), [(d.QUEUE_RISK_AVERSE, True), (d.QUEUE_POWER3, False)])
def test_the_whole_replay_equals_the_reference(seed, queue, wild):
    events = recording(seed, wild=wild)
    world = replayed(events, queue=queue)
    markets = [ref.Market(0, m < 2, CONTRACT, (KALSHI, KALSHI, POLYMARKET)[m]) for m in range(MARKETS)]
    exchange = ref.Exchange(
        GRIDS, markets, cash_micros=2_000 * CONTRACT, queue=queue, power=2.0, response_ns=RESPONSE,
        merge_threshold=5 * CONTRACT, order_rate=30.0, order_burst=20.0,
        rebalance_threshold=int(world.params["rebalance_threshold"][0]),
    )  # fmt: skip
    i = 0
    for row in world.outbox[: int(world.clock[0]["outbox_head"])]:
        while i < len(events) and events["exch_ns"][i] <= row["at_ns"]:
            tell(exchange, events[i])
            i += 1
        deliver(exchange, row)
    for event in events[i:]:
        tell(exchange, event)
    exchange.close_books(int(world.clock[0]["now_ns"]))
    got = [tuple(int(row[name]) for name in ref.Trade._fields) for row in fills(world)]
    assert got == [tuple(int(value) for value in fill) for fill in exchange.fills]
    answers = world.inbox[: int(world.clock[0]["inbox_tail"])]
    got = [tuple(int(row[name]) for name in ref.Report._fields[:7]) for row in answers]
    assert got == [tuple(report)[:7] for report in exchange.reports]
    assert int(world.account[0]["cash_micros"]) == exchange.cash_micros
    for m, market in enumerate(exchange.markets):
        for name, value in vars(market.stats).items():
            assert world.stats[m][name].item() == pytest.approx(value, rel=1e-12 if name in SUMS else 0), name
        grid = GRIDS[market.grid]
        for side in (d.BID, d.ASK):
            shown = [market.levels[side].get(price, 0) for price in grid]
            assert world.exchange_depth[m, side, : len(grid)].tolist() == shown
            assert world.depth[m, side, : len(grid)].tolist() == shown, "all of it has been seen"
        for books in (world.books, world.exchange_books):
            assert (int(books[m]["grid"]), GRIDS[int(books[m]["grid"])]) == (market.grid, grid)
            bid, ask = (market.best(side) for side in (d.BID, d.ASK))
            assert int(books[m]["bid_level"]) == (-1 if bid is None else grid.index(bid))
            assert int(books[m]["ask_level"]) == (len(grid) if ask is None else grid.index(ask))


# --- two clocks -----------------------------------------------------------------------------------------


def spliced(first, second, keep):
    """`first` where `keep` (n,) holds, and what `second` has after the last instant of that."""
    head = first[keep]
    tail = second[second["exch_ns"] > head["exch_ns"][-1]]
    events = np.concatenate([head, tail])
    events["local_ns"] = np.maximum.accumulate(events["local_ns"])
    return events


@pytest.mark.parametrize("seed", range(3))
def test_the_future_has_no_say(seed):
    first, second = (recording(s, rare=False, settle=False) for s in (seed, seed + 100))
    middle = int(first["exch_ns"][len(first) // 2])
    other = spliced(first, second, first["exch_ns"] <= middle)
    assert len(other) != len(first) or (other != first).any()
    one, two = replayed(first), replayed(other)
    before = [message for message in messages(one) if message[0] <= middle]
    assert before == [message for message in messages(two) if message[0] <= middle]
    assert len(before) > 30
    assert messages(one) != messages(two), "the rest of the recording does have a say"
    known = [field for field in d.FILL.names if field != "after_micros"]
    early = [fills(world)[fills(world)["exch_ns"] <= middle][known] for world in (one, two)]
    assert early[0].tolist() == early[1].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_what_happened_but_was_not_yet_seen_has_no_say(seed):
    # Our messages never arrive, so what we do follows from market data alone, whatever happened meanwhile.
    first, second = (recording(s, feed_ns=2 * SECOND, rare=False, settle=False) for s in (seed, seed + 100))
    middle = int(first["local_ns"][len(first) // 2])
    seen = first["local_ns"] <= middle
    other = spliced(first, second, seen)
    other["local_ns"][seen.sum() :] = np.maximum(other["local_ns"][seen.sum() :], middle + 1)
    assert (other["exch_ns"][seen.sum() :] <= middle).any(), "something happened that was not seen"
    one, two = replayed(first, entry=ALL), replayed(other, entry=ALL)
    before = [message for message in messages(one, ALL) if message[0] <= middle]
    assert before == [message for message in messages(two, ALL) if message[0] <= middle]
    assert before


def quiet_world(**how):
    """A world whose policy never quotes, for orders sent by hand."""
    params = new_params()
    params["quote_size"] = 0
    return fresh_world(params=params, **how)


def events_of(*rows):
    """EVENT rows of market 0 from (exch ms, local ms, kind, side, price, contracts)."""
    events = np.zeros(len(rows), d.EVENT)
    for event, (exch, local, kind, side, price, contracts) in zip(events, rows, strict=True):
        event["exch_ns"], event["local_ns"] = OPEN + exch * MS, OPEN + local * MS
        event["kind"], event["side"], event["price"], event["qty"] = kind, side, price, contracts * CONTRACT
    return events


def send(world, at_ms, side, price, contracts, tif=d.POST_ONLY):
    """An order that reaches the exchange at `at_ms` after the opening."""
    clock = world.clock[0]
    tail = int(clock["outbox_tail"])
    row = world.outbox[tail]
    row["at_ns"], row["kind"], row["id"], row["slot"] = OPEN + at_ms * MS, d.NEW, 500 + tail, tail
    row["side"], row["price"], row["qty"], row["tif"] = side, price, contracts * CONTRACT, tif
    clock["outbox_tail"] = tail + 1


def reports(world, response=RESPONSE):
    """(when it happened at the exchange, what, why)"""
    rows = world.inbox[: int(world.clock[0]["inbox_tail"])]
    return [(int(row["at_ns"]) - OPEN - response, int(row["kind"]), int(row["why"])) for row in rows]


TOUCH = ((0, 100, d.LEVEL, d.BID, 4_000, 10), (0, 100, d.LEVEL, d.ASK, 6_000, 10))
LAST = (1_000, 1_100, d.NEWS, 0, 0, 0)


def test_an_order_comes_after_what_the_recording_holds_at_its_instant():
    world = quiet_world()
    send(world, 50, d.BID, 5_000, 5)  # the ask at 5,000 came at the same instant: it is crossed
    send(world, 60, d.BID, 4_500, 5)  # the trade of this instant was before us
    events = events_of(
        *TOUCH, (50, 150, d.LEVEL, d.ASK, 5_000, 3), (60, 160, d.TRADE, d.ASK, 4_500, 5),
        (61, 161, d.TRADE, d.ASK, 4_500, 2), LAST,
    )  # fmt: skip
    assert run(world, events, ALL)
    assert [int(row["exch_ns"]) - OPEN for row in fills(world)] == [61 * MS]
    assert reports(world) == [
        (50 * MS, d.REJECT, d.WHY_POST_ONLY_CROSS),
        (60 * MS, d.ACK, d.WHY_NONE),
        (61 * MS, d.FILL_REPORT, d.WHY_NONE),
    ]


@pytest.mark.parametrize("late", [0, 1])
def test_an_order_meets_the_book_of_its_arrival_not_the_one_we_saw(late):
    world = quiet_world()
    send(world, 50 + late, d.BID, 6_000, 10, d.IOC)
    events = events_of(*TOUCH, (51, 400, d.LEVEL, d.ASK, 6_000, 4), LAST)
    assert run(world, events, ALL)
    assert [int(row["qty"]) for row in fills(world)] == [(10, 4)[late] * CONTRACT]


def test_the_first_order_follows_the_first_book_seen():
    events = recording(2, 40, rare=False, settle=False)
    opening = int(events["local_ns"][0])
    world = fresh_world()
    run(world, events, ALL)
    sent = messages(world)
    assert sent[0][0] >= opening
    seen = {int(at) for at in events["local_ns"]} | {int(row["at_ns"]) for row in world.inbox}
    on_an_arrival = [message for message in sent if message[0] in seen]
    assert len(on_an_arrival) > len(sent) // 2
    answered = {
        int(row["id"]): int(row["at_ns"]) for row in world.inbox[: int(world.clock[0]["inbox_tail"])][::-1]
    }
    for at, kind, _, _, order_id, *_ in sent:
        if kind == d.NEW and order_id in answered:
            assert answered[order_id] == at + ENTRY + RESPONSE, "an answer takes both ways"


@pytest.mark.parametrize("latency", [0, 1 * MS, 90 * MS])
def test_a_crossing_order_is_not_sent_again_on_the_same_book(latency):
    # The ask falls to 4,500 at 90 ms and we see it at 200: what is decided in between crosses it once only.
    world = fresh_world(entry=latency, response=latency)  # its rate limit ends what would never end
    events = events_of(*TOUCH, (90, 200, d.LEVEL, d.ASK, 4_500, 10), LAST)
    assert run(world, events, ALL)
    refused = [(at, why) for at, kind, why in reports(world, response=latency) if kind == d.REJECT]
    assert [why for _, why in refused] == [d.WHY_POST_ONLY_CROSS] * 5  # one a level
    bids = [message for message in messages(world, latency) if message[1] == d.NEW and message[7] == d.BID]
    assert max(message[0] for message in bids) >= OPEN + 200 * MS, "on the newer book it is"
    assert max(message[6] for message in bids[5:]) < 4_500


def test_refused_orders_wait_before_the_second_try():
    # We are filled just before the exchange restarts, which we learn 9 seconds later: what we would change
    # meanwhile is refused, and tried again once a second, not with every refusal.
    params = new_params()
    params["max_inventory"] = 20 * CONTRACT  # so small that new orders wait for cancelled ones
    params["skew_per_10_micros"] = 20_000  # so large that the fill moves every price
    world = fresh_world(entry=0, params=params)
    events = events_of(
        *TOUCH, (248, 9_000, d.TRADE, d.ASK, 3_000, 12), (249, 9_000, d.STATUS, 0, 0, 0),
        (9_900, 10_000, d.NEWS, 0, 0, 0),
    )  # fmt: skip
    events["aux"][-2] = d.RESTARTING
    assert run(world, events, ALL)
    refused = [at for at, kind, _ in reports(world) if kind in (d.REJECT, d.CANCEL_REJECT)]
    assert 10 < len(refused) < 60
    assert len({at // SECOND for at in refused}) == len(set(refused)), "one instant a second"


def test_a_settled_market_is_no_longer_at_risk():
    world = fresh_world()
    events = events_of(*TOUCH, (248, 350, d.TRADE, d.ASK, 3_000, 12), (400, 500, d.SETTLE, 0, 0, 0), LAST)
    assert run(world, events, ALL)
    assert int(world.holdings[0]["cost_micros"]) > 5 * CONTRACT, "12 bought near 0.49 ended worthless"
    assert int(world.account[0]["max_heat_micros"]) > 0
    assert int(world.account[0]["heat_micros"]) == 0


# --- always ---------------------------------------------------------------------------------------------


def check_limits(world, m):
    """No limit breaks even if all that is open or on its way fills, as we see it and as the exchange does."""
    if world.exchange_books[m]["status"] == d.SETTLED:
        return  # paid out: what is still on its way will be refused
    params, market, held = world.params[m], world.markets[m], world.holdings[m]
    target, most = int(params["target_inventory"]), int(params["max_inventory"])
    gross_limit = int(params["max_position_size"])
    ours = world.orders[m][world.orders[m]["state"] != d.FREE]
    theirs = world.exchange_orders[m][world.active[m, : int(held["live_orders"])]]
    clock = world.clock[0]
    flying = world.outbox[int(clock["outbox_head"]) : int(clock["outbox_tail"])]
    flying = flying[(flying["market"] == m) & (flying["kind"] == d.NEW)]
    for side, sign in ((d.BID, 1), (d.ASK, -1)):
        opened = int(ours["remaining"][ours["side"] == side].sum())
        assert int(market["open_bid" if side == d.BID else "open_ask"]) == opened
        net = int(market["yes_contracts"]) - int(market["no_contracts"])
        assert sign * (net - target) + opened <= most
        resting = int(theirs["remaining"][theirs["side"] == side].sum())
        resting += int(flying["qty"][flying["side"] == side].sum())
        net = int(held["yes_contracts"]) - int(held["no_contracts"])
        assert sign * (net - target) + resting <= most
        if market["nets_positions"]:
            assert sign * net + resting <= gross_limit
    buys = int(ours["remaining"][ours["leg"] == d.BUY_LEG].sum())
    if not market["nets_positions"] and buys:
        assert int(market["yes_contracts"]) + int(market["no_contracts"]) + buys <= gross_limit
    bids, asks = ours["price"][ours["side"] == d.BID], ours["price"][ours["side"] == d.ASK]
    assert not len(bids) or not len(asks) or bids.max() < asks.min(), "we would trade with ourselves"


def check_agreement(world):
    """With nothing on its way either side knows the same."""
    clock, account = world.clock[0], world.account[0]
    if clock["outbox_head"] < clock["outbox_tail"] or clock["inbox_head"] < clock["inbox_tail"]:
        return False
    if clock["exchange_event"] != clock["local_event"]:
        return False
    assert int(account["cash_micros"]) == int(account["local_cash_micros"])
    for m in range(MARKETS):
        for field in ("yes_contracts", "no_contracts", "cost_micros"):
            assert int(world.markets[m][field]) == int(world.holdings[m][field]), field
        ours = world.orders[m][world.orders[m]["state"] != d.FREE]
        theirs = world.exchange_orders[m][world.active[m, : int(world.holdings[m]["live_orders"])]]
        for field in ("id", "side", "price", "remaining", "leg"):
            assert sorted(ours[field].tolist()) == sorted(theirs[field].tolist()), field
    return True


@pytest.mark.parametrize(("seed", "response"), [(0, RESPONSE), (1, RESPONSE), (2, RESPONSE), (3, 500 * MS)])
def test_limits_and_agreement_at_every_event(seed, response):
    events = recording(seed, 600)
    world = fresh_world(response=response)
    agreed = 0
    while not run(world, events, 1):
        for m in range(MARKETS):
            check_limits(world, m)
        agreed += check_agreement(world)
        account, clock = world.account[0], world.clock[0]
        assert int(account["reserved_micros"]) >= 0
        assert int(clock["local_event"]) <= int(clock["exchange_event"])
    assert check_agreement(world)
    assert agreed > 20
    assert {int(m) for m in fills(world)["market"]} == set(range(MARKETS)), "every market was traded"


@pytest.mark.parametrize("seed", range(3))
def test_cash_at_the_end_is_what_was_traded_and_settled(seed):
    world = replayed(recording(seed))
    earned = 0
    for row in fills(world):
        payout = int(row["qty"]) if row["market"] == 1 else 0  # market 1 ends YES, the others NO
        earned += int(row["cash_micros"]) + (payout if row["side"] == d.BID else -payout)
        earned += int(row["rebate_micros"]) - int(row["fee_micros"])
    assert int(world.account[0]["cash_micros"]) == 2_000 * CONTRACT + earned
    assert int(world.account[0]["local_cash_micros"]) == int(world.account[0]["cash_micros"])
    last = world.curve[int(world.clock[0]["curve_count"]) - 1]
    assert int(last["equity_micros"]) == int(world.account[0]["cash_micros"])


@pytest.mark.parametrize("seed", range(3))
def test_we_never_fill_more_than_the_recording_offered(seed):
    events = recording(seed, rare=False, settle=False)
    world = replayed(events)
    depth = {}
    room = {}  # (instant, market): what trades and arrivals could have given us
    for event in events:
        key = (int(event["market"]), int(event["side"]), int(event["price"]))
        size = int(event["qty"])
        if event["kind"] == d.LEVEL:
            grown = max(0, size - depth.get(key, 0))
            depth[key] = size
        else:
            grown = size if event["kind"] == d.TRADE else 0
        at = (int(event["exch_ns"]), key[0])
        room[at] = room.get(at, 0) + grown
    got = {}
    for row in fills(world):
        if row["maker"]:
            at = (int(row["exch_ns"]), int(row["market"]))
            got[at] = got.get(at, 0) + int(row["qty"])
    assert got
    assert all(size <= room.get(at, 0) for at, size in got.items())
