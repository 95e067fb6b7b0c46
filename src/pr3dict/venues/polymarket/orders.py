"""Polymarket's requests that change something: orders, cancels, heartbeats, API keys, each leg by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.venues.polymarket import account_models as a
from pr3dict.venues.polymarket.auth import ApiKey, read_api_key
from pr3dict.venues.polymarket.http import Call, PolymarketHttp, Reply
from pr3dict.venues.polymarket.models import clob_condition
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.outcomes import (
    ACCEPTED,
    Outcome,
    Restriction,
    Verdict,
    judge_cancel,
    judge_leg,
    restriction_of,
)
from pr3dict.venues.polymarket.requests import Built, batch_body
from pr3dict.venues.session import NEVER_NS

MAX_BATCH: Final = 15
MAX_CANCELS: Final = 1_000
_WRONG_HEARTBEAT: Final = 400
_encode: Final = msgspec.json.Encoder().encode
_posted: Final = reader_of(a.Posted)
_legs: Final = msgspec.json.Decoder(list[msgspec.Raw])
_canceled: Final = reader_of(a.Canceled)
_heartbeat: Final = reader_of(a.Heartbeat)
_LOST: Final = Outcome(Verdict.UNKNOWN, text="an answer that can't be read")


class Answer(NamedTuple):
    """An outcome, and the body where it was accepted. `malformed`: what was wrong with an accepted one's."""

    outcome: Outcome
    body: Any = None
    status: int = 0
    malformed: str = ""


class PolymarketOrders:
    """Requests of one API key."""

    def __init__(self, http: PolymarketHttp) -> None:
        self.http = http

    # --- orders -----------------------------------------------------------------------------------

    async def post(
        self, built: Built, *, wait_ns: int = NEVER_NS, wanted: Callable[[], bool] | None = None
    ) -> Answer:
        """A new order; its budget may be waited for `wait_ns`, if it is `wanted` then. Body: `Posted`."""
        reply = await self.http.call(
            Call(
                "POST",
                "/order",
                body=built.body(),
                auth="l2",
                kind="orders",
                tokens=1,
                wait_ns=wait_ns,
                wanted=wanted,
            )
        )
        if reply.outcome.verdict is not Verdict.ACCEPTED:
            return Answer(reply.outcome, None, reply.status)
        return _leg_answer(reply.body, built, reply.status)

    async def post_batch(self, orders: Sequence[Built], *, wait_ns: int = NEVER_NS) -> tuple[Answer, ...]:
        """Up to 15 new orders, each with its own outcome, in the order given.

        Raises `WorkError` for more, or for none.
        """
        if not 0 < len(orders) <= MAX_BATCH:
            raise WorkError(f"a batch has 1 to {MAX_BATCH} orders, not {len(orders)}")
        reply = await self.http.call(
            Call(
                "POST",
                "/orders",
                body=batch_body(orders),
                auth="l2",
                kind="orders",
                tokens=len(orders),
                wait_ns=wait_ns,
            )
        )
        if reply.outcome.verdict is not Verdict.ACCEPTED:
            return tuple(Answer(reply.outcome, None, reply.status) for _ in orders)
        try:
            legs = _legs.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            legs = []
        if len(legs) != len(orders):  # which is which can't be told
            what = f"{len(legs)} answers to {len(orders)} orders"
            return tuple(Answer(_LOST, None, reply.status, what) for _ in orders)
        pairs = zip(legs, orders, strict=True)
        return tuple(_leg_answer(bytes(raw), built, reply.status) for raw, built in pairs)

    # --- cancels ----------------------------------------------------------------------------------

    async def cancel(self, digest: str) -> Answer:
        """Take an order out of the book. Body: `Canceled`."""
        reply = await self._cancel("/order", _encode({"orderID": digest}), 1)
        return _cancel_answer(reply, digest)

    async def cancel_many(self, digests: Sequence[str]) -> tuple[Answer, ...]:
        """Any number of cancels, each with its own outcome, in the order given."""
        found: list[Answer] = []
        size = min(MAX_CANCELS, self.http.budget.most("cancels"))
        for start in range(0, len(digests), size):
            part = digests[start : start + size]
            reply = await self._cancel("/orders", _encode(part), len(part))
            found += [_cancel_answer(reply, digest) for digest in part]
        return tuple(found)

    async def cancel_market(self, condition: str, token: str = "") -> Answer:
        """Everything of this API key in one market, or in one token of it. Body: `Canceled`."""
        body = {"market": clob_condition(condition), **({"asset_id": token} if token else {})}
        return await self._sweep("/cancel-market-orders", _encode(body))

    async def cancel_all(self) -> Answer:
        """Everything of this API key. Body: `Canceled`."""
        return await self._sweep("/cancel-all", None)

    async def _sweep(self, path: str, body: bytes | None) -> Answer:
        """A cancel whose cost is known afterwards."""
        reply = await self._cancel(path, body, 1)
        answer = _read_canceled(reply)
        if answer.body is not None:
            self.http.budget.owe(len(answer.body.canceled or ()), self.http.clock.now_ns())
        return answer

    async def _cancel(self, path: str, body: bytes | None, tokens: int) -> Reply:
        call = Call("DELETE", path, body=body, auth="l2", kind="cancels", tokens=tokens, urgent=True)
        return await self.http.call(call)

    # --- heartbeat --------------------------------------------------------------------------------

    async def heartbeat(self, heartbeat_id: str) -> Answer:
        """Say that we live; the venue cancels everything ten seconds after the last one. Body: `Heartbeat`.

        `body.heartbeat_id` is the id that the next one must name, also where this one named a wrong id: then
        the outcome is refused, it did not count, and should be sent again at once with the id told. The first
        one names "".
        """
        body = _encode({"heartbeat_id": heartbeat_id})
        reply = await self.http.call(Call("POST", "/v1/heartbeats", body=body, auth="l2", urgent=True))
        accepted = reply.outcome.verdict is Verdict.ACCEPTED
        if not accepted and reply.status != _WRONG_HEARTBEAT:
            return Answer(reply.outcome, None, reply.status)
        try:
            told = _heartbeat(reply.body)
        except DataError as error:
            return Answer(_LOST if accepted else reply.outcome, None, reply.status, str(error))
        if accepted and not told.heartbeat_id:
            return Answer(_LOST, None, reply.status, "heartbeat_id: is empty")
        return Answer(reply.outcome, told, reply.status)

    # --- API keys ---------------------------------------------------------------------------------

    async def create_key(self, nonce: int = 0) -> ApiKey:
        """A new API key; raises `WorkError` where this nonce has one already, `DataError` for nonsense."""
        return await self._key(Call("POST", "/auth/api-key", auth="l1", nonce=nonce))

    async def derive_key(self, nonce: int = 0) -> ApiKey:
        """The API key that this nonce has; raises `WorkError` where it has none, `DataError` for nonsense."""
        return await self._key(Call("GET", "/auth/derive-api-key", auth="l1", nonce=nonce))

    async def find_key(self, nonce: int = 0) -> ApiKey:
        """The API key of this nonce, made where there is none yet; raises as `create_key`."""
        try:
            return await self.derive_key(nonce)
        except WorkError:
            return await self.create_key(nonce)

    async def _key(self, call: Call) -> ApiKey:
        reply = await self.http.call(call)
        if reply.outcome.verdict is not Verdict.ACCEPTED or self.http.signer is None:
            text = reply.outcome.text or reply.outcome.verdict.value
            raise WorkError(f"Polymarket gave no API key for {call.method} {call.path}: {text}")
        return read_api_key(self.http.signer.address, reply.body)


