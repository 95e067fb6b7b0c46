"""Our orders on their way to Kalshi: what leaves together, what waits for what, what must not overtake what.

Each order, cancel, reduction or renewal is a task of its own, so a slow answer holds up nothing. A cancel
waits for the answer to its own order. An amendment and a decrease of one order never fly at the same time: an
amendment states a total, and would undo a decrease that arrived before it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from pr3dict.domain.commands import Cancel, Place, Reduce, Renew
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import AnswerLost, Malformed, NotSent, ReadFailed, Request, RequestRefused
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.kalshi.account_frames import group_halt
from pr3dict.venues.kalshi.account_models import CreateOrder
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import Lives
from pr3dict.venues.kalshi.orders import Answer, KalshiOrders
from pr3dict.venues.kalshi.outcomes import RATE_LIMITED, Outcome, Verdict, judge_item, names_group
from pr3dict.venues.kalshi.own_orders import UNKNOWN, OwnOrder, OwnOrders
from pr3dict.venues.kalshi.reads import KalshiReads
from pr3dict.venues.kalshi.requests import Requests
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

READ_LAG_NS: Final = NS_PER_SECOND  # by when reads show what a write did
CANCEL_TRIES: Final = 8
NO_GROUP: Final = "the order group has fired and was not armed again"
GROUP_REFUSES: Final = "an order group takes no orders: it has fired, or is gone"
UNSETTLED: Final = "a decrease is on its way, or Kalshi does not show yet what it left"
NOT_SHOWN: Final = "Kalshi does not show the order"


class Draft(NamedTuple):
    """A new order that is about to leave."""

    place: Place
    own: OwnOrder
    request: CreateOrder


class OrderDesk:
    """Carries out what changes our orders. `fired`: the groups that take no orders until they are armed."""

    def __init__(
        self,
        http: KalshiHttp,
        orders: OwnOrders,
        lives: Lives,
        reads: KalshiReads,
        clock: Clock,
        *,
        subaccount: int,
        place_wait_ns: int,
        batch_from: int,
        tell: Callable[..., None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        fired: dict[str, None],
    ) -> None:
        self.place_wait_ns = place_wait_ns
        self.batch_from = batch_from
        self.requests = KalshiOrders(http, subaccount=subaccount)
        self.maker = Requests(orders, lives, subaccount)
        self._budget = http.budget
        self._orders = orders
        self._lives = lives
        self._reads = reads
        self._rest = KalshiRest(http, subaccount=subaccount)
        self._clock = clock
        self._tell = tell
        self._spawn = spawn
        self._fired = fired

    def _malformed(self, what: str) -> None:
        if what:
            self._tell(Malformed(venue="kalshi", count=1, why=what[:200]))

    def _lost(self, order_id: int, request: Request, why: str) -> None:
        self._tell(AnswerLost(order_id=order_id, request=request, why=why))

    def _gone(self, order_id: int, request: Request, text: str) -> None:
        self._tell(RequestRefused(order_id=order_id, request=request, why="unknown_order", text=text))

    # --- new orders -------------------------------------------------------------------------------

    def place(self, places: Sequence[Place]) -> None:
        """Send new orders; as a batch as many of them as the budget lets leave in one now."""
        drafts = [draft for place in places if (draft := self._draft(place)) is not None]
        together = self._together(len(drafts), "POST", urgent=False)
        if together:
            self._spawn(self._place_batch(drafts[:together]))
        for draft in drafts[together:]:
            self._spawn(self._place(draft))

    def _together(self, count: int, method: str, *, urgent: bool) -> int:
        """How many of `count` requests go as one batch; 0: each by itself.

        A batch that does not fit at once is refused as a whole, and is paid from the common bucket only.
        """
        if count < self.batch_from:
            return 0
        room = self._budget.batch_room(method, self._clock.now_ns(), urgent=urgent)
        return min(count, room) if room >= self.batch_from else 0

    def _draft(self, place: Place) -> Draft | None:
        own = OwnOrder(
            place.order_id, place.market, place.side, place.price, place.size, self._clock.now_ns()
        )
        self._orders.add(own)
        if self._is_fired(place.market):
            self._drop(own, NO_GROUP)
            return None
        try:
            request = self.maker.create(place)
        except DataError as error:
            self._drop(own, str(error))
            return None
        own.placing = True
        return Draft(place, own, request)

    def _drop(self, own: OwnOrder, why: str) -> None:
        own.dropped = True
        own.answered.set()
        self._tell(NotSent(order_id=own.order_id, why=why))

    def _is_fired(self, market: int) -> bool:
        return bool(self._fired) and self.maker.group(market) in self._fired

    def _is_wanted(self, draft: Draft) -> bool:
        """Asked when its turn has come: nothing may have cancelled it, nor the order group have fired."""
        return not (draft.own.unwanted or self._is_fired(draft.place.market))

    async def _place(self, draft: Draft) -> None:
        place = draft.place
        try:
            self._tell(*self.maker.sent(place))
            answer = await self.requests.create(
                draft.request, wait_ns=self.place_wait_ns, wanted=lambda: self._is_wanted(draft)
            )
            draft.own.dropped = answer.outcome.verdict is Verdict.NOT_SENT
            self._malformed(answer.malformed)
            self._tell(*self.maker.placed(place, answer.outcome, answer.body))
            self._check_group(place.market, answer.outcome)
        finally:
            draft.own.placing = False
            draft.own.answered.set()

    async def _place_batch(self, drafts: list[Draft]) -> None:
        """One request for all; where its answer can't be told apart by order, all of them are lost."""
        try:
            for draft in drafts:
                self._tell(*self.maker.sent(draft.place))
            answer = await self.requests.create_batch(
                [draft.request for draft in drafts],
                wait_ns=self.place_wait_ns,
                wanted=lambda: all(map(self._is_wanted, drafts)),
            )
            self._malformed(answer.malformed)
            items = () if answer.body is None else answer.body.orders
            for number, draft in enumerate(drafts):
                draft.own.dropped = answer.outcome.verdict is Verdict.NOT_SENT
                item = items[number] if len(items) == len(drafts) else None
                self._tell(*self.maker.placed_item(draft.place, answer.outcome, item))
                if item is not None and item.error is not None:
                    self._check_group(draft.place.market, judge_item(item.error))
        finally:
            for draft in drafts:
                draft.own.placing = False
                draft.own.answered.set()

    def _check_group(self, market: int, outcome: Outcome) -> None:
        """A refusal for the group's sake says that it fired, should the notice of it be late or lost."""
        group_id = self.maker.group(market)
        if group_id and group_id not in self._fired and names_group(outcome):
            self._fired[group_id] = None
            self._tell(group_halt(group_id, self._clock.now_ns(), GROUP_REFUSES))

    # --- cancels ----------------------------------------------------------------------------------

    def cancel(self, cancels: Sequence[Cancel]) -> None:
        """Send cancels; as a batch as many of them as the budget lets leave in one now."""
        known = [c for c in cancels if self._orders.venue_id(c.order_id, c.venue_id)]
        together = known[: self._together(len(known), "DELETE", urgent=True)]
        if together:
            self._spawn(self._cancel_batch(together))
        for cancel in cancels:
            if cancel not in together:
                self._spawn(self._cancel(cancel))

    async def _venue_id(self, order_id: int, venue_id: str, market: int) -> str:
        """Kalshi's id of an order: known, answered soon, or looked up; "": Kalshi does not show it."""
        own = self._orders.get(order_id)
        if own is not None and own.placing:
            await own.answered.wait()
        known = self._orders.venue_id(order_id, venue_id)
        if known:
            return known
        found = await self._reads.find(order_id, "", market)
        if found is None:
            return ""
        self._reads.learn(found)
        return found.order_id

    async def _cancel(self, cancel: Cancel) -> None:
        own = self._orders.get(cancel.order_id)
        if own is not None and own.placing:
            own.unwanted = True
            await own.answered.wait()
        if own is not None and own.dropped:
            return  # `NotSent` has said everything
        try:
            venue_id = await self._venue_id(cancel.order_id, cancel.venue_id, cancel.market)
        except (ReadFailedError, DataError) as error:
            self._lost(cancel.order_id, "cancel", str(error))
            return
        if not venue_id:
            self._gone(cancel.order_id, "cancel", NOT_SHOWN)
            return
        life = self._lives.of_row(cancel.market)
        answer = await self._cancel_paced(venue_id, life.listing.ticker, life.shard)
        self._malformed(answer.malformed)
        self._tell(*self.maker.canceled(cancel.order_id, answer.outcome, answer.body))

    async def _cancel_paced(self, venue_id: str, ticker: str, shard: int) -> Answer:
        """A cancel that 429 only delays: it was surely not carried out, and it must be."""
        answer = await self.requests.cancel(venue_id, ticker=ticker, shard=shard)
        for _ in range(CANCEL_TRIES - 1):
            if answer.status != RATE_LIMITED:
                break
            answer = await self.requests.cancel(venue_id, ticker=ticker, shard=shard)
        return answer

    async def _cancel_batch(self, cancels: list[Cancel]) -> None:
        items = [self.maker.cancel_item(c) for c in cancels]
        answer = await self.requests.cancel_batch(items)
        if answer.outcome.verdict is Verdict.REFUSED:  # of the batch as such: one by one says more
            for cancel in cancels:
                self._spawn(self._cancel(cancel))
            return
        self._malformed(answer.malformed)
        bodies = () if answer.body is None else answer.body.orders
        for number, cancel in enumerate(cancels):
            item = bodies[number] if len(bodies) == len(cancels) else None
            self._tell(*self.maker.canceled_item(cancel.order_id, answer.outcome, item))

    def cancel_all(self) -> None:
        """Everything of the account that stands now, and what of ours is on its way to it."""
        for own in self._orders.placing():
            self._spawn(self._cancel(Cancel(order_id=own.order_id, market=own.market)))
        self._spawn(self._cancel_all(self._orders.newest))

    async def _cancel_all(self, newest: int) -> None:
        """At once where Kalshi lets us, then order by order what still rests of the orders up to `newest`."""
        answer = await self.requests.cancel_all()
        if answer.outcome.verdict is Verdict.ACCEPTED:
            await self._clock.sleep(READ_LAG_NS)
        try:
            resting = await self._rest.orders(status="resting")
        except (ReadFailedError, DataError) as error:
            self._tell(ReadFailed(venue="kalshi", read="orders", why=str(error)))
            return
        for order in resting:
            order_id = self._reads.learn(order)
            if order_id > newest:
                continue  # placed since: the command was not about it
            shard = order.exchange_index
            if shard is None:
                shard = self._lives[order.ticker].shard if order.ticker in self._lives else 0
            self._spawn(self._cancel_listed(order_id, order.order_id, order.ticker, shard))

    async def _cancel_listed(self, order_id: int, venue_id: str, ticker: str, shard: int) -> None:
        answer = await self._cancel_paced(venue_id, ticker, shard)
        if order_id:
            self._tell(*self.maker.canceled(order_id, answer.outcome, answer.body))

    # --- reductions, renewals ---------------------------------------------------------------------

    async def reduce(self, command: Reduce) -> None:
        """A decrease, which keeps the place in the queue; it waits for an amendment that flies."""
        try:
            venue_id = await self._venue_id(command.order_id, command.venue_id, command.market)
            if not venue_id:
                self._gone(command.order_id, "reduce", NOT_SHOWN)
                return
            change = self.maker.decrease(command)
        except (ReadFailedError, DataError) as error:
            self._lost(command.order_id, "reduce", str(error))
            return
        own = self._orders.get(command.order_id)
        before = UNKNOWN if own is None else await own.begin_decrease()
        answer = Answer(Outcome(Verdict.UNKNOWN, text="interrupted"))
        try:
            answer = await self.requests.decrease(venue_id, change)
        finally:
            self._end_decrease(own, before, command.remaining, answer)
        self._malformed(answer.malformed)
        self._tell(*self.maker.reduced(command, answer.outcome, answer.body))

    def _end_decrease(self, own: OwnOrder | None, before: int, wanted: int, answer: Answer) -> None:
        if own is None:
            return
        untouched = answer.outcome.verdict in (Verdict.REFUSED, Verdict.NOT_SENT)
        left = -1 if untouched else wanted if answer.body is None else int(answer.body.remaining_count)
        ended_ns = self._clock.now_ns() + READ_LAG_NS
        own.end_decrease(left=left, before=before, sure=answer.body is not None, now_ns=ended_ns)

    async def renew(self, command: Renew) -> None:
        """An amendment of the expiry alone: price and total are repeated, so the place in the queue stays."""
        try:
            venue_id = await self._venue_id(command.order_id, command.venue_id, command.market)
            own = self._orders.get(command.order_id)
            if venue_id and (own is None or own.total == UNKNOWN):
                own = await self._relearn(command, venue_id)
            if not venue_id or own is None:
                self._gone(command.order_id, "renew", f"{NOT_SHOWN} resting")
                return
        except (ReadFailedError, DataError) as error:
            self._lost(command.order_id, "renew", str(error))
            return
        total = own.total
        if total == UNKNOWN:
            self._lost(command.order_id, "renew", UNSETTLED)
            return
        try:
            change = self.maker.amend_expiry(command, own)
        except DataError as error:
            self._lost(command.order_id, "renew", str(error))
            return
        left = False

        def may_leave() -> bool:
            nonlocal left
            left = own.may_amend(total)
            return left

        try:
            answer = await self.requests.amend(venue_id, change, wanted=may_leave)
        finally:
            if left:
                own.amended()
        self._malformed(answer.malformed)
        self._tell(*self.maker.renewed(command, answer.outcome, answer.body))

    async def _relearn(self, command: Renew, venue_id: str) -> OwnOrder | None:
        """What an amendment must repeat, from Kalshi itself; None: the order does not rest."""
        as_of_ns = await self._reads.as_of_ns()
        order = await self._reads.find(command.order_id, venue_id, command.market)
        if order is None or order.status != "resting":
            return None
        own = self._orders.get(command.order_id)
        if own is None:
            own = self.maker.remembered(command, order)
            self._orders.add(own)
        self._reads.learn(order, as_of_ns)
        return own
