"""Raw Kalshi WebSocket frames, one JSON line each, decoded by the live decoder: a book tape a market.

Deltas are increments, so a lost frame spoils the book until the next snapshot: from a gap in the sequence
numbers on the market is paused on the tape. What each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import KALSHI_TAKER_PPM
from pr3dict.domain.market import PriceGrid, kalshi_grid
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND, QTY_SCALE, parse_money
from pr3dict.kernels import archive, recordings
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import (
    ImportedTape,
    Importer,
    MarketReport,
    counted,
    event_row,
    events_of,
)
from pr3dict.store.importers.ws_lines import (
    Frame,
    RowBuffer,
    find_lines,
    read_frames,
    session_name,
    take_frames,
)
from pr3dict.store.tape import Scalar, TapeFee, TapeMeta
from pr3dict.venues.kalshi.decode import KalshiDecoder
from pr3dict.venues.wire import NS_PER_MS, milliseconds_to_ns, refusal

NAME: Final = "kalshi-ws"
BUFFER_ROWS: Final = 20_000  # more than any snapshot's levels
GRIDS: Final = ("linear_cent", "tapered_deci_cent", "deci_cent", "center_centi_edge_centi_cent")
"""Grids to choose from by the prices seen where no message tells one, the coarsest first."""
FEE: Final = TapeFee(
    kind="kalshi",
    taker_ppm=KALSHI_TAKER_PPM,
    source="Not recorded; Kalshi's usual fee is assumed: takers pay 0.07 p (1 - p), makers 0.",
)
STATUS_OF: Final = {"activated": d.ACTIVE, "deactivated": d.PAUSED}
TOLD: Final = frozenset({"orderbook_snapshot", "orderbook_delta", "trade", "ticker", "market_lifecycle_v2"})
"""Frames about one market that are used; others are counted."""


class _Body(msgspec.Struct, gc=False):
    """What is read of any frame about a market; the decoder reads the rest."""

    market_ticker: str
    ts_ms: int | None = None


class _Lifecycle(msgspec.Struct):
    """A `market_lifecycle_v2` message; times in seconds."""

    event_type: str
    open_ts: int | None = None
    close_ts: int | None = None
    result: str | None = None
    settlement_value: str | None = None
    determination_ts: int | None = None
    settled_ts: int | None = None
    price_ranges: list[dict[str, str]] | None = None


class _Envelope(msgspec.Struct, gc=False):
    type: str
    sid: int = 0
    seq: int = 0
    msg: msgspec.Raw = msgspec.Raw(b"{}")


_NO_BODY: Final = _Body("")


def read(path: Path) -> list[ImportedTape]:
    """One tape a market, in order of first appearance.

    Raises:
        DataError: names file and line of what is not as the format promises.
    """
    return tapes_of(read_frames(path), path, source_format=NAME)


def tapes_of(frames: Iterable[Frame], path: Path, *, source_format: str) -> list[ImportedTape]:
    """One tape a market of recorded frames in order of arrival.

    Raises:
        DataError: names file and line of what is not as the format promises.
    """
    recording = _Recording()
    take_frames(frames, recording.take, path)
    return recording.tapes(path, source_format)


IMPORTER: Final = Importer(
    NAME, "Raw Kalshi WebSocket frames, one JSON line each", lambda paths: find_lines(paths, NAME), read
)


# --- one market -----------------------------------------------------------------------------------


class _Market:
    """The rows of one market and what was found on the way."""

    def __init__(self, ticker: str, buffer: d.Array) -> None:
        self.ticker = ticker
        self.rows = RowBuffer()
        self.untimed: list[tuple[int, int]] = []  # stretches of rows that tell no exchange time
        self.sid = -1  # subscription that told the newest snapshot
        self.trusted = False
        self.status = d.ACTIVE  # as the venue announced it
        self.frames = self.snapshots = self.deltas = self.trades = 0
        self.checked = self.equal = self.early = self.untrusted = self.negative = self.sideless = (
            self.late
        ) = 0
        self.grids: list[PriceGrid | None] = [None]  # None: not told
        self.open_ns: int | None = None
        self.close_ns: int | None = None
        self.value: int | None = None  # payout of YES in micros
        self.settled_ns: int | None = None
        self._decoder = KalshiDecoder({ticker: 0}, buffer)
        self._buffer = buffer
        self._newest_ms = 0

    def note(self, ts_ms: int | None) -> None:
        """Count one frame, and whether its time falls below one before."""
        self.frames += 1
        if ts_ms is not None:
            self.late += ts_ms < self._newest_ms
            self._newest_ms = max(self._newest_ms, ts_ms)

    def _decode(self, raw: bytes, local_ns: int) -> d.Array:
        """What the live decoder makes of a frame; overwritten by the next one."""
        return self._buffer[: self._decoder.decode(raw, local_ns)]

    def _add(self, now_ns: int, local_ns: int, kind: int, aux: int, bits: int = 0) -> None:
        self.rows.add(events_of([event_row(now_ns, local_ns, kind, aux=aux, bits=bits)]))

    def _last_ns(self) -> int:
        return int(self.rows.rows["exch_ns"][-1])

    def distrust(self, now_ns: int, local_ns: int) -> None:
        """The book is not known from here on: nobody may quote it until the next snapshot."""
        if self.trusted:
            self.trusted = False
            self._decoder.reset()
            self._add(now_ns, local_ns, d.STATUS, d.PAUSED)

    def snapshot(self, raw: bytes, sid: int, ts_ms: int | None, local_ns: int) -> None:
        """Take over a full book, compared with the running one where that can be trusted."""
        if self.trusted and sid != self.sid:  # a new subscription: what was in between is not known
            self.distrust(self._last_ns(), local_ns)
        resumes = not self.trusted and self.snapshots > 0
        if self.trusted:
            self.checked += 1
            self.equal += not len(self._decode(raw, local_ns))  # it changes nothing
        self._decoder.reset()  # so that it tells the whole book and not what changed
        begin = len(self.rows)
        levels = self._decode(raw, local_ns)
        if len(levels):
            levels["kind"] = d.SNAPSHOT
            levels["bits"] &= d.SNAP_FIRST | d.SNAP_LAST
            self.rows.add(levels)
        else:  # an empty book is one row without a level
            self._add(local_ns, local_ns, d.SNAPSHOT, 0, d.SNAP_FIRST | d.SNAP_LAST)
        if ts_ms is None:
            self.rows.rows["exch_ns"][begin:] = local_ns
        if resumes:
            self._add(self._last_ns(), local_ns, d.STATUS, self.status)
        if ts_ms is None:
            self.untimed.append((begin, len(self.rows)))
        self.snapshots += 1
        self.sid, self.trusted = sid, True

    def delta(self, raw: bytes, local_ns: int) -> None:
        """A change of one level, left out where the book is not known."""
        self.deltas += 1
        try:
            self.rows.add(self._decode(raw, local_ns))
        except DataError as error:
            if error.key != self.ticker:  # the decoder names the market where its book can't follow
                raise
            if self.trusted:
                self.negative += 1
                self.distrust(self._last_ns(), local_ns)
            else:
                self.untrusted += self.snapshots > 0
                self.early += self.snapshots == 0

    def trade(self, raw: bytes, local_ns: int) -> None:
        """A trade; one whose taker's side is not told has no place on a tape and is counted."""
        rows = self._decode(raw, local_ns)
        if len(rows):
            self.trades += 1
            self.rows.add(rows)
        else:
            self.sideless += 1

    def lifecycle(self, body: _Lifecycle, now_ns: int, local_ns: int) -> None:
        """What the venue announces of a market: times, grid, pauses, outcome."""
        if body.open_ts is not None:
            self.open_ns = body.open_ts * NS_PER_SECOND
        if body.close_ts is not None:
            close_ns = body.close_ts * NS_PER_SECOND
            if self.close_ns not in (None, close_ns):
                self._add(now_ns, local_ns, d.CLOSE_TIME, close_ns)
            self.close_ns = close_ns
        if body.price_ranges is not None:
            grid = PriceGrid.from_price_ranges(body.price_ranges)
            if len(self.rows):
                self._add(now_ns, local_ns, d.TICK, len(self.grids))
                self.grids.append(grid)
            else:
                self.grids = [grid]
        if body.event_type in STATUS_OF:
            self.status = STATUS_OF[body.event_type]
            if len(self.rows):
                self._add(now_ns, local_ns, d.STATUS, self.status if self.trusted else d.PAUSED)
        if body.settlement_value is not None:
            self.value = parse_money(body.settlement_value)
        elif body.result in ("yes", "no"):
            self.value = MONEY_SCALE if body.result == "yes" else 0
        if body.event_type in ("determined", "settled"):
            told = body.settled_ts or body.determination_ts
            self.settled_ns = told * NS_PER_SECOND if told else now_ns

    def events(self) -> d.Array:
        """All rows in order. A snapshot that tells no time came before the change that follows it."""
        events = self.rows.rows
        for begin, end in reversed(self.untimed):
            if end < len(events):
                span = events["exch_ns"][begin:end]
                np.minimum(span, events["exch_ns"][end], out=span)
        events["exch_ns"] = np.maximum.accumulate(events["exch_ns"])
        return events


