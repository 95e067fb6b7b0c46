"""Commands of an operator to a trading process: halt, resume, flatten, pause and unpause.

They travel through the data directory, are journaled by the process and answered. Without a process, halt
sets the kill latch on disk itself, and resume waits for the next process.
"""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.markup import escape

from pr3dict.cli.output import console, money, print_json, table
from pr3dict.cli.process import (
    ANSWER_TIMEOUT_S,
    DataDirOption,
    JsonOption,
    Seen,
    TimeoutOption,
    ask,
    check_reason,
    check_timeout,
    find_market,
    look,
    not_running,
    operator,
)
from pr3dict.cli.screen import contracts, price
from pr3dict.domain.errors import UsageError, WorkError

if TYPE_CHECKING:
    from pr3dict.store.mailbox import MailAnswer

EVERYWHERE = -1
DEFAULT_SLIPPAGE = "0.05"
MAX_SLIPPAGE = Decimal("0.5")

ReasonOption = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it is kept in the journal.")]
MarketArgument = Annotated[
    str, typer.Argument(metavar="MARKET", help="Ticker of the market, or a part that only it has.")
]


class Where(NamedTuple):
    """Options that all commands share."""

    data_dir: Path | None
    timeout: float
    as_json: bool


def _done(answer: MailAnswer, as_json: bool, **more: object) -> None:
    if as_json:
        print_json({"ok": answer.ok, "text": answer.text, "command_id": answer.command_id, **more})
    else:
        console.print(escape(answer.text))


def halt_command(
    reason: ReasonOption = "by hand",
    data_dir: DataDirOption = None,
    timeout: TimeoutOption = ANSWER_TIMEOUT_S,
    as_json: JsonOption = False,
) -> None:
    """Cancel every order and refuse new ones until `pr3dict resume`.

    Sets the kill latch, which survives a crash and a restart. Without a running process it sets the latch on
    disk: the next process starts halted.
    """
    from pr3dict.domain.events import Halt
    from pr3dict.store.latch import LatchFile

    why, timeout_s = check_reason(reason), check_timeout(timeout)
    seen = look(data_dir)
    if seen.holder is not None:
        command = Halt(command_id="", who=operator(), reason=why)
        _done(ask(seen.data_dir, command, timeout_s), as_json, running=True)
        return
    latch = LatchFile(seen.data_dir.latch).set("halt", f"{operator()}: {why}", time.time_ns())
    text = not_running(
        seen.data_dir, "the kill latch is set, so the next one starts halted until `pr3dict resume`"
    )
    if as_json:
        print_json({"ok": True, "text": text, "running": False, "latch": latch.text})
    else:
        console.print(escape(text))


def resume_command(
    reason: Annotated[str, typer.Option("--reason", metavar="WHY", help="Why it is safe to go on.")],
    data_dir: DataDirOption = None,
    timeout: TimeoutOption = ANSWER_TIMEOUT_S,
    as_json: JsonOption = False,
) -> None:
    """Lift the kill latch and every halt, pause and breaker: the only way back to quoting.

    Without a running process the command waits for the next one, which takes it before it quotes.
    """
    from pr3dict.domain.events import Resume
    from pr3dict.store.mailbox import Mailbox

    why, timeout_s = check_reason(reason), check_timeout(timeout)
    seen = look(data_dir)
    command = Resume(command_id="", who=operator(), reason=why)
    if seen.holder is not None:
        _done(ask(seen.data_dir, command, timeout_s), as_json, running=True)
        return
    command_id = Mailbox(seen.data_dir.mailbox).post(command)
    text = not_running(seen.data_dir, "the next one resumes as its first act")
    if as_json:
        print_json({"ok": True, "text": text, "command_id": command_id, "running": False})
    else:
        console.print(escape(text))


def pause_command(
    market: MarketArgument,
    data_dir: DataDirOption = None,
    timeout: TimeoutOption = ANSWER_TIMEOUT_S,
    as_json: JsonOption = False,
) -> None:
    """Stop quoting one market; what is held there stays, exits go on."""
    _pause(market, True, Where(data_dir, timeout, as_json))


def unpause_command(
    market: MarketArgument,
    data_dir: DataDirOption = None,
    timeout: TimeoutOption = ANSWER_TIMEOUT_S,
    as_json: JsonOption = False,
) -> None:
    """Quote a market again that was paused or flattened."""
    _pause(market, False, Where(data_dir, timeout, as_json))


def running(path: Path | None, consequence: str) -> tuple[Seen, dict[str, Any]]:
    """The process that runs in a data directory, and its status.

    Raises:
        WorkError: none runs, or it has not said yet what it is.
    """
    seen = look(path)
    if seen.holder is None:
        raise WorkError(not_running(seen.data_dir, consequence))
    if seen.status is None:
        raise WorkError(f"{seen.data_dir.status}: the process has not written its status yet; try again")
    return seen, seen.status


