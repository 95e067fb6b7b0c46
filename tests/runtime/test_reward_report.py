"""Rewards and rebates of a real paper session, looked at again from its tape and its fills."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
import structlog

from pr3dict.analytics.incentives import Book
from pr3dict.analytics.rewards import sample_times, take_sample
from pr3dict.cli import main
from pr3dict.domain import events as e
from pr3dict.domain.errors import UsageError
from pr3dict.domain.rewards import RewardTerms
from pr3dict.risk.limits import RiskConfig
from pr3dict.risk.programme import ProgrammeConfig
from pr3dict.runtime.journal_fold import fold_journal
from pr3dict.runtime.paper import PaperSpec, run_paper
from pr3dict.runtime.reward_report import read_rewards
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.tape import Tape
from pr3dict.strategies.presets import build_config

MICRO = 1_000_000
TERMS = RewardTerms(spread=450, min_size=20 * MICRO, day_micros=5_000 * MICRO)
REBATE_PPM = 250_000


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Two generated markets on paper, one of which states rewards and gives a maker a quarter of fees."""
    place = DataDir.of(tmp_path_factory.mktemp("rewards")).create()
    given = [synthetic_market(3 + k, "wide_spread") for k in range(2)]
    events, meta = given[0]
    fee = msgspec.structs.replace(meta.fee, kind="polymarket", taker_ppm=50_000, rebate_ppm=REBATE_PPM)
    paying = Tape(events, msgspec.structs.replace(meta, rewards=TERMS, fee=fee))
    tapes = merge([paying, given[1]], latency_ns=50_000_000)
    config = build_config("default").with_changes(rewards="respect")
    spec = make_spec(config, preset="default", cash_micros=10_000 * MICRO)
    paper = PaperSpec(tapes=tapes, spec=spec, risk=RiskConfig(), data_dir=place, speed=None)
    assert run_paper(paper, structlog.get_logger()).exit_code == 0
    return place, tapes


def folded(place):
    with Journal.read(place.journal) as journal:
        return fold_journal(journal, ProgrammeConfig(income="incentives"))


def test_each_sample_is_what_the_tape_and_our_orders_come_to(session):
    place, tapes = session
    report = read_rewards(place)
    (score,) = report.scores
    assert score.ticker == tapes.names[0]
    assert score.terms == TERMS
    found = folded(place)
    turns = found.own[0]
    rows = tapes.events[tapes.events["market"] == 0]
    by_time = {}
    for at_ns in sample_times(score.ticker, report.first_ns, report.until_ns):
        book = Book()
        for row in rows[: np.searchsorted(rows["local_ns"], at_ns, side="right")].tolist():
            given = dict(zip(rows.dtype.names, row, strict=True))
            book.see(*(given[name] for name in ("kind", "side", "price", "qty", "aux", "bits")))
        orders = next((turn.orders for turn in reversed(turns) if turn.at_ns <= at_ns), ())
        by_time[at_ns] = take_sample(at_ns, book.displayed(orders, includes_own=False), orders, TERMS)
    assert len(score.samples) > 60
    for sample in score.samples:
        assert sample == by_time[sample.at_ns]
    assert len(score.samples) + score.void + score.unseen == len(by_time)
    assert score.in_band > len(score.samples) // 4
    assert score.earned_micros > 0


def test_rebates_are_a_quarter_of_the_takers_fees_of_our_maker_fills(session):
    place, tapes = session
    with Journal.read(place.journal) as journal:
        steps = list(journal.steps())
    fills = {x.trade_id: x for step in steps for x in step.inputs if isinstance(x, e.Filled)}
    mine = [x for x in fills.values() if x.market == 0 and x.maker]
    assert mine
    expected = sum(REBATE_PPM * 50_000 * x.size * x.price * (10_000 - x.price) // 10**20 for x in mine)
    assert read_rewards(place).rebates_micros == {tapes.names[0]: expected}


def test_the_command_prints_it(session, capsys):
    place, tapes = session
    assert main.run(["report", "--rewards", "--json", "--data-dir", str(place.path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    first = answer["markets"][0]
    assert first["ticker"] == tapes.names[0]
    assert first["terms"] == {"spread": "0.045", "min_size": "20", "day": "5000.00"}
    newest = read_rewards(place).scores[0].samples[-1_440:]  # a day of them
    assert [one["in_band"] for one in first["newest"]] == [sample.in_band for sample in newest]
    assert first["samples"] > len(newest) == 1_440
    assert main.run(["report", "--rewards", "--data-dir", str(place.path)]) == 0
    assert "Liquidity rewards" in capsys.readouterr().out
    assert main.run(["report", "--rewards", "--queue", "--data-dir", str(place.path)]) == 2


def test_terms_may_be_given_and_markets_without_any_are_refused(session):
    place, tapes = session
    other = RewardTerms(spread=900, min_size=0, day_micros=MICRO)
    scores = read_rewards(place, {tapes.names[1]: other}).scores
    assert [score.terms for score in scores] == [TERMS, other]
    with pytest.raises(UsageError):
        read_rewards(place, from_ns=folded(place).last_ns)
