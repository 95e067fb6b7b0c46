"""A market's fee moves while it is traded: the catalogue shows it, the order API says what it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec

from pr3dict.domain.events import FeesChanged


def change(server, place: int, category: str) -> None:
    market = server.venue.markets[place]
    market.spec = replace(market.spec, category=category)


def test_another_fee_is_told_once_and_charged_from_then_on(trading_of):
    async def body():
        async with trading_of.trading() as t:
            assert not t.ear.of(FeesChanged)
            change(t.server, 0, "crypto")
            for _ in range(2):
                assert await t.wire._reread(t.wire.lives.watched)
            assert t.ear.of(FeesChanged) == [FeesChanged(market=0, taker_ppm=70_000, maker_ppm=0)]
            assert t.wire.lives.of_row(0).fees.taker_ppm == 70_000
            change(t.server, 0, "geopolitics")
            assert await t.wire._reread(t.wire.lives.watched)
            assert t.ear.of(FeesChanged)[1:] == [FeesChanged(market=0, taker_ppm=0, maker_ppm=0)]

    asyncio.run(body())


def test_a_fee_that_moved_while_nobody_ran_is_told_at_the_start(trading_of):
    """The engine knows the rates of the journal's listing."""

    async def body():
        async with trading_of.trading() as t:
            life = t.wire.lives.of_row(0)
            listing = msgspec.structs.replace(life.listing, taker_ppm=12_345)
            t.wire.lives.add([msgspec.structs.replace(life, listing=listing)])
            assert await t.wire._reread(t.wire.lives.watched)
            rate = life.listing.taker_ppm
            assert rate and t.ear.of(FeesChanged) == [FeesChanged(market=0, taker_ppm=rate, maker_ppm=0)]

    asyncio.run(body())
