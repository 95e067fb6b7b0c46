"""`pr3dict scan`: markets ranked by what quoting them would earn, and why others are rejected."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape

from pr3dict.cli.output import console, messages, money, print_json, progress, table
from pr3dict.cli.venue_options import (
    DEFAULT_ENV,
    EnvOption,
    EventOption,
    MarketOption,
    MaxMarketsOption,
    SeriesOption,
    UrlOption,
    VenueOption,
    check_venue,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.table import Table

    from pr3dict.runtime.scan import Judged
    from pr3dict.strategies.selection import Candidate, Ranking

MOST_ROWS = 1_000  # of the rejected, for a person; `--json` is always complete
WATCH_S = 60.0
CANDIDATES = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = 1_000_000
CENT = 10_000  # micros
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


def _check_words(tapes: list[str] | None, at: str | None, live: LiveWords) -> None:
    """Raises `UsageError` where neither tapes nor a venue were named, or both, or words of the other one."""
    from pr3dict.domain.errors import UsageError

    if live.venue is not None:
        check_venue(live.venue)
        if tapes or at is not None:
            raise UsageError("--venue judges live markets as they are; leave out tapes and --at")
        if not live.watch_s >= 0:
            raise UsageError(f"--watch: {live.watch_s} is below 0")
        if live.candidates < 1:
            raise UsageError(f"--candidates: {live.candidates} is not at least 1")
        return
    if live.is_given:
        raise UsageError("--url, --market, --event, --series and --max-markets need --venue")
    if not tapes:
        raise UsageError("no tape was named; give files or folders of *.parquet tapes, or --venue")


class LiveWords(NamedTuple):
    """What a command line says about live markets."""

    venue: str | None
    env: str | None
    url: str | None
    markets: list[str] | None
    events: list[str] | None
    series: list[str] | None
    max_markets: int
    watch_s: float
    candidates: int

    @property
    def is_given(self) -> bool:
        """Whether any of it was said."""
        return bool(self.url or self.markets or self.events or self.series or self.max_markets)


def _figure(value: float | None, places: int = 2, scale: float = 1.0) -> str:
    return "-" if value is None else f"{value * scale:,.{places}f}"


def _narrow(title: str, *columns: str) -> Table:
    """A table whose figures are never cut: on a narrow screen the market's name is folded."""
    view = table(title, "market", *columns)
    view.columns[0].overflow = "fold"
    view.columns[0].min_width = 12
    for column in view.columns[1:]:
        column.no_wrap = True
    return view


def _score_table(ranked: tuple[Candidate, ...]) -> Table:
    """Every part of the score in dollars an hour, and the dollars that it locks."""
    parts = ("net", "capture", "adverse", "fees", "rebates", "rewards", "locked")
    view = _narrow("Ranked by net dollars an hour over dollars locked", "%/h", *parts)
    for one in ranked:
        score = one.score
        assert score is not None  # ranked
        view.add_row(
            escape(one.name),
            _figure(score.percent_an_hour),
            money(score.net_micros),
            money(score.capture_micros),
            money(-score.adverse_micros),
            money(-score.fees_micros),
            money(score.rebates_micros),
            money(score.rewards_micros),
            money(score.locked_micros),
        )
    return view


def _quote_table(ranked: tuple[Candidate, ...]) -> Table:
    """How the market would be quoted: contracts an hour, and how long a filled quote stays locked."""
    view = _narrow("Their quotes", "spread", "bid fills/h", "ask fills/h", "hours locked")
    for one in ranked:
        score = one.score
        assert score is not None  # ranked
        view.add_row(
            escape(one.name),
            f"{score.quoted_spread_micros / CENT:.1f}c",
            f"{score.bid_contracts / MICRO:,.0f}",
            f"{score.ask_contracts / MICRO:,.0f}",
            f"{score.locked_ns / NS_PER_HOUR:.3g}",
        )
    return view


def _book_table(found: tuple[Candidate, ...], title: str) -> Table:
    """Time averages of the book: prices in cents, contracts at the touch, dollars of depth."""
    columns = ("hours", "2-sided", "mid", "spread", "bid", "ask", "depth")
    view = _narrow(title, *columns)
    for one in found:
        s = one.statistics
        view.add_row(
            escape(one.name),
            _figure(s.hours),
            "-" if s.two_sided is None else f"{s.two_sided:.0%}",
            _figure(s.mid, 1, 100),
            _figure(s.spread, 2, 100),
            _figure(s.bid_contracts, 0),
            _figure(s.ask_contracts, 0),
            "-" if s.liquidity is None else f"${s.liquidity:,.0f}",
        )
    return view