def _leg_answer(raw: bytes, built: Built, status: int) -> Answer:
    """One order's own answer. What can't be read may have been carried out."""
    try:
        leg: a.Posted = _posted(raw)
    except DataError as error:
        return Answer(_LOST, None, status, str(error))
    outcome = judge_leg(leg, built.digest)
    return Answer(outcome, leg if outcome.verdict is Verdict.ACCEPTED else None, status)


def _read_canceled(reply: Reply) -> Answer:
    if reply.outcome.verdict is not Verdict.ACCEPTED:
        return Answer(reply.outcome, None, reply.status)
    try:
        body: a.Canceled = _canceled(reply.body)
    except DataError as error:
        return Answer(_LOST, None, reply.status, str(error))
    if body.canceled is None and body.not_canceled is None:
        return Answer(_LOST, None, reply.status, "neither canceled nor not_canceled")
    return Answer(ACCEPTED, body, reply.status)


def _cancel_answer(reply: Reply, digest: str) -> Answer:
    """What an answer to one or many cancels means for one order."""
    answer = _read_canceled(reply)
    if answer.body is None:
        return answer
    return answer._replace(outcome=judge_cancel(answer.body, digest))


def restriction_in(answers: Sequence[Answer]) -> Restriction:
    """What a batch's answers say about the venue: after a restart it speaks leg by leg."""
    for answer in answers:
        found = answer.outcome.restriction
        if found is Restriction.NONE:
            found = restriction_of(answer.outcome.text)
        if found is not Restriction.NONE:
            return found
    return Restriction.NONE
