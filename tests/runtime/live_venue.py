"""A venue in real time for tests of the shell: the simulated exchange behind a `Wire`, fed by a task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import EngineTime
from pr3dict.runtime.inbox import LiveSource
from pr3dict.runtime.spec import make_spec
from pr3dict.strategies.presets import build_config
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import NO_DATA, SimulatedExchange

CONTRACT = 1_000_000
MINUTE_NS = 60_000_000_000
SPEC = make_spec(build_config("short_dated"), preset="short_dated", cash_micros=10_000_000_000)


def listing(now_ns: int) -> e.Listed:
    """A market that closes in half an hour."""
    return e.Listed(
        market=0, venue="kalshi", ticker="T", event_id="E", exclusive=False, title="t",
        grids=(kalshi_grid("linear_cent"),), min_size=CONTRACT, lot=CONTRACT, fee_kind="none",
        nets_positions=True, reduce_in_place=True, close_ns=now_ns + 30 * MINUTE_NS,
        resolution_ns=now_ns + 30 * MINUTE_NS,
    )  # fmt: skip


def row(kind: int, side: int, price: int, contracts: int) -> d.Array:
    made = np.zeros(1, d.EVENT)
    made["kind"], made["side"], made["price"], made["qty"] = kind, side, price, contracts * CONTRACT
    return made


class LiveVenue:
    """`wire` commands out, `feed` as the task that brings a book which moves by a cent and back."""

    def __init__(self, clock: EngineTime) -> None:
        self.clock = clock
        self.exchange = SimulatedExchange([listing(clock.now_ns())], NO_DATA, SPEC.rules, SPEC.cash_micros)
        self.source: LiveSource | None = None
        self.wire: list[c.Action] = []
        self.answers = True
        self.fails = asyncio.Event()

    def send(self, now_ns: int, commands: Sequence[c.Action]) -> None:
        self.wire += commands
        if not self.answers:
            return
        for command in commands:
            self._settle_down()
            for event in self._carry_out(command):
                self.source.push(event)

    def _settle_down(self) -> int:
        now_ns = max(self.clock.now_ns(), self.exchange.now_ns)
        for happened in self.exchange.advance(now_ns):
            if happened.event is not None:
                self.source.push(happened.event)
        return now_ns

    def _carry_out(self, command: c.Action) -> Sequence[e.Control]:
        now_ns = max(self.clock.now_ns(), self.exchange.now_ns)
        for _ in self.exchange.advance(now_ns):
            pass
        match command:
            case c.Place():
                return (e.Sent(order_id=command.order_id), *self.exchange.place(now_ns, command))
            case c.Cancel():
                return self.exchange.cancel(now_ns, command)
            case c.Reduce():
                return self.exchange.reduce(now_ns, command)
            case c.Renew():
                return self.exchange.renew(now_ns, command)
            case c.CancelAll():
                return self.exchange.cancel_all(now_ns, command.venue)
            case c.Resubscribe():
                return ()
            case _:
                return reads.answer(self.exchange, now_ns, now_ns, command)

    def tell(self, rows: d.Array) -> None:
        """Rows happen at the exchange and are seen."""
        now_ns = self._settle_down()
        rows["exch_ns"] = now_ns
        self.exchange.extend(rows[rows["kind"] != d.SNAPSHOT])
        self.source.put_rows(rows)

    async def feed(self) -> None:
        self.source.push(e.FeedUp(venue="kalshi"))
        levels = [(d.BID, 4500 - 100 * k) for k in range(6)] + [(d.ASK, 5500 + 100 * k) for k in range(6)]
        whole = np.concatenate([row(d.SNAPSHOT, side, price, 5000) for side, price in levels])
        whole["bits"][0] |= d.SNAP_FIRST
        whole["bits"][-1] |= d.SNAP_LAST
        self.exchange.extend(np.concatenate([row(d.LEVEL, side, price, 5000) for side, price in levels]))
        self.tell(whole)
        for number in range(1_000_000):
            if self.fails.is_set():
                raise OSError("the stream broke in a way nobody foresaw")
            self.source.push(e.FeedAlive(venue="kalshi", venue_ns=self.clock.now_ns()))
            self.tell(row(d.LEVEL, d.BID, 4600, 5000 * (number % 2)))
            self.tell(row(d.LEVEL, d.ASK, 5400, 5000 * (number % 2)))
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Nothing to give back."""
