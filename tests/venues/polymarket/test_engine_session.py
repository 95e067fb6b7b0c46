"""The whole process, engine, journal and shell, quotes at the stand-in through the adapter."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
import structlog

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.engine import operations
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.runtime.clock import ClockWatch, EngineTime, SystemClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.runtime.recovery import open_process, recover
from pr3dict.runtime.session_replay import session_name
from pr3dict.runtime.shell import Shell, ShellParts, ShellSettings
from pr3dict.runtime.trader import Trader
from pr3dict.store.crash_points import crash_point
from pr3dict.store.data_dir import DataDir
from pr3dict.store.mailbox import Mailbox
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import build_config
from pr3dict.venues.polymarket import inventory, relayer
from pr3dict.venues.polymarket.adapter import AdapterTerms, PolymarketWire
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.http import PolymarketHttp
from pr3dict.venues.polymarket.inventory import MergeTerms
from pr3dict.venues.polymarket.orders import PolymarketOrders
from pr3dict.venues.polymarket.relayer import NodePort
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.polymarket.sign import WalletKey
from pr3dict.venues.polymarket.streams import PolymarketStreams

RISK = RiskConfig(order_life_seconds=180, reconcile_interval_seconds=6)


class Late:
    """A sink that is named before it is there: the source needs the wire, and the wire its sink."""

    def __init__(self) -> None:
        self.source: LiveSource | None = None

    def put_rows(self, rows) -> None:
        self.source.put_rows(rows)

    def push(self, event) -> None:
        self.source.push(event)


async def session(trading, server, folder: Path, seconds: float, *, risk=RISK, port_of=None, dies=False):
    """One process from start to stop; returns its engine and the journal's steps.

    `port_of` makes what carries operations out, of the wallet's key and the clock; `dies`: a task of the
    adapter ends of a fault of its own.
    """
    clock, signer = trading.VenueClock(server), WalletKey(trading.PRIVATE_KEY)
    hosts = trading.hosts_of(server)
    finder = PolymarketHttp(hosts, clock, Budget(clock.now_ns()), signer=signer)
    key = await PolymarketOrders(finder).find_key()
    lives = await trading.find_lives(PolymarketRest(finder))
    await finder.close()
    data_dir, log, system = DataDir.of(folder), structlog.get_logger(), SystemClock()
    opened = open_process(data_dir, "polymarket test")
    load_brain()

    def make() -> Engine:
        engine = Engine(risk)
        engine.register_strategy(MarketMakingStrategy(config=build_config("default")))
        return engine

    started = e.Started(version="test", account="polymarket test", settings="{}", cash_micros=10_000_000_000)
    found = recover(make, opened, started, [life.listing for life in lives], clock=system, log=log)
    engine = found.engine
    time = EngineTime(system, not_before_ns=opened.journal.last_ns + 1)
    late = Late()
    http = PolymarketHttp(hosts, clock, Budget(clock.now_ns()), key=key, signer=signer)
    merges = None if port_of is None else MergeTerms(threshold=10_000_000)
    port = None if port_of is None else port_of(signer, clock)
    terms = AdapterTerms(prefix="session", merges=merges)
    wire = PolymarketWire(http, None, late, clock, lives, terms, port)
    venues = {life.listing.market: "polymarket" for life in lives}
    source = late.source = LiveSource(Inbox(), time, {"polymarket": wire}, venues)
    wire.streams = PolymarketStreams(
        server.market_ws_url, server.user_ws_url, clock, late, [life.spec for life in lives], wire.hear,
        trading.reconnects, key=key,
    )  # fmt: skip
    await wire.start()
    recorder = Recorder(data_dir.tapes / session_name(data_dir.tapes, engine.number + 1))
    parts = ShellParts(
        engine=engine, trader=Trader(engine, venues=("polymarket",), crash_point=crash_point), source=source,
        journal=opened.journal, tape=recorder, operators=Mailbox(data_dir.mailbox), latch=opened.latch_file,
        lease=opened.lease, clock=system, log=log, status_path=data_dir.status, session=recorder.folder.name,
        watch=ClockWatch(system, tick_ns=int(ShellSettings().watch_tick_s * 1e9)),
    )  # fmt: skip
    parts.trader.pending += found.inputs
    steps: list[Step] = []
    append = parts.journal.append

    def keep(more):
        steps.extend(more)
        return append(more)

    parts.journal.append = keep
    code = await Shell(parts, ShellSettings(stop_timeout_s=8.0, run_s=seconds, view_s=0.5)).run()
    assert (wire.failure() is not None) == dies, wire.failure()
    return code, engine, steps, wire


def test_an_engine_quotes_both_sides_fills_and_stops_flat_of_orders(trading_of, tmp_path):
    async def body():
        faults = {"mine_s": [0.1, 0.3], "confirm_s": [0.1, 0.3], "stream_first": 0.5, "array_frames": 0.3}
        async with trading_of.PolymarketStandIn(
            trading_of.small_catalog(2, end_in_s=3 * 86_400.0), faults=faults
        ) as server:
            rng = random.Random(4)

            def deep(place: int) -> None:
                for side, price in (("bid", "0.41"), ("ask", "0.59")):
                    server.do("level", market=f"plain-{place}", side=side, price=price, shares="20000")
                for side, price in (("bid", "0.46"), ("ask", "0.54")):
                    server.do("level", market=f"plain-{place}", side=side, price=price, shares="100")

            async def crowd() -> None:
                while True:
                    await asyncio.sleep(0.4)
                    taker, to = rng.choice([("ask", "0.40"), ("bid", "0.60")])
                    server.do(
                        "take", market="plain-0", taker=taker, price=to, shares=str(rng.randrange(400, 700))
                    )
                    deep(0)

            for place in (0, 1):
                deep(place)
            others = asyncio.create_task(crowd())
            code, engine, steps, wire = await session(trading_of, server, tmp_path / "data", 7.0)
            others.cancel()
            events = [event for step in steps for event in step.inputs]
            kinds = {type(event).__name__ for event in events}
            alerts = [c for step in steps for c in step.commands if type(c).__name__ == "Alert"]
            orders = server.controls.truth()["orders"]
            assert code == 0 and not server.venue.open, (code, alerts)
            assert {"Sent", "Accepted", "OrdersRead", "FillsRead", "PositionsRead", "BalanceRead"} <= kinds, (
                kinds
            )
            assert {(o["side"], o["outcome"]) for o in orders} >= {("BUY", "Yes"), ("BUY", "No")}, orders[:3]
            assert "Filled" in kinds and "FillFinal" in kinds
            loud = [a for a in alerts if a.severity in ("high", "critical")]
            assert not loud, loud
            return engine, wire

    asyncio.run(body())


class Dying(NodePort):
    """The wallet's own transactions; the process ends just before or after one of them has left."""

    def __init__(self, *given, after: bool) -> None:
        super().__init__(*given)
        self._after = after

    async def submit(self, request, name):
        if self._after:
            await super().submit(request, name)
        raise RuntimeError("the process ends here")


