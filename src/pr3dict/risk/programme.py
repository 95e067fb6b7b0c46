"""The terms of a venue's programme: the `[programme]` table of the config file.

A market-maker agreement pays for two-sided quotes during a share of every clock hour; a liquidity incentive
pays for resting size by score. Kalshi lets a member have one of the two, so a config names one `income`.
The venue's own terms are private or change by period: none of them has a default here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, NamedTuple

from pr3dict.domain.errors import ConfigError
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, NS_PER_HOUR, NS_PER_SECOND, PPM_SCALE, PRICE_SCALE
from pr3dict.strategies.settings import (
    CONTRACTS,
    COUNT,
    DOLLARS,
    PRICE,
    SECONDS,
    SHARE,
    Rule,
    Settings,
    build_table,
    choice,
    number,
)

Spender = Literal["volume_pause", "wide_spread"]


class Band(NamedTuple):
    """Terms of own quotes whose mid is at most `up_to`: price units, micro-contracts a side."""

    up_to: int
    max_spread: int
    min_size: int


class Terms(NamedTuple):
    """Terms of one product; the first band that reaches the mid of our best bid and ask holds."""

    bands: tuple[Band, ...]

    def band(self, bid: int, ask: int) -> Band:
        """The band of a bid and an ask of ours, price units."""
        return next(band for band in self.bands if bid + ask <= 2 * band.up_to)


class PriceBand(Settings):
    """Other terms for quotes whose mid is at most `up_to`; 0 takes the product's own figure."""

    # fmt: off
    up_to: Decimal = number("1", PRICE, "Bands", "", "Highest mid of our quotes that it holds for.")
    max_spread: Decimal = number("0", PRICE, "Bands", "", "Widest spread that counts; 0: the product's.")
    min_size: Decimal = number("0", CONTRACTS, "Bands", "", "Least size a side; 0: the product's.")
    # fmt: on


class ProductTerms(Settings):
    """One product: its markets, and how many of them have to be quoted at a time."""

    # fmt: off
    name: str = choice("", "Products", "", "What reports call it.", "a name")
    series: tuple[str, ...] = choice(
        (), "Products", "", "Series whose markets belong to it: what stands before a ticker's first `-`.",
        "a list of series")
    tickers: tuple[str, ...] = choice((), "Products", "", "Markets that belong to it.", "a list of tickers")
    min_markets: int = number(
        "0", COUNT, "Products", "", "Markets that must be two-sided at a time; 0: all open ones.", low="0")
    max_spread: Decimal = number("0", PRICE, "Products", "", "Widest spread that counts; 0: the programme's.")
    min_size: Decimal = number("0", CONTRACTS, "Products", "", "Least size a side; 0: the programme's.")
    # fmt: on

    def rules(self) -> Iterable[Rule]:
        """A product has a name and markets."""
        yield Rule("name", bool(self.name.strip()), "a product has no name; give it one")
        what = f"product {self.name} names no market; list series or tickers"
        yield Rule("series", bool(self.series or self.tickers), what)

    def holds(self, ticker: str) -> bool:
        """Whether a market belongs to it."""
        return ticker in self.tickers or series_of(ticker) in self.series


class IncentiveTerms(Settings):
    """One reward period of one market, as `GET /incentive_programs` states it."""

    # fmt: off
    ticker: str = choice("", "Incentives", "", "The market.", "a ticker")
    target_size: Decimal = number("0", CONTRACTS, "Incentives", "", "Target size of each side.")
    discount_factor: Decimal = number(
        "0.5", SHARE, "Incentives", "", "Factor for each cent away from the best price.")
    reward: Decimal = number("0", DOLLARS, "Incentives", "", "Reward of the whole period.")
    start: str = choice("", "Incentives", "", "Start of the period.", "a time such as 2026-05-14T00:00:00Z")
    end: str = choice("", "Incentives", "", "End of the period.", "a time such as 2026-05-15T00:00:00Z")
    max_reward: Decimal = number("0", DOLLARS, "Incentives", "", "Most that an account is paid; 0: no limit.")
    # fmt: on

    def rules(self) -> Iterable[Rule]:
        """A period has a market, a target and an end after its start."""
        yield Rule("ticker", bool(self.ticker), "an incentive names no market; give its ticker")
        yield Rule("target_size", self.target_size > 0, "0 is no target; give the programme's target size")
        yield Rule("end", self.start_ns < self.end_ns, f"{self.end} is not after the start {self.start}")

    @cached_property
    def start_ns(self) -> int:
        """Start of the period, ns UTC."""
        return _moment_ns(self.start, "start")

    @cached_property
    def end_ns(self) -> int:
        """End of the period, ns UTC."""
        return _moment_ns(self.end, "end")


