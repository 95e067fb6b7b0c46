"""What a backtest assumes: the strategy's numbers, the queue model, latency, fees and cash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.risk.programme import IncentiveTerms
from pr3dict.strategies.config import MarketMakingConfig

PESSIMISTIC = "risk-averse"
OPTIMISTIC = "optimistic"
QUEUES = {
    PESSIMISTIC: d.QUEUE_RISK_AVERSE,
    "power": d.QUEUE_POWER,
    "power2": d.QUEUE_POWER2,
    "power3": d.QUEUE_POWER3,
    "log": d.QUEUE_LOG,
    "log2": d.QUEUE_LOG2,
    OPTIMISTIC: d.QUEUE_OPTIMISTIC,
}
MERGE_THRESHOLD = QTY_SCALE  # YES + NO pairs become cash once a contract of them is held
POWERED = ("power", "power2", "power3")  # models that `queue_power` shapes


@dataclass(frozen=True, slots=True, eq=False)
class BacktestSpec:
    """Everything but the tapes. `params` is one PARAMS row of `config`, `rules` RULES with its limits.

    The replay fills in the rest of `rules` from the fields below. `incentives` are reward periods that own
    orders are scored by; they change nothing else. `rewards` are terms of liquidity rewards by ticker, which
    win over what a tape states; they pay, and move quotes where the config's `rewards` says so.
    """

    config: MarketMakingConfig
    params: d.Array
    rules: d.Array
    preset: str
    policy: str
    cash_micros: int
    queue: str = PESSIMISTIC
    queue_power: float = 3.0
    latency_ms: int = 50
    direct_member: bool = False
    incentives: tuple[IncentiveTerms, ...] = ()
    rewards: Mapping[str, RewardTerms] = field(default_factory=dict)


def make_spec(
    config: MarketMakingConfig,
    *,
    preset: str,
    cash_micros: int,
    queue: str = PESSIMISTIC,
    queue_power: float = 3.0,
    latency_ms: int = 50,
    direct_member: bool = False,
    incentives: tuple[IncentiveTerms, ...] = (),
    rewards: Mapping[str, RewardTerms] | None = None,
) -> BacktestSpec:
    """The spec of a strategy's config; `preset` only names it in the report. The trading day is a UTC day."""
    rules = config.to_rules()
    rules["merge_threshold"] = MERGE_THRESHOLD
    return BacktestSpec(
        config=config,
        params=config.to_params(),
        rules=rules,
        preset=preset,
        policy=config.policy,
        cash_micros=cash_micros,
        queue=queue,
        queue_power=queue_power,
        latency_ms=latency_ms,
        direct_member=direct_member,
        incentives=incentives,
        rewards=rewards or {},
    )
