"""Queue position of a resting order: what trades and size changes at its level do to the size ahead of it.

Models follow the published family of hftbacktest (nkaz001, `queue.rs`): a level's decrease beyond what
traded is split between ahead and behind by the probability that a cancelled order stood behind us, with
f the size ahead and b the size behind: power b^n/(b^n+f^n), power2 b^n/(b+f)^n, power3 1-(f/(f+b))^n,
log ln(1+b)/(ln(1+b)+ln(1+f)), log2 ln(1+b)/ln(1+b+f). Risk-averse puts every cancel behind us and
optimistic every cancel ahead: between these two lies the truth.
"""

from __future__ import annotations

import math

from pr3dict.domain.units import QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import kernel


@kernel
def behind_probability(front: float, back: float, model: int, power: float) -> float:
    """Probability that a cancelled contract stood behind us; `front` and `back` in contracts, not both 0."""
    if model == d.QUEUE_RISK_AVERSE or front <= 0.0:
        return 1.0
    if model == d.QUEUE_OPTIMISTIC or back <= 0.0:
        return 0.0
    if model == d.QUEUE_POWER:
        return back**power / (back**power + front**power)
    if model == d.QUEUE_POWER2:
        return back**power / (back + front) ** power
    if model == d.QUEUE_POWER3:
        return 1.0 - (front / (front + back)) ** power
    if model == d.QUEUE_LOG:
        return math.log(1.0 + back) / (math.log(1.0 + back) + math.log(1.0 + front))
    return math.log(1.0 + back) / math.log(1.0 + back + front)


@kernel
def queue_after_change(order: d.Row, old_size: int, new_size: int, model: int, power: float) -> None:
    """The displayed size at the order's level went from `old_size` to `new_size` (ours not in it)."""
    cancelled = old_size - new_size - order.traded
    order.traded = 0
    front = int(order.front)
    if cancelled > 0 and front > 0 and model != d.QUEUE_RISK_AVERSE:
        back = max(old_size - front, 0)
        p = behind_probability(front / QTY_SCALE, back / QTY_SCALE, model, power)
        behind = math.ceil(p * cancelled)  # rounded against us
        front -= cancelled - behind
        if back < behind:  # more cancelled behind than stood there: the rest was ahead
            front -= behind - back
    order.front = max(min(front, new_size), 0)


@kernel
def queue_after_trade(order: d.Row, traded_size: int, tape_size: int) -> int:
    """`traded_size` met our level; returns how much of it reached us (not yet capped by our size).

    `tape_size` is what the recording traded there: the coming size change holds that much, of which our
    own fills may have taken a part from the taker before.
    """
    order.traded += tape_size
    order.front -= traded_size
    if order.front >= 0:
        return 0
    reached = -int(order.front)
    order.front = 0
    return reached


@kernel
def fill_probability(arrival_rate: float, decay: float, distance: float, span: float) -> float:
    """Probability that an order `distance` from fair value fills within `span`.

    Fills arrive as a Poisson process of rate `arrival_rate` x exp(-`decay` x `distance`) (M. Avellaneda and
    S. Stoikov, 2008, section 2.5), so it is 1 - exp(-rate x span), never rate x span. Units of time and
    distance are the caller's.
    """
    return -math.expm1(-arrival_rate * math.exp(-decay * distance) * span)
