"""`pr3dict report`: what a data directory's journal and recordings prove, for people, programs and venues."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pr3dict.cli.output import console, messages, money, print_json, table
from pr3dict.cli.process import DataDirOption, JsonOption
from pr3dict.cli.venue_options import DEFAULT_ENV, EnvOption, UrlOption, VenueOption

if TYPE_CHECKING:
    from pr3dict.risk.programme import ProgrammeConfig
    from pr3dict.runtime.programme_report import ProgrammeReport
    from pr3dict.store.data_dir import DataDir

HOURS_SHOWN = 48


def report_command(
    data_dir: DataDirOption = None,
    programme: Annotated[
        bool, typer.Option("--programme", help="Evidence for a venue's programme: uptime or incentives.")
    ] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Queue positions that the venue told against the queue models.")
    ] = False,
    rewards: Annotated[
        bool, typer.Option("--rewards", help="What own orders score for liquidity rewards, and rebates.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Begin here: ISO 8601, or a time of day (UTC).")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="T", help="End here; after the last step nothing was observed."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="TOML file with the [programme] table to judge by, else the last run's.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="F.html", help="Write the evidence as one HTML file.")
    ] = None,
    csv_dir: Annotated[
        Path | None, typer.Option("--csv", metavar="DIR", help="Write its tables as CSV files.")
    ] = None,
    venue: VenueOption = None,
    env: EnvOption = DEFAULT_ENV,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Account for the sessions of a data directory from its journal, also while a process runs.

    Without a flag: orders, fills, volume, fees and profit. --programme adds up two-sided quotes by product
    and clock hour, or what own orders scored for incentives (docs/programmes.md); with --venue kalshi that is
    by the reward periods which the venue states now. --rewards scores own orders minute by minute by the
    liquidity rewards that Polymarket stated (docs/rewards.md), or those of --config.
    """
    from pr3dict.domain.errors import UsageError
    from pr3dict.store.data_dir import DataDir

    if programme + queue + rewards > 1:
        raise UsageError("--programme, --queue and --rewards are reports of their own; ask for one")
    if not programme and (html or csv_dir or venue):
        raise UsageError("--html, --csv and --venue belong to --programme; add it")
    if config and not (programme or rewards):
        raise UsageError("--config belongs to --programme or --rewards; add one")
    if config and venue:
        raise UsageError("--config and --venue both name terms; keep one")
    place = DataDir.of(data_dir).existing()
    if queue:
        _queue(place, as_json=as_json)
    elif rewards:
        _rewards(place, config, since, until, as_json=as_json)
    elif programme:
        terms = _terms(config) if venue is None else _stated(place, venue, env, url)
        _programme(place, terms, since, until, html, csv_dir, as_json=as_json)
    else:
        _account(place, since, until, as_json=as_json)


def _terms(file: Path | None) -> ProgrammeConfig | None:
    if file is None:
        return None
    from pr3dict.cli.config import load_configs
    from pr3dict.domain.errors import UsageError

    found = load_configs(None, file)[1].programme
    if found is None:
        raise UsageError(f"--config: {file} has no [programme] table; add the terms of the programme")
    return found


def _stated(place: DataDir, venue: str, env: str | None, url: str | None) -> ProgrammeConfig:
    import asyncio

    from pr3dict.cli.venue_options import kalshi_of
    from pr3dict.runtime.clock import EngineTime, SessionClock, SystemClock
    from pr3dict.runtime.kalshi_incentives import journaled_tickers, stated_terms

    access = kalshi_of(venue, env, url, key=False)
    clock = SessionClock(EngineTime(SystemClock()))
    return asyncio.run(stated_terms(access, journaled_tickers(place), clock))


def _span(place: DataDir, since: str | None, until: str | None) -> dict[str, int | None]:
    """`--from` and `--to` in ns; a time of day is of the day of the last step."""
    from pr3dict.cli.explain import parse_moment
    from pr3dict.store.journal import Journal

    with Journal.read(place.journal) as journal:
        last_ns = journal.last_ns
    return {
        "from_ns": None if since is None else parse_moment(since, last_ns, "--from"),
        "to_ns": None if until is None else parse_moment(until, last_ns, "--to"),
    }


# --- the account ------------------------------------------------------------------------------------


