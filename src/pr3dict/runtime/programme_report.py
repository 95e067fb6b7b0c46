"""The evidence for a programme: uptime from a journal, incentives from the recordings beside it.

Of the two incomes only the configured one counts; the other is not computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pr3dict.analytics.incentives import PeriodScore, score_period
from pr3dict.analytics.programme import Forecast, Month, Volume, forecast, month_of, months, volumes
from pr3dict.analytics.uptime import HourUptime, Turn, hours_of, product_turns, quoted_by_hour, spans_of
from pr3dict.domain.errors import UsageError
from pr3dict.domain.units import NS_PER_SECOND, format_contracts, format_price
from pr3dict.engine.standing import NOT_LISTED, NOT_RUNNING, UNPROVEN
from pr3dict.engine.tracked import NEVER_NS
from pr3dict.risk.programme import IncentiveTerms, ProgrammeConfig
from pr3dict.runtime.journal_fold import Folded, fold_journal, rows_of
from pr3dict.runtime.settings import read_settings
from pr3dict.runtime.status import moment
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.recording import read_rows

REPORT_FORMAT: Final = 1
_UNSEEN: Final = (*UNPROVEN, NOT_RUNNING, NOT_LISTED)
NO_VOLUME: Final = Volume()


@dataclass(frozen=True, slots=True, eq=False)
class ProgrammeReport:
    """Everything that is known, from `first_ns` up to `until_ns` (ns UTC).

    `markets` are the tickers of each product, `quoted` how many of them were quoted in each of its hours.
    """

    config: ProgrammeConfig
    first_ns: int
    known_ns: int  # the last journaled step
    until_ns: int
    markets: dict[str, tuple[str, ...]]
    hours: tuple[HourUptime, ...]
    quoted: dict[tuple[str, int], int]
    volumes: dict[tuple[str, int], Volume]
    months: tuple[Month, ...]
    incentives: tuple[PeriodScore, ...]
    sessions: int

    @property
    def due(self) -> tuple[HourUptime, ...]:
        """Whole hours with a duty: those that the agreement judges."""
        return tuple(hour for hour in self.hours if hour.is_over and hour.is_due)

    @property
    def breached(self) -> tuple[HourUptime, ...]:
        """Hours that are lost, the present one among them where it is."""
        return tuple(hour for hour in self.hours if hour.is_due and hour.is_breached)

    @property
    def present(self) -> tuple[tuple[HourUptime, Forecast], ...]:
        """The hour of each product that is not over, with its forecast."""
        return tuple((hour, forecast(hour)) for hour in self.hours if not hour.is_over and hour.is_due)

    def volume(self, hour: HourUptime) -> Volume:
        """What was traded in an hour."""
        return self.volumes.get((hour.product, hour.hour_ns), NO_VOLUME)

    def to_json(self) -> dict[str, Any]:
        """One JSON object: exact decimal strings, seconds as numbers, times ISO 8601."""
        return {
            "format": REPORT_FORMAT,
            "income": self.config.income,
            "terms": self.config.model_dump(mode="json"),
            "from": moment(self.first_ns),
            "known_until": moment(self.known_ns),
            "until": moment(self.until_ns),
            "sessions": self.sessions,
            "products": {name: list(tickers) for name, tickers in self.markets.items()},
            "hours_due": len(self.due),
            "hours_kept": sum(not hour.is_breached for hour in self.due),
            "hours": [self._hour_json(hour) for hour in self.hours],
            "present": [_forecast_json(hour, found) for hour, found in self.present],
            "months": [month.to_json() for month in self.months],
            "incentives": [score.to_json() for score in self.incentives],
        }

    def _hour_json(self, hour: HourUptime) -> dict[str, Any]:
        return {
            "product": hour.product,
            "hour": moment(hour.hour_ns),
            "two_sided_s": _seconds(hour.quoted_ns),
            "absent_s": _seconds(hour.absent_ns),
            "closed_s": _seconds(hour.closed_ns),
            "ahead_s": _seconds(hour.ahead_ns),
            "allowed_s": _seconds(hour.allowance_ns),
            "left_s": _seconds(hour.left_ns),
            "uptime": hour.uptime,
            "due": hour.is_due,
            "over": hour.is_over,
            "breached": hour.is_due and hour.is_breached,
            "reasons_s": {why: _seconds(span) for why, span in hour.absent.items()},
            "markets": self.quoted.get((hour.product, hour.hour_ns), 0),
            **self.volume(hour).to_json(),
        }

    def to_csv(self) -> dict[str, list[list[Any]]]:
        """Tables by file name, the first row of each holding the names of its columns."""
        hours = [self._hour_json(hour) for hour in self.hours]
        plain = [key for key in (hours[0] if hours else {}) if key != "reasons_s"]
        shares = [
            [one["product"], one["hour"], why, span]
            for one in hours
            for why, span in one["reasons_s"].items()
        ]
        month_rows = [
            [
                m.name,
                m.hours,
                m.kept,
                m.markets,
                *m.volume.to_json().values(),
                m.enough_volume,
                m.enough_markets,
            ]
            for m in self.months
        ]
        scores = [score.to_json() for score in self.incentives]
        if not self.config.is_duty:
            return {"incentives.csv": [[*one] for one in scores[:1]] + [[*one.values()] for one in scores]}
        month_heads = ["month", "hours", "hours_kept", "markets", *NO_VOLUME.to_json()]
        return {
            "hours.csv": [plain, *([one[key] for key in plain] for one in hours)],
            "reasons.csv": [["product", "hour", "reason", "absent_s"], *shares],
            "months.csv": [[*month_heads, "enough_volume", "enough_markets"], *month_rows],
        }


def read_programme(
    data_dir: DataDir,
    config: ProgrammeConfig | None = None,
    *,
    from_ns: int | None = None,
    to_ns: int | None = None,
) -> ProgrammeReport:
    """The report of a data directory; `config` None: the terms that its last process ran with.

    Without `to_ns` it ends with the last journaled step; what lies between that step and `to_ns` was not
    observed. `from_ns` before the first start adds hours that were not observed.

    Raises:
        UsageError: no terms are known.
        DataError: no process has started, or a recording is damaged.
        LogError: the journal can't be read.
    """
    with Journal.read(data_dir.journal) as journal:
        terms = config if config is not None else journaled_terms(journal)
        folded = fold_journal(journal, terms, NEVER_NS if to_ns is None else to_ns)
    first_ns = terms.hour_start_ns(folded.first_ns if from_ns is None else from_ns)
    until_ns = folded.last_ns if to_ns is None else to_ns
    if until_ns <= first_ns:
        raise UsageError(f"--to: {moment(until_ns)} is not after {moment(first_ns)}; name a later time")
    return _report(data_dir, terms, folded, first_ns, until_ns)


def journaled_terms(journal: Journal) -> ProgrammeConfig:
    """The terms of the last process that ran here."""
    from pr3dict.domain.events import Started

    found = [event for event in journal.inputs(("started",)) if isinstance(event, Started)]
    programme = read_settings(found[-1].settings).risk.programme if found else None
    if programme is None:
        what = "the processes of this data directory ran without a programme"
        raise UsageError(f"{what}; name a file with a [programme] table with --config")
    return programme


def _report(
    data_dir: DataDir, config: ProgrammeConfig, folded: Folded, first_ns: int, until_ns: int
) -> ProgrammeReport:
    known_ns = min(folded.last_ns, until_ns)
    trades = [trade for trade in folded.trades if first_ns <= trade.at_ns < until_ns]
    members = _members(config, folded)
    hours: list[HourUptime] = []
    quoted: dict[tuple[str, int], int] = {}
    in_month: dict[str, set[int]] = {}
    if config.is_duty:
        for name, markets in members.items():
            lines = [folded.timelines[m] for m in markets]
            turns = product_turns(config, name, lines)
            hours += hours_of(config, name, turns, first_ns, known_ns, until_ns)
            for m in markets:
                for hour_ns in quoted_by_hour(config, folded.timelines[m].proven(), known_ns):
                    if hour_ns >= first_ns:
                        quoted[name, hour_ns] = quoted.get((name, hour_ns), 0) + 1
                        in_month.setdefault(month_of(hour_ns), set()).add(m)
    scores = [_score(data_dir, folded, one, until_ns) for one in config.incentives]
    return ProgrammeReport(
        config=config,
        first_ns=first_ns,
        known_ns=known_ns,
        until_ns=until_ns,
        markets={name: tuple(folded.listings[m].ticker for m in ms) for name, ms in members.items()},
        hours=tuple(hours),
        quoted=quoted,
        volumes=volumes(config, trades),
        months=tuple(months(config, hours, trades, {name: len(ms) for name, ms in in_month.items()})),
        incentives=tuple(scores),
        sessions=len(folded.sessions),
    )


def _members(config: ProgrammeConfig, folded: Folded) -> dict[str, list[int]]:
    """The markets of each product, those without any included."""
    found: dict[str, list[int]] = {product.name: [] for product in config.products}
    for listing in folded.listings:
        name = config.product_of(listing.ticker)
        if name:
            found.setdefault(name, []).append(listing.market)
    return found


def _score(data_dir: DataDir, folded: Folded, terms: IncentiveTerms, until_ns: int) -> PeriodScore:
    """One incentive period from the recordings of all processes."""
    listing = next((one for one in folded.listings if one.ticker == terms.ticker), None)
    if listing is None:
        return score_period(terms, rows_of((), 0), (), until_ns, seen=())
    rows = rows_of(segments(data_dir), listing.market)
    spans = seen_spans(folded.timelines[listing.market].proven(), folded.last_ns)
    return score_period(
        terms,
        rows,
        folded.own[listing.market],
        until_ns,
        includes_own=listing.book_includes_own,
        seen=spans,
    )


def segments(data_dir: DataDir) -> Iterator[Any]:
    """The recorded rows of all processes, part by part, in order."""
    for folder in sorted(data_dir.tapes.glob("*")):
        if any(folder.glob("rows-*")):
            yield from read_rows(folder)


def seen_spans(turns: Sequence[Turn], known_ns: int) -> list[tuple[int, int]]:
    """When a market's feed was followed and its orders were known, in ns."""
    return [
        (turn.at_ns, end_ns)
        for turn, end_ns in spans_of(turns, known_ns)
        if turn.why not in _UNSEEN and turn.at_ns < end_ns
    ]


def _seconds(span_ns: int) -> float:
    """Seconds to the ms."""
    return round(span_ns / NS_PER_SECOND, 3)


def _forecast_json(hour: HourUptime, found: Forecast) -> dict[str, Any]:
    return {
        "product": hour.product,
        "hour": moment(hour.hour_ns),
        "left_s": _seconds(found.left_ns),
        "breach_if_absent": moment(found.if_absent_ns) if found.if_absent_ns >= 0 else None,
        "breach_at_this_rate": moment(found.at_this_rate_ns) if found.at_this_rate_ns >= 0 else None,
    }


def terms_in_words(config: ProgrammeConfig, product: str) -> str:
    """The terms of a product in one line."""
    bands = config.terms_of(product).bands
    parts = [
        f"{'' if band.up_to == 10_000 else f'up to {format_price(band.up_to)}: '}"
        f"at most {format_price(band.max_spread)} wide, at least {format_contracts(band.min_size)} a side"
        for band in bands
    ]
    return "; ".join(parts)
