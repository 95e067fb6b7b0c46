"""`pr3dict doctor`: are this machine and data directory fit to trade? One line a check, with what to do."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import typer

from pr3dict.cli import output
from pr3dict.cli.process import DataDirOption, JsonOption
from pr3dict.cli.venue_options import (
    DEFAULT_ENV,
    EnvOption,
    EventOption,
    MarketOption,
    SeriesOption,
    UrlOption,
    VenueOption,
    check_venue,
    env_of,
    kalshi_of,
    polymarket_of,
    selection_of,
)
from pr3dict.domain.errors import ConfigError, Pr3dictError, UsageError, WorkError
from pr3dict.store.data_dir import DataDir

if TYPE_CHECKING:
    from pr3dict.runtime.venue_selection import Selection

COMMITS: Final = 200
SLOW_P99_US: Final = 50_000  # a new order waits for its commit
STALL_P99_US: Final = 1_000_000  # the process halts on a journal that slow
FREE_WARN_BYTES: Final = 5 << 30
FREE_FAIL_BYTES: Final = 500 << 20
DRIFT_WARN_NS: Final = 1_000_000
DRIFT_FAIL_NS: Final = 100_000_000
FILES_WARN: Final = 1_024
FILES_FAIL: Final = 256
ZONES: Final = ("America/New_York", "Europe/London")
NEEDED_SQLITE: Final = (3, 37, 0)  # STRICT tables

State = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One check: `text` says what was found, `advice` what to do about it."""

    name: str
    state: State
    text: str
    advice: str = ""
    figures: dict[str, Any] = {}  # noqa: RUF012 - read only


def doctor_command(
    data_dir: DataDirOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A config file to check as well.")
    ] = None,
    venue: VenueOption = None,
    env: EnvOption = DEFAULT_ENV,
    url: UrlOption = None,
    market: MarketOption = None,
    event: EventOption = None,
    series: SeriesOption = None,
    orders: Annotated[
        bool,
        typer.Option("--orders", help="Also place and cancel one tiny order far from the market."),
    ] = False,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="live", help="Needed for --orders at prod.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check config, disk, clock, journal, latch, lease, kernels and limits before trading.

    Measures the disk with 200 synced commits in the data directory, which is made where it is missing. May
    run beside the process. With --venue also the venue: key or wallet, region, limits, balances, approvals,
    leftover orders, stream; the markets that are named say which balances and approvals are needed. Exit
    code 1 where a check failed; warnings fail nothing.
    """
    place = DataDir.of(data_dir)
    named = bool(market or event or series)
    if venue is None and (url is not None or named or orders):
        raise UsageError("--url, --market, --event, --series and --orders need --venue")
    if confirm not in (None, "live"):
        raise UsageError(f"--confirm: {confirm!r} confirms nothing; the word is live")
    if orders and venue is not None and env_of(check_venue(venue), env) == "prod" and confirm != "live":
        raise UsageError("--orders places an order with real money at prod; add --confirm live")
    findings = list(examine(place, config))
    if venue is not None:
        selection = selection_of(market, event, series) if named else None
        findings += _examine_venue(venue, env, url, place, selection, orders=orders)
    failed = sum(finding.state == "fail" for finding in findings)
    if as_json:
        answer = {
            "data_dir": place.path,
            "ok": not failed,
            "checks": [{**f._asdict()} for f in findings],
        }
        output.print_json(answer)
    else:
        _show(place, findings)
    if failed:
        raise WorkError(f"{failed} of {len(findings)} checks failed; do as they say and run this again")


def _examine_venue(
    venue: str,
    env: str | None,
    url: str | None,
    place: DataDir,
    selection: Selection | None,
    *,
    orders: bool,
) -> list[Finding]:
    """Everything about the venue; without a usable key what can be said without one."""
    if check_venue(venue) == "kalshi":
        return _examine_kalshi(env, url, place, selection, orders=orders)
    return _examine_polymarket(env, url, place, selection, orders=orders)


def _examine_kalshi(
    env: str | None, url: str | None, place: DataDir, selection: Selection | None, *, orders: bool
) -> list[Finding]:
    import asyncio

    from pr3dict.cli.doctor_kalshi import examine_selected, key_finding

    try:
        access = kalshi_of("kalshi", env, url)
    except ConfigError as error:
        if error.key in ("--url", "env"):
            raise
        return [key_finding(error)]
    return asyncio.run(examine_selected(access, place, selection, orders=orders))


def _examine_polymarket(
    env: str | None, url: str | None, place: DataDir, selection: Selection | None, *, orders: bool
) -> list[Finding]:
    """Without a usable wallet: time, version and region, which need none."""
    import asyncio

    from pr3dict.cli.doctor_polymarket import examine_selected

    why = ""
    try:
        access = polymarket_of(env, url)
    except ConfigError as error:
        access, why = polymarket_of(env, url, key=False), str(error)
    return asyncio.run(examine_selected(access, place, selection, orders=orders, why=why))


def examine(place: DataDir, config: Path | None) -> Iterator[Finding]:
    """All findings, in order; where the directory can't be used, what needs it is left out."""
    yield check_config(config)
    directory = check_directory(place)
    yield directory
    if directory.state != "fail":
        yield check_space(place.path)
        yield check_commits(place.path)
        yield check_lease(place)
        yield check_journal(place)
        yield check_latch(place)
    yield check_clock()
    yield check_zones()
    yield check_kernels()
    yield check_files()


