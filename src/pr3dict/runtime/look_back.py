"""A process as its journal knows it, at its end or at any past moment: for `status`, `explain` and reports.

The state is folded from the youngest snapshot before the moment; what the brain had decided comes from the
decisions that were journaled. Books are not in the journal, so best prices are unknown here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Started
from pr3dict.domain.steps import Step
from pr3dict.engine.engine import Engine
from pr3dict.engine.holds import Holds
from pr3dict.engine.recovery import SNAPSHOT_VERSION
from pr3dict.engine.recovery import Snapshot as EngineSnapshot
from pr3dict.engine.view import EngineView, MarketView
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.journal_tail import LOOK_BACK_STEPS, JournalTail
from pr3dict.runtime.settings import Settings, read_settings
from pr3dict.runtime.status import status_of
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal, Stored
from pr3dict.store.snapshots import Snapshot
from pr3dict.strategies.decision import STATE_NAMES, reason_names
from pr3dict.strategies.market_making import MarketMakingStrategy

END_NS: Final = 2**63 - 1
_STARTED: Final = "started"


@dataclass(frozen=True, slots=True)
class Moment:
    """The process after everything up to `at_ns`; `tail` knows the words of what happened shortly before."""

    at_ns: int
    started: Started
    settings: Settings
    view: EngineView
    tail: JournalTail
    quotes: dict[int, d.Array]  # market to the QUOTE row (1,) that stood

    def status(self) -> dict[str, Any]:
        """The status of that moment."""
        return self.tail.add_to(status_of(self.view))


def last_status(data_dir: DataDir) -> dict[str, Any]:
    """The status of a process that has ended.

    Raises:
        LogError: the journal can't be read.
        DataError: no process has ever started here.
    """
    journal = Journal.read(data_dir.journal)
    try:
        return look_back(journal).status()
    finally:
        journal.close()


def look_back(journal: Journal, until_ns: int = END_NS) -> Moment:
    """Fold a journal up to and with `until_ns`.

    Raises:
        LogError: a step can't be read.
        DataError: nothing had started by then.
    """
    snapshot, started = _snapshot_before(journal, until_ns)
    after = 0 if snapshot is None else snapshot.number
    for stored in _stored_until(journal, until_ns, after):
        started = _started_in(stored) or started
    if started is None:
        raise DataError("no process had started by then", file=journal.path)
    settings = read_settings(started.settings)
    engine = Engine(settings.risk)
    engine.register_strategy(MarketMakingStrategy(config=settings.market_making))
    if snapshot is not None:
        engine.load(snapshot.blob)
    quotes: dict[int, d.Array] = {}
    for step in _steps_until(journal, until_ns, after):
        engine.fold(step)
        for quoted in step.quotes:
            if len(quoted.row) == d.QUOTE.itemsize:  # else of another version
                quotes[quoted.market] = np.frombuffer(quoted.row, d.QUOTE)
    _older_quotes(journal, after, quotes, len(engine.listings))
    tail = JournalTail(journal, after=max(0, engine.number - LOOK_BACK_STEPS))
    tail.take(_steps_until(journal, until_ns, tail.number))
    at_ns = min(max(until_ns, engine.now_ns), journal.last_ns)
    return Moment(at_ns, started, settings, _view(engine, quotes, at_ns), tail, quotes)


def _snapshot_before(journal: Journal, until_ns: int) -> tuple[Snapshot | None, Started | None]:
    """The youngest snapshot of this journal that was taken by then, and what had started."""
    for snapshot in journal.snapshots.whole():
        if journal.chain_at(snapshot.number) != snapshot.chain:
            continue
        try:
            kept = msgspec.msgpack.decode(snapshot.blob, type=EngineSnapshot)
        except msgspec.MsgspecError:  # of another version: the journal has it all
            continue
        if kept.version == SNAPSHOT_VERSION and kept.now_ns <= until_ns:
            return snapshot, kept.started
    return None, None


def _started_in(stored: Stored) -> Started | None:
    bodies = [columns.body for columns in stored.events if columns.kind == _STARTED]
    return msgspec.json.decode(bodies[-1], type=Started) if bodies else None


def _stored_until(journal: Journal, until_ns: int, after: int) -> Iterator[Stored]:
    return itertools.takewhile(lambda stored: stored.now_ns <= until_ns, journal.stored(after))


def _steps_until(journal: Journal, until_ns: int, after: int) -> Iterator[Step]:
    return itertools.takewhile(lambda step: step.now_ns <= until_ns, journal.steps(after))


def _older_quotes(journal: Journal, before: int, quotes: dict[int, d.Array], markets: int) -> None:
    """The decisions that stood already when the snapshot was taken, for markets not decided since."""
    if not before or len(quotes) == markets:
        return
    older: dict[int, bytes] = {}
    for stored in journal.stored():
        if stored.number > before:
            break
        older.update((m, row) for m, row in stored.quotes if len(row) == d.QUOTE.itemsize)
    for market, row in older.items():
        quotes.setdefault(market, np.frombuffer(row, d.QUOTE))


def _view(engine: Engine, quotes: dict[int, d.Array], at_ns: int) -> EngineView:
    """The engine's view with the holds and decisions that stood; making it readies the engine's rows."""
    holds = Holds()
    for venue, market, why in engine.holds.to_list():
        holds.set(market, venue, why, on=True)
    engine.recovered(engine.now_ns)
    view = engine.view()
    return msgspec.structs.replace(
        view,
        now_ns=at_ns,
        holds=holds.words(-1, ""),
        venues={venue: holds.words(-1, venue) for venue in view.venues},
        markets=tuple(_decided(market, quotes.get(market.market), holds, at_ns) for market in view.markets),
    )


def _decided(market: MarketView, quote: d.Array | None, holds: Holds, at_ns: int) -> MarketView:
    market = msgspec.structs.replace(market, holds=holds.words(market.market, market.venue))
    if quote is None:
        return market
    row = quote[0]
    return msgspec.structs.replace(
        market,
        fair_micros=int(row["fair_micros"]),
        uncertainty_micros=int(row["uncertainty_micros"]),
        state=STATE_NAMES[int(row["state"])],
        reasons=reason_names(int(row["reasons"])),
        quote_age_ns=max(0, at_ns - int(row["now_ns"])),
        quote=quote.tobytes(),
    )
