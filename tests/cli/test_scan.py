"""`pr3dict scan`: ranked and rejected tapes, judged whole or at a moment, whatever the tape can show."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pr3dict.cli.main import run
from pr3dict.cli.scan import moment_ns
from pr3dict.domain.errors import UsageError
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.scan import judge
from pr3dict.runtime.synthetic import OPEN_NS, synthetic_market
from pr3dict.runtime.tapeset import tape_paths
from pr3dict.store.importers import FORMATS
from pr3dict.store.layouts import BAR_ROW, QUOTE_ROW
from pr3dict.store.tape import Tape, write_tape
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import preset

CLOSE_NS = OPEN_NS + 36 * NS_PER_HOUR


@pytest.fixture(scope="module")
def tapes(tmp_path_factory):
    """Three generated markets: two that the default preset likes, one that lives 15 minutes."""
    folder = tmp_path_factory.mktemp("tapes")
    for regime in ("wide_spread", "calm", "short_dated"):
        tape = synthetic_market(3, regime)
        write_tape(folder / f"{regime}.parquet", tape.events, tape.meta)
    return folder


def answer(capsys, *arguments) -> dict:
    assert run(["scan", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_shows_every_part_of_the_score(tapes, capsys):
    found = answer(capsys, tapes)
    assert found["markets"] == 3 == sum(len(found[name]) for name in ("ranked", "unscored", "rejected"))
    scores = [one["score"]["percent_an_hour"] for one in found["ranked"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 2
    for one in found["ranked"]:
        part = {name: Decimal(value) for name, value in one["score"].items() if isinstance(value, str)}
        costs = part["adverse"] + part["fees"] - part["rebates"] - part["rewards"]
        assert part["net"] == part["capture"] - costs
        assert part["locked"] == part["quotes_locked"] + part["held_locked"] + part["surplus_locked"]
        assert one["score"]["percent_an_hour"] == pytest.approx(
            float(100 * part["net"] / part["locked"]), abs=1e-3
        )
        assert one["hours_to_resolution"] == pytest.approx(18, abs=0.1)  # on average over 36 hours
    rejected = found["rejected"][0]
    assert rejected["rejections"][0] == {
        "reason": "too_close_to_resolution",
        "sentence": "time to resolution 7.5 min < min_time_to_resolution 30 min",
    }


def test_statistics_are_those_of_the_tape(tapes, capsys):
    """Counted once more from the rows, without the kernels."""
    tape = synthetic_market(3, "wide_spread")
    trades = tape.events[tape.events["kind"] == d.TRADE]
    one = next(m for m in answer(capsys, tapes)["ranked"] if "wide_spread" in m["market"])["statistics"]
    assert one["hours"] == pytest.approx(36, abs=0.01)
    for side, name in ((d.BID, "yes_bought"), (d.ASK, "yes_sold")):
        sizes = trades["qty"][trades["side"] == side]
        assert one["trades_per_hour"][name] == pytest.approx(len(sizes) / one["hours"], rel=1e-4)
        assert one["contracts_per_hour"][name] == pytest.approx(sizes.sum() / 1e6 / one["hours"], rel=1e-4)


def test_tables_for_a_person(tapes, capsys, monkeypatch):
    monkeypatch.setattr("pr3dict.cli.scan.console.width", 80, raising=False)
    assert run(["scan", str(tapes)]) == 0
    shown = capsys.readouterr().out
    for words in (
        "Ranked by net dollars",
        "Their quotes",
        "Their books",
        "Their flow",
        "Rejected",
        "adverse",
    ):
        assert words in shown
    assert "time to resolution 7.5 min" in shown
    assert "…" not in shown.partition("Rejected")[0]


def test_a_moment_uses_only_what_came_before(capsys, tmp_path):
    tape = synthetic_market(3, "wide_spread")
    at_ns = OPEN_NS + 3 * NS_PER_HOUR
    whole = judge(tape, MarketMakingConfig(), at_ns=at_ns).candidate
    cut_at = int(np.searchsorted(tape.events["exch_ns"], at_ns)) + 1  # the recording goes on, but otherwise
    cut = judge(Tape(tape.events[:cut_at].copy(), tape.meta), MarketMakingConfig(), at_ns=at_ns).candidate
    assert whole.statistics == cut.statistics
    assert whole.statistics.hours == pytest.approx(3, abs=0.01)
    assert whole.score == cut.score
    write_tape(tmp_path / "t.parquet", tape.events, tape.meta)
    found = answer(capsys, tmp_path, "--at", "2026-09-01T03:00:00Z")
    assert found["at_ns"] == at_ns
    assert found["ranked"][0]["hours_to_resolution"] == 33
    assert Decimal(found["ranked"][0]["score"]["net"]) * 1_000_000 == whole.score.net_micros


@pytest.mark.parametrize(
    ("at_ns", "words"),
    [
        (OPEN_NS - 1, "the tape begins later"),
        (CLOSE_NS + 1, "the market is closed at that moment"),
        (CLOSE_NS + 3_600 * NS_PER_SECOND, "the market is settled at that moment"),
        (CLOSE_NS - 600 * NS_PER_SECOND, "time to resolution 10 min < min_time_to_resolution 30 min"),
    ],
)
def test_a_moment_outside_the_market_is_a_reason(at_ns, words):
    judged = judge(synthetic_market(3, "wide_spread"), MarketMakingConfig(), at_ns=at_ns)
    assert words in [one.sentence for one in judged.candidate.rejections]


def test_a_recording_that_stopped_is_not_judged_later():
    tape = synthetic_market(3, "wide_spread")
    stopped = Tape(tape.events[:5_000].copy(), tape.meta)
    judged = judge(stopped, MarketMakingConfig(), at_ns=CLOSE_NS - NS_PER_HOUR)
    assert [one.sentence for one in judged.candidate.rejections] == ["the tape ends earlier"]


def test_the_memory_fades_what_is_old():
    tape = synthetic_market(3, "wide_spread")
    short = MarketMakingConfig(selection_memory="1h")
    judged = judge(tape, short, at_ns=OPEN_NS + 10 * NS_PER_HOUR)
    assert 0.5 <= judged.candidate.statistics.hours < 1


# --- tapes that can show less ---------------------------------------------------------------------


def partly(kind: str, rows: np.ndarray) -> Tape:
    meta = synthetic_market(3, "wide_spread").meta
    unknown = {"grids": (), "min_size": 0, "lot": 0} if kind != "trades" else {}
    return Tape(rows, msgspec.structs.replace(meta, kind=kind, has_trades="none", **unknown))


def test_quotes_are_judged_by_spread_and_time(tmp_path, capsys):
    rows = np.zeros(200, QUOTE_ROW)
    rows["exch_ns"] = rows["local_ns"] = OPEN_NS + np.arange(200) * 60 * NS_PER_SECOND
    rows["bid_price"], rows["ask_price"], rows["volume_micros"] = 4_000, 4_300, -1
    tape = partly("quotes", rows)
    write_tape(tmp_path / "q.parquet", tape.events, tape.meta)
    one = answer(capsys, tmp_path)["unscored"][0]
    assert one["missing"] == ["depth", "trades"] and one["score"] is None
    assert one["statistics"]["spread"] == 0.03 and one["statistics"]["liquidity"] is None
    assert one["statistics"]["contracts_per_hour"] is None
    assert run(["scan", str(tmp_path)]) == 0
    assert "the tape shows no depth, no trades" in capsys.readouterr().out
    rows["ask_price"] = 4_100
    why = judge(partly("quotes", rows), MarketMakingConfig()).candidate.rejections
    assert [one.sentence for one in why] == ["spread $0.0100 < min_existing_spread $0.0200"]
    assert judge(tape, MarketMakingConfig(), at_ns=OPEN_NS).candidate.rejections[0].reason == "not_yet_open"


def test_trades_and_bars_are_judged_by_time():
    events = synthetic_market(3, "wide_spread").events
    trades = judge(partly("trades", events[events["kind"] == d.TRADE].copy()), MarketMakingConfig())
    assert trades.candidate.missing == ("spread", "depth")
    assert trades.candidate.score is None and trades.candidate.rejections == ()
    flow = trades.candidate.statistics.contracts_per_hour
    assert flow is not None and min(flow) > 0
    bars = np.zeros(2, BAR_ROW)
    bars["start_ns"], bars["end_ns"] = [OPEN_NS, OPEN_NS + 1], [OPEN_NS + 1, OPEN_NS + 2]
    judged = judge(partly("bars", bars), preset("short_dated"))
    assert judged.candidate.missing == ("spread", "depth", "trades")
    assert [one.reason for one in judged.candidate.rejections] == ["too_far_from_resolution"]


def test_a_book_without_trades_is_not_scored():
    tape = synthetic_market(3, "wide_spread")
    book = tape.events[tape.events["kind"] != d.TRADE].copy()
    judged = judge(Tape(book, msgspec.structs.replace(tape.meta, has_trades="none")), MarketMakingConfig())
    assert judged.candidate.missing == ("trades",)
    assert judged.candidate.score is None and judged.candidate.rejections == ()
    assert judged.candidate.statistics.spread is not None


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--venue", "nasdaq"], "'nasdaq' can't be reached"),
        (["--venue", "kalshi", "x.parquet"], "leave out tapes and --at"),
        (["--venue", "kalshi", "--at", "2026-05-13T14:00:00Z"], "leave out tapes and --at"),
        (["--venue", "kalshi", "--watch", "-1"], "--watch: -1.0 is below 0"),
        (["--venue", "kalshi", "--watch", "nan"], "--watch: nan is below 0"),
        (["--venue", "kalshi", "--candidates", "0"], "--candidates: 0 is not at least 1"),
        (["--venue", "kalshi", "--market", " "], "--market: a name is empty"),
        (["x.parquet", "--market", "KXA"], "need --venue"),
        ([], "no tape was named"),
        (["x.parquet", "--at", "noon"], "--at: 'noon' is no moment"),
        (["no_such.parquet"], "no such file"),
        (["x.parquet", "--set", "rotation_minutes=0"], "rotation_minutes"),
    ],
)
def test_bad_usage_ends_with_2_and_a_sentence(capsys, arguments, words):
    assert run(["scan", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_moment_is_iso_or_nanoseconds():
    exact = 1_778_680_800_123_456_000
    assert moment_ns("2026-05-13T14:00:00.123456Z") == exact
    assert moment_ns("2026-05-13T14:00:00.123456") == moment_ns("2026-05-13T16:00:00.123456+02:00") == exact
    assert moment_ns(str(exact)) == exact
    with pytest.raises(UsageError):
        moment_ns("")


# --- recordings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "settings"),
    [
        ("kalshi-kxbtc15m-l2", "kalshi-kxbtc15m-l2-b/sessions/*", "short_dated"),
        ("polymarket-mlb-l2", "polymarket-mlb-l2-2025", "default"),
    ],
)
def test_recorded_markets_are_ranked(data_dir: Path, tmp_path, capsys, name, path, settings):
    """A few real recordings: every market stands somewhere, with figures that a market can have."""
    assert name in FORMATS
    source = min(data_dir.glob(path))
    assert run(["import", name, str(source), "--out", str(tmp_path), "--json"]) == 0
    capsys.readouterr()
    found = answer(capsys, tmp_path, "--preset", settings)
    judged = [one for group in ("ranked", "unscored", "rejected") for one in found[group]]
    assert len(judged) == found["markets"] == len(tape_paths([tmp_path]))
    for one in judged:
        stats = one["statistics"]
        assert 0 < stats["hours"] < 24
        assert bool(one["rejections"]) == (one in found["rejected"])
        if stats["spread"] is not None:
            assert 0 < stats["spread"] < 1 and 0 < stats["mid"] < 1 and stats["liquidity"] > 0
