"""The simulated exchange against the compiled replay's exchange half, and the rules of its requests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pr3dict.domain.commands import Cancel, Place, Reduce, Renew
from pr3dict.domain.errors import WorkError
from pr3dict.domain.events import (
    Accepted,
    Closed,
    Filled,
    Merged,
    Reduced,
    Refused,
    Renewed,
    RequestRefused,
    Settled,
)
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.backtest import Replay
from pr3dict.runtime.listing import listings_of as listings_of_tapes
from pr3dict.runtime.listing import own_grids
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.tapeset import merge, tape_paths
from pr3dict.store.importers import get_importer, import_recordings
from pr3dict.store.tape import read_tape
from pr3dict.strategies.presets import build_config
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.truth import Message

sys.path.insert(0, str(Path(__file__).parent))

from exchange_cases import (
    CENTS,
    CONTRACT,
    HALF_CENTS,
    MS,
    RULES_FIELDS,
    SECOND,
    drive,
    listing,
    listings_of,
    outbox,
    properties,
    rows,
    rules,
)


def both(world, events, cash):
    """The same requests through a replay and through an exchange of its own."""
    requests = outbox(world, events)
    own = rules(**{name: world.rules[0][name] for name in RULES_FIELDS})
    exchange = SimulatedExchange(listings_of(world), events, own, cash)
    heard = drive(exchange, requests, int(events["exch_ns"][-1]) + 3600 * SECOND)
    return exchange, requests, heard


def check_same(world, exchange, heard):
    """Fills, cash and positions of the two exchanges."""
    fills = [event for _, event in heard if isinstance(event, Filled)]
    count = int(world.clock[0].fill_count)
    assert len(fills) == count
    for ours, theirs in zip(fills, world.fills[:count], strict=True):
        for name in ("order_id", "market", "side", "price", "fee_micros", "rebate_micros", "exch_ns"):
            assert getattr(ours, name) == int(theirs[name]), name
        assert (ours.size, ours.maker) == (int(theirs.qty), bool(theirs.maker))
    assert tuple(fills) == exchange.fills()
    assert exchange.cash_micros == int(world.account[0].cash_micros)
    for m, held in enumerate(world.holdings):
        now = exchange.positions().get(m, (0, 0))
        assert now == (int(held.yes_contracts), int(held.no_contracts))
    assert exchange.unexplained == ()


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_replays_own_requests_give_its_fills(seed, wild):
    events = properties.recording(seed, 600, wild=wild)
    world = properties.fresh_world()
    exchange, requests, heard = both(world, events, 2_000 * CONTRACT)
    check_same(world, exchange, heard)
    assert len(requests) > 100
    assert int(world.clock[0].fill_count) > 10


def test_every_order_has_one_end_and_its_fills_add_up():
    events = properties.recording(3, 600)
    world = properties.fresh_world()
    exchange, requests, heard = both(world, events, 2_000 * CONTRACT)
    ends = [event for _, event in heard if isinstance(event, Closed | Refused)]
    ids = [event.order_id for event in ends]
    assert len(ids) == len(set(ids))
    assert set(ids) == {int(message.id) for message in requests if message.kind == d.NEW}
    assert exchange.open_orders() == ()
    filled = {event.order_id: event.filled for event in ends if isinstance(event, Closed)}
    sums = dict.fromkeys(filled, 0)
    trade_ids = set()
    for _, event in heard:
        if isinstance(event, Filled):
            sums[event.order_id] += event.size
            trade_ids.add(event.trade_id)
    assert sums == filled
    assert len(trade_ids) == len(exchange.fills())
    times = [at for at, _ in heard]
    assert times == sorted(times)


def test_a_recorded_session_gives_the_replays_fills(data_dir, tmp_path):
    folder = data_dir / "kalshi-kxbtc15m-l2-a" / "sessions"
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    import_recordings(get_importer("kalshi-kxbtc15m-l2"), [min(folder.iterdir())], tmp_path)
    tapes = merge([read_tape(path) for path in tape_paths([tmp_path])], latency_ns=50 * MS)
    spec = make_spec(build_config(file_settings={"preset": "short_dated"}), preset="", cash_micros=10**10)
    replay = Replay(tapes, spec, spec.queue)
    requests = outbox(replay.world, tapes.events)
    exchange = SimulatedExchange(listings_of_tapes(tapes), own_grids(tapes), replay.world.rules, 10**10)
    heard = drive(exchange, requests, int(tapes.events["exch_ns"][-1]) + 3600 * SECOND)
    check_same(replay.world, exchange, heard)
    assert len(exchange.fills()) > 20
    settled = tapes.events["market"][tapes.events["kind"] == d.SETTLE]
    assert sorted(exchange.settled) == sorted(settled.tolist()) != []


# --- requests -------------------------------------------------------------------------------------------

BOOK = (
    (10, d.LEVEL, d.BID, 4_000, 100 * CONTRACT),
    (10, d.LEVEL, d.ASK, 4_500, 100 * CONTRACT),
)


def opened(*more, cash=1_000 * CONTRACT, queue=0, **changes):
    """An exchange of one market at time 10 with bids of 100 at 40 cents and asks of 100 at 45."""
    exchange = SimulatedExchange([listing(**changes)], rows(*BOOK, *more), rules(queue=queue), cash)
    exchange.advance(10)
    return exchange


def place(order_id=1, side=d.BID, price=4_200, size=10 * CONTRACT, tif=d.POST_ONLY, **more):
    return Place(order_id=order_id, market=0, side=side, price=price, size=size, tif=tif, **more)


def test_an_order_rests_fills_and_closes():
    exchange = opened((30, d.TRADE, d.ASK, 4_200, 4 * CONTRACT), (40, d.TRADE, d.ASK, 4_200, 9 * CONTRACT))
    (accepted,) = exchange.place(20, place())
    assert accepted == Accepted(order_id=1, venue_id=accepted.venue_id)
    assert exchange.next_ns == 30
    told = [h.event for h in exchange.advance(35) if h.event]
    assert [(e.size, e.price, e.maker, e.exch_ns) for e in told] == [(4 * CONTRACT, 4_200, True, 30)]
    (resting,) = exchange.open_orders()
    assert (resting.remaining, resting.filled) == (6 * CONTRACT, 4 * CONTRACT)
    assert exchange.positions() == {0: (4 * CONTRACT, 0)}
    assert exchange.cash_micros == 1_000 * CONTRACT - 4 * 420_000
    _, last, closed = (h.event for h in exchange.advance(50))
    assert last.size == 6 * CONTRACT
    assert closed == Closed(order_id=1, why="filled", filled=10 * CONTRACT)
    assert exchange.open_orders() == ()
    assert exchange.order(1).status == "closed"
    assert exchange.unexplained == ()


def test_data_come_as_slices_without_settlements():
    settle = (30, d.SETTLE, 0, 0, 1_000_000)
    exchange = opened(settle, (30, d.STATUS, 0, 0, 0, d.SETTLED), (45, d.TRADE, d.BID, 4_500, CONTRACT))
    exchange.place(20, place(tif=d.LIMIT, price=4_500))
    happened = exchange.advance(100)
    assert [h.event for h in happened if h.event] == [Settled(market=0, value_micros=1_000_000)]
    assert [row["kind"] for h in happened for row in h.data] == [d.STATUS, d.TRADE]
    assert exchange.cash_micros == 1_000 * CONTRACT + 10 * 550_000
    assert exchange.positions() == {}


def test_what_rests_is_closed_before_the_payout_is_told():
    exchange = opened((30, d.SETTLE, 0, 0, 0))
    exchange.place(20, place())
    assert [h.event for h in exchange.advance(30) if h.event] == [
        Closed(order_id=1, why="closed", filled=0),
        Settled(market=0, value_micros=0),
    ]


def test_an_id_is_burned_by_its_first_order():
    exchange = opened()
    (accepted,) = exchange.place(20, place(tif=d.LIMIT))
    assert exchange.place(21, place(size=50 * CONTRACT, price=4_100)) == [accepted]
    assert len(exchange.open_orders()) == 1
    exchange.cancel(22, Cancel(order_id=1, market=0))
    assert exchange.place(23, place()) == [accepted, Closed(order_id=1, why="none", filled=0)]
    (refused,) = exchange.place(24, place(2, price=4_500))
    assert refused == Refused(order_id=2, why="post_only_cross")
    assert exchange.place(25, place(2)) == [refused]
    assert exchange.open_orders() == ()


def test_a_taker_is_told_everything_at_once():
    exchange = opened()
    said = exchange.place(20, place(tif=d.IOC, price=4_500, size=130 * CONTRACT))
    kinds = [type(event) for event in said]
    assert kinds == [Accepted, Filled, Closed]
    assert (said[1].maker, said[1].size) == (False, 100 * CONTRACT)
    assert said[2] == Closed(order_id=1, why="unfilled_ioc", filled=100 * CONTRACT)


def test_reduce_renew_expire():
    exchange = opened()
    exchange.place(20, place(expiry_ns=100))
    said = exchange.reduce(21, Reduce(order_id=1, market=0, remaining=3 * CONTRACT))
    assert said == [Reduced(order_id=1, remaining=3 * CONTRACT, filled=0)]
    assert exchange.renew(22, Renew(order_id=1, market=0, expiry_ns=200)) == [
        Renewed(order_id=1, expiry_ns=200)
    ]
    assert [h.event for h in exchange.advance(199) if h.event] == []
    (happened,) = exchange.advance(300)
    assert (happened.exch_ns, happened.event) == (200, Closed(order_id=1, why="expired", filled=0))
    gone = Renew(order_id=1, market=0, expiry_ns=400)
    assert exchange.renew(301, gone) == [RequestRefused(order_id=1, request="renew", why="unknown_order")]
    exchange.place(302, place(2))
    late = Renew(order_id=2, market=0, expiry_ns=303)
    assert exchange.renew(303, late)[0].why == "expired"
    assert len(exchange.open_orders()) == 1


def test_cancel_all_and_requests_about_nothing():
    exchange = opened()
    for order_id in (1, 2, 3):
        exchange.place(20, place(order_id))
    assert exchange.cancel_all(21, "polymarket") == []
    assert exchange.cancel_all(21) == [Closed(order_id=k, why="none", filled=0) for k in (1, 2, 3)]
    (refused,) = exchange.cancel(22, Cancel(order_id=9, market=0))
    assert refused == RequestRefused(order_id=9, request="cancel", why="unknown_order")
    assert exchange.cash_micros == 1_000 * CONTRACT


def test_no_more_orders_than_there_is_room_for():
    exchange = opened()
    said = [exchange.place(20, place(k, size=CONTRACT))[0] for k in range(1, d.ORDER_SLOTS + 2)]
    assert [type(event) for event in said] == [Accepted] * d.ORDER_SLOTS + [Refused]
    assert said[-1].why == "rate_limit"
    exchange.cancel(21, Cancel(order_id=5, market=0))
    assert isinstance(exchange.place(22, place(99, size=CONTRACT))[0], Accepted)


def test_a_request_may_not_overtake_the_recording():
    exchange = opened((30, d.TRADE, d.ASK, 4_200, CONTRACT))
    with pytest.raises(WorkError, match="came at 30 ns"):
        exchange.place(30, place())
    exchange.advance(40)
    with pytest.raises(WorkError, match="stands at 40 ns"):
        exchange.place(39, place())


def test_later_rows_and_late_rows():
    exchange = opened()
    exchange.place(20, place())
    exchange.extend(rows((50, d.TRADE, d.ASK, 4_200, 2 * CONTRACT)))
    exchange.extend(rows((30, d.TRADE, d.ASK, 4_200, 3 * CONTRACT), (60, d.LEVEL, d.ASK, 4_600, CONTRACT)))
    happened = exchange.advance(70)
    fills = [(h.exch_ns, h.event.size // CONTRACT) for h in happened if h.event]
    assert fills == [(50, 2), (50, 3)]
    exchange.extend(rows((65, d.TRADE, d.ASK, 4_200, CONTRACT)))
    assert exchange.next_ns == 70, "what is late happens now"


def test_a_tick_names_a_grid_of_its_own_market():
    other = listing(0, grids=(HALF_CENTS,))
    markets = [other, listing(1, grids=(CENTS, HALF_CENTS))]
    tick = rows((5, d.TICK, 0, 0, 0, 1), market=1)
    book = rows((10, d.LEVEL, d.BID, 4_050, CONTRACT), market=1)
    exchange = SimulatedExchange(markets, np.concatenate((tick, book)), rules(), CONTRACT)
    (happened,) = exchange.advance(10)
    assert happened.data["aux"].tolist() == [1, 0], "as it was given"
    assert exchange.grid_index(1) == 1
    assert reads.touch(exchange, 1) == (4_050, -1)


def test_pairs_of_a_venue_that_keeps_both_are_merged():
    exchange = SimulatedExchange(
        [listing(nets_positions=False)], rows(*BOOK), rules(merge_threshold=CONTRACT), 1_000 * CONTRACT,
        {0: (0, 6 * CONTRACT)},
    )  # fmt: skip
    exchange.advance(10)
    said = exchange.place(20, place(tif=d.IOC, price=4_500))
    assert [type(event) for event in said] == [Accepted, Filled, Merged, Closed]
    assert said[2].pairs == 6 * CONTRACT
    assert exchange.positions() == {0: (4 * CONTRACT, 0)}
    assert exchange.unexplained == ()


def test_messages_have_the_fields_of_their_rows():
    assert Message._fields == d.MESSAGE.names
