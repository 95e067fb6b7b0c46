"""Liquidity rewards from orders and books: published scores, exact shares, days that pay, mirrored books."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.analytics.incentives import Own, OwnTurn
from pr3dict.analytics.rewards import (
    DAY_NS,
    SAMPLE_NS,
    RewardScore,
    TermsTurn,
    crowd_score,
    maker_score,
    midpoint,
    paid_micros,
    sample_times,
    score_rewards,
    take_sample,
    weight,
)
from pr3dict.domain.errors import DataError
from pr3dict.domain.rewards import RewardTerms
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import rewards as compiled

CONTRACT = 1_000_000
MINUTE = SAMPLE_NS
TERMS = RewardTerms(spread=300, min_size=20 * CONTRACT, day_micros=1_440 * 10**6)


def sized(levels):
    return {price: size * CONTRACT for price, size in levels.items()}


def own(side, price, size):
    return Own(side, price, size * CONTRACT)


def test_the_references_own_example():
    """Maximum spread 3 cents, midpoint 50: 100 at 49 and 200 at 48 against 100 at 51 and 50 at 52."""
    orders = [own(d.BID, 4_900, 100), own(d.BID, 4_800, 200), own(d.ASK, 5_100, 100), own(d.ASK, 5_200, 50)]
    books = sized({4_900: 100, 4_800: 200}), sized({5_100: 100, 5_200: 50})
    sample = take_sample(0, books, orders, TERMS)
    assert (sample.mid, sample.in_band) == (5_000, True)
    assert (sample.bid_score, sample.ask_score, sample.score) == (Fraction(200, 3), 50, 50)
    assert (sample.others, sample.share, sample.earned_micros) == (0, 1, 10**6)  # $1,440 a day is $1 a minute
    alone = take_sample(0, books, orders[:2], TERMS)
    assert alone.score == Fraction(200, 9)
    assert alone.others == Fraction(50, 3)  # what is left is all asks


@pytest.mark.parametrize(
    ("one", "two", "mid", "score"),
    [
        (175, 0, 5_000, Fraction(175, 3)),
        (175, 0, 9_500, 0),
        (Fraction("111.11"), 175, 5_000, Fraction("111.11")),
        (90, 3, 1_000, 30),
        (90, 3, Fraction(1_999, 2), 3),
    ],
)
def test_two_sides_count_by_the_weaker_or_a_third(one, two, mid, score):
    assert maker_score(Fraction(one), Fraction(two), Fraction(mid)) == score


def test_small_levels_move_no_midpoint_and_small_orders_score_nothing():
    books = sized({4_990: 5, 4_800: 100}), sized({5_010: 19, 5_200: 40})
    assert midpoint(books, TERMS.min_size) == 5_000
    assert midpoint(books, 0) == 5_000
    assert midpoint((books[0], {}), 0) is None
    orders = [own(d.BID, 4_990, 5), own(d.BID, 4_900, 19), own(d.ASK, 5_200, 20)]
    sample = take_sample(0, (sized({4_990: 5, 4_900: 19, 4_800: 100}), books[1]), orders, TERMS)
    assert sample.bid_score == 0
    assert sample.ask_score == 20 * weight(300, Fraction(200)) > 0
    assert take_sample(0, ({}, books[1]), orders[2:], TERMS).mid is None


def test_the_others_are_what_is_left_of_a_level():
    books = sized({4_900: 130}), sized({5_100: 115})
    sample = take_sample(0, books, [own(d.BID, 4_900, 100), own(d.ASK, 5_100, 100)], TERMS)
    assert sample.score == 100 * weight(300, Fraction(100))
    assert sample.others == 30 * weight(300, Fraction(100)) / 3  # the 15 asks are too small to score


SIDE = st.dictionaries(st.integers(10, 980).map(lambda k: 10 * k), st.integers(1, 500), max_size=5)


@given(bids=SIDE, asks=SIDE, data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_sample_mirrors_and_its_share_is_a_share(bids, asks, data):
    orders = [
        own(side, price, data.draw(st.integers(1, size)))
        for side, levels in ((d.BID, bids), (d.ASK, asks))
        for price, size in levels.items()
        if data.draw(st.booleans())
    ]
    here = take_sample(0, (sized(bids), sized(asks)), orders, TERMS)
    flipped = [Own(1 - order.side, 10_000 - order.price, order.size) for order in orders]
    books = tuple(sized({10_000 - price: size for price, size in side.items()}) for side in (asks, bids))
    there = take_sample(0, books, flipped, TERMS)
    assert (here.score, here.others, here.bid_score) == (there.score, there.others, there.ask_score)
    assert 0 <= here.share <= 1
    assert here.in_band == (here.bid_score + here.ask_score > 0)
    assert here.score <= crowd_score(here.bid_score, here.ask_score, here.mid or Fraction(0))


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 20_000), st.integers(1, 900))
def test_the_brains_integers_are_these_scores(one, two, mid, spread):
    """The brain counts in micro-contracts and ppm, rounded down; the report in fractions."""
    exact = maker_score(Fraction(one), Fraction(two), Fraction(mid, 2))
    assert 0 <= exact - compiled.maker_score(one, two, mid) < 1
    assert (
        0
        <= compiled.crowd_score(one, two, mid) - crowd_score(Fraction(one), Fraction(two), Fraction(mid, 2))
        < 1
    )
    halves = one % 2_000
    assert 0 <= weight(spread, Fraction(halves, 2)) * 10**6 - compiled.weight_ppm(spread, halves) < 1


# --- over time -------------------------------------------------------------------------------------


def rows(*levels):
    """EVENT rows (ns, kind, side, price, contracts, status)."""
    found = np.zeros(len(levels), d.EVENT)
    for row, (at_ns, kind, side, price, size, aux) in zip(found, levels, strict=True):
        row["local_ns"] = row["exch_ns"] = at_ns
        row["kind"], row["side"], row["price"] = kind, side, price
        row["qty"], row["aux"] = size * CONTRACT, aux
    return found


def test_each_minute_has_one_instant_of_its_own():
    times = sample_times("M", 0, 600 * MINUTE - 1)
    assert [at_ns // MINUTE for at_ns in times] == list(range(600))
    assert len({at_ns % MINUTE for at_ns in times}) > 590
    assert sample_times("M", times[3], times[5]) == times[3:6]


def test_samples_follow_book_orders_terms_and_status():
    book = rows(
        (0, d.LEVEL, d.BID, 4_900, 100, 0),
        (0, d.LEVEL, d.ASK, 5_100, 100, 0),
        (40 * MINUTE, d.STATUS, 0, 0, 0, d.PAUSED),
    )
    mine = (own(d.BID, 4_900, 100), own(d.ASK, 5_100, 100))
    turns = [OwnTurn(10 * MINUTE, mine), OwnTurn(20 * MINUTE, ())]
    terms = [TermsTurn(5 * MINUTE, TERMS), TermsTurn(15 * MINUTE, None), TermsTurn(30 * MINUTE, TERMS)]
    found = score_rewards(
        "M", terms, book, turns, 0, 60 * MINUTE - 1, seen=[(0, 35 * MINUTE), (38 * MINUTE, 60 * MINUTE)]
    )
    assert len(found.samples) == 10 + 5 + 2
    assert (found.unseen, found.void) == (3, 20)
    assert (found.in_band, found.scored) == (5, 5)
    assert found.earned_micros == 5 * 10**6 // 2  # half of everybody's score beside as much again
    assert found.to_json()["share"] == pytest.approx(0.5 * 5 / 17)


def test_a_feed_that_shows_us_counts_us_once():
    book = rows((0, d.LEVEL, d.BID, 4_900, 100, 0), (0, d.LEVEL, d.ASK, 5_100, 100, 0))
    turns = [OwnTurn(0, (own(d.BID, 4_900, 100), own(d.ASK, 5_100, 100)))]
    found = score_rewards("M", [TermsTurn(0, TERMS)], book, turns, 0, 10 * MINUTE, includes_own=True)
    assert {sample.share for sample in found.samples} == {1}


def a_day(ticker, day, cents):
    terms = RewardTerms(spread=300, min_size=0, day_micros=144 * cents * 10**6 // 10)
    books = sized({4_900: 100}), sized({5_100: 100})
    orders = [own(d.BID, 4_900, 100), own(d.ASK, 5_100, 100)]
    return RewardScore(ticker, terms, (take_sample(day * DAY_NS, books, orders, terms),), 0, 0)


def test_a_day_below_a_dollar_pays_nothing_and_the_account_is_counted_whole():
    assert a_day("A", 1, 99).earned_micros == 990_000
    assert paid_micros([a_day("A", 1, 99)]) == {"A": 0}
    assert paid_micros([a_day("A", 1, 99), a_day("B", 1, 1)]) == {"A": 990_000, "B": 10_000}
    assert paid_micros([a_day("A", 1, 99), a_day("B", 2, 99)]) == {"A": 0, "B": 0}


@pytest.mark.parametrize("terms", [{"spread": 0}, {"spread": 10_000}, {"min_size": -1}, {"day_micros": -1}])
def test_terms_that_no_programme_can_state_are_refused(terms):
    with pytest.raises(DataError):
        RewardTerms(**({"spread": 300, "min_size": 0, "day_micros": 1} | terms))
