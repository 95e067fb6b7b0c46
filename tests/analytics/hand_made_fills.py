"""Hand-made FILL rows for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d


@dataclass(frozen=True)
class Trade:
    """One fill in plain words: `side` BID or ASK, price in 1/10,000 dollar, size in micro-contracts."""

    side: int
    price: int
    size: int
    mid: int = -1
    after: tuple[int, int, int, int] = (-1, -1, -1, -1)
    fee: int = 0
    rebate: int = 0
    market: int = 0

    @property
    def cash(self) -> int:
        """Micros received in YES terms: a buyer pays rounded up, a seller receives rounded down."""
        notional = self.price * self.size
        return -((notional + 9_999) // 10_000) if self.side == d.BID else notional // 10_000


def rows(trades: list[Trade]) -> d.Array:
    """FILL rows of `trades`, one second apart."""
    out = np.zeros(len(trades), d.FILL)
    for i, t in enumerate(trades):
        row = out[i]
        row.exch_ns, row.order_id, row.qty, row.cash_micros = i * 10**9, i + 1, t.size, t.cash
        row.fee_micros, row.rebate_micros, row.mid_micros = t.fee, t.rebate, t.mid
        row.after_micros = t.after
        row.price, row.market, row.side, row.maker = t.price, t.market, t.side, 1
    return out


mids = st.one_of(st.just(-1), st.integers(50, 999_950))
trades = st.builds(
    Trade,
    side=st.sampled_from([d.BID, d.ASK]),
    price=st.integers(1, 9_999),
    size=st.one_of(st.integers(1, 5_000).map(lambda n: n * 10_000), st.integers(1, 50_000_000)),
    mid=mids,
    after=st.tuples(mids, mids, mids, mids),
    fee=st.integers(0, 20_000),
    rebate=st.integers(0, 5_000),
)
