"""Kalshi's liquidity incentive: what resting orders score, second by second, and what a period pays.

Terms of the programme's filing of 2026-02-11. Once a second, at a random instant, each side of the book is
walked from its best price until the sizes reach the target: these levels qualify. Where a side does not reach
it, the snapshot is void for everybody. A bid scores its size times the discount factor to the power of its
distance from the best price in cents; scores are normalised a side, so that all users together get 1 a side
and 2 a snapshot. A user's share of a period is the sum of his scores over everybody's; it is paid as that
share of the reward, floored to the cent, from $1.00 on. A NO bid at q is a YES ask at 1 - q at the same
distance. Assumptions: docs/programmes.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from pr3dict.domain.units import (
    ASK,
    BID,
    NS_PER_SECOND,
    PPM_SCALE,
    PRICE_SCALE,
    format_contracts,
    format_dollars,
)
from pr3dict.kernels import dtypes as d
from pr3dict.risk.programme import IncentiveTerms

CENT: Final = PRICE_SCALE // 100  # price units
SHARE_SCALE: Final = 10**12  # a snapshot's score is kept as an integer of this, rounded down
CENT_MICROS: Final = 10_000
LEAST_PAID_MICROS: Final = 1_000_000

Side = Mapping[int, int]  # price to size: price units, micro-contracts


class Own(NamedTuple):
    """A resting order of ours: BID or ASK in YES terms, price units, micro-contracts."""

    side: int
    price: int
    size: int


class OwnTurn(NamedTuple):
    """From `at_ns` on these orders of ours rest in a market."""

    at_ns: int
    orders: tuple[Own, ...]


@lru_cache(maxsize=4096)
def weight(discount_ppm: int, distance: int) -> Fraction:
    """The discount factor to the power of a distance, exact for whole cents, else to 28 digits."""
    cents, rest = divmod(distance, CENT)
    whole = Fraction(discount_ppm, PPM_SCALE) ** cents
    if rest == 0 or discount_ppm in (0, PPM_SCALE):
        return whole if rest == 0 or discount_ppm else Fraction(0)
    with localcontext() as context:
        context.prec = 28
        part = (Decimal(discount_ppm) / PPM_SCALE) ** (Decimal(rest) / CENT)
    return whole * Fraction(part)


def side_share(displayed: Side, own: Side, side: int, target: int, discount_ppm: int) -> Fraction | None:
    """Our share of one side's score, 0 to 1; None where the side does not reach the target.

    `displayed` is everybody's size by price, ours included. The level that reaches the target counts whole.
    """
    best, total = 0, 0
    everybody = ours = Fraction(0)
    for price in sorted(displayed, reverse=side == BID):
        if displayed[price] <= 0:
            continue
        best = best or price
        score = weight(discount_ppm, abs(best - price))
        everybody += score * displayed[price]
        ours += score * min(own.get(price, 0), displayed[price])
        total += displayed[price]
        if total >= target:
            return ours / everybody if everybody else Fraction(0)
    return None


def snapshot_score(
    displayed: tuple[Side, Side], own: tuple[Side, Side], target: int, discount_ppm: int
) -> Fraction | None:
    """Our score of one snapshot, 0 to 2; None where it is void for everybody."""
    shares = [side_share(displayed[s], own[s], s, target, discount_ppm) for s in (BID, ASK)]
    yes, no = shares
    return None if yes is None or no is None else yes + no


def snapshot_ns(ticker: str, second: int) -> int:
    """The instant of a second (counted from 1970) at which it is looked at: any, but the same each time.

    The venue's own instants are not known; over a period both come to the same share.
    """
    digest = hashlib.blake2b(f"{ticker} {second}".encode(), digest_size=8).digest()
    return second * NS_PER_SECOND + int.from_bytes(digest) % NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class PeriodScore:
    """What our orders scored in a period. Seconds: `valid` + `void` + `unseen` make the period so far.

    `score` is the sum of our snapshots' scores in 1/10^12; `quoted` counts seconds in which we had any.
    """

    terms: IncentiveTerms
    valid: int
    void: int
    unseen: int
    quoted: int
    score: int

    @property
    def share(self) -> Fraction:
        """Our share of the period's score. Seconds that we did not see count as valid, so it is no more."""
        everybody = 2 * SHARE_SCALE * (self.valid + self.unseen)
        return Fraction(self.score, everybody) if everybody else Fraction(0)

    @property
    def reward_micros(self) -> int:
        """What the share pays, micros: floored to the cent, nothing below $1.00, at most `max_reward`."""
        exact = self.share * self.terms.integer("reward")
        most = self.terms.integer("max_reward")
        paid = min(int(exact), most) if most else int(exact)
        return paid // CENT_MICROS * CENT_MICROS if paid >= LEAST_PAID_MICROS else 0

    def to_json(self) -> dict[str, object]:
        """The period with exact decimal strings; `share` as a number."""
        return {
            "ticker": self.terms.ticker,
            "start": self.terms.start,
            "end": self.terms.end,
            "target_size": format_contracts(self.terms.integer("target_size")),
            "discount_factor": f"{self.terms.discount_factor:f}",
            "period_reward": format_dollars(self.terms.integer("reward")),
            "snapshots": self.valid,
            "void": self.void,
            "unseen": self.unseen,
            "quoted": self.quoted,
            "score": self.score / SHARE_SCALE,
            "share": float(self.share),
            "reward": format_dollars(self.reward_micros),
        }


