"""Reward terms that change are the brain's, the listing's and the next process'; they move quotes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from engine_cases import START, Desk, listing, snapshot

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.rewards import RewardTerms
from pr3dict.strategies.config import MarketMakingConfig

CONTRACT = 1_000_000
SECOND = 1_000_000_000
TERMS = RewardTerms(spread=450, min_size=20 * CONTRACT, day_micros=100 * 10**6)
OTHER = RewardTerms(spread=350, min_size=50 * CONTRACT, day_micros=10**6)
RESPECT = MarketMakingConfig(rewards="respect", base_spread="0.1")


@pytest.fixture
def desk():
    return Desk(listing(0, rewards=TERMS), listing(1), config=RESPECT)


def terms(engine):
    """What brain and listings say, market by market."""
    rows = engine.world.markets[: len(engine.listings)]
    brain = [
        None if not int(m[0]) else RewardTerms(spread=int(m[0]), min_size=int(m[1]), day_micros=int(m[2]))
        for m in rows[["reward_spread", "reward_min_size", "reward_day_micros"]].tolist()
    ]
    assert brain == [x.rewards for x in engine.listings]
    return brain


def placed(step):
    return {(x.side, x.price, x.size // CONTRACT) for x in step.commands if isinstance(x, c.Place)}


def test_another_process_knows_it_from_the_journal_and_from_a_snapshot(desk):
    assert terms(desk.engine) == [TERMS, None]
    desk.at(1, e.RewardsChanged(market=0, rewards=None), e.RewardsChanged(market=1, rewards=OTHER))
    assert terms(desk.engine) == [None, OTHER]
    folded, loaded = desk.new_engine(), desk.new_engine()
    for step in desk.steps:
        folded.fold(step)
    loaded.load(desk.engine.save())
    assert terms(folded) == terms(loaded) == [None, OTHER]
    desk.at(2, *(listing(m) for m in range(2, 6)))  # the world grows
    assert terms(desk.engine) == [None, OTHER, None, None, None, None]


def test_quotes_follow_the_terms_as_they_change(desk):
    books = [snapshot(START + SECOND, 4_500, 5_500, market) for market in (0, 1)]
    assert placed(desk.at(1, data=books[0])) == {(0, 4_600, 20), (1, 5_400, 20)}
    assert placed(desk.at(1.1, data=books[1])) == {(0, 4_500, 10), (1, 5_500, 10)}
    quote = desk.engine.world.quotes[1]
    assert quote.rewards == 0
    desk.at(2, e.RewardsChanged(market=1, rewards=TERMS))
    desk.at(2.1, data=snapshot(START + 2_100_000_000, 4_500, 5_500, 1))
    assert quote.rewards == 1
    assert quote.reward_bid_price == 4_600
    desk.at(3, e.RewardsChanged(market=1, rewards=None))
    desk.at(3.1, data=snapshot(START + 3_100_000_000, 4_500, 5_500, 1))
    assert (quote.rewards, quote.reward_bid_price) == (0, 0)
