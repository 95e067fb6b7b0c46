"""Many markets in one account: limits at every event, exclusive outcomes, and any number of jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import cache

import msgspec
import numpy as np
import pytest

from pr3dict.domain.errors import UsageError
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.limits_reference import LimitsReference
from pr3dict.kernels.world import FIELDS, make_grids, new_market, new_world
from pr3dict.runtime.backtest import Replay, run_backtest
from pr3dict.runtime.jobs import cores, run_jobs
from pr3dict.runtime.spec import OPTIMISTIC, PESSIMISTIC, make_spec
from pr3dict.runtime.synthetic import REGIMES, market_tape, regime, synthetic_event
from pr3dict.runtime.tapeset import load, market_rows, merge
from pr3dict.store.tape import Tape, write_tape
from pr3dict.strategies.presets import build_config

LATENCY_NS = 50_000_000
MICRO = 1_000_000
CASH = 10_000 * MICRO
NAMES = [one.name for one in REGIMES if one.name != "short_dated"]


def short(name: str, minutes: float):
    return msgspec.structs.replace(regime(name), hours=minutes / 60)


@cache
def crowd(alone: int, events: int, minutes: float):
    """That many markets alone and that many events of five, all open at the same time."""
    tapes = [market_tape(seed, short(NAMES[seed % len(NAMES)], minutes)) for seed in range(alone)]
    for seed in range(events):
        tapes += synthetic_event(seed, short(NAMES[seed % len(NAMES)], minutes), markets=5)
    return tapes


def tapes_of(alone: int, events: int, minutes: float):
    return merge(
        [Tape(events.copy(), meta) for events, meta in crowd(alone, events, minutes)], latency_ns=LATENCY_NS
    )


def spec(*settings: str, queue: str = PESSIMISTIC, latency_ms: int = 50):
    several = ("max_markets=1000", "max_orders_per_second=1000")
    config = build_config("short_dated", assignments=[*several, *settings])
    return make_spec(config, preset="short_dated", cash_micros=CASH, queue=queue, latency_ms=latency_ms)


def finished(tapes, *settings: str) -> Replay:
    run = Replay(tapes, spec(*settings), PESSIMISTIC)
    while not run.advance():
        pass
    return run


# --- limits -----------------------------------------------------------------------------------------------


def check_steps(run: Replay, steps: int) -> LimitsReference:
    """Go on event by event, everything worked out again after each."""
    watch = LimitsReference(run.world)
    for _ in range(steps):
        faults = watch.check()
        assert not faults, faults
        if run.advance(1):
            break
    assert not watch.check()
    return watch


def check_windows(run: Replay, steps: int) -> tuple[int, int]:
    """Windows of that many steps all over the replay; returns the looks, and those near the heat limit."""
    looks = binding = 0
    over = False
    while not over:
        watch = check_steps(run, steps)
        looks, binding = looks + watch.checked, binding + watch.binding
        over = run.advance(len(run.tapes.events) // 14)
    return looks, binding


def test_no_limit_is_exceeded_at_any_event_of_a_sample():
    """Sixty markets, twenty of them in four exclusive events, under a heat limit that binds."""
    tapes = tapes_of(40, 4, 20)
    assert sum(event >= 0 for event in market_rows(tapes.metas)["event"]) == 20
    run = Replay(tapes, spec("max_portfolio_heat=0.01"), PESSIMISTIC)
    looks, binding = check_windows(run, 300)
    assert looks > 2_500 and binding > 200, "the heat limit binds"
    assert int(run.world.clock[0].fill_count) > 100


def test_no_position_limit_is_exceeded_while_messages_take_half_a_second():
    tapes = tapes_of(20, 2, 20)
    bands = ("max_inventory=15", "rebalance_threshold=12", "inventory_skew_threshold=5", "levels=3")
    run = Replay(tapes, spec(*bands, latency_ms=500), PESSIMISTIC)
    looks, _ = check_windows(run, 300)
    assert looks > 2_000
    assert int(run.world.stats["max_inventory"].max()) == 15 * MICRO, "the limit binds"


def test_after_the_daily_loss_limit_nothing_is_sent():
    tapes = tapes_of(40, 4, 20)
    whole = finished(tapes, "daily_loss_limit=15")
    assert int(whole.world.account[0].kills) == 1
    run = Replay(tapes, spec("daily_loss_limit=15"), PESSIMISTIC)
    while not run.world.account[0].killed:  # to just before the limit is hit, then on event by event
        before = int(run.world.clock[0].local_event)
        run.advance(64)
    run = Replay(tapes, spec("daily_loss_limit=15"), PESSIMISTIC)
    run.advance(before)
    assert not run.world.account[0].killed
    check_steps(run, 600)
    assert run.world.account[0].killed
    sent = int(run.world.account[0].next_order_id)
    while not run.advance():
        pass
    assert int(run.world.account[0].next_order_id) == sent
    assert not run.world.holdings["live_orders"].any()


AT_THE_ORDER = """
import sys, importlib.util, numba
assert numba.config.DISABLE_JIT
spec = importlib.util.spec_from_file_location("many", sys.argv[1])
many = importlib.util.module_from_spec(spec)
spec.loader.exec_module(many)
print(many.replay_with_a_look_at_each_order())
"""


def replay_with_a_look_at_each_order() -> tuple[int, int]:
    """In plain Python: before an order leaves, everything is added up as it is at that very moment."""
    from pr3dict.kernels import diff, limits_reference
    from pr3dict.kernels.reference import portfolio_heat_micros

    run = Replay(tapes_of(2, 1, 6), spec("max_portfolio_heat=0.002"), PESSIMISTIC)
    send, seen = diff.request, []

    def heat(w) -> int:
        rows = [limits_reference.worst_losses(market, w.orders[m]) for m, market in enumerate(w.markets)]
        return portfolio_heat_micros(*zip(*rows, strict=True), w.markets["event"].tolist())

    def look(w, now_ns, kind, m, slot, size):
        if kind == d.NEW:
            equity = int(w.account[0].local_cash_micros)
            for market in w.markets:
                fair = int(market["fair_micros"])
                value = int(market["yes_contracts"]) * fair
                value += int(market["no_contracts"]) * (MICRO - fair)
                equity += value // MICRO
            allowed = equity * int(w.rules[0].max_heat_ppm) // MICRO
            after = heat(w)
            w.orders[m, slot].state = d.FREE
            before = heat(w)
            w.orders[m, slot].state = d.PENDING
            assert after <= max(before, allowed), (after, before, allowed)
            seen.append(after > allowed * 9 // 10)
        send(w, now_ns, kind, m, slot, size)

    diff.request = look
    while not run.advance():
        pass
    return len(seen), sum(seen)


def test_heat_at_the_moment_of_each_order():
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_ORDER, __file__], env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    orders, near = (int(word) for word in done.stdout.strip("() \n").split(","))
    assert orders > 30 and near > 10, "the limit binds"


# --- exclusive outcomes -----------------------------------------------------------------------------------


def test_an_event_has_exactly_one_winner_and_each_market_wins_as_often_as_its_price_says():
    wins, expected = 0.0, 0.0
    for seed in range(150):
        tapes = synthetic_event(seed, short("calm", 1), markets=3)
        assert sorted(tape.meta.outcome for tape in tapes) == ["no", "no", "yes"]
        assert {(tape.meta.event_id, tape.meta.exclusive) for tape in tapes} == {
            (f"synthetic-calm-event-{seed}", True)
        }
        assert len({tape.meta.ticker for tape in tapes}) == 3
        first = tapes[0].events
        best = first[(first["kind"] == 3) & (first["side"] == 0)]["price"].max()
        wins += tapes[0].meta.outcome == "yes"
        expected += (best + 200) / 10_000  # the makers' first bid is about two cents below p0
    assert wins == pytest.approx(expected, abs=3 * (150 * 0.25) ** 0.5)


def test_an_event_is_a_function_of_its_seed():
    one, again, other = (synthetic_event(seed, short("thin", 2), markets=2) for seed in (5, 5, 6))
    assert [tape.events.tobytes() for tape in one] == [tape.events.tobytes() for tape in again]
    assert one[0].events.tobytes() != other[0].events.tobytes()
    assert one[0].events.tobytes() != one[1].events.tobytes()
    with pytest.raises(UsageError, match="1 markets"):
        synthetic_event(1, regime("calm"), markets=1)
    with pytest.raises(UsageError, match="negative"):
        synthetic_event(-1, regime("calm"), markets=2)


def test_markets_exclude_each_other_where_their_tapes_say_so():
    metas = [tape.meta for tape in crowd(2, 2, 2)]
    assert market_rows(metas)["event"].tolist() == [-1, -1, *[0] * 5, *[1] * 5]
    elsewhere = msgspec.structs.replace(metas[2], venue="kalshi")
    assert market_rows([metas[3], elsewhere, metas[4]])["event"].tolist() == [0, 1, 0]
    silent = msgspec.structs.replace(metas[3], exclusive=False)
    assert market_rows([metas[2], silent, metas[4]])["event"].tolist() == [0, -1, 0]
    again = msgspec.structs.replace(metas[2], session="another")  # one market twice: both may end YES
    assert market_rows([metas[2], again, metas[3]])["event"].tolist() == [0, -1, 0]


def test_outcomes_of_one_event_need_less_heat_than_markets_apart():
    exclusive = tapes_of(0, 2, 20)
    apart = msgspec.structs.replace
    metas = tuple(apart(meta, exclusive=False) for meta in exclusive.metas)
    separate = merge(
        [Tape(tape.events.copy(), meta) for tape, meta in zip(crowd(0, 2, 20), metas, strict=True)],
        latency_ns=LATENCY_NS,
    )
    together, alone = (finished(tapes, "max_portfolio_heat=0.9") for tapes in (exclusive, separate))
    assert together.world.fills.tobytes() == alone.world.fills.tobytes(), "no limit was near"
    heats = [int(run.world.account[0].max_heat_micros) for run in (together, alone)]
    assert 0 < heats[0] < heats[1]
    limit = f"max_portfolio_heat={heats[0] / CASH / 2:.6f}"
    orders = [int(finished(tapes, limit).world.stats["orders"].sum()) for tapes in (exclusive, separate)]
    assert orders[0] > orders[1], "under one limit more can be quoted"


def test_the_report_says_which_worst_cases_are_shared():
    told = run_backtest(tapes_of(2, 1, 5), spec()).assumptions
    assert any(line.startswith("5 of 7 tapes are outcomes of 1 exclusive events") for line in told)
    told = run_backtest(tapes_of(2, 0, 5), spec()).assumptions
    assert not any("exclusive" in line for line in told)


# --- jobs -------------------------------------------------------------------------------------------------


def test_the_result_is_the_same_for_any_number_of_jobs(tmp_path):
    for name, tape in enumerate(crowd(6, 1, 5)):
        write_tape(tmp_path / f"{name}.parquet", tape.events, tape.meta)
    answers, told = [], []
    for jobs in (1, 2, 5):
        tapes = load([tmp_path], latency_ns=LATENCY_NS, jobs=jobs)
        result = run_backtest(tapes, spec(queue="power3"), lambda *what: told.append(what), jobs=jobs)
        answer = result.to_json()
        assert answer.pop("elapsed_s") > 0
        assert answer.pop("events_per_s") > 0
        answers.append(json.dumps(answer))
    assert answers[0] == answers[1] == answers[2]
    assert json.loads(answers[0])["fills"] > 0
    for queue in ("power3", PESSIMISTIC, OPTIMISTIC):
        assert [share for name, share in told if name == queue].count(1.0) == 3


def test_compiled_replays_run_beside_each_other():
    """Two replays in two threads at once end as each does alone."""
    tapes = tapes_of(40, 4, 20)
    alone = finished(tapes)
    runs = run_jobs([lambda _: finished(tapes), lambda _: finished(tapes)], 2)
    for run in runs:
        for name in ("fills", "stats", "orders", "curve", "account"):
            assert getattr(run.world, name).tobytes() == getattr(alone.world, name).tobytes()


def test_jobs_keep_their_order_and_one_job_needs_no_thread():
    here = threading.get_ident()
    assert run_jobs([lambda _, k=k: k for k in range(20)], 4) == list(range(20))
    assert run_jobs([lambda _: threading.get_ident()] * 3, 1) == [here] * 3
    assert here not in run_jobs([lambda _: threading.get_ident()] * 3, 2)
    assert run_jobs([], 2) == []
    assert cores() >= 1


def test_an_error_stops_the_other_jobs():
    waited = []

    def long(stop):
        waited.append(stop.wait(60))

    def wrong(_):
        raise UsageError("this one fails")

    with pytest.raises(UsageError, match="this one fails"):
        run_jobs([long, wrong, *[long] * 5], 2)
    assert waited in ([True], [True, True]), "those that ran were told, the others never began"


# --- size -------------------------------------------------------------------------------------------------


def test_five_thousand_markets_take_less_than_two_gibibytes():
    n = 5_000
    world = new_world(
        make_grids([range(100, 10_000, 100)]), np.zeros(n, d.PARAMS), np.zeros(n, d.FEE), new_market(n),
        grid_of_market=[0] * n, rules=np.zeros(1, d.RULES), cash_micros=CASH, fill_capacity=1,
        curve_capacity=1,
    )  # fmt: skip
    total = sum(getattr(world, name).nbytes for name in FIELDS if name != "grids")
    assert len(world.markets) == n and total < 110 << 20
