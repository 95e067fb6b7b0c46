"""The door of the program: loads the one command that the line asks for and ends with its exit code.

0 done, 1 the work failed, 2 bad usage, config or data, 3 stopped by risk, 130 interrupted. Whatever goes
wrong is one sentence on stderr; `--debug` (anywhere on the line) or PR3DICT_DEBUG=1 adds the traceback.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from pr3dict import __version__
from pr3dict.domain.errors import Pr3dictError

WORK_FAILED = 1
USAGE_FAILED = 2
INTERRUPTED = 130


class CommandEntry(NamedTuple):
    """Where a command lives and the line that `--help` shows without loading it."""

    name: str
    module: str
    function: str  # or the name of a `typer.Typer` with commands of its own
    summary: str


COMMANDS = (
    CommandEntry(
        "demo",
        "pr3dict.cli.demo",
        "demo_command",
        "Trade ten generated (synthetic) markets on paper: quotes, fills, inventory and profit, live.",
    ),
    CommandEntry(
        "paper",
        "pr3dict.cli.paper",
        "paper_command",
        "Trade on paper, in recorded or live markets: the engine with journal, limits and operator commands.",
    ),
    CommandEntry(
        "live",
        "pr3dict.cli.live",
        "live_command",
        "Trade with real orders at a venue: journal, limits and operator commands.",
    ),
    CommandEntry(
        "status",
        "pr3dict.cli.status",
        "status_command",
        "Show money, limits, markets, orders, fills and what is wrong, running or not.",
    ),
    CommandEntry(
        "report",
        "pr3dict.cli.report_command",
        "report_command",
        "Account for the sessions of a data directory; evidence for programmes, queue models.",
    ),
    CommandEntry(
        "explain",
        "pr3dict.cli.explain",
        "explain_command",
        "Show every term of a market's quote, now or at any past moment.",
    ),
    CommandEntry(
        "halt",
        "pr3dict.cli.halt",
        "halt_command",
        "Cancel every order and refuse new ones until resume.",
    ),
    CommandEntry(
        "resume",
        "pr3dict.cli.halt",
        "resume_command",
        "Lift the kill latch and every halt, pause and breaker.",
    ),
    CommandEntry(
        "flatten",
        "pr3dict.cli.halt",
        "flatten_command",
        "Sell what is held within a bounded slippage, after a preview.",
    ),
    CommandEntry(
        "pause",
        "pr3dict.cli.halt",
        "pause_command",
        "Stop quoting one market.",
    ),
    CommandEntry(
        "unpause",
        "pr3dict.cli.halt",
        "unpause_command",
        "Quote a market again that was paused or flattened.",
    ),
    CommandEntry(
        "pairs",
        "pr3dict.cli.pairs",
        "pairs_command",
        "Hold so many pairs of YES and NO in one market, by splits and merges.",
    ),
    CommandEntry(
        "journal",
        "pr3dict.cli.journal",
        "journal_app",
        "Prove that a journal is whole, replay it, write it as JSON lines.",
    ),
    CommandEntry(
        "doctor",
        "pr3dict.cli.doctor",
        "doctor_command",
        "Check config, disk, clock, lease, latch and journal before a start.",
    ),
    CommandEntry(
        "exchange",
        "pr3dict.cli.exchange",
        "exchange_command",
        "Serve the simulated exchange to other processes of this machine.",
    ),
    CommandEntry(
        "signer",
        "pr3dict.cli.signer",
        "signer_command",
        "Hold a Polymarket wallet's key in a process of its own, which signs within caps.",
    ),
    CommandEntry(
        "backtest",
        "pr3dict.cli.backtest",
        "backtest_command",
        "Replay recorded tapes against the strategy and report what it would have earned.",
    ),
    CommandEntry(
        "scan",
        "pr3dict.cli.scan",
        "scan_command",
        "Rank recorded markets by what quoting them would earn, with the reason for each rejection.",
    ),
    CommandEntry(
        "record",
        "pr3dict.cli.record",
        "record_command",
        "Keep live markets as tapes: books, trades and what becomes of them.",
    ),
    CommandEntry(
        "compare",
        "pr3dict.cli.compare",
        "compare_command",
        "Put backtests side by side and say which differences are noise.",
    ),
    CommandEntry(
        "import",
        "pr3dict.cli.import_",
        "import_command",
        "Turn recordings of other programs into checked tapes.",
    ),
    CommandEntry(
        "tape",
        "pr3dict.cli.tape",
        "tape_app",
        "Look at tapes, check them, cut them and merge them.",
    ),
    CommandEntry(
        "calibrate",
        "pr3dict.cli.calibrate",
        "calibrate_command",
        "Fit the generator of synthetic markets to recorded tapes and compare the two.",
    ),
    CommandEntry(
        "quote",
        "pr3dict.cli.quote",
        "quote_command",
        "Show one quoting decision, with every term, from numbers given by flags.",
    ),
    CommandEntry(
        "estimate",
        "pr3dict.cli.estimate",
        "estimate_command",
        "Compute revenue from stated assumptions.",
    ),
    CommandEntry(
        "warm",
        "pr3dict.cli.warm",
        "warm_command",
        "Compile the kernels now, so that no later command waits for it.",
    ),
)


class LazyCommand(TyperCommand):
    """A name and a line of help that become the real command when it is called."""

    def __init__(self, entry: CommandEntry) -> None:
        super().__init__(name=entry.name, help=entry.summary)
        self.entry = entry

    def load(self) -> TyperCommand | TyperGroup:
        """Import the command's module and build its parameters from the function's annotations."""
        found: Callable[..., None] | typer.Typer = getattr(
            importlib.import_module(self.entry.module), self.entry.function
        )
        if isinstance(found, typer.Typer):
            app = found
        else:
            app = typer.Typer(add_completion=False)
            app.command(name=self.entry.name)(found)
        command = get_command(app)
        assert isinstance(command, TyperCommand | TyperGroup)
        command.name = self.entry.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse `args` with the real command: from here on it has taken this one's place."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pr3dict {__version__}")
        raise typer.Exit


def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.", envvar="PR3DICT_DEBUG")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Market maker for binary prediction markets on Kalshi and Polymarket."""