# --- all of them ----------------------------------------------------------------------------------


class _Channel(msgspec.Struct):
    """One subscription: the newest sequence number and exchange time on it."""

    seq: int
    now_ns: int


class _Recording:
    """Sorts frames to their markets and watches the sequence numbers of every subscription."""

    def __init__(self) -> None:
        self.markets: dict[str, _Market] = {}
        self.kinds: Counter[str] = Counter()
        self.gaps = self.reconnections = self.unnumbered = 0
        self._channels: dict[int, _Channel] = {}
        self._waiting: list[Frame] = []  # until a time is known
        self._now_ns = 0  # newest exchange time; stands in for a receive time that was not recorded
        self._buffer = np.zeros(BUFFER_ROWS, d.EVENT)
        self._envelopes = msgspec.json.Decoder(_Envelope)
        self._bodies = msgspec.json.Decoder(_Body)
        self._lifecycles = msgspec.json.Decoder(_Lifecycle)

    def take(self, frame: Frame) -> None:
        """Take one frame; those before the first known time wait for it."""
        try:
            envelope = self._envelopes.decode(frame.raw)
            body = self._bodies.decode(envelope.msg) if envelope.type in TOLD else _NO_BODY
        except msgspec.MsgspecError as error:
            if isinstance(error, msgspec.DecodeError):
                raise refusal(frame.raw, error) from None
            raise
        if body.ts_ms is not None:
            self._now_ns = max(self._now_ns, milliseconds_to_ns(body.ts_ms, "msg.ts_ms"))
        self.kinds[envelope.type] += 1
        if not self._now_ns:
            self._now_ns = max(frame.local_ns, 0)
        if not self._now_ns:
            self._waiting.append(frame)
            return
        for waiting in self._waiting:
            early = self._envelopes.decode(waiting.raw)
            early_body = self._bodies.decode(early.msg) if early.type in TOLD else _NO_BODY
            self._use(waiting, early, early_body)
        self._waiting.clear()
        self._use(frame, envelope, body)

    def _use(self, frame: Frame, envelope: _Envelope, body: _Body) -> None:
        local_ns = frame.local_ns if frame.local_ns >= 0 else self._now_ns
        self._watch(envelope, local_ns)
        if envelope.type not in TOLD:
            return
        ticker = body.market_ticker
        market = self.markets.get(ticker)
        if market is None:
            market = self.markets[ticker] = _Market(ticker, self._buffer)
        market.note(body.ts_ms)
        now_ns = local_ns if body.ts_ms is None else body.ts_ms * NS_PER_MS
        if envelope.type == "orderbook_delta":
            market.delta(frame.raw, local_ns)
        elif envelope.type == "orderbook_snapshot":
            market.snapshot(frame.raw, envelope.sid, body.ts_ms, local_ns)
        elif envelope.type == "trade":
            market.trade(frame.raw, local_ns)
        elif envelope.type == "market_lifecycle_v2":
            market.lifecycle(self._lifecycles.decode(envelope.msg), now_ns, local_ns)
        channel = self._channels.get(envelope.sid)
        if channel is not None and envelope.seq:
            channel.now_ns = max(channel.now_ns, now_ns)

    def _watch(self, envelope: _Envelope, local_ns: int) -> None:
        """Replies count in the sequence too. After a gap no book of that subscription can be trusted."""
        if not envelope.seq:
            self.unnumbered += envelope.type.startswith("orderbook_")
            return
        channel = self._channels.get(envelope.sid)
        if channel is None:
            self._channels[envelope.sid] = _Channel(envelope.seq, local_ns)
            return
        if envelope.seq != channel.seq + 1:
            self.gaps += envelope.seq > channel.seq
            self.reconnections += envelope.seq <= channel.seq
            for market in self.markets.values():
                if market.sid == envelope.sid:
                    market.distrust(channel.now_ns, local_ns)
        channel.seq = envelope.seq

    def tapes(self, path: Path, source_format: str) -> list[ImportedTape]:
        """The tapes of all markets with a book or trades; the first one's report counts all frames."""
        if self._waiting:
            sentence = "no frame carries a time, neither ts_ms nor a receive time: it can't be put on a clock"
            raise DataError(sentence, file=path)
        told = [market for market in self.markets.values() if market.snapshots or market.trades]
        if not told:
            raise DataError("holds no order book and no trade of any market", file=path)
        silent = len(self.markets) - len(told)
        facts = _Facts(
            session=session_name(path),
            source_format=source_format,
            has_trades="recorded" if self.kinds["trade"] else "none",
            end_ns=self._now_ns,
        )
        details: dict[str, Scalar] = {"frames": self.kinds.total()}
        details |= {f"frames_{kind}": count for kind, count in sorted(self.kinds.items())}
        details |= {"gaps": self.gaps, "reconnections": self.reconnections}
        defects = self._defects(silent)
        made = []
        for market in told:
            made.append(_tape(market, facts, defects, details))
            defects, details = [], {}
        return made

    def _defects(self, silent: int) -> list[str]:
        """What is wrong with the recording as a whole."""
        found = []
        if self.gaps:
            found.append(
                f"{counted(self.gaps, 'gap')} in the sequence numbers: markets are paused after each"
            )
        if self.reconnections:
            found.append(
                f"{counted(self.reconnections, 'reconnection')}: what was in between is not recorded"
            )
        if self.unnumbered:
            book = counted(self.unnumbered, "book frame")
            found.append(f"{book} without a sequence number: a lost frame would not be noticed")
        if not self.kinds["trade"]:
            found.append("the trade channel was not recorded: no tape of this recording holds trades")
        if self.kinds["event_fee_update"]:
            fees = counted(self.kinds["event_fee_update"], "announced fee change")
            found.append(f"{fees} not on the tapes, whose fee is assumed")
        if silent:
            found.append(f"{counted(silent, 'market')} without a book or a trade left out")
        return found


