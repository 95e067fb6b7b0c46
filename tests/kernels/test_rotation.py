"""Places among `max_markets`, through the whole replay: who gets one, who keeps it, and how it is left."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pr3dict.domain.units import NS_PER_SECOND, QTY_SCALE
from pr3dict.kernels import book as bk
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import replay, rotation
from pr3dict.kernels.selection import observe_taker
from pr3dict.kernels.world import World, make_grids, new_market, new_world
from pr3dict.runtime.backtest import Replay
from pr3dict.runtime.spec import PESSIMISTIC, make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import TapeSet, merge
from pr3dict.store.tape import Tape
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import build_config

LATENCY_NS = 50_000_000
CASH = 10_000_000_000
START = 1_790_000_000 * NS_PER_SECOND
GRIDS = make_grids([range(100, 10_000, 100)])
SETTINGS = (
    "max_markets=2", "rotation_minutes=1", "rotation_advantage=0", "min_liquidity=0", "base_spread=0.02",
    "closing_multiplier=1", "final_multiplier=1", "low_liquidity_addon=0", "volatility_multiplier=1",
    "min_existing_spread=0.01",
)  # fmt: skip
REGIMES = ("calm", "wide_spread", "one_sided_flow", "news_heavy")


def parts(events: int = 4_000) -> list[Tape]:
    """Four generated markets that open at one instant, the first events of each."""
    tapes = [synthetic_market(3, regime) for regime in REGIMES]
    return [Tape(tape.events[:events].copy(), tape.meta) for tape in tapes]


def a_replay(tapes: TapeSet, *settings: str) -> Replay:
    config = build_config("default", assignments=settings or SETTINGS)
    return Replay(tapes, make_spec(config, preset="default", cash_micros=CASH), PESSIMISTIC)


def opening(world: World, m: int) -> bool:
    """Whether a fill of what rests in market `m` could leave it with more than it holds."""
    held = world.holdings[m]
    net = int(held["yes_contracts"]) - int(held["no_contracts"])
    slots = world.active[m, : int(held["live_orders"])]
    orders = world.exchange_orders[m][slots]
    sizes = [int(orders["remaining"][orders["side"] == side].sum()) for side in (d.BID, d.ASK)]
    return sizes[d.BID] > max(0, -net) or sizes[d.ASK] > max(0, net)


@cache
def watched() -> tuple[Replay, list[tuple[int, list[int], list[bool], list[int]]]]:
    """A whole replay event by event: (time, who waits, who has opening orders, net) after each."""
    run, seen = a_replay(merge(parts(), latency_ns=LATENCY_NS)), []
    world, n = run.world, len(REGIMES)
    while not replay.run(world, run.tapes.events, 1):
        nets = world.holdings["yes_contracts"] - world.holdings["no_contracts"]
        seen.append(
            (
                int(world.clock[0].now_ns),
                world.markets["waiting"].tolist(),
                [opening(world, m) for m in range(n)],
                nets.tolist(),
            )
        )
    assert int(world.account[0].error) == 0
    return run, seen


def test_never_more_markets_with_opening_orders_than_places():
    run, seen = watched()
    assert max(sum(opens) for _, _, opens, _ in seen) == 2
    assert max(4 - sum(waits) for _, waits, _, _ in seen) == 2
    changes = sum(before[1] != after[1] for before, after in pairwise(seen))
    assert changes > 5  # the places did go round
    assert len(np.unique(run.world.fills["market"][: int(run.world.clock[0].fill_count)])) > 2


def test_a_market_that_lost_its_place_only_ever_reduces():
    """Once the cancels have arrived, what waits has no opening order, and its fills bring it nearer to 0."""
    run, seen = watched()
    since: list[int | None] = [0] * len(REGIMES)
    wound_down = 0
    for before, (now_ns, waits, opens, nets) in pairwise(seen):
        for m, waiting in enumerate(waits):
            since[m] = (now_ns if since[m] is None else since[m]) if waiting else None
            started = since[m]
            if started is not None and now_ns > started + 2 * LATENCY_NS:
                assert not opens[m]
                assert abs(nets[m]) <= abs(before[3][m])
                wound_down += nets[m] != before[3][m]
    assert wound_down > 0
    reasons = run.world.stats["reason_counts"][:, d.R_NOT_SELECTED]
    assert (reasons > 0).any()


def test_selections_do_not_look_ahead():
    """A replay of the tapes cut at t selects until t as the replay of the whole tapes did."""
    run, seen = watched()
    events = run.tapes.events
    half = len(events) // 2
    cut_ns = int(events[half]["local_ns"])
    tapes = run.tapes
    short = a_replay(TapeSet(events[:half].copy(), tapes.metas, tapes.names, tapes.first_ns, tapes.last_ns))
    world, got = short.world, []
    while not replay.run(world, short.tapes.events, 1):
        got.append((int(world.clock[0].now_ns), world.markets["waiting"].tolist()))
    expected = [(now_ns, waits) for now_ns, waits, _, _ in seen if now_ns < cut_ns]
    got = [one for one in got if one[0] < cut_ns]
    assert len(got) > 1_000
    assert got == expected[: len(got)]
    assert len({tuple(waits) for _, waits in got}) > 2


def test_statistics_of_a_running_rotation_are_those_of_the_tape():
    """The brain's rows, with orders in some markets and not in others, equal those of a tape only watched."""
    run, _ = watched()
    end_ns = int(run.world.clock[0].now_ns)
    for m, tape in enumerate(parts()):
        alone = merge([tape], latency_ns=LATENCY_NS)
        config = build_config("default", assignments=SETTINGS)
        one = Replay(alone, make_spec(config, preset="default", cash_micros=CASH), PESSIMISTIC).world
        one.rules["selection_memory_ns"] = config.integer("selection_memory")
        rotation.watch(one, alone.events, end_ns)
        row, mine = one.selections[0], run.world.selections[m]
        places = ("selected_since_ns", "selected_ns", "times_selected")
        for name in (row.dtype.names or ())[:-3]:
            assert name not in places
            assert np.array_equal(row[name], mine[name]), (REGIMES[m], name)
        assert int(row.samples) > 100


