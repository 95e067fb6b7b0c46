"""The list in a venue's page is what the rows are, and the run says what happened."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conformance import docs
from conformance.rows import HERE, Row, modules, row_of, rows_of, titles_of, unused_of, venues

FILE = """
from conformance.rows import row
import pytest

@row("2.1", "A row that holds.", demo=True)
def test_holds():
    pass

@row("1.2", "A row with two cases, one of which does not hold.")
@pytest.mark.parametrize("k", [1, 2])
def test_fails(k):
    assert k == 1, "two is not one"

@row("1.10", "A row that can't be run.")
def test_skips():
    pytest.skip("nothing to run it on")

def test_is_no_row():
    raise AssertionError
"""


@pytest.mark.parametrize("venue", venues())
def test_the_page_holds_the_rows(venue):
    text = docs.page_of(venue).read_text(encoding="utf-8")
    assert docs.replaced(text, docs.render(venue)) == text, "run `make docs`"


@pytest.mark.parametrize("venue", venues())
def test_every_test_there_is_a_row_of_a_section(venue):
    rows = rows_of(venue)
    assert rows and {row.key[0] for row in rows} <= set(titles_of(venue))
    for module in modules(venue):
        tests = [name for name in vars(module) if name.startswith("test_")]
        assert [name for name in tests if row_of(getattr(module, name)) is None] == []
    assert all(one.why and not one.why.endswith(".") for one in unused_of(venue))


def test_what_is_no_row_is_refused():
    for number, text in (("1", "A."), ("1.x", "A."), ("1.1", "no full stop"), ("1.1", "")):
        with pytest.raises(ValueError, match=r"row|number"):
            Row(number, text)


def run(folder, *more):
    given = "".join(f", {word}" for word in more)
    script = "import sys; from pathlib import Path; from conformance.run import run; "
    script += f"sys.exit(run(Path(sys.argv[1]){given}))"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_rows_are_printed_in_order_and_a_failure_is_an_exit_code(tmp_path):
    path = tmp_path / "test_section_1.py"
    path.write_text(FILE, encoding="utf-8")
    found = run(tmp_path)
    lines = found.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["1.2", "failed"],
        ["1.10", "skipped"],
        ["2.1", "passed"],
    ]
    assert "two is not one" in found.stdout and lines[-2] == "1 skipped: nothing to run it on"
    assert lines[-1] == "1 passed, 1 failed" and found.returncode == 1
    path.write_text(FILE.replace("assert k == 1", "assert k"), encoding="utf-8")
    found = run(tmp_path)
    assert found.stdout.splitlines()[-1] == "2 passed, 0 failed" and found.returncode == 0
    found = run(tmp_path, "env='demo'")
    assert found.stdout.splitlines() == ["   2.1 passed  A row that holds.", "1 passed, 0 failed"]


def test_rows_that_cannot_be_collected_fail_the_run(tmp_path):
    (tmp_path / "test_section_1.py").write_text("import no_such_module\n", encoding="utf-8")
    found = run(tmp_path)
    assert found.stdout.splitlines()[-1] == "0 passed, 1 failed" and found.returncode == 1
    (tmp_path / "test_section_1.py").write_text("", encoding="utf-8")
    assert run(tmp_path).returncode == 1


def test_a_page_without_a_place_for_the_rows_is_refused():
    with pytest.raises(ValueError, match="no place"):
        docs.replaced("# A page\n", "x")
