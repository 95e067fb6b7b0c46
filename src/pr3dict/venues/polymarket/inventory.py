"""Pairs to cash and back, and what resolved markets pay: operations on the wallet's tokens.

An operation is prepared first, which gives it a name and begins nothing; once the engine has that name in the
journal it is handed in under it, at most once, whatever happens. What moved is told only once the chain has
confirmed it. An operation whose answer was lost, or that an earlier process began, is asked for by its name.

What is merged are pairs that are final on the chain, and that no resting sale of ours offers.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from pr3dict.domain.commands import FollowOperation, Operate, PrepareOperation
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Merged, OperationEnded, OperationPrepared, OperationTaken
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND
from pr3dict.venues.polymarket.amounts import LOT
from pr3dict.venues.polymarket.contracts import OperationRequest
from pr3dict.venues.polymarket.holdings import Holdings
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.session import Clock

POLL_NS: Final = 2 * NS_PER_SECOND
NOTHING: Final = "there is nothing to do"
_KEPT: Final = 8  # prepared operations that were not wanted after all


class MergeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """From when on the engine has pairs merged and payouts redeemed."""

    threshold: int  # micro-contracts of pairs, which free as many micros


class Stage(enum.Enum):
    """How far an operation is."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    FAILED = "failed"  # surely without effect, for ever


class Progress(NamedTuple):
    """A stage, and why it failed."""

    stage: Stage
    why: str = ""


class OperationBusyError(Exception):
    """Nothing was handed in: the wallet is busy, or nothing is taken now; the text says why."""


class OperationUnknownError(Exception):
    """It may have been handed in or not, or how far it is can't be said now."""


class OperationPort(Protocol):
    """Who carries operations out (a relayer, or the wallet itself)."""

    async def prepare(self, request: OperationRequest) -> str:
        """A name under which this operation can happen once at most; nothing is begun.

        Raises `OperationBusyError`, `OperationUnknownError`.
        """

    async def submit(self, request: OperationRequest, name: str) -> str:
        """Hand it in; returns what the venue calls it. Raises as `prepare`."""

    async def stage(self, request: OperationRequest | None, name: str, venue_id: str) -> Progress:
        """How far it is; `venue_id` "": not known. Raises `OperationUnknownError`.

        `request` None: what it was is not known any more but by its name.
        """

    async def close(self) -> None:
        """Give back the sockets."""


