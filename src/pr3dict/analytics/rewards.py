"""Liquidity rewards: what resting orders score, sample by sample, and what that is expected to pay.

Polymarket's programme (docs, 2026): about once a minute each market is looked at. The midpoint is that of
the levels which are at least as large as the least size; an order of that size at distance s from it weighs
((v - s) / v)^2 a contract, v being the programme's spread. Q1 adds up a maker's bids in YES terms, Q2 his
asks; with the midpoint from 10 to 90 cents he scores max(min(Q1, Q2), max(Q1, Q2) / 3), else min(Q1, Q2). He
gets his share of all scores of a minute's part of the day's pool; a day (UTC) that brings an account less
than $1 pays nothing.

Who else scores is not known, only what rests: the others are taken for the makers who would score most with
it, so a share is never overestimated. Assumptions: docs/rewards.md. Scores are exact fractions of contracts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from pr3dict.analytics.incentives import Look, Own, OwnTurn, Side, Watched, looks
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import (
    ASK,
    BID,
    NS_PER_SECOND,
    PRICE_SCALE,
    QTY_SCALE,
    format_contracts,
    format_dollars,
)
from pr3dict.kernels import dtypes as d

SAMPLE_NS: Final = 60 * NS_PER_SECOND
SAMPLES_A_DAY: Final = 1_440
DAY_NS: Final = SAMPLES_A_DAY * SAMPLE_NS
ONE_SIDED: Final = 3  # what the larger side alone is divided by
BAND: Final = (PRICE_SCALE // 10, PRICE_SCALE - PRICE_SCALE // 10)  # outside of it both sides are needed
LEAST_PAID_MICROS: Final = 1_000_000
NOTHING: Final = Fraction(0)


def weight(spread: int, distance: Fraction) -> Fraction:
    """((v - s) / v)^2 of an order at a distance, both in price units; 0 at the spread and beyond."""
    return max(NOTHING, 1 - distance / spread) ** 2


def maker_score(first: Fraction, second: Fraction, mid: Fraction) -> Fraction:
    """What a maker's two sides count together."""
    least, most = sorted((first, second))
    return max(least, most / ONE_SIDED) if BAND[0] <= mid <= BAND[1] else least


def crowd_score(first: Fraction, second: Fraction, mid: Fraction) -> Fraction:
    """The most that any number of makers can score with these sides: pairs whole, the rest one-sided."""
    least, most = sorted((first, second))
    return least + (most - least) / ONE_SIDED if BAND[0] <= mid <= BAND[1] else least


def midpoint(displayed: tuple[Side, Side], min_size: int) -> Fraction | None:
    """Midpoint of the levels that are large enough to count, price units; None without two sides of them."""
    bids, asks = (
        [price for price, size in side.items() if size > 0 and size >= min_size] for side in displayed
    )
    return Fraction(max(bids) + min(asks), 2) if bids and asks else None


class Sample(NamedTuple):
    """One look at a market. Scores in contracts; `mid` in price units, None: nobody can score.

    `in_band`: an order of ours scores. `share` is of everybody's score, `pool_micros` what it is a share of.
    """

    at_ns: int
    mid: Fraction | None
    bid_score: Fraction
    ask_score: Fraction
    score: Fraction
    others: Fraction
    pool_micros: Fraction

    @property
    def in_band(self) -> bool:
        """Whether an order of ours scores."""
        return self.bid_score > 0 or self.ask_score > 0

    @property
    def share(self) -> Fraction:
        """Our share of everybody's score, 0 to 1."""
        return self.score / (self.score + self.others) if self.score else NOTHING

    @property
    def earned_micros(self) -> Fraction:
        """What the sample is expected to bring."""
        return self.pool_micros * self.share


def take_sample(
    at_ns: int, displayed: tuple[Side, Side], orders: Iterable[Own], terms: RewardTerms
) -> Sample:
    """Score everybody's sizes by price, ours included, and our orders."""
    pool = Fraction(terms.day_micros, SAMPLES_A_DAY)
    mid = midpoint(displayed, terms.min_size)
    if mid is None:
        return Sample(at_ns, None, NOTHING, NOTHING, NOTHING, NOTHING, pool)
    own = [NOTHING, NOTHING]
    mine: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for order in orders:
        mine[order.side][order.price] = mine[order.side].get(order.price, 0) + order.size
        if order.size >= terms.min_size:
            own[order.side] += order.size * weight(terms.spread, abs(order.price - mid))
    others = [
        sum((size * weight(terms.spread, abs(price - mid)) for price, size in rest.items()), NOTHING)
        for rest in (_others(displayed[side], mine[side], terms.min_size) for side in (BID, ASK))
    ]
    bid, ask = own[BID] / QTY_SCALE, own[ASK] / QTY_SCALE
    crowd = crowd_score(others[BID] / QTY_SCALE, others[ASK] / QTY_SCALE, mid)
    return Sample(at_ns, mid, bid, ask, maker_score(bid, ask, mid), crowd, pool)


def _others(displayed: Side, own: Mapping[int, int], min_size: int) -> dict[int, int]:
    """What is not ours, where it could hold an order that scores."""
    rest = {price: size - own.get(price, 0) for price, size in displayed.items()}
    return {price: size for price, size in rest.items() if size > 0 and size >= min_size}


