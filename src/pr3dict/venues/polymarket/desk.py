"""Our orders on their way to Polymarket: what leaves together, what waits for what.

Each order or cancel is a task of its own, so a slow answer holds up nothing. A cancel waits for the answer to
its own order. The answer to a cancel does not say what had traded until then, the account's channel does a
moment later: so the end of an order is told by the channel where it speaks in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from pr3dict.domain.commands import Cancel, Place, Reduce, Renew
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import AnswerLost, Malformed, NotSent, ReadFailed, Request, RequestRefused
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket.markets import Lives
from pr3dict.venues.polymarket.orders import MAX_BATCH, Answer, PolymarketOrders
from pr3dict.venues.polymarket.outcomes import Outcome, Restriction, Verdict
from pr3dict.venues.polymarket.own_orders import OwnOrder, OwnOrders
from pr3dict.venues.polymarket.reads import LAG_NS, PolymarketReads
from pr3dict.venues.polymarket.requests import Built, Requests
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.session import Clock

CANCEL_TRIES: Final = 6
CANCEL_PAUSE_NS: Final = NS_PER_SECOND // 4
HEARD_S: Final = 0.5  # that the account's channel has to say how a cancelled order ended
IN_PLACE: Final = "Polymarket changes no order in place: it ends, and another one takes its place"
NOT_SHOWN: Final = "Polymarket does not show the order"


class Draft(NamedTuple):
    """A new order that is about to leave."""

    place: Place
    own: OwnOrder
    built: Built


class OrderDesk:
    """Carries out what changes our orders."""

    def __init__(
        self,
        requests: PolymarketOrders,
        maker: Requests,
        rest: PolymarketRest,
        orders: OwnOrders,
        lives: Lives,
        reads: PolymarketReads,
        clock: Clock,
        *,
        place_wait_ns: int,
        batch_from: int,
        tell: Callable[..., None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        on_outcome: Callable[[Outcome], None],
        on_taken: Callable[[str], None],
    ) -> None:
        """`on_outcome` hears every answer, `on_taken` the digest of every order that was taken to rest."""
        self.place_wait_ns = place_wait_ns
        self.batch_from = batch_from
        self._requests = requests
        self._maker = maker
        self._rest = rest
        self._orders = orders
        self._lives = lives
        self._reads = reads
        self._clock = clock
        self._tell = tell
        self._spawn = spawn
        self._on_outcome = on_outcome
        self._on_taken = on_taken

    def _malformed(self, what: str) -> None:
        if what:
            self._tell(Malformed(venue="polymarket", count=1, why=what[:200]))

    def _lost(self, order_id: int, request: Request, why: str) -> None:
        self._tell(AnswerLost(order_id=order_id, request=request, why=why))

    def _gone(self, order_id: int, request: Request) -> None:
        self._tell(RequestRefused(order_id=order_id, request=request, why="unknown_order", text=NOT_SHOWN))

    # --- new orders -------------------------------------------------------------------------------

    def place(self, places: Sequence[Place]) -> None:
        """Send new orders, many of them in batches."""
        drafts = [draft for place in places if (draft := self._draft(place)) is not None]
        together = len(drafts) if len(drafts) >= self.batch_from else 0
        for start in range(0, together, MAX_BATCH):
            self._spawn(self._place_batch(drafts[start : start + MAX_BATCH]))
        for draft in drafts[together:]:
            self._spawn(self._place(draft))

    def _draft(self, place: Place) -> Draft | None:
        now_ns = self._clock.now_ns()
        own = OwnOrder(place)
        try:
            built = self._maker.create(place, now_ns)
        except DataError as error:
            self._orders.add(own)
            own.dropped = True
            own.answered.set()
            self._tell(NotSent(order_id=own.order_id, why=str(error)))
            return None
        own.built(built)
        own.placing = True
        self._orders.add(own)
        return Draft(place, own, built)

    async def _place(self, draft: Draft) -> None:
        try:
            self._tell(*self._maker.sent(draft.place, draft.built))
            answer = await self._requests.post(
                draft.built, wait_ns=self.place_wait_ns, wanted=lambda: not draft.own.unwanted
            )
            self._placed(draft, answer)
        finally:
            self._answered(draft)

    async def _place_batch(self, drafts: list[Draft]) -> None:
        """One request; each order has its own answer."""
        try:
            for draft in drafts:
                self._tell(*self._maker.sent(draft.place, draft.built))
            answers = await self._requests.post_batch(
                [draft.built for draft in drafts], wait_ns=self.place_wait_ns
            )
            for draft, answer in zip(drafts, answers, strict=True):
                self._placed(draft, answer)
        finally:
            for draft in drafts:
                self._answered(draft)

    def _placed(self, draft: Draft, answer: Answer) -> None:
        verdict = answer.outcome.verdict
        draft.own.dropped = verdict is Verdict.NOT_SENT
        self._malformed(answer.malformed)
        self._on_outcome(answer.outcome)
        self._tell(*self._maker.placed(draft.place, draft.built, answer.outcome, answer.body))
        if verdict is not Verdict.ACCEPTED or not draft.own.rests:
            return
        self._on_taken(draft.built.digest)
        if draft.own.at_once and answer.body.filled(draft.built.side) < draft.built.size:
            self._spawn(self._end_rest(draft.own))

    @staticmethod
    def _answered(draft: Draft) -> None:
        draft.own.placing = False
        draft.own.answered.set()

    # --- cancels ----------------------------------------------------------------------------------

    def cancel(self, cancels: Sequence[Cancel]) -> None:
        """Send cancels, many of them as one request."""
        known = [c for c in cancels if self._is_ready(c)]
        together = known if len(known) >= self.batch_from else []
        if together:
            self._spawn(self._cancel_batch(together))
        for cancel in cancels:
            if cancel not in together:
                self._spawn(self._cancel(cancel))

    def _is_ready(self, cancel: Cancel) -> bool:
        own = self._orders.get(cancel.order_id)
        flies = own is not None and (own.placing or own.dropped)
        return not flies and bool(self._orders.digest(cancel.order_id, cancel.venue_id))

    async def _cancel(self, cancel: Cancel) -> None:
        own = self._orders.get(cancel.order_id)
        if own is not None and own.placing:
            own.unwanted = True
            await own.answered.wait()
        if own is not None and own.dropped:
            return  # `NotSent` has said everything
        try:
            digest = await self._digest(cancel)
        except (ReadFailedError, DataError) as error:
            self._lost(cancel.order_id, "cancel", str(error))
            return
        if not digest:
            self._gone(cancel.order_id, "cancel")
            return
        answer = await self._until_heard(lambda: self._requests.cancel(digest))
        await self._canceled(cancel.order_id, answer)

    async def _digest(self, cancel: Cancel) -> str:
        """The venue's id of an order: known, or found by its number; "": the venue does not show it."""
        known = self._orders.digest(cancel.order_id, cancel.venue_id)
        if known:
            return known
        found = await self._reads.find(cancel.order_id, "", cancel.market)
        return "" if found is None else found.id

    async def _end_rest(self, own: OwnOrder) -> None:
        """What of a purchase did not trade at once ends; where takers are held back, after its hold."""
        answer = await self._until_heard(lambda: self._requests.cancel(own.digest))
        pause_ns = CANCEL_PAUSE_NS
        for _ in range(CANCEL_TRIES):
            if answer.outcome.verdict is not Verdict.REFUSED or answer.outcome.why != "none":
                break
            await self._clock.sleep(pause_ns)
            pause_ns *= 2
            answer = await self._until_heard(lambda: self._requests.cancel(own.digest))
        await self._canceled(own.order_id, answer)

    async def _until_heard(self, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """A cancel that the venue takes later only: it was surely not carried out, and it must be."""
        pause_ns = CANCEL_PAUSE_NS
        for _ in range(CANCEL_TRIES - 1):
            answer = await ask()
            self._on_outcome(answer.outcome)
            if not _is_later(answer.outcome):
                return answer
            await self._clock.sleep(answer.outcome.retry_ns or pause_ns)
            pause_ns *= 2
        return await ask()

    async def _canceled(self, order_id: int, answer: Answer) -> None:
        self._malformed(answer.malformed)
        own = self._orders.get(order_id)
        if answer.outcome.verdict is Verdict.ACCEPTED and own is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(own.over.wait(), HEARD_S)
                return
        if _is_later(answer.outcome):
            self._lost(order_id, "cancel", answer.outcome.text)
            return
        self._tell(*self._maker.canceled(order_id, answer.outcome))

    async def _cancel_batch(self, cancels: list[Cancel]) -> None:
        digests = [self._orders.digest(c.order_id, c.venue_id) for c in cancels]
        answers = await self._requests.cancel_many(digests)
        for cancel, answer in zip(cancels, answers, strict=True):
            self._on_outcome(answer.outcome)
            again = self._cancel(cancel) if _is_later(answer.outcome) else None
            self._spawn(again or self._canceled(cancel.order_id, answer))

    def cancel_all(self) -> None:
        """Everything of the API key that stands now, and what of ours is on its way to it."""
        for own in self._orders.placing():
            self._spawn(self._cancel(Cancel(order_id=own.order_id, market=own.market)))
        self._spawn(self._cancel_all(self._orders.newest))

    async def _cancel_all(self, newest: int) -> None:
        """At once where the venue lets us, then one by one what still rests of the orders up to `newest`."""
        answer = await self._until_heard(self._requests.cancel_all)
        if answer.outcome.verdict is Verdict.ACCEPTED:
            await self._clock.sleep(LAG_NS)
        try:
            resting = await self._rest.open_orders()
        except (ReadFailedError, DataError) as error:
            self._tell(ReadFailed(venue="polymarket", read="orders", why=str(error)[:200]))
            return
        ours = [(self._reads.learn(order), order.id) for order in resting]
        left = [(order_id, digest) for order_id, digest in ours if order_id <= newest]  # 0: whose ever
        if not left:
            return
        answers = await self._requests.cancel_many([digest for _, digest in left])
        for (order_id, _), one in zip(left, answers, strict=True):
            if order_id:
                self._spawn(self._canceled(order_id, one))

    # --- what there is not --------------------------------------------------------------------------

    def refuse(self, command: Reduce | Renew) -> None:
        """There is no change in place: the order stays as it is until it ends or is cancelled."""
        request: Request = "reduce" if isinstance(command, Reduce) else "renew"
        self._tell(RequestRefused(order_id=command.order_id, request=request, why="none", text=IN_PLACE))


def _is_later(outcome: Outcome) -> bool:
    """Whether a refusal is about the moment and not about the order."""
    busy = outcome.why == "rate_limit" or outcome.restriction is not Restriction.NONE
    return outcome.verdict is Verdict.NOT_SENT or (outcome.verdict is Verdict.REFUSED and busy)
