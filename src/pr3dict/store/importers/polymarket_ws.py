"""Raw Polymarket market-channel messages, one JSON line each, decoded by the live decoder: a tape a market.

Both tokens of a market tell one book. Tokens are paired by the condition id that every message carries.
What each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.market import POLYMARKET_TICKS
from pr3dict.domain.units import parse_price, parse_quantity, parse_ratio
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import ImportedTape, Importer, counted, event_row, events_of
from pr3dict.store.importers.polymarket_market import MIN_SIZE, MarketFacts, market_tape
from pr3dict.store.importers.ws_lines import (
    Frame,
    RowBuffer,
    find_lines,
    read_frames,
    session_name,
    take_frames,
)
from pr3dict.store.tape import Scalar, TapeFee
from pr3dict.venues.polymarket.decode import PolymarketDecoder
from pr3dict.venues.wire import milliseconds_to_ns, refusal

NAME: Final = "polymarket-ws"
BUFFER_ROWS: Final = 20_000  # more than any message's levels
USED: Final = frozenset({"book", "price_change", "last_trade_price", "tick_size_change"})
FIRST_SEEN: Final = "YES is the token that the recording shows first, since no message names the outcomes"
ABSENT: Final = msgspec.Raw()  # what a field of raw JSON holds where the message lacks it
TOLD: Final = "YES is the first outcome that the venue lists"
TICKS: Final = {tick: tick for tick in POLYMARKET_TICKS}


class _Change(msgspec.Struct, gc=False):
    asset_id: str | None = None


class _FeeSchedule(msgspec.Struct):
    rate: Decimal
    exponent: Decimal = Decimal(1)
    taker_only: bool = True
    rebate_rate: Decimal = Decimal(0)


class _Message(msgspec.Struct):
    """What is read of any message here; the decoder reads prices and sizes."""

    event_type: str = ""
    market: str = ""
    timestamp: str = ""
    asset_id: str | None = None
    price_changes: list[_Change] | None = None
    bids: msgspec.Raw = ABSENT  # a book that was asked for, not sent, has no event type
    tick_size: str | None = None
    min_order_size: str | None = None
    old_tick_size: str | None = None
    fee_rate_bps: str | None = None
    # new_market, market_resolved
    question: str = ""
    slug: str = ""
    assets_ids: list[str] | None = None
    outcomes: list[str] | None = None
    order_price_min_tick_size: str | None = None
    fees_enabled: bool | None = None
    fee_schedule: _FeeSchedule | None = None
    winning_asset_id: str | None = None


def read(path: Path) -> list[ImportedTape]:
    """One tape a market, in order of first appearance.

    Raises:
        DataError: names file and line of what is not as the format promises.
    """
    return tapes_of(read_frames(path), path, source_format=NAME)


def tapes_of(frames: Iterable[Frame], path: Path, *, source_format: str) -> list[ImportedTape]:
    """One tape a market of recorded messages in order of arrival.

    Raises:
        DataError: names file and line of what is not as the format promises.
    """
    recording = _Recording()
    take_frames(frames, recording.take, path)
    return recording.tapes(path, source_format)


IMPORTER: Final = Importer(
    NAME,
    "Raw Polymarket market-channel messages, one JSON line each",
    lambda paths: find_lines(paths, NAME),
    read,
)


# --- one market -----------------------------------------------------------------------------------


class _Market:
    """The rows of one market in the terms of each row's own token, and what its messages tell besides."""

    def __init__(self, condition: str, buffer: d.Array) -> None:
        self.condition = condition
        self.rows = RowBuffer()
        self.tokens: list[str] = []  # in order of appearance
        self.messages = 0
        self.listed: list[str] = []  # tokens as the venue lists them, YES first
        self.title = self.slug = ""
        self.tick: int | None = None  # at the start
        self.min_size = MIN_SIZE
        self.fee: TapeFee | None = None
        self.resolved_ns: int | None = None
        self.winner: str | None = None
        self._tick: int | None = None  # now
        self._buffer = buffer
        self._decoder = PolymarketDecoder({}, buffer, TICKS)

    def _know(self, tokens: Iterable[str | None]) -> None:
        for token in tokens:
            if not token:
                raise DataError("the message names no token", key="asset_id")
            if token not in self.tokens:
                self.tokens.append(token)
                if len(self.tokens) > 2:
                    raise DataError("a third token of this market; a market has two", key=self.condition)
                known = {asset: (place, False) for place, asset in enumerate(self.tokens)}
                self._decoder = PolymarketDecoder(known, self._buffer, TICKS)

    def take(self, message: _Message, raw: bytes, local_ns: int) -> None:
        """A message about the book or a trade."""
        changes = message.price_changes
        assets = [message.asset_id] if changes is None else [change.asset_id for change in changes]
        self._know(dict.fromkeys(assets))
        kind = message.event_type
        if kind == "book":
            self._note_tick(message, local_ns)
            self._decoder.reset()  # so that it tells the whole book and not what changed
        rows = self._buffer[: self._decoder.decode(raw, max(local_ns, 0))]
        if kind == "book":
            rows["kind"] = d.SNAPSHOT
            rows["bits"] &= d.SNAP_FIRST | d.SNAP_LAST
            if not len(rows):  # an empty book is one row without a level
                now_ns = _time_ns(message)
                bits = d.SNAP_FIRST | d.SNAP_LAST
                rows = events_of([event_row(now_ns, max(local_ns, 0), d.SNAPSHOT, bits=bits)])
                rows["market"] = self.tokens.index(message.asset_id or "")
        elif kind == "last_trade_price":
            rows["aux"] = _fee_rate(message.fee_rate_bps)
        elif kind == "tick_size_change":
            rows["qty"] = parse_price(message.old_tick_size) if message.old_tick_size else 0
            self._tick = int(rows["aux"][-1])
        if local_ns < 0:
            rows["local_ns"] = rows["exch_ns"]
        self.rows.add(rows)

    def _note_tick(self, message: _Message, local_ns: int) -> None:
        """A book names its tick: the first is that of the start, a later other one is a change."""
        if message.min_order_size:
            self.min_size = parse_quantity(message.min_order_size)
        if not message.tick_size:
            return
        tick = parse_price(message.tick_size)
        if self._tick is None and not (self.rows.rows["kind"] == d.TICK).any():
            self.tick = tick
        elif tick != self._tick:
            now_ns = _time_ns(message)
            row = event_row(
                now_ns, local_ns if local_ns >= 0 else now_ns, d.TICK, qty=self._tick or 0, aux=tick
            )
            self.rows.add(events_of([row]))
        self._tick = tick

    def announce(self, message: _Message) -> None:
        """`new_market` or `market_resolved`."""
        self.listed = message.assets_ids or self.listed
        self.title = message.question or self.title
        self.slug = message.slug or self.slug
        if message.event_type == "market_resolved":
            self.resolved_ns = _time_ns(message)
            self.winner = message.winning_asset_id
            return
        if message.order_price_min_tick_size and not len(self.rows):
            self.tick = self._tick = parse_price(message.order_price_min_tick_size)
        self.fee = _told_fee(message)

    def defects(self) -> list[str]:
        """What is wrong with the market's messages."""
        stranger = self.listed and not set(self.tokens) <= set(self.listed)
        return ["a message lists other tokens than those recorded; it is ignored"] if stranger else []

    def facts(self) -> MarketFacts:
        """What is known of the market; its rows are put in the same order of tokens."""
        listed = len(self.listed) == 2 and set(self.tokens) <= set(self.listed)
        tokens = self.listed if listed else self.tokens
        if self.tokens[0] != tokens[0]:
            rows = self.rows.rows
            rows["market"] = 1 - rows["market"]
        winner = tokens.index(self.winner) if self.winner in tokens else None
        return MarketFacts(
            id=self.condition,
            tokens=tokens,
            yes_source=TOLD if listed else FIRST_SEEN,
            ticker=self.slug,
            title=self.title,
            tick=self.tick,
            min_size=self.min_size,
            fee=self.fee,
            winner=winner,
            resolved_ns=self.resolved_ns,
        )


