"""Fills of a replay, folded by the ledger, against the same split written out one fill at a time."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.analytics.attribution import ledger_fills, valuation_of
from pr3dict.domain.ledger import Attribution, Valuation, fold
from pr3dict.kernels import dtypes as d

sys.path.insert(0, str(Path(__file__).parent))
from hand_made_fills import Trade, rows, trades

MARK = st.integers(50, 999_950)
valuations = st.one_of(
    st.builds(Valuation, mark_micros=MARK),
    st.builds(
        Valuation,
        mark_micros=MARK,
        settled=st.just(True),
        value_micros=st.sampled_from([0, 1_000_000, 500_000]),
    ),
)
PARTS = ("gross_spread", "adverse_selection", "inventory", "resolution")


def slow_parts(made: list[Trade], end: Valuation) -> dict[str, Fraction]:
    """Each part in micros, one fill at a time, with nothing rounded."""
    parts = dict.fromkeys(PARTS, Fraction(0))
    for t in made:
        sign = 1 if t.side == d.BID else -1
        price = t.price * 100
        mid = t.mid if t.mid >= 0 else price
        after = t.after[2] if t.after[2] >= 0 else end.mark_micros
        final = end.value_micros if end.settled else end.mark_micros
        path = (price, mid, after, end.mark_micros, final)
        for i, name in enumerate(PARTS):
            parts[name] += Fraction(sign * (path[i + 1] - path[i]) * t.size, 1_000_000)
    return parts


@settings(max_examples=150, deadline=None)
@given(st.lists(trades, max_size=20), valuations)
def test_rows_are_split_like_the_slow_way(made: list[Trade], end: Valuation) -> None:
    split = fold(ledger_fills(rows(made), ["M"]), {"M": end}).total
    slow = slow_parts(made, end)
    for name in ("gross_spread", "adverse_selection", "resolution"):
        assert getattr(split, name) == int(slow[name])
    assert abs(split.inventory - slow["inventory"]) <= len(made) + 4
    fees, rebates = sum(t.fee for t in made), sum(t.rebate for t in made)
    assert (split.fees, split.rebates) == (-fees, rebates)
    assert abs(split.net_micros - (sum(slow.values()) - fees + rebates)) <= len(made) + 1


def test_a_round_trip_by_hand() -> None:
    made = [
        Trade(d.BID, 4_800, 10_000_000, mid=500_000, after=(-1, -1, 495_000, -1), fee=1_000),
        Trade(d.ASK, 5_200, 4_000_000, mid=500_000, after=(-1, -1, 510_000, -1), rebate=300),
    ]
    end = Valuation(mark_micros=520_000, settled=True, value_micros=1_000_000)
    split = fold(ledger_fills(rows(made), ["M"]), {"M": end}).total
    assert split == Attribution(
        gross_spread=200_000 + 80_000,
        adverse_selection=-50_000 - 40_000,
        inventory=250_000 - 40_000,
        resolution=4_800_000 - 1_920_000,
        fees=-1_000,
        rebates=300,
    )
    # Paid 4.80 for ten, got 2.08 for four, six pay 6.00.
    assert split.net_micros == -4_800_000 + 2_080_000 + 6_000_000 - 1_000 + 300


def test_valuations_of_each_ending() -> None:
    stats = np.zeros(1, d.MARKET_STATS)[0]
    stats.mark_micros, stats.mark_before_settle_micros, stats.settle_value_micros = 450_000, -1, -1
    assert valuation_of(stats) == Valuation(mark_micros=450_000)
    stats.settled, stats.mark_before_settle_micros, stats.settle_value_micros = 1, 440_000, 1_000_000
    assert valuation_of(stats) == Valuation(mark_micros=440_000, settled=True, value_micros=1_000_000)
    stats.settled = 2
    assert valuation_of(stats) == Valuation(mark_micros=440_000, settled=True)
