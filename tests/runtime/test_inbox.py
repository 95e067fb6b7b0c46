"""The bounded queues: nothing is lost in silence, and nothing overtakes what makes it worthless."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import EngineTime, VirtualClock
from pr3dict.runtime.inbox import Inbox, InboxFull, LiveSource

LISTED = e.Listed(
    market=3, venue="polymarket", ticker="T", event_id="E", exclusive=False, title="t", grids=(), min_size=1,
    lot=1, fee_kind="none", nets_positions=True, reduce_in_place=True,
)  # fmt: skip


def rows(*markets: int, kind: int = d.LEVEL, qty: int = 1) -> d.Array:
    made = np.zeros(len(markets), d.EVENT)
    made["market"], made["kind"], made["qty"] = markets, kind, qty
    return made


def test_what_is_put_in_comes_out_once_with_the_time_of_taking():
    inbox = Inbox(max_rows=8)
    inbox.put_rows(rows(1, 2))
    inbox.put(e.FeedUp(venue="kalshi"))
    batch = inbox.take(77)
    assert batch.data["market"].tolist() == [1, 2] and batch.data["local_ns"].tolist() == [77, 77]
    assert batch.events == (e.FeedUp(venue="kalshi"),)
    assert not inbox and len(inbox.take(78).data) == 0


def test_a_batch_is_a_copy_that_later_rows_leave_alone():
    inbox = Inbox(max_rows=8)
    inbox.put_rows(rows(1, qty=5))
    batch = inbox.take(1)
    inbox.put_rows(rows(2, qty=9))
    assert batch.data["qty"].tolist() == [5]


def test_an_overflow_drops_books_and_trades_and_says_so_for_each_market():
    inbox = Inbox(max_rows=4)
    inbox.put_rows(rows(1, 2, 1))
    inbox.put_rows(rows(3, 2))
    batch = inbox.take(1)
    assert [event.market for event in batch.events] == [1, 2, 3]
    assert {event.why for event in batch.events} == {"overflow"}
    assert len(batch.data) == 0 and inbox.dropped_rows == 5 and inbox.overflows == 1


def test_rows_that_no_snapshot_repeats_survive_an_overflow():
    inbox = Inbox(max_rows=3)
    inbox.put_rows(rows(1, kind=d.STATUS))
    inbox.put_rows(rows(1, 1))
    inbox.put_rows(rows(2, kind=d.TICK))
    batch = inbox.take(1)
    assert batch.data["kind"].tolist() == [d.STATUS, d.TICK]
    inbox.put_rows(rows(1, 1, 1, kind=d.STATUS))
    with pytest.raises(InboxFull, match="none of them may be dropped"):
        inbox.put_rows(rows(1, kind=d.STATUS))


def test_control_events_are_never_dropped():
    inbox = Inbox(max_events=2)
    inbox.put(e.FeedUp(venue="kalshi"))
    inbox.put(e.FeedUp(venue="kalshi"))
    with pytest.raises(InboxFull, match="2 control events wait"):
        inbox.put(e.FeedUp(venue="kalshi"))
    assert len(inbox.take(1).events) == 2


def test_rows_never_come_after_the_event_that_made_them_worthless():
    inbox = Inbox()
    inbox.put_rows(rows(1, qty=1))
    inbox.put(e.BookInvalid(market=1, why="gap"))
    inbox.put_rows(rows(1, qty=2))
    inbox.put(e.Settled(market=1, value_micros=0))
    first, second = inbox.take(1), inbox.take(2)
    assert first.data["qty"].tolist() == [1] and first.events == ()
    assert second.data["qty"].tolist() == [2] and len(second.events) == 2


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.lists(st.integers(0, 3), min_size=1, max_size=4)),
        st.tuples(st.sampled_from(["invalid", "fill"]), st.integers(0, 3)),
        st.just(("take", 0)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(MOVES)
def test_every_row_comes_out_or_is_counted_and_its_book_declared_invalid(moves):
    inbox = Inbox(max_rows=6, max_events=1000)
    put = taken = 0
    last_row = last_event = 0
    arrived: dict[int, int] = {}  # stamp of an invalidation: rows put before it may not come after

    def take() -> None:
        nonlocal taken, last_row, last_event
        batch = inbox.take(1)
        taken += len(batch.data)
        stamps = batch.data["qty"].tolist()
        assert stamps == sorted(stamps) and (not stamps or stamps[0] > last_row)
        last_row = stamps[-1] if stamps else last_row
        for event in batch.events:
            if isinstance(event, e.BookInvalid) and event.why != "overflow":
                assert all(s > int(event.why) for s in stamps), "a row came with or after its invalidation"
                arrived[event.market] = int(event.why)
            elif isinstance(event, e.Settled):
                assert event.value_micros > last_event
                last_event = event.value_micros

    for stamp, (move, what) in enumerate(moves, 1):
        if move == "rows":
            made = rows(*what)
            made["qty"] = stamp * 10 + np.arange(len(what))
            inbox.put_rows(made)
            put += len(what)
        elif move == "invalid":
            inbox.put(e.BookInvalid(market=what, why=str(stamp * 10)))
        elif move == "fill":
            inbox.put(e.Settled(market=what, value_micros=stamp))
        else:
            take()
        assert len(inbox._rows) == 6
    while inbox:
        take()
    assert put == taken + inbox.dropped_rows
    assert (inbox.overflows > 0) == (inbox.dropped_rows > 0)


class Wire:
    def __init__(self) -> None:
        self.sent: list[c.Action] = []

    def send(self, now_ns: int, commands) -> None:
        self.sent += commands

    async def close(self) -> None:
        raise OSError("no link")


def live(clock: VirtualClock) -> tuple[LiveSource, Wire, Wire]:
    kalshi, polymarket = Wire(), Wire()
    source = LiveSource(
        Inbox(), EngineTime(clock), {"kalshi": kalshi, "polymarket": polymarket}, {0: "kalshi"}
    )
    return source, kalshi, polymarket


def test_batches_have_different_times_even_when_the_clock_stands():
    async def story() -> list[int]:
        source, _, _ = live(VirtualClock(wall_ns=500))
        times = []
        for _ in range(3):
            source.push(e.FeedUp(venue="kalshi"))
            times.append((await source.next(10_000)).now_ns)
        return times

    assert asyncio.run(story()) == [500, 501, 502]


def test_waiting_ends_with_an_arrival_or_with_the_time():
    async def story() -> tuple[int, int]:
        from pr3dict.runtime.clock import SystemClock

        source = LiveSource(Inbox(), EngineTime(SystemClock()), {}, {})
        now_ns = SystemClock().wall_ns()
        idle = await source.next(now_ns + 20_000_000)
        assert idle.now_ns >= now_ns + 15_000_000
        asyncio.get_running_loop().call_later(0.02, source.put_rows, rows(1))
        batch = await source.next(now_ns + 60_000_000_000)
        return len(idle.data), len(batch.data)

    assert asyncio.run(story()) == (0, 1)


def test_commands_go_to_the_venue_of_their_market():
    async def story() -> None:
        source, kalshi, polymarket = live(VirtualClock(wall_ns=500))
        source.push(LISTED)
        cancels = [c.Cancel(order_id=1, market=3), c.Cancel(order_id=2, market=0)]
        source.send(1, [*cancels, c.CancelAll(venue="kalshi", why="x")])
        assert polymarket.sent == [cancels[0]]
        assert kalshi.sent == [cancels[1], c.CancelAll(venue="kalshi", why="x")]
        with pytest.raises(KeyError):
            source.send(1, [c.Cancel(order_id=1, market=9)])
        with pytest.raises(OSError, match="no link"):
            await source.close()

    asyncio.run(story())