def test_with_a_place_for_each_nothing_is_kept_and_nothing_changes():
    tapes = merge(parts(1_500), latency_ns=LATENCY_NS)
    settings = [text for text in SETTINGS if not text.startswith("max_markets")]
    exact, more = a_replay(tapes, *settings, "max_markets=4"), a_replay(tapes, *settings, "max_markets=9")
    for run in (exact, more):
        while not run.advance():
            pass
        assert not run.world.selections["samples"].any()
        assert not run.world.markets["waiting"].any()
    assert exact.world.fills.tobytes() == more.world.fills.tobytes()


# --- places by hand -------------------------------------------------------------------------------


class Market:
    """`n` open markets of one book, traded as told at our distance from mid, selected second by second."""

    def __init__(self, n: int, **settings: Any) -> None:
        config = MarketMakingConfig(
            **{"max_markets": 1, "rotation_minutes": 1, "base_spread": "0.06"} | settings
        )
        rows = new_market(n)
        rows["status"], rows["nets_positions"] = d.ACTIVE, 1
        rows["lot"] = rows["min_size"] = QTY_SCALE
        rows["close_ns"] = rows["resolution_ns"] = START + 72 * 3600 * NS_PER_SECOND
        self.world = new_world(
            GRIDS, np.repeat(config.to_params(), n), np.zeros(n, d.FEE), rows, grid_of_market=[0] * n,
            rules=config.to_rules(), cash_micros=CASH, fill_capacity=8, curve_capacity=8,
        )  # fmt: skip
        self.world.books["event_ns"] = START
        for m in range(n):
            self.touch(m, 4_700, 5_300)
        rotation.begin_rotation(self.world)
        self.second = 0

    def touch(self, m: int, bid: int, ask: int) -> None:
        for side, price in ((d.BID, bid), (d.ASK, ask)):
            self.world.depth[m, side] = 0
            level = int(GRIDS.level_of_price[0, price])
            self.world.books[m]["bid_level" if side == d.BID else "ask_level"] = level
            bk.set_level(self.world.books[m], self.world.depth[m], 99, side, level, 60_000 * QTY_SCALE)

    def run(self, seconds: int, sizes: dict[int, int]) -> None:
        for _ in range(seconds):
            now_ns = START + self.second * NS_PER_SECOND
            for m, contracts in sizes.items():
                for side, price in ((d.BID, 5_300), (d.ASK, 4_700)):
                    row = self.world.selections[m]
                    observe_taker(row, 4_700, 5_300, side, price, contracts * QTY_SCALE, now_ns)
            rotation.select(self.world, now_ns)
            self.second += 1

    @property
    def selected(self) -> list[int]:
        return np.flatnonzero(self.world.markets["waiting"] == 0).tolist()


