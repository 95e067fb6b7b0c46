"""The evidence for a programme as one HTML page: each product's hours as a heat map, then every figure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pr3dict import __version__
from pr3dict.analytics.page import Cell, Html, Section, lines, render, table, tag
from pr3dict.analytics.uptime import HourUptime
from pr3dict.analytics.words import DASH, money, size
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND
from pr3dict.runtime.programme_report import ProgrammeReport, terms_in_words
from pr3dict.store.importers.common import counted

HOURS = 24
DAYS = 62  # of a product that the heat map shows, the newest ones
REASONS = 3  # of an hour that are named


def programme_page(report: ProgrammeReport) -> str:
    """The page; the same report gives the same page."""
    is_duty = report.config.is_duty
    parts = [heat, budgets, hour_table, month_table, terms] if is_duty else [rewards, terms]
    sections = [section for part in parts for section in part(report)]
    foot = tag(
        "footer",
        "Every figure and what is assumed: docs/programmes.md. "
        f"Made by PR3DICT {__version__} from the journal of its own orders; nothing on this page was loaded "
        "from elsewhere.",
    )
    title = "Market-maker programme: evidence" if is_duty else "Liquidity incentives: own score"
    return render(title, [tag("h1", title), *_head(report)], sections, [foot])


def _head(report: ProgrammeReport) -> Iterator[Html]:
    span = f"{stamp(report.first_ns)} to {stamp(report.until_ns)} UTC"
    if not report.config.is_duty:
        paid = sum(score.reward_micros for score in report.incentives)
        words = f" for own resting orders, {span}. The agreement's income is not counted beside it."
        yield tag("p", tag("strong", money(paid, sign=False)), words, class_="lead")
        return
    due, lost = report.due, [hour for hour in report.due if hour.is_breached]
    yield tag(
        "p",
        tag("strong", f"{len(due) - len(lost)} of {len(due)} hours kept"),
        f" over {counted(len(report.markets), 'product')}, {span}, from "
        f"{counted(report.sessions, 'process', 'processes')}. "
        "Time that was not observed counts as absent; incentives are not counted beside this income.",
        class_="lead",
    )
    quoted = sum(hour.quoted_ns for hour in due)
    owed = quoted + sum(hour.absent_ns for hour in due)
    volume = sum(one.contracts for one in report.volumes.values())
    shown = {
        "hours kept": percent((len(due) - len(lost)) / len(due) if due else None),
        "two-sided": percent(quoted / owed if owed else None),
        "contracts traded": size(volume),
    }
    tiles = (
        tag("div", tag("dt", name), tag("dd", text, class_="figure"), class_="tile")
        for name, text in shown.items()
    )
    yield tag("dl", lines(tiles), class_="tiles")


# --- sections ---------------------------------------------------------------------------------------


def heat(report: ProgrammeReport) -> Iterator[Section]:
    """A row a day, a cell an hour."""
    offset = report.config.hour_offset_minutes
    parts: list[Html] = []
    for name in report.markets:
        found: dict[int, dict[int, HourUptime]] = {}
        for hour in report.hours:
            if hour.product == name:
                day, place = divmod(hour.hour_ns // NS_PER_HOUR, HOURS)
                found.setdefault(day, {})[place] = hour
        if not found:
            continue
        heads = ["day", *(f"{k:02}" if offset == 0 else f"{k:02}:{offset:02}" for k in range(HOURS))]
        rows: list[list[str | Cell]] = [
            [_day(day), *(_cell(cells.get(k)) for k in range(HOURS))]
            for day, cells in sorted(found.items())[-DAYS:]
        ]
        parts += [tag("h3", name), table(heads, rows, label=f"absent seconds of {name}", style="heat")]
    allowed = report.config.allowance_ns() / NS_PER_SECOND
    intro = (
        f"Seconds of each clock hour (UTC) without two-sided quotes; a whole hour allows {allowed:g}. "
        "Green: kept, amber: more than half of that spent, red: lost, dashed: not over, a dot: no duty."
    )
    yield Section("Absent seconds by hour", intro, tuple(parts))


def _cell(hour: HourUptime | None) -> Cell:
    if hour is None or not hour.is_due:
        return Cell("·", style="none")
    lost = "lost" if hour.is_breached else ""
    spent = "spent" if 2 * hour.absent_ns > hour.allowance_ns else "kept"
    style = f"{lost or spent}{'' if hour.is_over else ' open'}"
    return Cell(f"{hour.absent_ns / NS_PER_SECOND:.0f}", style=style)


def budgets(report: ProgrammeReport) -> Iterator[Section]:
    """The present hour of each product."""
    rows = [
        [
            hour.product,
            stamp(hour.hour_ns),
            seconds(found.left_ns),
            _when(found.if_absent_ns),
            _when(found.at_this_rate_ns),
        ]
        for hour, found in report.present
    ]
    if rows:
        intro = "What is left of the allowed absence, and when the hour would be lost."
        heads = ["product", "hour", "seconds left", "lost if absent from now", "lost at this hour's rate"]
        yield Section(
            "The hour that is not over", intro, (table(heads, rows, label="present hour", words=2),)
        )


def hour_table(report: ProgrammeReport) -> Iterator[Section]:
    """Every hour with its reasons."""
    rows: list[list[str | Cell]] = []
    for hour in report.hours:
        reasons = ", ".join(f"{why} {seconds(span)}" for why, span in list(hour.absent.items())[:REASONS])
        volume = report.volume(hour)
        verdict = "no duty" if not hour.is_due else "lost" if hour.is_breached else "kept"
        rows.append(
            [
                hour.product,
                stamp(hour.hour_ns),
                Cell(verdict if hour.is_over or verdict == "lost" else "open", style=_lost(verdict)),
                seconds(hour.quoted_ns),
                seconds(hour.absent_ns),
                percent(hour.uptime),
                f"{report.quoted.get((hour.product, hour.hour_ns), 0)}",
                size(volume.contracts),
                Cell(reasons or DASH, style="wrap"),
            ]
        )
    heads = ["product", "hour (UTC)", "", "two-sided s", "absent s", "uptime", "markets",
             "contracts", "absent because, s"]  # fmt: skip
    yield Section("Every hour", "", (table(heads, rows, label="hours", words=3, style="hours"),))


def _lost(verdict: str) -> str:
    return "lost" if verdict == "lost" else ""


def month_table(report: ProgrammeReport) -> Iterator[Section]:
    """Monthly terms."""
    volume, markets = report.config.min_monthly_volume, report.config.min_monthly_markets
    rows: list[list[str | Cell]] = [
        [
            month.name,
            f"{month.kept} of {month.hours}",
            Cell(size(month.volume.contracts), style="" if month.enough_volume else "lost"),
            size(month.volume.maker_contracts),
            money(month.volume.cash_micros, sign=False),
            money(month.volume.fee_micros, sign=False),
            Cell(f"{month.markets}", style="" if month.enough_markets else "lost"),
        ]
        for month in report.months
    ]
    heads = ["month", "hours kept", "contracts", "of these maker", "volume", "fees", "markets quoted"]
    intro = f"Asked for: {volume:f} contracts and {markets} markets a month; red: not reached."
    yield Section("Months", intro, (table(heads, rows, label="months", style="narrow"),))


def rewards(report: ProgrammeReport) -> Iterator[Section]:
    """Every incentive period."""
    rows = [
        [
            score.terms.ticker,
            stamp(score.terms.start_ns),
            stamp(score.terms.end_ns),
            f"{score.valid:,}",
            f"{score.void:,}",
            f"{score.unseen:,}",
            f"{score.quoted:,}",
            f"{float(score.share):.4%}",
            money(score.terms.integer("reward"), sign=False),
            money(score.reward_micros, sign=False),
        ]
        for score in report.incentives
    ]
    heads = ["market", "from", "to", "snapshots", "void", "unseen", "scored", "share", "pool", "reward"]
    intro = "One snapshot a second; unseen ones count for everybody else, so the share is no more than this."
    yield Section("Reward periods", intro, (table(heads, rows, label="reward periods", words=3),))


def terms(report: ProgrammeReport) -> Iterator[Section]:
    """The terms as they were configured, and the markets of each product."""
    facts = [
        (name, f"{terms_in_words(report.config, name)}. {', '.join(tickers) or 'No market was listed.'}")
        for name, tickers in report.markets.items()
    ]
    if not report.config.is_duty:
        facts = [(name, ", ".join(tickers)) for name, tickers in report.markets.items()]
    inside = lines(part for name, text in facts for part in (tag("dt", name), tag("dd", text)))
    yield Section("Terms and markets", "", (tag("dl", inside, class_="facts"),))


# --- words ------------------------------------------------------------------------------------------


def percent(share: float | None) -> str:
    """Two places: a hundredth of a percent of an hour is a third of a second."""
    return DASH if share is None else f"{100 * share:.2f}%"


def seconds(span_ns: int) -> str:
    """Seconds with a tenth: 3,540.2."""
    return f"{span_ns / NS_PER_SECOND:,.1f}"


def stamp(at_ns: int) -> str:
    """Date and time of day: 2026-05-14 07:00."""
    return datetime.fromtimestamp(at_ns // NS_PER_SECOND, UTC).strftime("%Y-%m-%d %H:%M")


def _day(day: int) -> str:
    return stamp(day * HOURS * NS_PER_HOUR)[:10]


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS_PER_SECOND, UTC).strftime("%H:%M:%S") if at_ns >= 0 else DASH