class OperationDesk:
    """Carries out the engine's commands about the wallet's tokens.

    Attributes:
        done: operations that were confirmed.
        failed: operations that surely had no effect.
        unsure: operations of which the answer was lost, and which were asked for by their name.
    """

    def __init__(
        self,
        port: OperationPort,
        rest: PolymarketRest,
        lives: Lives,
        holdings: Holdings,
        clock: Clock,
        terms: MergeTerms,
        *,
        tell: Callable[..., None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.done = self.failed = self.unsure = 0
        self.terms = terms
        self._port = port
        self._rest = rest
        self._lives = lives
        self._holdings = holdings
        self._clock = clock
        self._tell = tell
        self._spawn = spawn
        self._prepared: dict[str, OperationRequest] = {}
        self._following: dict[str, None] = {}

    async def close(self) -> None:
        """Give back the port's sockets."""
        await self._port.close()

    def send(self, command: PrepareOperation | Operate | FollowOperation) -> None:
        """Begin with a command; what comes of it is told."""
        match command:
            case PrepareOperation():
                self._spawn(self._prepare(command))
            case Operate():
                self._spawn(self._operate(command))
            case FollowOperation():
                self._spawn(self._follow(command, command.venue_id))

    # --- before it leaves -------------------------------------------------------------------------

    async def _prepare(self, command: PrepareOperation) -> None:
        if command.market not in self._lives.by_row:
            self._ended(command, why="the market is not followed")
            return
        try:
            request = await self._request(self._lives.of_row(command.market), command)
            if not request.size:
                self._ended(command, why=NOTHING)
                return
            name = await self._port.prepare(request)
        except (ReadFailedError, DataError, OperationBusyError, OperationUnknownError) as error:
            self._ended(command, why=str(error)[:200])
            return
        self._prepared[name] = request
        while len(self._prepared) > _KEPT:
            del self._prepared[next(iter(self._prepared))]
        self._tell(
            OperationPrepared(
                market=command.market, operation=command.operation, size=request.size, name=name
            )
        )

    async def _request(self, life: Life, command: PrepareOperation) -> OperationRequest:
        """What can be done of what is wanted, by the chain's own balances; of size 0: nothing."""
        yes = no = command.size // LOT * LOT
        if command.operation == "merge":
            yes = no = min(yes, await self._free_pairs(life))
        elif command.operation == "redeem":
            yes, no = await self._holdings.final(life.listing.market)
            value = self._lives.prices().get(life.listing.market, -1)
            if value < 0 or (yes * value + no * (MONEY_SCALE - value)) // MONEY_SCALE == 0:
                yes = no = 0
        return self._sized(life, command, yes, no)

    @staticmethod
    def _sized(
        life: Life, command: PrepareOperation | Operate | FollowOperation, yes: int, no: int
    ) -> OperationRequest:
        return OperationRequest(
            command.operation, life.listing.ticker, life.yes, life.no, life.neg_risk, yes, no
        )

    async def _free_pairs(self, life: Life) -> int:
        """Pairs on the chain that no resting sale offers, in whole hundredths; 0: too few to be worth it."""
        held = dict(zip((life.yes, life.no), await self._holdings.final(life.listing.market), strict=True))
        if min(held.values()) >= self.terms.threshold:
            for order in await self._rest.open_orders(life.condition):
                if order.side == "SELL" and order.asset_id in held:
                    size, matched = order.sizes()
                    held[order.asset_id] -= size - max(0, matched)
        free = max(0, min(held.values())) // LOT * LOT
        return free if free >= self.terms.threshold else 0

    # --- once it is journaled ---------------------------------------------------------------------

    async def _operate(self, command: Operate) -> None:
        request = self._prepared.pop(command.name, None)
        if request is None:  # of an earlier process, which may have handed it in
            await self._follow(command, "")
            return
        try:
            venue_id = await self._port.submit(request, command.name)
        except OperationBusyError as error:
            self.failed += 1
            self._ended(command, name=command.name, why=str(error)[:200])
            return
        except OperationUnknownError:
            self.unsure += 1
            venue_id = ""
        if venue_id:
            self._tell(OperationTaken(market=command.market, name=command.name, venue_id=venue_id))
        await self._follow(command, venue_id, request)

    def _rebuilt(self, command: Operate | FollowOperation) -> OperationRequest | None:
        """What an operation was, as far as the journal says; of a redemption it does not say the parts."""
        if command.operation == "redeem" or command.market not in self._lives.by_row:
            return None
        return self._sized(self._lives.of_row(command.market), command, command.size, command.size)

    async def _follow(
        self, command: Operate | FollowOperation, venue_id: str, request: OperationRequest | None = None
    ) -> None:
        """Wait until it is confirmed or failed, however long that takes."""
        if command.name in self._following:
            return
        self._following[command.name] = None
        request = request or self._rebuilt(command)
        while True:
            await self._clock.sleep(POLL_NS)
            try:
                progress = await self._port.stage(request, command.name, venue_id)
            except OperationUnknownError:
                continue
            if progress.stage is not Stage.PENDING:
                break
        del self._following[command.name]
        if progress.stage is Stage.FAILED:
            self.failed += 1
            self._ended(command, name=command.name, why=progress.why[:200])
            return
        self.done += 1
        self._moved(command)
        self._ended(command, name=command.name, done=True)

    def _moved(self, command: Operate | FollowOperation) -> None:
        """The chain has confirmed it: balances and the engine's inventory follow."""
        self._holdings.touch(command.market)
        if command.operation == "redeem":
            return  # the payout counted as cash since the market settled
        pairs = command.size if command.operation == "merge" else -command.size
        self._holdings.merged(command.market, pairs)
        self._tell(
            Merged(market=command.market, pairs=pairs, exch_ns=self._clock.now_ns(), merge_id=command.name)
        )

    def _ended(
        self,
        command: PrepareOperation | Operate | FollowOperation,
        *,
        name: str = "",
        done: bool = False,
        why: str = "",
    ) -> None:
        self._tell(
            OperationEnded(market=command.market, operation=command.operation, name=name, done=done, why=why)
        )
