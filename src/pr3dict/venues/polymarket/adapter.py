"""Polymarket as a `Wire`: commands of the engine become requests, answers events, and nothing is concluded.

Each command runs as a task of its own, so a slow answer holds up nothing; cancels have a budget of their own.
An order is known by its digest before it leaves: what a lost answer leaves open is asked for by that name.
What was surely refused, surely never sent, or lost is told apart by `outcomes.py` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from pr3dict.domain.commands import (
    Action,
    Cancel,
    CancelAll,
    FollowOperation,
    Operate,
    Place,
    PrepareOperation,
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
from pr3dict.domain.events import Filled, OperationsUp, ReadFailed
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket.account_frames import AccountFrames, Stranger, Us
from pr3dict.venues.polymarket.account_models import OrderState
from pr3dict.venues.polymarket.book import TickChange
from pr3dict.venues.polymarket.desk import OrderDesk
from pr3dict.venues.polymarket.frames import Frame, OrderFrame, TradeFrame
from pr3dict.venues.polymarket.heartbeats import Heartbeats
from pr3dict.venues.polymarket.holdings import Holdings
from pr3dict.venues.polymarket.http import PolymarketHttp
from pr3dict.venues.polymarket.inventory import MergeTerms, OperationDesk, OperationPort
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.orders import Answer, PolymarketOrders
from pr3dict.venues.polymarket.own_orders import Known, OwnOrders
from pr3dict.venues.polymarket.reads import READ_WORDS, PolymarketReads, ReadCommand
from pr3dict.venues.polymarket.requests import Requests
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.polymarket.settling import Settling
from pr3dict.venues.polymarket.streams import PolymarketStreams
from pr3dict.venues.polymarket.venue_watch import VenueWatch
from pr3dict.venues.session import Clock, Sink

LOOK_UPS: Final = 5  # of an order that a trade names, a second apart
_READS: Final = (ReadOrders, ReadOrder, ReadFills, ReadPositions, ReadBalance, ReadBook)


class AdapterTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the adapter; spans in ns."""

    prefix: str  # of this run of the process alone: salts of its orders follow from it
    first_order: int = 1  # its first order id
    runs: tuple[tuple[str, int], ...] = ()  # prefixes and first order ids of the runs before, oldest first
    earlier: tuple[Known, ...] = ()  # orders of those that may still stand, or of which fills are kept
    unsettled: tuple[Filled, ...] = ()  # fills of those that may still be voided
    place_wait_ns: int = NS_PER_SECOND // 2  # a new order that waits longer for the budget is not sent
    batch_from: int = 2  # so many new orders, or cancels, at once go as one batch
    in_play: bool = False  # quote on after a game began whose start emptied the book
    merges: MergeTerms | None = None  # from when on pairs become cash again; None: never


