"""Latencies, run-ahead and whole books of the link; the engine in lockstep; the paced source."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pr3dict.domain.commands import Cancel, CancelAll, Place, ReadOrders, Reduce, Resubscribe
from pr3dict.domain.events import (
    Accepted,
    Closed,
    FeedAlive,
    FeedUp,
    Filled,
    Halt,
    OrdersRead,
    Sent,
    Settled,
    Started,
)
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.backtest import Replay
from pr3dict.runtime.listing import listings_of as listings_of_tapes
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import market_tape, regime
from pr3dict.runtime.tapeset import merge
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import build_config
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange
from pr3dict.venues.simulated.link import Link
from pr3dict.venues.simulated.lockstep import run_lockstep
from pr3dict.venues.simulated.source import SimulatedSource

sys.path.insert(0, str(Path(__file__).parent))

from exchange_cases import CONTRACT, MS, SECOND, listing, listings_of, properties, rows, rules

FAR = 1 << 62
FREE = {"speed": None, "alive_ns": 0}
CASH = 2_000 * CONTRACT


def trader(seed):
    """Random requests that depend on what was heard only: (now, data, events) to commands."""
    rng = random.Random(seed)
    count = [0]

    def step(data, events):
        commands = []
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            count[0] += 1
            m, side = rng.randrange(3), rng.randrange(2)
            price = rng.randrange(30, 70) * 100
            commands.append(
                Place(
                    order_id=count[0],
                    market=m,
                    side=side,
                    price=price,
                    size=rng.randrange(1, 40) * CONTRACT,
                    tif=rng.choice([d.POST_ONLY, d.LIMIT, d.IOC]),
                )
            )
        if count[0] and rng.random() < 0.2:
            commands.append(Cancel(order_id=rng.randrange(1, count[0] + 1), market=0))
        if count[0] and rng.random() < 0.1:
            commands.append(Reduce(order_id=rng.randrange(1, count[0] + 1), market=0, remaining=CONTRACT))
        return commands

    return step


def naive(exchange, events, entry_ns, response_ns, act):
    """Every instant at which anything happens anywhere, one by one; the exchange never runs ahead."""
    feed = events[events["kind"] != d.SETTLE]
    paid = [(int(r["local_ns"]), Settled(market=int(r["market"]), value_micros=int(r["qty"])))
            for r in events[events["kind"] == d.SETTLE]]  # fmt: skip
    outbox, inbox, departed, log, j = [], [], [], [], 0
    end_ns = int(events[-1]["local_ns"])
    now = 0
    while True:
        times = [exchange.next_ns, *(at for at, _ in outbox[:1]), *(at for at, _ in inbox[:1])]
        times += [at for at, _ in paid[:1]] + ([int(feed[j]["local_ns"])] if j < len(feed) else [])
        now = max(now, min(times))
        if now > end_ns:
            return log
        said = [(h.exch_ns, h.event) for h in exchange.advance(now) if h.event is not None]
        while outbox and outbox[0][0] <= now:
            _, command = outbox.pop(0)
            do = {Place: exchange.place, Cancel: exchange.cancel, Reduce: exchange.reduce}[type(command)]
            said += [(now, event) for event in do(now, command)]
        inbox += [(at + response_ns, event) for at, event in said if not isinstance(event, Settled)]
        heard = []
        while inbox and inbox[0][0] <= now:
            heard.append(inbox.pop(0)[1])
        while paid and paid[0][0] <= now:
            heard.append(paid.pop(0)[1])
        last = int(np.searchsorted(feed["local_ns"], now, side="right"))
        data, j = feed[j:last], last
        if len(data) or heard:
            log.append((now, data.tolist(), (*departed, *heard)))
            departed = []
            for command in act(data, heard):
                if isinstance(command, Place):
                    departed.append(Sent(order_id=command.order_id))
                outbox.append((now + entry_ns, command))


def linked(exchange, events, entry_ns, response_ns, act):
    link = Link(exchange, events, entry_ns=entry_ns, response_ns=response_ns)
    log = []
    while (now := link.next_ns(FAR)) <= link.end_ns:
        data, heard = link.take(now)
        log.append((now, data.tolist(), heard))
        link.send(now, act(data, heard))
    return log


@pytest.mark.parametrize(("entry_ns", "response_ns"), [(20 * MS, 25 * MS), (0, 0), (SECOND, 0), (0, 7 * MS)])
@pytest.mark.parametrize("seed", range(2))
def test_running_ahead_changes_nothing(seed, entry_ns, response_ns):
    events = properties.recording(seed, 300)
    world = properties.fresh_world()
    markets = listings_of(world)

    def fresh():
        return SimulatedExchange(markets, events, rules(queue=1, queue_power=2.0), CASH)

    slow, fast = fresh(), fresh()
    expected = naive(slow, events, entry_ns, response_ns, trader(seed))
    assert linked(fast, events, entry_ns, response_ns, trader(seed)) == expected
    assert slow.fills() == fast.fills() != ()
    assert slow.cash_micros == fast.cash_micros
    assert sum(isinstance(e, Closed) for _, _, heard in expected for e in heard) > 30


BOOK = (
    (10, d.LEVEL, d.BID, 4_000, 100 * CONTRACT),
    (10, d.LEVEL, d.ASK, 4_500, 100 * CONTRACT),
)


def market(*more, latency=0):
    events = rows(*BOOK, *more)
    events["local_ns"] += latency
    return SimulatedExchange([listing()], events, rules(), CASH), events


def test_answers_come_after_both_ways():
    exchange, events = market((500, d.LEVEL, d.BID, 3_900, CONTRACT))
    link = Link(exchange, events, entry_ns=30, response_ns=40)
    assert link.next_ns(FAR) == 10
    data, heard = link.take(10)
    assert (len(data), heard) == (2, ())
    link.send(10, [Place(order_id=1, market=0, side=0, price=4_100, size=CONTRACT, tif=d.POST_ONLY)])
    link.send(12, [ReadOrders(venue="kalshi"), CancelAll(venue="kalshi", why="x")])
    assert link.next_ns(60) == 60, "no later than asked"
    assert link.next_ns(FAR) == 80
    _, (sent, accepted) = link.take(80)
    assert (sent, accepted.order_id) == (Sent(order_id=1), 1)
    assert link.next_ns(FAR) == 82
    _, (listed, closed) = link.take(82)
    assert isinstance(listed, OrdersRead) and [o.order_id for o in listed.orders] == [1]
    assert (listed.asked_ns, listed.as_of_ns) == (12, 42)
    assert closed == Closed(order_id=1, why="none", filled=0)
    assert not link.is_over
    assert link.next_ns(FAR) == 500
    link.take(500)
    assert link.is_over


def apply(book, data):
    for row in data:
        if row["kind"] == d.SNAPSHOT and row["bits"] & d.SNAP_FIRST:
            book.clear()
        if row["kind"] in (d.LEVEL, d.SNAPSHOT) and row["price"] > 0:
            book[int(row["side"]), int(row["price"])] = int(row["qty"])
    return {key: size for key, size in book.items() if size}


@pytest.mark.parametrize("response_ns", [5 * MS, 900 * MS])
def test_a_snapshot_brings_the_book_that_the_stream_would_have(response_ns):
    events = properties.recording(4, 300, settle=False)
    events = events[events["market"] == 0]
    exchange = SimulatedExchange([listing()], events, rules(), CASH)
    link = Link(exchange, events, entry_ns=MS, response_ns=response_ns)
    whole, broken = {}, {}
    snapshots, asked_at, is_broken = 0, 0, False
    for number in range(10**9):
        now = link.next_ns(FAR)
        if now > link.end_ns:
            break
        first = link.cursor
        data, _ = link.take(now)
        whole = apply(whole, link.feed[first : link.cursor])
        if number % 23 == 20 and not is_broken:
            broken, is_broken, asked_at = {(0, 1): 7}, True, now
            link.send(now, [Resubscribe(market=0)])
        elif (data["kind"] == d.SNAPSHOT).any():
            assert now >= asked_at + MS + response_ns
            snapshots, is_broken = snapshots + 1, False
        if is_broken:
            continue
        broken = apply(broken, data)
        assert broken == whole
    assert snapshots > 2


def test_feeds_come_up_and_prove_that_they_live():
    exchange, events = market((35, d.LEVEL, d.BID, 3_900, CONTRACT), latency=5)
    link = Link(exchange, events, entry_ns=1, response_ns=2, alive_ns=10)
    log = []
    while (now := link.next_ns(FAR)) < FAR:
        log.append((now, link.take(now)[1]))
    alive = [(now, event) for now, heard in log for event in heard if isinstance(event, FeedAlive)]
    assert log[0][1][0] == FeedUp(venue="kalshi")
    assert alive == [(at, FeedAlive(venue="kalshi", venue_ns=at - 2)) for at in (15, 25, 35)]


# --- lockstep -----------------------------------------------------------------------------------------------


def tapes_of(hours, latency_ns):
    chosen = [msgspec.structs.replace(regime(name), hours=hours) for name in ("calm", "volatile")]
    lives = [market_tape(11 + number, one) for number, one in enumerate(chosen)]
    return merge(lives, latency_ns=latency_ns)


def test_the_engine_in_lockstep_trades_as_the_replay_does():
    spec = make_spec(build_config(file_settings={"preset": "short_dated"}), preset="", cash_micros=10**10)
    latency_ns = spec.latency_ms * MS
    tapes = tapes_of(5.0, latency_ns)
    replay = Replay(tapes, spec, spec.queue)
    while not replay.advance():
        pass
    engine = Engine(RiskConfig())
    engine.register_strategy(MarketMakingStrategy(config=spec.config))
    markets = listings_of_tapes(tapes)
    exchange = SimulatedExchange(markets, tapes.events, replay.world.rules, spec.cash_micros)
    begin_ns = int(tapes.events["local_ns"][0]) - 1
    started = Started(version="", account="paper", settings="{}", cash_micros=spec.cash_micros)
    step = engine.step(begin_ns, NO_DATA, (started, *markets, FeedUp(venue="synthetic")))
    answers = [a for c in step.commands for a in reads.answer(exchange, begin_ns, begin_ns, c)]
    engine.step(begin_ns, NO_DATA, tuple(answers))
    steps = []
    link = run_lockstep(engine, exchange, tapes.events, latency_ns, latency_ns, on_step=steps.append)
    count = int(replay.world.clock[0].fill_count)
    ours = [(f.exch_ns, f.market, f.side, f.price, f.size, f.fee_micros) for f in exchange.fills()]
    theirs = [
        (int(f.exch_ns), int(f.market), int(f.side), int(f.price), int(f.qty), int(f.fee_micros))
        for f in replay.world.fills[:count]
    ]
    assert ours == theirs
    assert count > 10
    assert exchange.cash_micros == engine.account.cash_micros == int(replay.world.account[0].cash_micros)
    places = [c for s in steps for c in s.commands if isinstance(c, Place)]
    assert len(places) == sum(int(stats.orders) for stats in replay.world.stats)
    assert link.cursor == len(link.feed)
    assert steps[-1].rows == len(link.feed)


# --- the paced source ---------------------------------------------------------------------------------------


class Stopwatch:
    """A clock that moves only when somebody waits for it."""

    def __init__(self):
        self.at_ns = 1_000

    def now_ns(self):
        return self.at_ns

    async def sleep_until(self, at_ns):
        await asyncio.sleep(0)
        self.at_ns = max(self.at_ns, at_ns)


def batches(events, markets, speed, seed=5):
    async def run():
        exchange = SimulatedExchange(markets, events, rules(), CASH)
        source = SimulatedSource(
            exchange, events, Stopwatch(),
            speed=speed, entry_ns=20 * MS, response_ns=25 * MS, alive_ns=10 * SECOND,
        )  # fmt: skip
        act, log = trader(seed), []
        while not source.is_over:
            batch = await source.next(FAR if len(log) % 7 else source.now_ns + 3 * SECOND)
            if len(batch.data) or batch.events:
                log.append((batch.now_ns, batch.data.tolist(), batch.events))
                source.send(batch.now_ns, act(batch.data, batch.events))
        await source.close()
        return log, exchange.fills(), exchange.cash_micros

    return asyncio.run(run())


def test_any_speed_gives_the_same_batches():
    events = properties.recording(6, 150)
    markets = listings_of(properties.fresh_world())
    whole = batches(events, markets, None)
    assert len(whole[0]) > 100 and len(whole[1]) > 3
    assert any(isinstance(e, Accepted) for _, _, heard in whole[0] for e in heard)
    assert batches(events, markets, 1.0) == whole
    assert batches(events, markets, 977.0) == whole


def test_a_push_makes_an_instant_at_the_virtual_time_of_now():
    exchange, events = market((10 * SECOND, d.TRADE, d.BID, 4_500, CONTRACT))
    halt = Halt(command_id="1", who="me", reason="")

    async def run():
        clock = Stopwatch()
        source = SimulatedSource(exchange, events, clock, speed=2.0, entry_ns=MS, response_ns=MS, alive_ns=0)
        first = await source.next(FAR)
        clock.at_ns += 3 * SECOND
        source.push(halt)
        second = await source.next(FAR)
        waiting = asyncio.ensure_future(source.next(FAR))
        third = await waiting
        fourth = await source.next(5)
        return first, second, third, fourth

    first, second, third, fourth = asyncio.run(run())
    assert first.now_ns == 10
    assert (second.now_ns, second.events, len(second.data)) == (10 + 6 * SECOND, (halt,), 0)
    assert (third.now_ns, len(third.data)) == (10 * SECOND, 1)
    assert (fourth.now_ns, fourth.events) == (10 * SECOND, ()), "time that has passed is now"


def test_a_push_wakes_who_waits_without_a_speed():
    exchange, events = market()
    halt = Halt(command_id="1", who="me", reason="")

    async def run():
        source = SimulatedSource(exchange, events, Stopwatch(), entry_ns=1, response_ns=1, **FREE)
        await source.next(FAR)
        assert source.is_over
        waiting = asyncio.create_task(source.next((1 << 63) - 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        source.push(halt)
        return await waiting

    assert asyncio.run(run()).events == (halt,)


def test_what_left_before_the_end_arrives():
    exchange, events = market((50, d.TRADE, d.BID, 4_500, CONTRACT))

    async def run():
        source = SimulatedSource(exchange, events, Stopwatch(), entry_ns=10, response_ns=1, **FREE)
        batch = await source.next(FAR)
        buy = Place(order_id=1, market=0, side=d.BID, price=4_500, size=CONTRACT, tif=d.IOC)
        source.send(batch.now_ns, [buy])
        await source.close()

    asyncio.run(run())
    (fill,) = exchange.fills()
    assert isinstance(fill, Filled) and fill.exch_ns == 20
