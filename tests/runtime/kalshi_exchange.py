"""The Kalshi stand-in in a thread of its own, so that processes and event loops of tests can trade on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from live_sessions import (
    CONTRACT,
    InThread,
    LiveSession,
    alerts,
    environment_of,
    limits,
    run,
    settings,
    verified,
)

from pr3dict.runtime.kalshi_access import KalshiAccess, Selection, kalshi_access
from pr3dict.runtime.kalshi_live import KalshiLive
from pr3dict.venues.kalshi.settings import KalshiConfig
from standins.kalshi import KalshiStandIn, small_catalog, synthetic_catalog

__all__ = [
    "CONTRACT", "Exchange", "Session", "agrees", "alerts", "limits", "quiet_catalog", "run", "settings",
    "sweep", "verified",
]  # fmt: skip


class Exchange(InThread):
    """`with Exchange(...) as exchange`: options as `KalshiStandIn`."""

    def __init__(self, catalog: Any = None, **options: Any) -> None:
        self.catalog = synthetic_catalog(2, hours=0.5) if catalog is None else catalog
        self.options = {"tier": "prestige", **options}
        super().__init__(lambda: KalshiStandIn(self.catalog, **self.options))

    def create_groups(self, count: int) -> list[str]:
        """Order groups that somebody else, or an earlier run, made."""

        def make() -> list[str]:
            known = set(self.server.venue.groups)
            for _ in range(count):
                self.server.desk.create_group({"contracts_limit": 100, "exchange_index": 0})
            return [name for name in self.server.venue.groups if name not in known]

        return list(self.in_loop(make))

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that trades here with nothing of this user's."""
        key = self.server.key
        return environment_of(
            home, PR3DICT_KALSHI_LOCAL_KEY_ID=key.id, PR3DICT_KALSHI_LOCAL_PRIVATE_KEY=key.pem
        )

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server.port}"

    def access(self, home: Path) -> KalshiAccess:
        """The way in with its Ed25519 key."""
        return kalshi_access("local", url=self.base, environment=self.environment(home))

    def open_ids(self) -> list[str]:
        """The ids of all orders that rest."""
        return [order["order_id"] for order in self.truth()["open_orders"]]

    def quoted(self) -> set[str]:
        """Markets in which both of our sides rest."""
        sides = {(order["ticker"], order["book_side"]) for order in self.truth()["open_orders"]}
        return {ticker for ticker, side in sides if side == "bid" and (ticker, "ask") in sides}


def quiet_catalog(markets: int = 2, **changes: Any) -> Any:
    """Markets that close within the hour, on one shard, whose books move only when a test says so."""
    return small_catalog(markets, **{"close_in_s": 1800.0, "exchange_index": 0, **changes})


class Session(LiveSession):
    """A live session at a Kalshi stand-in."""

    def __init__(self, exchange: Exchange, home: Path, **changes: Any) -> None:
        self.exchange = exchange
        access = changes.pop("access", None) or exchange.access(home)
        venue = KalshiLive(
            access, changes.pop("kalshi", KalshiConfig()), changes.pop("selection", Selection())
        )
        super().__init__((venue,), home, exchange.quoted, **changes)

    @property
    def figures(self) -> dict[str, int]:
        """What the adapter counts."""
        return dict(self.adapters.get("kalshi", {}))


# --- what stories share ---------------------------------------------------------------------------


def agrees(exchange: Exchange, view) -> None:
    """What the engine holds is what the exchange says that we hold, to the last micro-dollar."""
    truth = exchange.truth()
    held = {m.ticker: m.net_contracts / CONTRACT for m in view.markets if m.net_contracts}
    assert held == truth["positions"]
    assert view.cash_micros == sum(round(float(cash) * 1e6) for cash in truth["cash"].values())
    assert truth["unexplained"] == []


def sweep(exchange: Exchange, ticker: str) -> None:
    """Somebody takes our bid there, and everything above it."""
    bids = [o for o in exchange.truth()["open_orders"] if o["ticker"] == ticker and o["book_side"] == "bid"]
    price = max(order["yes_price_dollars"] for order in bids)
    exchange.do("take", ticker=ticker, taker="ask", price=price, contracts="1000")
