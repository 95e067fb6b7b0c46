"""How wide we quoted where the market stood: shares of time from samples of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pr3dict.analytics.series import FloatArray, IntArray
from pr3dict.kernels import dtypes as d

UNITS_PER_CENT = 100
BINS = 12  # cents; the last takes all that is wider


@dataclass(frozen=True, slots=True)
class Spreads:
    """Shares of the time in which we and the market had both sides; means in price units, over time."""

    labels: tuple[str, ...]
    market: tuple[float, ...]
    own: tuple[float, ...]
    market_mean: float
    own_mean: float
    inside: float  # share of our quotes, bids and asks alike, that were better than the touch
    at_touch: float
    behind: float


def steps_ns(samples: d.Array) -> IntArray:
    """For each SAMPLE row how much time it stands for: the spacing of its market's samples."""
    order = np.lexsort((samples["at_ns"], samples["market"]))
    gaps = np.diff(samples["at_ns"][order])
    same = np.diff(samples["market"][order]) == 0
    found = np.zeros(len(samples), np.int64)
    found[order[1:]] = np.where(same, gaps, 0)
    starts = np.concatenate(([True], ~same)) if len(samples) else np.zeros(0, np.bool_)
    following = np.concatenate((np.where(same, gaps, 0), [0])) if len(samples) else np.zeros(0, np.int64)
    found[order[starts]] = following[starts]
    return found


def spreads_of(samples: d.Array) -> Spreads | None:
    """Spread quoted against the market's without our orders; None where we never stood on both sides."""
    has = np.logical_and.reduce(
        [samples[name] >= 0 for name in ("bid_price", "ask_price", "own_bid_price", "own_ask_price")]
    )
    weight = steps_ns(samples)[has].astype(np.float64)
    rows = samples[has]
    if not weight.sum():
        return None
    market = (rows["ask_price"] - rows["bid_price"]).astype(np.int64)
    own = (rows["own_ask_price"] - rows["own_bid_price"]).astype(np.int64)
    better = np.concatenate(
        (rows["own_bid_price"] - rows["bid_price"], rows["ask_price"] - rows["own_ask_price"])
    )
    both = np.concatenate((weight, weight)) / (2 * weight.sum())
    shares = _shares(market, weight), _shares(own, weight)
    used = max(4, *(int(np.flatnonzero(one)[-1]) + 1 for one in shares))
    labels = ("\u22641", *(str(cents) for cents in range(2, BINS)), f"{BINS}+")
    return Spreads(
        labels=labels[:used],
        market=tuple(shares[0][:used].tolist()),
        own=tuple(shares[1][:used].tolist()),
        market_mean=float((market * weight).sum() / weight.sum()),
        own_mean=float((own * weight).sum() / weight.sum()),
        inside=float(both[better > 0].sum()),
        at_touch=float(both[better == 0].sum()),
        behind=float(both[better < 0].sum()),
    )


def _shares(spread: IntArray, weight: FloatArray) -> FloatArray:
    cents = np.clip(-(-spread // UNITS_PER_CENT), 1, BINS) - 1
    shares: FloatArray = np.bincount(cents, weight, minlength=BINS) / weight.sum()
    return shares
