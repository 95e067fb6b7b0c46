"""The account's times from the user's settings."""

from __future__ import annotations

from pr3dict.engine.account import OrderTerms
from pr3dict.risk.limits import RiskConfig


def order_terms(config: RiskConfig) -> OrderTerms:
    """Answer time-out, life and renewal of orders, reads and their repetition."""
    return OrderTerms(
        answer_timeout_ns=config.answer_timeout_ns,
        order_life_ns=config.order_life_ns,
        renew_before_ns=config.renew_before_ns,
        skew_ns=config.clock_skew_ns,
        reconcile_interval_ns=config.reconcile_interval_ns,
        read_retry_ns=config.read_retry_ns,
        cash_tolerance_micros=config.cash_tolerance_micros,
    )
