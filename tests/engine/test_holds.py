"""Holds: words for a market, a venue or everything, and how much they stop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.engine import holds as h
from pr3dict.engine.holds import EVERYWHERE, Holds
from pr3dict.kernels import dtypes as d

VENUES = ("kalshi", "polymarket")
PLACES = st.sampled_from(
    [(0, ""), (1, ""), (EVERYWHERE, "kalshi"), (EVERYWHERE, "polymarket"), (EVERYWHERE, "")]
)
WORDS = st.sampled_from([h.PAUSED, h.FLATTENING, h.HALTED, h.FEED_DOWN, h.BREAKER + "drift"])
VENUE_OF = {0: "kalshi", 1: "polymarket"}


@given(st.lists(st.tuples(PLACES, WORDS, st.booleans()), max_size=30))
def test_words_in_force_are_those_put_on_last(changes):
    holds, wanted = Holds(), set()
    for (market, venue), why, on in changes:
        key = (market, venue, why)
        assert holds.set(market, venue, why, on=on) == ((key in wanted) != on)
        (wanted.add if on else wanted.discard)(key)
    for market, venue in VENUE_OF.items():
        words = {why for m, v, why in wanted if m == market or (m == EVERYWHERE and v in ("", venue))}
        assert set(holds.words(market, venue)) == words
        by_people = {h.HALTED, h.BREAKER + "drift"} if h.FLATTENING in words else set()
        stops = words - {h.PAUSED, h.FLATTENING} - by_people
        level = d.HOLD_ALL if stops else d.HOLD_QUOTES if words else d.HOLD_NOTHING
        assert holds.level(market, venue) == level
    assert len(holds.to_list()) == len(wanted)


def test_two_histories_of_the_same_words_list_alike():
    one, two = Holds(), Holds()
    for holds, order in ((one, (0, 1)), (two, (1, 0))):
        for market in order:
            holds.set(market, "", h.PAUSED, on=True)
    assert one.to_list() == two.to_list()


@pytest.mark.parametrize("why", [h.FEED_DOWN, h.FEED_STALE, h.BOOK_INVALID, h.UNRECONCILED, h.STOPPING])
def test_doubts_about_what_we_know_stop_exits_too(why):
    holds = Holds()
    holds.set(0, "", h.FLATTENING, on=True)
    holds.set(0, "", why, on=True)
    assert holds.level(0, "kalshi") == d.HOLD_ALL
