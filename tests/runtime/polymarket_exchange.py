"""The Polymarket stand-in in a thread of its own, so that processes and loops of tests can trade on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from live_sessions import CONTRACT, InThread, LiveSession, environment_of, limits

from pr3dict.runtime.polymarket_access import PolymarketAccess, polymarket_access
from pr3dict.runtime.polymarket_live import PolymarketLive
from pr3dict.runtime.venue_selection import Selection
from pr3dict.venues.polymarket.settings import PolymarketConfig
from standins.polymarket import PRIVATE_KEY, PolymarketStandIn, small_catalog

HOUR_S = 3_600.0


class Exchange(InThread):
    """`with Exchange(...) as exchange`: options as `PolymarketStandIn`."""

    def __init__(self, catalog: Any = None, **options: Any) -> None:
        self.catalog = quiet_catalog() if catalog is None else catalog
        self.options = {"tier": "elite", **options}
        super().__init__(lambda: PolymarketStandIn(self.catalog, **self.options))

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that trades here with nothing of this user's."""
        return environment_of(home, PR3DICT_POLYMARKET_LOCAL_WALLET_KEY=PRIVATE_KEY)

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return str(self.server.url)

    def access(self, home: Path) -> PolymarketAccess:
        """The way in with an EOA."""
        return polymarket_access("local", url=self.base, environment=self.environment(home))

    def live(self, home: Path, **changes: Any) -> PolymarketLive:
        """A venue of a live session here."""
        given = {"access": self.access(home), "polymarket": PolymarketConfig(), "selection": Selection()}
        return PolymarketLive(**given | changes)

    def open_ids(self) -> list[str]:
        """The ids of all orders that rest."""
        return [order["id"] for order in self.truth()["open_orders"]]

    def quoted(self) -> set[str]:
        """Conditions of the markets in which both of our sides rest."""
        sides = {(order["market"], is_bid(order)) for order in self.truth()["open_orders"]}
        return {market for market, bid in sides if bid and (market, False) in sides}


def is_bid(order: dict[str, Any]) -> bool:
    """Whether an order is a bid in YES terms."""
    return (order["side"] == "BUY") == (order["outcome"] == "Yes")


def quiet_catalog(markets: int = 2, **changes: Any) -> Any:
    """Markets that end within the hour, whose books move only when a test says so."""
    return small_catalog(markets, **{"end_in_s": HOUR_S / 2, **changes})


class Session(LiveSession):
    """A live session at a Polymarket stand-in."""

    def __init__(self, exchange: Exchange, home: Path, **changes: Any) -> None:
        self.exchange = exchange
        mine = {k: changes.pop(k) for k in ("access", "polymarket", "selection") if k in changes}
        venue = exchange.live(home, **mine)
        super().__init__((venue,), home, exchange.quoted, **{"risk": limits()} | changes)

    @property
    def figures(self) -> dict[str, int]:
        """What the adapter counts."""
        return dict(self.adapters.get("polymarket", {}))


# --- what stories share ---------------------------------------------------------------------------


def ticker_of(exchange: Exchange, slug: str) -> str:
    """How the engine names a market of the catalogue."""
    return str(next(spec for spec in exchange.catalog.markets if spec.slug == slug).condition)


def settled(exchange: Exchange) -> bool:
    """Whether nothing of ours is on its way onto the chain."""
    states = {trade["status"] for trade in exchange.truth()["trades"]}
    return states <= {"TRADE_STATUS_CONFIRMED", "TRADE_STATUS_FAILED"}


def agrees(exchange: Exchange, view: Any, *, elsewhere_micros: int = 0) -> None:
    """What the engine holds is what the chain says that we hold, to the last micro-dollar and token.

    `elsewhere_micros` is the cash at other venues.
    """
    truth = exchange.truth()
    held = dict(truth["balances"][exchange.server.address])
    cash = round(float(held.pop("pusd", 0)) * 1e6)
    tokens = {spec.tokens[k]: (spec.condition, k) for spec in exchange.catalog.markets for k in (0, 1)}
    found = {tokens[asset]: round(float(size) * CONTRACT) for asset, size in held.items()}
    booked = {
        (m.ticker, k): (m.yes_contracts, m.no_contracts)[k]
        for m in view.markets
        for k in (0, 1)
        if m.venue == "polymarket"
    }
    assert {key: size for key, size in booked.items() if size} == found
    assert view.cash_micros - elsewhere_micros == cash
    assert truth["unexplained"] == []


def sweep(exchange: Exchange, slug: str, taker: str = "ask") -> None:
    """Somebody takes what we bid there (`taker` bid: what we ask), and everything before it."""
    condition = ticker_of(exchange, slug)
    ours = [o for o in exchange.truth()["open_orders"] if o["market"] == condition]
    ours = [order for order in ours if is_bid(order) == (taker == "ask")]
    yes = [yes_price(order) for order in ours]
    price = max(yes) if taker == "ask" else min(yes)
    exchange.do("take", market=slug, taker=taker, price=f"{price:.4f}", shares="1000")


def yes_price(order: dict[str, Any]) -> float:
    """The price of an order in YES terms."""
    price = float(order["price"])
    return price if order["outcome"] == "Yes" else 1 - price