class PeriodCount:
    """Adds up the snapshots of one period; mutable."""

    def __init__(self, terms: IncentiveTerms) -> None:
        self.terms = terms
        self.target = terms.integer("target_size")
        self.discount_ppm = terms.integer("discount_factor")
        self.valid = self.void = self.unseen = self.quoted = self.score = 0

    def look(self, displayed: tuple[Side, Side], orders: Iterable[Own]) -> None:
        """One snapshot: everybody's sizes, ours included, and our orders."""
        own: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for order in orders:
            own[order.side][order.price] = own[order.side].get(order.price, 0) + order.size
        found = snapshot_score(displayed, own, self.target, self.discount_ppm)
        if found is None:
            self.void += 1
        else:
            self.valid += 1
            units = found.numerator * SHARE_SCALE // found.denominator
            self.score += units
            self.quoted += units > 0

    def result(self) -> PeriodScore:
        """The period so far."""
        return PeriodScore(self.terms, self.valid, self.void, self.unseen, self.quoted, self.score)


class Book:
    """A book from EVENT rows of one market; no book before its first level."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.status = d.ACTIVE
        self.seen = False

    def see(self, kind: int, side: int, price: int, size: int, aux: int, bits: int) -> None:
        """One row."""
        if kind == d.STATUS:
            self.status = aux
            return
        if kind == d.SETTLE:
            self.status = d.SETTLED
            return
        if kind not in (d.LEVEL, d.SNAPSHOT):
            return
        self.seen = True
        if kind == d.SNAPSHOT and bits & d.SNAP_FIRST:
            for levels in self.sides:
                levels.clear()
        if size > 0 and price > 0:
            self.sides[side][price] = size
        else:
            self.sides[side].pop(price, None)

    def displayed(self, orders: Iterable[Own], *, includes_own: bool) -> tuple[Side, Side]:
        """Everybody's sizes; our orders are added where the feed leaves them out."""
        whole = (dict(self.sides[BID]), dict(self.sides[ASK]))
        own: dict[tuple[int, int], int] = {}
        for order in orders:
            own[order.side, order.price] = own.get((order.side, order.price), 0) + order.size
        for (side, price), size in own.items():
            shown = whole[side].get(price, 0)
            whole[side][price] = max(shown, size) if includes_own else shown + size
        return whole


class Watched(NamedTuple):
    """What was recorded of a market: EVENT rows by local time, our orders by time, spans that were followed.

    `seen` None: all from the first row on up to `until_ns`.
    """

    rows: d.Array
    turns: Sequence[OwnTurn]
    until_ns: int
    seen: Sequence[tuple[int, int]] | None = None


class Look(NamedTuple):
    """A book, which goes on changing, and our orders at a moment."""

    book: Book
    orders: tuple[Own, ...]


def looks(times_ns: Sequence[int], watched: Watched) -> Iterator[Look | None]:
    """What there was at ascending moments; None outside of what was followed or before there was a book."""
    rows, turns = watched.rows, watched.turns
    book, k, place, span = Book(), 0, 0, 0
    orders: tuple[Own, ...] = ()
    until_ns = watched.until_ns
    spans = watched.seen
    if spans is None:
        spans = [(int(rows[0]["local_ns"]) if len(rows) else until_ns, until_ns)]
    times = rows["local_ns"].tolist()
    fields = [rows[name].tolist() for name in ("kind", "side", "price", "qty", "aux", "bits")]
    for at_ns in times_ns:
        while k < len(times) and times[k] <= at_ns:
            book.see(*(values[k] for values in fields))
            k += 1
        while place < len(turns) and turns[place].at_ns <= at_ns:
            orders = turns[place].orders
            place += 1
        while span < len(spans) and spans[span][1] <= at_ns:
            span += 1
        followed = book.seen and span < len(spans) and at_ns >= spans[span][0]
        yield Look(book, orders) if followed else None


def score_period(
    terms: IncentiveTerms,
    rows: d.Array,
    turns: Sequence[OwnTurn],
    until_ns: int,
    *,
    includes_own: bool = False,
    seen: Sequence[tuple[int, int]] | None = None,
) -> PeriodScore:
    """Score our orders in one period up to `until_ns` from what was recorded.

    `rows` are EVENT rows of the market in order of local time, `turns` our orders in order of time, `seen`
    the spans (ns) in which the feed was followed, by default all from the first row on. A second outside of
    them, or before there was a book, is unseen; one in which the market takes no orders is void.
    """
    count = PeriodCount(terms)
    last = min(terms.end_ns, until_ns)
    seconds = range(-(-terms.start_ns // NS_PER_SECOND), last // NS_PER_SECOND)
    times = [snapshot_ns(terms.ticker, second) for second in seconds]
    for look in looks(times, Watched(rows, turns, until_ns, seen)):
        if look is None:
            count.unseen += 1
        elif look.book.status != d.ACTIVE:
            count.void += 1
        else:
            count.look(look.book.displayed(look.orders, includes_own=includes_own), look.orders)
    return count.result()
