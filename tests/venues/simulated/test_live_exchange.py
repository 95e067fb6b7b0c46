"""The simulated exchange on live market data: the replay's latencies, holes, payouts, fees, new markets."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pr3dict.domain.commands import Cancel, CancelAll, Place, ReadOrders, Reduce, Resubscribe
from pr3dict.domain.errors import DataError
from pr3dict.domain.events import (
    Accepted,
    BookInvalid,
    Closed,
    FeedAlive,
    FeedDown,
    FeesChanged,
    Filled,
    OrdersRead,
    QueueRead,
    Refused,
    RequestRefused,
    Sent,
    Settled,
    VenueStatus,
)
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.snapshots import flatten_snapshots
from pr3dict.kernels.wakes import NEVER_NS
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange
from pr3dict.venues.simulated.link import Link
from pr3dict.venues.simulated.live import BLIND, LiveExchange

sys.path.insert(0, str(Path(__file__).parent))

from exchange_cases import CONTRACT, MS, SECOND, listing, listings_of, properties, rows, rules

CASH = 2_000 * CONTRACT
L = 50 * MS


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns


class Heard:
    """What went on to the engine."""

    def __init__(self) -> None:
        self.rows, self.events = [], []

    def put_rows(self, rows) -> None:
        self.rows += rows.tolist()

    def push(self, event) -> None:
        self.events.append(event)

    def take(self):
        taken = self.rows, tuple(self.events)
        self.rows, self.events = [], []
        return taken


class Market:
    """A live exchange whose markets have whole, empty books."""

    def __init__(self, markets=None, latency_ns=L, book=True, **options) -> None:
        self.clock, self.heard, self.asked = Clock(), Heard(), []
        self.exchange = SimulatedExchange(markets or [listing()], NO_DATA, rules(queue=1), CASH)
        everyone = range(len(self.exchange.listings))
        self.live = LiveExchange(
            self.exchange, "kalshi", self.heard, self.clock, self.asked.append, everyone,
            latency_ns=latency_ns, **options,
        )  # fmt: skip
        self.clock.ns = SECOND
        if book:
            for m in everyone:
                self.live.put_rows(reads.snapshot(self.exchange, m))
            self.heard.take()

    def at(self, ns):
        """Let time pass up to `ns`; what was heard."""
        while self.live.next_ns <= ns:
            self.clock.ns = max(self.clock.ns, self.live.next_ns)
            self.live.catch_up()
        self.clock.ns = ns
        return self.heard.take()[1]

    def send(self, *commands):
        self.live.send(self.clock.ns, commands)

    def book(self, *levels, market=0):
        """A whole book comes: (side, price, contracts)."""
        given = ((0, d.SNAPSHOT, side, price, size * CONTRACT) for side, price, size in levels)
        found = rows(*given, market=market)
        found["bits"][0] |= d.SNAP_FIRST
        found["bits"][-1] |= d.SNAP_LAST
        self.live.put_rows(found)


def place(order_id=1, price=4_100, size=10, side=d.BID, **more):
    return Place(
        order_id=order_id, market=0, side=side, price=price, size=size * CONTRACT,
        tif=more.pop("tif", d.POST_ONLY), **more,
    )  # fmt: skip


def trader(seed, markets):
    """Random requests that depend on what was heard only."""
    rng = random.Random(seed)
    count = 0

    def act(data, events):
        nonlocal count
        commands = []
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            count += 1
            commands.append(
                Place(
                    order_id=count, market=rng.randrange(markets), side=rng.randrange(2),
                    price=rng.randrange(30, 70) * 100, size=rng.randrange(1, 40) * CONTRACT,
                    tif=rng.choice([d.POST_ONLY, d.LIMIT, d.IOC]),
                )
            )  # fmt: skip
        if count and rng.random() < 0.2:
            commands.append(Cancel(order_id=rng.randrange(1, count + 1), market=0))
        if count and rng.random() < 0.1:
            commands.append(Reduce(order_id=rng.randrange(1, count + 1), market=0, remaining=CONTRACT))
        if rng.random() < 0.05:
            commands.append(ReadOrders(venue="kalshi"))
        return commands

    return act


def through_the_link(exchange, events, latency_ns, act):
    link = Link(exchange, events, entry_ns=latency_ns, response_ns=latency_ns)
    log = []
    while (now := link.next_ns(1 << 62)) <= link.end_ns:
        data, heard = link.take(now)
        log.append((now, data.tolist(), heard))
        link.send(now, act(data, heard))
    return log


def as_it_comes(market, events, act):
    """The same recording row by row, each at the moment at which we see it."""
    log, i, end_ns = [], 0, int(events[-1]["local_ns"])
    clock, live, heard = market.clock, market.live, market.heard
    while True:
        row_ns = int(events[i]["local_ns"]) if i < len(events) else NEVER_NS
        now = clock.ns = max(clock.ns, min(row_ns, live.next_ns))
        if now > end_ns:
            return log
        last = int(np.searchsorted(events["local_ns"], now, side="right"))
        batch, i = events[i:last], last
        paid = batch["kind"] == d.SETTLE
        if (~paid).any():
            live.put_rows(batch[~paid])
        for row in batch[paid]:
            live.push(Settled(market=int(row["market"]), value_micros=int(row["qty"])))
        live.catch_up()
        data, events_heard = heard.take()
        if data or any(not isinstance(event, Sent) for event in events_heard):
            log.append((now, data, events_heard))
            market.send(*act(data, events_heard))
        else:
            heard.events = list(events_heard)


@pytest.mark.parametrize("latency_ns", [0, 7 * MS, SECOND])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_heard_when_is_what_a_replay_would_say(seed, latency_ns):
    """Differential: rows that come one by one against the link, which has the whole recording."""
    events = properties.recording(seed, 300)
    events["exch_ns"] += 2 * SECOND
    events["local_ns"] = events["exch_ns"] + latency_ns
    markets = listings_of(properties.fresh_world())
    reference = SimulatedExchange(markets, events, rules(queue=1), CASH)
    expected = through_the_link(reference, events, latency_ns, trader(seed, len(markets)))
    market = Market(markets, latency_ns)
    found = as_it_comes(market, events, trader(seed, len(markets)))
    assert [(now, heard) for now, _, heard in found] == [(now, heard) for now, _, heard in expected]
    assert [row for _, data, _ in found for row in data] == [row for _, data, _ in expected for row in data]
    assert market.exchange.fills() == reference.fills() != ()
    assert market.live.fills == len(reference.fills())
    assert market.exchange.cash_micros == reference.cash_micros and market.exchange.unexplained == ()


def with_snapshots(events, rng):
    """The same recording with whole books strewn in, some of which say what no change said."""
    book, found = {}, []
    for row in events:
        found.append(np.array([row], d.EVENT))
        if row["kind"] == d.LEVEL:
            book[int(row["side"]), int(row["price"])] = int(row["qty"])
        if rng.random() < 0.1:
            for level in [level for level in book if rng.random() < 0.3]:
                book[level] = rng.randrange(3) * CONTRACT
            levels = [(*level, qty) for level, qty in book.items() if qty] or [(0, 0, 0)]
            rng.shuffle(levels)
            whole = rows(*((0, d.SNAPSHOT, side, price, qty) for side, price, qty in levels))
            whole["exch_ns"] = whole["local_ns"] = row["exch_ns"]
            whole["bits"][0] |= d.SNAP_FIRST
            whole["bits"][-1] |= d.SNAP_LAST
            found.append(whole)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_whole_book_is_the_changes_that_it_amounts_to(seed):
    """Differential: against the compiled pass that the tapes of a backtest go through."""
    rng = random.Random(seed)
    events = properties.recording(seed, 200, settle=False)
    events = events[(events["market"] == 0) & (events["kind"] != d.TICK)]
    events["exch_ns"] += 2 * SECOND
    parts = with_snapshots(events, rng)
    flat = flatten_snapshots(np.concatenate(parts))
    reference = SimulatedExchange([listing()], flat, rules(queue=1), CASH)
    market = Market(latency_ns=0)
    orders = [place(k, price, 5, side) for k, (price, side) in enumerate(((4_800, 0), (5_300, 1)), start=1)]
    market.send(*orders)
    market.live.catch_up()
    reference.advance(SECOND)
    for order in orders:
        reference.place(SECOND, order)
    for part in parts:
        market.clock.ns = int(part["exch_ns"][0])
        market.live.put_rows(part)
        reference.advance(market.clock.ns)
    assert (market.exchange.world.exchange_depth == reference.world.exchange_depth).all()
    assert [(f.order_id, f.size, f.exch_ns) for f in market.exchange.fills()] == [
        (f.order_id, f.size, f.exch_ns) for f in reference.fills()
    ]


# --- latencies ------------------------------------------------------------------------------------------


def test_an_order_takes_both_ways_and_is_judged_by_what_stood_then():
    market = Market()
    market.book((d.BID, 4_000, 100), (d.ASK, 4_500, 100))
    market.send(place())
    assert market.at(SECOND + 2 * L - 1) == (Sent(order_id=1),)
    (accepted,) = market.at(SECOND + 2 * L)
    assert isinstance(accepted, Accepted) and market.live.orders == 1
    market.live.put_rows(rows((7, d.TRADE, d.ASK, 4_100, 4 * CONTRACT)))
    (fill,) = market.at(SECOND + 2 * L)
    assert isinstance(fill, Filled) and fill.size == 4 * CONTRACT and fill.exch_ns == SECOND + L
    market.send(Cancel(order_id=1, market=0))
    assert market.at(SECOND + 4 * L) == (Closed(order_id=1, why="none", filled=4 * CONTRACT),)


def test_an_order_expires_at_the_exchanges_time():
    market = Market()
    market.book((d.BID, 4_000, 100), (d.ASK, 4_500, 100))
    market.send(place(expiry_ns=SECOND + 4 * L))
    assert len(market.at(SECOND + 5 * L - 1)) == 2
    assert market.at(SECOND + 5 * L) == (Closed(order_id=1, why="expired", filled=0),)


def test_queues_are_looked_at_and_resubscriptions_reach_the_venue():
    market = Market(queue_ns=SECOND)
    market.book((d.BID, 4_100, 30), (d.ASK, 4_500, 100))
    market.send(place(), Resubscribe(market=0))
    assert market.asked == [0]
    said = [event for event in market.at(4 * SECOND) if isinstance(event, QueueRead)]
    assert [(p.order_id, p.ahead) for read in said for p in read.positions] == [(1, 30 * CONTRACT)]


# --- holes ----------------------------------------------------------------------------------------------


def resting(price=4_100):
    market = Market()
    market.book((d.BID, 4_000, 100), (d.ASK, 4_500, 100))
    market.send(place(price=price))
    market.at(2 * SECOND)
    return market


HOLES = [BookInvalid(market=0, why="gap"), FeedDown(venue="kalshi", why="cut")]


@pytest.mark.parametrize("hole", HOLES)
def test_what_rests_through_a_hole_is_filled_by_the_book_that_ends_it(hole):
    market = resting()
    market.live.push(hole)
    market.send(Cancel(order_id=1, market=0))
    assert market.at(5 * SECOND) == (hole,), "the cancel waits for the book"
    assert market.live.holes == 1
    market.book((d.BID, 3_700, 100), (d.ASK, 3_900, 6), (d.ASK, 4_100, 3), (d.ASK, 4_200, 50))
    *fills, closed = market.at(5 * SECOND)
    assert [(fill.price, fill.size) for fill in fills] == [(4_100, 6 * CONTRACT), (4_100, 3 * CONTRACT)]
    assert closed == Closed(order_id=1, why="none", filled=9 * CONTRACT)


@pytest.mark.parametrize("hole", HOLES)
def test_what_the_book_does_not_reach_is_cancelled_then(hole):
    market = resting()
    market.live.push(hole)
    market.send(Cancel(order_id=1, market=0))
    market.at(5 * SECOND)
    market.book((d.BID, 4_000, 100), (d.ASK, 4_500, 100))
    assert market.at(5 * SECOND) == (Closed(order_id=1, why="none", filled=0),)
    market.send(place(2))
    assert market.at(6 * SECOND)[-1] == Accepted(order_id=2, venue_id="x2")


def test_nothing_new_is_taken_without_a_book():
    fresh = Market(book=False)
    holed = resting()
    holed.live.push(HOLES[0])
    for market in (fresh, holed):
        market.at(3 * SECOND)
        market.send(place(7))
        refused = market.at(4 * SECOND)[-1]
        assert refused == Refused(order_id=7, why="not_active", text=BLIND)
        assert market.exchange.refuses_new == ""


def test_trades_are_heard_through_a_hole_and_everything_can_be_cancelled():
    market = resting()
    market.live.push(HOLES[0])
    market.live.put_rows(rows((7, d.TRADE, d.ASK, 4_050, 4 * CONTRACT)))
    assert [type(event) for event in market.at(3 * SECOND)] == [BookInvalid, Filled]
    market.send(CancelAll(venue="kalshi", why="SIGINT"), ReadOrders(venue="kalshi"))
    closed, listed = market.at(4 * SECOND)
    assert closed == Closed(order_id=1, why="none", filled=4 * CONTRACT)
    assert isinstance(listed, OrdersRead) and listed.orders == ()


def test_a_market_that_ends_in_a_hole_answers():
    market = resting()
    market.live.push(HOLES[0])
    market.send(Cancel(order_id=1, market=0))
    market.at(3 * SECOND)
    market.live.put_rows(rows((7, d.STATUS, 0, 0, 0, d.CLOSED)))
    closed, refused = market.at(3 * SECOND)
    assert closed == Closed(order_id=1, why="closed", filled=0)
    assert isinstance(refused, RequestRefused)
    market.live.push(HOLES[1])
    assert market.live.holes == 1, "there is nothing to lose any more"


# --- what else the venue says -----------------------------------------------------------------------------


def test_a_payout_is_booked_once():
    market = resting()
    market.live.put_rows(rows((7, d.TRADE, d.ASK, 4_100, 10 * CONTRACT)))
    market.at(3 * SECOND)
    cash = market.exchange.cash_micros
    paid = Settled(market=0, value_micros=1_000_000)
    for _ in range(2):
        market.live.push(paid)
        assert market.at(4 * SECOND) == (paid,), "said by the venue, not again by the exchange"
    assert market.exchange.cash_micros == cash + 10 * CONTRACT and market.exchange.positions() == {}


def test_fees_that_change_are_paid():
    fees = {
        "fee_kind": "kalshi",
        "maker_ppm": 0,
        "taker_ppm": 0,
        "trade_unit_micros": 100,
        "unit_micros": 100,
        "rebate_unit_micros": 10_000,
    }
    market = Market([listing(**fees)])
    market.book((d.BID, 4_000, 100), (d.ASK, 5_000, 100))
    market.live.push(FeesChanged(market=0, taker_ppm=70_000, maker_ppm=0))
    market.send(place(price=5_000, tif=d.IOC))
    (fill,) = [event for event in market.at(2 * SECOND) if isinstance(event, Filled)]
    assert fill.fee_micros == 175_000  # 0.07 x 10 x 0.5 x 0.5


def test_a_venue_that_is_closed_takes_cancels_only():
    market = resting()
    market.live.push(VenueStatus(venue="kalshi", status="paused"))
    market.send(place(2), Cancel(order_id=1, market=0))
    events = market.at(3 * SECOND)
    assert events[2].why == "not_active" and isinstance(events[3], Closed)
    market.live.push(VenueStatus(venue="kalshi", status="open"))
    market.live.push(FeedAlive(venue="kalshi", venue_ns=5))
    market.send(place(3))
    assert isinstance(market.at(4 * SECOND)[-1], Accepted)


@pytest.mark.parametrize("seed", range(4))
def test_markets_that_open_under_way_are_as_if_they_had_always_been_there(seed):
    """Differential: an exchange that grows against one that was opened with all its markets."""
    rng = random.Random(seed)
    events = properties.recording(seed, 200)
    events["exch_ns"] += 2 * SECOND
    everyone = listings_of(properties.fresh_world())
    events = events[events["market"] < len(everyone)]
    late = int(np.flatnonzero(events["market"] == len(everyone) - 1)[0])
    act = trader(seed, len(everyone))
    whole = SimulatedExchange(everyone, NO_DATA, rules(queue=1), CASH)
    grown = SimulatedExchange(everyone[:1], NO_DATA, rules(queue=1), CASH)
    pending = list(everyone[1:])
    orders = 0
    for i, row in enumerate(events):
        part, now = np.array([row], d.EVENT), int(row["exch_ns"])
        while pending and (int(row["market"]) >= pending[0].market or i >= late or rng.random() < 0.02):
            grown.list_more([pending.pop(0)])
        told = []
        for exchange in (whole, grown):
            exchange.extend(part)
            told.append([(x.exch_ns, x.event) for x in exchange.advance(now)])
        assert told[0] == told[1]
        for command in act(part, ()):
            if isinstance(command, Place) and command.market < len(grown.listings):
                orders += 1
                fresh = msgspec.structs.replace(command, order_id=orders)
                assert whole.place(now, fresh) == grown.place(now, fresh)
    assert grown.listings == whole.listings and grown.fills() == whole.fills() != ()
    assert grown.positions() == whole.positions() and grown.cash_micros == whole.cash_micros
    assert grown.unexplained == () and grown.open_orders() == whole.open_orders()
    for m in range(len(everyone)):
        assert reads.snapshot(grown, m).tolist() == reads.snapshot(whole, m).tolist()
        assert reads.state(grown, m).tolist() == reads.state(whole, m).tolist()


def test_further_markets_are_numbered_on():
    exchange = SimulatedExchange([listing()], NO_DATA, rules(), CASH)
    with pytest.raises(DataError, match="numbered from 0"):
        exchange.list_more([listing(2)])
    assert len(exchange.listings) == 1


def test_a_market_that_opens_under_way_waits_for_its_book():
    market = resting()
    new = listing(1, book_includes_own=True)
    market.live.push(new)
    (heard,) = market.at(3 * SECOND)
    assert heard == listing(1), "no order of ours is in the book that it shows"
    market.live.put_rows(rows((7, d.STATUS, 0, 0, 0, d.ACTIVE), market=1))
    order = msgspec.structs.replace(place(2), market=1)
    market.send(order)
    assert isinstance(market.at(4 * SECOND)[-1], Refused)
    market.book((d.BID, 4_000, 100), (d.ASK, 4_500, 100), market=1)
    market.send(msgspec.structs.replace(order, order_id=3))
    assert isinstance(market.at(5 * SECOND)[-1], Accepted)
    assert [o.order_id for o in market.exchange.open_orders()] == [1, 3]
