"""What a market pays for resting quotes, as its body says it: told once, and again when it changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pr3dict.domain.events import RewardsChanged
from pr3dict.domain.rewards import RewardTerms
from pr3dict.venues.polymarket.markets import Lives, life_of, listed
from pr3dict.venues.polymarket.models import GammaMarket
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.reward_terms import reward_terms

NOW_NS = 1_795_400_000_000_000_000  # 2026-11-23
BODY: dict[str, Any] = {
    "id": "540817", "conditionId": "0x" + "ab" * 32, "slug": "will-x", "question": "Will X?", "version": "v1",
    "active": True, "closed": False, "acceptingOrders": True, "enableOrderBook": True,
    "clobTokenIds": '["71","52"]', "endDate": "2026-12-31T12:00:00Z", "orderPriceMinTickSize": 0.01,
    "orderMinSize": 5, "negRisk": False, "feesEnabled": False, "rewardsMinSize": 20, "rewardsMaxSpread": 4.5,
    "clobRewards": [{"rewardsDailyRate": 12, "startDate": "2026-11-01", "endDate": "2500-12-31"}],
}  # fmt: skip
TERMS = RewardTerms(spread=450, min_size=20_000_000, day_micros=12_000_000)


def gamma(**more: Any) -> GammaMarket:
    found: GammaMarket = reader_of(GammaMarket)(msgspec.json.encode({**BODY, **more}))
    return found


def programme(rate: float, start: str, end: str) -> dict[str, Any]:
    return {"rewardsDailyRate": rate, "startDate": start, "endDate": end}


def test_programmes_that_run_now_add_up() -> None:
    assert reward_terms(gamma(), NOW_NS) == TERMS
    both = [programme(12, "2026-11-01", "2500-12-31"), programme(0.5, "2026-11-20", "2026-11-24")]
    over = programme(100, "2026-10-01", "2026-11-01")
    found = reward_terms(gamma(clobRewards=[*both, over]), NOW_NS)
    assert found == msgspec.structs.replace(TERMS, day_micros=12_500_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"clobRewards": None},
        {"clobRewards": []},
        {"clobRewards": [programme(12, "2026-12-01", "2500-12-31")]},
        {"rewardsMaxSpread": 0},
        {"rewardsMaxSpread": None},
    ],
)
def test_what_pays_nothing_now_has_no_terms(changes: dict[str, Any]) -> None:
    assert reward_terms(gamma(**changes), NOW_NS) is None


def test_terms_are_told_once_and_again_when_they_change() -> None:
    known = Lives([life_of(listed(gamma(), row=0), gamma())])

    def told(**changes: Any) -> tuple[object, ...]:
        return known.reread(gamma(**changes), NOW_NS)[1]

    assert told() == (RewardsChanged(market=0, rewards=TERMS),)
    assert told() == ()
    smaller = RewardTerms(spread=350, min_size=50_000_000, day_micros=12_000_000)
    assert told(rewardsMaxSpread=3.5, rewardsMinSize=50) == (RewardsChanged(market=0, rewards=smaller),)
    assert told(clobRewards=None) == (RewardsChanged(market=0, rewards=None),)
    assert told(clobRewards=None) == ()
    again = Lives([life_of(listed(gamma(), row=0), gamma())])  # another process, after the rewards ended
    ended = (RewardsChanged(market=0, rewards=None),)
    assert again.reread(gamma(clobRewards=None), NOW_NS)[1] == ended
    assert again.reread(gamma(clobRewards=None), NOW_NS)[1] == ()
    known.reread(gamma(closed=True, outcomePrices='["1","0"]'), NOW_NS)
    assert not any(isinstance(x, RewardsChanged) for x in told())  # it is over
