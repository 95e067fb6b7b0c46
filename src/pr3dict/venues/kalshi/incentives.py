"""Reward periods as Kalshi states them, as terms that own orders are scored by."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND, QTY_SCALE
from pr3dict.risk.programme import IncentiveTerms
from pr3dict.venues.kalshi.models import IncentiveProgram
from pr3dict.venues.kalshi.rest import KalshiRest

LIQUIDITY = "liquidity"
BPS = 10_000


async def find_incentives(rest: KalshiRest, tickers: Collection[str]) -> tuple[IncentiveTerms, ...]:
    """The liquidity periods of these markets that run now, by market and start.

    Raises:
        ReadFailedError: the venue gave no usable answer.
        DataError: a period contradicts itself, or can't be read.
    """
    found = [
        terms
        for program in await rest.incentive_programs(status="active", kind=LIQUIDITY)
        if program.market_ticker in tickers and (terms := incentive_terms(program)) is not None
    ]
    return tuple(sorted(found, key=lambda one: (one.ticker, one.start_ns)))


def incentive_terms(program: IncentiveProgram) -> IncentiveTerms | None:
    """The terms of one period; None where it is no liquidity period or states no target or discount.

    Raises:
        DataError: the period contradicts itself.
    """
    target, discount = program.target_size_fp, program.discount_factor_bps
    if program.incentive_type != LIQUIDITY or not target or discount is None:
        return None
    try:
        return IncentiveTerms(
            ticker=program.market_ticker,
            target_size=Decimal(target) / QTY_SCALE,
            discount_factor=Decimal(discount) / BPS,
            reward=Decimal(program.period_reward) / MONEY_SCALE,
            start=_iso(program.start_date),
            end=_iso(program.end_date),
        )
    except ConfigError as error:
        raise DataError(str(error), key=f"incentive programme {program.id}") from None


def _iso(at_ns: int) -> str:
    """To the microsecond, as the venue writes it."""
    whole, rest_ns = divmod(at_ns, NS_PER_SECOND)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest_ns // 1_000).isoformat()
