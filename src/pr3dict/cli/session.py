"""A session at the terminal, on paper or live: its view or progress lines, and what is said at its end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import typer
from rich.markup import escape

from pr3dict.cli.main import INTERRUPTED
from pr3dict.cli.output import console, messages, money
from pr3dict.cli.screen import badge, clock, screen, signed
from pr3dict.domain.errors import RiskStop, WorkError

if TYPE_CHECKING:
    from rich.live import Live

    from pr3dict.engine.view import EngineView
    from pr3dict.runtime.journal_tail import JournalTail
    from pr3dict.runtime.live import LiveSpec
    from pr3dict.runtime.paper import Log, PaperResult, PaperSpec
    from pr3dict.runtime.paper_result import SessionResult
    from pr3dict.runtime.remote import RemoteSpec
    from pr3dict.runtime.venue_paper import VenuePaperSpec
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.journal_verify import Verified
    from pr3dict.store.latch import Latch

    Spec = PaperSpec | VenuePaperSpec | RemoteSpec | LiveSpec

FRAME_S: Final = 0.2
LINE_S: Final = 5.0  # between two progress lines
TAIL_S: Final = 0.5  # between two looks at the journal
RATES_S: Final = 1.0  # that rates are measured over


class Watcher:
    """Hears the views of a running engine and shows them; `status` is the newest one, completed.

    On a terminal a live view, else a line now and then on stderr; `quiet`: neither.
    """

    def __init__(
        self,
        data_dir: DataDir,
        *,
        mode: str,
        notes: Sequence[str],
        headless: bool,
        quiet: bool = False,
        simulation: Mapping[str, Any] | None = None,
    ) -> None:
        """`simulation` says how fills come about where the market data are live and they are not."""
        self.data_dir = data_dir
        self.status: dict[str, Any] | None = None
        self._mode = mode
        self._simulation = simulation
        self._notes = notes
        self._headless = headless
        self._quiet = quiet
        self._live: Live | None = None
        self._tail: JournalTail | None = None
        self._began_s = time.monotonic()
        self._tail_due_s = self._shown_s = 0.0
        self._before: tuple[float, EngineView] | None = None
        self._figures: dict[str, dict[str, int]] = {}
        self._rates: dict[str, float | None] = {"messages_per_s": None, "steps_per_s": None, "pace": None}

    @property
    def is_live(self) -> bool:
        """Whether the terminal belongs to a live view."""
        return not (self._headless or self._quiet)

    @contextmanager
    def showing(self) -> Iterator[Watcher]:
        """Own the terminal for a `with` block."""
        if not self.is_live:
            yield self
            return
        from rich.live import Live

        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def __call__(self, view: EngineView) -> None:
        """A view of the engine; most are passed over."""
        now_s = time.monotonic()
        if now_s - self._shown_s < (LINE_S if self._headless else FRAME_S):
            return
        self._shown_s = now_s
        self.take(view, now_s)
        if self.status is None or self._quiet:
            return
        if self._live is not None:
            self._live.update(screen(self.status, console.width, self._notes, console.height), refresh=True)
        else:
            messages.print(progress_line(self.status), markup=True)

    def take_figures(self, figures: Mapping[str, Mapping[str, int]]) -> None:
        """What the venues' adapters count."""
        self._figures = {venue: dict(counts) for venue, counts in figures.items()}

    def take(self, view: EngineView, now_s: float, *, last: bool = False) -> None:
        """Make the status of a view; of the `last` one with all that the journal has."""
        from pr3dict.runtime.status import status_of

        status = status_of(view)
        status["mode"] = self._mode
        status["simulation"] = self._simulation
        status["uptime_s"] = round(now_s - self._began_s, 3)
        self._measure(view, now_s)
        status["rates"] |= self._rates
        status["adapters"] = self._figures
        if last or now_s >= self._tail_due_s:
            self._look_at_journal()
            self._tail_due_s = now_s + TAIL_S
        self.status = status if self._tail is None else self._tail.add_to(status)

    def _measure(self, view: EngineView, now_s: float) -> None:
        """Rates over the last second or so."""
        if self._before is None:
            self._before = (now_s, view)
        then_s, before = self._before
        passed_s = now_s - then_s
        if passed_s < RATES_S:
            return
        self._rates = {
            "messages_per_s": round((view.rows - before.rows) / passed_s, 1),
            "steps_per_s": round((view.step - before.step) / passed_s, 1),
            "pace": round((view.now_ns - before.now_ns) / 1e9 / passed_s, 1),
        }
        self._before = (now_s, view)

    def _look_at_journal(self) -> None:
        from pr3dict.runtime.journal_tail import recent_tail
        from pr3dict.store.journal import Journal

        if self._tail is None:
            if self.data_dir.journal.exists():
                self._tail = recent_tail(Journal.read(self.data_dir.journal))
        else:
            self._tail.journal.refresh()
            self._tail.look()

    def close(self) -> None:
        """Give the journal back."""
        if self._tail is not None:
            self._tail.journal.close()
            self._tail = None


