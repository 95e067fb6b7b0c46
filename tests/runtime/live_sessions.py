"""A stand-in in a thread of its own, and a live session beside it in the loop of the test; for any venue."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pr3dict.cli.journal import terms_of
from pr3dict.engine.view import EngineView
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.live import LiveSpec, live_session
from pr3dict.runtime.logs import make_log
from pr3dict.runtime.paper import PaperResult
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.journal_verify import verify
from pr3dict.store.mailbox import MailAnswer, Mailbox
from pr3dict.strategies.presets import build_config

CONTRACT: Final = 1_000_000
PATIENCE_S: Final = 120.0  # with a session on a busy machine


class InThread:
    """`with ... as exchange`: a stand-in that runs beside the test. `make` makes it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.server: Any = None
        self._make = make
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        async with self._make() as self.server:
            self._ready.set()
            await self._over.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(120), "the stand-in did not come up"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def in_loop(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, done in the stand-in's thread."""

        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)

    def do(self, action: str, **arguments: Any) -> Any:
        """An action of the stand-in's controls."""
        return self.in_loop(lambda: self.server.do(action, **arguments))

    def truth(self) -> Any:
        """Orders, fills, positions and cash as they are."""
        return self.do("truth")

    def faults(self, **changes: Any) -> None:
        """Set faults."""
        self.in_loop(lambda: self.server.faults.change(changes))


def environment_of(home: Path, **secrets: str) -> dict[str, str]:
    """Variables of a process that trades with nothing of this user's."""
    kept = ("PATH", "HOME", "XDG_CACHE_HOME", "PR3DICT_CACHE_DIR")  # where the compiled kernels lie
    mine = {name: os.environ[name] for name in kept if name in os.environ}
    places = {"XDG_STATE_HOME": str(home / "state"), "PR3DICT_CONFIG_DIR": str(home / "config")}
    return mine | places | secrets


def settings(**changes: Any) -> Any:
    """Settings that quote a quiet market at once."""
    return build_config(
        "short_dated", assignments=["min_liquidity=100", *(f"{k}={v}" for k, v in changes.items())]
    )


def limits(**changes: Any) -> RiskConfig:
    """Limits of a process that need not wait for reads to be sure: both clocks are one machine's."""
    quick = {"clock_skew_seconds": "0.7", "read_retry_seconds": "0.1", "answer_timeout_seconds": 2}
    return RiskConfig(**quick | changes)


class LiveSession:
    """A live session in this loop; `view` is the newest picture of its engine.

    `quoted` names the markets with both sides at rest, by the truth of the exchanges.
    """

    def __init__(
        self, venues: tuple[Any, ...], home: Path, quoted: Callable[[], set[str]], **changes: Any
    ) -> None:
        self.data_dir = DataDir.of(home / changes.pop("folder", "data"))
        self.console = io.StringIO()
        self.view: EngineView | None = None
        self.adapters: Mapping[str, Mapping[str, int]] = {}
        self._quoted = quoted
        given: dict[str, Any] = {
            "venues": venues,
            "config": settings(),
            "risk": limits(),
            "data_dir": self.data_dir,
            "seconds": PATIENCE_S,
            "on_view": self._see,
            "on_figures": self._count,
            "view_s": 0.05,
        }
        self.spec = LiveSpec(**given | changes)

    def _see(self, view: EngineView) -> None:
        self.view = view

    def _count(self, figures: Mapping[str, Mapping[str, int]]) -> None:
        self.adapters = figures

    async def __aenter__(self) -> Self:
        self.data_dir.create()
        log = make_log(self.data_dir.logs, console=self.console)
        self.task = asyncio.create_task(live_session(self.spec, log))
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.task.done():
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, holds: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Wait until something holds; what it said."""
        for _ in range(int(seconds / 0.02)):
            found = holds()
            if found:
                return found
            if self.task.done():
                self.task.result()
                raise AssertionError(f"the session ended\n{self.console.getvalue()}")
            await asyncio.sleep(0.02)
        holds_now = None if self.view is None else [market.holds for market in self.view.markets]
        raise AssertionError(f"waited for nothing\n{self.console.getvalue()}\n{holds_now}")

    async def quoting(self, markets: int = 1) -> None:
        """Wait until both sides of so many markets rest at the exchanges."""
        await self.until(lambda: len(self._quoted()) >= markets)

    async def tell(self, command: Any) -> MailAnswer:
        """Post a person's command and wait for its answer."""
        mailbox = Mailbox(self.data_dir.mailbox)
        command_id = mailbox.post(command)
        answer = await asyncio.to_thread(mailbox.wait_for_answer, command_id, 10.0)
        assert answer is not None, f"no answer\n{self.console.getvalue()}"
        return answer

    async def stop(self) -> PaperResult:
        """SIGTERM, as a person or a service manager would."""
        assert not self.task.done(), self.console.getvalue()
        os.kill(os.getpid(), signal.SIGTERM)
        return await asyncio.wait_for(self.task, 20)


# --- what stories share ---------------------------------------------------------------------------


def run(story) -> None:
    asyncio.run(asyncio.wait_for(story, PATIENCE_S))


def alerts(view: EngineView) -> set[str]:
    """What the engine alerts to; that a busy machine stood still is no fault of the program's."""
    return {name for name, _ in view.alerts} - {"clock_jumped"}


def verified(session: LiveSession) -> None:
    with Journal.read(session.data_dir.journal) as journal:
        assert verify(journal, terms_of).difference is None
