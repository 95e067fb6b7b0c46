"""Reports over worlds whose money a slow ledger kept, and the refusal of books that do not add up."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.analytics.refusals import Witness
from pr3dict.analytics.report import account_report, contracts, per_contract
from pr3dict.domain.errors import WorkError
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import World, make_grids, new_market, new_world

sys.path.insert(0, str(Path(__file__).parent))
from hand_made_fills import Trade, rows, trades

START = 10_000_000_000
MINUTE = 60 * 10**9


class Ledger:
    """YES, NO and cash of one market, a contract at a time in plain integers."""

    def __init__(self, nets: bool) -> None:
        self.nets, self.yes, self.no, self.cash = nets, 0, 0, 0

    def trade(self, t: Trade) -> None:
        yes_price = t.price * t.size // 10_000
        if t.side == d.BID:
            self.yes += t.size
            self.cash -= -(-t.price * t.size // 10_000)
        else:
            self.no += t.size
            self.cash -= t.size - yes_price
        if self.nets:
            pairs = min(self.yes, self.no)
            self.yes, self.no, self.cash = self.yes - pairs, self.no - pairs, self.cash + pairs

    def settle(self, value: int) -> None:
        self.cash += self.yes * value // 10**6 + self.no * (10**6 - value) // 10**6
        self.yes = self.no = 0


def build(made: list[Trade], nets: bool, marks: list[int], values: list[int]) -> World:
    """A world of two markets that traded `made`; `values` -1: open, -2: refunded."""
    n = len(marks)
    world = new_world(
        make_grids([range(1, 10_000)]), np.zeros(n, d.PARAMS), np.zeros(n, d.FEE), new_market(n),
        grid_of_market=[0] * n, rules=np.zeros(1, d.RULES), cash_micros=START,
        fill_capacity=len(made) + 1, curve_capacity=8,
    )  # fmt: skip
    ledgers = [Ledger(nets) for _ in marks]
    world.fills[: len(made)] = rows(made)
    world.clock[0].fill_count = len(made)
    for t in made:
        ledgers[t.market].trade(t)
        world.stats[t.market].fills += 1
        world.stats[t.market].contracts_filled += t.size
    fees = sum(t.fee - t.rebate for t in made)
    for m, ledger in enumerate(ledgers):
        stats, held = world.stats[m], world.holdings[m]
        stats.mark_micros = marks[m]
        if values[m] != -1:
            stats.mark_before_settle_micros = marks[m]
            stats.settled, stats.settle_value_micros = (2, -1) if values[m] == -2 else (1, values[m])
            if values[m] == -2:
                ledger.yes = ledger.no = ledger.cash = 0
            else:
                ledger.settle(values[m])
        held.yes_contracts, held.no_contracts, held.cost_micros = ledger.yes, ledger.no, -ledger.cash
    world.account[0].cash_micros = START + sum(ledger.cash for ledger in ledgers) - fees
    return world


markets = st.integers(0, 1)
marks = st.lists(st.integers(100, 999_900), min_size=2, max_size=2)
values = st.lists(st.sampled_from([-1, -2, 0, 1_000_000, 500_000, 333_333]), min_size=2, max_size=2)
placed = st.lists(st.tuples(trades, markets).map(lambda pair: replace(pair[0], market=pair[1])), max_size=12)


def report_of(world: World):  # type: ignore[no-untyped-def]
    return account_report(world, ["ONE", "TWO"], start_micros=START, curve_interval_ns=MINUTE)


@settings(max_examples=150, deadline=None)
@given(placed, st.booleans(), marks, values)
def test_equity_change_is_the_sum_of_all_parts(
    made: list[Trade], nets: bool, mark: list[int], value: list[int]
) -> None:
    world = build(made, nets, mark, value)
    report = report_of(world)
    held = sum(
        int(h.yes_contracts) * m // 10**6 + int(h.no_contracts) * (10**6 - m) // 10**6
        for h, m in zip(world.holdings, mark, strict=True)
    )
    assert report.equity_end_micros == int(world.account[0].cash_micros) + held
    assert report.total.pnl.net_micros == report.equity_end_micros - report.equity_start_micros
    assert sum(m.figures.pnl.net_micros for m in report.markets) == report.total.pnl.net_micros
    parts = report.total.to_json()["pnl"]
    assert isinstance(parts, dict)
    assert sum(Decimal(v) for k, v in parts.items() if k != "net") == Decimal(parts["net"])
    for market, refunded in zip(report.markets, (v == -2 for v in value), strict=True):
        if refunded:
            pnl = market.figures.pnl
            assert pnl.net_micros == pnl.fees + pnl.rebates


BOUGHT = [Trade(d.BID, 4_000, 10_000_000, mid=410_000, after=(405_000, 420_000, -1, -1), fee=70)]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda w: setattr(w.account[0], "cash_micros", w.account[0].cash_micros + 1), "account.*equity"),
        (lambda w: setattr(w.holdings[0], "cost_micros", w.holdings[0].cost_micros - 1), "ONE.*profit"),
        (lambda w: setattr(w.holdings[0], "yes_contracts", 9_999_999), "ONE.*net micro-contracts"),
        (lambda w: setattr(w.stats[0], "fills", 2), "ONE.*2 fills"),
        (lambda w: setattr(w.stats[0], "contracts_filled", 1), "ONE.*micro-contracts filled"),
        (lambda w: setattr(w.fills[0], "price", 4_001), "ONE.*profit"),
        (lambda w: setattr(w.fills[0], "fee_micros", 71), "account.*equity"),
    ],
)
def test_books_that_differ_by_one_micro_are_refused(break_it, words: str) -> None:  # type: ignore[no-untyped-def]
    world = build(BOUGHT, True, [450_000, 500_000], [-1, -1])
    assert report_of(world).total.pnl.net_micros == 500_000 - 70
    break_it(world)
    with pytest.raises(WorkError, match=words):
        report_of(world)


def test_a_curve_that_ends_elsewhere_is_refused() -> None:
    world = build(BOUGHT, True, [450_000, 500_000], [-1, -1])
    world.curve[0].equity_micros, world.clock[0].curve_count = START + 500_000 - 70, 1
    assert report_of(world).equity_end_micros == START + 500_000 - 70
    world.curve[0].equity_micros += 1
    with pytest.raises(WorkError, match="equity curve"):
        report_of(world)


def test_json_figures_by_hand() -> None:
    world = build(BOUGHT, True, [450_000, 500_000], [1_000_000, -1])
    stats = world.stats[0]
    stats.events, stats.decisions, stats.orders, stats.cancels, stats.orders_filled = 100, 50, 8, 5, 1
    stats.max_inventory, stats.forced_exits = 10_000_000, 1
    stats.quotable_ns, stats.two_sided_ns = 1_800 * 10**9, 1_350 * 10**9
    stats.quoted_spread_sum = 1_350e9 * 40_000.0
    stats.observed_ns, stats.skew_sum, stats.rebalancing_ns = 1_800 * 10**9, 1_800e9 * 5_000_000, 900 * 10**9
    stats.reason_counts[d.R_SKEWED] = 7
    for i, equity in enumerate((START, START + 50, START - 2_000_000, START + 5_999_930)):
        world.curve[i].exch_ns, world.curve[i].equity_micros = (i + 1) * MINUTE, equity
    world.clock[0].curve_count = 4
    report = report_of(world)
    found = report.total.to_json()
    assert found["pnl"] == {
        "net": "5.99993", "gross_spread": "0.10", "inventory": "0.00", "adverse_selection": "0.40",
        "fees": "-0.00007", "rebates": "0.00", "rewards": "0.00", "resolution": "5.50",
    }  # fmt: skip
    assert found["markouts"] == {"1s": "0.005", "10s": "0.02", "60s": None, "300s": None}
    expected = {
        "events": 100, "decisions": 50, "orders": 8, "cancels": 5, "fills": 1, "contracts_filled": 10,
        "fill_rate": 0.125, "two_sided_uptime": 0.75, "average_spread": "0.04", "max_inventory": 10,
        "average_inventory": 5.0, "rebalancing_share": 0.5, "requotes_per_hour": 16.0, "forced_exits": 1,
        "spread_per_contract": "0.01",
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert report.max_drawdown_micros == 2_000_050
    assert report.markets[0].reasons == {"skewed": 7}
    assert report.markets[1].figures.to_json()["fill_rate"] is None
    json.dumps(found, allow_nan=False)


def test_contract_counts_are_exact_numbers() -> None:
    assert contracts(12_000_000) == 12
    assert isinstance(contracts(12_000_000), int)
    assert contracts(12_340_000) == 12.34
    assert per_contract(None) is None


def test_an_unquoted_market_names_the_figure_that_stopped_it() -> None:
    world = build([], True, [-1, -1], [-1, -1])
    quotes, params, stats = world.quotes, world.params, world.stats
    witness = Witness(2)
    for liquidity in (3_000_000_000, 3_412_500_000, 2_000_000_000):
        quotes[0].reasons, quotes[0].liquidity_micros = 1 << d.R_LOW_LIQUIDITY, liquidity
        witness.look(quotes)
    quotes[0].reasons, quotes[0].resolution_left_ns = 1 << d.R_TOO_CLOSE, 900 * 10**9
    quotes[0].liquidity_micros = 9_000_000_000  # passed the filter then
    witness.look(quotes)
    params[0].min_liquidity_micros, params[0].min_time_to_resolution_ns = 5_000_000_000, 1_800 * 10**9
    params[0].min_existing_spread_micros, params[0].quote_size = 20_000, 3_000_000
    world.markets[0].min_size = 5_000_000
    stats[0].decisions = 1_200
    counts = {
        d.R_LOW_LIQUIDITY: 1_000,
        d.R_TOO_CLOSE: 1_150,
        d.R_NARROW_SPREAD: 3,
        d.R_NO_BOOK: 2,
        d.R_BID_BELOW_MIN: 1,
    }
    for bit, count in counts.items():
        stats[0].reason_counts[bit] = count
    told = witness.sentences(0, world)
    assert [sentence.partition(": ")[::2] for sentence in told] == [
        (
            "too_close_to_resolution in 1,150 of 1,200 decisions",
            "up to 15 min were left to resolution, min_time_to_resolution is 30 min",
        ),
        (
            "low_liquidity in 1,000 of 1,200 decisions",
            "up to $3,412.50 rested within 10 cents of mid, min_liquidity is $5,000.00",
        ),
        ("narrow_spread in 3 of 1,200 decisions", "min_existing_spread is $0.0200"),
        ("no_book in 2 of 1,200 decisions", "the recording showed no bid and no ask"),
        (
            "bid_size_below_min in 1 of 1,200 decisions",
            "limits left less than the smallest order, 5 contracts; quote_size is 3",
        ),
    ]
    assert witness.sentences(1, world) == ["no decision was taken: the tape never showed this market's book"]
    stats[0].orders = 1
    assert witness.sentences(0, world) == []
