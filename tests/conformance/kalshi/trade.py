"""What the rows on trading share: our books as a fold of what the adapter says, and a venue that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from conformance import books as shared
from conformance.kalshi.bench import CONTRACT, Ear, Heard, KalshiWire, until
from pr3dict.venues.kalshi.rest import KalshiRest
from standins.kalshi import KalshiStandIn
from standins.kalshi.errors import RefusedError

ORDERS = "/portfolio/events/orders"


class Books(shared.Books):
    """Our books beside a session at Kalshi's stand-in."""

    def __init__(self, server: KalshiStandIn, ear: Ear, wire: KalshiWire, **terms: Any) -> None:
        super().__init__(server, ear, wire, sum(server.venue.ledger.cash.values()), **terms)

    def yes(self, ticker: str) -> int:
        """Micro-contracts of YES less those of NO that we think we hold."""
        self.hear()
        held = self.account.position(self._wire.lives.rows[ticker])
        return held.yes_contracts - held.no_contracts


@contextmanager
def refusing(server: KalshiStandIn, name: str, status: int, body: Any, times: int = 1) -> Iterator[None]:
    """A request of the desk is answered with this, `times` times, and not carried out."""
    real, left = getattr(server.desk, name), [times]

    def answer(*given: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise RefusedError(status, body)
        return real(*given)

    setattr(server.desk, name, answer)
    try:
        yield
    finally:
        setattr(server.desk, name, real)


def small_pages(monkeypatch: Any, size: int) -> None:
    """Lists are asked for in pages of this size."""
    real = KalshiRest.pages

    def pages(rest: KalshiRest, kind: type, path: str, query: Any, **more: Any) -> Any:
        return real(rest, kind, path, query, **{**more, "limit": size})

    monkeypatch.setattr(KalshiRest, "pages", pages)


def error(code: str, details: str = "") -> dict[str, Any]:
    """A refusal in the shape that orders have."""
    return {"error": {"code": code, "message": code.replace("_", " "), "details": details}}


@contextmanager
def writes(server: KalshiStandIn) -> Iterator[list[Heard]]:
    """Every request meanwhile that changes something."""
    found: list[Heard] = []

    def note(request: Any, raw: bytes) -> None:
        if request.method != "GET":
            path = request.path.removeprefix("/trade-api/v2")
            body = json.loads(raw) if raw else None
            found.append(Heard(request.method, path, dict(request.query), request.headers, body))

    server.watchers.append(note)
    try:
        yield found
    finally:
        server.watchers.remove(note)


async def room(wire: KalshiWire, orders: int = 10) -> None:
    """Wait until a batch fits: buckets begin empty."""
    budget, now_ns = wire._http.budget, wire._clock.now_ns
    await until(lambda: budget.batch_room("POST", now_ns()) >= orders)


async def named(ear: Ear, kind: type, order_id: int, seconds: float = 3.0) -> Any:
    """The first event of a kind about an order."""

    def found() -> list[Any]:
        return [event for event in ear.of(kind) if event.order_id == order_id]

    await until(lambda: bool(found()), seconds, lambda: f"{kind.__name__} of {order_id} in {ear.events}")
    return found()[0]


def resting(server: KalshiStandIn) -> dict[str, dict[str, Any]]:
    """What rests at the exchange, by client order id."""
    return {o["client_order_id"]: o for o in server.do("truth")["open_orders"]}


def orders(server: KalshiStandIn) -> dict[str, dict[str, Any]]:
    """All orders at the exchange, by client order id."""
    return {o["client_order_id"]: o for o in server.do("truth")["orders"]}


def whole(*sizes: float) -> Sequence[int]:
    """Contracts to micro-contracts."""
    return [round(size * CONTRACT) for size in sizes]