def progress_line(status: dict[str, Any]) -> str:
    """One line about a process, as markup."""
    rate = status["rates"]["messages_per_s"]
    speed = "" if rate is None else f"  {rate:,.0f} messages/s"
    halted = "  [bold red]HALTED[/bold red]" if status["latch"] is not None else ""
    live = f"{badge(status)}  " if status["env"] is not None else ""
    return (
        f"{live}{clock(status['now'])}  P&L {signed(status['pnl']['total'])}  "
        f"fills {status['fill_count']:,}  orders {len(status['orders'])}{speed}{halted}"
    )


class Outcome(NamedTuple):
    """How a session ended. `session` is None where no replay is like it: it continued an earlier one."""

    paper: PaperResult
    spec: Spec
    status: dict[str, Any]
    session: SessionResult | None
    verified: Verified
    latch: Latch | None

    @property
    def exit_code(self) -> int:
        """0, or 3 when the kill latch is set, or what the process itself ended with."""
        return RiskStop.exit_code if self.paper.exit_code == 0 and self.latch else self.paper.exit_code


def run_session(spec: Spec, watcher: Watcher, *, draw: bool) -> Outcome:
    """Trade under the eyes of `watcher`, then work out what came of it and verify the journal.

    `draw` keeps what a report draws. Raises as `run_paper`, `run_remote`, `run_live` or `run_venue_paper`.
    """
    import logging

    from pr3dict.runtime.logs import make_log
    from pr3dict.runtime.paper import PaperSpec
    from pr3dict.store.latch import LatchFile

    folder = spec.data_dir.create().logs
    try:
        with watcher.showing():
            log = cast("Log", make_log(folder, level=logging.CRITICAL if watcher.is_live else logging.ERROR))
            result = _run(spec, log)
        watcher.take(result.view, time.monotonic(), last=True)
    finally:
        watcher.close()
    assert watcher.status is not None
    with messages.status("Working out the figures and verifying the journal..."):
        session = None
        if isinstance(spec, PaperSpec) and result.first == 1:
            session = _figures(spec, result, draw=draw)
        verified = _verify(spec)
    return Outcome(result, spec, watcher.status, session, verified, LatchFile(spec.data_dir.latch).read())


def _run(spec: Spec, log: Log) -> PaperResult:
    """A venue's code is loaded only where it is traded: a restart must not wait for it."""
    from pr3dict.runtime.paper import PaperSpec, run_paper

    if isinstance(spec, PaperSpec):
        return run_paper(spec, log)
    from pr3dict.runtime.live import LiveSpec, run_live
    from pr3dict.runtime.remote import run_remote
    from pr3dict.runtime.venue_paper import VenuePaperSpec, run_venue_paper

    if isinstance(spec, LiveSpec):
        return run_live(spec, log)
    return run_venue_paper(spec, log) if isinstance(spec, VenuePaperSpec) else run_remote(spec, log)


def _figures(spec: PaperSpec, result: PaperResult, *, draw: bool) -> SessionResult:
    from pr3dict.runtime.backtest import compile_kernels
    from pr3dict.runtime.jobs import cores
    from pr3dict.runtime.observer import POINTS
    from pr3dict.runtime.paper_result import session_result

    compile_kernels()
    return session_result(spec.tapes, spec.spec, result.view, jobs=cores(), points=POINTS if draw else 0)


