"""`pr3dict scan`: recorded markets ranked by what quoting them would earn, and why others are rejected."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli.output import console, messages, money, print_json, progress, table

if TYPE_CHECKING:
    from rich.table import Table

    from pr3dict.runtime.scan import Judged
    from pr3dict.strategies.selection import Candidate, Ranking

VENUES = ("kalshi", "polymarket")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = 1_000_000
NS_PER_HOUR = 3_600_000_000_000


def moment_ns(text: str) -> int:
    """A moment as ns UTC, from ISO 8601 (UTC where it names no zone) or whole ns since 1970.

    Raises:
        UsageError: the text is neither.
    """
    from pr3dict.domain.errors import UsageError

    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at: {text!r} is no moment; write 2026-05-13T14:00:00Z, or nanoseconds since 1970"
        ) from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    return ((since.days * 86_400 + since.seconds) * MICRO + since.microseconds) * 1_000


def _refuse_venue(venue: str | None, tapes: list[str] | None) -> None:
    from pr3dict.domain.errors import UsageError

    if venue is not None:
        if venue not in VENUES:
            raise UsageError(f"--venue: there is no venue {venue!r}; choose one of {', '.join(VENUES)}")
        raise UsageError("--venue: live venues are not supported in this version; name tapes instead")
    if not tapes:
        raise UsageError("no tape was named; give files or folders of *.parquet tapes")


def _figure(value: float | None, places: int = 2, scale: float = 1.0) -> str:
    return "-" if value is None else f"{value * scale:,.{places}f}"


def _score_table(ranked: tuple[Candidate, ...], title: str) -> Table:
    """Every part of the score; money is an hour but for what is locked."""
    view = table(
        title, "market", "%/h", "net", "capture", "adverse", "fees", "rebates", "rewards",
        "locked", "for h", "fills/h", "quoted",
    )  # fmt: skip
    for one in ranked:
        score = one.score
        assert score is not None  # ranked
        view.add_row(
            one.name,
            _figure(score.percent_an_hour),
            money(score.net_micros),
            money(score.capture_micros),
            money(-score.adverse_micros),
            money(-score.fees_micros),
            money(score.rebates_micros),
            money(score.rewards_micros),
            money(score.locked_micros),
            f"{score.locked_ns / NS_PER_HOUR:.3g}",
            f"{score.bid_contracts / MICRO:,.0f} / {score.ask_contracts / MICRO:,.0f}",
            f"{score.quoted_spread_micros / 10_000:.1f}c",
        )
    return view


def _statistics_table(found: tuple[Candidate, ...], title: str) -> Table:
    """What was measured; cents but for sizes, dollars of depth and shares."""
    view = table(
        title, "market", "hours", "2-sided", "mid", "spread", "touch", "depth $", "bought/h", "sold/h",
        "weaker", "10 s", "60 s", "volat.", "excess z",
    )  # fmt: skip
    for one in found:
        s = one.statistics
        bought, sold = s.contracts_per_hour or (None, None)
        touch = "-" if s.bid_contracts is None else f"{s.bid_contracts:,.0f} / {s.ask_contracts:,.0f}"
        view.add_row(
            one.name,
            _figure(s.hours),
            _figure(s.two_sided, 0, 100) + "%",
            _figure(s.mid, 1, 100),
            _figure(s.spread, 2, 100),
            touch,
            _figure(s.liquidity, 0),
            _figure(bought, 0),
            _figure(sold, 0),
            _figure(s.weaker_share, 2),
            *(_figure(markout, 2, 100) for markout in s.markouts),
            _figure(s.volatility, 1, 100),
            _figure(s.excess_z, 1),
        )
    return view


def _show(found: Ranking) -> None:
    if found.ranked:
        console.print(_score_table(found.ranked, "Ranked: dollars an hour, over dollars locked"))
        console.print()
        console.print(_statistics_table(found.ranked, "Their statistics: prices in cents"))
    else:
        console.print("No market qualifies.")
    if found.unscored:
        console.print()
        console.print(_statistics_table(found.unscored, "Not scored: parts are missing on the tape"))
        for one in found.unscored:
            console.print(f"{one.name}: no {', no '.join(one.missing)}", markup=False)
    if found.rejected:
        console.print()
        view = table("Rejected", "market", "why", left=2)
        for one in found.rejected:
            view.add_row(one.name, "; ".join(why.sentence for why in one.rejections))
        console.print(view)
    messages.print("Definitions and formulas: docs/selection.md", style="dim")


def _market_json(judged: Judged) -> dict[str, object]:
    meta, candidate = judged.meta, judged.candidate
    return {
        "market": candidate.name,
        "ticker": meta.ticker,
        "session": meta.session,
        "title": meta.title,
        "venue": meta.venue,
        "hours_to_resolution": judged.left_ns / NS_PER_HOUR if judged.left_ns >= 0 else None,
        "score": candidate.score.to_json() if candidate.score is not None else None,
        "statistics": candidate.statistics.to_json(),
        "rejections": [why._asdict() for why in candidate.rejections],
        "missing": list(candidate.missing),
    }


def _answer(judged: list[Judged], found: Ranking, at_ns: int | None) -> dict[str, object]:
    rows = {id(one.candidate): _market_json(one) for one in judged}
    return {
        "at_ns": at_ns,
        "markets": len(judged),
        **{name: [rows[id(one)] for one in group] for name, group in found._asdict().items()},
    }


def scan_command(
    tapes: Annotated[
        list[str] | None,
        typer.Argument(metavar="TAPE...", help="Tapes: files, folders of them, or patterns of *.parquet."),
    ] = None,
    venue: Annotated[
        str | None, typer.Option(help="kalshi or polymarket: not supported in this version.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Judge as of this moment (ISO 8601, UTC) instead of on average over the tape.",
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Settings to start from.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with a [market_making] table.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rank recorded markets by what quoting them would earn, with the reason for each rejection.

    The score is the expected net capture an hour over the dollars that quoting locks; every part of it is
    shown. docs/selection.md defines each figure.
    """
    from pr3dict.cli.config import load_config

    _refuse_venue(venue, tapes)
    at_ns = None if at is None else moment_ns(at)
    settings = load_config(preset, config, assignments or ())
    from pr3dict.runtime.scan import scan
    from pr3dict.strategies.selection import ranking

    with progress() as bar:
        task = bar.add_task("watching tapes (compiled the first time)", total=None)

        def watching(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        judged = scan(tapes or (), settings, at_ns=at_ns, on_progress=watching)
    found = ranking(one.candidate for one in judged)
    if as_json:
        print_json(_answer(judged, found, at_ns))
    else:
        _show(found)