def _flow_table(found: tuple[Candidate, ...], title: str) -> Table:
    """Contracts an hour, a maker's markouts in cents, volatility, and mean reversion in standard errors."""
    columns = ("bought/h", "sold/h", "weaker", "10 s", "60 s", "volatility", "excess z", "revert z")
    view = _narrow(title, *columns)
    for one in found:
        s = one.statistics
        bought, sold = s.contracts_per_hour or (None, None)
        view.add_row(
            escape(one.name),
            _figure(bought, 0),
            _figure(sold, 0),
            "-" if s.weaker_share is None else f"{s.weaker_share:.0%}",
            *(_figure(markout, 2, 100) for markout in s.markouts),
            _figure(s.volatility, 1, 100),
            _figure(s.excess_z, 1),
            _figure(s.reversion_z, 1),
        )
    return view


def show_ranking(found: Ranking) -> None:
    """Tables for a person: the ranked, those without a score, the rejected."""
    if found.ranked:
        views = [_score_table(found.ranked), _quote_table(found.ranked)]
        views += [_book_table(found.ranked, "Their books"), _flow_table(found.ranked, "Their flow")]
        for view in views:
            console.print(view)
            console.print()
    else:
        console.print("No market qualifies and can be scored.\n")
    if found.unscored:
        console.print(_book_table(found.unscored, "Not scored: their books"))
        console.print(_flow_table(found.unscored, "Not scored: their flow"))
        for one in found.unscored:
            console.print(f"{one.name}: the tape shows no {', no '.join(one.missing)}", markup=False)
        console.print()
    if found.rejected:
        view = table("Rejected", "market", "why", left=2)
        for one in found.rejected[:MOST_ROWS]:
            view.add_row(escape(one.name), "; ".join(why.sentence for why in one.rejections))
        console.print(view)
        if len(found.rejected) > MOST_ROWS:
            console.print(f"... and {len(found.rejected) - MOST_ROWS:,} more (all of them with --json)")
    messages.print("Definitions and formulas: docs/selection.md", style="dim")


def market_json(judged: Judged) -> dict[str, object]:
    """One judged market."""
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


def answer_json(
    judged: Iterable[Judged],
    found: Ranking,
    at_ns: int | None,
    more: Callable[[str], dict[str, object]] = lambda _: {},
) -> dict[str, object]:
    """The whole answer; `more` is what else is known of a market, by its name."""
    judged = list(judged)
    rows = {id(one.candidate): market_json(one) | more(one.candidate.name) for one in judged}
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
    venue: VenueOption = None,
    env: EnvOption = DEFAULT_ENV,
    url: UrlOption = None,
    market: MarketOption = None,
    event: EventOption = None,
    series: SeriesOption = None,
    max_markets: MaxMarketsOption = 0,
    watch: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long live markets are watched.")
    ] = WATCH_S,
    candidates: Annotated[
        int, typer.Option(metavar="N", help="How many live markets are watched, the most promising ones.")
    ] = CANDIDATES,
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
    """Rank recorded or live markets by what quoting them would earn, with the reason for each rejection.

    Live markets are filtered by their listing; the most promising ones are watched for a while, over the
    stream (at Kalshi with a key; without one they are polled). The score is the expected net capture an hour
    over the dollars that quoting locks; every part of it is shown. docs/selection.md defines each figure.
    """
    from pr3dict.cli.config import load_config

    live = LiveWords(venue, env, url, market, event, series, max_markets, watch, candidates)
    _check_words(tapes, at, live)
    at_ns = None if at is None else moment_ns(at)
    settings = load_config(preset, config, assignments or ())
    if venue is not None:
        from pr3dict.cli.scan_live import scan_venue

        scan_venue(live, settings, as_json=as_json)
        return
    from pr3dict.runtime.scan import scan
    from pr3dict.strategies.selection import ranking

    with progress() as bar:
        task = bar.add_task("watching tapes (compiled the first time)", total=None)

        def watching(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        judged = scan(tapes or (), settings, at_ns=at_ns, on_progress=watching)
    found = ranking(one.candidate for one in judged)
    if as_json:
        print_json(answer_json(judged, found, at_ns))
    else:
        show_ranking(found)
