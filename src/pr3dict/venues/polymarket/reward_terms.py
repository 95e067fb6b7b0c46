"""What a market pays for resting quotes, from Gamma's body: read again each minute, as it changes live."""

from __future__ import annotations

from pr3dict.domain.events import Listed, RewardsChanged
from pr3dict.domain.rewards import RewardTerms
from pr3dict.venues.polymarket.models import GammaMarket, GammaReward
from pr3dict.venues.polymarket.numbers import UNKNOWN

FOR_EVER = 2**62


def reward_terms(market: GammaMarket, now_ns: int) -> RewardTerms | None:
    """The terms in force; None where the market states no spread, no pool, or none that runs now."""
    spread, least = market.rewards_max_spread, market.rewards_min_size
    day = sum(int(one.rewardsDailyRate) for one in market.clob_rewards or () if _runs(one, now_ns))
    if not spread or not day:
        return None
    return RewardTerms(spread=int(spread), min_size=0 if least is None else int(least), day_micros=day)


def _runs(one: GammaReward, now_ns: int) -> bool:
    start, end = one.startDate, one.endDate
    begun = start is None or start == UNKNOWN or int(start) <= now_ns
    return begun and now_ns < (FOR_EVER if end is None or end == UNKNOWN else int(end))


def reward_news(
    told: dict[int, RewardTerms | None], listing: Listed, market: GammaMarket, now_ns: int
) -> tuple[RewardsChanged, ...]:
    """The terms of a market's body unless they were `told` (by row), where they are noted.

    The first time they are told in any case: what an earlier process heard may be over.
    """
    terms = reward_terms(market, now_ns)
    row = listing.market
    if row in told and told[row] == terms:
        return ()
    told[row] = terms
    return (RewardsChanged(market=row, rewards=terms),)
