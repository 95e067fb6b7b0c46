"""What own orders score for liquidity rewards, live: from a journal and the recordings beside it.

The terms are those that the venue stated, from when it stated them. Rebates are expected ones as well: a
maker's share of the fee of his takers, which the venue pays by the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pr3dict.analytics.programme import Trade
from pr3dict.analytics.rewards import RewardScore, Sample, TermsTurn, paid_micros, score_rewards
from pr3dict.domain.errors import UsageError
from pr3dict.domain.events import Listed
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, PRICE_SCALE, format_contracts, format_dollars
from pr3dict.engine.market_table import fee_row
from pr3dict.engine.tracked import NEVER_NS
from pr3dict.kernels.fees import fill_rebate_micros
from pr3dict.risk.programme import ProgrammeConfig
from pr3dict.runtime.journal_fold import Folded, fold_journal, rows_of
from pr3dict.runtime.programme_report import seen_spans, segments
from pr3dict.runtime.status import moment
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal

REPORT_FORMAT: Final = 1
SAMPLES_SHOWN: Final = 1_440
_NO_DUTY: Final = ProgrammeConfig(income="incentives")


@dataclass(frozen=True, slots=True, eq=False)
class RewardReport:
    """Scores and rebates of every market that paid rewards or rebates, `first_ns` to `until_ns` (ns UTC)."""

    first_ns: int
    until_ns: int
    scores: tuple[RewardScore, ...]
    rebates_micros: Mapping[str, int]  # by ticker

    def to_json(self) -> dict[str, Any]:
        """One JSON object: exact decimal strings, scores and shares as numbers, times ISO 8601.

        `samples` of a market are its newest ones.
        """
        paid = paid_micros(self.scores)
        markets = {score.ticker: score for score in self.scores}
        tickers = [*markets, *(ticker for ticker in self.rebates_micros if ticker not in markets)]
        return {
            "format": REPORT_FORMAT,
            "from": moment(self.first_ns),
            "until": moment(self.until_ns),
            "earned": format_dollars(sum(score.earned_micros for score in self.scores)),
            "paid": format_dollars(sum(paid.values())),
            "rebates": format_dollars(sum(self.rebates_micros.values())),
            "markets": [
                {
                    **(markets[ticker].to_json() if ticker in markets else {"ticker": ticker, "terms": None}),
                    "paid": format_dollars(paid.get(ticker, 0)),
                    "rebates": format_dollars(self.rebates_micros.get(ticker, 0)),
                    "newest": [
                        _sample_json(one)
                        for one in (markets[ticker].samples[-SAMPLES_SHOWN:] if ticker in markets else ())
                    ],
                }
                for ticker in tickers
            ],
        }


def _sample_json(sample: Sample) -> dict[str, Any]:
    mid = None if sample.mid is None else format_dollars(int(sample.mid * MICROS_PER_PRICE_UNIT))
    return {
        "at": moment(sample.at_ns),
        "mid": mid,
        "in_band": sample.in_band,
        "bid_score": float(sample.bid_score),
        "ask_score": float(sample.ask_score),
        "score": float(sample.score),
        "others": float(sample.others),
        "share": float(sample.share),
        "earned": format_dollars(int(sample.earned_micros)),
    }


def read_rewards(
    data_dir: DataDir,
    terms: Mapping[str, RewardTerms] | None = None,
    *,
    from_ns: int | None = None,
    to_ns: int | None = None,
) -> RewardReport:
    """The report of a data directory up to its last journaled step; `terms` by ticker replace what was told.

    Raises:
        UsageError: there is no market with rewards or rebates, or no time between the bounds.
        DataError: no process has started, or a recording is damaged.
        LogError: the journal can't be read.
    """
    with Journal.read(data_dir.journal) as journal:
        folded = fold_journal(journal, _NO_DUTY, NEVER_NS if to_ns is None else to_ns)
    first_ns = folded.first_ns if from_ns is None else max(from_ns, folded.first_ns)
    until_ns = folded.last_ns
    if until_ns <= first_ns:
        raise UsageError(f"--from: {moment(first_ns)} is not before {moment(until_ns)}; name an earlier time")
    rebates = _rebates(folded, first_ns)
    scores = [
        _score(data_dir, folded, listing, turns, first_ns, until_ns)
        for listing in folded.listings
        if (turns := _terms_of(folded, listing, terms or {}))
    ]
    if not scores and not rebates:
        what = "no market of this data directory has stated liquidity rewards or paid maker rebates"
        raise UsageError(f"{what}; name a file with [[programme.rewards]] tables with --config")
    return RewardReport(first_ns, until_ns, tuple(scores), rebates)


def _terms_of(folded: Folded, listing: Listed, given: Mapping[str, RewardTerms]) -> list[TermsTurn]:
    if listing.ticker in given:
        return [TermsTurn(0, given[listing.ticker])]
    turns = folded.rewards.get(listing.market, [])
    return turns if any(turn.terms is not None for turn in turns) else []


def _score(
    data_dir: DataDir, folded: Folded, listing: Listed, terms: list[TermsTurn], first_ns: int, until_ns: int
) -> RewardScore:
    return score_rewards(
        listing.ticker,
        terms,
        rows_of(segments(data_dir), listing.market),
        folded.own[listing.market],
        first_ns,
        until_ns,
        includes_own=listing.book_includes_own,
        seen=seen_spans(folded.timelines[listing.market].proven(), folded.last_ns),
    )


def _rebates(folded: Folded, first_ns: int) -> dict[str, int]:
    """Expected rebates of maker fills, by ticker; none where the market gives none back."""
    found: dict[str, int] = {}
    for trade in folded.trades:
        listing = folded.listings[trade.market]
        if trade.maker and trade.at_ns >= first_ns and listing.rebate_ppm:
            rebate = fill_rebate_micros(fee_row(listing)[0], True, _price(trade), trade.size)
            found[listing.ticker] = found.get(listing.ticker, 0) + rebate
    return found


def _price(trade: Trade) -> int:
    """The price of a fill from its notional, which was rounded down to a micro."""
    return (2 * trade.cash_micros * PRICE_SCALE + trade.size) // (2 * trade.size)


def rewards_in_words(terms: RewardTerms) -> str:
    """Terms in one line."""
    day, spread = format_dollars(terms.day_micros), format_dollars(terms.spread * MICROS_PER_PRICE_UNIT)
    return f"${day} a day for at least {format_contracts(terms.min_size)} nearer than ${spread} to mid"