def _pause(wanted: str, paused: bool, where: Where) -> None:
    from pr3dict.domain.events import PauseMarket

    timeout_s = check_timeout(where.timeout)
    seen, status = running(where.data_dir, "no market is quoted, so none can be paused")
    market = find_market(status, wanted)
    command = PauseMarket(command_id="", who=operator(), market=market["market"], paused=paused)
    _done(ask(seen.data_dir, command, timeout_s), where.as_json, market=market["ticker"])


def flatten_command(
    market: Annotated[
        str | None,
        typer.Argument(
            metavar="[MARKET]", help="Ticker of the market, or a part that only it has; else all."
        ),
    ] = None,
    slippage: Annotated[
        str,
        typer.Option(metavar="DOLLARS", help="Sell at most this far from fair value, a contract."),
    ] = DEFAULT_SLIPPAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDirOption = None,
    timeout: TimeoutOption = ANSWER_TIMEOUT_S,
    as_json: JsonOption = False,
) -> None:
    """Sell what is held, in one market or in all, within a bounded slippage; quoting stays off there.

    Shows position, best price and expected cost first, and asks. What the book can't absorb within the bound
    rests as an exit order at the bound. `pr3dict unpause` quotes the market again.
    """
    from pr3dict.domain.events import Flatten

    bound, timeout_s = slippage_micros(slippage), check_timeout(timeout)
    if as_json and not yes:
        raise UsageError("--json asks nobody; add --yes")
    seen, status = running(data_dir, "nothing can be sold without one; start it again")
    chosen = [find_market(status, market)] if market is not None else list(status["markets"])
    exits = [exit_of(m, bound) for m in chosen if Decimal(m["net_position"] or 0)]
    if not as_json:
        show_exits(exits, bound)
    if not yes:
        _confirm()
    row = chosen[0]["market"] if market is not None else EVERYWHERE
    command = Flatten(command_id="", who=operator(), market=row, max_slippage_micros=bound)
    _done(ask(seen.data_dir, command, timeout_s), as_json, exits=[one._asdict() for one in exits])


def slippage_micros(text: str) -> int:
    """Dollars a contract as micros; raises `UsageError` for what nobody means."""
    from pr3dict.domain.errors import DataError
    from pr3dict.domain.units import parse_money

    try:
        micros = parse_money(text)
    except DataError as error:
        raise UsageError(f"--slippage: {error}; write dollars a contract, for example 0.05") from None
    if micros > MAX_SLIPPAGE * 1_000_000:
        raise UsageError(f"--slippage: ${text} a contract is above ${MAX_SLIPPAGE}; give less")
    return micros


class Exit(NamedTuple):
    """What getting out of one market would take; None where the book or the fair value is unknown."""

    ticker: str
    net_position: Decimal
    best: Decimal | None  # the price on the other side of the book
    limit: Decimal | None  # no contract is sold beyond it
    cost_at_best: Decimal | None  # dollars against fair value, the whole position at `best`
    cost_at_limit: Decimal | None


def exit_of(market: dict[str, Any], bound_micros: int) -> Exit:
    """The preview of one market of a status."""
    net = Decimal(market["net_position"])
    best = market["best_bid"] if net > 0 else market["best_ask"]
    fair = None if market["fair"] is None else Decimal(market["fair"])
    away = Decimal(bound_micros) / 1_000_000
    if fair is None:
        return Exit(market["ticker"], net, None if best is None else Decimal(best), None, None, None)
    limit = min(max(fair - away if net > 0 else fair + away, Decimal(0)), Decimal(1))
    if best is None:
        return Exit(market["ticker"], net, None, limit, None, abs(fair - limit) * abs(net))
    at_best = (fair - Decimal(best)) * net
    return Exit(market["ticker"], net, Decimal(best), limit, at_best, abs(fair - limit) * abs(net))


def show_exits(exits: list[Exit], bound_micros: int) -> None:
    """Print what would be sold and what it would cost."""
    if not exits:
        console.print("Nothing is held there: quoting stops, nothing is sold.")
        return
    view = table("To be sold", "market", "net", "best price", "limit", "cost at best", "at most")
    for one in exits:
        view.add_row(
            escape(one.ticker),
            contracts(str(one.net_position), sign=True),
            price(None if one.best is None else str(one.best)),
            price(None if one.limit is None else str(one.limit), 4),
            "-" if one.cost_at_best is None else money(one.cost_at_best),
            "-" if one.cost_at_limit is None else money(one.cost_at_limit),
        )
    console.print(view)
    console.print(
        f"Costs are against fair value. No contract is sold more than {money(bound_micros, 4)} from it; what "
        "the book does not absorb rests at the limit.",
        style="dim",
    )


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError("flatten asks before it sells and nobody can answer here; add --yes")
    if not typer.confirm("Sell?", default=False):
        raise UsageError("nothing was sold")