@pytest.mark.parametrize(("contracts", "keeper"), [(10, 0), (11, 0), (14, 1)])
def test_an_incumbent_keeps_its_place_within_the_advantage(contracts: int, keeper: int):
    markets = Market(2)
    markets.run(300, {0: 10, 1: 10})
    assert markets.selected == [0]  # equal scores: first come, first served
    markets.run(3_000, {0: 10, 1: contracts})
    scores = markets.world.scores["score_ppm"]
    assert (scores[1] > 1.2 * scores[0]) is np.bool_(keeper == 1)
    assert markets.selected == [keeper]


def test_a_place_that_becomes_free_is_taken_at_once():
    markets = Market(3)
    markets.run(90, {0: 30, 1: 10, 2: 20})
    assert markets.selected == [0]
    markets.world.markets[0].status = d.CLOSED
    markets.run(1, {})
    assert markets.selected == [2]  # the better of those that wait, between two rotations
    assert markets.world.selections["times_selected"].tolist() == [1, 0, 1]
    assert int(markets.world.selections[0].selected_ns) == 90 * NS_PER_SECOND


def test_a_market_too_close_to_resolution_makes_room():
    markets = Market(2)
    markets.run(5, {0: 30, 1: 10})
    markets.world.markets[0].resolution_ns = START + 1_800 * NS_PER_SECOND
    markets.run(1, {})
    assert markets.selected == [1]


def test_what_stops_qualifying_loses_its_place_at_the_next_rotation_and_may_come_back():
    markets = Market(2, min_existing_spread="0.05")
    markets.run(80, {0: 30, 1: 10})
    markets.touch(0, 4_900, 5_100)
    markets.run(30, {})
    assert markets.selected == [0]  # 80 s at six cents, 20 at two
    markets.run(60, {})
    assert markets.selected == [1]
    markets.world.markets[1].status = d.CLOSED
    markets.run(60, {})
    assert markets.selected == []
    markets.touch(0, 4_500, 5_500)
    markets.run(300, {})
    assert markets.selected == [0]


def test_a_paused_market_is_not_chosen_but_keeps_its_place():
    markets = Market(2)
    markets.world.markets[0].status = d.PAUSED
    markets.run(5, {0: 30, 1: 10})
    assert markets.selected == [1]
    markets.world.markets[1].status = d.PAUSED
    markets.run(120, {})
    assert markets.selected == [1]


def test_markets_that_are_over_stop_the_clock_and_a_new_one_starts_it():
    first, second = parts(400)[:2]
    far_ns = 40 * 24 * 3600 * NS_PER_SECOND
    second.events["exch_ns"] += far_ns
    meta = second.meta
    assert meta.close_ns is not None
    later = meta.close_ns + far_ns
    tapes = merge(
        [first, Tape(second.events, type(meta)(**{**{f: getattr(meta, f) for f in meta.__struct_fields__},
                                                  "close_ns": later, "expected_resolution_ns": later}))],
        latency_ns=LATENCY_NS,
    )  # fmt: skip
    run = a_replay(tapes, *SETTINGS[1:], "max_markets=1")
    while not run.advance():
        pass
    samples = run.world.selections["samples"]
    spans = [
        (last - start) // NS_PER_SECOND for start, last in zip(tapes.first_ns, tapes.last_ns, strict=True)
    ]
    assert (abs(samples - np.array(spans)) <= 2).all()
    assert run.world.selections["times_selected"].tolist() == [1, 1]
