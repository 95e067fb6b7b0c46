"""Every field of every body and frame dropped, nulled, mistyped, out of range: refused, or absent.

After each damage no exception but `DataError` escapes, and a number that comes through is what the damaged
text honestly says, or None.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi import frames
from pr3dict.venues.kalshi.decode import KalshiDecoder
from pr3dict.venues.kalshi.numbers import reader_of
from pr3dict.venues.kalshi.rest import READERS

_spec = importlib.util.spec_from_file_location("kalshi_bodies", Path(__file__).parent / "bodies.py")
assert _spec and _spec.loader
bodies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bodies)

DROP = object()
DAMAGE: tuple[Any, ...] = (
    DROP,
    None,
    True,
    7,
    -1,
    0.45,
    10**30,
    "",
    "x",
    "0,45",
    "NaN",
    "1e3",
    "-0.01",
    "1.5",
    "99999999999999",
    "0.00001",
    "0.1234567",
    [],
    [[]],
    {},
    "2026-13-01T00:00:00Z",
    "2026-11-22",
)
WHOLE = {
    "order_id",
    "yes_price_dollars",
    "count_fp",
    "fill_count",
    "remaining_count",
    "reduced_by",
    "fee_cost",
    "fill_count_fp",
    "remaining_count_fp",
    "initial_count_fp",
    "position_fp",
    "period_reward",
    "balance_dollars",
    "price_ranges",
    "close_time",
    "refill_rate",
    "bucket_capacity",
    "fee_multiplier",
    "trade_id",
}
OPTIONAL = {
    (a.Amended, "fill_count"),
    (a.Amended, "remaining_count"),
    (a.CreatedBatch, "fill_count"),
    (a.CreatedBatch, "remaining_count"),
    (a.CanceledBatch, "reduced_by"),
    (a.CreatedBatch, "order_id"),
    (a.CanceledBatch, "order_id"),
    (a.Settlements, "fee_cost"),
    (a.Fills, "trade_id"),
}


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
    """The value of a model at a path; a missing one is None."""
    for key in path:
        if isinstance(key, str):
            model = getattr(model, key, None)
        else:
            model = model[key] if model and key < len(model) else None
        if model is None:
            return None
    return model


READS = {**READERS, **{k: reader_of(k) for k in bodies.BODIES if k not in READERS}}


def test_every_reader_has_a_body_to_break():
    assert set(READERS) <= set(bodies.BODIES)
    assert frames.KINDS - set(bodies.FRAMES) == {"unsubscribed"}


@pytest.mark.parametrize("kind", bodies.BODIES, ids=lambda k: k.__name__)
def test_no_damage_to_a_body_escapes_or_lies(kind):
    body, reader = bodies.BODIES[kind], READS[kind]
    good = reader(json.dumps(body).encode())
    assert good is not None
    for path in places(body):
        for by in DAMAGE:
            broken = damaged(body, path, by)
            try:
                model = reader(json.dumps(broken).encode())
            except DataError:
                continue
            names = [key for key in path if isinstance(key, str)]
            if by is DROP or by is None:
                if isinstance(path[-1], str) and path[-1] in WHOLE:
                    assert (kind, path[-1]) in OPTIONAL, f"{path} may be absent"
                assert isinstance(path[-1], int) or not leaf(model, path), f"{path} was given a value"
            elif names and isinstance(leaf(good, path), int) and not isinstance(leaf(good, path), bool):
                value = leaf(model, path)
                assert value is None or _means(type(leaf(good, path)), by) == int(value), f"{path} {by!r}"


def _means(kind: type, by: Any) -> int | None:
    """What a damaged number honestly says: only plain numbers of the right JSON type mean anything."""
    scales = {
        "Price": 10**4,
        "Size": 10**6,
        "SignedSize": 10**6,
        "Money": 10**6,
        "Amount": 10**6,
        "Ratio": 10**6,
    }
    if kind.__name__ in scales:
        if isinstance(by, str):
            return int(Decimal(by) * scales[kind.__name__])
        if kind.__name__ == "Ratio":
            return int(Decimal(repr(by)) * 10**6)
        return by * 10_000 if kind.__name__ == "Amount" else None
    factors = {"Cents": 10_000, "CentiCents": 100, "Count": 1, "int": 1, "MomentMs": 10**6, "MomentS": 10**9}
    return by * factors[kind.__name__] if type(by) is int and kind.__name__ in factors else None


@pytest.mark.parametrize("kind", bodies.FRAMES)
def test_no_damage_to_a_frame_escapes_or_lies(kind):
    frame = {
        "type": kind,
        "id": 3,
        "sid": 4,
        "seq": 9,
        "msg": bodies.FRAMES[kind],
        "sending_ts_ms": 1795355183900,
    }
    good = frames.read_frame(kind, json.dumps(frame).encode())
    assert good is not None
    for path in places(frame):
        for by in DAMAGE:
            try:
                read = frames.read_frame(kind, json.dumps(damaged(frame, path, by)).encode())
            except DataError:
                continue
            if kind != "ok" and path[0] == "msg" and len(path) == 2 and by in (DROP, None):
                assert not leaf(read, path) and path[-1] not in WHOLE, f"{path} may be absent"


@pytest.mark.parametrize("kind", bodies.MARKET_FRAMES)
@pytest.mark.parametrize("live", [True, False])
def test_no_damage_to_market_data_escapes(kind, live):
    frame = {"type": kind, "sid": 4, "seq": 2, "msg": bodies.MARKET_FRAMES[kind]}
    first = {
        "type": "orderbook_snapshot",
        "sid": 4,
        "seq": 1,
        "msg": bodies.MARKET_FRAMES["orderbook_snapshot"],
    }
    out = np.zeros(20_000, d.EVENT)
    refused = 0
    for path in places(frame):
        for by in DAMAGE:
            decoder = KalshiDecoder({"KXA-1": 0}, out, live=live)
            decoder.decode(json.dumps(first).encode(), 1)
            try:
                count = decoder.decode(json.dumps(damaged(frame, path, by)).encode(), 2)
            except DataError:
                refused += 1
                continue
            rows = out[:count]
            assert ((rows["price"] >= 0) & (rows["price"] <= 10_000)).all()
            assert (rows["qty"] >= 0).all()
    assert refused > len(DAMAGE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3),
    max_leaves=6,
)
ANY_FRAME = st.sampled_from([*bodies.FRAMES, *bodies.MARKET_FRAMES, "unsubscribed", "new_kind"])


@given(ANY_FRAME, st.data())
def test_any_message_under_a_known_type_is_read_or_refused(kind, data):
    fields = {**bodies.FRAMES, **bodies.MARKET_FRAMES}.get(kind, {})
    changes = data.draw(st.dictionaries(st.sampled_from([*fields, "extra"]), JSON, max_size=4))
    raw = json.dumps({"type": kind, "sid": data.draw(JSON), "seq": 1, "msg": {**fields, **changes}}).encode()
    check_bytes(raw, kind)


@given(st.binary(max_size=120), ANY_FRAME)
def test_random_bytes_are_refused(raw, kind):
    check_bytes(raw, kind)


@given(ANY_FRAME, st.data())
def test_flipped_bytes_are_read_or_refused(kind, data):
    fields = {**bodies.FRAMES, **bodies.MARKET_FRAMES}.get(kind, {})
    raw = bytearray(json.dumps({"type": kind, "sid": 1, "seq": 1, "msg": fields}).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check_bytes(bytes(raw), kind)


OUT = np.zeros(20_000, d.EVENT)


def check_bytes(raw: bytes, kind: str) -> None:
    """Nothing but `DataError` comes out of any decoder."""
    for live in (True, False):
        with suppress(DataError):
            assert KalshiDecoder({"KXA-1": 0}, OUT, live=live).decode(raw, 1) >= 0
    for read in (lambda: frames.read_frame(kind, raw), *(lambda r=r: r(raw) for r in READS.values())):
        with suppress(DataError):
            read()


def test_extra_fields_and_unknown_words_are_tolerated():
    body = {**bodies.MARKET, "status": "frozen_solid", "x": {"y": 1}, "result": "maybe"}
    market = READS[next(k for k in bodies.BODIES if k.__name__ == "MarketAnswer")](
        json.dumps({"market": body, "z": 1}).encode()
    ).market
    assert (market.status, market.result) == ("frozen_solid", "maybe")
    assert isinstance(market, msgspec.Struct)


# --- what a damaged message must not leave behind ---------------------------------------------------


def book_of(decoder: KalshiDecoder, *frames_: tuple[str, dict[str, Any]]) -> None:
    for seq, (kind, msg) in enumerate(frames_, 1):
        raw = {"type": kind, "sid": 1, "seq": seq, "msg": {**bodies.MARKET_FRAMES[kind], **msg}}
        decoder.decode(json.dumps(raw).encode(), 1)


@pytest.mark.parametrize(
    "msg", [{"price_dollars": "0.45x"}, {"delta_fp": "-999.00"}, {"side": "maybe"}, {"ts_ms": -1}]
)
def test_a_change_that_cannot_be_read_costs_its_book(msg):
    decoder = KalshiDecoder({"KXA-1": 0}, OUT, live=True, no_side_in_yes_price=True)
    book_of(decoder, ("orderbook_snapshot", {}), ("orderbook_delta", {}))
    assert decoder.lost == ""
    with pytest.raises(DataError):
        book_of(decoder, ("orderbook_delta", msg))
    assert decoder.lost == "KXA-1"


def test_a_level_never_grows_beyond_what_a_row_holds():
    decoder = KalshiDecoder({"KXA-1": 0}, OUT, live=True, no_side_in_yes_price=True)
    book_of(decoder, ("orderbook_snapshot", {}))
    with pytest.raises(DataError, match="too large"):
        book_of(decoder, *[("orderbook_delta", {"delta_fp": "999999999999.00"})] * 2)


def test_a_snapshot_that_names_a_price_twice_is_refused():
    decoder = KalshiDecoder({"KXA-1": 0}, OUT, live=True, no_side_in_yes_price=True)
    levels = [["0.4400", "120.00"], ["0.44", "7.00"]]
    with pytest.raises(DataError, match="twice"):
        book_of(decoder, ("orderbook_snapshot", {"yes_dollars_fp": levels}))
    assert decoder.lost == "KXA-1"


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "9999-12-31T23:59:59Z",
        "1969-12-31T23:59:59Z",
        "2026-11-22T13:46:20.\u0661Z",
    ],
)
def test_a_time_that_no_clock_of_ours_shows_is_refused(text):
    timestamp = next(reader for kind, reader in READS.items() if kind.__name__ == "UserDataTimestamp")
    with pytest.raises(DataError):
        timestamp(json.dumps({"as_of_time": text}).encode())


@pytest.mark.parametrize("name", ["refill_rate", "bucket_capacity"])
def test_a_budget_from_which_nothing_could_be_sent_is_refused(name):
    limits = copy.deepcopy(bodies.BODIES[a.AccountLimits])
    limits["write"][name] = 0
    with pytest.raises(DataError, match="tokens"):
        READS[a.AccountLimits](json.dumps(limits).encode())
