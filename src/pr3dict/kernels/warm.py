"""Compiles every kernel into the disk cache by letting a tiny synthetic market live through all of them.

numba compiles a function when it is first called, for the types it is called with. So the surest way to
have everything compiled that a real run needs is a real run: one generated market of some hundred events.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, NamedTuple

import numpy as np

import pr3dict.kernels
from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import (
    archive,
    estimators,
    exchange_run,
    flow_stats,
    live,
    queue,
    recordings,
    selection,
    snapshots,
    tapecheck,
    worstcase,
)
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.flow import CONTRACT, DRAWN, FLOW, generate
from pr3dict.kernels.replay import run
from pr3dict.kernels.rotation import score_row, watch
from pr3dict.kernels.world import World, make_grids, new_market, new_world

_SECOND_NS = 1_000_000_000
_HOUR_NS = 3600 * _SECOND_NS
_CENT = PRICE_SCALE // 100
_OPEN_NS = 1_700_000_000 * _SECOND_NS
_PPM = 1_000_000

_FLOW: dict[str, float] = {
    "open_ns": _OPEN_NS,
    "duration_ns": 600 * _SECOND_NS,
    "settle_delay_ns": _SECOND_NS,
    "feed_latency_ns": 20_000_000,
    "p0": 0.5,
    "outcome": DRAWN,
    "volatility": 0.5,
    "resolve_floor_ns": _SECOND_NS,
    "news_rate": 12.0,
    "news_size": 0.3,
    "makers": 2,
    "levels": 3,
    "level_step": _CENT,
    "half_spread": 2 * _CENT,
    "maker_size": 50 * CONTRACT,
    "refresh_rate": 120.0,
    "view_weight": 0.8,
    "view_noise": 0.02,
    "noise_rate": 600.0,
    "noise_size": 20 * CONTRACT,
    "noise_size_sigma": 0.5,
    "noise_buy": 0.5,
    "max_sweep": 3 * _CENT,
    "informed_rate": 60.0,
    "informed_size": 20 * CONTRACT,
    "informed_edge": _CENT,
    "depth_rate": 300.0,
    "depth_size": 10 * CONTRACT,
    "depth_limit": 200 * CONTRACT,
    "clustering": 0.2,
    "clustering_decay": 360.0,
    "maker_step": 0.25,
    "depth_reach": 2.0,
    "pull": 0.1,
    "depth_inside": 0.1,
    "depth_follow": 0.5,
    "alert": 0.5,
    "informed_size_sigma": 0.5,
    "herding": 0.2,
    "herd_memory": 4.0,
}

_PARAMS: dict[str, int] = {
    "policy": d.POLICY_PR3DICT,
    "fair_model": d.FAIR_ORDER_FLOW,
    "base_spread_micros": 20_000,
    "min_spread_micros": 10_000,
    "max_spread_micros": 120_000,
    "volatility_multiplier_ppm": _PPM,
    "high_volatility_micros": 1_000_000,
    "final_multiplier_ppm": 2 * _PPM,
    "closing_multiplier_ppm": _PPM,
    "inventory_multiplier_ppm": _PPM,
    "inventory_skew_threshold": 10 * CONTRACT,
    "skew_per_10_micros": 10_000,
    "rebalance_threshold": 20 * CONTRACT,
    "max_inventory": 50 * CONTRACT,
    "max_position_size": 100 * CONTRACT,
    "exit_inventory": 5 * CONTRACT,
    "max_exit_slippage_micros": 50_000,
    "max_time_to_resolution_ns": _HOUR_NS,
    "quote_size": 10 * CONTRACT,
    "liquid_market_micros": 1_000_000_000_000,
    "liquid_size_multiplier_ppm": _PPM,
    "max_quote_age_ns": 5 * _SECOND_NS,
    "requote_threshold_micros": 10_000,
    "refill_fraction_ppm": _PPM // 2,
    "levels": 2,
    "level_spacing_micros": 10_000,
    "volume_spike_ppm": 1000 * _PPM,
    "volume_window_ns": 10 * _SECOND_NS,
    "volume_baseline_ns": 60 * _SECOND_NS,
    "volume_pause_ns": _SECOND_NS,
    "news_multiplier_ppm": _PPM,
    "markout_horizon_ns": 10 * _SECOND_NS,
    "markout_min_contracts": 100 * CONTRACT,
    "markout_multiplier_ppm": _PPM,
    "price_band_micros": 500_000,
    "max_order_size": 100 * CONTRACT,
    "volatility_grid_ns": 10 * _SECOND_NS,
    "volatility_samples": 60,
    "flow_half_life_ns": 60 * _SECOND_NS,
    "flow_weight_ppm": _PPM // 2,
    "markout_half_life_contracts": 100 * CONTRACT,
}

_RULES: dict[str, float] = {
    "queue": d.QUEUE_POWER,
    "queue_power": 3.0,
    "entry_ns": 20_000_000,
    "response_ns": 20_000_000,
    "max_heat_ppm": _PPM,
    "daily_loss_limit_micros": 500_000_000,
    "curve_interval_ns": 10 * _SECOND_NS,
    "merge_threshold": CONTRACT,
}


class Compiled(NamedTuple):
    """One kernel after `warm`: how many versions were compiled now, how many came from the disk cache.

    Both are 0 for a kernel whose code is already inside a caller that was loaded.
    """

    name: str
    compiled: int
    loaded: int


def _row(dtype: np.dtype[Any], values: dict[str, int] | dict[str, float]) -> d.Array:
    rows = np.zeros(1, dtype)
    for field, value in values.items():
        rows[field] = value
    return rows


def tiny_recording(seed: int = 7) -> d.Array:
    """EVENT rows of one generated market that opens with a snapshot, lives ten minutes and settles."""
    prices = np.arange(_CENT, PRICE_SCALE, _CENT, dtype=np.int32)
    events = np.zeros(4096, d.EVENT)
    count = int(generate(events, _row(FLOW, _FLOW), seed, prices))
    assert count <= len(events), "the tiny market outgrew its buffer"
    return events[:count].copy()


def tiny_world() -> World:
    """A replay of one market with cent ticks and Kalshi fees, before its first event."""
    grids = make_grids([range(_CENT, PRICE_SCALE, _CENT)])
    markets = new_market()
    markets["nets_positions"] = markets["reduce_in_place"] = 1
    markets["min_size"] = markets["lot"] = CONTRACT
    markets["close_ns"] = markets["resolution_ns"] = _OPEN_NS + int(_FLOW["duration_ns"])
    fees = _row(
        d.FEE,
        {
            "kind": d.FEE_KALSHI,
            "taker_ppm": 70_000,
            "maker_ppm": 17_500,
            "trade_unit_micros": 1,
            "unit_micros": 100,
            "rebate_unit_micros": 100,
        },
    )
    return new_world(
        grids,
        _row(d.PARAMS, _PARAMS),
        fees,
        markets,
        grid_of_market=[0],
        rules=_row(d.RULES, _RULES),
        cash_micros=1_000_000_000,
        fill_capacity=4096,
        curve_capacity=256,
    )


def kernels() -> list[Compiled]:
    """Every jitted function below `pr3dict.kernels` with what this process compiled and loaded so far."""
    found: dict[str, Compiled] = {}
    for module_info in pkgutil.iter_modules(pr3dict.kernels.__path__):
        module = importlib.import_module(f"pr3dict.kernels.{module_info.name}")
        for function in vars(module).values():
            stats = getattr(function, "stats", None)
            python = getattr(function, "py_func", None)
            if stats is None or python is None:
                continue
            name = f"{python.__module__.rpartition('.')[2]}.{python.__name__}"
            found[name] = Compiled(name, sum(stats.cache_misses.values()), sum(stats.cache_hits.values()))
    return [found[name] for name in sorted(found)]


def _read(recording: d.Array) -> None:
    """What a loader and an importer do with a recording."""
    on_grid = np.zeros((1, PRICE_SCALE + 1), np.bool_)
    on_grid[0, _CENT:PRICE_SCALE:_CENT] = True
    fault, _ = tapecheck.check_events(recording, on_grid, tapecheck.new_depth(), tapecheck.new_best())
    assert fault == tapecheck.FINE, "the tiny market made a faulty tape"
    n = len(recording)
    recordings.uncross(recording)
    change, decrease, figures = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(4, np.int64)
    recordings.resolve_increments(
        recording.copy(), tapecheck.new_depth(), tapecheck.new_best(), decrease, figures
    )
    tickers = np.zeros((2, 4), np.int64)
    scratch = np.zeros(64, np.int16)
    recordings.infer_trades(recording, change, decrease, tickers, np.zeros(n, np.bool_), scratch, figures)
    archive.assemble_market(recording.copy(), 0)
    text = np.frombuffer(b'[["0.4","1"]]', np.uint8).copy()
    prices, sizes = np.zeros((2, 2), np.int64)
    archive.parse_levels(text, np.array([0, len(text)]), prices, sizes, np.zeros(1, np.int64))
    flow_stats.observe(
        recording,
        np.zeros(1, flow_stats.WINDOW),
        tapecheck.new_depth(),
        tapecheck.new_best(),
        np.zeros(1, flow_stats.TOTALS),
        np.zeros(n + 1, flow_stats.PATH),
        np.zeros(n + 1, flow_stats.ORDER),
        np.zeros((2, flow_stats.DEPTH_LEVELS)),
        np.zeros(flow_stats.SPREAD_BINS, np.int64),
    )


def _look(world: World) -> None:
    """What is asked about a world from outside a replay."""
    worstcase.market_loss_micros(world.markets[0], world.orders[0])
    worstcase.market_worst_loss(0, 0, 0, 0, 0)
    losses = np.zeros(1, np.int64)
    worstcase.event_worst_loss(losses, losses, exhaustive=True)
    worstcase.portfolio_heat_micros(losses, losses, losses)
    estimators.ofi(1, 1, 2, 1, 1, 1, 2, 1)
    queue.fill_probability(1.0, 1.0, 1.0, 1.0)


def _judge(events: d.Array) -> None:
    """What a scan does with a recording."""
    world = tiny_world()
    watch(world, events, int(events["local_ns"][-1]))
    row, params = world.selections[0], world.params[0]
    left_ns = selection.mean_left_ns(row)
    score_row(world, 0, left_ns)
    selection.filter_bits(row, params, left_ns)
    selection.mean_spread_micros(row)
    selection.mean_liquidity_micros(row)
    selection.volatility_micros(row)
    selection.impact_error_micros(row, 0)
    times, prices = np.zeros(1, np.int64), np.zeros(1, np.int32)
    selection.watch_quotes(times, prices, prices, 0, world.markets[0], row)


def _live(events: d.Array) -> None:
    """What an engine does with the brain."""
    world = tiny_world()
    grids_of = np.zeros((1, live.GRIDS_A_MARKET), np.int32)
    spare = np.zeros(1, d.EVENT)
    live.start(world)
    live.keep_places(world)
    live.see(world, events[:1], grids_of, spare)
    live.decide(world, int(events[0]["local_ns"]))
    live.follow(world, events, 1, int(events[-1]["local_ns"]), grids_of, spare)
    live.next_due_ns(world)
    live.hear(world, np.zeros(1, d.MESSAGE), int(world.clock[0].now_ns))
    live.hold(world, 0, d.HOLD_QUOTES)
    live.leave(world, 0, 0, 0)
    live.rebuild(world, 0, 0, 0, 0, 0)


def warm_exchange() -> None:
    """What a simulated exchange does that stands by itself."""
    world, recording = tiny_world(), tiny_recording()
    now_ns = int(recording["exch_ns"][0])
    exchange_run.begin(world)
    exchange_run.advance(world, recording[:0], 0, now_ns)
    message = np.zeros(1, d.MESSAGE)
    message["kind"], message["id"], message["qty"], message["price"] = d.NEW, 1, CONTRACT, _CENT
    exchange_run.arrive_at(world, now_ns, message)
    exchange_run.renew(world, 0, 0, now_ns + 1)
    exchange_run.close(world, now_ns, 0, 0, d.WHY_NONE)
    exchange_run.book_trade(world, now_ns, 0, d.BID, d.BUY_LEG, -1, 1)
    exchange_run.undo_trade(world, now_ns, 0, d.BID, d.BUY_LEG, -1, 1)
    exchange_run.split(world, 0, 0)


def warm() -> list[Compiled]:
    """Take the tiny market through every kernel and say what that compiled.

    Raises:
        AssertionError: the market's recording is faulty or its replay did not reach the end.
    """
    recording = tiny_recording()
    _read(recording)
    world = tiny_world()
    finished = run(world, snapshots.flatten_snapshots(recording), 1 << 20)
    assert finished and int(world.account[0].error) == 0, "the tiny market did not reach its end"
    _look(world)
    _live(snapshots.flatten_snapshots(recording))
    warm_exchange()
    _judge(snapshots.flatten_snapshots(recording))
    return kernels()
