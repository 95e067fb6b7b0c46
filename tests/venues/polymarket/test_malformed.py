"""Every field of every body dropped, nulled, mistyped, out of range: refused, or absent.

After each damage no exception but `DataError` escapes, and a number that comes through is what the damaged
value honestly says, or None, or UNKNOWN where an empty text may stand.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.venues.polymarket import account_models as a
from pr3dict.venues.polymarket import models as m
from pr3dict.venues.polymarket import numbers as n
from pr3dict.venues.polymarket.models import book_hash, clob_condition
from pr3dict.venues.polymarket.numbers import UNKNOWN, human_sizes, read_number, reader_of
from pr3dict.venues.polymarket.rest import READERS, _sort

_spec = importlib.util.spec_from_file_location("polymarket_bodies", Path(__file__).parent / "bodies.py")
assert _spec and _spec.loader
bodies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bodies)

DROP = object()
DAMAGE: tuple[Any, ...] = (
    DROP, None, True, 0, 7, -1, 0.45, 1e-7, 10**30, "", "0", "5", "x", "0,45", "NaN", "Infinity", "1e3",
    "-0.01", "0001-01-01T00:00:00+10:00",
    "1.5", "0.45", "٣", " 1", "99999999999999", "9" * 60, "0.00001", "0.1234567", 1763800000, 1763800000123,
    "1763800000", [], [[]], {}, "[]", '["a"', "[1]", "2026-13-01T00:00:00Z", "2026-11-22", "0001-01-01",
    "2026-11-22T10:00:00+99:99", "2026-11-22 10:00:00+00",
)  # fmt: skip
# Fields that no body may lack.
WHOLE = {
    "price", "size", "original_size", "size_matched", "matched_amount", "mts", "mos", "r", "e",
    "balance", "id",
    "order_id", "asset_id", "market", "side", "status", "created_at", "match_time", "maker_orders",
    "next_cursor", "rate", "exponent", "rebateRate", "rewardsDailyRate", "rate_per_day", "rebated_fees_usdc",
    "timestamp", "bids", "asks", "minimum_tick_size", "neg_risk", "heartbeat_id", "closed_only", "scoring",
    "version",
    "condition_id", "t", "tier", "blocked", "earnings",
}  # fmt: skip
OPTIONAL = {  # though another body must have a field of that name
    (m.Book, "neg_risk"), (tuple[m.Book, ...], "neg_risk"), (m.VerboseMarket, "minimum_tick_size"),
    (m.VerboseMarket, "neg_risk"), (m.VerboseMarket, "price"), (a.Posted, "status"), (m.ClobMarket, "r"),
    (m.GammaMarket, "version"), (m.GammaEvents, "version"), (m.GammaEvents, "next_cursor"),
    (m.GammaMarkets, "next_cursor"), (m.RewardMarket, "id"), (tuple[a.TotalEarning, ...], "condition_id"),
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()):
    """Every path into a JSON value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def damaged(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    whole = copy.deepcopy(value)
    at = whole
    for key in path[:-1]:
        at = at[key]
    if by is DROP:
        del at[path[-1]]
    else:
        at[path[-1]] = by
    return whole


def leaf(model: Any, path: tuple[Any, ...]) -> Any:
    """The value of a model at a path by the names of the wire; a missing one is None."""
    for key in path:
        if isinstance(model, dict):
            model = model.get(key)
        elif isinstance(key, str):
            fields = getattr(model, "__struct_encode_fields__", ())  # none: not decoded yet
            names = dict(zip(fields, getattr(model, "__struct_fields__", ()), strict=True))
            model = getattr(model, names[key]) if key in names else None
        else:
            model = model[key] if model and key < len(model) else None
        if model is None:
            return None
    return model


READS = {**READERS, **{k: reader_of(k) for k in bodies.BODIES if k not in READERS}}
NAMES = [str(getattr(k, "__name__", k)) for k in bodies.BODIES]


def test_every_reader_has_a_body_to_break():
    assert set(READERS) <= set(bodies.BODIES)


@pytest.mark.parametrize("kind", bodies.BODIES, ids=NAMES)
def test_no_damage_to_a_body_escapes_or_lies(kind):
    body, reader = bodies.BODIES[kind], READS[kind]
    good = reader(json.dumps(body).encode())
    assert good is not None
    for path in places(body):
        for by in DAMAGE:
            try:
                model = reader(json.dumps(damaged(body, path, by)).encode())
            except DataError:
                continue
            check(kind, good, model, path, by)


def check(kind: Any, good: Any, model: Any, path: tuple[Any, ...], by: Any) -> None:
    before, after = leaf(good, path), leaf(model, path)
    if by is DROP or by is None:
        raw = kind in (m.GammaMarkets, m.RewardMarkets) and path[0] in ("markets", "data") and len(path) > 1
        raw = raw or (kind is m.GammaEvents and "markets" in path[:-1])  # each market is read by itself
        if isinstance(path[-1], str) and path[-1] in WHOLE and not raw:
            assert (kind, path[-1]) in OPTIONAL, f"{path} may be absent"
        if isinstance(path[-1], str):
            assert not after or after is True, f"{path} was given the value {after!r}"
    elif isinstance(before, int | Decimal) and not isinstance(before, bool) and after is not None:
        assert not isinstance(by, bool) and not isinstance(by, list | dict), f"{path} {by!r}"
        assert means(type(before), by) == after, f"{path} {by!r} became {after!r}"


SCALES = {
    n.Price: 10**4, n.AnyPrice: 10**4, n.Tick: 10**4, n.Size: 10**6, n.SizeOrEmpty: 10**6, n.AnySize: 10**6,
    n.Money: 10**6, n.Ratio: 10**6, n.CentsSpread: 10**2, n.Units: 1, n.Allowance: 1, n.Count: 1, n.Exact: 1,
}  # fmt: skip


def means(kind: type, by: Any) -> Any:
    """What a damaged number honestly says."""
    if by == "":
        return UNKNOWN if kind in (n.SizeOrEmpty, n.MomentOrEmpty) else "nothing"
    if kind in (n.Moment, n.MomentOrEmpty):
        if not str(by).isdecimal():
            return moment(by)
        return int(by) * (10**6 if int(by) > 10**11 else 10**9)
    if kind in (n.Seconds, n.Milliseconds):
        return int(by) * (10**9 if kind is n.Seconds else 10**6)
    said = Fraction(by if isinstance(by, str) else repr(by))
    return int(said * 10**6) if kind is n.Rough else said * SCALES[kind]


def moment(by: str) -> int:
    at = datetime.fromisoformat(by)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * 10**9


@pytest.mark.parametrize("kind", [m.GammaMarket, m.RewardMarket])
def test_an_entry_of_a_catalogue_is_read_or_named(kind):
    body = {m.GammaMarket: bodies.GAMMA_MARKET, m.RewardMarket: bodies.REWARD_MARKET}[kind]
    field = "markets" if kind is m.GammaMarket else "data"
    page_kind = m.GammaMarkets if kind is m.GammaMarket else m.RewardMarkets
    count = 0
    for path in places(body):
        for by in DAMAGE:
            page = {field: [damaged(body, path, by), body], "next_cursor": "LTE="}
            items: list[Any] = []
            refused: list[str] = []
            _sort(kind, getattr(READS[page_kind](json.dumps(page).encode()), field), items, refused)
            assert len(items) + len(refused) == 2 and items
            count += len(refused)
    assert count > len(DAMAGE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(max_size=8),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(list(n._READERS)), JSON)
def test_a_number_is_read_or_refused(kind, value):
    try:
        found = read_number(kind, value)
    except ValueError:
        return
    assert type(found) is kind
    if isinstance(found, int) and kind is not n.Allowance:
        assert -1 <= found < 2**63


@given(
    st.sampled_from([n.Price, n.AnyPrice, n.Size, n.AnySize, n.Money, n.Ratio, n.Exact]),
    st.decimals(min_value=0, max_value=1, places=4),
)
def test_text_and_number_say_the_same(kind, value):
    text = f"{value:f}"
    assert read_number(kind, text) == value * SCALES[kind]
    if kind not in (n.Price, n.Size):
        assert read_number(kind, float(text)) == value * SCALES[kind]
    else:
        with pytest.raises(ValueError, match="as text"):
            read_number(kind, float(text))


@given(st.sampled_from(list(bodies.BODIES)), st.data())
def test_any_json_under_a_known_name_is_read_or_refused(kind, data):
    body = copy.deepcopy(bodies.BODIES[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        paths = list(places(body))
        if paths:
            body = damaged(body, data.draw(st.sampled_from(paths)), data.draw(JSON))
    check_bytes(json.dumps(body).encode(), kind)


@given(st.binary(max_size=120), st.sampled_from(list(bodies.BODIES)))
def test_random_bytes_are_refused(raw, kind):
    check_bytes(raw, kind)


@given(st.sampled_from(list(bodies.BODIES)), st.data())
def test_flipped_bytes_are_read_or_refused(kind, data):
    raw = bytearray(json.dumps(bodies.BODIES[kind]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check_bytes(bytes(raw), kind)


def check_bytes(raw: bytes, kind: Any) -> None:
    """Nothing but `DataError` comes out of any decoder."""
    with suppress(DataError):
        found = READS[kind](raw)
        for order in getattr(found, "data", ()) if kind is a.OpenOrders else ():
            with suppress(DataError):
                assert order.sizes()[1] <= order.sizes()[0] and order.state
        for trade in getattr(found, "data", ()) if kind is a.Trades else ():
            assert trade.state
        if kind is m.GammaMarkets:
            _sort(m.GammaMarket, found.markets, [], [])
        if kind is m.GammaMarket:
            assert found.tokens is None or len(found.tokens) == 2
        if kind is a.Posted:
            assert found.filled("BUY") >= UNKNOWN
    with suppress(DataError):
        assert len(book_hash(raw)) == 40


# --- habits of the venue ----------------------------------------------------------------------------


def read(kind: type, value: Any) -> int:
    return int(read_number(kind, value))


def test_times_in_every_form_are_one_time():
    at = 1_763_800_000 * 10**9
    for said in (1763800000, "1763800000", 1763800000000, "1763800000000", "2025-11-22T08:26:40Z"):
        assert read(n.Moment, said) == at
    for said in ("2025-11-22 08:26:40+00", "2025-11-22T10:26:40+0200", "2025-11-22T08:26:40.000"):
        assert read(n.Moment, said) == at
    assert read(n.Moment, "2025-11-22T08:26:40.1234567891Z") == at + 123_456_789
    assert read(n.Moment, "2500-12-31") == 2**63 - 1
    assert read(n.MomentOrEmpty, "") == UNKNOWN
    for odd in ("", 0, "0", "2026-02-30", -5, 1.5, True, None, "1969-12-31"):
        with pytest.raises(ValueError, match=r".+"):
            read_number(n.Moment, odd)


def test_lists_in_text_are_lists():
    for said in ('["Yes","No"]', ["Yes", "No"]):
        assert read_number(n.Texts, said) == ("Yes", "No")
    assert read_number(n.Numbers, '["0.5", 1, 1e-05]') == (Decimal("0.5"), 1, Decimal("0.00001"))
    for odd in ('["Yes", 1]', "Yes", '{"a":1}', "[" * 3000, ["a", None], 7):
        with pytest.raises(ValueError, match="list"):
            read_number(n.Texts, odd)


def test_ids_of_either_protocol():
    def market(**changes):
        raw = json.dumps({**bodies.GAMMA_MARKET, **changes}).encode()
        return READS[m.GammaMarket](raw)

    assert market().tokens == (bodies.YES, bodies.NO)
    v2 = {"version": "v2", "clobTokenIds": None, "positionIds": ["1", "2"]}
    assert market(**v2).tokens == ("1", "2")
    for none in (None, "[]", '["",""]', '["1"]'):
        assert market(clobTokenIds=none).tokens is None
    assert market(version="v2").tokens is None


@given(st.integers(1, 10**10), st.integers(0, 10**10))
def test_sizes_are_told_apart_by_what_was_sent(lots, matched):
    sent, matched = lots * 10_000, min(matched * 10_000, lots * 10_000)
    assert human_sizes(sent, matched, sent=sent) == (sent, matched)
    assert human_sizes(sent * 10**6, matched * 10**6, sent=sent) == (sent, matched)
    with pytest.raises(DataError, match="we sent"):
        human_sizes(sent + 10_000, 0, sent=sent)


def test_sizes_of_nameless_orders():
    assert human_sizes(5_000_000, UNKNOWN) == (5_000_000, UNKNOWN)
    assert human_sizes(5_000_000 * 10**6, UNKNOWN) == (5_000_000, UNKNOWN)
    with pytest.raises(DataError, match="fraction"):
        human_sizes(5_000_000 * 10**6, 1)


def test_the_published_hash_of_a_book():
    assert book_hash(json.dumps(bodies.BOOK).encode()) == bodies.BOOK["hash"]
    other = {**bodies.BOOK, "bids": bodies.BOOK["bids"][::-1], "x": 1, "hash": ""}
    assert book_hash(json.dumps(other).encode()) != bodies.BOOK["hash"]
    assert book_hash(json.dumps({**bodies.BOOK, "extra": 1}).encode()) == bodies.BOOK["hash"]


def test_conditions_of_either_protocol():
    short = "0x01" + "ab" * 30
    assert clob_condition(short) == short + "00" and clob_condition(bodies.CONDITION) == bodies.CONDITION
    odd_ones = ("0x" + part for part in ("", "ab" * 30, "zz" * 32, "ab" * 33, "a b " * 16))
    for odd in ("", "ab" * 32, *odd_ones):
        with pytest.raises(DataError, match="condition"):
            clob_condition(odd)


def test_extra_fields_and_unknown_words_are_tolerated():
    raw = json.dumps({**bodies.ORDER, "status": "FROZEN_SOLID", "order_type": "GTX", "x": {"y": 1}}).encode()
    order = READS[a.OpenOrder](raw)
    assert (order.state, order.order_type) == (a.OrderState.UNKNOWN, "GTX")
