"""What a user sets: every number of the market maker, with its unit, bounds and the array field it drives.

`MarketMakingConfig` is frozen and checked as a whole: a value out of bounds, a number finer than the program
counts in, an unknown key or two settings that contradict each other end in one `ConfigError` that names the
key. Settings are `Decimal`s in the units below; `to_params` turns them into the compiled brain's integers.
"""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from pr3dict.domain.errors import ConfigError
from pr3dict.domain.units import MONEY_SCALE, NS_PER_HOUR, NS_PER_SECOND, PPM_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.estimators import BUCKETS_PER_WINDOW

POLICIES = {"pr3dict": d.POLICY_PR3DICT, "fixed_spread": d.POLICY_FIXED_SPREAD}
FAIR_MODELS = {"mid": d.FAIR_MID, "microprice": d.FAIR_MICROPRICE, "order_flow": d.FAIR_ORDER_FLOW}


class Unit(NamedTuple):
    """How a setting is written and counted: its name, integers per unit, and its usual bounds."""

    name: str
    scale: int
    low: str
    high: str


PRICE = Unit("$ of a $1 contract", MONEY_SCALE, "0", "1")
DOLLARS = Unit("$", MONEY_SCALE, "0", "1000000000")
ROOT_HOUR = Unit("$ per square-root hour", MONEY_SCALE, "0", "1")
HOURS = Unit("hours", NS_PER_HOUR, "0", "1000000")
MINUTES = Unit("minutes", 60 * NS_PER_SECOND, "0", "1000000")
SECONDS = Unit("seconds", NS_PER_SECOND, "0", "1000000")
FACTOR = Unit("factor", PPM_SCALE, "0.1", "10")
SHARE = Unit("share", PPM_SCALE, "0", "1")
CONTRACTS = Unit("contracts", QTY_SCALE, "0", "1000000")
COUNT_RATE = Unit("a second", PPM_SCALE, "0.1", "1000")
COUNT = Unit("count", 1, "1", "1000000")
TIMES = (HOURS.name, MINUTES.name, SECONDS.name)

_SECONDS_OF_SUFFIX = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)")


RULES_OF_SETTINGS = {
    "max_portfolio_heat": "max_heat_ppm",
    "daily_loss_limit": "daily_loss_limit_micros",
    "max_markets": "max_markets",
    "rotation_minutes": "rotation_interval_ns",
    "rotation_advantage": "rotation_advantage_ppm",
    "selection_memory": "selection_memory_ns",
}
"""Settings that hold over all markets and the RULES field that each becomes."""


def _facts(unit: str, scale: int, section: str, param: str, allowed: str) -> dict[str, Any]:
    return {"unit": unit, "scale": scale, "section": section, "param": param, "range": allowed}


def _setting(
    default: str,
    unit: Unit,
    section: str,
    param: str,
    meaning: str,
    *,
    low: str | None = None,
    high: str | None = None,
) -> Any:
    """A number with its unit: `param` is the PARAMS field it becomes, empty for what no market row holds."""
    low, high = low or unit.low, high or unit.high
    return Field(
        int(default) if unit is COUNT else Decimal(default),
        ge=Decimal(low),
        le=Decimal(high),
        description=meaning,
        json_schema_extra=_facts(unit.name, unit.scale, section, param, f"{low} to {high}"),
    )


def _choice(default: Any, section: str, param: str, meaning: str, allowed: str) -> Any:
    return Field(default, description=meaning, json_schema_extra=_facts("", 0, section, param, allowed))


