"""A stand-in for Polymarket on loopback: CLOB, Gamma, relayer, a node, and the market and user channels.

`python -m standins.polymarket --port 8080` (with tests/ and src/ on the path) serves it;
`async with PolymarketStandIn(...) as server:` does so inside a test. What goes wrong is set with
`server.faults.change({...})`, what happens with `server.do("resolve", market="plain-0")`; both also over
`POST /admin/faults` and `POST /admin/do`, and `GET /admin/truth` says what is true. Inside a test
`server.watchers` are shown every request and `server.rewrites` change what a handler answers.
"""

from standins.polymarket.catalog import (
    Catalog,
    EventSpec,
    MarketSpec,
    small_catalog,
    standing_book,
    synthetic_catalog,
    tape_catalog,
)
from standins.polymarket.faults import HAZARDS, HOOKS
from standins.polymarket.server import PRIVATE_KEY, PolymarketStandIn

__all__ = [
    "HAZARDS", "HOOKS", "PRIVATE_KEY", "Catalog", "EventSpec", "MarketSpec", "PolymarketStandIn",
    "small_catalog", "standing_book", "synthetic_catalog", "tape_catalog",
]  # fmt: skip
