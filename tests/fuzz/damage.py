"""Damage to JSON messages: by field, by token, by byte, by splicing messages, and as a whole.

Everything is drawn from the generator that is passed in, so a seed names an input for ever.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

Path = tuple[str | int, ...]
KINDS: Final = ("none", "field", "token", "bytes", "splice", "whole")
WEIGHTS: Final = (4, 56, 12, 16, 5, 7)
ENVELOPE: Final = frozenset({"sid", "seq", "id", "type"})
PLAIN_WEIGHT, ENVELOPE_WEIGHT, NUMBER_WEIGHT = 2, 1, 5

# JSON that no encoder writes, or that is easily misread.
RAW: Final = (
    b"1e400", b"-0", b"-0.0", b"1E2", b"1.0", b"0.45", b"01", b"+1", b".5", b"5.", b"0x10", b"NaN",
    b"Infinity", b"-1", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809",
    b"18446744073709551616", b"9007199254740993", b"1" * 400, b"7" * 4400, b"0." + b"3" * 400, b"1e-400",
    b'"\\u0034\\u0035"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\xff\xfe"', b'"\xc0\x80"',
    b'"0.4\\/5"', b"tru", b"nul", b"[" * 600 + b"]" * 600, b"[" * 4000 + b"]" * 4000,
    b'{"a":' * 300 + b"1" + b"}" * 300, b'"0.45', b"'0.45'", b"",
)  # fmt: skip
TEXTS: Final = (
    "", " ", "x", "0", "1", "-1", "-0", "-0.00", "0.00", "0.01", "0.45", "0.4501", "0.45001", "1.0000",
    "1.0001", "0.9999", "0.0001", "0.0000", "4.00", "4.000001", "4.0000001", "-4.00", "-999.00",
    "999999999999.00", "9999999999999.00", "99999999999999999999", "1e3", "1E-2", "0x1F", "NaN", "nan",
    "Infinity", "-inf", "0,45", "0.4.5", " 0.45", "0.45 ", "\t0.45\n", "+0.45", "--0.45", ".45", "45.",
    "0_1.0", "$0.45", "\u0660.\u0664\u0665", "\uff10.\uff14\uff15", "\u00b2", "\u0967", "0.45\u0000",
    "\u0000", "\ufeff0.45", "\u22120.45", "0" * 30 + ".45", "0.45" + "0" * 400, "9" * 5000,
    "2026-11-22T13:46:20Z", "2026-11-22 13:46:20+00:00", "2026-11-22T13:46:20.123456789123Z",
    "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22", "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59Z",
    "2026-11-22T13:46:20+99:99", "\uff12\uff10\uff12\uff16-11-22T13:46:20Z",
    "2026-11-22T13:46:20.\u0661Z", "2262-04-12T00:00:00Z", "1969-12-31T23:59:59Z", "2026-11-22T24:00:00Z",
    "2026-11-22T13:46:60Z", "2026-11-22T13:46:20", "yes", "no", "bid", "ask", "YES", "resting",
    "executed", "canceled", "quadratic", "binary", "scalar", "settled", "active", "03:00", "3:0", "25:00",
    "\uff10\uff13:00", "BUY", "SELL", "MATCHED", "CONFIRMED", "FAILED", "RETRYING", "CANCELED", "LIVE",
    "0.001", "0.005", "1795355184", "1795355184001", "1e-7", "[]", '["1","2"]', '["0.5","0.5"]', "resolved",
    "71321045", "52114319", "88813", "order not found", "Duplicated.", "LTE=", "a" * 3000,
    "KXA-1", "KXA-2", "o-1", "test-7", "test-\u0667", "test-07", "test-9",
)  # fmt: skip
NUMBERS: Final = (
    0, 1, -1, 2, 7, 10, 100, 4294967296, 1795355184, 1795355184001, 1795355185001, 8_999_999_999_999,
    9_000_000_000_000, 2**53 - 1, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, 0.5, 0.1, 1.5, -0.5,
    1e300, 1e-300, 0.1234567, 4.0, 1e15,
)  # fmt: skip
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[\[\]{}:,]|[a-z]+')
_SLOT: Final = "\u2603slot\u2603"
_SLOT_JSON: Final = msgspec.json.encode(_SLOT)
_ANYTHING: Final = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    [1, "x"],
    {"code": "x", "message": "y"},
)


class Sample:
    """A message that is whole, with the places where it can be damaged."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.raw = msgspec.json.encode(value)
        self.paths = list(_paths(value))
        self.weights = [_weight(path, value) for path in self.paths]

    def value(self) -> Any:
        """A copy of it."""
        return msgspec.json.decode(self.raw)


def _paths(value: Any, path: Path = ()) -> Any:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def _weight(path: Path, value: Any) -> int:
    for key in path:
        value = value[key]
    if path[0] in ENVELOPE:
        return ENVELOPE_WEIGHT
    is_number = isinstance(value, int | float) or (isinstance(value, str) and value[:1] in "-0123456789")
    return NUMBER_WEIGHT if is_number else PLAIN_WEIGHT


def damage(
    rng: random.Random, sample: Sample, others: Sequence[Sample], value: Any = None
) -> tuple[str, bytes]:
    """(kind of damage, message); `value` is the message where it is not the sample's own."""
    kind = rng.choices(KINDS, WEIGHTS)[0]
    value = sample.value() if value is None else value
    if kind == "none":
        return kind, msgspec.json.encode(value)
    if kind == "field":
        return kind, _by_field(rng, sample, value, others)
    return kind, _WAYS[kind](rng, msgspec.json.encode(value), others)


