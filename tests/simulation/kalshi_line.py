"""Requests to Kalshi, and their answers, in its own words."""

from __future__ import annotations

from typing import Any

import msgspec

from pr3dict.venues.kalshi import http as kalshi_http
from pr3dict.venues.kalshi.http import Call, Reply
from pr3dict.venues.kalshi.outcomes import Outcome, Verdict
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.line import Answer, Line

ORDERS = "/portfolio/events/orders"
SORRY = b'{"error":{"code":"service_unavailable","message":"try again"}}'


class KalshiLine(Line):
    """The way of one process's requests to Kalshi."""

    timeout = Reply(Outcome(Verdict.UNKNOWN, text="timeout"))
    reset = Reply(Outcome(Verdict.UNKNOWN, text="ServerDisconnectedError"))
    unreachable = Reply(Outcome(Verdict.NOT_SENT, "not_sent", "", "no connection: unreachable"))
    gateway_timeout = Reply(Outcome(Verdict.UNKNOWN, text="HTTP 504"), 504, b"")
    again = "conflict"

    def kind_of(self, call: Call) -> str:
        if call.method == "GET":
            return "read"
        last = call.path.rsplit("/", 1)[-1]
        if not call.path.startswith(ORDERS):
            return "other"
        if call.path == ORDERS:
            return "place" if call.method == "POST" else "cancel_all"
        if last == "batched":
            return "batch" if call.method == "POST" else "cancel_batch"
        return "cancel" if call.method == "DELETE" else "change"

    def numbers(self, call: Call, kind: str) -> list[int]:
        body = msgspec.json.decode(call.body or b"")
        orders = body["orders"] if kind == "batch" else [body]
        return [int(order["client_order_id"].rpartition("-")[2]) for order in orders]

    def reply(self, answer: Answer) -> Reply:
        status, body = answer
        return Reply(kalshi_http.judge(status, body), status, body)

    def busy(self, kind: str) -> Answer | None:
        down = self.sim.venue_status in ("closed", "restarting") and kind != "read"
        return (503, SORRY) if down else None

    def blanked(self, answer: Answer, leg: int) -> Answer:
        body: Any = msgspec.json.decode(answer[1])
        if answer[0] == 201:
            body["orders"][leg] = {}
        return answer[0], msgspec.json.encode(body)

    def own_of_cancel(self, call: Call) -> BookedOrder | None:
        found: BookedOrder | None = self.sim.kalshi.find(call.path.rsplit("/", 1)[-1])
        return found
