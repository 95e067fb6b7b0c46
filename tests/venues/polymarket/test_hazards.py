"""A session in which everything goes wrong at once: afterwards what was told is what is true."""

from __future__ import annotations

import asyncio
import random

import pytest

from pr3dict.domain import events as e
from pr3dict.domain.commands import (
    Cancel,
    CancelAll,
    ReadFills,
    ReadOrder,
    ReadOrders,
    ReadPositions,
)
from pr3dict.kernels import dtypes as d

SECOND = 1_000_000_000
SPEED = 20.0
FAULTS = {
    "error_after_apply": 0.03, "error_before_apply": 0.03, "lost_answer": 0.03, "lost_request": 0.03,
    "malformed_answer": 0.02, "too_many_requests": 0.03, "null_fields": 0.1, "refused_as_200": 0.3,
    "ip_limit_after": 0.02, "ip_limit_before": 0.02, "order_timed_out": 0.02, "stream_first": 0.5,
    "trade_failed": 0.2, "trade_retrying": 0.2, "drop_user": 0.05, "duplicate_user": 0.2, "reorder_user": 0.1,
    "drop_market": 0.02, "empty_numbers": 0.05, "unknown_status": 0.1, "array_frames": 0.3,
    "malformed_frame": 0.005, "mine_s": [0.5, 2.0], "confirm_s": [0.5, 2.0], "retry_s": [1.0, 3.0],
}  # fmt: skip


async def quote(t, rng: random.Random, seconds: float) -> int:
    """Orders, cancels and takers at random; returns how many orders there were."""
    order_id, live = 0, []
    for _ in range(int(seconds / 0.02)):
        order_id += 1
        sides = rng.choice([d.BID, d.ASK])
        price = rng.randrange(46, 50) * 100 if sides == d.BID else rng.randrange(51, 55) * 100
        t.place(order_id, side=sides, price=price, size=rng.randrange(5, 30) * 1_000_000, market=0)
        live.append(order_id)
        if len(live) > 6:
            gone = [live.pop(rng.randrange(len(live))) for _ in range(rng.randrange(1, 4))]
            t.wire.send(0, [Cancel(order_id=n, market=0) for n in gone])
        if rng.random() < 0.3:
            taker, to = rng.choice([("ask", "0.46"), ("bid", "0.54")])
            t.server.do("take", market="plain-0", taker=taker, price=to, shares=str(rng.randrange(1, 60)))
            side = "bid" if taker == "ask" else "ask"
            t.server.do(
                "level", market="plain-0", side=side, price="0.45" if side == "bid" else "0.55", shares="100"
            )
        if rng.random() < 0.02:
            t.server.do("disconnect", stream=rng.randrange(2))
        if rng.random() < 0.01:
            t.server.do("restart", seconds=2, post_only_s=5)
        if rng.random() < 0.01:
            t.server.do("freeze", seconds=3)
        await asyncio.sleep(0.02)
    return order_id


def booked(t) -> dict[int, int]:
    """What each order traded by all that was told, voids taken away: as the engine books it."""
    fills = {f.trade_id: f for f in t.ear.of(e.Filled)}
    for read in t.ear.of(e.FillsRead):
        fills.update({f.trade_id: f for f in read.fills})
    for void in t.ear.of(e.FillVoided):
        fills.pop(void.trade_id, None)
    traded: dict[int, int] = {}
    for fill in fills.values():
        traded[fill.order_id] = traded.get(fill.order_id, 0) + fill.size
    return traded


def true_fills(t) -> dict[str, int]:
    """What each of our orders traded in trades that were confirmed."""
    traded: dict[str, int] = {}
    for trade in t.server.controls.truth()["trades"]:
        if trade["status"].endswith("CONFIRMED"):
            for row in trade["maker_orders"]:
                if row["maker_address"] != t.server.account.wallet:
                    continue
                size = round(float(row["matched_amount"]) * 10**6)
                traded[row["order_id"]] = traded.get(row["order_id"], 0) + size
    return traded


@pytest.mark.parametrize("seed", [1])
def test_after_every_fault_what_was_told_is_what_is_true(trading_of, seed: int) -> None:
    async def body() -> None:
        rng = random.Random(seed)
        async with trading_of.trading(faults=FAULTS, seed=seed, speed=SPEED) as t:
            placed = await quote(t, rng, 3.5)
            t.server.do("open_up")
            t.server.faults.change(dict.fromkeys((k for k in FAULTS if not k.endswith("_s")), 0.0))
            await asyncio.sleep(1.0)
            t.wire.send(0, [CancelAll(venue="polymarket", why="test")])
            await trading_of.until(lambda: not t.server.venue.open, 10.0)
            await asyncio.sleep(0.8)  # sixteen seconds: every trade has ended
            t.wire.send(0, [ReadFills(venue="polymarket", since_ns=0), ReadOrders(venue="polymarket")])
            t.wire.send(0, [ReadPositions(venue="polymarket")])
            before = [len(t.ear.of(kind)) for kind in (e.FillsRead, e.OrdersRead, e.PositionsRead)]
            for kind, count in zip((e.FillsRead, e.OrdersRead, e.PositionsRead), before, strict=True):
                read = await t.ear.until(kind, count + 1)
            ids = {digest: n for n in range(1, placed + 1) if (digest := t.wire.orders.digest(n))}
            digests = {n: digest for digest, n in ids.items()}
            told = {digests[n]: size for n, size in booked(t).items()}
            assert told == true_fills(t) and len(told) > 5
            assert t.ear.of(e.OrdersRead)[-1].orders == ()
            state = t.server.venue.ledger.truth()[t.server.account.wallet]
            (held,) = read.positions or (e.VenuePosition(market=0, yes_contracts=0, no_contracts=0),)
            yes, no = (
                round(float(state.get(token, 0)) * 10**6) for token in t.server.venue.markets[0].tokens
            )
            assert (held.yes_contracts, held.no_contracts) == (yes, no)
            await all_ended(t, placed)
            assert not t.server.controls.truth()["unexplained"]

    async def all_ended(t, placed: int) -> None:
        """Every order that left has an end, or one that a look-up gives."""
        ended = {event.order_id for kind in (e.Closed, e.Refused, e.NotSent) for event in t.ear.of(kind)}
        doubtful = [n for n in range(1, placed + 1) if n not in ended]
        assert all(t.ear.of(e.AnswerLost, order_id=n) or t.ear.of(e.Accepted, order_id=n) for n in doubtful)
        for n in doubtful:
            t.wire.send(0, [ReadOrder(order_id=n, market=0, venue_id=t.wire.orders.digest(n))])
        await trading_of.until(lambda: len(t.ear.of(e.OrderRead)) >= len(doubtful))
        assert all(read.status in ("closed", "not_found") for read in t.ear.of(e.OrderRead))

    asyncio.run(body())