def _time_ns(message: _Message) -> int:
    text = message.timestamp
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise DataError(f"{text!r} is not a time in Unix milliseconds", key="timestamp")
    return milliseconds_to_ns(int(text), "timestamp")


def _fee_rate(text: str | None) -> int:
    """Basis points; -1: not told."""
    if text is None or text == "":
        return -1
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise DataError(f"{text!r} is no fee rate in basis points", key="fee_rate_bps")
    return int(text)


def _told_fee(message: _Message) -> TapeFee | None:
    """The fee that `new_market` states; None where it states none that a tape can hold (exponent 1)."""
    source = "The recorded new_market message."
    if message.fees_enabled is False:
        return TapeFee(kind="none", source=source)
    schedule = message.fee_schedule
    if not message.fees_enabled or schedule is None or schedule.exponent != 1:
        return None
    rate_ppm = parse_ratio(schedule.rate)
    return TapeFee(
        kind="polymarket",
        taker_ppm=rate_ppm,
        maker_ppm=0 if schedule.taker_only else rate_ppm,
        rebate_ppm=parse_ratio(schedule.rebate_rate),
        source=source,
    )


# --- all of them ----------------------------------------------------------------------------------


class _Recording:
    """Sorts messages to their markets."""

    def __init__(self) -> None:
        self.markets: dict[str, _Market] = {}
        self.kinds: Counter[str] = Counter()
        self.frames = 0
        self._buffer = np.zeros(BUFFER_ROWS, d.EVENT)
        self._arrays = msgspec.json.Decoder(list[msgspec.Raw])
        self._messages = msgspec.json.Decoder(_Message)

    def take(self, frame: Frame) -> None:
        """Take one frame: a message, an array of messages, or a text that is no JSON by design."""
        self.frames += 1
        raw = frame.raw
        if raw in (b"PONG", b"PING"):
            self.kinds["keep_alive"] += 1
            return
        if raw[:1] != b"[":
            self._message(raw, frame.local_ns)
            return
        try:
            parts = self._arrays.decode(raw)
        except msgspec.DecodeError as error:
            raise refusal(raw, error) from None
        for part in parts:
            self._message(bytes(part), frame.local_ns)

    def _message(self, raw: bytes, local_ns: int) -> None:
        try:
            message = self._messages.decode(raw)
        except msgspec.DecodeError as error:
            raise refusal(raw, error) from None
        kind = message.event_type
        if not kind and message.bids and message.market:
            kind = message.event_type = "book"
            raw = b'{"event_type":"book",' + raw[1:]
            self.kinds["book_asked_for"] += 1
        else:
            self.kinds[kind or "unknown"] += 1
        if kind not in USED and kind not in ("new_market", "market_resolved"):
            return
        if not message.market:
            raise DataError("the message names no market", key="market")
        market = self.markets.get(message.market)
        if market is None:
            market = self.markets[message.market] = _Market(message.market, self._buffer)
        market.messages += 1
        if kind in USED:
            market.take(message, raw, local_ns)
        else:
            market.announce(message)

    def tapes(self, path: Path, source_format: str) -> list[ImportedTape]:
        """The tapes of all markets with a book or trades; the first one's report counts all messages."""
        details: dict[str, Scalar] = {"frames": self.frames}
        details |= {f"messages_{kind}": count for kind, count in sorted(self.kinds.items())}
        has_trades: Literal["recorded", "none"] = "recorded" if self.kinds["last_trade_price"] else "none"
        made: list[ImportedTape] = []
        bookless = 0
        for market in self.markets.values():
            if not len(market.rows):
                continue  # only announced
            tape = market_tape(
                market.rows.rows,
                market.facts(),
                session=session_name(path),
                source_format=source_format,
                rows=market.messages,
                has_trades=has_trades,
                defects=market.defects(),
            )
            if tape is None:
                bookless += 1
            else:
                made.append(tape)
        if not made:
            raise DataError("holds no full order book and no trade of any market", file=path)
        defects = []
        if has_trades == "none":
            defects.append("no last_trade_price message was recorded: no tape of this recording holds trades")
        if bookless:
            defects.append(f"{counted(bookless, 'market')} with neither a full book nor a trade left out")
        made[0] = _with(made[0], defects, details)
        return made


def _with(tape: ImportedTape, defects: Sequence[str], details: dict[str, Scalar]) -> ImportedTape:
    """The tape with what is said of the recording as a whole."""
    report = msgspec.structs.replace(
        tape.report,
        defects=(*defects, *tape.report.defects),
        details={**tape.report.details, **details},
    )
    return tape._replace(report=report)