class MarketRewards(Settings):
    """What one market pays for resting quotes, for a backtest of tapes that do not state it."""

    # fmt: off
    ticker: str = choice("", "Rewards", "", "The market.", "a ticker")
    max_spread: Decimal = number(
        "0", PRICE, "Rewards", "", "Distance from the midpoint at which an order scores nothing.")
    min_size: Decimal = number("0", CONTRACTS, "Rewards", "", "Least size of an order that scores.")
    daily_rate: Decimal = number("0", DOLLARS, "Rewards", "", "What all makers share in a day.")
    # fmt: on

    def rules(self) -> Iterable[Rule]:
        """Rewards have a market, a spread and a pool."""
        yield Rule("ticker", bool(self.ticker), "rewards name no market; give its ticker")
        spread = self.integer("max_spread") // MICROS_PER_PRICE_UNIT
        what = f"{self.max_spread} is no spread of a market; give the programme's, inside (0, 1)"
        yield Rule("max_spread", 0 < spread < PRICE_SCALE, what)
        yield Rule("daily_rate", self.daily_rate > 0, "0 is no reward; give what a day pays")

    @property
    def terms(self) -> RewardTerms:
        """The terms as the program counts them."""
        return RewardTerms(
            spread=self.integer("max_spread") // MICROS_PER_PRICE_UNIT,
            min_size=self.integer("min_size"),
            day_micros=self.integer("daily_rate"),
        )


