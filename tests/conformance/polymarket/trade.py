"""What the rows on trading share: our books beside a session, another trader, and what must agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conformance import books as shared
from conformance.polymarket.bench import CONTRACT, SECOND, Trading, until
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from standins.polymarket import PolymarketStandIn
from standins.polymarket.probe import Probe
from standins.polymarket.values import PUSD

OTHER_KEY = "0x" + "22" * 32


# Balances are told once trades were read: before that nobody knows what is on its way.
MONEY = (
    c.ReadFills(venue="polymarket", since_ns=0),
    c.ReadBalance(venue="polymarket"),
    c.ReadPositions(venue="polymarket"),
)


class Books(shared.Books):
    """Our books beside a session at the stand-in, begun with what the wallet has of cash."""

    def __init__(self, t: Trading, **terms: Any) -> None:
        self.t = t
        cash = t.server.venue.ledger.balances[t.server.account.wallet][PUSD]
        super().__init__(t.server, t.ear, t.wire, cash, **terms)

    def held(self, market: int = 0) -> tuple[int, int]:
        """(YES, NO) that we think we hold."""
        self.hear()
        position = self.account.position(market)
        return position.yes_contracts, position.no_contracts

    async def agree(self) -> None:
        """Cash and positions that the venue says are ours, to the last digit."""
        before = len(self.t.ear.of(e.BalanceRead)), len(self.t.ear.of(e.PositionsRead))
        self.t.wire.send(0, list(MONEY))
        cash = await self.t.ear.until(e.BalanceRead, before[0] + 1)
        read = await self.t.ear.until(e.PositionsRead, before[1] + 1)
        there = {p.market: (p.yes_contracts, p.no_contracts) for p in read.positions}
        ours = {row: held for row in range(len(self.t.lives)) if any(held := self.held(row))}
        assert (cash.cash_micros, there) == (self.account.cash_micros, ours)


@asynccontextmanager
async def other_trader(server: PolymarketStandIn, **split: str) -> AsyncIterator[Probe]:
    """Somebody else with money, and with pairs of the markets named (`plain_0="100"`)."""
    async with Probe(server, OTHER_KEY) as probe:
        for slug, shares in split.items():
            server.do("split", market=slug.replace("_", "-"), shares=shares, wallet=probe.owner)
        yield probe


async def filled(t: Trading, size: int, order_id: int = 1) -> list[Any]:
    """Our fills of an order, once they come to a size (micro-contracts)."""

    def found() -> list[Any]:
        return t.ear.of(e.Filled, order_id=order_id)

    await until(lambda: sum(f.size for f in found()) >= size, what=lambda: f"{size} in {t.ear.events[-9:]}")
    return found()


async def next_second(t: Trading) -> None:
    """Trades are told in whole seconds, and nothing that was bought is confirmed within the same one."""
    now_ns = t.clock.now_ns()
    await t.clock.sleep(SECOND - now_ns % SECOND)


async def stock(t: Trading, books: Books, contracts: int) -> None:
    """Buy as much of both tokens as others offer, and wait until that can be sold."""
    size = contracts * CONTRACT
    books.send(order(90, 5_200, size, tif=d.LIMIT), order(91, 4_800, size, tif=d.LIMIT, side=d.ASK))
    await filled(t, size, 90)
    await filled(t, size, 91)
    await final(t)
    await next_second(t)


def order(order_id: int, price: int, size: int, **changes: Any) -> c.Place:
    """A bid in the first market that rests, or whatever it is changed to."""
    given = {"market": 0, "side": d.BID, "sell": False, "tif": d.POST_ONLY, "expiry_ns": 0}
    return c.Place(order_id=order_id, price=price, size=size, **{**given, **changes})


async def final(t: Trading) -> None:
    """Wait until every fill that was told is final or void."""

    def told(kind: type) -> set[str]:
        return {event.trade_id for event in t.ear.of(kind)}

    sure = {f.trade_id for f in t.ear.of(e.Filled) if f.final}
    await until(lambda: told(e.Filled) <= sure | told(e.FillFinal) | told(e.FillVoided))


def lone(t: Trading, market: int = 0) -> None:
    """Nobody else in a market's book."""
    slug = t.server.venue.markets[market].spec.slug
    t.server.do("clear_book", market=slug)


async def batch(t: Trading, *changes: dict[str, Any], first: int = 1) -> None:
    """Send several orders at once."""
    places = []
    for number, change in enumerate(changes, first):
        given = {"market": 0, "side": d.BID, "price": 4_000, "size": 10 * CONTRACT, "tif": d.POST_ONLY}
        expiry_ns = t.clock.now_ns() + 300 * 10**9
        places.append(c.Place(**{"order_id": number, "expiry_ns": expiry_ns, **given, **change}))
    t.wire.send(t.clock.now_ns(), places)
