"""`explain`: the quote of any moment with every term, from the journal alone."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runtime"))
from paper_runs import journal_run, shared_run

from pr3dict.cli.explain import parse_moment
from pr3dict.cli.main import run
from pr3dict.domain.errors import UsageError
from pr3dict.domain.units import format_dollars
from pr3dict.kernels import dtypes as d

DAY_NS = 86_400 * 1_000_000_000
LAST_NS = 20_697 * DAY_NS + 5 * 3_600 * 1_000_000_000


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> str:
    return str(journal_run(shared_run(), tmp_path_factory.mktemp("explain") / "dir").path)


def test_every_term_is_the_one_that_was_decided(place, capsys):
    decided = [
        (step.now_ns, np.frombuffer(quoted.row, d.QUOTE)[0])
        for step in shared_run().steps
        for quoted in step.quotes
        if quoted.market == 0 and int(np.frombuffer(quoted.row, d.QUOTE)[0]["fair_micros"]) >= 0
    ]
    looked = 0
    for at_ns, row in decided[:: len(decided) // 5]:
        if any(at == at_ns and other is not row for at, other in decided):
            continue
        assert run(["explain", "spread-1", "--at", str(at_ns), "--data-dir", place, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        terms = {term["name"]: term["value"] for term in told["decision"]["terms"]}
        assert float(terms["clamp"]) == int(row["spread_micros"]) / 1e6
        assert float(terms["base_spread"]) == int(row["spread_base_micros"]) / 1e6
        assert float(terms["skew"]) == int(row["skew_micros"]) / 1e6
        assert float(told["decision"]["fair"]) == int(row["fair_micros"]) / 1e6
        assert told["inputs"]["liquidity"] == format_dollars(int(row["liquidity_micros"]))
        assert told["decision"]["bid"] == (
            None if row["bid_price"][0] < 0 else told["decision"]["bids"][0]["price"]
        )
        assert told["age_s"] == 0
        looked += 1
    assert looked >= 3


def test_a_person_reads_it(place, capsys):
    assert run(["explain", "spread-2", "--data-dir", place]) == 0
    text = capsys.readouterr().out
    for words in (
        "What was known",
        "base_spread",
        "skew",
        "Orders that stood",
        "net ",
        "holds    none",
        "state ",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nope"], "there is no market 'nope'"),
        (["synthetic"], "fits 2 markets"),
        (["0", "--at", "noon"], "--at"),
        (["0", "--at", "25:00"], "--at"),
        (["0", "--at", "2020-01-01"], "no process had started"),
    ],
)
def test_what_can_not_be_explained(place, words, named, capsys):
    assert run(["explain", *words, "--data-dir", place]) == 2
    assert named in capsys.readouterr().err


@given(st.integers(600_000_000_000_000, 4_000_000_000_000_000))
def test_moments_are_read_exactly(micros):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    assert parse_moment(moment.isoformat(), LAST_NS) == micros * 1_000
    assert parse_moment(moment.isoformat().removesuffix("+00:00"), LAST_NS) == micros * 1_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("03:10", LAST_NS - 110 * 60 * 1_000_000_000),
        ("05:00:00.5", LAST_NS + 500_000_000),
        (str(LAST_NS), LAST_NS),
    ],
)
def test_a_time_of_day_is_of_the_last_day(text, ns):
    assert parse_moment(text, LAST_NS) == ns


@pytest.mark.parametrize("text", ["", "12", "24:00", "1:2:3", "2026-13-01", "12:61"])
def test_no_moments(text):
    with pytest.raises(UsageError, match="--at"):
        parse_moment(text, LAST_NS)
