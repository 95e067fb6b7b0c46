"""`make conformance VENUE=kalshi`: every row as passed or failed, then how many.

`--env demo` runs the rows that may run against the venue's demo account, with the credentials of the
environment. Exit code 1: a row failed, or none could be run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from conformance.rows import HERE, Row, row_of, venues

ENV_VARIABLE = "PR3DICT_CONFORMANCE_ENV"
OPTIONS = ("-o", "addopts=", "--import-mode=importlib", "--strict-markers", "-p", "no:terminal")


class Recorder:
    """A plugin of pytest: keeps what rows there are in order, and says each row's result as it ends."""

    def __init__(self, *, demo: bool) -> None:
        self.passed = self.failed = 0
        self.skipped: Counter[str] = Counter()  # by reason
        self.broken: list[str] = []  # what could not even be collected
        self.reports: list[str] = []
        self._demo = demo
        self._left: dict[str, int] = {}  # a row's test may have several cases
        self._row_of: dict[str, Row] = {}
        self._bad: dict[str, list[str]] = {}
        self._reasons: dict[str, list[str]] = {}
        self._good: set[str] = set()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that can't be imported holds rows that nobody tested."""
        if report.failed:
            self.broken.append(f"{report.nodeid}\n{report.longreprtext}")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Rows only, in order."""
        found = []
        for item in items:
            row = row_of(getattr(item, "function", None))
            if row is not None and (row.demo or not self._demo):
                self._row_of[item.nodeid] = row
                self._left[row.number] = self._left.get(row.number, 0) + 1
                found.append(item)
        items[:] = sorted(found, key=lambda item: self._row_of[item.nodeid].key)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one case."""
        row = self._row_of[report.nodeid]
        if report.failed:
            self._bad.setdefault(row.number, []).append(f"{report.nodeid}\n{report.longreprtext}")
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._reasons.setdefault(row.number, []).append(reason.removeprefix("Skipped: "))
        elif report.when == "call":
            self._good.add(row.number)
        if report.when == "teardown":
            self._left[row.number] -= 1
            if self._left[row.number] == 0:
                self._say(row)

    def _say(self, row: Row) -> None:
        if row.number in self._bad:
            self.failed += 1
            self.reports += self._bad[row.number]
            word = "failed"
        elif row.number in self._good:
            self.passed += 1
            word = "passed"
        else:
            self.skipped[self._reasons[row.number][0]] += 1
            word = "skipped"
        print(f"{row.number:>6} {word:<7} {row.text}", flush=True)


def run(folder: Path, *, env: str = "local", more: Sequence[str] = ()) -> int:
    """Run the rows of a folder; returns the exit code."""
    os.environ[ENV_VARIABLE] = env
    recorder = Recorder(demo=env == "demo")
    ended = pytest.main([str(folder), *OPTIONS, *more], plugins=[recorder])
    for text in (*recorder.broken, *recorder.reports):
        print(f"\n{text}")
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(f"\nthe run broke off: {ended!r}")
    for why, count in recorder.skipped.items():
        print(f"{count} skipped: {why}")
    print(f"{recorder.passed} passed, {recorder.failed + len(recorder.broken)} failed")
    ran = recorder.passed + recorder.skipped.total()
    whole = ended is pytest.ExitCode.OK and not (recorder.failed or recorder.broken)
    return 0 if whole and ran else 1


def main() -> int:
    """Read the command line, run."""
    parser = argparse.ArgumentParser(prog="python -m conformance.run", description=__doc__)
    parser.add_argument("--venue", required=True)
    parser.add_argument("--env", choices=("local", "demo"), default="local")
    given = parser.parse_args()
    if given.venue not in venues():
        print(f"there are no rows for {given.venue!r}; there are for: {', '.join(venues())}", file=sys.stderr)
        return 2
    return run(HERE / given.venue, env=given.env)


if __name__ == "__main__":
    sys.exit(main())
