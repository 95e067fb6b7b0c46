"""An engine over hand-made markets, and the answers of a venue that has nothing to hide."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.steps import Step
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_700_000_000 * SECOND
CONTRACT = 1_000_000
NO_ROWS = np.zeros(0, d.EVENT)
CASH = 10_000_000_000


def listing(market: int = 0, **changes: Any) -> e.Listed:
    """A market of Kalshi's kind without fees that resolves in three days."""
    facts: dict[str, Any] = {
        "market": market,
        "venue": "kalshi",
        "ticker": f"T{market}",
        "event_id": f"E{market}",
        "exclusive": False,
        "title": "a market",
        "grids": (kalshi_grid("linear_cent"),),
        "min_size": CONTRACT,
        "lot": CONTRACT,
        "fee_kind": "none",
        "nets_positions": True,
        "reduce_in_place": True,
        "close_ns": START + 72 * HOUR,
        "resolution_ns": START + 72 * HOUR,
    }
    return e.Listed(**{**facts, **changes})


def rows(now_ns: int, *given: tuple[int, int, int], market: int = 0, kind: int = d.LEVEL) -> d.Array:
    """EVENT rows at `now_ns` of (side, price, contracts)."""
    found = np.zeros(len(given), d.EVENT)
    for row, (side, price, contracts) in zip(found, given, strict=True):
        row["exch_ns"] = row["local_ns"] = now_ns
        row["market"], row["kind"], row["side"], row["price"] = market, kind, side, price
        row["qty"] = contracts * CONTRACT
    return found


def snapshot(now_ns: int, bid: int, ask: int, market: int = 0) -> d.Array:
    """A whole book of one level a side."""
    found = rows(now_ns, (d.BID, bid, 40_000), (d.ASK, ask, 40_000), market=market, kind=d.SNAPSHOT)
    found["bits"][0], found["bits"][-1] = d.SNAP_FIRST, d.SNAP_LAST
    return found


class Desk:
    """An engine with its steps kept; time is in seconds after the start."""

    def __init__(
        self,
        *listings: e.Listed,
        risk: RiskConfig | None = None,
        config: MarketMakingConfig | None = None,
        cash_micros: int = CASH,
        begin: bool = True,
    ) -> None:
        self.config = config if config is not None else MarketMakingConfig()
        self.risk = risk if risk is not None else RiskConfig()
        self.listings = listings or (listing(),)
        self.cash_micros = cash_micros
        self.engine = self.new_engine()
        self.steps: list[Step] = []
        self.fills: list[e.Filled] = []
        if begin:
            started = e.Started(version="1", account="paper", settings="{}", cash_micros=cash_micros)
            venues = dict.fromkeys(x.venue for x in self.listings)
            self.at(0, started, *self.listings, *(e.FeedUp(venue=v) for v in venues))
            self.agree(0.001)

    def new_engine(self) -> Engine:
        engine = Engine(self.risk, capacity=2)
        engine.register_strategy(MarketMakingStrategy(config=self.config))
        return engine

    def at(self, seconds: float, *events: e.Control, data: d.Array = NO_ROWS) -> Step:
        """One step; its number continues."""
        step = self.engine.step(START + round(seconds * SECOND), data, events)
        self.steps.append(step)
        return step

    def restart(self, engine: Engine, seconds: float) -> Step:
        """Go on with an engine that has folded what this one did, as another process."""
        engine.recovered(START + round(seconds * SECOND))
        self.engine = engine
        started = e.Started(version="1", account="paper", settings="{}", cash_micros=self.cash_micros)
        return self.at(seconds, started, *(e.FeedUp(venue=venue) for venue in engine.venues))

    def agree(self, seconds: float) -> Step:
        """The venues confirm what the account believes."""
        now = START + round(seconds * SECOND)
        answers: list[e.Control] = []
        account = self.engine.account
        for venue in self.engine.venues:
            mine = [x for x in self.listings if x.venue == venue]
            held = [(x.market, account.position(x.market)) for x in mine]
            orders = tuple(
                e.VenueOrder(
                    order_id=o.order_id, venue_id=o.venue_id or f"v{o.order_id}", market=x.market,
                    side=o.side, sell=o.sell, price=o.price, remaining=o.remaining,
                )
                for x in mine for o in account.open_orders(x.market)
            )  # fmt: skip
            asked = {"venue": venue, "asked_ns": now - 1, "as_of_ns": now}
            positions = tuple(
                e.VenuePosition(market=m, yes_contracts=p.yes_contracts, no_contracts=p.no_contracts)
                for m, p in held
            )
            fills = tuple(f for f in self.fills if f.market in {x.market for x in mine})
            answers += [
                e.OrdersRead(**asked, orders=orders),
                e.FillsRead(**asked, since_ns=0, fills=fills),
                e.PositionsRead(**asked, positions=positions),
                e.BalanceRead(**asked, cash_micros=account.cash_micros),
            ]
        return self.at(seconds, *answers)

    def quote(self, seconds: float = 1, market: int = 0, bid: int = 4500, ask: int = 5500) -> list[c.Place]:
        """A deep book of `bid` and `ask` appears; the orders that follow."""
        book = rows(
            START + round(seconds * SECOND), (d.BID, bid, 40_000), (d.ASK, ask, 40_000), market=market
        )
        return placed(self.at(seconds, data=book))

    def accept(self, seconds: float, places: Sequence[c.Place]) -> Step:
        """The venue takes orders."""
        return self.at(seconds, *(e.Accepted(order_id=p.order_id, venue_id=f"v{p.order_id}") for p in places))

    def fill(self, order: c.Place, trade_id: str, contracts: int = 1, **changes: Any) -> e.Filled:
        """A trade of an order, at the engine's time."""
        facts = {
            "trade_id": trade_id, "order_id": order.order_id, "market": order.market, "side": order.side,
            "price": order.price, "size": contracts * CONTRACT, "exch_ns": self.engine.now_ns,
        }  # fmt: skip
        filled = e.Filled(**{**facts, **changes})
        self.fills.append(filled)
        return filled

    @property
    def alerts(self) -> list[c.Alert]:
        """Every alert so far, on and over."""
        return [x for step in self.steps for x in step.commands if isinstance(x, c.Alert)]

    @property
    def alert_names(self) -> list[str]:
        """Names of the alerts that went on."""
        return [x.name for x in self.alerts if x.on]

    def sent(self, kind: type) -> list[Any]:
        """Every command of a kind so far."""
        return [x for step in self.steps for x in step.commands if isinstance(x, kind)]

    def tripped(self) -> list[str]:
        """Breakers that fired so far."""
        return [x.breaker for step in self.steps for x in step.derived if isinstance(x, e.Tripped)]


def placed(step: Step) -> list[c.Place]:
    """The new orders of a step."""
    return [x for x in step.commands if isinstance(x, c.Place)]


def cancelled(step: Step) -> list[int]:
    """Ids of the orders that a step cancels."""
    return [x.order_id for x in step.commands if isinstance(x, c.Cancel)]


def dollars(text: str) -> Decimal:
    """A setting in dollars."""
    return Decimal(text)
