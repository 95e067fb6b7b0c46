"""The statistics and the score of `selection.py` once more, the obvious slow way: lists and fractions.

Everything is computed at the end from the whole history, so nothing here can share a running sum's mistake.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from pr3dict.kernels import dtypes as d

Row = Mapping[str, Any]
MICRO = 1_000_000
HORIZONS = (10, 60)


class Look(NamedTuple):
    """The book at a whole second: prices -1 where a side is empty, `left` seconds to resolution or None."""

    second: int
    bid: int
    ask: int
    bid_size: int
    ask_size: int
    takes_orders: bool
    left: int | None

    @property
    def mid(self) -> Fraction | None:
        """In dollars; None without two sides in order."""
        if min(self.bid, self.ask) < 0 or self.bid > self.ask:
            return None
        return Fraction(self.bid + self.ask, 20_000)


class Trade(NamedTuple):
    """A trade at `at_s` seconds, with the touch before it."""

    at_s: Fraction
    side: int
    price: int
    size: int
    bid: int
    ask: int


def statistics(looks: Sequence[Look], trades: Sequence[Trade]) -> dict[str, Any]:
    """Sums of a SELECTION row, dollars instead of half units; looks one a second without a gap."""
    counted = [look for look in looks if look.takes_orders]
    sided = [look for look in counted if look.mid is not None]
    found: dict[str, Any] = {
        "samples": len(counted),
        "two_sided": len(sided),
        "spread": Fraction(sum(look.ask - look.bid for look in sided), 10_000),
        "mid": sum((look.mid or Fraction(0) for look in sided), Fraction(0)),
        "bid_size_sum": sum(look.bid_size for look in sided),
        "ask_size_sum": sum(look.ask_size for look in sided),
        "left_sum_s": sum(look.left for look in counted if look.left is not None),
        "trades": [sum(1 for t in trades if t.side == side) for side in (0, 1)],
        "contracts": [sum(t.size for t in trades if t.side == side) for side in (0, 1)],
    }
    return found | _movement(sided) | _takers(looks, trades)


def _movement(sided: Sequence[Look]) -> dict[str, Any]:
    """Movement of the mid less the uncertainty that it resolved, from start to end at once."""
    mids = [look.mid for look in sided if look.mid is not None]
    steps = list(itertools.pairwise(mids))
    movement = sum(((b - a) ** 2 for a, b in steps), Fraction(0))
    resolved = mids[0] * (1 - mids[0]) - mids[-1] * (1 - mids[-1]) if mids else Fraction(0)
    minutes = [look.mid for k, look in enumerate(sided) if k == 0 or look.second % 60 == 0]
    plain = [mid for mid in minutes if mid is not None]
    held, reversions = None, []
    for k, look in enumerate(sided):  # what a contrarian who counts from the minute's start gains
        before = sided[k - 1].mid if k else None
        if held is not None and before is not None and look.mid is not None:
            reversions.append(2 * (held - before) * (look.mid - before))
        held = look.mid if k == 0 or look.second % 60 == 0 else held
    return {
        "movement": movement,
        "excess": movement - resolved,
        "excess_variance": sum(((1 - 2 * a) * (b - a)) ** 2 for a, b in steps),
        "reversion": sum(reversions, Fraction(0)),
        "reversion_variance": sum(gain**2 for gain in reversions),
        "minute_movement": sum(((b - a) ** 2 for a, b in itertools.pairwise(plain)), Fraction(0)),
    }


def _takers(looks: Sequence[Look], trades: Sequence[Trade]) -> dict[str, Any]:
    mids = {look.second: look.mid for look in looks}
    volume_at = [[0] * 13, [0] * 13]
    effective, contracts = Fraction(0), 0
    impact, realised, matured = [Fraction(0)] * 2, [Fraction(0)] * 2, [0, 0]
    for trade in trades:
        if min(trade.bid, trade.ask) < 0 or trade.bid > trade.ask:
            continue
        before = Fraction(trade.bid + trade.ask, 20_000)
        price = Fraction(trade.price, 10_000)
        sign = 1 if trade.side == d.BID else -1
        paid = sign * (price - before)
        volume_at[trade.side][min(max(math.floor(paid * 200), 0), 12)] += trade.size
        effective += paid * trade.size
        contracts += trade.size
        for h, horizon in enumerate(HORIZONS):
            after = mids.get(math.ceil(trade.at_s) + horizon)
            if after is not None:
                impact[h] += sign * (after - before) * trade.size
                realised[h] += sign * (price - after) * trade.size
                matured[h] += trade.size
    return {
        "volume_at": volume_at,
        "effective": effective,
        "effective_contracts": contracts,
        "impact": impact,
        "realised": realised,
        "matured": matured,
    }


def fills_an_hour(
    row: Row, side: str, half: Fraction, market_half: Fraction, tick: Fraction, size: int
) -> Fraction:
    """Micro-contracts an hour at our bid or ask; prices in dollars."""
    taker = 1 if side == "bid" else 0
    prior = Fraction(1, 60)
    hours = Fraction(int(row["samples"]), 3600) + prior
    depth = Fraction(int(row[f"{side}_size_sum"]), int(row["two_sided"]))
    reached = [int(v) for k, v in enumerate(row["volume_at"][taker]) if Fraction(k, 200) >= half]
    volume = sum(reached) + depth * prior * min(Fraction(1), market_half / half)
    alone = half + tick <= market_half
    share = Fraction(1) if alone else Fraction(size) / (size + depth)
    most = (int(row["trades"][taker]) + prior) / hours * size
    return min(volume / hours * share, most)


def money_an_hour(rate: Fraction, half: Fraction, impact: float, round_costs: Sequence[Fraction]) -> Fraction:
    """Net dollars an hour when `rate` contracts an hour fill on each side.

    `round_costs`: what a contract bought and sold again costs in fees (less rebates).
    """
    return 2 * rate * (half - Fraction(impact)) - rate * sum(round_costs, Fraction(0))


def locked(
    size: Fraction,
    bid: Fraction,
    ask: Fraction,
    rates: tuple[Fraction, Fraction],
    hours: Fraction,
    most: Fraction,
) -> tuple[Fraction, Fraction]:
    """(dollars locked on average, hours until a filled quote is freed); contracts, dollars, hours."""
    rate = min(rates)
    freed = min(hours, size / rate) if rate else hours
    quotes = size * (bid + 1 - ask)
    held = rate * freed * max(bid, 1 - ask)
    surplus = min(abs(rates[0] - rates[1]) * hours, most) * (bid if rates[0] > rates[1] else 1 - ask)
    return quotes + held + surplus, freed
