"""Quotes for liquidity rewards once more, the obvious slow way: fractions, lists, and every pair of prices.

Written from the requirement, not from `rewards.py`; what both share is where a number is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from pr3dict.kernels import dtypes as d

Row = Mapping[str, Any]
MICRO = 1_000_000
SIGNS = {"bid": 1, "ask": -1}


class Offer(NamedTuple):
    """A side without rewards: its innermost price, what the limits leave, and the wished size."""

    price: int | None
    room: int
    wish: int


class Choice(NamedTuple):
    """A price that a side may have: what it scores and what its fills are expected to earn an hour."""

    price: int | None
    score: int
    edge: int
    raised: bool


def place(
    market: Row,
    params: Row,
    prices: Sequence[int],
    offers: Mapping[str, Offer],
    quote: dict[str, Any],
    reasons: set[str],
) -> None:
    """Fill the reward fields of `quote`, whose skewed prices are known."""
    mid = Fraction(market["reward_mid"], 2)
    others = _crowd(market["reward_bid_others"], market["reward_ask_others"], mid)
    choices = {side: _choices(market, params, prices, side, offers[side], quote, mid) for side in SIGNS}
    quote["rewards"] = params["rewards"]
    quote["reward_mid_micros"] = int(mid * 100)
    quote["reward_others"] = others

    def worth(bid: Choice, ask: Choice) -> int:
        own = _maker(bid.score, ask.score, mid)
        share = Fraction(math.floor(Fraction(own, own + others) * MICRO), MICRO) if own else Fraction(0)
        return math.floor(share * (market["reward_day_micros"] // 24))

    unmoved = choices["bid"][-1], choices["ask"][-1]
    if params["rewards"] == d.REWARDS_OPTIMISE:
        _, _, _, bid, ask = max(
            (bid.edge + ask.edge + worth(bid, ask), i + j, i, bid, ask)
            for i, bid in enumerate(choices["bid"])
            for j, ask in enumerate(choices["ask"])
        )
    else:
        bid, ask = (
            next((c for c in reversed(choices[side]) if c.score), choices[side][-1]) for side in SIGNS
        )
    quote["unmoved_edge_micros"] = sum(choice.edge for choice in unmoved)
    quote["unmoved_reward_micros"] = worth(*unmoved)
    quote["reward_edge_micros"] = bid.edge + ask.edge
    quote["reward_micros"] = worth(bid, ask)
    for side, choice in (("bid", bid), ("ask", ask)):
        quote[f"reward_{side}_score"] = choice.score
        if choice.price != offers[side].price and choice.price is not None:
            quote[f"reward_{side}_price"] = choice.price
            reasons.add(f"{side}_moved_for_rewards")
        if choice.score and choice.raised:
            quote[f"reward_{side}_size"] = _scoring_size(market, params, offers[side])


def _maker(first: int, second: int, mid: Fraction) -> int:
    least, most = sorted((first, second))
    return max(least, math.floor(Fraction(most, 3))) if 1_000 <= mid <= 9_000 else least


def _crowd(first: int, second: int, mid: Fraction) -> int:
    least, most = sorted((first, second))
    return least + math.ceil(Fraction(most - least, 3)) if 1_000 <= mid <= 9_000 else least


def _weight(price: int, mid: Fraction, spread: int) -> Fraction:
    share = max(Fraction(0), (spread - abs(price - mid)) / spread)
    return Fraction(math.floor(share**2 * MICRO), MICRO)


def _scoring_size(market: Row, params: Row, offer: Offer) -> int:
    """The wished size, at least one that scores, inside the limits; 0 if that scores nothing."""
    lot = market["lot"]
    least = math.ceil(Fraction(market["reward_min_size"], lot)) * lot
    size = min(max(offer.wish, least), offer.room, params["max_order_size"]) // lot * lot
    return size if size >= least else 0


def _costs(market: Row, params: Row, quote: Row) -> tuple[int, int]:
    """(cost of a contract in the objective, least distance of a quote that is moved or raised)."""
    adverse = params["reward_adverse_micros"]
    if market["markout_weight"] * MICRO >= params["markout_min_contracts"]:
        adverse = max(adverse, min(math.floor(max(-market["markout_micros"], 0.0)), MICRO))
    stress = Fraction(params["reward_stress_ppm"], MICRO)
    fee = market["maker_cost_micros"]
    stressed = math.floor(adverse * stress + Fraction(1, 2)) + fee
    needed = adverse + fee if params["rewards"] == d.REWARDS_RESPECT else stressed
    half = max(math.ceil(Fraction(quote["spread_micros"], 2)), 1)
    at_best = half - math.floor(Fraction(MICRO * MICRO, params["reward_fill_decay_ppm"]))
    floor = max(needed, math.ceil(Fraction(params["min_spread_micros"], 2)), 1)
    return max(adverse + fee, at_best), floor


def _choices(
    market: Row,
    params: Row,
    prices: Sequence[int],
    side: str,
    offer: Offer,
    quote: Row,
    mid: Fraction,
) -> list[Choice]:
    """Every price that scores and is far enough from the reservation price, then where the side is anyway."""
    if offer.price is None:
        return [Choice(None, 0, 0, raised=False)]
    sign = SIGNS[side]
    reservation = quote["fair_micros"] + quote["skew_micros"]
    cost, floor = _costs(market, params, quote)
    far = market["far_ask_price" if side == "bid" else "far_bid_price"]
    raised = _scoring_size(market, params, offer)

    def choice(price: int) -> Choice:
        distance = sign * (reservation - price * 100)
        size = raised if distance >= floor else min(raised, offer.wish)
        size = size if size >= market["reward_min_size"] else 0
        score = math.floor(size * _weight(price, mid, market["reward_spread"]))
        filled = offer.wish if distance >= cost else max(offer.wish, size)
        return Choice(price, score, _edge(params, distance, cost, filled), raised=distance >= floor)

    def fits(price: int) -> bool:
        inward = sign * (price - offer.price) >= 0  # type: ignore[operator]
        far_enough = sign * (reservation - price * 100) >= floor
        passive = far < 0 or sign * (far - price) > 0
        scores = _weight(price, mid, market["reward_spread"]) > 0
        return inward and far_enough and passive and sign * (mid - price) >= 0 and scores

    inside = [price for price in prices if raised and fits(price)]
    inside.sort(key=lambda price: -sign * price)
    if offer.price not in inside:
        inside.append(offer.price)
    return [choice(price) for price in inside]


def _edge(params: Row, distance: int, cost: int, size: int) -> int:
    exponent = float(params["reward_fill_decay_ppm"]) * float(max(distance, 0)) / 1e12
    chance = Fraction(int(math.exp(-exponent) * MICRO + 0.5), MICRO)
    an_hour = math.floor(Fraction(size * params["reward_fill_rate_ppm"], MICRO))
    earned = math.floor(an_hour * chance) * Fraction(distance - cost, MICRO)
    return math.trunc(earned)
