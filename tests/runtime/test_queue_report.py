"""The report on queue models: the model in force errs by nothing, wrong ones do, on paper and on a wire."""

from __future__ import annotations

import asyncio
import random
import sys
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.steps import Step
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import exchange_reference as slow
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.paper import PaperSpec, run_paper
from pr3dict.runtime.paper_result import seen_part
from pr3dict.runtime.queue_report import FEW, MODELS, class_of, read_queue_report, report_of
from pr3dict.runtime.queue_walk import (
    SLACK_NS,
    Estimate,
    Look,
    MarketWalk,
    OwnChange,
    OwnLife,
    Walked,
)
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.presets import build_config
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import life_of, listed
from pr3dict.venues.kalshi.rest import KalshiRest
from pr3dict.venues.kalshi.sign import Signer
from pr3dict.venues.kalshi.streams import KalshiStreams
from pr3dict.venues.session import Backoff, Reconnects

sys.path.insert(0, str(Path(__file__).parents[1]))
from standins.kalshi import KalshiStandIn, small_catalog

SECOND = 1_000_000_000
MS = 1_000_000
CONTRACT = 1_000_000
START = 1_790_000_000 * SECOND
RISK_AVERSE = next(k for k, model in enumerate(MODELS) if model.queue == "risk-averse")
OPTIMISTIC = next(k for k, model in enumerate(MODELS) if model.queue == "optimistic")


# --- paper: the exchange's own model is the truth -------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "power", "regime"),
    [("log", 3.0, "wide_spread"), ("power3", 2.0, "deep_book"), ("optimistic", 3.0, "few_makers")],
)
def test_the_model_in_force_on_paper_errs_by_nothing(tmp_path, queue, power, regime):
    tapes = merge([synthetic_market(1 + k, regime) for k in range(2)], latency_ns=50 * MS)
    tapes = seen_part(tapes, tapes.start_ns + 3600 * SECOND)
    spec = make_spec(
        build_config("default"), preset="default", cash_micros=10**10, queue=queue, queue_power=power
    )
    data_dir = DataDir.of(tmp_path / "data").create()
    paper = PaperSpec(tapes=tapes, spec=spec, risk=RiskConfig(), data_dir=data_dir, speed=None)
    assert run_paper(paper, structlog.get_logger()).exit_code == 0
    report = read_queue_report(data_dir)
    rows = [row for row in report.rows if (row.model.queue, row.model.power or power) == (queue, power)]
    assert sum(row.observations for row in rows) > FEW
    assert all(row.absolute_error == 0 for row in rows)
    assert sum(row.absolute_error for row in report.rows) > 0
    for found in report.classes:
        if found.best is not None:
            assert found.best.absolute_error == 0
    answer = report.to_json()
    assert answer["observations"] == sum(found["observations"] for found in answer["classes"])


# --- a real order in a feed that shows our own ----------------------------------------------------


class SlowOrder:
    """One model's order in whole micro-contracts, by the plain reference of the exchange."""

    def __init__(self, front, model):
        self.front, self.traded, self.model = front * CONTRACT, 0, model

    def change(self, old, new):
        power = 1.0 if self.model.power is None else self.model.power
        sizes = old * CONTRACT, new * CONTRACT
        self.front = slow.front_after_change(self.front, *sizes, self.traded, self.model.code, power)
        self.traded = 0

    def trade(self, size):
        self.front = max(0, self.front - size * CONTRACT)
        self.traded += size * CONTRACT


def rows_of(moves):
    """EVENT rows of (seconds, kind, side, price, contracts)."""
    rows = np.zeros(len(moves), d.EVENT)
    for row, (at_ns, kind, side, price, size) in zip(rows, moves, strict=True):
        row["exch_ns"] = row["local_ns"] = at_ns
        row["kind"], row["side"], row["price"], row["qty"] = kind, side, price, size
    return rows