def build_app() -> TyperGroup:
    """The command group with every entry of `COMMANDS`, none of them loaded."""
    app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
    app.callback()(_root)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for entry in COMMANDS:
        group.add_command(LazyCommand(entry))
    return group


def _usage_sentence(error: typer.TyperException) -> str:
    sentence = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "pr3dict"
    return f"{sentence} (see `{path} --help`)"


def _fail(sentence: str, code: int, *, traceback_of: BaseException | None = None) -> int:
    sys.stdout.flush()
    if traceback_of is not None:
        traceback.print_exception(traceback_of)
    sys.stderr.write(f"error: {sentence}\n")
    return code


class Interrupts:
    """Whether Ctrl-C or a kill came: inside compiled code the interrupt may surface as another error."""

    seen = False

    @classmethod
    def take(cls, _number: int, _frame: object) -> None:
        """The handler of SIGINT and SIGTERM, until a process takes them over."""
        cls.seen = True
        raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    debug = "--debug" in arguments or os.environ.get("PR3DICT_DEBUG", "") not in ("", "0")
    words = [word for word in arguments if word != "--debug"] or ["--help"]
    try:
        code = build_app().main(words, prog_name="pr3dict", standalone_mode=False)
    except Pr3dictError as error:
        return _fail(str(error), error.exit_code, traceback_of=error if debug else None)
    except typer.TyperException as error:
        return _fail(_usage_sentence(error), USAGE_FAILED)
    except typer.Abort:
        code = INTERRUPTED
    except Exception as error:
        if Interrupts.seen:
            return _fail("interrupted; run the command again", INTERRUPTED)
        sentence = f"internal error ({type(error).__name__}: {error}); run again with --debug and report it"
        return _fail(sentence, WORK_FAILED, traceback_of=error if debug else None)
    if code == INTERRUPTED:
        return _fail("interrupted; no half-written file was left, run the command again", INTERRUPTED)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the `pr3dict` script."""
    signal.signal(signal.SIGTERM, Interrupts.take)  # a kill cleans up as Ctrl-C does
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background of a script
        signal.signal(signal.SIGINT, Interrupts.take)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
