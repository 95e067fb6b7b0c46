"""Evidence from a journal against a slow second reading of it, on a real paper session with a crash in it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from duty_floor import FIRST_HOUR_S, MARKET, SECOND, START, opened
from engine_cases import listing
from slow_uptime import SlowUptime

from pr3dict.cli import main
from pr3dict.cli.journal import line_of
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.risk.programme import ProgrammeConfig
from pr3dict.runtime.account_report import read_account
from pr3dict.runtime.paper import PaperSpec, run_paper
from pr3dict.runtime.programme_report import read_programme
from pr3dict.runtime.session_replay import replay_session
from pr3dict.runtime.settings import read_settings
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import build_config

HOUR = 3600 * SECOND
LOG = structlog.get_logger()


def exported(place):
    with Journal.read(place.journal) as journal:
        return "".join(line_of(stored) for stored in journal.stored())


def by_hour(report):
    """Two-sided and closed ns of each hour that has any."""
    quoted = {hour.hour_ns: hour.quoted_ns for hour in report.hours if hour.quoted_ns}
    closed = {hour.hour_ns: hour.closed_ns for hour in report.hours if hour.closed_ns}
    return quoted, closed


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Two generated markets on paper, killed before 1.3 hours were over, gone on after a gap."""
    folder = tmp_path_factory.mktemp("programme")
    tapes = merge([synthetic_market(3 + k, "wide_spread") for k in range(2)], latency_ns=50_000_000)
    product = {"name": "both", "tickers": list(tapes.names), "min_markets": 1}
    risk = RiskConfig(programme=ProgrammeConfig(max_spread="0.08", min_size=5, products=[product]))
    start, local = tapes.start_ns, tapes.events["local_ns"]

    def run(place, until_ns, gap=(0, 0)):
        """Up to a time, without the rows of a gap in which nobody recorded."""
        rows = (local < until_ns) & ((local < gap[0]) | (local >= gap[1]))
        whole = dataclasses.replace(tapes, events=tapes.events[rows])
        spec = make_spec(build_config("default"), preset="default", cash_micros=10_000_000_000)
        return run_paper(PaperSpec(tapes=whole, spec=spec, risk=risk, data_dir=place, speed=None), LOG)

    whole = DataDir.of(folder / "first").create()
    assert run(whole, start + 13 * HOUR // 10).exit_code == 0
    place = DataDir.of(folder / "killed").create()
    with Journal.read(whole.journal) as journal, Journal.open(place.journal) as killed:
        end_ns = journal.last_ns - 120 * SECOND
        killed.append([step for step in journal.steps() if step.now_ns < end_ns])
    shutil.copytree(whole.tapes, place.tapes, dirs_exist_ok=True)
    assert run(place, start + 21 * HOUR // 10, (end_ns, end_ns + 95 * SECOND)).exit_code == 0
    return place


def test_every_hour_of_a_paper_session_with_a_crash_is_what_a_slow_reading_of_its_lines_finds(session):
    report = read_programme(session)
    slow = SlowUptime(exported(session), size=5_000_000, spread=800, needed=1)
    quoted, closed = slow.hours()
    assert by_hour(report) == (dict(quoted), dict(closed))
    assert len(quoted) >= 2
    assert len(slow.unseen) == 1
    for hour in report.hours:
        spans = (hour.quoted_ns, hour.absent_ns, hour.closed_ns, hour.ahead_ns)
        assert sum(spans) == HOUR
        assert min(spans) >= 0
    assert report.hours[0].absent.get("not_listed", 0) == slow.first - report.hours[0].hour_ns
    gone = sum(hour.absent.get("not_running", 0) for hour in report.hours)
    assert gone == sum(end - begin for begin, end in slow.unseen) > 94 * SECOND


def test_the_engine_of_the_last_process_knew_the_same_hour(session):
    report = read_programme(session)
    with Journal.read(session.journal) as journal:
        started = next(
            event for step in journal.steps() for event in step.inputs if isinstance(event, e.Started)
        )
    found = read_settings(started.settings)
    engine = Engine(found.risk)
    engine.register_strategy(MarketMakingStrategy(config=found.market_making))
    with Journal.read(session.journal) as journal:
        for step in journal.steps():
            engine.fold(step)
    (duty,) = engine.view().duties
    last = report.hours[-1]
    assert (duty.hour_ns, duty.absent_ns) == (last.hour_ns, last.absent_ns)
    assert duty.left_ns == last.left_ns


def test_the_session_replays_to_the_same_decisions_and_the_same_budget(session):
    """The rule acts at timers and journaled steps only, so recording and journal give it all again."""
    found = replay_session(session)
    assert found.difference is None
    assert found.was_whole
    assert found.steps > 500
    with Journal.read(session.journal) as journal:
        alerts = [x.name for step in journal.steps() for x in step.commands if isinstance(x, c.Alert)]
    assert "programme_budget" in alerts


def test_volumes_and_fees_are_the_journals_fills(session):
    fills, voids = {}, set()
    for line in exported(session).splitlines():
        for event in json.loads(line)["inputs"]:
            for fill in event.get("fills", [event] if event["kind"] == "filled" else []):
                fills.setdefault((fill["market"], fill["trade_id"]), fill)
            if event["kind"] == "fill_voided":
                voids.add((event["market"], event["trade_id"]))
    kept = [fill for key, fill in fills.items() if key not in voids]
    fees = sum(fill.get("fee_micros", 0) - fill.get("rebate_micros", 0) for fill in kept)
    report, account = read_programme(session), read_account(session)
    assert len(kept) > 5
    assert sum(one.fills for one in report.volumes.values()) == len(kept)
    assert sum(one.contracts for one in report.volumes.values()) == sum(fill["size"] for fill in kept)
    assert sum(one.fee_micros for one in report.volumes.values()) == fees
    assert account.fees_micros == fees
    assert sum(account.folded.account.fees_micros(m) for m in range(2)) == fees
    answer = account.to_json()
    assert answer["fills"] == len(kept)
    trading, paid = (int(float(answer["pnl"][key]) * 1e6) for key in ("trading", "fees"))
    assert trading + paid == pytest.approx(account.equity_micros - account.opening_micros, abs=2)


def test_a_longer_span_adds_hours_that_nobody_observed(session):
    inner = read_programme(session)
    with Journal.read(session.journal) as journal:
        last_ns = journal.last_ns
    outer = read_programme(session, from_ns=inner.first_ns - 2 * HOUR, to_ns=last_ns + 3 * HOUR)
    known = {hour.hour_ns for hour in inner.hours}
    extra = [hour for hour in outer.hours if hour.hour_ns not in known]
    assert len(extra) == 5
    assert all(hour.uptime == 0 and hour.is_breached for hour in extra if hour.is_over)
    early = read_programme(session, to_ns=inner.first_ns + HOUR)
    assert [hour.quoted_ns for hour in early.hours] == [inner.hours[0].quoted_ns]


def test_the_command_writes_what_it_says(session, tmp_path, capsys):
    page, tables = tmp_path / "p.html", tmp_path / "csv"
    line = ["report", "--data-dir", str(session.path), "--programme"]
    assert main.run([*line, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert main.run([*line, "--html", str(page), "--csv", str(tables)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert all(f"{hour['absent_s']:,.1f}" in text for hour in answer["hours"])
    with (tables / "hours.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["absent_s"]) for row in rows] == [hour["absent_s"] for hour in answer["hours"]]
    shares = list(csv.DictReader(io.StringIO((tables / "reasons.csv").read_text(encoding="utf-8"))))
    for hour in answer["hours"]:
        mine = sum(float(row["absent_s"]) for row in shares if row["hour"] == hour["hour"])
        assert mine == pytest.approx(hour["absent_s"], abs=0.02)
    capsys.readouterr()
    assert main.run(["report", "--data-dir", str(session.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fills"] > 0
    assert main.run(["report", "--data-dir", str(session.path)]) == 0
    assert "hours kept" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--programme", "--queue"], "reports of their own"),
        (["--html", "x.html"], "belong to --programme"),
        (["--programme", "--from", "someday"], "--from: 'someday' is no moment"),
        (["--programme", "--to", "2001-01-01"], "no process had started by then"),
    ],
)
def test_wrong_words_are_one_sentence(session, capsys, words, sentence):
    assert main.run(["report", "--data-dir", str(session.path), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_incentives_of_a_session_are_scored_from_its_recording_and_no_uptime_beside_them(session, tmp_path):
    known = read_programme(session)
    with Journal.read(session.journal) as journal:
        last_ns = journal.last_ns
    ticker = known.markets["both"][0]

    def iso(at_ns):
        return np.datetime64(at_ns // SECOND, "s").astype(str) + "Z"

    period = {
        "ticker": ticker, "target_size": 20, "discount_factor": "0.5", "reward": 100,
        "start": iso(known.first_ns), "end": iso(last_ns + HOUR),
    }  # fmt: skip
    terms = ProgrammeConfig(income="incentives", incentives=[period])
    report = read_programme(session, terms)
    (score,) = report.incentives
    assert report.hours == ()
    assert score.quoted > 1000
    assert 0 < score.share < 1
    seconds = (min(last_ns, score.terms.end_ns) - score.terms.start_ns) // SECOND
    assert score.valid + score.void + score.unseen == pytest.approx(seconds, abs=1)
    assert score.unseen > 90  # in the gap
    half = ProgrammeConfig(income="incentives", incentives=[{**period, "reward": 50}])
    assert read_programme(session, half).incentives[0].share == score.share


def test_the_venue_s_own_periods_can_be_asked_for(tmp_path, capsys, monkeypatch):
    from kalshi_look import in_thread

    from standins.kalshi import small_catalog

    monkeypatch.setenv("PR3DICT_CONFIG_DIR", "/nonexistent")
    floor = opened()
    line = ["report", "--programme", "--venue", "kalshi", "--env", "local", "--json"]
    with in_thread(small_catalog()) as server:
        program = small_catalog().programmes[0]
        steps = [floor.steps[0], *floor.steps[1:]]
        inputs = tuple(
            msgspec.structs.replace(event, ticker=program.ticker) if isinstance(event, e.Listed) else event
            for event in steps[0].inputs
        )
        steps[0] = msgspec.structs.replace(steps[0], inputs=inputs)
        named = journal_of(steps, tmp_path / "named")
        other = journal_of(floor.steps, tmp_path / "other")
        assert main.run([*line, "--url", server.url, "--data-dir", str(named.path)]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert main.run([*line, "--url", server.url, "--data-dir", str(other.path)]) == 1
    assert answer["income"] == "incentives"
    assert [one["ticker"] for one in answer["incentives"]] == [program.ticker]
    assert float(answer["incentives"][0]["target_size"]) == program.target
    assert "no running liquidity incentive" in capsys.readouterr().err


def journal_of(steps, path):
    place = DataDir.of(path).create()
    with Journal.open(place.journal) as journal:
        journal.append([step for step in steps if not step.is_empty])
    return place


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_life_is_read_the_same_twice(tmp_path_factory, data):
    """Pauses, lost feeds, sleeps, stalls, settlements and restarts, over hours' ends."""
    two = (MARKET, listing(1, ticker="KXA-2", close_ns=START + (FIRST_HOUR_S + 2500) * SECOND))
    floor = opened(*two)
    for k in range(data.draw(st.integers(2, 8))):
        event = data.draw(
            st.sampled_from(
                [
                    e.PauseMarket(command_id=f"{k}", who="me", market=k % 2, paused=True),
                    e.PauseMarket(command_id=f"{k}", who="me", market=k % 2, paused=False),
                    e.FeedAlive(venue="kalshi", venue_ns=floor.engine.now_ns),
                    e.FeedDown(venue="kalshi", why="gone"),
                    e.FeedUp(venue="kalshi"),
                    e.ClockJumped(gap_ns=3 * SECOND),
                    e.Settled(market=1, value_micros=0),
                    "restart",
                ]
            )
        )
        if event == "restart":
            again = floor.new_engine()
            for step in floor.steps:
                again.fold(step)
            floor.second = float(int(floor.second) + data.draw(st.integers(1, 900)))
            floor.waiting = []
            floor.note([floor.restart(again, floor.second)])
            floor.steps.pop()
        else:
            floor.go(floor.second + data.draw(st.sampled_from([0.25, 3, 20, 1500])), event)
    place = journal_of(floor.steps, tmp_path_factory.mktemp("life"))
    config = floor.risk.programme
    report = read_programme(place, config)
    quoted, closed = SlowUptime(exported(place), size=5_000_000, spread=1000).hours()
    found_quoted, found_closed = by_hour(report)
    assert found_quoted == dict(quoted)
    assert found_closed == dict(closed)
    assert report.hours[-1].absent_ns >= floor.engine.duty.view(floor.steps[-1].now_ns)[0].absent_ns


def test_a_lost_feed_is_counted_from_its_last_proof_of_life(tmp_path):
    """The engine knows of it when it is told; the evidence goes back to when it was last sure."""
    floor = opened()
    floor.go(FIRST_HOUR_S + 10, e.FeedAlive(venue="kalshi", venue_ns=START + (FIRST_HOUR_S + 1) * SECOND))
    told_ns = floor.engine.now_ns + SECOND
    floor.go(FIRST_HOUR_S + 20, e.FeedDown(venue="kalshi", why="gone"))
    assert floor.product().absent_ns == START + (FIRST_HOUR_S + 20) * SECOND - told_ns
    hour = read_programme(journal_of(floor.steps, tmp_path), floor.risk.programme).hours[-1]
    assert hour.quoted_ns == SECOND
    assert hour.absent_ns == floor.steps[-1].now_ns - (START + (FIRST_HOUR_S + 1) * SECOND)


def test_terms_must_be_known(tmp_path):
    floor = opened()
    steps = list(floor.steps)
    text = json.dumps({"market_making": {}, "risk": {}})
    started = msgspec.structs.replace(steps[0].inputs[0], settings=text)
    steps[0] = msgspec.structs.replace(steps[0], inputs=(started, *steps[0].inputs[1:]))
    place = journal_of(steps, tmp_path / "d")
    assert main.run(["report", "--data-dir", str(place.path), "--programme"]) == 2
    terms = tmp_path / "terms.toml"
    terms.write_text("[programme]\nmax_spread = 0.1\nmin_size = 5\n")
    assert main.run(["report", "--data-dir", str(place.path), "--programme", "--config", str(terms)]) == 0
    terms.write_text("[programme]\nmax_spread = 0.1\n")
    assert main.run(["report", "--data-dir", str(place.path), "--programme", "--config", str(terms)]) == 2
