"""Liquidity rewards and maker rebates: samples once a minute, payments at midnight UTC."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from standins.polymarket.ledger import HOUSE
from standins.polymarket.state import CROWD, Leg, MarketState, Order, rebate_percent
from standins.polymarket.values import BID, DOLLAR, MICRO, PUSD, SECOND, Json, day_of, decimal_text

if TYPE_CHECKING:
    from standins.polymarket.matching import Matching

SAMPLE_S: Final = 60
SAMPLES_A_DAY: Final = 1_440
LEAST_PAID_MICROS: Final = 1_000_000
ONE_SIDED: Final = 3.0  # what one side alone is divided by
BAND: Final = (1_000, 9_000)  # outside of it both sides are needed


def score(max_spread_cents: float, distance: int) -> float:
    """An order's weight a share: quadratic in its distance (1/10,000 dollar) from the adjusted midpoint."""
    cents = distance / 100
    if cents >= max_spread_cents:
        return 0.0
    return ((max_spread_cents - cents) / max_spread_cents) ** 2


def two_sided(first: float, second: float, mid: float) -> float:
    """What both sides' scores count together."""
    least, most = min(first, second), max(first, second)
    return max(least, most / ONE_SIDED) if BAND[0] <= mid <= BAND[1] else least


class Rewards:
    """Earnings by day, market and wallet, in micro-dollars."""

    def __init__(self, venue: Matching) -> None:
        self.venue = venue
        self.earned: dict[tuple[str, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.paid: list[Json] = []
        self.samples = 0

    def midpoint(self, market: MarketState) -> float:
        """The midpoint of levels that are large enough to count; 0 without two sides."""
        least = market.rewards_min_size * MICRO
        bids, asks = market.book.totals
        bid = max((price for price, size in bids.items() if size >= least), default=0)
        ask = min((price for price, size in asks.items() if size >= least), default=0)
        return (bid + ask) / 2 if bid and ask else 0.0

    def scores(self, order: Order) -> bool:
        """Whether an order earns now."""
        market, mid = order.market, self.midpoint(order.market)
        if not mid or market.status != "active" or order.left < market.rewards_min_size * MICRO:
            return False
        return score(market.spec.rewards_max_spread_cents, round(abs(order.yes_price - mid))) > 0

    def weights(self, market: MarketState) -> dict[str, float]:
        """What each wallet's orders count now, everybody else's as one."""
        mid, spread = self.midpoint(market), market.spec.rewards_max_spread_cents
        sides: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        if not mid:
            return {}
        least = market.rewards_min_size * MICRO
        for resting in market.book.orders():
            if resting.left >= least:
                wallet = resting.order.account.wallet if resting.order else CROWD
                weight = score(spread, round(abs(resting.price - mid))) * resting.left / MICRO
                sides[wallet][0 if resting.side == BID else 1] += weight
        return {wallet: two_sided(first, second, mid) for wallet, (first, second) in sides.items()}

    def sample(self) -> None:
        """One sample of all markets, and the next in a minute."""
        self.samples += 1
        day = day_of(self.venue.now_ns)
        for market in self.venue.markets:
            pool = market.spec.rewards_daily * MICRO / SAMPLES_A_DAY
            if market.status != "active" or not pool:
                continue
            weights = self.weights(market)
            total = sum(weights.values())
            for wallet, weight in weights.items():
                if weight and wallet != CROWD:
                    self.earned[day, market.place][wallet] += pool * weight / total
        self.venue.after(SAMPLE_S, self.sample)

    def midnight(self) -> None:
        """Pay what yesterday earned, and come again in a day."""
        yesterday = day_of(self.venue.now_ns - SECOND)
        owed: dict[tuple[str, str], int] = defaultdict(int)
        for market in self.venue.markets:
            for wallet, micros in self.earned[yesterday, market.place].items():
                owed["reward", wallet] += round(micros)
            for wallet, micros in self.rebates(yesterday, market).items():
                owed["rebate", wallet] += micros
        for (kind, wallet), micros in owed.items():
            if micros >= LEAST_PAID_MICROS:
                legs = [Leg(HOUSE, PUSD, -micros), Leg(wallet, PUSD, micros)]
                self.venue.ledger.apply(self.venue.now_ns, legs)
                self.paid.append(
                    {"kind": kind, "wallet": wallet, "amount": decimal_text(micros), "day": yesterday}
                )
        self.venue.after(86_400, self.midnight)

    def rebates(self, day: str, market: MarketState) -> dict[str, int]:
        """What a day's taker fees of a market give back to its makers."""
        fees = self.venue.maker_fees[day, market.place]
        total, pool = sum(fees.values()), market.fees_micros.get(day, 0) * rebate_percent(market) // 100
        return {w: pool * fee // total for w, fee in fees.items() if total and fee and w != CROWD}

    # --- answers ----------------------------------------------------------------------------------

    def rebates_json(self, day: str, wallet: str) -> list[Json]:
        """`/rebates/current`."""
        found = []
        for market in self.venue.markets:
            micros = self.rebates(day, market).get(wallet, 0)
            if micros:
                found.append(
                    {
                        "date": day, "condition_id": market.spec.condition,
                        "asset_address": "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB",
                        "maker_address": wallet, "rebated_fees_usdc": decimal_text(micros),
                    }
                )  # fmt: skip
        return found

    def earnings_json(self, day: str, wallet: str) -> list[Json]:
        """`/rewards/user`."""
        return [
            {
                "date": f"{day}T00:00:00Z", "condition_id": market.spec.condition,
                "asset_address": "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB", "maker_address": wallet,
                "earnings": round(micros) / MICRO, "asset_rate": 1,
            }
            for market in self.venue.markets
            if (micros := self.earned[day, market.place].get(wallet, 0.0))
        ]  # fmt: skip

    def percentages(self, wallet: str) -> Json:
        """`/rewards/user/percentages`."""
        found = {}
        for market in self.venue.markets:
            weights = self.weights(market)
            if weights.get(wallet):
                found[market.spec.condition] = 100 * weights[wallet] / sum(weights.values())
        return found

    def market_json(self, market: MarketState) -> Json:
        """An entry of `/rewards/markets/current`."""
        spec = market.spec
        return {
            "condition_id": spec.condition, "rewards_max_spread": spec.rewards_max_spread_cents,
            "rewards_min_size": market.rewards_min_size, "native_daily_rate": spec.rewards_daily,
            "sponsored_daily_rate": 0, "total_daily_rate": spec.rewards_daily, "sponsors_count": 0,
            "rewards_config": [
                {
                    "id": market.place + 1, "asset_address": "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB",
                    "start_date": "2026-11-01", "end_date": "2500-12-31", "rate_per_day": spec.rewards_daily,
                    "total_rewards": 0,
                }
            ],
        }  # fmt: skip

    def detail_json(self, market: MarketState) -> Json:
        """An entry of `/rewards/markets/{condition}`."""
        spec, mid = market.spec, round(self.midpoint(market)) or DOLLAR // 2
        tokens = [
            {"token_id": asset, "outcome": name, "price": price / DOLLAR}
            for asset, name, price in zip(spec.tokens, spec.outcomes, (mid, DOLLAR - mid), strict=True)
        ]
        competing = sum(self.weights(market).values())
        return self.market_json(market) | {
            "question": spec.question, "market_slug": spec.slug, "event_slug": spec.event,
            "market_competitiveness": competing, "tokens": tokens,
        }  # fmt: skip
