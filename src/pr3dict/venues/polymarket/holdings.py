"""What the wallet holds, from its balances on the chain and what is on its way there.

There is no list of balances: each token is asked for by itself. So only markets in which something of ours
moved are asked for at each read, the others now and then, for what somebody else did to the wallet.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.rest import AssetType, PolymarketRest
from pr3dict.venues.polymarket.settling import Moved, Settling
from pr3dict.venues.polymarket.sign import is_position_id, parse_token_id
from pr3dict.venues.session import Clock

SWEEP_NS: Final = 600 * NS_PER_SECOND  # between two looks at markets in which nothing of ours moved
TOGETHER: Final = 8  # balances asked for at a time


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
        moved = self._off_chain()
        found = {}
        for row, (yes, no) in self._held.items():
            if row not in paid:
                more = moved.get(row, Moved())
                found[row] = (yes + more.yes_contracts, no + more.no_contracts)
        for row, more in moved.items():
            if row not in self._held and row not in paid:
                found[row] = (more.yes_contracts, more.no_contracts)
        return found

    async def cash_micros(self) -> int:
        """Dollars, what resting orders lock included, what was won and not redeemed too.

        Raises as `positions`.
        """
        await self._refresh()
        await self._rest.refresh_balance()
        balance = await self._rest.balance()
        cash = int(balance.balance) + sum(moved.cash_micros for moved in self._off_chain().values())
        for row, value in self._lives.prices().items():
            yes, no = self._held.get(row, (0, 0))
            cash += (yes * value + no * (MONEY_SCALE - value)) // MONEY_SCALE
        return cash

    async def pairs(self, market: int) -> int:
        """How many pairs of a market are on the chain and final; what may still be voided is no part of them.

        Raises as `positions`.
        """
        self.touch(market)
        await self._refresh()
        yes, no = self._held.get(market, (0, 0))
        pending = self._settling.pending(market)
        return max(0, min(yes - max(0, pending.yes_contracts), no - max(0, pending.no_contracts)))

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
            due = held | self._moved.keys() | {life.listing.market for life in lives} - self._held.keys()
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