@pytest.mark.parametrize("after", [False, True], ids=["before it left", "after it left"])
def test_a_merge_in_the_middle_of_which_the_process_ends_is_done_once(
    trading_of, tmp_path, monkeypatch, after
):
    monkeypatch.setattr(operations, "LOOK_NS", 200_000_000)
    monkeypatch.setattr(relayer, "RESEND_NS", 500_000_000)
    monkeypatch.setattr(inventory, "POLL_NS", 100_000_000)
    risk = RiskConfig(
        order_life_seconds=180,
        reconcile_interval_seconds=1,
        answer_timeout_seconds=1,
        read_retry_seconds="0.2",
        max_drifts=0,
    )

    async def body():
        faults = {"relayer_s": [0.3, 0.5]}
        catalog = trading_of.small_catalog(1, end_in_s=3 * 86_400.0)
        async with trading_of.PolymarketStandIn(catalog, faults=faults) as server:
            folder, held = tmp_path / "data", server.venue.ledger.balances[server.account.wallet]
            token = server.venue.markets[0].tokens[0]
            server.do("split", market="plain-0", shares="50")

            def dying(signer, clock):
                return Dying(server.rpc_url, signer, clock, after=after)

            def living(signer, clock):
                return NodePort(server.rpc_url, signer, clock)

            _, engine, steps, _ = await session(
                trading_of, server, folder, 6.0, risk=risk, port_of=dying, dies=True
            )
            left = engine.account.operations.of("polymarket")
            assert left is not None and left.operation == "merge" and left.size == 50_000_000
            (operate,) = [x for step in steps for x in step.commands if isinstance(x, c.Operate)]
            assert operate.name == left.name
            _, engine, steps, _ = await session(trading_of, server, folder, 2.5, risk=risk, port_of=living)
            commands = [x for step in steps for x in step.commands]
            (follow,) = [x for x in commands if isinstance(x, c.FollowOperation)]
            assert follow.name == left.name and not [x for x in commands if isinstance(x, c.Operate)]
            merged = [x for step in steps for x in step.inputs if isinstance(x, e.Merged)]
            assert [(x.pairs, x.merge_id) for x in merged] == [(50_000_000, left.name)]
            assert engine.account.operations.of("polymarket") is None
            assert held[token] == 0 == engine.account.position(0).yes_contracts
            assert held["pusd"] == engine.account.cash_micros == 10_000_000_000
            derived = [x for step in steps for x in step.derived if isinstance(x, e.Merged)]
            assert not derived and server.do("truth")["unexplained"] == []

    asyncio.run(body())
