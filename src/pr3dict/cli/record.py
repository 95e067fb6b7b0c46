"""`pr3dict record`: live markets kept as tapes, until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.cli import output
from pr3dict.cli.venue_options import (
    DEFAULT_ENV,
    EnvOption,
    EventOption,
    MarketOption,
    MaxMarketsOption,
    SeriesOption,
    UrlOption,
    VenueOption,
    access_of,
    selection_of,
)
from pr3dict.domain.errors import UsageError

if TYPE_CHECKING:
    from pr3dict.runtime.venue_follow import Followed
    from pr3dict.runtime.venue_record import Recorded, RecordSpec
    from pr3dict.runtime.venue_selection import AnyFound

LINE_S = 5.0  # between two progress lines
MOST_ROWS = 40  # of a table for a person; `--json` is always complete


def record_command(
    venue: VenueOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the tapes; made if missing.")
    ] = None,
    env: EnvOption = DEFAULT_ENV,
    url: UrlOption = None,
    market: MarketOption = None,
    event: EventOption = None,
    series: SeriesOption = None,
    max_markets: MaxMarketsOption = 0,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End after this time; without it at Ctrl-C.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Record books, trades and the life of live markets as tapes, with every hole marked.

    At Kalshi it needs a key, for its stream takes none without; at Polymarket nothing. No order is ever sent.
    Ctrl-C ends it and writes the tapes. What a crash leaves is read by `pr3dict import recording`.
    """
    from pr3dict.runtime.venue_record import RecordSpec

    selection = selection_of(market, event, series, max_markets)
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds: {seconds} is not above 0")
    access = access_of(venue, env, url, key=venue != "polymarket")
    if out is None:
        raise UsageError("--out is missing: name the folder for the tapes")
    watcher = Lines(quiet=as_json)
    spec = RecordSpec(access, selection, out, seconds, on_found=watcher.found, on_progress=watcher.progress)
    recorded = asyncio.run(_record(spec))
    if as_json:
        output.print_json(record_json(recorded))
    else:
        _show(recorded, watcher.titles)


async def _record(spec: RecordSpec) -> Recorded:
    from pr3dict.runtime.clock import EngineTime, SessionClock, SystemClock
    from pr3dict.runtime.venue_record import record, stopping

    stop = asyncio.Event()
    with stopping(stop):
        return await record(spec, SessionClock(EngineTime(SystemClock())), stop)


class Lines:
    """Says on stderr how a recording goes: a line now and then."""

    def __init__(self, *, quiet: bool) -> None:
        self.titles: dict[str, str] = {}  # of markets whose ticker is a hash that says nothing
        self._quiet = quiet
        self._shown_s = 0.0

    def found(self, found: AnyFound) -> None:
        """Which markets are followed, and how many are not."""
        listings = (life.listing for life in found.lives)
        self.titles = {one.ticker: one.title for one in listings if one.ticker.startswith("0x")}
        if not self._quiet:
            left = f"; {len(found.left_out):,} were left out" if found.left_out else ""
            output.messages.print(f"Recording {len(found.lives):,} markets{left}. Ctrl-C ends it.")

    def progress(self, now: Followed) -> None:
        """A line, if the last one is old enough."""
        import time

        if self._quiet or time.monotonic() - self._shown_s < LINE_S:
            return
        self._shown_s = time.monotonic()
        trades, gaps = sum(now.trades.values()), sum(now.gaps.values())
        link = "" if now.is_up else "; not connected"
        output.messages.print(f"{now.total_rows:,} rows, {trades:,} trades, {gaps:,} gaps{link}")


def record_json(recorded: Recorded) -> dict[str, object]:
    """What was recorded, every market of it."""
    heard = recorded.followed
    reports = {tape.report.market: tape for tape in recorded.tapes}
    return {
        "session": recorded.session,
        "out": recorded.out,
        "seconds": round(recorded.seconds, 3),
        "rows": heard.total_rows,
        "gaps": sum(heard.gaps.values()),
        "outages": heard.outages,
        "malformed": heard.malformed,
        "markets": [
            {
                "ticker": ticker,
                "rows": rows,
                "trades": heard.trades[ticker],
                "gaps": heard.gaps[ticker],
                "tape": reports[ticker].path if ticker in reports else None,
                "settled": ticker in reports and reports[ticker].report.settled,
                "defects": list(reports[ticker].report.defects) if ticker in reports else [],
            }
            for ticker, rows in heard.rows.items()
        ],
        "left_out": [{"ticker": ticker, "why": why} for ticker, why in recorded.left_out],
    }


def _show(recorded: Recorded, titles: Mapping[str, str]) -> None:
    from rich.markup import escape

    heard = recorded.followed
    title = f"{len(heard.rows):,} markets, {recorded.seconds:,.0f} s, in {escape(str(recorded.out))}"
    view = output.table(title, "market", "rows", "trades", "gaps")
    busiest = sorted(heard.rows, key=lambda ticker: -heard.rows[ticker])
    for ticker in busiest[:MOST_ROWS]:
        counts = (heard.rows[ticker], heard.trades[ticker], heard.gaps[ticker])
        name = escape(titles.get(ticker, ticker))
        view.add_row(name, *(f"{count:,}" for count in counts))
    output.console.print(view)
    if len(busiest) > MOST_ROWS:
        output.console.print(f"... and {len(busiest) - MOST_ROWS:,} more (all of them with --json)")
    parts = [f"{heard.total_rows:,} rows", f"{sum(heard.gaps.values()):,} gaps"]
    parts += [f"{heard.outages:,} lost connections", f"{heard.malformed:,} unreadable messages"]
    output.console.print(", ".join(parts))
    for ticker, why in recorded.left_out[:MOST_ROWS]:
        output.console.print(f"left out: {ticker} {why}", markup=False)
    if len(recorded.left_out) > MOST_ROWS:
        output.console.print(f"... and {len(recorded.left_out) - MOST_ROWS:,} more were left out")
