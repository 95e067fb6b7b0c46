"""One recording through the compiled replay and through engine and simulated exchange; both results.

`python tests/engine/same_as_replay.py PRESET TAPE...` compares whole sessions by hand.
"""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple

import numpy as np

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.backtest import Replay
from pr3dict.runtime.listing import listings_of
from pr3dict.runtime.spec import QUEUES, BacktestSpec
from pr3dict.runtime.tapeset import TapeSet, trading_day_offset_ns
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.lockstep import run_lockstep

NO_ROWS = np.zeros(0, d.EVENT)
SECOND = 1_000_000_000
Fill = tuple[int, ...]


class Found(NamedTuple):
    fills: list[Fill]
    replay_fills: list[Fill]
    cash_micros: int
    replay_cash_micros: int
    account_cash_micros: int
    positions: dict[int, tuple[int, int]]
    replay_positions: dict[int, tuple[int, int]]
    account_positions: dict[int, tuple[int, int]]
    orders: int
    replay_orders: int
    latches: list[c.SetLatch]
    unexplained: tuple[str, ...]
    replay_s: float
    engine_s: float


def answers(step: Any, cash_micros: int) -> list[e.Control]:
    """What a venue without orders, fills and positions says to the reads of a step."""
    found: list[e.Control] = []
    at = {"asked_ns": step.now_ns, "as_of_ns": step.now_ns + 1}
    for command in step.commands:
        match command:
            case c.ReadOrders(venue=venue):
                found.append(e.OrdersRead(venue=venue, orders=(), **at))
            case c.ReadFills(venue=venue):
                found.append(e.FillsRead(venue=venue, since_ns=command.since_ns, fills=(), **at))
            case c.ReadPositions(venue=venue):
                found.append(e.PositionsRead(venue=venue, positions=(), **at))
            case c.ReadBalance(venue=venue):
                found.append(e.BalanceRead(venue=venue, cash_micros=cash_micros, **at))
            case _:
                pass
    return found


def open_engine(tapes: TapeSet, spec: BacktestSpec, listings: tuple[e.Listed, ...]) -> Engine:
    """An engine that knows the markets and agrees with its venues, a second before the recording begins."""
    engine = Engine(RiskConfig(), capacity=len(listings))
    engine.register_strategy(MarketMakingStrategy(config=spec.config))
    start_ns = int(tapes.events["exch_ns"][0]) - SECOND
    offset_ns = trading_day_offset_ns(tapes.metas[0].venue, tapes.start_ns)
    started = e.Started(
        version="1", account="paper", settings="{}", cash_micros=spec.cash_micros, day_offset_ns=offset_ns
    )
    venues = dict.fromkeys(listing.venue for listing in listings)
    step = engine.step(start_ns, NO_ROWS, [started, *listings, *(e.FeedUp(venue=v) for v in venues)])
    engine.step(start_ns + 2, NO_ROWS, answers(step, spec.cash_micros))
    assert not engine.holds.to_list()
    return engine


def compare(tapes: TapeSet, spec: BacktestSpec) -> Found:
    """Both ways through the same tapes."""
    began = time.perf_counter()
    run = Replay(tapes, spec, spec.queue)
    while not run.advance():
        pass
    between = time.perf_counter()
    world, count = run.world, len(tapes.metas)
    listings = listings_of(tapes, direct_member=spec.direct_member)
    engine = open_engine(tapes, spec, listings)
    rules = spec.rules.copy()
    rules["queue"], rules["queue_power"] = QUEUES[spec.queue], spec.queue_power
    exchange = SimulatedExchange(listings, tapes.events, rules, spec.cash_micros)
    latency_ns = spec.latency_ms * 1_000_000
    latches: list[c.SetLatch] = []
    run_lockstep(
        engine,
        exchange,
        tapes.events,
        latency_ns,
        latency_ns,
        on_step=lambda step: latches.extend(x for x in step.commands if isinstance(x, c.SetLatch)),
    )
    ended = time.perf_counter()
    fills = world.fills[: int(world.clock[0].fill_count)]
    names = ("order_id", "exch_ns", "market", "side", "price", "qty", "fee_micros", "rebate_micros")
    held = {m: engine.account.position(m) for m in range(count)}
    return Found(
        fills=[
            (f.order_id, f.exch_ns, f.market, f.side, f.price, f.size, f.fee_micros, f.rebate_micros)
            for f in exchange.fills()
        ],
        replay_fills=list(zip(*(fills[name].tolist() for name in names), strict=True)),
        cash_micros=exchange.cash_micros,
        replay_cash_micros=int(world.account[0].cash_micros),
        account_cash_micros=engine.account.cash_micros,
        positions=dict(exchange.positions()),
        replay_positions={
            m: (int(row.yes_contracts), int(row.no_contracts))
            for m, row in enumerate(world.holdings)
            if row.yes_contracts or row.no_contracts
        },
        account_positions={
            m: (p.yes_contracts, p.no_contracts) for m, p in held.items() if p.yes_contracts or p.no_contracts
        },
        orders=int(engine.world.stats["orders"].sum()),
        replay_orders=int(world.stats["orders"].sum()),
        latches=latches,
        unexplained=exchange.unexplained,
        replay_s=between - began,
        engine_s=ended - between,
    )


if __name__ == "__main__":
    from pr3dict.cli.backtest import spec_of
    from pr3dict.runtime.tapeset import load

    chosen = spec_of(preset=sys.argv[1])
    loaded = load(sys.argv[2:], latency_ns=chosen.latency_ms * 1_000_000)
    found = compare(loaded, chosen)
    same = found.fills == found.replay_fills and found.cash_micros == found.replay_cash_micros
    agrees = found.account_cash_micros == found.cash_micros and found.orders == found.replay_orders
    size = f"{len(loaded.metas)} markets, {len(loaded.events)} rows, {found.orders} orders"
    verdict = "identical" if same and agrees else "DIFFERENT"
    speed = f"replay {found.replay_s:.2f} s, engine {found.engine_s:.2f} s"
    print(f"{size}, {len(found.fills)} fills: {verdict}; {speed}")
    sys.exit(not (same and agrees))
