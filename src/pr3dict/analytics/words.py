"""Money, sizes and times as the reader of a page sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

MICRO = 1_000_000
DASH = "\u2013"
MINUS = "\u2212"


def typeset(text: str) -> str:
    """Money and numbers with a real minus sign."""
    return text.replace("-", MINUS) if text[:1] in "-+$" else text


def money(micros: int, *, sign: bool = True) -> str:
    """Dollars to the cent, "+$3.10" or "$0.00"; `sign` marks gains. Rounds half to even, for display only."""
    text = f"${abs(micros) / MICRO:,.2f}"
    if not text.strip("$0.,"):
        return text
    return f"{MINUS if micros < 0 else '+' * sign}{text}"


def cents(micros: Fraction | float | None) -> str:
    """Micros a contract as signed cents, two places."""
    if micros is None:
        return DASH
    text = f"{float(micros) / 10_000:+.2f}"
    return ("0.00" if text[1:] == "0.00" else typeset(text)) + "\u00a2"


def percent(share: float | None) -> str:
    """0.9876 as "98.8%"."""
    return DASH if share is None else f"{100 * share:.1f}%"


def count(number: int) -> str:
    """Thousands apart."""
    return f"{number:,}"


def size(micro_contracts: int) -> str:
    """Contracts, thousands apart, two places where they are not whole."""
    whole = micro_contracts % MICRO == 0
    return f"{micro_contracts / MICRO:,.{0 if whole else 2}f}"


def per_contract(micros: int, micro_contracts: int) -> Fraction | None:
    """Micros a contract."""
    return Fraction(micros * MICRO, micro_contracts) if micro_contracts else None


def moment(at_ns: int) -> str:
    """UTC to the minute."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M")


def tint(micros: int) -> str:
    """The style of a gain or a loss."""
    return "gain" if micros > 0 else "loss" if micros < 0 else ""