# --- the tape -------------------------------------------------------------------------------------


class _Facts(NamedTuple):
    """What all tapes of a recording share."""

    session: str
    source_format: str
    has_trades: Literal["recorded", "none"]
    end_ns: int


def _tape(market: _Market, facts: _Facts, defects: Sequence[str], details: dict[str, Scalar]) -> ImportedTape:
    kind: Literal["book", "trades"] = "book" if market.snapshots else "trades"
    found = [*defects, *_market_defects(market)]
    made = archive.assemble_market(market.events(), 0)
    events, cut = _through_close(made.rows, market, facts.end_ns)
    if cut:
        found.append(f"{counted(cut, 'row')} after the close left out")
    grids, off = _grids(events, market.grids)
    if off:
        found.append(f"{counted(off, 'announced grid')} that prices do not lie on, replaced by one that fits")
    events, crossed, _ = recordings.uncross(events)
    if crossed:
        found.append(f"{counted(crossed, 'instant')} with a crossed book; the older level was removed")
    report = MarketReport(
        session=facts.session,
        market=market.ticker,
        kind=kind,
        events=len(events),
        rows=market.frames,
        snapshots=market.snapshots,
        deltas=market.deltas,
        trades=market.trades,
        settled=bool((events["kind"] == d.SETTLE).any()),
        snapshots_checked=market.checked,
        snapshots_equal=market.equal,
        defects=tuple(found),
        details={"trades_with_cause": made.caused, **details},
    )
    return ImportedTape(events, _meta(market, facts, report, grids), report)


