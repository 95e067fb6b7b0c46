"""Kalshi as a `Wire`: commands of the engine become requests, answers become events, nothing is concluded.

Each command runs as a task of its own, so a slow answer holds up nothing; cancels may spend what is kept for
them of the budget. An order that must be cancelled before its answer came is cancelled when it came. What was
surely refused, surely never sent, or lost is told apart by `outcomes.py` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final

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
    ReadFailed,
)
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.kalshi.account_frames import AccountFrames
from pr3dict.venues.kalshi.desk import READ_LAG_NS, OrderDesk
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
from pr3dict.venues.kalshi.orders import Answer
from pr3dict.venues.kalshi.outcomes import RATE_LIMITED, Verdict
from pr3dict.venues.kalshi.own_orders import OwnOrders
from pr3dict.venues.kalshi.queue import QueuePoll
from pr3dict.venues.kalshi.reads import READ_WORDS, KalshiReads, ReadCommand
from pr3dict.venues.kalshi.rest import START_TRIES, KalshiRest, ReadFailedError
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.kalshi.venue_watch import VenueWatch
from pr3dict.venues.session import Clock, Sink

GONE: Final = 404
LOOK_UPS: Final = 5  # of the order of a fill, a second apart
GROUP_TRIES: Final = 5
GROUP_PAUSE_NS: Final = NS_PER_SECOND // 4
DELETE_S: Final = 3.0  # that closing may spend on deleting order groups
_READS: Final = (ReadOrders, ReadOrder, ReadFills, ReadPositions, ReadBalance, ReadBook)


class AdapterTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the adapter; sizes in micro-contracts, spans in ns."""

    prefix: str  # of client order ids: of this run of the process alone
    first_order: int = 1  # its first order id
    earlier: tuple[tuple[str, int], ...] = ()  # prefixes and first order ids of the runs before, oldest first
    group_limit: int = 0  # contracts of one shard that may trade within 15 s; 0: no order group
    place_wait_ns: int = NS_PER_SECOND // 2  # a new order that waits longer for the budget is not sent
    batch_from: int = 4  # so many new orders, or cancels, at once go as one batch
    queue_poll_ns: int = 0  # between polls of our orders' queue positions; 0: none
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


