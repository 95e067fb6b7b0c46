import json
import resource
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pr3dict.cli import main as cli
from pr3dict.cli import output
from pr3dict.domain.errors import ConfigError, DataError, Pr3dictError, RiskStop, UsageError, WorkError

FAILING = """
import time
from typing import Annotated
import typer
from pr3dict.domain import errors
from pr3dict.cli.output import print_json

def command(
    kind: Annotated[str, typer.Argument()],
    count: Annotated[int, typer.Option("--count", help="How many.")] = 1,
) -> None:
    "Fail on purpose."
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "sleep":
        print("ready", flush=True)
        time.sleep(30)
    if kind == "bug":
        raise ZeroDivisionError("no one expected this")
    if kind == "fine":
        print_json({"count": count})
        return
    raise getattr(errors, kind)("the sentence")
"""


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_command.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = cli.CommandEntry("fail", "failing_command", "command", "Fail.")
    monkeypatch.setattr(cli, "COMMANDS", (entry,))


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("kind", [UsageError, ConfigError, DataError, WorkError, RiskStop])
def test_an_error_is_one_sentence_and_its_code(kind: type[Pr3dictError], capsys):
    assert cli.run(["fail", kind.__name__]) == kind.exit_code
    printed = capsys.readouterr()
    assert printed.err == "error: the sentence\n"
    assert printed.out == ""


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("line", [["--debug", "fail", "DataError"], ["fail", "DataError", "--debug"]])
def test_debug_adds_the_traceback_and_keeps_the_code(line, capsys):
    assert cli.run(line) == DataError.exit_code
    printed = capsys.readouterr()
    assert "Traceback" in printed.err
    assert printed.err.endswith("error: the sentence\n")


@pytest.mark.usefixtures("failing")
def test_debug_by_environment(monkeypatch, capsys):
    monkeypatch.setenv("PR3DICT_DEBUG", "1")
    assert cli.run(["fail", "bug"]) == 1
    assert "ZeroDivisionError: no one expected this" in capsys.readouterr().err


@pytest.mark.usefixtures("failing")
def test_a_bug_is_one_sentence_that_says_how_to_see_more(capsys):
    assert cli.run(["fail", "bug"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: internal error (ZeroDivisionError")
    assert "--debug" in printed
    assert printed.count("\n") == 1


@pytest.mark.usefixtures("failing")
def test_an_interrupt_ends_with_130(capsys):
    assert cli.run(["fail", "interrupt"]) == 130
    assert capsys.readouterr().err.startswith("error: interrupted;")


@pytest.mark.usefixtures("failing")
def test_an_interrupt_that_surfaces_as_another_error_ends_with_130(capsys, monkeypatch):
    """Compiled code may turn a KeyboardInterrupt into an error of its own."""
    monkeypatch.setattr(cli.Interrupts, "seen", False)
    with pytest.raises(KeyboardInterrupt):
        cli.Interrupts.take(15, None)
    assert cli.run(["fail", "bug"]) == 130
    assert capsys.readouterr().err.startswith("error: interrupted;")


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(
    ("line", "named"),
    [
        (["fial"], "Did you mean 'fail'?"),
        (["fail"], "'kind'"),
        (["fail", "fine", "--count", "many"], "--count"),
        (["fail", "fine", "--no-such"], "--no-such"),
        (["--no-such"], "--no-such"),
    ],
)
def test_bad_usage_is_one_sentence_with_code_2(line, named, capsys):
    assert cli.run(line) == 2
    printed = capsys.readouterr()
    assert named in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.usefixtures("failing")
def test_a_command_gets_its_arguments(capsys):
    assert cli.run(["fail", "fine", "--count", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == {"count": 3}


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"]])
def test_help_lists_every_command_with_its_line(line, capsys):
    assert cli.run(line) == 0
    printed = capsys.readouterr().out
    for entry in cli.COMMANDS:
        assert f" {entry.name} " in printed
        assert entry.summary.split()[0] in printed


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == "pr3dict 0.1.0\n"


@pytest.mark.parametrize("entry", cli.COMMANDS, ids=lambda entry: entry.name)
def test_every_command_loads_and_every_option_has_a_help_line(entry):
    command = cli.LazyCommand(entry).load()
    assert command.name == entry.name
    assert command.help
    assert [
        p.name for p in command.params if not getattr(p, "hidden", False) and not getattr(p, "help", "")
    ] == []


def test_help_is_quick():
    def measure() -> float:
        """Processor time, so that a busy machine does not fail the test."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "pr3dict.cli.main", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(measure() for _ in range(5)) <= 0.4


def test_a_kill_is_an_interrupt(tmp_path: Path):
    (tmp_path / "failing_command.py").write_text(FAILING)
    script = (
        "import sys; from pr3dict.cli import main as cli;"
        "cli.COMMANDS = (cli.CommandEntry('fail', 'failing_command', 'command', ''),);"
        "sys.argv = ['pr3dict', 'fail', 'sleep']; cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.startswith("error: interrupted;")


def test_json_is_one_object_with_exact_decimals(capsys):
    output.print_json({"z": Decimal("0.0400"), "a": [Decimal("1E+2"), None], "file": Path("a/b")})
    text = capsys.readouterr().out
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["z", "a", "file"]
    assert json.loads(text) == {"z": "0.04", "a": ["100", None], "file": "a/b"}


@pytest.mark.parametrize(
    ("value", "error"), [(float("nan"), ValueError), (float("inf"), ValueError), ({1}, TypeError)]
)
def test_json_refuses_what_it_cannot_say(value, error, capsys):
    with pytest.raises(error):
        output.print_json({"x": value})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("amount", "options", "text"),
    [
        (-1_234_500_000, {}, "-$1,234.50"),
        (1_000_000, {"sign": True}, "+$1.00"),
        (-1, {}, "$0.00"),
        (-1, {"places": 6}, "-$0.000001"),
        (Decimal("0.005"), {"places": 3, "sign": True}, "+$0.005"),
        (0, {"sign": True}, "$0.00"),
    ],
)
def test_money_reads_as_dollars(amount, options, text):
    assert output.money(amount, **options) == text


def test_progress_is_silent_when_nobody_watches(capsys):
    with output.progress() as bar:
        task = bar.add_task("working", total=2)
        bar.advance(task, 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == ""
