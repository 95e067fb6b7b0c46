"""Polymarket's public bodies (books, markets, rewards, time, region), as they come over REST.

Fields that we do not use are left out: more of them never hurt. A field without a default must be there.
Words that Polymarket may add to (statuses, types) are plain text; what is not known is treated as such by who
reads it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.venues.polymarket.numbers import (
    AnyPrice,
    AnySize,
    CentsSpread,
    Count,
    Exact,
    Milliseconds,
    Moment,
    MomentOrEmpty,
    Money,
    Numbers,
    Price,
    Ratio,
    Rough,
    Size,
    Texts,
    Tick,
)

_CONDITION_DIGITS: Final = 64


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Root of all bodies."""


def clob_condition(text: str) -> str:
    """A condition id as the order API wants it: 32 bytes; the 31 bytes of Protocol V2 get a zero byte behind.

    Raises `DataError` for what is no condition id.
    """
    digits = text.removeprefix("0x")
    try:
        size = len(bytes.fromhex(digits)) if text != digits and digits.isalnum() else 0
    except ValueError:
        size = 0
    if size not in (31, 32):
        raise DataError(f"{text[:80]!r} is no condition id", key="condition_id")
    return "0x" + digits.lower().ljust(_CONDITION_DIGITS, "0")


# --- books ------------------------------------------------------------------------------------------


class Level(Body, frozen=True, kw_only=True):
    """A price of a book with everything that rests there."""

    price: Price
    size: Size


class Book(Body, frozen=True, kw_only=True):
    """`GET /book`, one token's side of the market: bids ascend, asks descend, but do not rely on it."""

    market: str
    asset_id: str
    timestamp: Milliseconds
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    hash: str | None = None
    min_order_size: Size | None = None
    tick_size: Tick | None = None
    neg_risk: bool | None = None
    version: str | None = None


_HASHED: Final = (
    "market", "asset_id", "timestamp", "hash", "bids", "asks", "min_order_size", "tick_size", "neg_risk",
    "last_trade_price",
)  # fmt: skip


def book_hash(raw: bytes) -> str:
    """The SHA-1 that a book's `hash` should be: of its compact JSON in fixed order, the hash itself empty.

    Raises `DataError` for what is no book of `GET /book`.
    """
    try:
        found: Any = msgspec.json.decode(raw)
        ordered: dict[str, Any] = {key: "" if key == "hash" else found[key] for key in _HASHED}
        for key in ("bids", "asks"):
            ordered[key] = [{"price": level["price"], "size": level["size"]} for level in ordered[key]]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise DataError(f"no whole book, {type(error).__name__}", key="hash") from None
    return hashlib.sha1(msgspec.json.encode(ordered), usedforsecurity=False).hexdigest()


# --- markets of the order API -----------------------------------------------------------------------


class MarketToken(Body, frozen=True, kw_only=True):
    """One outcome: token id and label."""

    t: str
    o: str = ""


class FeeDetails(Body, frozen=True, kw_only=True):
    """Taker fee: rate, exponent of p(1-p), whether takers alone pay."""

    r: Ratio
    e: Count
    to: bool = True


class ClobRewards(Body, frozen=True, kw_only=True):
    """Least size and widest spread (cents) that score."""

    mi: AnySize | None = None
    ma: CentsSpread | None = None


class ClobMarket(Body, frozen=True, kw_only=True):
    """`GET /clob-markets/{condition}`: what an order must respect. `fd` None: there is no fee."""

    c: str | None = None
    t: tuple[MarketToken, ...]
    mts: Tick
    mos: AnySize
    nr: bool = False
    fd: FeeDetails | None = None
    ao: bool | None = None  # accepting orders
    sd: Count | None = None  # seconds that marketable orders wait
    gst: MomentOrEmpty | None = None  # game start
    cbos: bool | None = None  # the book is cleared at game start
    itode: bool | None = None  # takers wait some milliseconds
    r: ClobRewards | None = None
    v: str | None = None


class VerboseToken(Body, frozen=True, kw_only=True):
    """One outcome, and whether it won."""

    token_id: str
    outcome: str = ""
    winner: bool | None = None
    price: Exact | None = None


class VerboseMarket(Body, frozen=True, kw_only=True):
    """`GET /markets/{condition}`: the long form, with the winner."""

    condition_id: str
    tokens: tuple[VerboseToken, ...]
    active: bool | None = None
    closed: bool | None = None
    accepting_orders: bool | None = None
    minimum_tick_size: Tick | None = None
    minimum_order_size: AnySize | None = None
    neg_risk: bool | None = None
    seconds_delay: Count | None = None
    game_start_time: MomentOrEmpty | None = None
    end_date_iso: MomentOrEmpty | None = None
    is_50_50_outcome: bool | None = None


class MarketByToken(Body, frozen=True, kw_only=True):
    """`GET /markets-by-token/{token}`."""

    condition_id: str


class TickSize(Body, frozen=True, kw_only=True):
    """`GET /tick-size`."""

    minimum_tick_size: Tick


class NegRisk(Body, frozen=True, kw_only=True):
    """`GET /neg-risk`."""

    neg_risk: bool


class Version(Body, frozen=True, kw_only=True):
    """`GET /version`: of the order struct."""

    version: Count