def _by_field(rng: random.Random, sample: Sample, value: Any, others: Sequence[Sample]) -> bytes:
    slots: list[bytes] = []
    if not sample.paths:  # a number by itself
        return _by_token(rng, sample.raw, others)
    for path in rng.choices(sample.paths, sample.weights, k=rng.choice((1, 1, 1, 1, 2, 3))):
        _hurt(rng, value, path, others, slots)
    raw = msgspec.json.encode(value)
    for slot in slots:
        raw = raw.replace(_SLOT_JSON, slot, 1)
    return raw


def _hurt(rng: random.Random, value: Any, path: Path, others: Sequence[Sample], slots: list[bytes]) -> None:
    """One place of `value`; nothing where an earlier damage took it away."""
    at: Any = value
    try:
        for key in path[:-1]:
            at = at[key]
        key, old = path[-1], at[path[-1]]
    except (KeyError, IndexError, TypeError):
        return
    if not isinstance(at, dict | list):
        return
    match rng.randrange(16):
        case 0 | 1:
            del at[key]
        case 2 | 3:
            at[key] = None
        case 4 | 5 | 6:
            at[key] = rng.choice(TEXTS)
        case 7 | 8:
            at[key] = rng.choice(NUMBERS)
        case 9:
            at[key] = rng.choice(_ANYTHING)
        case 10 | 11:
            at[key] = _SLOT
            slots.append(rng.choice(RAW))
        case 12:
            at[key] = _other_value(rng, others)
        case 13:
            at[key] = [old] if rng.random() < 0.5 else {"value": old}
        case 14:
            _twice(rng, at, key, old, others, slots)
        case _:
            at[key] = _near(rng, old)


def _twice(
    rng: random.Random, at: Any, key: Any, old: Any, others: Sequence[Sample], slots: list[bytes]
) -> None:
    """A list's item twice, or a key twice with two values."""
    if isinstance(at, list):
        at.insert(key, old)
        return
    second = rng.choice((rng.choice(TEXTS), rng.choice(NUMBERS), _other_value(rng, others)))
    at[key] = _SLOT
    parts = [msgspec.json.encode(old), msgspec.json.encode(second)]
    rng.shuffle(parts)
    slots.append(parts[0] + b"," + msgspec.json.encode(str(key)) + b":" + parts[1])


def _other_value(rng: random.Random, others: Sequence[Sample]) -> Any:
    other = rng.choice(others)
    value = other.value()
    for key in rng.choice(other.paths) if other.paths else ():
        value = value[key]
    return value


def _near(rng: random.Random, old: Any) -> Any:
    """A value of the same kind that is plausible."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return old + rng.choice((-1, 1, -1000, 1000, 10**9, -old, -2 * old))
    if isinstance(old, str) and old:
        place = rng.randrange(len(old))
        return old[:place] + rng.choice("0123456789.-eE +x\u0660\u0000") + old[place + rng.randrange(2) :]
    return rng.choice((old, [], None))


def _by_token(rng: random.Random, raw: bytes, others: Sequence[Sample]) -> bytes:
    tokens = _TOKEN.findall(raw)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not tokens:
            break
        i, j = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(6):
            case 0:
                del tokens[i]
            case 1:
                tokens.insert(j, tokens[i])
            case 2:
                tokens[i], tokens[j] = tokens[j], tokens[i]
            case 3:
                tokens[i] = rng.choice(RAW)
            case 4:
                tokens[i] = msgspec.json.encode(rng.choice(TEXTS))
            case _:
                tokens.insert(i, rng.choice((b" ", b"\n", b"\t", b"\x0b", b"\xc2\xa0", b"\x00", b"//", b",")))
    return b"".join(tokens)


def _by_byte(rng: random.Random, raw: bytes, others: Sequence[Sample]) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        place = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[place] ^= 1 << rng.randrange(8)
            case 1:
                data[place] = rng.randrange(256)
            case 2:
                del data[place : place + rng.choice((1, 1, 2, 9))]
            case 3:
                data.insert(place, rng.randrange(256))
            case 4:
                data[place:place] = data[place : place + rng.randrange(1, 30)]
            case _:
                data[place] = rng.choice(b'0123456789.-"{}[],:eE')
    return bytes(data)


def _spliced(rng: random.Random, raw: bytes, others: Sequence[Sample]) -> bytes:
    other = rng.choice(others).raw
    cut = rng.randrange(len(raw) + 1)
    if rng.random() < 0.5:
        return raw[:cut] + other[rng.randrange(len(other) + 1) :]
    start = rng.randrange(len(other))
    return raw[:cut] + other[start : start + rng.randrange(60)] + raw[cut:]


def _as_a_whole(rng: random.Random, raw: bytes, others: Sequence[Sample]) -> bytes:
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: raw[: rng.randrange(len(raw))],
        lambda: b"\xef\xbb\xbf" + raw,
        lambda: raw + raw,
        lambda: raw + b"\n" + rng.choice(others).raw,
        lambda: b"[" + raw + b"]",
        lambda: b" \r\n\t" + raw + b" \n",
        lambda: raw + b"\x00",
        lambda: raw.decode().encode("utf-16"),
        lambda: b"",
        lambda: rng.randbytes(rng.randrange(200)),
        lambda: rng.choice(RAW),
        lambda: msgspec.json.encode(rng.choice(TEXTS)),
        lambda: b"[" * rng.choice((10, 500, 1100, 20_000)),
        lambda: raw[:-1] + b',"pad":"' + b"p" * 20_000 + b'"}',
        lambda: raw[:-1] + b',"deep":' + b"[" * 700 + b"]" * 700 + b"}",
        lambda: b"<html><body>502 Bad Gateway</body></html>",
        lambda: b'{"error":{"code":"x","message":"y"}}',
    )
    return rng.choice(ways)()


_WAYS: Final = {"token": _by_token, "bytes": _by_byte, "splice": _spliced, "whole": _as_a_whole}