def _account(place: DataDir, since: str | None, until: str | None, *, as_json: bool) -> None:
    from pr3dict.runtime.account_report import read_account

    answer = read_account(place, **_span(place, since, until)).to_json()
    if as_json:
        print_json(answer)
        return
    view = table(f"Processes: {len(answer['sessions'])}", "what", "figure")
    for key in ("from", "until", "orders", "accepted", "refused", "cancels", "fills", "contracts", "volume",
                "fees", "opening_cash", "cash", "equity"):  # fmt: skip
        view.add_row(key.replace("_", " "), f"{answer[key]}")
    for key, amount in answer["pnl"].items():
        view.add_row(f"profit, {key}", amount)
    console.print(view)
    keys = ("orders", "fills", "contracts", "volume", "fees", "net_position", "pnl")
    markets = table("Markets", "market", *(key.replace("_", " ") for key in keys))
    for one in answer["markets"]:
        markets.add_row(escape(one["ticker"]), *(f"{one[key]}" for key in keys))
    console.print(markets)


def _queue(place: DataDir, *, as_json: bool) -> None:
    from pr3dict.cli.queue_view import show_queue
    from pr3dict.runtime.queue_report import read_queue_report

    found = read_queue_report(place)
    if as_json:
        print_json(found.to_json())
    else:
        show_queue(found)


def _rewards(
    place: DataDir, config: Path | None, since: str | None, until: str | None, *, as_json: bool
) -> None:
    from pr3dict.cli.config import load_rewards
    from pr3dict.cli.results import reward_table
    from pr3dict.runtime.reward_report import read_rewards, rewards_in_words

    found = read_rewards(place, load_rewards(config), **_span(place, since, until))
    answer = found.to_json()
    if as_json:
        print_json(answer)
        return
    console.print(reward_table(found.scores))
    for score in found.scores:
        now = "rewards have ended" if score.terms is None else rewards_in_words(score.terms)
        console.print(f"{score.ticker}: {now}", soft_wrap=True, markup=False)
    for ticker, micros in found.rebates_micros.items():
        console.print(f"{ticker}: maker rebates of {money(micros, 4)} expected", soft_wrap=True, markup=False)


# --- the programme ----------------------------------------------------------------------------------


def _programme(
    place: DataDir,
    terms: ProgrammeConfig | None,
    since: str | None,
    until: str | None,
    html: Path | None,
    csv_dir: Path | None,
    *,
    as_json: bool,
) -> None:
    from pr3dict.cli.report import check_target, write_whole
    from pr3dict.runtime.programme_report import read_programme

    check_target("--html", html)
    found = read_programme(place, terms, **_span(place, since, until))
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)
    if html is not None:
        from pr3dict.runtime.programme_page import programme_page

        write_whole("--html", html, programme_page(found))
        messages.print(f"Evidence: {html} (one file, opens in any browser)", style="dim", markup=False)
    if csv_dir is not None:
        _write_csv(csv_dir, found)


def _write_csv(folder: Path, found: ProgrammeReport) -> None:
    from pr3dict.cli.report import write_whole
    from pr3dict.domain.errors import UsageError

    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"--csv: {folder} can't be made ({error.strerror}); name another folder") from None
    for name, rows in found.to_csv().items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_whole("--csv", folder / name, text.getvalue())
    messages.print(f"Tables: {folder}", style="dim", markup=False)


def _show(found: ProgrammeReport) -> None:
    answer = found.to_json()
    if not found.config.is_duty:
        from pr3dict.cli.results import incentive_table

        console.print(incentive_table(found.incentives))
        return
    kept, due = answer["hours_kept"], answer["hours_due"]
    console.print(f"{kept} of {due} hours kept, {answer['from']} to {answer['until']}", soft_wrap=True)
    view = table("Hours (the newest ones)", "product", "hour", "", "absent s", "left s", "uptime", left=3)
    view.add_column("absent because", header_style="dim")
    for one in answer["hours"][-HOURS_SHOWN:]:
        word = "lost" if one["breached"] else "kept" if one["over"] else "open"
        reasons = ", ".join(f"{why} {span:,.0f}" for why, span in list(one["reasons_s"].items())[:3])
        view.add_row(
            escape(one["product"]),
            one["hour"][5:16].replace("T", " "),
            word if one["due"] else "no duty",
            f"{one['absent_s']:,.1f}",
            f"{one['left_s']:,.1f}",
            "-" if one["uptime"] is None else f"{one['uptime']:.2%}",
            reasons,
        )
    console.print(view)
    for one in answer["present"]:
        at = one["breach_at_this_rate"]
        rate = f"at this rate it is lost at {at[11:19]}" if at else "at this rate it is kept"
        text = f"{one['product']}: {one['left_s']:,.1f} s of absence are left this hour; {rate}"
        console.print(text, soft_wrap=True, markup=False)