def _market_defects(market: _Market) -> list[str]:
    found = []
    if market.early:
        found.append(f"{counted(market.early, 'book change')} before the first snapshot, left out")
    if market.untrusted:
        found.append(
            f"{counted(market.untrusted, 'book change')} between a gap and the next snapshot, left out"
        )
    if market.negative:
        negative = counted(market.negative, "book change")
        found.append(f"{negative} would make a level negative: paused there until the next snapshot")
    if market.checked > market.equal:
        unlike = counted(market.checked - market.equal, "snapshot")
        found.append(f"{unlike} that the replayed book did not equal; the snapshot won")
    if market.late:
        found.append(f"{counted(market.late, 'frame')} with a time before one above, moved up to it")
    if market.sideless:
        found.append(f"{counted(market.sideless, 'trade')} without the taker's side, left out")
    if not market.snapshots:
        found.append("no order book was recorded: the tape holds trades only")
    return found


def _through_close(events: d.Array, market: _Market, end_ns: int) -> tuple[d.Array, int]:
    """The rows up to the close where it was seen, closed and settled; and how many came after it."""
    seen = market.close_ns is not None and market.close_ns <= max(end_ns, market.settled_ns or 0)
    close_ns = market.close_ns if seen else market.settled_ns
    if close_ns is None:
        return events, 0
    end = int(np.searchsorted(events["exch_ns"], close_ns))
    local_ns = max(close_ns, int(events["local_ns"][end - 1]) if end else 0)
    last = [event_row(close_ns, local_ns, d.STATUS, aux=d.CLOSED)]
    if market.settled_ns is not None and market.value is not None:
        settle_ns = max(close_ns, market.settled_ns)
        last.append(event_row(settle_ns, max(local_ns, settle_ns), d.SETTLE, qty=market.value))
    return np.concatenate([events[:end], events_of(last)]), len(events) - end


