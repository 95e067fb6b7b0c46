"""The Kalshi stand-in in a thread of its own, so that processes and event loops of tests can trade on it."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from pr3dict.cli.journal import terms_of
from pr3dict.engine.view import EngineView
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.kalshi_access import KalshiAccess, Selection, kalshi_access
from pr3dict.runtime.live import LiveSpec, live_session
from pr3dict.runtime.logs import make_log
from pr3dict.runtime.paper import PaperResult
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.journal_verify import verify
from pr3dict.store.mailbox import MailAnswer, Mailbox
from pr3dict.strategies.presets import build_config
from pr3dict.venues.kalshi.settings import KalshiConfig

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)
from standins.kalshi import KalshiStandIn, small_catalog, synthetic_catalog  # noqa: E402

CONTRACT: Final = 1_000_000


class Exchange:
    """`with Exchange(...) as exchange`: a stand-in that runs beside the test; options as `KalshiStandIn`."""

    def __init__(self, catalog: Any = None, **options: Any) -> None:
        self.catalog = synthetic_catalog(2, hours=0.5) if catalog is None else catalog
        self.options = {"tier": "prestige", **options}
        self.server: KalshiStandIn
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
        async with KalshiStandIn(self.catalog, **self.options) as self.server:
            self._ready.set()
            await self._over.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(120), "the stand-in did not come up"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _in_loop(self, work: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)

    def do(self, action: str, **arguments: Any) -> Any:
        """An action of the stand-in's controls."""
        return self._in_loop(lambda: self.server.do(action, **arguments))

    def truth(self) -> Any:
        """Orders, fills, positions, cash and groups as they are."""
        return self.do("truth")

    def faults(self, **changes: Any) -> None:
        """Set faults."""
        self._in_loop(lambda: self.server.faults.change(changes))

    def create_groups(self, count: int) -> list[str]:
        """Order groups that somebody else, or an earlier run, made."""

        def make() -> list[str]:
            known = set(self.server.venue.groups)
            for _ in range(count):
                self.server.desk.create_group({"contracts_limit": 100, "exchange_index": 0})
            return [name for name in self.server.venue.groups if name not in known]

        return list(self._in_loop(make))

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that trades here with nothing of this user's."""
        kept = ("PATH", "HOME", "XDG_CACHE_HOME", "PR3DICT_CACHE_DIR")  # where the compiled kernels lie
        mine = {name: os.environ[name] for name in kept if name in os.environ}
        return mine | {
            "XDG_STATE_HOME": str(home / "state"),
            "PR3DICT_CONFIG_DIR": str(home / "config"),
            "PR3DICT_KALSHI_LOCAL_KEY_ID": self.server.key.id,
            "PR3DICT_KALSHI_LOCAL_PRIVATE_KEY": self.server.key.pem,
        }

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server.port}"

    def access(self, home: Path) -> KalshiAccess:
        """The way in with its Ed25519 key."""
        return kalshi_access("local", url=self.base, environment=self.environment(home))


def quiet_catalog(markets: int = 2, **changes: Any) -> Any:
    """Markets that close within the hour, on one shard, whose books move only when a test says so."""
    return small_catalog(markets, **{"close_in_s": 1800.0, "exchange_index": 0, **changes})


def settings(**changes: Any) -> Any:
    """Settings that quote a quiet market at once."""
    return build_config(
        "short_dated", assignments=["min_liquidity=100", *(f"{k}={v}" for k, v in changes.items())]
    )


def limits(**changes: Any) -> RiskConfig:
    """Limits of a process that need not wait for reads to be sure: both clocks are one machine's."""
    quick = {"clock_skew_seconds": "0.7", "read_retry_seconds": "0.1", "answer_timeout_seconds": 2}
    return RiskConfig(**quick | changes)


class Session:
    """A live session in this loop; `view` is the newest picture of its engine."""

    def __init__(self, exchange: Exchange, home: Path, **changes: Any) -> None:
        self.exchange = exchange
        self.data_dir = DataDir.of(home / changes.pop("folder", "data"))
        self.console = io.StringIO()
        self.view: EngineView | None = None
        self.figures: dict[str, int] = {}
        given: dict[str, Any] = {
            "access": exchange.access(home),
            "kalshi": KalshiConfig(),
            "selection": Selection(),
            "config": settings(),
            "risk": limits(),
            "data_dir": self.data_dir,
            "seconds": 60.0,
            "on_view": self._see,
            "on_figures": self.figures.update,
            "view_s": 0.05,
        }
        self.spec = LiveSpec(**given | changes)

    def _see(self, view: EngineView) -> None:
        self.view = view

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
        """Wait until both sides of so many markets rest at the exchange."""

        def resting() -> bool:
            sides = {(order["ticker"], order["book_side"]) for order in self.exchange.truth()["open_orders"]}
            return sum((ticker, "ask") in sides for ticker, side in sides if side == "bid") >= markets

        await self.until(resting)

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
    asyncio.run(asyncio.wait_for(story, 60))


def agrees(exchange: Exchange, view) -> None:
    """What the engine holds is what the exchange says that we hold, to the last micro-dollar."""
    truth = exchange.truth()
    held = {m.ticker: m.net_contracts / CONTRACT for m in view.markets if m.net_contracts}
    assert held == truth["positions"]
    assert view.cash_micros == sum(round(float(cash) * 1e6) for cash in truth["cash"].values())
    assert truth["unexplained"] == []


def verified(session: Session) -> None:
    with Journal.read(session.data_dir.journal) as journal:
        assert verify(journal, terms_of).difference is None


def sweep(exchange: Exchange, ticker: str) -> None:
    """Somebody takes our bid there, and everything above it."""
    bids = [o for o in exchange.truth()["open_orders"] if o["ticker"] == ticker and o["book_side"] == "bid"]
    price = max(order["yes_price_dollars"] for order in bids)
    exchange.do("take", ticker=ticker, taker="ask", price=price, contracts="1000")
