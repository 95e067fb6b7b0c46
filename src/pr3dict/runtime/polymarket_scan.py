"""Polymarket's markets as they are scanned: their listing, fees and rewards, and what they do for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pr3dict.domain.units import NS_PER_HOUR
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.polymarket_access import PolymarketAccess
from pr3dict.runtime.polymarket_follow import PolymarketWatcher
from pr3dict.runtime.polymarket_markets import find_markets
from pr3dict.runtime.tapeset import fee_name
from pr3dict.runtime.venue_scan import SESSION, Incentive, Offer, Offers, Terms, Watched, follow
from pr3dict.runtime.venue_selection import Selection
from pr3dict.venues.polymarket.markets import Life
from pr3dict.venues.polymarket.models import GammaMarket, GammaReward
from pr3dict.venues.session import Clock

NS_PER_DAY: Final = 24 * NS_PER_HOUR


class PolymarketScan:
    """Polymarket as it is scanned (see `ScanVenue`); nothing of it needs an account."""

    def __init__(self, access: PolymarketAccess, clock: Clock) -> None:
        self._watcher = PolymarketWatcher(access, clock)

    async def offers(self, selection: Selection) -> Offers:
        """What is listed, by the catalogue's word alone; raises `ReadFailedError` or `DataError`."""
        found = await find_markets(self._watcher.rest, selection, ask_orders=False)
        now_ns = self._watcher.clock.now_ns()
        offers = (_offer(life, found.bodies[life.listing.ticker], now_ns) for life in found.lives)
        return Offers(tuple(offers), found.left_out)

    async def watch(self, lives: Sequence[Life], watch_s: float) -> Watched:
        """What the markets do for a while; raises `WorkError` where the stream did not come up."""
        return await follow(self._watcher, self._watcher.clock, lives, watch_s)

    async def close(self) -> None:
        """Give back the sockets."""
        await self._watcher.close()


def _offer(life: Life, market: GammaMarket, now_ns: int) -> Offer:
    """Its touch is the catalogue's, which is cached: good enough to sort markets by."""
    volume = None if market.volume24hr is None else int(market.volume24hr)
    bid, ask = market.best_bid, market.best_ask
    return Offer(
        life,
        market.slug or life.listing.ticker,
        None if bid is None else int(bid),
        None if ask is None else int(ask),
        volume == 0 and bool(market.volume_num),  # one that never traded may be new
        volume or 0,
        Terms(
            fee=fee_name(meta_of(life.listing, SESSION, synthetic=False), direct_member=False),
            maker_ppm=life.listing.maker_ppm,
            fee_moves=(),
            incentives=_rewards(market, now_ns),
            volume_24h=None,
            dollars_24h=volume,
        ),
    )


def _rewards(market: GammaMarket, now_ns: int) -> tuple[Incentive, ...]:
    """Liquidity rewards that run now; they are paid by the day (UTC), to what is in the band."""
    day_ns = now_ns - now_ns % NS_PER_DAY
    return tuple(
        Incentive(
            kind="liquidity",
            reward_micros=int(one.rewardsDailyRate),
            start_ns=day_ns,
            end_ns=day_ns + NS_PER_DAY,
            target=None if market.rewards_min_size is None else int(market.rewards_min_size),
            max_spread=None if market.rewards_max_spread is None else int(market.rewards_max_spread),
        )
        for one in market.clob_rewards or ()
        if one.rewardsDailyRate and _runs(one, now_ns)
    )


def _runs(reward: GammaReward, now_ns: int) -> bool:
    start, end = reward.startDate, reward.endDate
    return (start is None or int(start) <= now_ns) and (end is None or now_ns < int(end))