class PolymarketWire(VenueWatch):
    """The account at Polymarket: a `Wire`, and what feeds its sink. `start` first."""

    def __init__(
        self,
        http: PolymarketHttp,
        streams: PolymarketStreams | None,
        sink: Sink,
        clock: Clock,
        lives: Iterable[Life],
        terms: AdapterTerms,
        port: OperationPort | None = None,
    ) -> None:
        """`port` carries merges, splits and redemptions out; `close` closes it.

        Raises:
            ConfigError: `http` has no API key or no wallet's key.
        """
        if http.key is None or http.signer is None:
            raise ConfigError("trading needs the wallet's key and an API key", key="wallet_key")
        followed = Lives(lives, in_play=terms.in_play)
        super().__init__(PolymarketRest(http), followed, sink, clock, streams)
        self.terms = terms
        self.orders = OwnOrders(terms.earlier)
        self.settling = Settling()
        for fill in terms.unsettled:
            self.settling.recall(fill)
        self.holdings = Holdings(self.rest, self.lives, self.settling, clock)
        self._http = http
        us = Us(http.key.key, http.signer.maker)
        self._frames = AccountFrames(self.orders, self.lives, self.settling, us)
        self._requests = PolymarketOrders(http)
        maker = Requests(
            http.signer, http.key.key, self.lives.terms_of, terms.prefix, terms.first_order, terms.runs
        )
        self._reads = PolymarketReads(
            self.rest, self.orders, self.lives, self._frames, self.holdings, clock,
            lambda order, ids, neg_risk: maker.recognise(order, ids, neg_risk=neg_risk),
        )  # fmt: skip
        self._desk = OrderDesk(
            self._requests, maker, self.rest, self.orders, self.lives, self._reads, clock,
            place_wait_ns=terms.place_wait_ns, batch_from=terms.batch_from, tell=self._tell,
            spawn=self._spawn, on_outcome=self.restricted, on_taken=self._taken,
        )  # fmt: skip
        self.heartbeats = Heartbeats(self._requests, clock, self._heartbeat_lost, self._answered)
        self.operations = (
            None
            if port is None or terms.merges is None
            else OperationDesk(
                port, self.rest, self.lives, self.holdings, clock, terms.merges,
                tell=self._tell, spawn=self._spawn,
            )
        )  # fmt: skip

    # --- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Beat, connect the streams, follow the markets.

        Raises:
            WorkError: the account can't be asked, or no heartbeat is taken.
        """
        if not await self.heartbeats.beat():
            raise WorkError("Polymarket takes no heartbeat of ours: no order would be safe")
        self._spawn(self.heartbeats.run())
        await self._start_following()
        if self.operations is not None:
            self._tell(OperationsUp(venue="polymarket", merge_from=self.operations.terms.threshold))

    async def arm(self) -> None:
        """A person resumed. There is nothing at the venue to arm: the heartbeats go on through every halt."""

    async def close(self) -> None:
        """Give back sockets and tasks; without our heartbeats the venue soon cancels what still rests."""
        await self._end_tasks()
        if self.streams is not None:
            await self.streams.close()
        if self.operations is not None:
            await self.operations.close()
        await self._http.close()

    def _answered(self, answer: Answer) -> None:
        self.restricted(answer.outcome)
        self._malformed(answer.malformed)

    def _heartbeat_lost(self, why: str) -> None:
        """The venue cancels everything: what still rests is to be read before anything is quoted."""
        if self.streams is not None:
            self.streams.reconnect(why)

    def _taken(self, digest: str) -> None:
        if self.streams is not None:
            self.streams.expect(digest)

    def figures(self) -> Mapping[str, int]:
        """Counts for `status`."""
        streams, books = self.streams, self.books
        return {
            **self._http.budget.tokens(self._clock.now_ns()),
            "rate_limited": self._http.rate_limited,
            "requests": self._http.requests,
            "heartbeats": self.heartbeats.beats,
            "heartbeats_lost": self.heartbeats.lost,
            "unsettled_fills": len(self.settling),
            "unlisted": self._frames.unlisted + sum(self._reads.unlisted.values()),
            "unknown_words": sum(self._frames.unknown_words.values()) + self.settling.unknown_states,
            "operations": 0 if self.operations is None else self.operations.done,
            "operations_failed": 0 if self.operations is None else self.operations.failed,
            "malformed": 0 if streams is None else streams.malformed,
            "connections": 0 if streams is None else streams.connections,
            "books_compared": 0 if books is None else books.compared,
            "books_frozen": 0 if books is None else books.frozen,
            "hashes_verified": 0 if streams is None else streams.hash_matches,
            "hashes_differ": 0 if streams is None else streams.hash_differs,
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
            raise WorkError(f"the Polymarket adapter failed: {failure}") from failure
        self._desk.cancel([c for c in commands if isinstance(c, Cancel)])
        self._desk.place([c for c in commands if isinstance(c, Place)])
        for command in commands:
            match command:
                case Place() | Cancel():
                    pass
                case Reduce() | Renew():
                    self._desk.refuse(command)
                case CancelAll():
                    self._desk.cancel_all()
                case Resubscribe():
                    if self.streams is not None and command.market in self.lives.by_row:
                        self.streams.snapshot(self.lives.by_row[command.market])
                case PrepareOperation() | Operate() | FollowOperation():
                    self._operate(command)
                case _ if isinstance(command, _READS):
                    self._spawn(self._read(command))
                case _:
                    raise WorkError(f"a {type(command).__name__} is no command for a venue")

    def _operate(self, command: PrepareOperation | Operate | FollowOperation) -> None:
        if self.operations is None:
            raise WorkError(f"a {type(command).__name__} came, but nothing carries it out")
        self.operations.send(command)

    async def _read(self, command: ReadCommand) -> None:
        try:
            self._tell(*await self._reads.answer(command))
        except (ReadFailedError, DataError) as error:
            word = READ_WORDS[type(command)]
            self._tell(ReadFailed(venue="polymarket", read=word, why=str(error)[:200]))

    # --- what we hear -----------------------------------------------------------------------------

    def hear(self, frame: Frame | TickChange, now_ns: int) -> None:
        """A message of the streams about the account or a market's life; raises `DataError`."""
        match frame:
            case OrderFrame():
                self._tell(*self._frames.order(frame, now_ns))
                own = self.orders.get(self.orders.of_digest(frame.id))
                if own is not None and frame.state is OrderState.CANCELED:
                    own.over.set()
            case TradeFrame():
                self._hear_trade(frame)
            case _:
                super().hear(frame, now_ns)

    def _hear_trade(self, frame: TradeFrame, *, sure: bool = False) -> None:
        try:
            events = self._frames.trade(frame, sure=sure)
        except Stranger as stranger:
            self._spawn(self._look_up(frame, stranger.digest))
            return
        known = self.lives.tokens.get(frame.asset_id)
        if known is not None:
            self.holdings.touch(known[0])  # each step of a trade may move a balance
        self._tell(*events)

    async def _look_up(self, frame: TradeFrame, digest: str) -> None:
        """A trade of an order that is ours by its owner: the venue knows which, if not at once."""
        for _ in range(LOOK_UPS):
            try:
                found = await self._reads.identify(digest)
            except (ReadFailedError, DataError):
                await self._clock.sleep(NS_PER_SECOND)
                continue
            try:
                self._hear_trade(frame, sure=not found)
            except DataError as error:  # as any message about us that can't be read: everything is compared
                self._malformed(str(error))
                if self.streams is not None:
                    self.streams.reconnect(f"a trade of ours can't be read: {error}"[:200])
            return
        # the next read of fills has it

    # --- what time brings -------------------------------------------------------------------------

    async def _each_minute(self) -> None:
        """The signer's tier may move at any time, and its budget with it."""
        try:
            tier = (await self.rest.rate_limit_tier()).lower()
        except (ReadFailedError, DataError) as error:
            self._malformed(str(error) if isinstance(error, DataError) else "")
            return
        budget = self._http.budget
        if tier != budget.tier:
            try:
                budget.set_tier(tier, self._clock.now_ns())
            except KeyError:
                self._malformed(f"the signer's tier is {tier[:40]!r}, which is not known")
