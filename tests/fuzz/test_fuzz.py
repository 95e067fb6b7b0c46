"""A short run of the fuzzer, every input that once broke a rule, and proof that the fuzzer notices lies."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)

from fuzz import honest, run  # noqa: E402
from pr3dict.venues.kalshi.account_frames import AccountFrames  # noqa: E402
from pr3dict.venues.kalshi.streams import KalshiStreams  # noqa: E402
from pr3dict.venues.polymarket import book, numbers, orders, outcomes  # noqa: E402
from pr3dict.venues.polymarket.outcomes import Verdict  # noqa: E402
from pr3dict.venues.polymarket.settling import Settling  # noqa: E402
from pr3dict.venues.polymarket.streams import PolymarketStreams  # noqa: E402
from pr3dict.venues.wire import Decimals  # noqa: E402

KEPT = sorted((Path(__file__).parent / "regressions").glob("*/*.json"))


def chapters(seed: int, inputs: int, count: int = 2, venue: str = "kalshi") -> run.Found:
    found = run.Found(Counter(), Counter(), [])
    for number in range(count):
        run.chapter(venue, seed, number, inputs, found)
    return found


@pytest.mark.parametrize("venue", ["kalshi", "polymarket"])
def test_a_few_thousand_damaged_inputs_break_nothing(venue):
    found = chapters(20261122, 2000, venue=venue)
    assert found.violations == []
    line = run.totals([found], 1.0)
    assert line["inputs"] == 4000
    assert set(line["by_kind"]) == {"none", "field", "token", "bytes", "splice", "whole"}
    for end in ("accepted", "refused", "unknown", "ignored", "connections_ended"):
        assert line[end] > 50, f"{end}: the inputs no longer reach every end"


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_broke_a_rule_once_breaks_none_now(path):
    """`replay` raises what the input breaks."""
    assert run.replay(path.parent.name, json.loads(path.read_text())) is None


def test_a_number_that_is_read_wrongly_is_noticed(monkeypatch):
    parse = Decimals._parse
    monkeypatch.setattr(Decimals, "_parse", lambda self, text: parse(self, text.strip().removeprefix("+")))
    assert chapters(3, 1000).violations


def test_a_lost_frame_that_costs_no_book_is_noticed(monkeypatch):
    monkeypatch.setattr(KalshiStreams, "_lose", lambda *_: None)
    monkeypatch.setattr(PolymarketStreams, "lose", lambda *_: None)
    assert chapters(3, 1000, count=1).violations
    assert chapters(3, 1000, count=1, venue="polymarket").violations


def test_a_misread_number_of_polymarkets_is_noticed(monkeypatch):
    """A comma for a point, in each of the two ways that numbers take."""
    reader = numbers._READERS[numbers.Size]
    monkeypatch.setitem(numbers._READERS, numbers.Size, lambda v: reader(v.replace(",", ".").strip()))
    assert chapters(3, 1000, venue="polymarket").violations
    monkeypatch.undo()
    monkeypatch.setattr(book, "_ns", lambda text: int(text) * 10**6)
    assert chapters(4, 1000, count=1, venue="polymarket").violations


def test_an_answer_that_is_judged_wrongly_is_noticed(monkeypatch):
    """What nobody knows is taken for a refusal."""
    judge = outcomes.judge_leg

    def hasty(leg, digest):
        found = judge(leg, digest)
        return found._replace(verdict=Verdict.REFUSED) if found.verdict is Verdict.UNKNOWN else found

    monkeypatch.setattr(orders, "judge_leg", hasty)
    assert chapters(3, 1000, venue="polymarket").violations


def test_a_trade_that_is_lost_on_its_way_is_noticed(monkeypatch):
    monkeypatch.setattr(Settling, "note", lambda *_: ())
    assert chapters(3, 1000, count=1, venue="polymarket").violations


def test_an_exception_that_escapes_is_noticed(monkeypatch):
    def _order(self, order):
        return (1 // int(order.remaining_count_fp),)

    monkeypatch.setattr(AccountFrames, "_order", _order)
    (violation, *_) = chapters(3, 1000, count=1).violations
    assert "ZeroDivisionError" in violation["broke"] or "int" in violation["broke"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-22T13:46:20Z", 1_795_355_180_000_000_000),
        ("2026-11-22T15:46:20.5+02:00", 1_795_355_180_500_000_000),
        ("1970-01-01t00:00:00z", 0),
    ],
)
def test_the_slow_reader_of_times(text, meant):
    assert honest.moment(text) == meant


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2026-11-22T13:46:60Z", "1969-12-31T23:59:59Z", 7])
def test_the_slow_reader_refuses_what_is_no_time(text):
    with pytest.raises(honest.Lie):
        honest.moment(text)
