"""Everybody else: a small seeded market with makers, takers who know more, copycats, jumps and churn.

Each market has a true price (in ticks) that wanders; makers keep a few levels around it. The flow is kept as
two dicts of price and size; `step` returns what changed as EVENT rows in the order in which the exchange sees
it. The rows are the truth: what of it reaches us is the network's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from pr3dict.domain.units import QTY_SCALE
from pr3dict.kernels import dtypes as d
from simulation.world import MS, SECOND, World

Row = tuple[int, int, int, int, int, int, int, int, int]  # fields of kernels/dtypes.EVENT in order
CENT = 100
LEVELS = 4
REGIMES = {  # (chance of a move, drift in ticks, half-spread in ticks, mean gap in ms, chance of a trade)
    "quiet": (0.05, 0.0, 2, 300, 0.20),
    "busy": (0.15, 0.0, 2, 120, 0.30),
    "trending": (0.25, 0.25, 2, 200, 0.25),
    "wide": (0.08, 0.0, 3, 250, 0.20),
    "thin": (0.10, 0.0, 2, 500, 0.35),
}


def row(
    now_ns: int,
    market: int,
    kind: int,
    side: int = 0,
    price: int = 0,
    qty: int = 0,
    aux: int = 0,
    bits: int = 0,
) -> Row:
    """One EVENT row; `local_ns` is set where it arrives."""
    return (now_ns, now_ns, qty, aux, price, market, kind, side, bits)


class Flow:
    """The others in one market; `own_best` tells the best own (bid, ask) prices at the venue, -1 for none."""

    def __init__(self, world: World, market: int, own_best: Callable[[int], tuple[int, int]]) -> None:
        self.world = world
        self.market = market
        self.own_best = own_best
        self.random: Random = world.stream(f"market/{market}")
        self.regime = self.random.choice(sorted(REGIMES))
        self.mid = self.random.randint(25, 75)  # in ticks of a cent
        self.tick = CENT
        self.book: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.churn_until_ns = 0
        self.pressed = 0  # ticks that the price still has to run, and where to
        self.copy_until_ns = 0
        self.is_open = True

    # --- time

    def gap_ns(self) -> int:
        """Time to the next step."""
        if self.world.now_ns < self.churn_until_ns:
            return 60 * MS
        return int(self.random.expovariate(1.0 / REGIMES[self.regime][3]) * MS) + MS

    def step(self) -> list[Row]:
        """Let the others act once."""
        r = self.random
        move, drift, _, _, trade = REGIMES[self.regime]
        now = self.world.now_ns
        if now < self.churn_until_ns:
            self.mid += r.choice((-3, 3))
        elif self.pressed:
            toward = 1 if self.pressed > 0 else -1
            self.mid += toward
            self.pressed -= toward
        elif r.random() < move:
            self.mid += 1 if r.random() < 0.5 + drift / 2 else -1
        self.mid = min(max(self.mid, 6), 94)
        rows = self._informed() if self.world.fires("informed") else []
        if r.random() < trade:
            rows += self._trade()
        return rows + self._replace(self._target())

    def jump(self, ticks: int) -> list[Row]:
        """News: the price is somewhere else at once."""
        self.mid = self.mid + ticks if 6 <= self.mid + ticks <= 94 else self.mid - ticks
        self.mid = min(max(self.mid, 6), 94)
        return self._replace(self._target())

    def change_tick(self, tick: int) -> None:
        """Levels off the new grid are gone; the next step rebuilds the book."""
        self.tick = tick
        for levels in self.book:
            for price in [p for p in levels if p % tick]:
                del levels[price]

    # --- what they do

    def _target(self) -> tuple[dict[int, int], dict[int, int]]:
        """The book that the makers want: levels around the true price, sizes in micro-contracts."""
        r = self.random
        half = REGIMES[self.regime][2]
        thin = self.regime == "thin"
        sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for k in range(LEVELS):
            for side, sign in ((d.BID, -1), (d.ASK, 1)):
                price = (self.mid + sign * (half + k)) * CENT
                if self.tick > CENT:
                    price = price // self.tick * self.tick + (self.tick if side == d.ASK else 0)
                if 0 < price < 10_000:
                    old = self.book[side].get(price)
                    size = old if old and r.random() < 0.85 else r.randint(5, 20 if thin else 120) * QTY_SCALE
                    sides[side][price] = size
        if self.world.now_ns < self.copy_until_ns:
            for side, price in enumerate(self.own_best(self.market)):
                if price > 0 and self._is_free(sides, side, price):
                    sides[side][price] = sides[side].get(price, 0) + 10 * QTY_SCALE
        return sides

    @staticmethod
    def _is_free(sides: tuple[dict[int, int], dict[int, int]], side: int, price: int) -> bool:
        others = sides[1 - side]
        return not others or (price < min(others) if side == d.BID else price > max(others))

    def _replace(self, target: tuple[dict[int, int], dict[int, int]]) -> list[Row]:
        """The changes from the present book to `target`, removals first so that it never crosses."""
        now, m = self.world.now_ns, self.market
        rows: list[Row] = []
        for side in (d.BID, d.ASK):
            gone = [price for price in self.book[side] if price not in target[side]]
            rows += [row(now, m, d.LEVEL, side, price, 0) for price in gone]
        for side in (d.BID, d.ASK):
            for price, size in target[side].items():
                if self.book[side].get(price) != size:
                    rows.append(row(now, m, d.LEVEL, side, price, size))
        self.book = target
        return rows

    def _trade(self) -> list[Row]:
        """A taker takes from the best level, or our better quote."""
        taker = self.random.choice((d.BID, d.ASK))
        size = self.random.randint(1, 30) * QTY_SCALE
        return self.take(taker, size)

    def take(self, taker: int, size: int, *, own_first: bool = True) -> list[Row]:
        """A taker on side `taker` trades `size` at the best price there is."""
        now, m = self.world.now_ns, self.market
        levels = self.book[1 - taker]
        best = (min(levels) if taker == d.BID else max(levels)) if levels else -1
        own = self.own_best(m)[1 - taker]
        if own_first and own > 0 and (best < 0 or (own < best if taker == d.BID else own > best)):
            return [row(now, m, d.TRADE, taker, own, size)]  # nobody's level but ours
        if best < 0:
            return []
        size = min(size, levels[best])
        left = levels[best] - size
        rows = [row(now, m, d.TRADE, taker, best, size), row(now, m, d.LEVEL, 1 - taker, best, left)]
        if left:
            levels[best] = left
        else:
            del levels[best]
        return rows

    def _informed(self) -> list[Row]:
        """Somebody sees that one of our quotes is on the wrong side of the true price."""
        bid, ask = self.own_best(self.market)
        true = self.mid * CENT
        now, m = self.world.now_ns, self.market
        size = self.random.randint(1, 15) * QTY_SCALE
        if bid >= true > 0:
            return [row(now, m, d.TRADE, d.ASK, bid, size)]
        if 0 < ask <= true:
            return [row(now, m, d.TRADE, d.BID, ask, size)]
        return []

    def snapshot(self) -> list[Row]:
        """The whole book as SNAPSHOT rows; one row of price 0 says that it is empty."""
        now, m = self.world.now_ns, self.market
        levels = [(s, p, q) for s in (d.BID, d.ASK) for p, q in sorted(self.book[s].items())]
        if not levels:
            return [row(now, m, d.SNAPSHOT, d.BID, 0, 0, bits=d.SNAP_FIRST | d.SNAP_LAST)]
        last = len(levels) - 1
        return [
            row(
                now,
                m,
                d.SNAPSHOT,
                s,
                p,
                q,
                bits=(d.SNAP_FIRST if i == 0 else 0) | (d.SNAP_LAST if i == last else 0),
            )
            for i, (s, p, q) in enumerate(levels)
        ]


def copy_for(flow: Flow) -> None:
    """Another maker follows our quotes for a while."""
    flow.copy_until_ns = flow.world.now_ns + 5 * SECOND
