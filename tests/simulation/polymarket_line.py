"""Requests to Polymarket, and their answers, in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.venues.polymarket.budget import Told
from pr3dict.venues.polymarket.http import Call, Reply
from pr3dict.venues.polymarket.outcomes import Outcome, Verdict, judge
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.line import ANSWER_NS, Answer, Line

if TYPE_CHECKING:
    import asyncio

KINDS = {
    ("POST", "/order"): "place",
    ("POST", "/orders"): "batch",
    ("DELETE", "/order"): "cancel",
    ("DELETE", "/orders"): "cancel_batch",
    ("DELETE", "/cancel-all"): "cancel_all",
    ("POST", "/v1/heartbeats"): "other",
}


class PolymarketLine(Line):
    """The way of one process's requests to Polymarket."""

    timeout = Reply(Outcome(Verdict.UNKNOWN, text="timeout"))
    reset = Reply(Outcome(Verdict.UNKNOWN, text="ServerDisconnectedError"))
    unreachable = Reply(Outcome(Verdict.NOT_SENT, "not_sent", "no connection: unreachable"))
    gateway_timeout = Reply(Outcome(Verdict.UNKNOWN, text="HTTP 504"), 504, b"")
    again = "duplicated"

    def kind_of(self, call: Call) -> str:
        return KINDS.get((call.method, call.path), "read")

    def _leave(self, call: Call, future: asyncio.Future[Any]) -> None:
        if call.path == "/v1/heartbeats":
            self.sim.rules.beats()
            if self.world.now_ns < self.sim.polymarket.deaf_until_ns:
                self._resolve(future, self.timeout, ANSWER_NS)
                return
        super()._leave(call, future)

    def numbers(self, call: Call, kind: str) -> list[int]:
        body = msgspec.json.decode(call.body or b"")
        orders = body if kind == "batch" else [body]
        return [self.sim.rules.number_of(order["order"]) for order in orders]

    def reply(self, answer: Answer) -> Reply:
        status, body = answer
        told = Told()
        if status == 429 and self.wire.random.random() < 0.7:  # else a gateway speaks
            told = Told(0, self.world.now_ns + 1_000_000_000, "standard")
        return Reply(judge(status, body, by_signer=told.is_there), status, body, told)

    def busy(self, kind: str) -> Answer | None:
        down = self.sim.venue_status in ("closed", "restarting") and kind != "read"
        return (425, b'{"error":"the matching engine is restarting"}') if down else None

    def blanked(self, answer: Answer, leg: int) -> Answer:
        body: Any = msgspec.json.decode(answer[1])
        if answer[0] == 200:
            body[leg] = {}
        return answer[0], msgspec.json.encode(body)

    def own_of_cancel(self, call: Call) -> BookedOrder | None:
        digest = msgspec.json.decode(call.body or b"")["orderID"]
        found: BookedOrder | None = self.sim.polymarket.find(digest)
        return found
