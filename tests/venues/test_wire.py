"""Decimal strings become exact integers or a refusal that names field and text; rows are EVENT rows."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.wire import BookCache, Decimals, EventRows, Prices, Sizes, YesPrices, milliseconds_to_ns

PLAIN = st.builds(
    lambda sign, whole, part, zeros: f"{sign}{whole}.{part}{zeros}" if part else f"{sign}{whole}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**12 - 1),
    st.text("0123456789", max_size=6),
    st.sampled_from(["", "0", "000"]),
)


@given(text=PLAIN)
def test_decimals_agree_with_decimal(text: str) -> None:
    reader = Decimals("f", 6)
    assert reader[text] == Decimal(text) * 10**6
    assert reader[text] == Decimal(text) * 10**6  # and when remembered


@given(text=st.text(max_size=12) | st.from_regex(r"\A[-+0-9._eE ]{0,8}\Z"))
def test_decimals_take_plain_numbers_only(text: str) -> None:
    whole, dot, part = text.removeprefix("-").partition(".")
    plain = all("0" <= c <= "9" for c in whole + part) and whole != "" and (not dot or part != "")
    reader = Decimals("msg.count_fp", 6)
    if plain and len(part.rstrip("0")) <= 6 and len(whole) <= 12:
        assert reader[text] == Decimal(text) * 10**6
    else:
        with pytest.raises(DataError) as caught:
            reader[text]
        assert caught.value.key == "msg.count_fp" and repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("reader", "text", "why"),
    [
        (Decimals("f", 4), "0.12345", "more than 4 decimals"),
        (Decimals("f", 6), "1" * 13, "too large"),
        (Decimals("f", 6), "NaN", "not a decimal number"),
        (Decimals("f", 6), "1e5", "not a decimal number"),
        (Decimals("f", 6), "1_000", "not a decimal number"),
        (Decimals("f", 6), "٣", "not a decimal number"),
        (Sizes("f"), "-0.01", "negative"),
        (Prices("f"), "1.0001", "between 0 and 1"),
        (Prices("f"), "-0.5", "between 0 and 1"),
        (YesPrices("f"), "0.0000", "inside 0 and 1"),
        (YesPrices("f"), "1", "inside 0 and 1"),
    ],
)
def test_refusals_say_why_and_are_not_remembered(reader: Decimals, text: str, why: str) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match=why):
            reader[text]


def test_prices_reach_their_ends_and_no_prices_are_complements() -> None:
    assert (Prices("f")["0"], Prices("f")["1.0000"]) == (0, 10_000)
    assert (YesPrices("f")["0.37"], YesPrices("f", of_no=True)["0.37"]) == (3_700, 6_300)


def test_memory_of_a_reader_is_bounded() -> None:
    reader = Decimals("f", 6)
    for i in range(70_000):
        assert reader[str(i)] == i * 10**6
    assert len(reader) <= 1 << 16


def test_rows_are_packed_as_event_fields() -> None:
    out = np.zeros(2, d.EVENT)
    rows = EventRows(out)
    rows.put(d.TRADE, 7, 10**18, 10**18 + 5, d.ASK, 4_321, 123_456_789, d.INFERRED, 9)
    row = out[0]
    assert rows.count == 1
    assert (row.kind, row.market, row.exch_ns, row.local_ns) == (d.TRADE, 7, 10**18, 10**18 + 5)
    assert (row.side, row.price, row.qty, row.bits, row.aux) == (d.ASK, 4_321, 123_456_789, d.INFERRED, 9)
    rows.put(d.LEVEL, 0, 1, 1, d.BID, 1, 1)
    with pytest.raises(DataError, match="more than 2 levels"):
        rows.put(d.LEVEL, 0, 1, 1, d.BID, 1, 1)


def test_rows_refuse_an_array_that_is_not_events() -> None:
    with pytest.raises(ValueError, match="EVENT"):
        EventRows(np.zeros(4, np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="contiguous"):
        EventRows(np.zeros(4, d.EVENT)[::2])


Book = tuple[dict[int, int], dict[int, int]]
SIDE_LEVELS = st.dictionaries(st.integers(1, 30), st.integers(0, 3), max_size=12)


def uncrossed(bids: dict[int, int], asks: dict[int, int], split: int) -> Book:
    """An uncrossed book: bids below `split`, asks at or above."""
    return {p: q for p, q in bids.items() if p < split}, {p: q for p, q in asks.items() if p >= split}


BOOKS = st.builds(uncrossed, SIDE_LEVELS, SIDE_LEVELS, st.integers(1, 31))


@given(books=st.lists(BOOKS, min_size=1, max_size=4))
def test_replacing_a_book_leads_there_without_crossing(books: list[Book]) -> None:
    out = np.zeros(64, d.EVENT)
    rows = EventRows(out)
    cache = BookCache(3)
    seen: Book = ({}, {})
    for bids, asks in books:
        rows.count = 0
        cache.replace(rows, dict(bids), dict(asks), 5, 6)
        for row in out[: rows.count]:
            assert row.kind == d.LEVEL and row.market == 3 and row.bits & d.FROM_SNAPSHOT
            assert seen[row.side].pop(int(row.price), 0) != row.qty  # nothing is repeated
            if row.qty:
                seen[row.side][int(row.price)] = int(row.qty)
            if seen[0] and seen[1]:
                assert max(seen[0]) < min(seen[1])
        standing = ({p: q for p, q in bids.items() if q}, {p: q for p, q in asks.items() if q})
        assert seen == standing == cache.sides
        if rows.count:
            bits = out["bits"][: rows.count]
            assert np.flatnonzero(bits & d.SNAP_FIRST).tolist() == [0]
            assert np.flatnonzero(bits & d.SNAP_LAST).tolist() == [rows.count - 1]


def test_milliseconds_must_be_a_time() -> None:
    assert milliseconds_to_ns(1_795_355_184_001, "t") == 1_795_355_184_001_000_000
    for wrong in (0, -5, 10**13):
        with pytest.raises(DataError, match="Unix milliseconds"):
            milliseconds_to_ns(wrong, "t")
