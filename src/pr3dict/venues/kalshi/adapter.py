"""Kalshi as a `Wire`: commands of the engine become requests, answers become events, nothing is concluded.

Each command runs as a task of its own, so a slow answer holds up nothing; cancels may spend what is kept for
them of the budget. An order that must be cancelled before its answer came is cancelled when it came. What was
surely refused, surely never sent, or lost is told apart by `outcomes.py` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pr3dict.domain.commands import (
    Action,
    Cancel,
    CancelAll,
    Place,
    ReadBalance,
    ReadBook,
    ReadFills,
    ReadOrder,
    ReadOrders,
    ReadPositions,
    Reduce,
    Renew,
    Resubscribe,
)
from pr3dict.domain.errors import ConfigError, DataError, WorkError
from pr3dict.domain.events import (
    AnswerLost,
    Control,
    Malformed,
    NotSent,
    ReadFailed,
    Request,
    RequestRefused,
    VenueStatus,
)
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.kalshi.account_frames import AccountFrames
from pr3dict.venues.kalshi.frames import (
    EventFeeFrame,
    FillFrame,
    FillMessage,
    Frame,
    GroupFrame,
    LifecycleFrame,
    OrderFrame,
)
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import Life, Lives
from pr3dict.venues.kalshi.orders import Answer, KalshiOrders
from pr3dict.venues.kalshi.outcomes import RATE_LIMITED, Verdict
from pr3dict.venues.kalshi.own_orders import OwnOrder, OwnOrders
from pr3dict.venues.kalshi.reads import READ_WORDS, KalshiReads, ReadCommand
from pr3dict.venues.kalshi.requests import Requests
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Clock, Sink

STATUS_NS: Final = 5 * NS_PER_SECOND
LIFE_NS: Final = NS_PER_SECOND
READ_LAG_NS: Final = NS_PER_SECOND  # by when reads show what a write did
CANCEL_TRIES: Final = 8
REREAD_NS: Final = 60 * NS_PER_SECOND
NO_GROUP: Final = "the order group has fired and was not armed again"
_READS: Final = (ReadOrders, ReadOrder, ReadFills, ReadPositions, ReadBalance, ReadBook)


class AdapterTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the adapter; sizes in micro-contracts, spans in ns."""

    prefix: str  # of client order ids: made once for a data directory, kept for ever
    group_limit: int = 0  # contracts of one shard that may trade within 15 s; 0: no order group
    place_wait_ns: int = NS_PER_SECOND // 2  # a new order that waits longer for the budget is not sent
    batch_from: int = 4  # so many new orders, or cancels, at once go as one batch
    subaccount: int = 0  # always named: left out, some of Kalshi's calls mean all, others the primary one


def group_limit(sweep_loss_micros: int, loss_a_contract_micros: int = 1_000_000) -> int:
    """The limit of an order group, in micro-contracts: one sweep then costs at most `sweep_loss_micros`.

    `loss_a_contract_micros` is what one swept contract may lose: a dollar at the very worst. A group fires
    when its limit is exceeded, so the trade that fires it may go beyond it by the size of that order.

    Raises:
        ConfigError: the loss allows for less than one contract.
    """
    limit = sweep_loss_micros * 1_000_000 // loss_a_contract_micros // 1_000_000 * 1_000_000
    if limit < 1_000_000:
        raise ConfigError(f"a sweep may cost {sweep_loss_micros} micros, which is less than one contract")
    return limit


