"""Kalshi's requests that change something: orders (V2 only) and order groups, each with its typed answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import QTY_SCALE
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi.budget import BATCH, ORDERS
from pr3dict.venues.kalshi.http import Call, KalshiHttp, Method, Query, segment
from pr3dict.venues.kalshi.numbers import Reader, reader_of
from pr3dict.venues.kalshi.outcomes import Outcome, Verdict
from pr3dict.venues.session import NEVER_NS

GROUPS: Final = "/portfolio/order_groups"
_encode: Final = msgspec.json.Encoder().encode
_created: Final = reader_of(a.Created)
_canceled: Final = reader_of(a.Canceled)
_amended: Final = reader_of(a.Amended)
_decreased: Final = reader_of(a.Decreased)
_created_batch: Final = reader_of(a.CreatedBatch)
_canceled_batch: Final = reader_of(a.CanceledBatch)
_group: Final = reader_of(a.GroupCreated)


class Answer(NamedTuple):
    """An outcome, and the body where it was accepted. `malformed`: what was wrong with an accepted one's."""

    outcome: Outcome
    body: Any = None
    status: int = 0
    malformed: str = ""


class KalshiOrders:
    """Requests of one account (or one subaccount of it)."""

    def __init__(self, http: KalshiHttp, *, subaccount: int | None = None) -> None:
        self.http = http
        self.subaccount = subaccount

    async def _do(self, call: Call, reader: Reader | None) -> Answer:
        reply = await self.http.call(call)
        if reply.outcome.verdict is not Verdict.ACCEPTED:
            return Answer(reply.outcome, None, reply.status)
        if reader is None:
            return Answer(reply.outcome, a.Empty(), reply.status)
        try:
            return Answer(reply.outcome, reader(reply.body), reply.status)
        except DataError as error:  # it was carried out, and we can't say how
            self.http.malformed += 1
            lost = Outcome(Verdict.UNKNOWN, text="an answer that can't be read")
            return Answer(lost, None, reply.status, str(error))

    # --- orders -----------------------------------------------------------------------------------

    async def create(
        self, order: a.CreateOrder, *, wait_ns: int = NEVER_NS, wanted: Callable[[], bool] | None = None
    ) -> Answer:
        """A new order; its budget may be waited for `wait_ns`, if it is `wanted` then. Body: `Created`."""
        body, shard = _encode(order), order.exchange_index
        call = Call("POST", ORDERS, ORDERS, body=body, shard=shard, wait_ns=wait_ns, wanted=wanted)
        return await self._do(call, _created)

    async def create_batch(
        self,
        orders: Sequence[a.CreateOrder],
        *,
        wait_ns: int = NEVER_NS,
        wanted: Callable[[], bool] | None = None,
    ) -> Answer:
        """Several new orders; each has its own outcome. Body: `CreatedBatch`."""
        body = _encode({"orders": orders})
        call = Call("POST", BATCH, BATCH, body=body, items=len(orders), wait_ns=wait_ns, wanted=wanted)
        return await self._do(call, _created_batch)

    async def cancel(self, order_id: str, *, ticker: str, shard: int) -> Answer:
        """Take an order out of the book; an id alone would be looked for on shard 0. Body: `Canceled`."""
        query = {"subaccount": self.subaccount, "exchange_index": shard, "market_ticker": ticker}
        path = f"{ORDERS}/{segment(order_id)}"
        call = Call("DELETE", path, f"{ORDERS}/{{}}", query, shard=shard, urgent=True)
        return await self._do(call, _canceled)

    async def cancel_batch(self, items: Sequence[a.CancelItem]) -> Answer:
        """Several cancels; each has its own outcome. Body: `CanceledBatch`."""
        body = _encode({"orders": items})
        call = Call("DELETE", BATCH, BATCH, body=body, items=len(items), urgent=True)
        return await self._do(call, _canceled_batch)

    async def cancel_all(self) -> Answer:
        """Everything on every shard, and maybe what is placed within the following minute. Body: `Empty`."""
        query: Query = {"subaccount": self.subaccount}
        return await self._do(Call("DELETE", ORDERS, ORDERS, query, urgent=True), None)

    async def amend(
        self, order_id: str, change: a.AmendOrder, *, wanted: Callable[[], bool] | None = None
    ) -> Answer:
        """Change an order; the same price and total keep its place in the queue. Body: `Amended`."""
        path = f"{ORDERS}/{segment(order_id)}/amend"
        query: Query = {"subaccount": self.subaccount}
        shard = change.exchange_index
        template, body = f"{ORDERS}/{{}}/amend", _encode(change)
        call = Call("POST", path, template, query, body, shard=shard, wanted=wanted)
        return await self._do(call, _amended)

    async def decrease(self, order_id: str, change: a.DecreaseOrder) -> Answer:
        """Make an order smaller, in place. Body: `Decreased`."""
        path = f"{ORDERS}/{segment(order_id)}/decrease"
        query: Query = {"subaccount": self.subaccount}
        shard = change.exchange_index
        call = Call("POST", path, f"{ORDERS}/{{}}/decrease", query, _encode(change), shard=shard, urgent=True)
        return await self._do(call, _decreased)

    # --- order groups -----------------------------------------------------------------------------

    async def create_group(self, limit: int, *, shard: int) -> Answer:
        """A kill switch for `limit` micro-contracts in 15 seconds, rounded up. Body: `GroupCreated`."""
        body = {"contracts_limit": contracts_up(limit), "exchange_index": shard}
        if self.subaccount is not None:
            body["subaccount"] = self.subaccount
        call = Call("POST", f"{GROUPS}/create", f"{GROUPS}/create", body=_encode(body), shard=shard)
        return await self._do(call, _group)

    async def set_group_limit(self, group_id: str, limit: int, *, shard: int) -> Answer:
        """Another limit; it fires at once where it is exceeded already."""
        body = _encode({"contracts_limit": contracts_up(limit)})
        return await self._group_call("PUT", group_id, "/limit", shard, body)

    async def trigger_group(self, group_id: str, *, shard: int) -> Answer:
        """Cancel the group's orders now and refuse new ones until a reset."""
        return await self._group_call("PUT", group_id, "/trigger", shard, b"{}")

    async def reset_group(self, group_id: str, *, shard: int) -> Answer:
        """Arm the group again and count from zero."""
        return await self._group_call("PUT", group_id, "/reset", shard, b"{}")

    async def delete_group(self, group_id: str, *, shard: int) -> Answer:
        """Remove the group and cancel its orders."""
        return await self._group_call("DELETE", group_id, "", shard, None)

    async def _group_call(
        self, method: Method, group_id: str, action: str, shard: int, body: bytes | None
    ) -> Answer:
        query = {"subaccount": self.subaccount, "exchange_index": shard}
        path = f"{GROUPS}/{segment(group_id)}{action}"
        urgent = action == "/trigger" or method == "DELETE"
        call = Call(method, path, f"{GROUPS}/{{}}{action}", query, body, shard, urgent)
        return await self._do(call, None)


def contracts_up(size: int) -> int:
    """Whole contracts, at least one: a limit of a group."""
    return max(1, -(-size // QTY_SCALE))
