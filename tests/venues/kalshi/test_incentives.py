"""Reward periods from the venue's own words."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from pr3dict.venues.kalshi.incentives import incentive_terms
from pr3dict.venues.kalshi.models import IncentivePrograms
from pr3dict.venues.kalshi.rest import READERS

PERIOD = {
    "id": "p1", "market_id": "m1", "market_ticker": "KXA-1", "incentive_type": "liquidity",
    "incentive_description": "", "start_date": "2026-05-14T00:00:00Z", "end_date": "2026-05-15T00:00:00.5Z",
    "period_reward": 1_234_500, "paid_out": False, "discount_factor_bps": 5000, "target_size_fp": "1000.00",
}  # fmt: skip


def terms_of(**changes):
    body = json.dumps({"incentive_programs": [{**PERIOD, **changes}], "next_cursor": ""}).encode()
    (program,) = READERS[IncentivePrograms](body).incentive_programs
    return incentive_terms(program)


def test_a_period_is_read_to_the_last_digit():
    terms = terms_of()
    assert terms is not None
    assert (terms.ticker, terms.target_size) == ("KXA-1", 1000)
    assert terms.discount_factor == Decimal("0.5")
    assert terms.reward == Decimal("123.45")  # stated in 1/10,000 dollar
    assert terms.start_ns == 1_778_716_800_000_000_000
    assert terms.end_ns - terms.start_ns == 86_400_500_000_000


@pytest.mark.parametrize(
    "changes", [{"incentive_type": "volume"}, {"target_size_fp": None}, {"discount_factor_bps": None}]
)
def test_what_can_not_be_scored_is_no_period(changes):
    assert terms_of(**changes) is None