class Geoblock(Body, frozen=True, kw_only=True):
    """`GET /api/geoblock` of the web site: whether this address may trade there."""

    blocked: bool
    ip: str = ""
    country: str = ""
    region: str = ""


# --- Gamma ------------------------------------------------------------------------------------------


class GammaFees(Body, frozen=True, kw_only=True):
    """A market's fee; its numbers count, not its type's name."""

    rate: Ratio
    exponent: Count
    takerOnly: bool = True  # noqa: N815 - the wire's name
    rebateRate: Ratio  # noqa: N815


class GammaReward(Body, frozen=True, kw_only=True):
    """A reward programme of a market; dollars a day."""

    rewardsDailyRate: Rough  # noqa: N815
    startDate: MomentOrEmpty | None = None  # noqa: N815
    endDate: MomentOrEmpty | None = None  # noqa: N815


class GammaEventRef(Body, frozen=True, kw_only=True):
    """The event of a market."""

    id: str | int
    slug: str | None = None
    title: str | None = None
    negRisk: bool | None = None  # noqa: N815
    negRiskAugmented: bool | None = None  # noqa: N815


class GammaMarket(Body, frozen=True, kw_only=True, rename="camel"):
    """A market in the catalogue. Its prices are cached: they sort markets and never quote one.

    `tokens` gives the ids that orders name, of either protocol; index 0 is YES.
    """

    id: str
    condition_id: str | None = None
    slug: str | None = None
    question: str | None = None
    version: str | None = None
    active: bool | None = None
    closed: bool | None = None
    archived: bool | None = None
    accepting_orders: bool | None = None
    enable_order_book: bool | None = None
    outcomes: Texts | None = None
    outcome_prices: Numbers | None = None
    clob_token_ids: Texts | None = None
    position_ids: Texts | None = None
    end_date: MomentOrEmpty | None = None
    game_start_time: MomentOrEmpty | None = None
    seconds_delay: Count | None = None
    liquidity_num: Rough | None = None
    volume_num: Rough | None = None
    volume24hr: Rough | None = None
    best_bid: AnyPrice | None = None
    best_ask: AnyPrice | None = None
    order_price_min_tick_size: Tick | None = None
    order_min_size: AnySize | None = None
    neg_risk: bool | None = None
    neg_risk_market_id: str | None = msgspec.field(default=None, name="negRiskMarketID")
    fees_enabled: bool | None = None
    fee_type: str | None = None
    fee_schedule: GammaFees | None = None
    rewards_min_size: AnySize | None = None
    rewards_max_spread: CentsSpread | None = None
    clob_rewards: tuple[GammaReward, ...] | None = None
    holding_rewards_enabled: bool | None = None
    clear_book_on_start: bool | None = None
    sports_market_type: str | None = None
    uma_resolution_status: str | None = None
    resolution_status: str | None = None
    events: tuple[GammaEventRef, ...] | None = None

    @property
    def tokens(self) -> tuple[str, str] | None:
        """Ids of YES and NO; None while the market has none (a new one may be listed before its tokens)."""
        ids = self.position_ids if self.version == "v2" else self.clob_token_ids
        return (ids[0], ids[1]) if ids is not None and len(ids) == 2 and all(ids) else None


class GammaMarkets(Body, frozen=True, kw_only=True):
    """`GET /markets/keyset`; without a cursor it is the last page. One odd market must not hide others."""

    markets: tuple[msgspec.Raw, ...]
    next_cursor: str | None = None


class GammaEvent(Body, frozen=True, kw_only=True, rename="camel"):
    """An event with its markets; one odd market must not hide the others."""

    id: str | int
    slug: str | None = None
    title: str | None = None
    closed: bool | None = None
    neg_risk: bool | None = None
    neg_risk_augmented: bool | None = None
    start_time: MomentOrEmpty | None = None
    end_date: MomentOrEmpty | None = None
    markets: tuple[msgspec.Raw, ...] = ()


class GammaEvents(Body, frozen=True, kw_only=True):
    """`GET /events/keyset`."""

    events: tuple[GammaEvent, ...]
    next_cursor: str | None = None


# --- rewards and rebates ----------------------------------------------------------------------------


class RewardConfig(Body, frozen=True, kw_only=True):
    """A reward programme; dollars a day."""

    rate_per_day: Rough
    asset_address: str = ""
    start_date: MomentOrEmpty | None = None
    end_date: MomentOrEmpty | None = None


class RewardMarket(Body, frozen=True, kw_only=True):
    """`GET /rewards/markets/current` and `/rewards/markets/{condition}`: what scores, and for how much."""

    condition_id: str
    rewards_max_spread: CentsSpread | None = None
    rewards_min_size: AnySize | None = None
    rewards_config: tuple[RewardConfig, ...] = ()
    native_daily_rate: Rough | None = None
    sponsored_daily_rate: Rough | None = None
    total_daily_rate: Rough | None = None
    market_competitiveness: Exact | None = None


class RewardMarkets(Body, frozen=True, kw_only=True):
    """A page of them; the end of the list is the cursor "LTE="."""

    data: tuple[msgspec.Raw, ...]
    next_cursor: str


class Rebate(Body, frozen=True, kw_only=True):
    """A day's maker rebate in one market."""

    date: Moment
    condition_id: str
    maker_address: str
    rebated_fees_usdc: Money
    asset_address: str = ""
