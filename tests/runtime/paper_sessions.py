"""A session on paper beside a stand-in, in the loop of the test; for any venue."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Final, Self

from live_sessions import CONTRACT, LiveSession

from pr3dict.cli.journal import terms_of
from pr3dict.domain.events import Filled
from pr3dict.runtime.backtest import run_backtest
from pr3dict.runtime.logs import make_log
from pr3dict.runtime.paper import PaperResult
from pr3dict.runtime.session_replay import replay_session
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.tapeset import load
from pr3dict.runtime.venue_paper import PaperVenue, VenuePaperSpec, venue_paper_session
from pr3dict.store.importers.recording import IMPORTER
from pr3dict.store.importers.run import import_recordings
from pr3dict.store.journal import Journal
from pr3dict.store.journal_verify import verify

CASH: Final = 1_000 * CONTRACT
LATENCY_MS: Final = 50


class PaperSession(LiveSession):
    """A paper session on the data of `venue`; `changes` are those of its spec and its strategy."""

    def __init__(self, venue: PaperVenue, home: Path, **changes: Any) -> None:
        options = {name: changes.pop(name) for name in ("latency_ms", "queue") if name in changes}
        super().__init__((), home, set, **changes)
        live = self.spec
        strategy = make_spec(
            live.config, preset="short_dated", cash_micros=CASH, **{"latency_ms": LATENCY_MS} | options
        )
        self.spec = VenuePaperSpec(
            venue, strategy, live.risk, live.data_dir, seconds=live.seconds, on_view=self._see,
            view_s=live.view_s, on_figures=live.on_figures,
        )  # fmt: skip

    @property
    def figures(self) -> dict[str, int]:
        """What the venue's stream and the simulated exchange count."""
        return dict(self.adapters.get(self.spec.venue.name, {}))

    async def __aenter__(self) -> Self:
        self.data_dir.create()
        log = make_log(self.data_dir.logs, console=self.console)
        self.task = asyncio.create_task(venue_paper_session(self.spec, log))
        return self

    async def quoting(self, markets: int = 1) -> None:
        """Wait until both sides of so many markets rest at the simulated exchange."""

        def resting() -> bool:
            sides = [
                {order.side for order in market.orders if order.venue_id}
                for market in (self.view.markets if self.view else ())
            ]
            return sum(len(both) == 2 for both in sides) >= markets

        await self.until(resting)

    def market(self, ticker: str) -> Any:
        """A market of the view."""
        (found,) = (m for m in self.view.markets if m.ticker == ticker)
        return found


def verified(session: PaperSession) -> None:
    """The journal adds up, and the last run of it can be made again."""
    with Journal.read(session.data_dir.journal) as journal:
        assert verify(journal, terms_of).difference is None
    replayed = replay_session(session.data_dir)
    assert replayed.difference is None and replayed.was_whole


def inputs(session: PaperSession, *kinds: type) -> list[Any]:
    """What the journal has of these events."""
    with Journal.read(session.data_dir.journal) as journal:
        return [event for step in journal.steps() for event in step.inputs if isinstance(event, kinds)]


def explained(result: PaperResult) -> None:
    """What the simulated exchange said when it was read is what the journal knows: nobody was surprised."""
    assert result.exit_code == 0
    assert {name for name, _ in result.view.alerts} <= {"inventory_high"}


def played_back(session: PaperSession, result: PaperResult) -> None:
    """The tapes of a session through a backtest of the same settings."""
    folder = session.data_dir.path / "again"
    import_recordings(IMPORTER, [result.recording], folder)
    tapes = load([str(folder)], latency_ns=LATENCY_MS * 1_000_000)
    assert {meta.ticker for meta in tapes.metas} == {m.ticker for m in result.view.markets}
    again = run_backtest(tapes, session.spec.spec)
    rows = [tapes.names.index(listing.ticker) for listing in result.recovered.engine.listings]
    played = Counter(
        zip(*(again.fills[name].tolist() for name in ("market", "side", "price", "qty")), strict=True)
    )
    traded = Counter((rows[f.market], f.side, f.price, f.size) for f in inputs(session, Filled))
    assert traded.total() / 2 <= played.total() <= traded.total() * 2
    assert (played & traded).total() >= traded.total() // 3
