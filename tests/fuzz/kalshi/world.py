"""The whole adapter of an account on a line that the fuzzer holds: its clock, answers, frames, an engine.

Only the sockets are ours: what a response or a frame says goes through `KalshiHttp`, `KalshiStreams`,
`KalshiWire`, a `LiveSource` and an `Engine` as in a live process.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from fuzz.rig import SECOND, START_NS, Line, Rig
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.account_models import AccountLimits
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import Life, life_of, listed
from pr3dict.venues.kalshi.numbers import reader_of
from pr3dict.venues.kalshi.streams import GLOBAL, PRIVATE, PUBLIC, KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects
from venues.kalshi import bodies

TICKERS = ("KXA-1", "KXA-2")
GROUP = "g1"
FIRST_ORDER = 7
CHANNELS = (*PUBLIC, "ticker", *GLOBAL, *PRIVATE)
SIDS = {channel: place + 1 for place, channel in enumerate(CHANNELS)}


def body_of(kind: type, body: Any) -> Any:
    """A typed body."""
    return reader_of(kind)(msgspec.json.encode(body))


def lives() -> list[Life]:
    """Two markets of shard 2."""
    event, series = body_of(m.Event, bodies.EVENT), body_of(m.Series, bodies.SERIES)
    found = []
    for row, ticker in enumerate(TICKERS):
        market = body_of(m.Market, {**bodies.MARKET, "ticker": ticker})
        told = listed(market, event, series, row=row, at_ns=START_NS, direct_member=True)
        found.append(life_of(told, market, None))
    return found


LIMITS = {
    "usage_tier": "prime",
    "read": {"refill_rate": 10**6, "bucket_capacity": 10**6},
    "write": {"refill_rate": 10**6, "bucket_capacity": 10**6},
}


class World(Rig):
    """One adapter; `script` answers the next requests of a (method, path), the rest is answered well."""

    def __init__(self, seed: int) -> None:
        super().__init__("kalshi", len(TICKERS))
        limits = body_of(AccountLimits, LIMITS)
        self.http = KalshiHttp("http://127.0.0.1:1/trade-api/v2", None, self.pace, Budget(START_NS, limits))
        self.http._session = Line(self.answer, "/trade-api/v2")  # type: ignore[assignment]
        terms = AdapterTerms(prefix="test", first_order=FIRST_ORDER)
        self.wire = KalshiWire(self.http, None, self.sink, self.pace, lives(), terms)
        self.wire.groups[GROUP] = 2
        self.wire._maker.group_of[2] = GROUP
        links = Reconnects(Backoff(SECOND, 2 * SECOND, random.Random(seed).randrange), SECOND)
        self.streams = KalshiStreams(
            "ws://127.0.0.1:1/trade-api/ws/v2", _NoSigner(), self.pace, self.sink, self.wire.lives.rows,  # type: ignore[arg-type]
            self.wire.hear, links, ticker=True,
        )  # fmt: skip
        self.wire.streams = self.streams
        self.sink.add_wire("kalshi", self.wire)
        self.placed = 0
        self.seqs = dict.fromkeys(SIDS.values(), 0)
        self.wire._spawn(self.wire._watch_status())
        self.wire._spawn(self.wire._watch_lives())

    # --- answers ----------------------------------------------------------------------------------

    def normal(self, method: str, path: str, body: Any) -> Any:
        """What a healthy exchange answers."""
        if path.startswith("/portfolio/events/orders"):
            if method == "POST" and path.endswith("/orders"):
                return self.created(body)
            if method == "POST" and path.endswith("/batched"):
                return {"orders": [self.created(order) for order in body["orders"]]}
            if method == "DELETE" and path.endswith("/batched"):
                return {
                    "orders": [{"order_id": o["order_id"], "reduced_by": "10.00"} for o in body["orders"]]
                }
            order_id = path.split("/")[4] if path.count("/") > 3 else ""
            amended = {"order_id": order_id, "remaining_count": "5.00"}
            return {"order_id": order_id, "reduced_by": "10.00"} if method == "DELETE" else amended
        for start, found in self.bodies():
            if path.startswith(start):
                return found
        return {}

    def created(self, body: Any) -> Any:
        """A new order rests."""
        self.placed += 1
        return {
            "order_id": f"venue-{self.placed}", "client_order_id": body["client_order_id"],
            "fill_count": "0.00", "remaining_count": body["count"],
        }  # fmt: skip

    def bodies(self) -> list[tuple[str, Any]]:
        """Answers by how a path begins."""
        by_name = {kind.__name__: body for kind, body in bodies.BODIES.items()}
        stamp = "2026-11-22T13:46:20Z"
        return [
            ("/portfolio/order_groups/create", by_name["GroupCreated"]),
            ("/portfolio/orders/queue_positions", by_name["QueuePositions"]),
            ("/portfolio/orders/", by_name["OrderAnswer"]), ("/portfolio/orders", by_name["Orders"]),
            ("/portfolio/fills", by_name["Fills"]), ("/portfolio/positions", by_name["Positions"]),
            ("/portfolio/balance", by_name["Balance"]),
            ("/markets/KXA-1/orderbook", by_name["OrderbookAnswer"]),
            ("/markets", {"markets": [{**bodies.MARKET, "ticker": t} for t in TICKERS], "cursor": ""}),
            ("/exchange/user_data_timestamp", {"as_of_time": stamp}),
            ("/exchange/status", by_name["ExchangeStatus"]),
            ("/exchange/schedule", by_name["ScheduleAnswer"]), ("/historical/cutoff", by_name["Cutoff"]),
            ("/historical/orders", {"orders": [], "cursor": ""}),
            ("/historical/fills", {"fills": [], "cursor": ""}),
            ("/events/fee_changes", by_name["EventFeeChanges"]), ("/events", by_name["Events"]),
            ("/series/fee_changes", by_name["SeriesFeeChanges"]), ("/series", by_name["SeriesAnswer"]),
            ("/account/limits", LIMITS), ("/account/endpoint_costs", by_name["EndpointCosts"]),
            ("/incentive_programs", by_name["IncentivePrograms"]),
        ]  # fmt: skip

    # --- the connection ---------------------------------------------------------------------------

    def connect(self) -> None:
        """A new connection: every channel is subscribed, and every book is whole."""
        self.streams._drop("the fuzzer connects anew")
        self.seqs = dict.fromkeys(SIDS.values(), 0)
        self.streams.silence.restart(self.pace.now_ns())
        for channel, sid in SIDS.items():
            self.hear({"id": 0, "type": "subscribed", "msg": {"channel": channel, "sid": sid}})

    def hear(self, frame: dict[str, Any]) -> None:
        """A frame as it should be."""
        self.streams.hear(msgspec.json.encode(frame))

    def number(self, channel: str) -> tuple[int, int]:
        """Subscription and next number of a channel."""
        sid = SIDS[channel]
        self.seqs[sid] += 1
        return sid, self.seqs[sid]

    def listings(self) -> list[Any]:
        """Both markets."""
        return [life.listing for life in lives()]


class _NoSigner:
    """Nothing is signed on this line."""

    def headers(self, *_: object) -> dict[str, str]:
        """None."""
        return {}
