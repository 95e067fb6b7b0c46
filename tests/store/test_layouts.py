"""Rows of quotes and bars against the rules written out row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.store.layouts import BAR_ROW, LAYOUTS, NONE, QUOTE_ROW, check_rows

DOLLAR = 1_000_000


def quote(now=5, bid=4_000, ask=4_100, volume=NONE):
    return (now, now, bid, ask, volume)


def bar(start=0, end=10, released=10, prices=(5, 9, 1, 4), volume=NONE, contract=0):
    return (start, end, released, *prices, volume, contract)


def found(rows, kind):
    """(row from 1, key) of the first fault that the program names; None where it finds none."""
    dtype = QUOTE_ROW if kind == "quotes" else BAR_ROW
    try:
        check_rows(np.array(rows, dtype), kind)
    except DataError as error:
        return error.row, error.key
    return None


def slow_quotes(rows):
    """Whether every row is one that could be written."""
    last = None
    for now, _, bid, ask, volume in rows:
        if last is not None and now < last:
            return False
        last = now
        if any(p != NONE and not 1 <= p <= 9_999 for p in (bid, ask)) or volume < NONE:
            return False
    return True


def slow_bars(rows):
    last = None
    for start, end, _, first, high, low, close, volume, _ in rows:
        if (last is not None and start < last) or end <= start or volume < NONE:
            return False
        last = start
        if not 0 <= low <= min(first, close) <= max(first, close) <= high <= DOLLAR:
            return False
    return True


SMALL_PRICE = st.sampled_from([NONE, NONE - 1, 0, 1, 4_000, 9_999, 10_000])
QUOTES = st.lists(
    st.builds(quote, st.integers(0, 3), SMALL_PRICE, SMALL_PRICE, st.integers(-2, 2)), max_size=3
)
MICROS = st.sampled_from([-1, 0, 1, 2, DOLLAR, DOLLAR + 1])
BARS = st.lists(
    st.builds(
        bar, st.integers(0, 3), st.integers(0, 5), st.just(9), st.tuples(*[MICROS] * 4), st.integers(-2, 1)
    ),
    max_size=3,
)


@given(QUOTES)
@settings(max_examples=300)
def test_quotes_are_refused_exactly_where_a_rule_is_broken(rows):
    assert (found(rows, "quotes") is None) == slow_quotes(rows)


@given(BARS)
@settings(max_examples=300)
def test_bars_are_refused_exactly_where_a_rule_is_broken(rows):
    assert (found(rows, "bars") is None) == slow_bars(rows)


@pytest.mark.parametrize(
    ("kind", "row", "key"),
    [
        ("quotes", quote(now=4), None),
        ("quotes", quote(bid=0), "bid_price"),
        ("quotes", quote(ask=10_000), "ask_price"),
        ("quotes", quote(volume=-2), "volume_micros"),
        ("bars", bar(start=-1), None),
        ("bars", bar(end=0), "end_ns"),
        ("bars", bar(prices=(5, 9, 5, 4)), "low_micros"),
        ("bars", bar(prices=(5, 4, 1, 4)), "high_micros"),
        ("bars", bar(prices=(5, DOLLAR + 1, 1, 4)), None),
        ("bars", bar(prices=(5, 9, -1, 4)), None),
        ("bars", bar(volume=-2), "volume_micros"),
    ],
)
def test_the_first_faulty_row_and_its_column_are_named(kind, row, key):
    good = quote() if kind == "quotes" else bar()
    assert found([good, good, row, row], kind) == (3, key)


def test_a_side_without_a_price_and_a_crossed_quote_are_what_was_recorded():
    assert found([quote(bid=NONE), quote(ask=NONE), quote(bid=4_200, ask=4_100)], "quotes") is None


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_file_holds_the_rows_fields(kind):
    layout = LAYOUTS[kind]
    held = set(layout.schema.names)
    assert held == set(layout.dtype.names) - {"market"}
    assert not any(field.nullable for field in layout.schema)
    assert layout.times
    assert set(layout.times) <= held