# --- the checks -----------------------------------------------------------------------------------


def check_config(file: Path | None) -> Finding:
    """Whether the config file, or without one the defaults, can be read."""
    from pr3dict.cli.config import load_configs

    try:
        load_configs(file=file)
    except Pr3dictError as error:
        return Finding("config", "fail", str(error), "correct the file")
    return Finding("config", "ok", f"{file} is valid" if file else "no file named; the defaults hold")


def check_directory(place: DataDir) -> Finding:
    """Whether the data directory can be used; makes it where it is missing."""
    try:
        place.create()
    except Pr3dictError as error:
        return Finding("data directory", "fail", str(error), "name another one with --data-dir")
    return Finding("data directory", "ok", f"{place.path}, private to this user")


def check_space(path: Path) -> Finding:
    """Room for the journal and the tapes."""
    free = shutil.disk_usage(path).free
    state: State = "fail" if free < FREE_FAIL_BYTES else "warn" if free < FREE_WARN_BYTES else "ok"
    advice = "" if state == "ok" else "free space or name a data directory on another disk"
    return Finding("disk space", state, f"{free / (1 << 30):,.1f} GiB free", advice, {"free_bytes": free})


def check_commits(path: Path) -> Finding:
    """How long a durable commit takes: the time between a decision and the order on its way."""
    from pr3dict.domain.commands import Cancel
    from pr3dict.domain.steps import Step
    from pr3dict.store.journal import Journal

    took_ns = []
    cancel = (Cancel(order_id=1, market=0),)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".doctor-", dir=path) as folder,
            Journal.open(Path(folder) / "control.db") as journal,
        ):
            for number in range(1, COMMITS + 1):
                start_ns = time.perf_counter_ns()
                journal.append([Step(number=number, now_ns=number, commands=cancel)])
                took_ns.append(time.perf_counter_ns() - start_ns)
    except (OSError, Pr3dictError) as error:
        return Finding("commits", "fail", f"the disk refused ({error})", "check the disk")
    took_ns.sort()
    p50_us, p99_us = took_ns[COMMITS // 2] // 1000, took_ns[COMMITS * 99 // 100] // 1000
    state: State = "fail" if p99_us > STALL_P99_US else "warn" if p99_us > SLOW_P99_US else "ok"
    advice = "" if state == "ok" else "put the data directory on a faster local disk: orders wait for it"
    text = f"{COMMITS} synced commits took {p50_us:,} us at the median, {p99_us:,} us at p99"
    return Finding("commits", state, text, advice, {"p50_us": p50_us, "p99_us": p99_us})


def check_lease(place: DataDir) -> Finding:
    """Whether a process runs here."""
    from pr3dict.store.lease import holder_of

    try:
        holder = holder_of(place.lease)
    except Pr3dictError as error:
        return Finding("lease", "fail", str(error), "check the rights of the file")
    if holder is None:
        return Finding("lease", "ok", "free: no process runs here")
    text = f"held by process {holder.pid} on {holder.host}"
    advice = "a second process needs another data directory"
    return Finding("lease", "warn", text, advice, {"pid": holder.pid, "host": holder.host})


def check_journal(place: DataDir) -> Finding:
    """Whether the journal can be opened, is whole and lacks nothing that was durable."""
    from pr3dict.store.journal import Journal

    if sqlite3.sqlite_version_info < NEEDED_SQLITE:
        text = f"SQLite {sqlite3.sqlite_version} is older than 3.37"
        return Finding("journal", "fail", text, "use a Python with a newer SQLite")
    if not place.journal.exists():
        return Finding("journal", "ok", "none yet; the first process makes it")
    try:
        with Journal.read(place.journal) as journal:
            defect = journal.quick_defect() or journal.mark_defect()
            number = journal.last_number
    except Pr3dictError as error:
        return Finding("journal", "fail", str(error), "restore a copy of the folder or name another one")
    if defect:
        advice = "put back the files of the folder, or name another one; `pr3dict journal verify` tells more"
        return Finding("journal", "fail", defect, advice, {"steps": number})
    return Finding("journal", "ok", f"whole, {number:,} steps", figures={"steps": number})


def check_latch(place: DataDir) -> Finding:
    """Whether the kill latch is set."""
    from pr3dict.store.latch import LatchFile

    latch = LatchFile(place.latch).read()
    if latch is None:
        return Finding("kill latch", "ok", "not set")
    text = f"set ({latch.reason}): {latch.text}"
    return Finding("kill latch", "warn", text, "nothing is sent until `pr3dict resume --reason ...`")


def check_clock() -> Finding:
    """Whether the wall clock and the steady clock run alike over a second."""
    wall_ns, steady_ns = time.time_ns(), time.monotonic_ns()
    time.sleep(1)
    drift_ns = abs((time.time_ns() - wall_ns) - (time.monotonic_ns() - steady_ns))
    state: State = "fail" if drift_ns > DRIFT_FAIL_NS else "warn" if drift_ns > DRIFT_WARN_NS else "ok"
    advice = "" if state == "ok" else "the clock was set while we looked: let a time service steer it"
    text = f"wall and steady clock differ by {drift_ns / 1000:,.0f} us after a second"
    return Finding("clock", state, text, advice, {"drift_ns": drift_ns})


def check_zones() -> Finding:
    """Whether time zones are known, for trading days and market calendars."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        for zone in ZONES:
            ZoneInfo(zone)
    except ZoneInfoNotFoundError as error:
        return Finding("time zones", "fail", str(error), "install the package tzdata")
    return Finding("time zones", "ok", "known")


def check_kernels() -> Finding:
    """Whether the compiled brain is in the disk cache, and complete."""
    import pr3dict.kernels.warm  # noqa: F401 - loads every module that has kernels
    from pr3dict.kernels.jit import used_folders

    cold = sorted(folder.name.rpartition("-")[0] for folder in used_folders if not any(folder.rglob("*.nbi")))
    figures = {"modules": len(used_folders), "cold": cold}
    if cold:
        text = f"{len(cold)} of {len(used_folders)} modules are not compiled"
        return Finding(
            "kernels", "warn", text, "run `pr3dict warm`, or the first start takes minutes", figures
        )
    return Finding("kernels", "ok", f"{len(used_folders)} modules are compiled", figures=figures)


def check_files() -> Finding:
    """How many files and sockets a process may open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    state: State = "fail" if soft < FILES_FAIL else "warn" if soft < FILES_WARN else "ok"
    advice = "" if state == "ok" else f"raise it: `ulimit -n {FILES_WARN}`"
    return Finding("open files", state, f"up to {soft:,}", advice, {"soft": soft, "hard": hard})


# --- for a person ---------------------------------------------------------------------------------

_COLOURS: Final[dict[State, str]] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def _show(place: DataDir, findings: list[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(str(place.path)), title_justify="left", box=None, show_header=False)
    for width in (None, None, 60):
        table.add_column(no_wrap=width is None, min_width=width or 0, overflow="fold")
    for finding in findings:
        text = f"{finding.text}; {finding.advice}" if finding.advice else finding.text
        colour = _COLOURS[finding.state]
        table.add_row(f"[{colour}]{finding.state}[/]", finding.name, escape(text))
    output.console.print(table)