def _verify(spec: Spec) -> Verified:
    from pr3dict.cli.journal import terms_of
    from pr3dict.store.journal import Journal
    from pr3dict.store.journal_verify import verify

    with Journal.read(spec.data_dir.journal) as journal:
        return verify(journal, terms_of)


def outcome_json(outcome: Outcome, report: Path | None) -> dict[str, Any]:
    """The figures of `pr3dict backtest --json`, where there are some, and `session`: what this run did."""
    figures = {} if outcome.session is None else outcome.session.replay.to_json()
    paper, spec = outcome.paper, outcome.spec
    return {
        **figures,
        "session": {
            "exit_code": outcome.exit_code,
            "first_step": paper.first,
            "steps": paper.view.step,
            "fills": outcome.status["fill_count"],
            "net": outcome.status["pnl"]["total"],
            "open_orders": paper.view.open_orders,
            "agrees_with_replay": None if outcome.session is None else outcome.session.agrees,
            "state_hash": paper.state_hash,
            "journal_verified": outcome.verified.difference is None,
            "data_dir": str(spec.data_dir.path),
            "journal": str(spec.data_dir.journal),
            "recording": str(paper.recording),
            "report": None if report is None else str(report),
            "latch": None if outcome.latch is None else outcome.latch.reason,
        },
        "status": outcome.status,
    }


def show_outcome(outcome: Outcome, title: str, report: Path | None) -> None:
    """Print the figures, what the session itself booked, and where everything is."""
    from pr3dict.cli.results import show

    session = outcome.session
    if session is None:
        console.print(screen(outcome.status, console.width))
    else:
        console.print()
        show(session.replay, title)
        if not session.agrees:
            twin = session.replay.report.total.count("fills")
            console.print(
                f"The figures above are a replay's, with {twin:,} fills; the session itself had "
                f"{session.fills:,}: it cancelled its orders when it stopped, or somebody stepped in.",
                style="yellow",
            )
    console.print()
    for name, words in _places(outcome, report).items():
        console.print(f"{name:8}  {words}", soft_wrap=True)


def _places(outcome: Outcome, report: Path | None) -> dict[str, str]:
    view, data_dir = outcome.paper.view, outcome.spec.data_dir
    defect = outcome.verified.difference
    proof = (
        "verified: it is whole and adds up" if defect is None else f"[bold red]{escape(defect)}[/bold red]"
    )
    place = f"--data-dir {escape(shlex.quote(str(data_dir.path)))}"
    fills = outcome.status["fill_count"]
    rows = {
        "session": f"{fills:,} fills, {view.open_orders} open orders, equity {money(view.equity_micros)} "
        "with positions at fair value",
        "journal": f"{escape(str(data_dir.journal))} ({view.step:,} steps), {proof}",
        "tapes": escape(str(outcome.paper.recording)),
    }
    if report is not None:
        rows["report"] = f"{escape(str(report))} (one file, opens in any browser)"
    if outcome.latch is not None:
        rows["halted"] = f"{escape(outcome.latch.reason)}: {escape(outcome.latch.text)}"
    return rows | {
        "look": f"pr3dict status {place}",
        "why": f"pr3dict explain MARKET {place}",
        "proof": f"pr3dict journal verify {place}",
    }


def end(outcome: Outcome) -> None:
    """Leave with the session's exit code.

    Raises:
        RiskStop: the kill latch is set.
        WorkError: the work failed, or the journal is not what it should be.
    """
    if outcome.verified.difference is not None:
        raise WorkError(f"{outcome.spec.data_dir.journal}: {outcome.verified.difference}")
    if outcome.exit_code == RiskStop.exit_code:
        reason = "a limit" if outcome.latch is None else outcome.latch.reason
        raise RiskStop(f"trading is halted ({reason}); `pr3dict resume --reason ...` lifts it")
    if outcome.exit_code == INTERRUPTED:
        raise typer.Exit(INTERRUPTED)
    if outcome.exit_code:
        raise WorkError(f"the process failed; its log is in {outcome.spec.data_dir.logs}")