class ProgrammeConfig(Settings):
    """Terms of the agreement, and what its allowed absence may be spent on.

    Raises:
        ConfigError: terms are missing or contradict, or both incomes are asked for at once.
    """

    # fmt: off
    income: Literal["market_maker", "incentives"] = choice(
        "market_maker", "Programme", "",
        "Which income counts: members under a market-maker agreement get no liquidity incentives.",
        "market_maker, incentives")
    uptime: Decimal = number(
        "0.98", SHARE, "Programme", "", "Share of every clock hour that each product is quoted two-sided.")
    max_spread: Decimal = number(
        "0", PRICE, "Programme", "", "Widest spread between our bid and our ask that counts.")
    min_size: Decimal = number("0", CONTRACTS, "Programme", "", "Least size that counts, on each side.")
    hour_offset_minutes: int = number(
        "0", COUNT, "Programme", "", "Minutes after a full UTC hour at which the programme's hours begin.",
        low="0", high="59")
    min_monthly_volume: Decimal = number(
        "0", CONTRACTS, "Programme", "", "Own contracts traded in a calendar month (UTC); 0: none.",
        high="1000000000")
    min_monthly_markets: int = number(
        "0", COUNT, "Programme", "", "Markets quoted two-sided in a calendar month (UTC); 0: none.", low="0")
    may_spend: tuple[Spender, ...] = choice(
        ("volume_pause",), "Programme", "",
        "What yields once only the reserve is left of the hour's allowed absence; all else always wins.",
        "a list of volume_pause, wide_spread")
    reserve_seconds: Decimal = number(
        "12", SECONDS, "Programme", "", "Part of the hour's allowed absence that is kept for safety.",
        high="3600")
    bands: tuple[PriceBand, ...] = choice(
        (), "Programme", "", "`[[programme.bands]]`: other terms by price, ascending.", "tables")
    products: tuple[ProductTerms, ...] = choice(
        (), "Programme", "", "`[[programme.products]]`; none: each series is a product.", "tables")
    incentives: tuple[IncentiveTerms, ...] = choice(
        (), "Programme", "", "`[[programme.incentives]]`: reward periods to score own orders by.", "tables")
    rewards: tuple[MarketRewards, ...] = choice(
        (), "Programme", "",
        "`[[programme.rewards]]`: what resting quotes are paid in a backtest, before what tapes state.",
        "tables")
    # fmt: on

    def rules(self) -> Iterable[Rule]:
        """One income, with its terms whole."""
        ups = [band.up_to for band in self.bands]
        names = [product.name for product in self.products]
        yield Rule("bands", ups == sorted(set(ups)), "`up_to` of the bands must ascend; sort them")
        yield Rule("products", len(set(names)) == len(names), "two products have one name; rename one")
        if self.income == "incentives":
            what = "a market-maker agreement, whose terms these are, excludes incentives; remove one"
            yield Rule("products", not self.products, what)
            return
        what = 'a market-maker agreement excludes incentives; remove them or set income = "incentives"'
        yield Rule("incentives", not self.incentives, what)
        yield Rule("uptime", 0 < self.uptime < 1, f"{self.uptime} leaves nothing to keep or to spend")
        yield Rule("max_spread", self.max_spread > 0, "0 is no term; give the widest spread of the agreement")
        yield Rule("min_size", self.min_size > 0, "0 is no term; give the least size of the agreement")
        spare = (1 - self.uptime) * 3600
        what = f"{self.reserve_seconds} is not below the {spare:f} s of absence that an hour allows; lower it"
        yield Rule("reserve_seconds", self.reserve_seconds < spare, what)

    @property
    def is_duty(self) -> bool:
        """Whether uptime is owed."""
        return self.income == "market_maker"

    @property
    def reserve_ns(self) -> int:
        """Part of the allowed absence that only safety may use, in ns."""
        return self.integer("reserve_seconds")

    @property
    def hour_offset_ns(self) -> int:
        """Start of the programme's hours after a full UTC hour, in ns."""
        return self.hour_offset_minutes * 60 * NS_PER_SECOND

    def hour_start_ns(self, now_ns: int) -> int:
        """The start of the programme's clock hour that holds `now_ns`."""
        return now_ns - (now_ns - self.hour_offset_ns) % NS_PER_HOUR

    def allowance_ns(self, closed_ns: int = 0) -> int:
        """Absence that an hour allows of which the product was closed for `closed_ns`, in ns."""
        return (NS_PER_HOUR - closed_ns) * (PPM_SCALE - self.integer("uptime")) // PPM_SCALE

    def product_of(self, ticker: str) -> str:
        """The product of a market: the first that holds it, its series where none is configured; "": none."""
        if not self.products:
            return series_of(ticker)
        return next((product.name for product in self.products if product.holds(ticker)), "")

    def needed_of(self, product: str, open_markets: int) -> int:
        """Markets of a product that must be two-sided while `open_markets` of it are open."""
        least = next((one.min_markets for one in self.products if one.name == product), 0)
        return min(least, open_markets) if least else open_markets

    def terms_of(self, product: str) -> Terms:
        """The terms of a product by price band, the last one up to $1."""
        own = next((one for one in self.products if one.name == product), None)
        spread = _first_of(own.integer("max_spread") if own else 0, self.integer("max_spread"))
        size = _first_of(own.integer("min_size") if own else 0, self.integer("min_size"))
        bands = [
            Band(
                band.integer("up_to") // MICROS_PER_PRICE_UNIT,
                _first_of(band.integer("max_spread"), spread) // MICROS_PER_PRICE_UNIT,
                _first_of(band.integer("min_size"), size),
            )
            for band in self.bands
        ]
        return Terms((*bands, Band(10_000, spread // MICROS_PER_PRICE_UNIT, size)))


def series_of(ticker: str) -> str:
    """What stands before the first `-` of a ticker: its series at Kalshi."""
    return ticker.partition("-")[0]


def _first_of(own: int, general: int) -> int:
    return own or general


def _moment_ns(text: str, key: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(f"{text!r} is no time with a zone; write 2026-05-14T00:00:00Z", key=key)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * NS_PER_SECOND + moment.microsecond * 1_000


def build_programme(
    file_settings: Mapping[str, Any] | None = None,
    source: str = "config",
    single: Mapping[str, str] | None = None,
) -> ProgrammeConfig | None:
    """Put the `[programme]` settings together; None where there are none.

    Raises:
        ConfigError: a setting is wrong; the sentence names `source` or `--set`, and the key.
    """
    if file_settings is None and not single:
        return None
    return build_table(ProgrammeConfig, "programme", file_settings, source, single)
