"""A decision in words: one QUOTE row as exact decimals, named terms and named reasons.

The row is what the brain computed; nothing is decided or recomputed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, MONEY_SCALE, PPM_SCALE, PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import IntArray

STATE_NAMES = ("normal", "skewed", "rebalancing", "forced_exit")

# The spread's terms in order of application: name, QUOTE field after the step, PARAMS fields it may use.
_STEPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("base_spread", "spread_base_micros", ()),
    ("low_liquidity", "spread_liquidity_micros", ("low_liquidity_addon_micros",)),
    ("high_volatility", "spread_volatility_micros", ("volatility_multiplier_ppm",)),
    ("time_to_close", "spread_time_micros", ("final_multiplier_ppm", "closing_multiplier_ppm")),
    ("inventory", "spread_inventory_micros", ("inventory_multiplier_ppm",)),
    ("markouts", "spread_markout_micros", ()),
    ("news", "spread_news_micros", ("news_multiplier_ppm",)),
    ("clamp", "spread_micros", ()),
)

_UNMOVED = {"edge": "unmoved_edge_micros", "income": "unmoved_reward_micros"}


@dataclass(frozen=True, slots=True)
class Term:
    """One step of the decision: the spread after it (for `skew`: the shift), and what the step did.

    Where liquidity rewards were reckoned with, four more: the wished bid and ask after them, and the dollars
    an hour that fills and rewards are expected to bring, each with its change against no rewards.

    `effect` is empty where the step changed nothing, else "+0.02", "x1.5" or "clamped".
    """

    name: str
    value: Decimal
    effect: str


@dataclass(frozen=True, slots=True)
class Order:
    """One wanted order: YES price in dollars, size in contracts."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class Decision:
    """What should rest in a market now, and why. Prices are dollars; bids and asks run outward.

    `unskewed` and `skewed` are (bid, ask) before rounding and state, None without a fair value. `is_exit`:
    the one order may take from the book. `reasons` are names of `kernels.dtypes.REASON_NAMES`.
    """

    fair: Decimal | None
    spread: Decimal
    skew: Decimal
    unskewed: tuple[Decimal, Decimal] | None
    skewed: tuple[Decimal, Decimal] | None
    state: str
    is_exit: bool
    bids: tuple[Order, ...]
    asks: tuple[Order, ...]
    terms: tuple[Term, ...]
    reasons: tuple[str, ...]

    @property
    def bid(self) -> Order | None:
        """The best bid, None when that side is not quoted."""
        return self.bids[0] if self.bids else None

    @property
    def ask(self) -> Order | None:
        """The best ask, None when that side is not quoted."""
        return self.asks[0] if self.asks else None


def decision_of(quote: np.record, params: np.record) -> Decision:
    """Put a QUOTE row, decided with a PARAMS row, into words."""
    known = int(quote.fair_micros) >= 0
    return Decision(
        fair=_dollars(quote.fair_micros) if known else None,
        spread=_dollars(quote.spread_micros),
        skew=_dollars(quote.skew_micros),
        unskewed=_pair(quote.unskewed_bid_micros, quote.unskewed_ask_micros) if known else None,
        skewed=_pair(quote.skewed_bid_micros, quote.skewed_ask_micros) if known else None,
        state=STATE_NAMES[int(quote.state)],
        is_exit=bool(quote.exit),
        bids=_orders(quote.bid_price, quote.bid_size),
        asks=_orders(quote.ask_price, quote.ask_size),
        terms=_terms(quote, params),
        reasons=reason_names(int(quote.reasons)),
    )


def reason_names(bits: int) -> tuple[str, ...]:
    """Names of the reason bits that are set, in the order of `REASON_NAMES`."""
    return tuple(name for bit, name in enumerate(d.REASON_NAMES) if bits >> bit & 1)


def _dollars(micros: int) -> Decimal:
    return Decimal(int(micros)) / MONEY_SCALE


def _pair(bid_micros: int, ask_micros: int) -> tuple[Decimal, Decimal]:
    return _dollars(bid_micros), _dollars(ask_micros)


def _orders(prices: IntArray, sizes: IntArray) -> tuple[Order, ...]:
    return tuple(
        Order(Decimal(price) / PRICE_SCALE, Decimal(size) / QTY_SCALE)
        for price, size in zip(prices.tolist(), sizes.tolist(), strict=True)
        if price >= 0
    )


def _terms(quote: np.record, params: np.record) -> tuple[Term, ...]:
    terms = []
    before = int(quote.spread_base_micros)
    for name, field, used in _STEPS:
        after = int(quote[field])
        effect = "" if after == before else _effect(name, before, after, [int(params[p]) for p in used])
        terms.append(Term(name, _dollars(after), effect))
        before = after
    skew = _dollars(quote.skew_micros)
    terms.append(Term("skew", skew, f"{skew.normalize():+f}" if skew else ""))
    if quote.rewards:
        terms += _reward_terms(quote)
    return tuple(terms)


def _reward_terms(quote: np.record) -> list[Term]:
    """What rewards did: innermost wishes where they moved, then dollars expected an hour."""
    found = []
    for side in ("bid", "ask"):
        moved, wish = int(quote[f"reward_{side}_price"]), int(quote[f"skewed_{side}_micros"])
        price = moved * MICROS_PER_PRICE_UNIT if moved else wish
        found.append(Term(f"reward_{side}", _dollars(price), _change(price - wish)))
    for name in ("edge", "income"):
        field = "edge_micros" if name == "edge" else "micros"
        after, before = int(quote[f"reward_{field}"]), int(quote[_UNMOVED[name]])
        found.append(Term(f"reward_{name}", _dollars(after), _change(after - before)))
    return found


def _change(micros: int) -> str:
    return f"{_dollars(micros).normalize():+f}" if micros else ""


def _effect(name: str, before: int, after: int, used: list[int]) -> str:
    """What a step did, told by the setting whose value leads from `before` to `after`."""
    if name == "clamp":
        return "clamped"
    for ppm in used:
        if name != "low_liquidity" and abs(before * ppm - after * PPM_SCALE) <= PPM_SCALE:
            return f"x{(Decimal(ppm) / PPM_SCALE).normalize():f}"
    return f"{_dollars(after - before).normalize():+f}"


def as_dict(decision: Decision) -> dict[str, Any]:
    """A decision as plain JSON-ready values; `Decimal`s stay, the printer makes them decimal strings."""

    def pair(prices: tuple[Decimal, Decimal] | None) -> dict[str, Decimal | None]:
        return {"bid": prices[0] if prices else None, "ask": prices[1] if prices else None}

    return {
        "fair": decision.fair,
        "spread": decision.spread,
        "skew": decision.skew,
        "unskewed": pair(decision.unskewed),
        "skewed": pair(decision.skewed),
        "state": decision.state,
        "bid": decision.bid.price if decision.bid else None,
        "ask": decision.ask.price if decision.ask else None,
        "bid_size": decision.bid.size if decision.bid else None,
        "ask_size": decision.ask.size if decision.ask else None,
        "exit": decision.is_exit,
        "bids": [{"price": order.price, "size": order.size} for order in decision.bids],
        "asks": [{"price": order.price, "size": order.size} for order in decision.asks],
        "terms": [{"name": t.name, "value": t.value, "effect": t.effect} for t in decision.terms],
        "reasons": list(decision.reasons),
    }