others = st.lists(
    st.one_of(
        st.tuples(st.just("level"), st.integers(0, 60)),
        st.tuples(st.just("trade"), st.integers(1, 30)),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(others, others, st.integers(1, 20), st.integers(1, 20), st.sampled_from([BID, ASK]))
def test_the_walk_takes_our_own_orders_out(before, after, size, behind, side):
    """Others' flow alone through the plain reference, the walk over the same with our orders in it."""
    price = 4500
    moves, step = [], 10 * SECOND

    def add(kind, at_ns, contracts, taker=side):
        moves.append((at_ns, kind, taker, price, contracts * CONTRACT))

    level = 0  # of others
    now = START
    for kind, number in before:
        now += step
        if kind == "level":
            level = number
            add(d.LEVEL, now, level)
    now += step
    life = OwnLife(1, 0, side, price, size * CONTRACT, now, accepted_ns=now + 20 * MS)
    ours = size
    add(d.LEVEL, now + 5 * MS, level + ours)
    orders = [SlowOrder(level, model) for model in MODELS]
    expected = [[order.front for order in orders]]
    second = None
    for k, (kind, number) in enumerate(after):
        now += step
        if k == 3:
            second = OwnLife(2, 0, side, price, behind * CONTRACT, now, accepted_ns=now + MS)
            ours += behind
            add(d.LEVEL, now, level + ours)
            now += step
        if k == 6 and second is not None:
            second.changes.append(OwnChange(now + 40 * MS, now, behind * CONTRACT))
            second.gone_ns = now + 40 * MS
            ours -= behind
            add(d.LEVEL, now + 3 * MS, level + ours)
            now += step
        if kind == "level":
            for order in orders:
                order.change(level, number)
            level = number
            add(d.LEVEL, now, level + ours)
        else:
            size_traded = min(number, level)
            if size_traded:
                add(d.LEVEL, now, level - size_traded + ours)
                add(d.TRADE, now, size_traded, taker=1 - side)
                for order in orders:
                    order.trade(size_traded)
                    order.change(level, level - size_traded)
                level -= size_traded
        look = Look(now + SECOND, now + SECOND + 10 * MS, 0)
        life.looks.append(look)
        expected.append([order.front for order in orders])
    lives = [life] if second is None else [life, second]
    walk = MarketWalk(rows_of(moves), lives, shows_own=True, end_ns=now + 2 * SECOND)
    walked = walk.walk(life, MODELS)
    assert walked.initial == expected[0][0] and not walked.left_out
    for estimate, wanted in zip(walked.estimates, expected[1:], strict=True):
        assert estimate.least.tolist() == estimate.most.tolist() == wanted
    if second is not None:
        second.looks.append(Look(now, now, 0))
        assert walk.walk(second, MODELS).left_out == {"behind_own": 1}


def a_life(**changes):
    life = OwnLife(1, 0, BID, 4500, 10 * CONTRACT, START, accepted_ns=START + 20 * MS)
    for name, value in changes.items():
        setattr(life, name, value)
    return life


def test_what_can_not_be_compared_is_left_out_and_counted():
    def left_out(life, moves=((START + MS, d.LEVEL, BID, 4500, 10 * CONTRACT),), end_ns=START + 99 * SECOND):
        walk = MarketWalk(rows_of(moves), [life], shows_own=True, end_ns=end_ns)
        return walk.walk(life, MODELS).left_out

    looks = [Look(START + 10 * SECOND, START + 10 * SECOND, 0)]
    assert left_out(a_life(looks=looks)) == {}
    assert left_out(a_life(looks=looks, accepted_ns=0)) == {"not_accepted": 1}
    assert left_out(a_life(looks=looks, size=11 * CONTRACT)) == {"join_not_seen": 1}
    assert left_out(a_life(looks=looks), end_ns=START + 9 * SECOND) == {"no_tape": 1}
    gap = rows_of([(START + 5 * SECOND, d.STATUS, 0, 0, 0)])
    gap["aux"], gap["bits"] = d.PAUSED, d.SYNTHETIC
    rows = np.concatenate((rows_of([(START + MS, d.LEVEL, BID, 4500, 10 * CONTRACT)]), gap))
    life = a_life(looks=[*looks, Look(START + SECOND, START + SECOND, 0)])
    walk = MarketWalk(rows, [life], shows_own=True, end_ns=START + 99 * SECOND)
    walked = walk.walk(life, MODELS)
    assert walked.left_out == {"gap": 1} and [x.look.asked_ns for x in walked.estimates] == [START + SECOND]


def test_what_a_model_said_while_the_question_flew_counts():
    moves = [
        (START + MS, d.LEVEL, BID, 4500, 60 * CONTRACT),
        (START + 5 * MS, d.LEVEL, BID, 4500, 70 * CONTRACT),
    ]
    moves += [(START + 10 * SECOND, d.LEVEL, BID, 4500, 40 * CONTRACT)]
    at = START + 10 * SECOND
    life = a_life(looks=[Look(at - MS, at + MS, 0), Look(at - SLACK_NS - SECOND, at - SLACK_NS - 1, 0)])
    walk = MarketWalk(rows_of(moves), [life], shows_own=True, end_ns=at + SECOND)
    across, before = walk.walk(life, MODELS).estimates
    assert (across.least[OPTIMISTIC], across.most[OPTIMISTIC]) == (30 * CONTRACT, 60 * CONTRACT)
    assert (before.least[OPTIMISTIC], before.most[OPTIMISTIC]) == (60 * CONTRACT, 60 * CONTRACT)


# --- the arithmetic -------------------------------------------------------------------------------


def a_listing(market=0, **changes):
    facts = {
        "market": market, "venue": "kalshi", "ticker": f"KXA-26-T{market}", "event_id": "KXA-26",
        "exclusive": False, "title": "t", "grids": (kalshi_grid("linear_cent"),), "min_size": CONTRACT,
        "lot": CONTRACT, "fee_kind": "none", "nets_positions": True, "reduce_in_place": True,
    }  # fmt: skip
    return e.Listed(**{**facts, **changes})


figures = st.integers(0, 10**12)
estimates = st.tuples(
    figures, st.lists(st.tuples(figures, figures), min_size=len(MODELS), max_size=len(MODELS))
)
walked_orders = st.tuples(
    st.integers(0, 2),
    st.sampled_from([100, 999, 1000, 5000, 9000, 9001]),
    figures,
    st.lists(estimates, max_size=4),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(walked_orders, max_size=12))
def test_the_sums_are_those_of_a_slow_reference(given_orders):
    listings = {k: a_listing(k, event_id=name) for k, name in enumerate(("KXA-26", "KXB-26", "KXA-27"))}
    walked, wanted = [], {}
    for number, (market, price, initial, said) in enumerate(given_orders, 1):
        looks = [Look(0, 1, ahead) for ahead, _ in said]
        spans = [(min(pair), max(pair)) for _, pairs in said for pair in pairs]
        found = tuple(
            Estimate(
                look,
                np.array([low for low, _ in spans[k * len(MODELS) : (k + 1) * len(MODELS)]]),
                np.array([high for _, high in spans[k * len(MODELS) : (k + 1) * len(MODELS)]]),
            )
            for k, look in enumerate(looks)
        )
        walked.append(Walked(OwnLife(number, market, BID, price, CONTRACT, 0), initial, found, {"gap": 1}))
        where = (("KXA", "KXB", "KXA")[market], "middle" if 1000 <= price <= 9000 else "tail")
        for ahead, pairs in said:
            errors = []
            for pair in pairs:
                candidates = [Fraction(value - ahead) for value in (min(pair), max(pair))]
                inside = candidates[0] <= 0 <= candidates[1]
                errors.append(Fraction(0) if inside else min(candidates, key=abs))
            wanted.setdefault(where, []).append((initial, errors))
    report = report_of(walked, listings, reads=7)
    assert {(c.where.series, c.where.band) for c in report.classes} == set(wanted)
    assert report.left_out == ({"gap": len(walked)} if walked else {})
    for found in report.classes:
        mine = wanted[found.where.series, found.where.band]
        assert found.observations == len(mine)
        for k, row in enumerate(found.rows):
            errors = [of_look[k] for _, of_look in mine]
            assert row.mean_error == round(sum(errors) / len(errors))
            assert row.mean_absolute_error == round(sum(map(abs, errors)) / len(errors))
            queue = sum(initial for initial, _ in mine)
            share = round(sum(map(abs, errors)) * 1_000_000 / queue) if queue else None
            assert row.relative_ppm == share
        least = min(sum(abs(of_look[k]) for _, of_look in mine) for k in range(len(MODELS)))
        assert found.best is None or (found.best.absolute_error == least and len(mine) >= FEW)


def test_classes_are_series_and_price():
    assert class_of(a_listing(), 5000) == ("kalshi", "KXA", "middle")
    assert class_of(a_listing(event_id=""), 950) == ("kalshi", "KXA", "tail")
    assert class_of(a_listing(venue="polymarket", event_id="will-it-rain"), 9050)[1:] == ("will", "tail")


# --- a wire: the stand-in's matching is the truth -------------------------------------------------


class VenueClock:
    """The stand-in's time."""

    def __init__(self, server):
        self._server = server

    def now_ns(self):
        return self._server.now_ns()

    async def sleep(self, span_ns):
        await asyncio.sleep(span_ns / 1e9 / self._server.speed)


class Desk:
    """A sink that journals and records as a process does, with orders by hand."""

    def __init__(self, data_dir, clock):
        self.data_dir, self.clock = data_dir, clock
        self.batches = []
        self.rows = []
        self.events = []

    def put_rows(self, rows):
        rows = rows.copy()
        rows["local_ns"] = self.clock.now_ns()
        self.rows.append(rows)

    def push(self, event):
        self.batches.append((self.clock.now_ns(), (event,), ()))
        self.events.append(event)

    def send(self, wire, *commands):
        now_ns = self.clock.now_ns()
        self.batches.append((now_ns, (), commands))
        wire.send(now_ns, commands)

    async def until(self, condition):
        for _ in range(600):
            if any(condition(event) for event in self.events):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"in vain: {self.events}")

    def write(self, listings):
        started = e.Started(version="1", account="test", settings="{}", cash_micros=0)
        at_ns, numbers = 0, []
        for now_ns, inputs, commands in [(1, (started, *listings), ()), *self.batches]:
            at_ns = max(at_ns + 1, now_ns)
            numbers.append(Step(number=len(numbers) + 1, now_ns=at_ns, inputs=inputs, commands=commands))
        with Journal.open(self.data_dir.journal) as journal:
            journal.append(numbers)
        with Recorder(self.data_dir.tapes / "000000000001-1") as recorder:
            for listing in listings:
                recorder.list(listing.market, meta_of(listing, "s", synthetic=False))
            for rows in self.rows:
                recorder.append(rows)


async def lives_of(rest, now_ns):
    found = []
    for row, market in enumerate(await rest.markets()):
        event = await rest.event(market.event_ticker)
        series = await rest.series(event.series_ticker)
        told = listed(market, event, series, row=row, at_ns=now_ns, direct_member=True)
        found.append(life_of(told, market, event.exchange_index))
    return found


async def trade_by_hand(server, desk, clock):
    signer = Signer(server.key.id, server.key.pem)
    http = KalshiHttp(server.url, signer, clock, Budget(clock.now_ns()), answer_s=2.0)
    lives = await lives_of(KalshiRest(http), clock.now_ns())
    terms = AdapterTerms(prefix="queue1", queue_poll_ns=SECOND)
    wire = KalshiWire(http, None, desk, clock, lives, terms)
    links = Reconnects(Backoff(20 * MS, 500 * MS, random.Random(5).randrange), SECOND)
    wire.streams = KalshiStreams(server.ws_url, signer, clock, desk, wire.lives.rows, wire.hear, links)
    try:
        await wire.start()
        await desk.until(lambda event: isinstance(event, e.FeedUp))
        ticker = server.venue.markets[0].spec.ticker
        row = wire.lives.rows[ticker]

        def place(number, side, price, size):
            order = {"order_id": number, "market": row, "side": side, "price": price, "tif": d.POST_ONLY}
            desk.send(wire, c.Place(**order, size=size * CONTRACT))

        place(1, BID, 4800, 10)
        place(2, ASK, 5200, 5)
        await desk.until(lambda event: isinstance(event, e.Accepted) and event.order_id == 2)
        dice, sizes = random.Random(11), {"bid": 100, "ask": 100}
        for k in range(45):
            side, price = dice.choice([("bid", "0.4800"), ("ask", "0.5200")])
            if k % 9 == 8:
                server.do(
                    "take", ticker=ticker, taker="ask" if side == "bid" else "bid", price=price, contracts=4
                )
                sizes[side] = (
                    server.venue.markets[0].others[int(side == "ask")].get(int(price[2:]), 0) // CONTRACT
                )
            else:
                sizes[side] = max(5, sizes[side] + dice.choice([-14, -9, 6, 12]))
                server.do("level", ticker=ticker, side=side, price=price, contracts=sizes[side])
            await asyncio.sleep(1.5 / server.speed)
            if k == 30:
                desk.send(wire, c.Reduce(order_id=1, market=row, remaining=4 * CONTRACT))
        desk.send(wire, c.Cancel(order_id=1, market=row), c.Cancel(order_id=2, market=row))
        await desk.until(lambda event: isinstance(event, e.Closed))
        return [life.listing for life in lives], wire
    finally:
        await wire.close()


def test_a_wire_tells_the_truth_of_the_exchange_and_the_report_finds_the_model(tmp_path):
    """The stand-in matches with cancels behind us: risk-averse is its truth, optimistic is not."""
    data_dir = DataDir.of(tmp_path / "data").create()

    async def session():
        catalog = small_catalog()
        async with KalshiStandIn(catalog, tier="prestige", speed=20.0) as server:
            clock = VenueClock(server)
            desk = Desk(data_dir, clock)
            listings, wire = await asyncio.wait_for(trade_by_hand(server, desk, clock), 40)
            assert wire.figures()["queue_polls"] > 20 and wire.figures()["rate_limited"] == 0
            return desk, listings

    desk, listings = asyncio.run(session())
    desk.write([msgspec.structs.replace(listing) for listing in listings])
    assert listings[0].book_includes_own
    reads = [event for event in desk.events if isinstance(event, e.QueueRead)]
    assert {place.order_id for event in reads for place in event.positions} == {1, 2}
    report = read_queue_report(data_dir)
    (found,) = report.classes
    assert (found.where.venue, found.where.band, found.orders) == ("kalshi", "middle", 2)
    assert found.observations > FEW and found.best is not None
    assert found.rows[RISK_AVERSE].mean_absolute_error < CONTRACT // 2
    assert found.rows[OPTIMISTIC].mean_absolute_error > 5 * CONTRACT
    assert found.rows[OPTIMISTIC].mean_error < 0
    assert found.best.model.queue == "risk-averse"
