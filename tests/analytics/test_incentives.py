"""Liquidity incentives: by hand, against a slow reading of the rules order by order, and by its laws."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.analytics.incentives import (
    SHARE_SCALE,
    Own,
    OwnTurn,
    PeriodScore,
    score_period,
    side_share,
    snapshot_ns,
    snapshot_score,
    weight,
)
from pr3dict.domain.errors import ConfigError
from pr3dict.kernels import dtypes as d
from pr3dict.risk.programme import IncentiveTerms, ProgrammeConfig

SECOND = 1_000_000_000
CONTRACT = 1_000_000
T0 = 1_778_716_800  # 2026-05-14T00:00:00Z
HALF = 500_000


def period(**changes):
    given = {"ticker": "KXA-1", "target_size": 100, "reward": 100, "start": "2026-05-14T00:00:00Z",
             "end": "2026-05-14T00:10:00Z"}  # fmt: skip
    return IncentiveTerms(**(given | changes))


def test_a_worked_example():
    """Target 1,000, factor 0.5. Bids: 600 at 50c (200 ours), 300 at 49c, 400 at 47c (400 ours), 900 at 46c.

    600 + 300 + 400 reach 1,000, so the 900 at 46c score nothing. Scores: 600 + 150 + 50 = 800, ours 200 + 50.
    Asks: 1,000 at 52c, none ours: 0. The snapshot scores 250/800 of the 2 that all users share.
    """
    bids = {5000: 600, 4900: 300, 4700: 400, 4600: 900}
    ours = {5000: 200, 4700: 400, 4600: 900}
    assert side_share(bids, ours, d.BID, 1000, HALF) == Fraction(250, 800)
    assert snapshot_score((bids, {5200: 1000}), (ours, {}), 1000, HALF) == Fraction(5, 16)
    mirrored = {10_000 - price: size for price, size in bids.items()}
    own = {10_000 - price: size for price, size in ours.items()}
    assert side_share(mirrored, own, d.ASK, 1000, HALF) == Fraction(250, 800)
    assert snapshot_score((bids, {5200: 999}), (ours, {}), 1000, HALF) is None  # void for everybody


ORDERS = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=4)  # size, user
SIDES = st.dictionaries(st.integers(1, 99), ORDERS, max_size=6)


def slow_scores(levels, side, target, factor):
    """Score of each user, order by order, as the rules say it; None: void."""
    best = (max if side == d.BID else min)(levels, default=None)
    scores, total = {}, 0
    for price in sorted(levels, reverse=side == d.BID):
        for size, user in levels[price]:
            cents = abs(best - price)
            scores[user] = scores.get(user, Fraction(0)) + Fraction(size) * factor**cents
            total += size
        if total >= target:
            everybody = sum(scores.values())
            return {user: score / everybody for user, score in scores.items()}
    return None


@given(SIDES, SIDES, st.integers(1, 120), st.sampled_from([0, 250_000, HALF, 900_000, 1_000_000]))
def test_every_user_gets_what_a_slow_reading_gives_him_and_all_together_get_two(bids, asks, target, ppm):
    factor = Fraction(ppm, 1_000_000)
    slow = [slow_scores(levels, side, target, factor) for side, levels in ((d.BID, bids), (d.ASK, asks))]

    def sizes(levels, user=None):
        return {
            price * 100: sum(size for size, who in orders if user is None or who == user) * CONTRACT
            for price, orders in levels.items()
        }

    total = Fraction(0)
    for user in range(4):
        found = snapshot_score(
            (sizes(bids), sizes(asks)), (sizes(bids, user), sizes(asks, user)), target * CONTRACT, ppm
        )
        if slow[0] is None or slow[1] is None:
            assert found is None
        else:
            assert found == slow[0].get(user, 0) + slow[1].get(user, 0)
            total += found
    assert total == (0 if None in slow else 2)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 1_000_000))
def test_a_weight_never_grows_with_distance_and_is_exact_on_whole_cents(near, more, ppm):
    assert weight(ppm, near + more) <= weight(ppm, near) <= 1
    cents = near // 100
    assert weight(ppm, cents * 100) == Fraction(ppm, 1_000_000) ** cents
    assert float(weight(ppm, near)) == pytest.approx((ppm / 1e6) ** (near / 100), rel=1e-9)


def score(share, reward="100", **changes):
    terms = period(reward=reward, **changes)
    return PeriodScore(terms, 600, 0, 0, 600, int(share * 2 * SHARE_SCALE * 600))


@pytest.mark.parametrize(
    ("share", "reward", "paid"),
    [
        (Fraction(1, 3), "100", 33_330_000),  # $33.333... floored to the cent
        (Fraction(1, 101), "100", 0),  # 99 cents: nothing
        (Fraction(1, 100), "100", 1_000_000),
        (1, "10", 10_000_000),
        (0, "1000", 0),
    ],
)
def test_payment(share, reward, paid):
    assert score(share, reward).reward_micros == paid


def test_one_account_is_paid_at_most_what_the_programme_says():
    assert score(1, "1000", max_reward="250").reward_micros == 250_000_000


def test_seconds_that_we_did_not_see_never_raise_the_share():
    seen = PeriodScore(period(), 300, 0, 0, 300, 300 * SHARE_SCALE)
    half = PeriodScore(period(), 300, 0, 300, 300, 300 * SHARE_SCALE)
    void = PeriodScore(period(), 300, 300, 0, 300, 300 * SHARE_SCALE)
    assert (seen.share, half.share, void.share) == (Fraction(1, 2), Fraction(1, 4), Fraction(1, 2))


def row(at_ns, side, price, size, kind=d.LEVEL, bits=0):
    found = np.zeros(1, d.EVENT)
    found["local_ns"] = found["exch_ns"] = at_ns
    found["kind"], found["side"], found["price"], found["qty"], found["bits"] = kind, side, price, size, bits
    return found


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 590 * SECOND),
        st.sampled_from([d.BID, d.ASK]),
        st.integers(40, 60),
        st.integers(0, 150),
    ),
    max_size=40,
)
OWN = st.lists(
    st.tuples(
        st.integers(0, 590 * SECOND),
        st.lists(
            st.tuples(st.sampled_from([d.BID, d.ASK]), st.integers(40, 60), st.integers(1, 90)), max_size=3
        ),
    ),
    max_size=6,
)


@settings(max_examples=15, deadline=None)
@given(CHANGES, OWN, st.booleans())
def test_a_period_is_the_sum_of_its_seconds(changes, own, includes):
    """Each second looked up anew from all that had happened by its instant."""
    terms = period()
    changes, own = sorted(changes), sorted(own)
    rows = [row(T0 * SECOND + at, side, price * 100, size * CONTRACT) for at, side, price, size in changes]
    turns = [
        OwnTurn(
            T0 * SECOND + at, tuple(Own(side, price * 100, size * CONTRACT) for side, price, size in orders)
        )
        for at, orders in own
    ]
    found = score_period(
        terms,
        np.concatenate(rows) if rows else np.zeros(0, d.EVENT),
        turns,
        (T0 + 600) * SECOND,
        includes_own=includes,
    )
    valid = void = unseen = total = 0
    for second in range(T0, T0 + 600):
        at = snapshot_ns("KXA-1", second) - T0 * SECOND
        book = ({}, {})
        before = [one for one in changes if one[0] <= at]
        for _, side, price, size in before:
            book[side][price] = size * CONTRACT
        orders = ([[], *(orders for when, orders in own if when <= at)])[-1]
        if not before:
            unseen += 1
            continue
        mine = ({}, {})
        for side, price, size in orders:
            mine[side][price] = mine[side].get(price, 0) + size * CONTRACT
        for side in (0, 1):
            for price, size in mine[side].items():
                shown = book[side].get(price, 0)
                book[side][price] = max(shown, size) if includes else shown + size
        share = snapshot_score(book_units(book), book_units(mine), 100 * CONTRACT, HALF)
        if share is None:
            void += 1
        else:
            valid += 1
            total += share.numerator * SHARE_SCALE // share.denominator
    assert (found.valid, found.void, found.unseen) == (valid, void, unseen)
    assert found.score == total


def book_units(sides):
    return tuple({price * 100: size for price, size in side.items()} for side in sides)


def test_a_snapshot_row_clears_the_book_a_paused_market_is_void_and_what_nobody_saw_is_unseen():
    at = T0 * SECOND
    rows = np.concatenate(
        [
            row(at, d.BID, 5000, 500 * CONTRACT),
            row(at, d.ASK, 5100, 500 * CONTRACT),
            row(at + 100 * SECOND, d.BID, 4000, 500 * CONTRACT, d.SNAPSHOT, d.SNAP_FIRST | d.SNAP_LAST),
            row(at + 200 * SECOND, d.ASK, 5100, 500 * CONTRACT),
            row(at + 300 * SECOND, 0, 0, 0, d.STATUS),
        ]
    )
    rows["aux"][-1] = d.PAUSED
    mine = [OwnTurn(at, (Own(d.BID, 5000, 500 * CONTRACT), Own(d.ASK, 5100, 500 * CONTRACT)))]
    found = score_period(period(), rows, mine, at + 500 * SECOND, seen=[(at, at + 400 * SECOND)])
    assert (found.valid, found.void, found.unseen) == (300, 100, 100)
    assert found.quoted == 300
    halves = found.score / SHARE_SCALE
    alone = 100 * (500 / 500 + 500 / 500)  # after the snapshot we are the only ones at the best prices
    assert halves > 100 * 1.0 + alone * 0.9


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"ticker": ""}, "ticker"),
        ({"target_size": 0}, "target_size"),
        ({"end": "2026-05-13T00:00:00Z"}, "end"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-05-14T00:00:00"}, "start"),
    ],
)
def test_terms_that_make_no_sense_are_refused(changes, key):
    with pytest.raises(ConfigError) as error:
        period(**changes)
    assert error.value.key == key


def test_the_two_incomes_exclude_each_other():
    one = period().model_dump()
    with pytest.raises(ConfigError, match="excludes incentives"):
        ProgrammeConfig(max_spread="0.05", min_size=10, incentives=[one])
    product = {"name": "A", "series": ["KXA"]}
    with pytest.raises(ConfigError, match="excludes incentives"):
        ProgrammeConfig(income="incentives", incentives=[one], products=[product])
    assert not ProgrammeConfig(income="incentives", incentives=[one]).is_duty
