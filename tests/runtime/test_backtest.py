"""Backtests of generated tapes: merged clocks, exact money, brackets, and answers that repeat."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache

import msgspec
import numpy as np
import pytest

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.market import kalshi_grid, polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.messages import ERROR_INBOX_FULL
from pr3dict.runtime.backtest import Replay, curve_interval_ns, run_backtest
from pr3dict.runtime.spec import OPTIMISTIC, PESSIMISTIC, QUEUES, make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import (
    expand_paths,
    fee_name,
    fee_rows,
    grid_rows,
    load,
    market_rows,
    merge,
    trading_day_offset_ns,
)
from pr3dict.store.tape import Tape, write_tape
from pr3dict.strategies.presets import build_config

LATENCY_NS = 50_000_000
MICRO = 1_000_000
CASH = 10_000 * MICRO


@cache
def market(regime: str, seed: int = 3) -> Tape:
    return synthetic_market(seed, regime)


def fresh(tape: Tape) -> Tape:
    return Tape(tape.events.copy(), tape.meta)


def cut(tape: Tape, events: int) -> Tape:
    return Tape(tape.events[:events].copy(), tape.meta)


def spec(preset: str = "default", *settings: str, **assumptions):
    config = build_config(preset, assignments=settings)
    return make_spec(config, preset=preset, **{"cash_micros": CASH, **assumptions})


@cache
def wide():
    """One backtest that fills, shared by the tests that only look at it."""
    tapes = merge([fresh(market("wide_spread")), fresh(market("deep_book"))], latency_ns=LATENCY_NS)
    return tapes, run_backtest(tapes, spec())


# --- tapes on one clock -----------------------------------------------------------------------------------


def test_events_of_several_tapes_come_in_order_and_keep_their_own():
    parts = [cut(market("calm"), 900), cut(market("thin"), 700), cut(market("short_dated"), 800)]
    tapes = merge(parts, latency_ns=LATENCY_NS)
    assert (np.diff(tapes.events["exch_ns"]) >= 0).all()
    assert (tapes.events["kind"] != d.SNAPSHOT).all()
    assert tapes.events["local_ns"].tolist() == [int(t) + LATENCY_NS for t in tapes.events["exch_ns"]]
    for row, part in enumerate(parts):
        alone = merge([part], latency_ns=LATENCY_NS).events
        mine = tapes.events[tapes.events["market"] == row]
        for field in ("exch_ns", "kind", "side", "price", "qty"):
            assert mine[field].tolist() == alone[field].tolist()


def test_what_we_see_stays_in_order_where_exchange_time_stands_still():
    tape = cut(market("calm"), 300)
    tape.events["exch_ns"][-50:] = tape.events["exch_ns"][-1]
    events = merge([tape], latency_ns=0).events
    assert (np.diff(events["local_ns"]) >= 0).all()
    assert (events["local_ns"] >= events["exch_ns"]).all()


def test_a_tape_without_settlement_closes_its_market_and_a_settled_one_is_left_alone():
    whole, part = fresh(market("calm")), cut(market("calm"), 500)
    assert whole.events[-1]["kind"] == d.SETTLE
    settled, stopped = (merge([tape], latency_ns=0).events for tape in (whole, part))
    assert settled[-1]["kind"] == d.SETTLE
    assert (int(stopped[-1]["kind"]), int(stopped[-1]["aux"])) == (d.STATUS, d.CLOSED)
    assert stopped[-1]["exch_ns"] == part.events[-1]["exch_ns"]


def test_grids_are_numbered_over_all_tapes():
    cents, tenths = polymarket_grid(100), polymarket_grid(10)
    tapes = []
    for grids in ((kalshi_grid("tapered_deci_cent"),), (tenths, cents)):
        base = cut(market("calm"), 400)
        base.events[-1]["kind"], base.events[-1]["aux"] = d.TICK, len(grids) - 1
        tapes.append(Tape(base.events, msgspec.structs.replace(base.meta, grids=grids)))
    merged = merge(tapes, latency_ns=0)
    grids, first = grid_rows(merged.metas)
    ticks = merged.events[merged.events["kind"] == d.TICK]
    last = {int(row["market"]): int(row["aux"]) for row in ticks}
    for grid, row in ((tapes[0].meta.grids[0], first[0]), (tenths, first[1]), (cents, last[1])):
        count = int(grids.level_count[row])
        assert tuple(grids.price_of_level[row, :count].tolist()) == grid.prices()
    assert last[0] == first[0]


def test_a_ticker_recorded_twice_is_told_apart():
    one, other = cut(market("calm"), 300), cut(market("calm"), 600)
    again = Tape(other.events, msgspec.structs.replace(other.meta, session="evening"))
    assert merge([one, again], latency_ns=0).names == (
        "synthetic-calm-3@seed-3",
        "synthetic-calm-3@evening",
    )
    names = merge([one, one, cut(market("thin"), 300)], latency_ns=0).names
    assert len(set(names)) == 3
    assert names[2] == "synthetic-thin-3"


SEPTEMBER_2026_NS = 1_790_000_000 * 10**9  # the present rounding rule
MAY_2026_NS = 1_778_000_000 * 10**9


def test_the_rounding_rule_is_that_of_the_recording():
    meta = market("calm").meta
    row = fee_rows([meta], at_ns=MAY_2026_NS, direct_member=True)[0]
    units = (int(row["trade_unit_micros"]), int(row["unit_micros"]), int(row["rebate_unit_micros"]))
    assert units == (100, 100, 10_000)


def test_kalshi_trades_by_new_york_days_and_polymarket_by_utc_days():
    hours = [
        trading_day_offset_ns(venue, MAY_2026_NS) // 3_600_000_000_000 for venue in ("kalshi", "polymarket")
    ]
    assert hours == [4, 0]
    assert trading_day_offset_ns("kalshi", 1_768_000_000 * 10**9) == 5 * 3_600_000_000_000  # January


def test_market_and_fee_rows_say_what_the_tape_says():
    meta = msgspec.structs.replace(
        market("calm").meta, close_ns=None, expected_resolution_ns=None, nets_positions=False
    )
    known, unknown = market_rows([market("calm").meta, meta])
    assert int(known["resolution_ns"]) == int(known["close_ns"]) == market("calm").meta.close_ns
    assert int(unknown["resolution_ns"]) == int(unknown["close_ns"]) == -1
    assert (int(known["nets_positions"]), int(unknown["nets_positions"])) == (1, 0)
    cent, direct = (
        fee_rows([meta], at_ns=SEPTEMBER_2026_NS, direct_member=flag)[0] for flag in (False, True)
    )
    assert (int(cent["kind"]), int(cent["taker_ppm"]), int(cent["maker_ppm"])) == (d.FEE_KALSHI, 70_000, 0)
    assert int(direct["unit_micros"]) == 100
    assert int(cent["unit_micros"]) == 10_000
    assert fee_name(meta, direct_member=True) == "kalshi taker 7%, maker 0%, direct member"


def test_paths_are_files_folders_and_patterns_each_once(tmp_path):
    for name in ("b.parquet", "a.parquet", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    assert expand_paths([b, tmp_path, str(tmp_path / "*.parquet")]) == [b, a]
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "none.parquet", "no such file"), (tmp_path / "empty", "no \\*.parquet")):
        with pytest.raises(DataError, match=words):
            expand_paths([path])
    with pytest.raises(DataError, match="no tape was named"):
        load([], latency_ns=0)
    with pytest.raises(DataError, match=r"a\.parquet"):
        load([a], latency_ns=0)


def test_a_written_tape_loads_as_it_was(tmp_path):
    tape = market("thin")
    write_tape(tmp_path / "t.parquet", tape.events, tape.meta)
    seen = []
    loaded = load([tmp_path], latency_ns=LATENCY_NS, on_progress=lambda done, all_: seen.append((done, all_)))
    assert loaded.events.tobytes() == merge([tape], latency_ns=LATENCY_NS).events.tobytes()
    assert seen[0] == (0, 1)


# --- money ------------------------------------------------------------------------------------------------


def test_equity_moves_by_cash_and_payouts_of_every_fill():
    """Every fill and payout once more in decimals, without the ledger."""
    tapes, result = wide()
    run = Replay(tapes, spec(), PESSIMISTIC)
    while not run.advance():
        pass
    assert int(run.world.clock[0].fill_count) == result.report.total.count("fills") > 10
    equity = Decimal(CASH)
    for fill in run.world.fills[: int(run.world.clock[0].fill_count)]:
        price = Decimal(int(fill["price"])) / 10_000
        pays = Decimal(1 if tapes.metas[int(fill["market"])].outcome == "yes" else 0)
        qty = Decimal(int(fill["qty"]))
        equity += qty * (pays - price if fill["side"] == d.BID else price - pays)
        equity += int(fill["rebate_micros"]) - int(fill["fee_micros"])
    assert equity == result.report.equity_end_micros


def test_the_parts_add_up_everywhere():
    _, result = wide()
    answer = result.to_json()
    for figures in (answer, *answer["per_market"]):
        parts = {name: Decimal(value) for name, value in figures["pnl"].items()}
        assert parts.pop("net") == sum(parts.values())
    change = Decimal(answer["equity_end"]) - Decimal(answer["equity_start"])
    assert change == Decimal(answer["pnl"]["net"])
    assert change == sum(Decimal(one["pnl"]["net"]) for one in answer["per_market"])
    for name in ("fills", "orders", "events", "decisions"):
        assert answer[name] == sum(one[name] for one in answer["per_market"])


def test_a_position_without_payout_is_marked_not_sold():
    tape = market("wide_spread")
    for events in range(4_000, len(tape.events), 4_000):
        result = run_backtest(merge([cut(tape, events)], latency_ns=LATENCY_NS), spec())
        books = result.report.markets[0].books
        if books.net_contracts:
            break
    assert books.net_contracts != 0
    assert not books.valuation.settled
    assert result.report.total.pnl.resolution == 0
    assert any("marked at the last two-sided mid" in sentence for sentence in result.assumptions)
    assert result.to_json()["per_market"][0]["net_position"] == books.net_contracts / MICRO


def test_a_recording_that_stops_is_not_quoted_on():
    """The market whose tape stops is decided as often as without the longer tape beside it."""
    short, long = cut(market("wide_spread"), 5_000), fresh(market("deep_book"))
    alone = run_backtest(merge([short], latency_ns=LATENCY_NS), spec())
    beside = run_backtest(merge([short, long], latency_ns=LATENCY_NS), spec())
    count = alone.report.total.count
    assert count("decisions") > 100
    assert abs(beside.report.markets[0].figures.count("decisions") - count("decisions")) <= 2
    quotable = beside.report.markets[0].figures.count("quotable_ns")
    assert abs(quotable - count("quotable_ns")) <= LATENCY_NS


# --- runs -------------------------------------------------------------------------------------------------


def test_two_runs_are_the_same_but_for_their_speed():
    tapes, first = wide()
    answers = [first.to_json(), run_backtest(tapes, spec()).to_json()]
    for answer in answers:
        assert answer.pop("elapsed_s") > 0
        assert answer.pop("events_per_s") > 0
    assert json.dumps(answers[0]) == json.dumps(answers[1])


def test_the_bracket_is_what_its_ends_give_alone():
    tapes, result = wide()
    for bracket, queue in ((result.pessimistic, PESSIMISTIC), (result.optimistic, OPTIMISTIC)):
        alone = run_backtest(tapes, spec(queue=queue))
        assert alone.report.total.pnl.net_micros == bracket.net_micros
        assert alone.report.total.count("fills") == bracket.fills
    middle = run_backtest(tapes, spec(queue="power3"))
    assert (middle.pessimistic, middle.optimistic) == (result.pessimistic, result.optimistic)


def test_every_assumption_reaches_the_rules():
    tapes, _ = wide()
    chosen = spec("default", "max_portfolio_heat=0.1", "daily_loss_limit=7", "rearm_daily=true",
                  queue="log2", queue_power=2.5, latency_ms=20)  # fmt: skip
    rules = Replay(tapes, chosen, chosen.queue).world.rules[0]
    assert int(rules["queue"]) == QUEUES["log2"] == d.QUEUE_LOG2
    assert float(rules["queue_power"]) == 2.5
    assert int(rules["entry_ns"]) == int(rules["response_ns"]) == 20_000_000
    assert int(rules["max_heat_ppm"]) == 100_000
    assert int(rules["daily_loss_limit_micros"]) == 7 * MICRO
    assert bool(rules["rearm_daily"])


def test_a_list_of_fills_that_is_too_short_is_made_longer():
    tapes, result = wide()
    run = Replay(tapes, spec(), PESSIMISTIC)
    run._start(1)
    while not run.advance():
        pass
    assert len(run.world.fills) > 1
    assert run.report().equity_end_micros == result.report.equity_end_micros


def test_another_overflow_is_named(monkeypatch):
    tapes, _ = wide()
    run = Replay(tapes, spec(), PESSIMISTIC)
    run.world.account[0].error = ERROR_INBOX_FULL
    with pytest.raises(WorkError, match="the ring of messages from the exchange is full"):
        run.advance()


def test_latency_costs_and_progress_is_told():
    tapes, result = wide()
    told = []
    slow = run_backtest(tapes, spec(latency_ms=5_000), lambda queue, share: told.append((queue, share)))
    assert slow.report.total.pnl.net_micros != result.report.total.pnl.net_micros
    assert (PESSIMISTIC, 1.0) in told
    assert (OPTIMISTIC, 1.0) in told
    shares = [share for queue, share in told if queue == PESSIMISTIC]
    assert shares == sorted(shares)
    assert len(shares) > 5


def test_the_curve_is_finer_for_short_tapes():
    assert curve_interval_ns(3_600 * 10**9) == 10 * 10**9
    assert curve_interval_ns(3_600 * 10**9 + 1) == 60 * 10**9


def test_a_preset_that_never_quotes_says_which_filter_stopped_it():
    result = run_backtest(merge([fresh(market("short_dated"))], latency_ns=LATENCY_NS), spec())
    assert result.report.total.count("orders") == 0
    first = result.not_quoted[0][0]
    assert first.startswith("too_close_to_resolution in ")
    assert first.endswith("min_time_to_resolution is 30 min")
    assert result.report.total.pnl.net_micros == 0
    assert result.to_json()["fill_rate"] is None


def test_trades_and_synthetic_are_stated():
    tape = cut(market("calm"), 400)
    for label, words in (("inferred", "inferred trades"), ("none", "no trades")):
        meta = msgspec.structs.replace(tape.meta, has_trades=label, synthetic=False)
        result = run_backtest(merge([Tape(tape.events.copy(), meta)], latency_ns=0), spec())
        assert result.to_json()["trades"] == label
        assert result.to_json()["synthetic"] is False
        assert any(words in sentence for sentence in result.assumptions)
    assert any("synthetic" in sentence for sentence in wide()[1].assumptions)


# --- which markets are quoted -----------------------------------------------------------------------------


def test_the_report_says_who_had_a_place_and_why_not():
    """One place for four markets that are open at once; the last never qualifies."""
    tapes = merge(
        [cut(market(regime), 3_000) for regime in ("calm", "wide_spread", "deep_book", "short_dated")],
        latency_ns=LATENCY_NS,
    )
    result = run_backtest(tapes, spec("default", "max_markets=1"))
    answer = result.to_json()
    hours = [one["selected_hours"] for one in answer["per_market"]]
    assert all(one["events"] > 0 for one in answer["per_market"])
    assert sum(hours) <= tapes.span_ns / 3.6e12
    never = [m for m, one in enumerate(answer["per_market"]) if not one["times_selected"]]
    assert 3 in never
    assert [hours[m] for m in never] == [0.0] * len(never)
    assert all(answer["per_market"][m]["orders"] == 0 for m in never)
    sentences = answer["per_market"][3]["not_quoted_because"]
    assert sentences[0].startswith("not_selected: time to resolution")
    assert any("At most 1 of 4 markets are quoted at once" in words for words in result.assumptions)
    whole = run_backtest(tapes, spec("default", "max_markets=4")).to_json()
    assert {one["selected_hours"] for one in whole["per_market"]} == {None}
    assert not any("At most" in words for words in whole["assumptions"])


def test_a_market_that_ended_makes_room():
    first, second = cut(market("calm"), 400), cut(market("wide_spread"), 400)
    second.events["exch_ns"] += first.events["exch_ns"][-1] - second.events["exch_ns"][0] + 1
    result = run_backtest(merge([first, second], latency_ns=0), spec("default", "max_markets=1"))
    assert [one.times for one in result.places] == [1, 1]


def test_the_fixed_spread_policy_winds_down_what_has_no_place():
    regimes = ("calm", "wide_spread", "one_sided_flow", "news_heavy")
    tapes = merge([cut(market(regime), 4_000) for regime in regimes], latency_ns=LATENCY_NS)
    settings = ("policy=fixed_spread", "fixed_half_spread=0.01", "max_markets=2", "rotation_minutes=1",
                "rotation_advantage=0", "min_liquidity=0", "min_existing_spread=0")  # fmt: skip
    run = Replay(tapes, spec("default", *settings), PESSIMISTIC)
    wound_down, before, waiting_since = 0, np.zeros(4, np.int64), np.zeros(4, np.int64)
    while not run.advance(1):
        world = run.world
        net = np.abs(world.holdings["yes_contracts"] - world.holdings["no_contracts"])
        now_ns, waits = int(world.clock[0].now_ns), world.markets["waiting"] == 1
        waiting_since = np.where(waits, np.where(waiting_since == 0, now_ns, waiting_since), 0)
        settled = waits & (now_ns > waiting_since + 2 * LATENCY_NS)
        assert (net[settled] <= before[settled]).all()
        wound_down += int((net[settled] < before[settled]).sum())
        before = net
    assert wound_down > 0
