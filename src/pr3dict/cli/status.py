"""`pr3dict status`: what a trading process looks like, or, when none runs, what its journal knows last."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from pr3dict.cli.output import console, print_json
from pr3dict.cli.process import DataDirOption, JsonOption, Seen, look
from pr3dict.cli.screen import screen, span

if TYPE_CHECKING:
    from pr3dict.store.data_dir import DataDir

REFRESH_S = 1.0
STALE_S = 5.0  # a running process writes its status about once a second


def status_command(
    data_dir: DataDirOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show money, limits, markets, orders, fills and what is wrong, of a running process or of the last one.

    When no process runs, the journal is folded: positions, orders that were open, the kill latch.
    """
    from pr3dict.domain.errors import UsageError

    if watch and as_json:
        raise UsageError("--watch is for people; call `pr3dict status --json` as often as you need it")
    seen = look(data_dir)
    if watch:
        with suppress(KeyboardInterrupt):
            _follow(seen)
    elif as_json:
        print_json(describe(seen))
    else:
        console.print(view_of(describe(seen), console.width))


def describe(seen: Seen) -> dict[str, Any]:
    """The status with `running`, `pid`, `data_dir` and `age_s`; folded from the journal when nobody runs.

    `latch` is what the file says. `age_s` counts from when the process wrote the status, or from its last
    journaled step.
    """
    from pr3dict.store.latch import LatchFile

    latch = LatchFile(seen.data_dir.latch).read()
    found: dict[str, Any] = {
        "running": seen.holder is not None,
        "pid": None if seen.holder is None else seen.holder.pid,
        "data_dir": str(seen.data_dir.path),
        "age_s": seen.age_s,
        "source": "process",
    }
    status = seen.status
    if seen.holder is None or status is None:
        from pr3dict.runtime.look_back import last_status

        found["source"] = "journal"
        status = last_status(seen.data_dir)
    else:
        status = _with_journal(seen.data_dir, status)
        status["uptime_s"] = max(0.0, round(time.time() - seen.holder.started_ns / 1e9, 3))
    told = {key: value for key, value in status.items() if key not in found}
    told["latch"] = None if latch is None else {"reason": latch.reason, "text": latch.text}
    return {**found, **told}


def _with_journal(data_dir: DataDir, status: dict[str, Any]) -> dict[str, Any]:
    """What a process wrote of itself, with the fills and words that its journal has."""
    from pr3dict.runtime.journal_tail import recent_tail
    from pr3dict.store.journal import Journal

    with Journal.read(data_dir.journal) as journal:
        return recent_tail(journal).add_to(status)


def view_of(status: dict[str, Any], width: int) -> RenderableType:
    """The screen of a status, with a line that says how fresh it is."""
    return Group(Text.from_markup(freshness(status)), screen(status, width))


def freshness(status: dict[str, Any]) -> str:
    """Who runs, and how old what follows is; markup."""
    place = escape(status["data_dir"])
    if not status["running"]:
        return f"[bold yellow]not running[/bold yellow]; last known from the journal in {place}"
    age_s = status["age_s"]
    if status["source"] == "journal":
        return f"process {status['pid']} is starting; last known from the journal in {place}"
    words = f"process {status['pid']} in {place}, status {span(age_s)} old"
    if age_s > STALE_S:
        return f"[bold red]{words}: it does not write, look at its logs[/bold red]"
    return words


def _follow(seen: Seen) -> None:
    from rich.live import Live

    with Live(view_of(describe(seen), console.width), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_S)
            seen = look(seen.data_dir.path)
            live.update(view_of(describe(seen), console.width), refresh=True)
