"""A stand-in for Kalshi on loopback: its REST and WebSocket API over the simulated exchange.

`python -m standins.kalshi --port 8080 --markets 4` (with tests/ and src/ on the path) serves it;
`async with KalshiStandIn(...) as server:` does so inside a test. What goes wrong is set with
`server.faults.change({...})`, what happens with `server.do("pause_market", ticker=...)`; both also over
`POST /admin/faults` and `POST /admin/do`, and `GET /admin/truth` says what is true. Inside a test,
`server.watchers` are shown every request and `server.rewrites` change what a handler answers.
"""

from standins.kalshi.auth import ApiKey, new_key, sign
from standins.kalshi.catalog import (
    Catalog,
    EventSpec,
    FeeChange,
    MarketSpec,
    MilestoneSpec,
    Programme,
    SeriesSpec,
    small_catalog,
    standing_book,
    synthetic_catalog,
    tape_catalog,
)
from standins.kalshi.faults import HAZARDS, HOOKS
from standins.kalshi.server import KalshiStandIn

__all__ = [
    "HAZARDS", "HOOKS", "ApiKey", "Catalog", "EventSpec", "FeeChange", "KalshiStandIn", "MarketSpec",
    "MilestoneSpec", "Programme", "SeriesSpec", "new_key", "sign", "small_catalog", "standing_book",
    "synthetic_catalog", "tape_catalog",
]  # fmt: skip
