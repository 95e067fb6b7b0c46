"""SAMPLE and FILL rows by hand for the tests of charts."""

from __future__ import annotations

import numpy as np

from pr3dict.analytics.series import SAMPLE
from pr3dict.kernels import dtypes as d


def sample_rows(**columns) -> np.ndarray:
    """SAMPLE rows; what is not given is none."""
    rows = np.zeros(len(columns["at_ns"]), SAMPLE)
    for name in ("bid_price", "ask_price", "own_bid_price", "own_ask_price", "fair_micros"):
        rows[name] = -1
    for name, values in columns.items():
        rows[name] = values
    return rows


def fill_rows(**columns) -> np.ndarray:
    """FILL rows; what is not given is zero, mids unknown."""
    rows = np.zeros(len(columns["exch_ns"]), d.FILL)
    rows["mid_micros"] = rows["after_micros"] = -1
    for name, values in columns.items():
        rows[name] = values
    return rows