class KalshiWire(VenueWatch):
    """The account at Kalshi: a `Wire`, and what feeds its sink. `start` first."""

    def __init__(
        self,
        http: KalshiHttp,
        streams: KalshiStreams | None,
        sink: Sink,
        clock: Clock,
        lives: Iterable[Life],
        terms: AdapterTerms,
        on_groups: Callable[[Mapping[str, int]], None] | None = None,
    ) -> None:
        """`on_groups` hears of our order groups (id to shard) whenever one was made or deleted."""
        super().__init__(KalshiRest(http, subaccount=terms.subaccount), Lives(lives), sink, clock, streams)
        self.terms = terms
        self.orders = OwnOrders(terms.prefix, terms.first_order, terms.earlier)
        self.groups: dict[str, int] = {}  # id to shard
        self.fired: dict[str, None] = {}  # groups that cancelled everything and wait for a person
        self._reads = KalshiReads(self.rest, self.orders, self.lives, clock)
        self._desk = OrderDesk(
            http, self.orders, self.lives, self._reads, clock, subaccount=terms.subaccount,
            place_wait_ns=terms.place_wait_ns, batch_from=terms.batch_from, tell=self._tell,
            spawn=self._spawn, fired=self.fired,
        )  # fmt: skip
        self._requests, self._maker = self._desk.requests, self._desk.maker
        self._queue = QueuePoll(self.rest, self.orders, self.lives, clock, terms.queue_poll_ns)
        self._frames = AccountFrames(self.orders, self.lives, self.groups, terms.subaccount)
        self._http = http
        self._arming = asyncio.Lock()
        self._on_groups = on_groups

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn the budget, arm the order groups, connect the streams, watch status and times.

        Raises:
            WorkError: the account can't be asked, or a group can't be made.
        """
        now_ns = self._clock.now_ns()
        rest = KalshiRest(self._http, tries=START_TRIES)
        self._http.budget.set_costs(await rest.endpoint_costs())
        self._http.budget.set_limits(await rest.limits(), now_ns)
        if self.terms.group_limit:
            for shard in self.lives.shards():
                await self._make_group(shard)
        await self._start_following()
        if self.terms.queue_poll_ns:
            self._spawn(self._queue.run(self._tell))

    async def prepare(self, shard: int) -> None:
        """Arm an order group where our orders go for the first time.

        Raises:
            WorkError: the group can't be made.
        """
        if self.terms.group_limit and shard not in self._maker.group_of:
            await self._make_group(shard)

    async def _make_group(self, shard: int) -> None:
        limit = self.terms.group_limit
        answer = await self._patiently(lambda: self._requests.create_group(limit, shard=shard))
        if answer.body is None:
            where = " (the account has no money there)" if answer.outcome.code == "user_not_found" else ""
            raise WorkError(f"Kalshi made no order group on shard {shard}{where}: {answer.outcome.text}")
        self.groups[answer.body.order_group_id] = shard
        self._maker.group_of[shard] = answer.body.order_group_id
        self._tell_groups()

    async def _reset_group(self, group_id: str) -> Answer:
        return await self._requests.reset_group(group_id, shard=self.groups[group_id])

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """An answer to what may be asked again: one group too many is empty, and armed twice is armed."""
        answer = await ask()
        for _ in range(GROUP_TRIES - 1):
            if answer.status != RATE_LIMITED and answer.outcome.verdict is not Verdict.UNKNOWN:
                break
            await self._clock.sleep(GROUP_PAUSE_NS)
            answer = await ask()
        return answer

    def _tell_groups(self) -> None:
        if self._on_groups is not None:
            self._on_groups(dict(self.groups))

    async def arm(self) -> None:
        """A person resumed: groups that fired take orders again; who resumes meanwhile waits for the answers.

        Raises:
            WorkError: Kalshi did not confirm it, or one fired meanwhile; those take no orders.
        """
        async with self._arming:
            await self._arm_fired()

    async def _arm_fired(self) -> None:
        for group_id in list(self.fired):
            await self._arm_one(group_id)
        if self.fired:
            raise WorkError("an order group fired again while it was armed; look at the fills, then resume")

    async def _arm_one(self, group_id: str) -> None:
        """Not fired while it is asked, so that firing again is noticed; fired if anything goes wrong."""
        del self.fired[group_id]
        with ExitStack() as undo:
            undo.callback(self.fired.__setitem__, group_id, None)
            answer = await self._patiently(partial(self._reset_group, group_id))
            if answer.status != GONE and answer.outcome.verdict is not Verdict.ACCEPTED:
                raise WorkError(f"the order group {group_id} was not armed again: {answer.outcome.text}")
            undo.pop_all()
        if answer.status == GONE:
            self.fired[group_id] = None  # until another has its place
            await self._make_group(self.groups[group_id])
            del self.fired[group_id], self.groups[group_id]
            self._tell_groups()

    async def delete_group(self, group_id: str, shard: int) -> bool:
        """Remove a group of ours, which cancels its orders; whether Kalshi has it no more."""
        ours = self.groups.pop(group_id, None) is not None  # first: the notice of it is no alarm
        answer = await self._requests.delete_group(group_id, shard=shard)
        is_gone = answer.outcome.verdict is Verdict.ACCEPTED or answer.status == GONE
        if ours and is_gone:
            self._tell_groups()
        elif ours:
            self.groups[group_id] = shard
        return is_gone

    async def close(self) -> None:
        """Give back sockets and tasks; requests on their way are lost to us, not to Kalshi."""
        await self._end_tasks()
        await self._delete_groups()
        if self.streams is not None:
            await self.streams.close()
        await self._http.close()

    async def _delete_groups(self) -> None:
        """Our groups would stay for ever; one that can't be deleted now is deleted by the next process."""
        deletes = [self.delete_group(group_id, shard) for group_id, shard in list(self.groups.items())]
        work = asyncio.gather(*deletes, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(work, DELETE_S)

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""
        streams = self.streams
        return {
            **self._http.budget.tokens(self._clock.now_ns(), self.lives.shards()),
            "rate_limited": self._http.rate_limited,
            "requests": self._http.requests,
            "queue_polls": self._queue.asked,
            "queue_polls_left_out": self._queue.skipped + self._queue.failed,
            "unlisted": self._frames.unlisted + sum(self._reads.unlisted.values()),
            "unknown_words": sum(self._frames.unknown_words.values())
            + sum(self.lives.unknown_words.values()),
            "malformed": 0 if streams is None else streams.malformed,
            "malformed_answers": self._http.malformed,
            "gaps": 0 if streams is None else streams.sequences.gaps,
            "connections": 0 if streams is None else streams.connections,
        }

    # --- commands ---------------------------------------------------------------------------------

    def send(self, now_ns: int, commands: Sequence[Action]) -> None:  # noqa: ARG002 - a `Wire`'s signature
        """Every command becomes a task at once; many new orders or cancels become a batch.

        Raises:
            WorkError: a task of this adapter died of a fault of its own: it can't be trusted to trade on.
                Cancelling everything is tried all the same.
        """
        failure = self.failure()
        if failure is not None:
            if any(isinstance(c, CancelAll) for c in commands):
                self._desk.cancel_all()
            raise WorkError(f"the Kalshi adapter failed: {failure}") from failure
        places = [c for c in commands if isinstance(c, Place)]
        self._desk.cancel([c for c in commands if isinstance(c, Cancel)])
        self._desk.place(places)
        for place in places:
            self._queue.placed(place.market)
        for command in commands:
            match command:
                case Place() | Cancel():
                    pass
                case Reduce():
                    self._spawn(self._desk.reduce(command))
                case Renew():
                    self._spawn(self._desk.renew(command))
                case CancelAll():
                    self._desk.cancel_all()
                case Resubscribe():
                    if self.streams is not None and command.market in self.lives.by_row:
                        self.streams.snapshot(self.lives.by_row[command.market])
                case _ if isinstance(command, _READS):
                    self._spawn(self._read(command))
                case _:
                    raise WorkError(f"a {type(command).__name__} is no command for a venue")

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
                self.fees.hear(frame.msg)
                self._tell(*self.fees.changes(now_ns))
            case _:
                pass  # positions follow from fills, and are compared by reads

    def _hear_life(self, frame: LifecycleFrame, now_ns: int) -> None:
        super()._hear_life(frame, now_ns)
        if frame.msg.event_type == "activated" and frame.msg.market_ticker in self.lives:
            self._spawn(self._read(ReadOrders(venue="kalshi")))  # what rested there was wiped, told or not

    async def _look_up(self, fill: FillMessage, now_ns: int) -> None:
        """A fill that names no order of ours by its client id: Kalshi knows whose it is, if not at once."""
        traded_ns = now_ns if fill.ts_ms is None else int(fill.ts_ms)
        for own in self.orders.placing():
            if self.lives.by_row[own.market] == fill.market_ticker:
                await own.answered.wait()
        for _ in range(LOOK_UPS):
            try:
                order_id = await self._reads.order_id_of(fill.order_id, fill.market_ticker, traded_ns)
            except (ReadFailedError, DataError):
                await self._clock.sleep(READ_LAG_NS)
            else:
                self._tell(self._frames.filled(fill, order_id, now_ns))
                return
        # the next read of fills has it

    # --- what time brings -------------------------------------------------------------------------

    async def _each_minute(self) -> None:
        """The account's tier may move at any time, and its budget with it."""
        try:
            limits = await self.rest.limits()
        except (ReadFailedError, DataError) as error:
            self._malformed(str(error) if isinstance(error, DataError) else "")
            return
        if limits != self._http.budget.limits:
            self._http.budget.set_limits(limits, self._clock.now_ns())