class MarketMakingConfig(BaseModel):
    """Settings of the market maker. Prices are dollars of a $1 contract: "1%" is Decimal("0.01").

    Hours, minutes and seconds also take a text with a suffix: "90s", "5m", "36h", "7d". Each field's unit and
    meaning stand in its description (and in docs/reference/config.md).

    Raises:
        ConfigError: unknown key, value out of bounds or finer than counted, or settings that contradict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # fmt: off
    policy: Literal["pr3dict", "fixed_spread"] = _choice(
        "pr3dict", "Policy", "policy",
        "`pr3dict` is the whole strategy; `fixed_spread` quotes `fixed_half_spread` each side of fair value, "
        "for benchmarks.", "pr3dict, fixed_spread")
    fixed_half_spread: Decimal = _setting(
        "0.02", PRICE, "Policy", "fixed_half_spread_micros", "Half-spread of the `fixed_spread` policy.")

    fair_value: Literal["mid", "microprice", "order_flow"] = _choice(
        "microprice", "Fair value", "fair_model",
        "`mid` of the touch, size-weighted `microprice`, or microprice moved by signed flow (`order_flow`).",
        "mid, microprice, order_flow")
    flow_half_life_seconds: Decimal = _setting(
        "60", SECONDS, "Fair value", "flow_half_life_ns", "Time after which a trade's pull has halved.",
        low="0.001")
    flow_weight: Decimal = _setting(
        "0.5", SHARE, "Fair value", "flow_weight_ppm",
        "Share of the half-spread by which entirely one-sided flow moves fair value.")

    min_liquidity: Decimal = _setting(
        "5000", DOLLARS, "Selection", "min_liquidity_micros",
        "Least resting dollars within 10 cents of mid (or the venue's own figure).")
    min_time_to_resolution: Decimal = _setting(
        "0.5", HOURS, "Selection", "min_time_to_resolution_ns",
        "Below it nothing is opened, and more than `exit_inventory` is a forced exit.")
    max_time_to_resolution: Decimal = _setting(
        "168", HOURS, "Selection", "max_time_to_resolution_ns", "Above it nothing is opened.")
    min_existing_spread: Decimal = _setting(
        "0.02", PRICE, "Selection", "min_existing_spread_micros",
        "Least best ask less best bid, own quotes left out.", high="0.5")
    max_markets: int = _setting(
        "10", COUNT, "Selection", "", "Markets quoted at once: the best-scored that qualify.")
    rotation_minutes: Decimal = _setting(
        "10", MINUTES, "Selection", "",
        "How often all markets are ranked anew; a place that becomes free is given at once.", low="0.1")
    rotation_advantage: Decimal = _setting(
        "0.2", SHARE, "Selection", "",
        "Share by which a market must outscore the one whose place it takes.", high="10")
    selection_memory: Decimal = _setting(
        "6", HOURS, "Selection", "",
        "Span of the statistics behind the score: older ones weigh half, then a quarter.", low="0.01")

    base_spread: Decimal = _setting(
        "0.04", PRICE, "Spread", "base_spread_micros", "Spread before anything widens it.")
    min_spread: Decimal = _setting(
        "0.02", PRICE, "Spread", "min_spread_micros", "Narrowest spread quoted.", low="0.0001")
    max_spread: Decimal = _setting(
        "0.12", PRICE, "Spread", "max_spread_micros", "Widest spread quoted.")
    low_liquidity: Decimal = _setting(
        "10000", DOLLARS, "Spread", "low_liquidity_micros",
        "Below this liquidity `low_liquidity_addon` is added.")
    low_liquidity_addon: Decimal = _setting(
        "0.02", PRICE, "Spread", "low_liquidity_addon_micros", "Added to the spread of an illiquid market.")
    volatility_multiplier: Decimal = _setting(
        "1.5", FACTOR, "Spread", "volatility_multiplier_ppm", "Widens while volatility is high.")
    high_volatility: Decimal = _setting(
        "0.05", ROOT_HOUR, "Spread", "high_volatility_micros",
        "Realised volatility of fair value above which it is high.")
    volatility_window_seconds: Decimal = _setting(
        "600", SECONDS, "Spread", "", "Span over which volatility is measured.", low="0.002")
    volatility_grid_seconds: Decimal = _setting(
        "10", SECONDS, "Spread", "volatility_grid_ns", "Distance of its samples.", low="0.001")
    final_hours: Decimal = _setting(
        "6", HOURS, "Spread", "final_ns", "Time to close from which `final_multiplier` holds.")
    final_multiplier: Decimal = _setting(
        "2", FACTOR, "Spread", "final_multiplier_ppm", "Widens in the last stretch before close.")
    closing_hours: Decimal = _setting(
        "24", HOURS, "Spread", "closing_ns", "Time to close from which `closing_multiplier` holds.")
    closing_multiplier: Decimal = _setting(
        "1.5", FACTOR, "Spread", "closing_multiplier_ppm", "Widens before the last stretch.")
    inventory_multiplier: Decimal = _setting(
        "1.3", FACTOR, "Spread", "inventory_multiplier_ppm", "Widens beyond `inventory_skew_threshold`.")

    inventory_skew_threshold: Decimal = _setting(
        "10", CONTRACTS, "Inventory", "inventory_skew_threshold",
        "Net position (from target, absolute) above which quotes are skewed and widened.")
    skew_price_adjustment_per_10: Decimal = _setting(
        "0.01", PRICE, "Inventory", "skew_per_10_micros",
        "Both quotes move against the position by this for each whole 10 contracts.")
    target_inventory: Decimal = _setting(
        "0", CONTRACTS, "Inventory", "target_inventory",
        "Net position from which skew and bands are measured; positive is YES.", low="-1000000")
    rebalance_threshold: Decimal = _setting(
        "20", CONTRACTS, "Inventory", "rebalance_threshold", "Above it only the reducing side is quoted.")
    max_inventory: Decimal = _setting(
        "50", CONTRACTS, "Inventory", "max_inventory", "Net limit; above it the position is forced out.")
    max_position_size: Decimal = _setting(
        "100", CONTRACTS, "Inventory", "max_position_size", "Gross limit of a market, YES plus NO.")
    exit_inventory: Decimal = _setting(
        "5", CONTRACTS, "Inventory", "exit_inventory",
        "Net position that may stay below `min_time_to_resolution`.")
    max_exit_slippage: Decimal = _setting(
        "0.05", PRICE, "Inventory", "max_exit_slippage_micros",
        "Worst distance from fair value of a forced exit.")

    quote_size: Decimal = _setting(
        "10", CONTRACTS, "Lifecycle", "quote_size", "Contracts of each level.", low="0.01", high="100000")
    liquid_market: Decimal = _setting(
        "50000", DOLLARS, "Lifecycle", "liquid_market_micros",
        "Liquidity above which `liquid_size_multiplier` holds.")
    liquid_size_multiplier: Decimal = _setting(
        "1", FACTOR, "Lifecycle", "liquid_size_multiplier_ppm", "Larger size in liquid markets; 1 is off.",
        low="1")
    levels: int = _setting(
        "1", COUNT, "Lifecycle", "levels", "Orders a side.", high=str(d.MAX_LEVELS))
    level_spacing: Decimal = _setting(
        "0.01", PRICE, "Lifecycle", "level_spacing_micros", "Distance between levels.", low="0.0001")
    max_quote_age_seconds: Decimal = _setting(
        "30", SECONDS, "Lifecycle", "max_quote_age_ns", "Quotes are decided again at this age.", low="0.001")
    price_change_requote_threshold: Decimal = _setting(
        "0.02", PRICE, "Lifecycle", "requote_threshold_micros",
        "A larger move of fair value since the quote decides it again at once.")
    refill_fraction: Decimal = _setting(
        "0.5", SHARE, "Lifecycle", "refill_fraction_ppm",
        "A partly filled order keeps its place in the queue while it holds this share of its size.")

    volume_spike_threshold: Decimal = _setting(
        "3", FACTOR, "Risk", "volume_spike_ppm",
        "Volume rate of the window over that of the baseline that pulls quotes.", low="1", high="1000")
    volume_window_seconds: Decimal = _setting(
        "60", SECONDS, "Risk", "volume_window_ns", "Short span of the spike test.", low="0.01")
    volume_baseline_seconds: Decimal = _setting(
        "1800", SECONDS, "Risk", "volume_baseline_ns", "Long span of the spike test.", low="0.01")
    volume_pause_seconds: Decimal = _setting(
        "60", SECONDS, "Risk", "volume_pause_ns", "How long quotes stay pulled after a spike.")
    news_multiplier: Decimal = _setting(
        "2", FACTOR, "Risk", "news_multiplier_ppm", "Widens while news of that severity is in force.")
    markout_horizon_seconds: Decimal = _setting(
        "10", SECONDS, "Risk", "markout_horizon_ns", "Time after a fill at which its markout is taken.",
        low="0.001")
    markout_min_contracts: Decimal = _setting(
        "100", CONTRACTS, "Risk", "markout_min_contracts",
        "Contracts that must be behind the mean markout before it widens.")
    markout_multiplier: Decimal = _setting(
        "1", FACTOR, "Risk", "markout_multiplier_ppm",
        "The spread grows by twice this times the adverse markout; 0 is off.", low="0")
    markout_half_life_contracts: Decimal = _setting(
        "500", CONTRACTS, "Risk", "markout_half_life_contracts",
        "Contracts filled after which a markout counts half.", low="1")
    price_band: Decimal = _setting(
        "0.2", PRICE, "Risk", "price_band_micros", "No order further than this from fair value.")
    max_order_size: Decimal = _setting(
        "100", CONTRACTS, "Risk", "max_order_size", "Largest single order.", low="0.01", high="100000")

    max_orders_per_second: Decimal = _setting(
        "10", COUNT_RATE, "Portfolio", "",
        "New orders a second over all markets; cancels are never held back.")
    max_portfolio_heat: Decimal = _setting(
        "0.25", SHARE, "Portfolio", "",
        "Worst-case loss of positions and resting orders, as a share of equity.")
    daily_loss_limit: Decimal = _setting(
        "500", DOLLARS, "Portfolio", "",
        "Loss of a trading day, realised plus marked, that cancels everything and refuses new orders.",
        low="0.01")
    rearm_daily: bool = _choice(
        False, "Portfolio", "", "The loss limit arms itself again when the venue's next trading day starts.",
        "true, false")
    # fmt: on

    def __init__(self, **settings: Any) -> None:
        """Check and keep `settings`; those not given take their defaults."""
        for key in settings:
            if key not in type(self).model_fields:
                raise ConfigError(unknown_key(key), key=key)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _first_error(error) from None

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        """Turn a duration text into the field's unit; refuse a truth value where a number belongs."""
        field = _field(info)
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError
        match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or _extra(field)["unit"] not in TIMES:
            return value
        return Decimal(match[1]) * _SECONDS_OF_SUFFIX[match[2]] * NS_PER_SECOND / int(_extra(field)["scale"])

    @field_validator("*", mode="after")
    @classmethod
    def _countable(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what would have to be rounded: only times are rounded, to the nanosecond."""
        extra = _extra(_field(info))
        is_time = extra["unit"] in TIMES
        if isinstance(value, Decimal) and not is_time and value * extra["scale"] % 1 != 0:
            raise ConfigError(
                f"{value} is finer than 0.000001, which is all that is counted; round it", key=info.field_name
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key, holds, sentence in _relations(self):
            if not holds:
                raise ConfigError(sentence, key=key)
        return self

    def with_changes(self, **changes: Any) -> MarketMakingConfig:
        """The same settings with some replaced, checked again as a whole."""
        return MarketMakingConfig(**(self.model_dump() | changes))

    def integer(self, key: str) -> int:
        """A numeric setting as the brain counts it (micros, ns, ppm, micro-contracts or a plain count)."""
        return round(Decimal(getattr(self, key)) * int(setting_facts(key)["scale"]))

    def to_params(self) -> d.Array:
        """The settings as one PARAMS row, shape (1,); `decision_interval_ns` stays 0 (decide on events)."""
        row = np.zeros(1, d.PARAMS)
        for key in type(self).model_fields:
            facts = setting_facts(key)
            if facts["param"] and facts["scale"]:
                row[facts["param"]] = self.integer(key)
        row["policy"] = POLICIES[self.policy]
        row["fair_model"] = FAIR_MODELS[self.fair_value]
        row["volatility_samples"] = int(self.volatility_window_seconds / self.volatility_grid_seconds)
        return row

    def to_rules(self) -> d.Array:
        """The settings that hold over all markets as one RULES row, shape (1,); the rest of it stays 0."""
        row = np.zeros(1, d.RULES)
        for key, field in RULES_OF_SETTINGS.items():
            row[field] = self.integer(key)
        row["rearm_daily"] = self.rearm_daily
        row["max_order_rate"] = float(self.max_orders_per_second)
        return row


def _extra(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict)
    return dict(field.json_schema_extra)


def _field(info: ValidationInfo) -> FieldInfo:
    assert info.field_name is not None
    return MarketMakingConfig.model_fields[info.field_name]


def setting_facts(key: str) -> dict[str, Any]:
    """What is known of a setting: `unit`, `scale`, `section`, `param`, `range`."""
    return _extra(MarketMakingConfig.model_fields[key])


def changed_settings(config: MarketMakingConfig) -> list[tuple[str, str, str, str]]:
    """Settings that are not the default, in their order: (key, value, default, unit), all of them text."""
    return [
        (key, plain_value(getattr(config, key)), plain_value(field.default), str(_extra(field)["unit"]))
        for key, field in MarketMakingConfig.model_fields.items()
        if getattr(config, key) != field.default
    ]


def plain_value(value: object) -> str:
    """A setting's value as a person writes it, to the eighth place: `0.04`, `true`, `order_flow`."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, Decimal):
        return str(value)
    exponent = value.as_tuple().exponent
    long = isinstance(exponent, int) and exponent < -8
    return f"{value:.8f}".rstrip("0").rstrip(".") if long else f"{value:f}"


def unknown_key(key: str) -> str:
    """The sentence for a key that no setting has, with the nearest name."""
    near = difflib.get_close_matches(key, MarketMakingConfig.model_fields, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see docs/reference/config.md for the names"
    return f"there is no such setting; {hint}"


def _first_error(error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0])
    facts = setting_facts(key)
    field = MarketMakingConfig.model_fields[key]
    if not facts["scale"]:
        expected = f"one of {facts['range']}"
    else:
        kind = "a whole number" if field.annotation is int else "a number"
        expected = f"{kind} from {facts['range']} ({facts['unit']})"
    return ConfigError(f"{first['input']!s:.60} is not allowed; give {expected}", key=key)


def _relations(c: MarketMakingConfig) -> list[tuple[str, bool, str]]:
    """Every rule between settings: (key to change, whether it holds, the sentence if not)."""

    def ordered(small: str, large: str) -> tuple[str, bool, str]:
        low, high = getattr(c, small), getattr(c, large)
        return small, low <= high, f"{low} is above {large} {high}; lower {small} or raise {large}"

    buckets = BUCKETS_PER_WINDOW * c.volume_baseline_seconds / c.volume_window_seconds
    samples = c.volatility_window_seconds / c.volatility_grid_seconds
    return [
        ordered("min_spread", "base_spread"),
        ordered("base_spread", "max_spread"),
        ordered("min_time_to_resolution", "max_time_to_resolution"),
        ordered("final_hours", "closing_hours"),
        ordered("inventory_skew_threshold", "rebalance_threshold"),
        ordered("rebalance_threshold", "max_inventory"),
        ordered("max_inventory", "max_position_size"),
        ordered("exit_inventory", "max_inventory"),
        ordered("quote_size", "max_order_size"),
        ordered("max_exit_slippage", "price_band"),
        ordered("volume_window_seconds", "volume_baseline_seconds"),
        (
            "target_inventory",
            abs(c.target_inventory) <= c.max_inventory,
            f"{c.target_inventory} is further from 0 than max_inventory {c.max_inventory}; bring it nearer",
        ),
        (
            "price_band",
            2 * c.price_band >= c.max_spread,
            f"{c.price_band} is below half of max_spread {c.max_spread}, so wide quotes can't rest; raise it",
        ),
        (
            "volume_baseline_seconds",
            buckets <= d.VOLUME_BUCKETS,
            (
                f"{c.volume_baseline_seconds} is over {d.VOLUME_BUCKETS // BUCKETS_PER_WINDOW} windows of "
                f"{c.volume_window_seconds}; shorten it or raise volume_window_seconds"
            ),
        ),
        (
            "volatility_window_seconds",
            samples % 1 == 0 and 2 <= samples <= d.VOLATILITY_SAMPLES,
            (
                f"{c.volatility_window_seconds} must be 2 to {d.VOLATILITY_SAMPLES} whole steps of "
                f"volatility_grid_seconds {c.volatility_grid_seconds}; change one of them"
            ),
        ),
    ]
