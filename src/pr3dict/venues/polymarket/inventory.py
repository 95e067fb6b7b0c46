"""Pairs of YES and NO back to cash: one merge at a time, told only once the chain has confirmed it.

What is merged are pairs that are final on the chain, and that no resting sale of ours offers. A merge whose
end is not known is asked for until it is; no other one begins before that, so none is done twice.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Merged
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.polymarket.amounts import LOT
from pr3dict.venues.polymarket.holdings import Holdings
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.session import Clock

LOOK_NS: Final = 15 * NS_PER_SECOND
POLL_NS: Final = 2 * NS_PER_SECOND
BUSY_NS: Final = 10 * NS_PER_SECOND  # the wallet has another action under way


class MergeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """When pairs are merged; micro-contracts."""

    threshold: int  # so many pairs of a market are worth a merge


class Stage(enum.Enum):
    """How far a merge is."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    FAILED = "failed"  # surely without effect


class MergeRequest(NamedTuple):
    """Turn `pairs` micro-contracts of both tokens of a market into as many micros."""

    condition: str  # as the catalogue names it
    yes: str
    no: str
    neg_risk: bool
    pairs: int


class MergeBusyError(Exception):
    """Nothing was submitted: the wallet is busy, or the relayer does not take anything now."""


class MergeUnknownError(Exception):
    """It may have been submitted or not: the answer is lost."""


class MergePort(Protocol):
    """Who carries merges out (a relayer, or the wallet itself)."""

    async def submit(self, request: MergeRequest) -> str:
        """Hand a merge in; returns its id. Raises `MergeBusyError`, `MergeUnknownError`."""

    async def stage(self, merge_id: str) -> Stage:
        """How far it is. Raises `MergeUnknownError` where that can't be said now."""


class Merger:
    """Merges for ever.

    Attributes:
        done: merges that were confirmed.
        failed: merges that surely had no effect.
        unsure: merges of which the answer was lost: positions say what became of them.
    """

    def __init__(
        self,
        port: MergePort,
        rest: PolymarketRest,
        lives: Lives,
        holdings: Holdings,
        clock: Clock,
        terms: MergeTerms,
        tell: Callable[..., None],
    ) -> None:
        self.done = self.failed = self.unsure = 0
        self._port = port
        self._rest = rest
        self._lives = lives
        self._holdings = holdings
        self._clock = clock
        self._terms = terms
        self._tell = tell

    async def run(self) -> None:
        """Look at all markets now and then."""
        while True:
            await self._clock.sleep(LOOK_NS)
            for life in self._lives.all():
                if not life.over:
                    await self.look(life)

    async def look(self, life: Life) -> None:
        """Merge what a market has, where it is enough; returns when that is over."""
        try:
            pairs = await self._free_pairs(life)
        except (ReadFailedError, DataError):
            return  # the next look asks again
        if pairs < max(self._terms.threshold, LOT):
            return
        request = MergeRequest(life.listing.ticker, life.yes, life.no, life.neg_risk, pairs)
        try:
            merge_id = await self._port.submit(request)
        except MergeBusyError:
            await self._clock.sleep(BUSY_NS)
            return
        except MergeUnknownError:
            self.unsure += 1  # what it did shows in the balances, which the engine compares with its own
            await self._clock.sleep(BUSY_NS)
            return
        if await self._end(merge_id) is Stage.FAILED:
            self.failed += 1
            return
        self.done += 1
        self._holdings.merged(life.listing.market, pairs)
        now_ns = self._clock.now_ns()
        self._tell(Merged(market=life.listing.market, pairs=pairs, exch_ns=now_ns, merge_id=merge_id))

    async def _end(self, merge_id: str) -> Stage:
        """Wait until it is confirmed or failed, however long that takes."""
        while True:
            await self._clock.sleep(POLL_NS)
            try:
                stage = await self._port.stage(merge_id)
            except MergeUnknownError:
                continue
            if stage is not Stage.PENDING:
                return stage

    async def _free_pairs(self, life: Life) -> int:
        """Pairs on the chain that no resting sale offers, in whole hundredths of a contract."""
        pairs = await self._holdings.pairs(life.listing.market)
        if pairs < self._terms.threshold:
            return 0
        offered = {life.yes: 0, life.no: 0}
        for order in await self._rest.open_orders(life.condition):
            if order.side == "SELL" and order.asset_id in offered:
                size, matched = order.sizes()
                offered[order.asset_id] += size - max(0, matched)
        return max(0, pairs - max(offered.values())) // LOT * LOT