def sample_ns(ticker: str, minute: int) -> int:
    """The instant of a minute (counted from 1970) at which it is looked at: any, but the same each time.

    The venue's own instants are random and not known; over a day both come to the same share.
    """
    digest = hashlib.blake2b(f"{ticker} {minute}".encode(), digest_size=8).digest()
    return minute * SAMPLE_NS + int.from_bytes(digest) % SAMPLE_NS


def sample_times(ticker: str, first_ns: int, last_ns: int) -> list[int]:
    """The instants from `first_ns` up to and with `last_ns`."""
    times = (sample_ns(ticker, minute) for minute in range(first_ns // SAMPLE_NS, last_ns // SAMPLE_NS + 1))
    return [at_ns for at_ns in times if first_ns <= at_ns <= last_ns]


@dataclass(frozen=True, slots=True)
class RewardScore:
    """What our orders scored in one market. `void`: it took no orders; `unseen`: nobody looked."""

    ticker: str
    terms: RewardTerms | None  # the last ones
    samples: tuple[Sample, ...]
    void: int
    unseen: int

    @property
    def days(self) -> dict[int, Fraction]:
        """Micros expected by UTC day, counted from 1970."""
        found: dict[int, Fraction] = {}
        for sample in self.samples:
            day = sample.at_ns // DAY_NS
            found[day] = found.get(day, NOTHING) + sample.earned_micros
        return found

    @property
    def earned_micros(self) -> int:
        """What the samples are expected to bring before a day's least payment, rounded down."""
        return int(sum(self.days.values(), NOTHING))

    @property
    def in_band(self) -> int:
        """Samples in which an order of ours scored."""
        return sum(sample.in_band for sample in self.samples)

    @property
    def scored(self) -> int:
        """Samples in which we scored, which outside of 10 to 90 cents takes both sides."""
        return sum(sample.score > 0 for sample in self.samples)

    @property
    def share(self) -> float | None:
        """Mean share of everybody's score; None without a sample."""
        shares = [float(sample.share) for sample in self.samples]
        return sum(shares) / len(shares) if shares else None

    @property
    def score(self) -> float | None:
        """Mean score in contracts; None without a sample."""
        scores = [float(sample.score) for sample in self.samples]
        return sum(scores) / len(scores) if scores else None

    def to_json(self) -> dict[str, object]:
        """Counts and means as numbers, money and terms as decimal strings."""
        return {
            "ticker": self.ticker,
            "terms": None if self.terms is None else terms_json(self.terms),
            "samples": len(self.samples),
            "void": self.void,
            "unseen": self.unseen,
            "in_band": self.in_band,
            "scored": self.scored,
            "score": self.score,
            "share": self.share,
            "earned": format_dollars(self.earned_micros),
        }


def terms_json(terms: RewardTerms) -> dict[str, str]:
    """Terms as decimal strings."""
    return {
        "spread": format_dollars(terms.spread * 100),
        "min_size": format_contracts(terms.min_size),
        "day": format_dollars(terms.day_micros),
    }


def paid_micros(scores: Sequence[RewardScore]) -> dict[str, int]:
    """What an account's days pay, by market: nothing where all markets together bring less than $1."""
    days: dict[int, Fraction] = {}
    for score in scores:
        for day, micros in score.days.items():
            days[day] = days.get(day, NOTHING) + micros
    paid = {day for day, micros in days.items() if micros >= LEAST_PAID_MICROS}
    return {
        score.ticker: int(sum((micros for day, micros in score.days.items() if day in paid), NOTHING))
        for score in scores
    }


class RewardCount:
    """Adds up the samples of one market; mutable. Without terms a sample counts for nothing."""

    def __init__(self, ticker: str, terms: RewardTerms | None) -> None:
        self.ticker = ticker
        self.terms = terms
        self.samples: list[Sample] = []
        self.void = self.unseen = 0

    def look(self, at_ns: int, displayed: tuple[Side, Side], orders: Sequence[Own]) -> None:
        """One sample: everybody's sizes, ours included, and our orders."""
        if self.terms is not None:
            self.samples.append(take_sample(at_ns, displayed, orders, self.terms))

    def result(self) -> RewardScore:
        """What was scored so far."""
        return RewardScore(self.ticker, self.terms, tuple(self.samples), self.void, self.unseen)


class TermsTurn(NamedTuple):
    """From `at_ns` on these are a market's terms."""

    at_ns: int
    terms: RewardTerms | None


def score_rewards(
    ticker: str,
    terms: Sequence[TermsTurn],
    rows: d.Array,
    turns: Sequence[OwnTurn],
    first_ns: int,
    until_ns: int,
    *,
    includes_own: bool = False,
    seen: Sequence[tuple[int, int]] | None = None,
) -> RewardScore:
    """Score our orders in one market from `first_ns` to `until_ns` from what was recorded.

    As `incentives.score_period`; a sample while no terms hold is not counted at all.
    """
    count = RewardCount(ticker, None)
    place = 0
    times = sample_times(ticker, first_ns, until_ns)
    for at_ns, look in zip(times, looks(times, Watched(rows, turns, until_ns, seen)), strict=True):
        while place < len(terms) and terms[place].at_ns <= at_ns:
            count.terms = terms[place].terms
            place += 1
        _count(count, at_ns, look, includes_own=includes_own)
    return count.result()


def _count(count: RewardCount, at_ns: int, look: Look | None, *, includes_own: bool) -> None:
    if count.terms is None:
        return
    if look is None:
        count.unseen += 1
    elif look.book.status != d.ACTIVE:
        count.void += 1
    else:
        count.look(at_ns, look.book.displayed(look.orders, includes_own=includes_own), look.orders)