def _grids(events: d.Array, told: Sequence[PriceGrid | None]) -> tuple[tuple[PriceGrid, ...], int]:
    """The grid of each stretch between grid changes, and how many told ones its prices did not lie on."""
    places = [0, *np.flatnonzero(events["kind"] == d.TICK).tolist(), len(events)]
    resting = ((events["kind"] == d.LEVEL) | (events["kind"] == d.SNAPSHOT)) & (events["qty"] > 0)
    grids = []
    off = 0
    for grid, first, end in zip(told, places[:-1], places[1:], strict=False):
        stretch = slice(first, end)
        prices = set(np.unique(events["price"][stretch][resting[stretch]]).tolist())
        if grid is None or not prices <= set(grid.prices()):
            off += grid is not None
            grid = next(g for g in map(kalshi_grid, GRIDS) if prices <= set(g.prices()))  # noqa: PLW2901
        grids.append(grid)
    return tuple(grids), off


def _meta(market: _Market, facts: _Facts, report: MarketReport, grids: tuple[PriceGrid, ...]) -> TapeMeta:
    outcome: Literal["yes", "no"] | None = None
    if market.value in (0, MONEY_SCALE):
        outcome = "yes" if market.value else "no"
    told = market.open_ns is not None or market.close_ns is not None
    return TapeMeta(
        kind="book" if market.snapshots else "trades",
        venue="kalshi",
        ticker=market.ticker,
        event_id=market.ticker.rpartition("-")[0] or market.ticker,
        title=market.ticker,
        session=facts.session,
        source_format=facts.source_format,
        grids=grids,
        min_size=QTY_SCALE // 100,
        lot=QTY_SCALE // 100,
        fee=FEE,
        nets_positions=True,
        reduce_in_place=True,
        open_ns=market.open_ns,
        close_ns=market.close_ns,
        expected_resolution_ns=market.close_ns,
        times_source="The recorded market_lifecycle_v2 messages." if told else "",
        outcome=outcome,
        outcome_source="The recorded market_lifecycle_v2 message." if outcome else "",
        has_trades=facts.has_trades,
        quality={
            "deltas": report.deltas,
            "snapshots": report.snapshots,
            "snapshots_checked": report.snapshots_checked,
            "snapshots_equal": report.snapshots_equal,
            "defects": len(report.defects),
            "grid_told": market.grids[0] is not None,
            **report.details,
        },
    )
