"""The lines between the exchange server and its clients: one JSON object each, tagged by `op`.

Market data go as arrays of whole numbers in the order of `ROW_FIELDS`. `seq` counts the data lines of one
connection from 1: a number that is left out means rows that the client never got.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Control, Filled, Listed, Settled, VenueOrder, VenuePosition
from pr3dict.kernels import dtypes as d
from pr3dict.venues.simulated.link import Request

Message = TypeVar("Message", bound=msgspec.Struct)

MAX_LINE_BYTES: Final = 1 << 24
ROW_FIELDS: Final = ("exch_ns", "market", "kind", "side", "price", "qty", "aux", "bits")

Row = tuple[int, int, int, int, int, int, int, int]


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag=str.lower):
    """Root of all lines."""


# --- from a client --------------------------------------------------------------------------------


class Hello(Line, frozen=True, kw_only=True, tag=str.lower):
    """The first line: answered by `Welcome`, then a whole book of every market."""


class Ask(Line, frozen=True, kw_only=True, tag=str.lower):
    """A request; `id` comes back with its answer."""

    id: int
    asked_ns: int
    command: Request


class Ping(Line, frozen=True, kw_only=True, tag=str.lower):
    """Answered by `Pong`."""

    id: int


class TellTruth(Line, frozen=True, kw_only=True, tag=str.lower):
    """For who tests: answered by `Truth`, whatever any client knows."""


# --- from the server ------------------------------------------------------------------------------


class Welcome(Line, frozen=True, kw_only=True, tag=str.lower):
    """What the exchange is. Its time was `now_ns` when this left, and runs at `speed` x a clock's."""

    listings: tuple[Listed, ...]
    now_ns: int
    speed: float
    cash_micros: int


class Answered(Line, frozen=True, kw_only=True, tag=str.lower):
    """What a request led to at once."""

    id: int
    events: tuple[Control, ...]


class Told(Line, frozen=True, kw_only=True, tag=str.lower):
    """What happened to the account or to the venue; never repeated."""

    events: tuple[Control, ...]


class Data(Line, frozen=True, kw_only=True, tag=str.lower):
    """Rows of market data; those of a whole book come in one line."""

    seq: int
    rows: tuple[Row, ...]


class Pong(Line, frozen=True, kw_only=True, tag=str.lower):
    """The exchange's time."""

    id: int
    now_ns: int


class Truth(Line, frozen=True, kw_only=True, tag=str.lower):
    """What is true at the exchange at `now_ns`. `unexplained` is empty unless the exchange is broken."""

    now_ns: int
    cash_micros: int
    positions: tuple[VenuePosition, ...]
    open_orders: tuple[VenueOrder, ...]
    fills: tuple[Filled, ...]
    orders: int  # that ever arrived, each id once
    unexplained: tuple[str, ...]
    settled: tuple[Settled, ...] = ()
    order_ids: tuple[int, ...] = ()  # of those orders; one that is not ours has a number below 0


FromClient = Hello | Ask | Ping | TellTruth
FromServer = Welcome | Answered | Told | Data | Pong | Truth

_to_server: Final[msgspec.json.Decoder[FromClient]] = msgspec.json.Decoder(FromClient)
_to_client: Final[msgspec.json.Decoder[FromServer]] = msgspec.json.Decoder(FromServer)
_encoder: Final = msgspec.json.Encoder()


def encode(line: Line) -> bytes:
    """A line with its end."""
    return _encoder.encode(line) + b"\n"


def decode_request(line: bytes) -> FromClient:
    """A client's line; raises `DataError` where it is none."""
    try:
        return _to_server.decode(line)
    except msgspec.MsgspecError as error:
        raise DataError(f"not a line that a client of the exchange sends: {error}") from None


def decode_answer(line: bytes) -> FromServer:
    """A server's line; raises `DataError` where it is none."""
    try:
        return _to_client.decode(line)
    except msgspec.MsgspecError as error:
        raise DataError(f"not a line that the exchange sends: {error}") from None


def encode_rows(rows: d.Array) -> tuple[Row, ...]:
    """EVENT rows as plain numbers."""
    columns = [rows[name].tolist() for name in ROW_FIELDS]
    return tuple(zip(*columns, strict=True))


def decode_rows(rows: tuple[Row, ...]) -> d.Array:
    """EVENT rows from plain numbers, without `local_ns`; raises `DataError` for numbers that do not fit."""
    events = np.zeros(len(rows), d.EVENT)
    try:
        for name, column in zip(ROW_FIELDS, zip(*rows, strict=True), strict=bool(rows)):
            events[name] = column
    except OverflowError as error:
        raise DataError(f"a row of market data does not fit its fields: {error}") from None
    return events


def renumbered(value: Message, rows: Mapping[int, int] | Sequence[int]) -> Message:
    """An event or a command with `rows[m]` for every market m that it names; -1 stays."""
    changes: dict[str, object] = {}
    market = getattr(value, "market", -1)
    if isinstance(market, int) and market >= 0 and rows[market] != market:
        changes["market"] = rows[market]
    for name in ("orders", "fills", "positions"):
        if isinstance(entries := getattr(value, name, None), tuple):
            changes[name] = tuple(renumbered(entry, rows) for entry in entries)
    return msgspec.structs.replace(value, **changes) if changes else value
