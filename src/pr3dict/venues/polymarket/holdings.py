"""What the wallet holds, from its balances on the chain and what is on its way there.

At which step of a trade a balance moves is not for us to know: between the match and the confirmation it
may have moved or not. So what a balance was when nothing was on its way, and what was confirmed since, say
what it must be; where it is more or less by no more than what is on its way, that is why.

There is no list of balances: each token is asked for by itself. So only markets in which something of ours
moved are asked for at each read, the others now and then, for what somebody else did to the wallet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.rest import AssetType, PolymarketRest
from pr3dict.venues.polymarket.settling import Moved, Settling
from pr3dict.venues.polymarket.sign import is_position_id, parse_token_id
from pr3dict.venues.session import Clock

SWEEP_NS: Final = 600 * NS_PER_SECOND  # between two looks at markets in which nothing of ours moved
TOGETHER: Final = 8  # balances asked for at a time


class Count:
    """One balance, with what it was when nothing was on its way, and what had been confirmed by then."""

    __slots__ = ("base", "confirmed")

    def __init__(self) -> None:
        self.base: int | None = None
        self.confirmed = 0

    def counted(self, balance: int, confirmed: int, pending: Sequence[int], off_chain: int) -> int:
        """The balance with all that is on its way.

        `confirmed`: all that was ever confirmed; `off_chain`: what of `pending` was not seen on the chain
        yet, which decides where nothing else explains the balance.
        """
        if not pending:
            self.base, self.confirmed = balance, confirmed
        if self.base is None or not pending:
            return balance + off_chain
        expected = self.base + confirmed - self.confirmed
        least, most = (sum(p for p in pending if p < 0), sum(p for p in pending if p > 0))
        if least <= balance - expected <= most:
            return expected + sum(pending)
        return balance + off_chain


class Holdings:
    """Balances of tokens and dollars; mutable, owned by the adapter."""

    def __init__(self, rest: PolymarketRest, lives: Lives, settling: Settling, clock: Clock) -> None:
        self._rest = rest
        self._lives = lives
        self._settling = settling
        self._clock = clock
        self._held: dict[int, tuple[int, int]] = {}  # rows to (YES, NO) on the chain
        self._moved: dict[int, None] = {}  # rows where something of ours moved since they were asked for
        self._swept_ns = -SWEEP_NS
        self._counts: dict[tuple[int, bool], Count] = {}  # by row and whether it is NO
        self._cash = Count()

    def merged(self, market: int, pairs: int) -> None:
        """Pairs of a market became cash (a negative number: cash became pairs)."""
        self.touch(market)
        for is_no in (False, True):
            count = self._counts.get((market, is_no))
            if count is not None and count.base is not None:
                count.base -= pairs
        if self._cash.base is not None:
            self._cash.base += pairs

    def touch(self, market: int) -> None:
        """Something of ours moved in a market."""
        self._moved[market] = None

    async def positions(self) -> dict[int, tuple[int, int]]:
        """(YES, NO) of each market that pays later, fills counted from the match on; micro-contracts.

        Raises:
            ReadFailedError: a balance can't be asked for.
            DataError: it can't be read.
        """
        await self._refresh()
        paid = self._lives.prices()
        off_chain = self._off_chain()
        found = {}
        for row, (yes, no) in self._held.items():
            if row in paid:
                continue
            done = self._settling.confirmed.get(row, Moved())
            left, pending = off_chain.get(row, Moved()), self._settling.pending(row)
            found[row] = (
                self._count(row, is_no=False).counted(
                    yes, done.yes_contracts, [m.yes_contracts for m in pending], left.yes_contracts
                ),
                self._count(row, is_no=True).counted(
                    no, done.no_contracts, [m.no_contracts for m in pending], left.no_contracts
                ),
            )
        return found

    def _count(self, row: int, *, is_no: bool) -> Count:
        return self._counts.setdefault((row, is_no), Count())

    async def cash_micros(self) -> int:
        """Dollars, what resting orders lock included, what was won and not redeemed too.

        Raises as `positions`.
        """
        await self._refresh()
        await self._rest.refresh_balance()
        balance = await self._rest.balance()
        cash = int(balance.balance)
        for row, value in self._lives.prices().items():
            yes, no = self._held.get(row, (0, 0))
            cash += (yes * value + no * (MONEY_SCALE - value)) // MONEY_SCALE
        done = sum(moved.cash_micros for moved in self._settling.confirmed.values())
        off_chain = sum(moved.cash_micros for moved in self._off_chain().values())
        pending = [moved.cash_micros for moved in self._settling.pending()]
        return self._cash.counted(cash, done, pending, off_chain)

    async def final(self, market: int) -> tuple[int, int]:
        """(YES, NO) of a market on the chain and final; what may still be voided is no part of them.

        Raises as `positions`.
        """
        self.touch(market)
        await self._refresh()
        yes, no = self._held.get(market, (0, 0))
        for moved in self._settling.pending(market):
            yes -= abs(moved.yes_contracts)  # what is sold may not have left yet
            no -= abs(moved.no_contracts)
        return max(0, yes), max(0, no)

    def _off_chain(self) -> dict[int, Moved]:
        """What fills that no balance shows yet have moved, by market."""
        found: dict[int, Moved] = {}
        for fill in self._settling.off_chain():
            found.setdefault(fill.market, Moved()).add(fill)
        return found

    async def _refresh(self) -> None:
        now_ns = self._clock.now_ns()
        lives = self._lives.known()
        if now_ns - self._swept_ns < SWEEP_NS:
            held = {row for row, pair in self._held.items() if any(pair)}
            unseen = {life.listing.market for life in lives} - self._held.keys()
            due = held | unseen | self._moved.keys() | self._settling.markets()
            lives = [life for life in lives if life.listing.market in due]
        else:
            self._swept_ns = now_ns
        moved, self._moved = self._moved, {}
        try:
            for start in range(0, len(lives), TOGETHER):
                part = lives[start : start + TOGETHER]
                found = await asyncio.gather(*(self._balances(life, moved) for life in part))
                self._held.update(dict(found))
        except BaseException:
            self._moved = {**moved, **self._moved}
            self._swept_ns = -SWEEP_NS
            raise

    async def _balances(self, life: Life, moved: dict[int, None]) -> tuple[int, tuple[int, int]]:
        row = life.listing.market
        pair = []
        for token in (life.yes, life.no):
            kind = asset_type(token)
            if row in moved:
                await self._rest.refresh_balance(kind, token)
            pair.append(int((await self._rest.balance(kind, token)).balance))
        return row, (pair[0], pair[1])


def asset_type(token: str) -> AssetType:
    """What the balance of a token is asked for as."""
    return "CONDITIONAL-V2" if is_position_id(parse_token_id(token)) else "CONDITIONAL"