class KalshiWire:
    """The account at Kalshi: a `Wire`, and what feeds its sink. `start` first."""

    def __init__(
        self,
        http: KalshiHttp,
        streams: KalshiStreams | None,
        sink: Sink,
        clock: Clock,
        lives: Iterable[Life],
        terms: AdapterTerms,
    ) -> None:
        self.terms = terms
        self.lives = Lives(lives)
        self.orders = OwnOrders(terms.prefix)
        self.rest = KalshiRest(http, subaccount=terms.subaccount)
        self.streams = streams
        self.groups: dict[str, int] = {}  # id to shard
        self.fired: dict[str, None] = {}  # groups that cancelled everything and wait for a person
        self.fees_moved: dict[str, None] = {}  # events whose fee is no longer what was listed
        self._requests = KalshiOrders(http, subaccount=terms.subaccount)
        self._maker = Requests(self.orders, self.lives, terms.subaccount)
        self._reads = KalshiReads(self.rest, self.orders, self.lives, clock)
        self._frames = AccountFrames(self.orders, self.lives, self.groups, terms.subaccount)
        self._http = http
        self._sink = sink
        self._clock = clock
        self._status = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn the budget, arm the order groups, connect the streams, watch status and times.

        Raises:
            WorkError: the account can't be asked, or a group can't be made.
        """
        now_ns = self._clock.now_ns()
        self._http.budget.set_costs(await self.rest.endpoint_costs())
        self._http.budget.set_limits(await self.rest.limits(), now_ns)
        if self.terms.group_limit:
            for shard in self.lives.shards():
                await self._make_group(shard)
        self._sink.put_rows(self.lives.opening(self._clock.now_ns()))
        if self.streams is not None:
            self.streams.start()
        self._spawn(self._watch_status())
        self._spawn(self._watch_lives())

    async def _make_group(self, shard: int) -> None:
        answer = await self._requests.create_group(self.terms.group_limit, shard=shard)
        if answer.body is None:
            raise WorkError(f"Kalshi made no order group on shard {shard}: {answer.outcome.text}")
        self.groups[answer.body.order_group_id] = shard
        self._maker.group_of[shard] = answer.body.order_group_id

    async def arm(self) -> None:
        """A person resumed: groups that fired take orders again."""
        for group_id in list(self.fired):
            answer = await self._requests.reset_group(group_id, shard=self.groups[group_id])
            if answer.outcome.verdict is not Verdict.ACCEPTED:
                raise WorkError(f"the order group {group_id} was not armed again: {answer.outcome.text}")
            del self.fired[group_id]

    async def close(self) -> None:
        """Give back sockets and tasks; requests on their way are lost to us, not to Kalshi."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.streams is not None:
            await self.streams.close()
        await self._http.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""
        streams = self.streams
        return {
            **self._http.budget.tokens(self._clock.now_ns(), self.lives.shards()),
            "rate_limited": self._http.rate_limited,
            "requests": self._http.requests,
            "unlisted": self._frames.unlisted + sum(self._reads.unlisted.values()),
            "unknown_words": sum(self._frames.unknown_words.values())
            + sum(self.lives.unknown_words.values()),
            "malformed": 0 if streams is None else streams.malformed,
            "gaps": 0 if streams is None else streams.sequences.gaps,
            "connections": 0 if streams is None else streams.connections,
        }

    # --- commands ---------------------------------------------------------------------------------

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:  # noqa: ARG002 - a `Wire`'s signature
        """Every command becomes a task at once; many new orders or cancels become a batch.

        Raises:
            WorkError: a task of this adapter died of a fault of its own: it can't be trusted to trade on.
        """
        failure = self._failure or (None if self.streams is None else self.streams.failure())
        if failure is not None:
            raise WorkError(f"the Kalshi adapter failed: {failure}") from failure
        places = [c for c in commands if isinstance(c, Place)]
        cancels = [c for c in commands if isinstance(c, Cancel)]
        self._send_cancels(cancels)
        self._send_places(places)
        for command in commands:
            match command:
                case Place() | Cancel():
                    pass
                case Reduce():
                    self._spawn(self._reduce(command))
                case Renew():
                    self._spawn(self._renew(command))
                case CancelAll():
                    self._spawn(self._cancel_all())
                case Resubscribe():
                    if self.streams is not None:
                        self.streams.snapshot(self.lives.by_row[command.market])
                case _ if isinstance(command, _READS):
                    self._spawn(self._read(command))
                case _:
                    raise WorkError(f"a {type(command).__name__} is no command for a venue")

    def _tell(self, *events: Control) -> None:
        for event in events:
            self._sink.push(event)

    def _malformed(self, what: str) -> None:
        if what:
            self._tell(Malformed(venue="kalshi", count=1, why=what[:200]))

    # --- new orders -------------------------------------------------------------------------------

    def _send_places(self, places: list[Place]) -> None:
        ready: list[tuple[Place, OwnOrder]] = []
        for place in places:
            if self.fired and self._maker.group(place.market) in self.fired:
                self._tell(NotSent(order_id=place.order_id, why=NO_GROUP))
                continue
            own = OwnOrder(place.order_id, place.market, place.side, place.price, place.size)
            own.placing = True
            self.orders.add(own)
            ready.append((place, own))
        if len(ready) >= self.terms.batch_from:
            self._spawn(self._place_batch([place for place, _ in ready]))
        else:
            for place, own in ready:
                self._spawn(self._place(place, own))

    async def _place(self, place: Place, own: OwnOrder) -> None:
        try:
            request = self._maker.create(place)
            self._tell(*self._maker.sent(place))
            answer = await self._requests.create(
                request, wait_ns=self.terms.place_wait_ns, wanted=lambda: not own.unwanted
            )
            own.dropped = answer.outcome.verdict is Verdict.NOT_SENT
            self._malformed(answer.malformed)
            self._tell(*self._maker.placed(place, answer.outcome, answer.body))
        except DataError as error:
            self._tell(NotSent(order_id=place.order_id, why=str(error)))
        finally:
            self._answered(place)

    async def _place_batch(self, places: list[Place]) -> None:
        """One request for all; where its answer can't be told apart by order, all of them are lost."""
        try:
            requests = [self._maker.create(place) for place in places]
            for place in places:
                self._tell(*self._maker.sent(place))
            answer = await self._requests.create_batch(requests, wait_ns=self.terms.place_wait_ns)
            self._malformed(answer.malformed)
            items = () if answer.body is None else answer.body.orders
            for number, place in enumerate(places):
                item = items[number] if len(items) == len(places) else None
                self._tell(*self._maker.placed_item(place, answer.outcome, item))
        except DataError as error:
            for place in places:
                self._tell(NotSent(order_id=place.order_id, why=str(error)))
        finally:
            for place in places:
                self._answered(place)

    def _answered(self, place: Place) -> None:
        own = self.orders.get(place.order_id)
        if own is not None:
            own.placing = False
            own.answered.set()

    # --- cancels, reductions, renewals ------------------------------------------------------------

    def _send_cancels(self, cancels: list[Cancel]) -> None:
        known = [c for c in cancels if self.orders.venue_id(c.order_id, c.venue_id)]
        if len(known) >= self.terms.batch_from:
            self._spawn(self._cancel_batch(known))
            cancels = [c for c in cancels if c not in known]
        for cancel in cancels:
            self._spawn(self._cancel(cancel))

    async def _venue_id(self, order_id: int, venue_id: str, market: int) -> str:
        """Kalshi's id of an order: known, answered soon, or looked up; "": Kalshi does not show it."""
        own = self.orders.get(order_id)
        if own is not None and own.placing:
            await own.answered.wait()
        known = self.orders.venue_id(order_id, venue_id)
        if known:
            return known
        found = await self._reads.find(order_id, "", market)
        if found is None:
            return ""
        self._reads.learn(found)
        return found.order_id

    async def _cancel(self, cancel: Cancel) -> None:
        own = self.orders.get(cancel.order_id)
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
            self._gone(cancel.order_id, "cancel", "Kalshi does not show the order")
            return
        life = self.lives.of_row(cancel.market)
        answer = await self._cancel_paced(venue_id, life.listing.ticker, life.shard)
        self._malformed(answer.malformed)
        self._tell(*self._maker.canceled(cancel.order_id, answer.outcome, answer.body))

    async def _cancel_paced(self, venue_id: str, ticker: str, shard: int) -> Answer:
        """A cancel that 429 only delays: it was surely not carried out, and it must be."""
        answer = await self._requests.cancel(venue_id, ticker=ticker, shard=shard)
        for _ in range(CANCEL_TRIES - 1):
            if answer.status != RATE_LIMITED:
                break
            answer = await self._requests.cancel(venue_id, ticker=ticker, shard=shard)
        return answer

    async def _cancel_batch(self, cancels: list[Cancel]) -> None:
        items = [self._maker.cancel_item(c) for c in cancels]
        answer = await self._requests.cancel_batch(items)
        if answer.outcome.verdict is Verdict.REFUSED:  # of the batch as such: one by one says more
            for cancel in cancels:
                self._spawn(self._cancel(cancel))
            return
        self._malformed(answer.malformed)
        bodies = () if answer.body is None else answer.body.orders
        for number, cancel in enumerate(cancels):
            item = bodies[number] if len(bodies) == len(cancels) else None
            self._tell(*self._maker.canceled_item(cancel.order_id, answer.outcome, item))

    async def _reduce(self, command: Reduce) -> None:
        try:
            venue_id = await self._venue_id(command.order_id, command.venue_id, command.market)
            if not venue_id:
                self._gone(command.order_id, "reduce", "Kalshi does not show the order")
                return
            change = self._maker.decrease(command)
        except (ReadFailedError, DataError) as error:
            self._lost(command.order_id, "reduce", str(error))
            return
        answer = await self._requests.decrease(venue_id, change)
        self._malformed(answer.malformed)
        self._tell(*self._maker.reduced(command, answer.outcome, answer.body))

    async def _renew(self, command: Renew) -> None:
        """An amendment of the expiry alone: price and total are repeated, so the place in the queue stays."""
        try:
            venue_id = await self._venue_id(command.order_id, command.venue_id, command.market)
            own = self.orders.get(command.order_id)
            if venue_id and (own is None or own.total < 0):
                own = await self._relearn(command, venue_id)
            if not venue_id or own is None:
                self._gone(command.order_id, "renew", "Kalshi does not show the order resting")
                return
        except (ReadFailedError, DataError) as error:
            self._lost(command.order_id, "renew", str(error))
            return
        answer = await self._requests.amend(venue_id, self._maker.amend_expiry(command, own))
        self._malformed(answer.malformed)
        self._tell(*self._maker.renewed(command, answer.outcome, answer.body))

    async def _relearn(self, command: Renew, venue_id: str) -> OwnOrder | None:
        """What an amendment must repeat, from Kalshi itself; None: the order does not rest."""
        order = await self._reads.find(command.order_id, venue_id, command.market)
        if order is None or order.status != "resting":
            return None
        own = self.orders.get(command.order_id) or self._maker.remembered(command, order)
        self.orders.add(own)
        self._reads.learn(order)
        return own

    async def _cancel_all(self) -> None:
        """Everything of the account: at once where Kalshi lets us, then order by order what still rests."""
        answer = await self._requests.cancel_all()
        if answer.outcome.verdict is Verdict.ACCEPTED:
            await self._clock.sleep(READ_LAG_NS)
        try:
            resting = await self.rest.orders(status="resting")
        except (ReadFailedError, DataError) as error:
            self._tell(ReadFailed(venue="kalshi", read="orders", why=str(error)))
            return
        for order in resting:
            order_id = self._reads.learn(order)
            shard = order.exchange_index
            if shard is None:
                shard = self.lives[order.ticker].shard if order.ticker in self.lives else 0
            self._spawn(self._cancel_listed(order_id, order.order_id, order.ticker, shard))

    async def _cancel_listed(self, order_id: int, venue_id: str, ticker: str, shard: int) -> None:
        answer = await self._cancel_paced(venue_id, ticker, shard)
        if order_id:
            self._tell(*self._maker.canceled(order_id, answer.outcome, answer.body))

    def _lost(self, order_id: int, request: Request, why: str) -> None:
        self._tell(AnswerLost(order_id=order_id, request=request, why=why))

    def _gone(self, order_id: int, request: Request, text: str) -> None:
        self._tell(RequestRefused(order_id=order_id, request=request, why="unknown_order", text=text))

    # --- reads ------------------------------------------------------------------------------------

    async def _read(self, command: ReadCommand) -> None:
        try:
            self._tell(*await self._reads.answer(command))
        except (ReadFailedError, DataError) as error:
            word = READ_WORDS[type(command)]
            self._tell(ReadFailed(venue="kalshi", read=word, why=str(error)[:200]))

    # --- what we hear -----------------------------------------------------------------------------

    def hear(self, frame: Frame, now_ns: int) -> None:
        """A frame of the streams about the account or a market's life; raises `DataError`."""
        match frame:
            case FillFrame() | OrderFrame() | GroupFrame():
                events = self._frames.hear(frame, now_ns)
                if isinstance(events, FillMessage):
                    self._spawn(self._look_up(events, now_ns))
                    return
                if isinstance(frame, GroupFrame) and events:
                    self.fired[frame.msg.order_group_id] = None
                self._tell(*events)
            case LifecycleFrame():
                self._hear_life(frame, now_ns)
            case EventFeeFrame():
                self.fees_moved[frame.msg.event_ticker] = None
            case _:
                pass  # positions follow from fills, and are compared by reads

    def _hear_life(self, frame: LifecycleFrame, now_ns: int) -> None:
        rows, events = self.lives.hear(frame.msg, now_ns)
        if len(rows):
            self._sink.put_rows(rows)
        self._tell(*events)
        if frame.msg.event_type == "activated" and frame.msg.market_ticker in self.lives:
            self._spawn(self._read(ReadOrders(venue="kalshi")))  # what rested there was wiped, told or not
        if frame.msg.event_type == "settled" and not events and frame.msg.market_ticker in self.lives:
            self._spawn(self._reread((frame.msg.market_ticker,)))

    async def _look_up(self, fill: FillMessage, now_ns: int) -> None:
        """A fill that names no order of ours by its client id: Kalshi knows whose it is."""
        try:
            order_id = await self._reads.order_id_of(fill.order_id)
        except (ReadFailedError, DataError):
            return  # the next read of fills has it
        self._tell(self._frames.filled(fill, order_id, now_ns))

    # --- what time brings -------------------------------------------------------------------------

    async def _watch_status(self) -> None:
        """The exchange as a whole: the worst state of a shard that we trade on."""
        while True:
            try:
                status = await self.rest.status()
                states = [status.of_shard(shard) for shard in self.lives.shards()] or [status.of_shard(0)]
                word = "open"
                if not all(active for active, _ in states):
                    word = "closed"
                elif not all(trading for _, trading in states):
                    word = "paused"
                if word != self._status:
                    self._status = word
                    self._tell(VenueStatus(venue="kalshi", status=word))  # type: ignore[arg-type]
            except (ReadFailedError, DataError):
                pass  # a venue that does not answer is noticed by its streams
            await self._clock.sleep(STATUS_NS)

    async def _watch_lives(self) -> None:
        """Opening and closing by the clock, and every minute what the markets say of themselves."""
        due_ns = self._clock.now_ns() + REREAD_NS
        while True:
            await self._clock.sleep(LIFE_NS)
            now_ns = self._clock.now_ns()
            rows = self.lives.tick(now_ns)
            if len(rows):
                self._sink.put_rows(rows)
            if now_ns >= due_ns:
                await self._reread(tuple(self.lives.rows))
                due_ns = self._clock.now_ns() + REREAD_NS

    async def _reread(self, tickers: tuple[str, ...]) -> None:
        try:
            for market in await self.rest.markets(tickers=tickers):
                if market.ticker in self.lives:
                    rows, events = self.lives.reread(market, self._clock.now_ns())
                    if len(rows):
                        self._sink.put_rows(rows)
                    self._tell(*events)
        except (ReadFailedError, DataError) as error:
            self._malformed(str(error) if isinstance(error, DataError) else "")
