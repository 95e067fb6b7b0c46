"""Recordings, markets and the replay's own requests, for the tests of the simulated exchange."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from pr3dict.domain.commands import Cancel, Place, Reduce
from pr3dict.domain.events import Listed
from pr3dict.domain.market import Band, PriceGrid
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.replay import run
from pr3dict.venues.simulated.exchange import SimulatedExchange

_PATH = Path(__file__).parents[2] / "kernels" / "test_replay_properties.py"
_spec = importlib.util.spec_from_file_location("replay_properties", _PATH)
properties = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(properties)

CONTRACT = 1_000_000
MS = 1_000_000
SECOND = 1_000_000_000
CENTS = PriceGrid((Band(0, 10_000, 100),))
HALF_CENTS = PriceGrid((Band(0, 10_000, 50),))
RULES_FIELDS = ("queue", "queue_power", "order_rate", "order_burst", "merge_threshold")


def listing(m=0, **changes):
    """A market of Kalshi's kind without fees, as `changes` make it."""
    facts = {
        "venue": "kalshi", "ticker": f"M{m}", "event_id": f"E{m}", "exclusive": False, "title": "a market",
        "grids": (CENTS, HALF_CENTS), "min_size": CONTRACT, "lot": CONTRACT, "fee_kind": "none",
        "nets_positions": True, "reduce_in_place": True,
    }  # fmt: skip
    return Listed(market=m, **{**facts, **changes})


def listings_of(world):
    """The markets of a replay's world as listings."""
    grids = (CENTS, HALF_CENTS)
    kinds = {d.FEE_NONE: "none", d.FEE_KALSHI: "kalshi", d.FEE_POLYMARKET: "polymarket"}
    found = []
    for m, (row, fee) in enumerate(zip(world.markets, world.fees, strict=True)):
        found.append(
            listing(
                m, grids=grids, min_size=int(row.min_size), lot=int(row.lot), fee_kind=kinds[int(fee.kind)],
                nets_positions=bool(row.nets_positions), reduce_in_place=bool(row.reduce_in_place),
                **{name: int(fee[name]) for name in d.FEE.names if name != "kind"},
            )
        )  # fmt: skip
    return tuple(found)


def rules(**values):
    """A RULES row."""
    row = np.zeros(1, d.RULES)
    for name, value in values.items():
        row[name] = value
    return row


def rows(*given, market=0):
    """EVENT rows of (exch_ns, kind, side, price, qty[, aux])."""
    events = np.zeros(len(given), d.EVENT)
    for row, (at, kind, side, price, qty, *aux) in zip(events, given, strict=True):
        row["exch_ns"], row["local_ns"], row["kind"], row["side"] = at, at, kind, side
        row["price"], row["qty"], row["market"] = price, qty, market
        row["aux"] = aux[0] if aux else 0
    return events


def outbox(world, events):
    """Run a replay and keep every request that arrived: MESSAGE rows in order."""
    sent, seen = [], 0
    over = False
    while not over:
        over = run(world, events, 2_000)
        tail = int(world.clock[0].outbox_tail)
        assert tail - seen <= len(world.outbox), "the ring has turned over"
        sent += [world.outbox[k % len(world.outbox)].copy() for k in range(seen, tail)]
        seen = tail
    assert int(world.account[0].error) == 0
    return sent[: int(world.clock[0].outbox_head)]


def drive(exchange: SimulatedExchange, requests, until_ns):
    """Hand in MESSAGE rows at their times; all evidence as (time, event)."""
    heard = []

    def let_pass(now_ns):
        happened = exchange.advance(now_ns)
        heard.extend((h.exch_ns, h.event) for h in happened if h.event is not None)

    for message in requests:
        now_ns, order_id, market = int(message.at_ns), int(message.id), int(message.market)
        let_pass(now_ns)
        if message.kind == d.NEW:
            place = Place(
                order_id=order_id, market=market, side=int(message.side), sell=message.leg == d.SELL_LEG,
                price=int(message.price), size=int(message.qty), tif=int(message.tif),
                expiry_ns=int(message.expiry_ns),
            )  # fmt: skip
            said = exchange.place(now_ns, place)
        elif message.kind == d.CANCEL:
            said = exchange.cancel(now_ns, Cancel(order_id=order_id, market=market))
        else:
            said = exchange.reduce(
                now_ns, Reduce(order_id=order_id, market=market, remaining=int(message.qty))
            )
        heard.extend((now_ns, event) for event in said)
    let_pass(until_ns)
    return heard
