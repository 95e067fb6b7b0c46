"""The real Polymarket adapter between engine and modelled venue, on a virtual event loop.

Requests go through the adapter's own budget, requests and readers as JSON; the account's and the markets'
notices come as frames that its own decoder reads. Sockets and signatures are left out, and books come as
numbered rows.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.domain import events as e
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.polymarket_live import earlier_orders
from pr3dict.venues.polymarket.adapter import AdapterTerms, PolymarketWire
from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.book import TickChange
from pr3dict.venues.polymarket.budget import Budget
from pr3dict.venues.polymarket.frames import read_frame
from pr3dict.venues.polymarket.http import PROD, Call, PolymarketHttp, Reply
from pr3dict.venues.polymarket.inventory import MergeTerms
from pr3dict.venues.polymarket.link import StreamLost
from pr3dict.venues.polymarket.markets import Life, life_of
from pr3dict.venues.polymarket.models import GammaMarket
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.streams import UserLine
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.adapter_session import AdapterSession, Clock, Sink
from simulation.flow import Row
from simulation.polymarket_desk import Desk
from simulation.polymarket_line import PolymarketLine
from simulation.polymarket_port import Port
from simulation.polymarket_texts import OWNER, WALLET, Wallet, condition_of, leg_of, size_text, tokens_of
from simulation.world import MS

if TYPE_CHECKING:
    from simulation.loop import VirtualLoop
    from simulation.process import Process
    from simulation.simulator import Simulation

KEY = ApiKey(WALLET, OWNER, "c2ltdWxhdGlvbg==", "simulation")
REASONS = {
    "closed": "CANCELED_MARKET_RESOLVED",
    "expired": "CANCELED_EXPIRED_ORDER",
    "unfilled_ioc": "CANCELED_order couldn't be fully filled",
}
_market = reader_of(GammaMarket)
_encode = msgspec.json.Encoder().encode


def unsettled_fills(engine: Engine) -> tuple[e.Filled, ...]:
    """Fills of earlier processes that may still be voided."""
    ledgers = engine.account.ledgers.values()
    return tuple(fill for ledger in ledgers for fill in ledger.provisional.values())


class Http(PolymarketHttp):
    """The adapter's own client, with a line of the simulated network instead of a socket."""

    def __init__(self, line: PolymarketLine, clock: Clock) -> None:
        super().__init__(PROD, clock, Budget(clock.now_ns()), key=KEY, signer=Wallet())
        self._line = line

    async def _send(self, call: Call) -> Reply:
        self.requests += 1
        reply: Reply = await self._line.ask(call)
        self._account(call, reply.status, reply.told)
        return reply


class Streams:
    """What the adapter asks its streams for; the account's channel is looked after by the real one's eye."""

    malformed = connections = hash_matches = hash_differs = 0

    def __init__(self, session: PolymarketSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self.user_connections = 0
        self.decoder = SimpleNamespace(books={})  # numbered rows need no comparison
        self.channel = UserLine(self, KEY)  # type: ignore[arg-type]

    def start(self) -> None:
        self._session.connect()

    def snapshot(self, condition: str) -> None:
        if self._session.is_up:
            self._session.resubscribe(self._session.desk.rows[condition])

    def expect(self, digest: str) -> None:
        if self._session.is_up:
            self.channel.expect(digest, self._clock.now_ns())

    def reconnect(self, why: str) -> None:
        self._session._break(why)

    def failure(self) -> None:
        return None

    def line_down(self, why: str) -> None:
        """The session says so itself."""


class PolymarketSession(AdapterSession):
    """A process's adapter, made anew for each process."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.desk = Desk(sim)
        random = sim.world.stream("polymarket/session")
        self.names_states = random.random() < 0.5  # an order's frame says its status, or only its type
        self.merge_from = random.choice((1, 1, 3)) * 1_000_000
        self.prefix = ""  # salts of the orders of this process follow from it
        self.runs: list[tuple[str, int]] = []  # prefixes of all processes, with their first orders
        self.batch_from = random.choice((2, 3))

    # --- a process

    def _make(self, process: Process, loop: VirtualLoop, clock: Clock, sink: Sink) -> PolymarketWire:
        first = 1 + max(self.sim.oracles.durable_of, default=0)
        runs = [run for run in self.runs if run[1] < first]  # of one without orders nothing is left
        self.prefix = f"run{self.sim.life}x{self.sim.options.seed}"
        self.runs = [*runs, (self.prefix, first)]
        terms = AdapterTerms(
            prefix=self.prefix, first_order=first, runs=tuple(runs), batch_from=self.batch_from,
            earlier=earlier_orders(process.engine), unsettled=unsettled_fills(process.engine),
            merges=MergeTerms(threshold=self.merge_from),
        )  # fmt: skip
        lives = [self._life(market) for market in range(self.sim.options.markets)]
        self.streams = Streams(self, clock)
        line = PolymarketLine(self.sim, loop)
        return PolymarketWire(
            Http(line, clock), self.streams, sink, clock, lives, terms, Port(self.sim, loop)  # type: ignore[arg-type]
        )  # fmt: skip

    def _life(self, market: int) -> Life:
        """What the market's body says as the process begins."""
        body: GammaMarket = _market(_encode(self.desk.market(market)))
        return life_of(self.sim.listings[market], body)

    def _connect(self, life: int) -> None:
        was_up = self.is_up
        super()._connect(life)
        if self.is_up and not was_up:
            self.streams.user_connections += 1
            self.streams.channel.hello()

    def _break(self, why: str) -> None:
        super()._break(why)
        self.streams.channel.went_down(why)

    def _ping(self, life: int) -> None:
        super()._ping(life)
        process = self.sim.process
        if self._is_mine(life) and self.is_up and process is not None:
            try:
                self.streams.channel.look(process.time_now())
            except StreamLost as lost:
                self.world.effect(208)
                self._break(str(lost))

    # --- the venue sends

    def publish(self, market: int, rows: list[Row]) -> None:
        """Books and trades as rows; a new tick is a message of its own, the status is told nobody."""
        if any(entry[6] == d.TICK for entry in rows):
            self.market_stream.send(("tick", market, self.sim.polymarket.tick(market)))
        super().publish(market, [entry for entry in rows if entry[6] not in (d.STATUS, d.TICK)])

    def snapshot_rows(self, market: int) -> list[Row]:
        return super().snapshot_rows(market)[1:]

    def publish_settlement(self, event: e.Settled) -> None:
        yes, no = tokens_of(event.market)
        won = {1_000_000: yes, 0: no}.get(event.value_micros)
        message = {"event_type": "market_resolved", "market": condition_of(event.market)}
        message |= {"timestamp": str(self.world.now_ns // MS), "assets_ids": [yes, no]}  # type: ignore[dict-item]
        if won is not None:
            message |= {"winning_asset_id": won}
        self.market_stream.send(("life", _encode(message)))

    def publish_user(self, event: e.Control) -> None:
        super().publish_user(event)
        if isinstance(event, e.FillFinal | e.FillVoided):
            truth = self.sim.venue.exchange.truth
            fill = next(f for f in reversed(truth.fills) if f.trade_id == event.trade_id)
            if truth.void.get(fill.trade_id) != "ghost":
                self.send_trade(fill, "CONFIRMED" if isinstance(event, e.FillFinal) else "FAILED")

    def send_trade(self, fill: e.Filled, stage: str) -> None:
        """A step of a trade on its way."""
        if not (stage == "FAILED" and self.world.fires("failure_untold")):
            self._private("trade", self.desk.trade(fill, stage))

    def send_fill(self, fill: e.Filled, late_ns: int) -> None:
        if fill.trade_id in self.sim.venue.faults.to_void and self.world.fires("void_alone"):
            self.world.effect(28)
            return
        self._private("trade", self.desk.trade(fill, "" if fill.final else "MATCHED"), late_ns=late_ns)

    def publish_closed(self, order: BookedOrder, why: str) -> None:
        if why == "filled":
            self.publish_order(order, "UPDATE", "MATCHED")
        elif order.order_id in self.sim.polymarket.uncovered:
            self.publish_order(order, "CANCELLATION", "CANCELED_NOT_ENOUGH_BALANCE")
        else:
            self.publish_order(order, "CANCELLATION", REASONS.get(why, "CANCELED"))

    def publish_partial(self, order: BookedOrder) -> None:
        self.publish_order(order, "UPDATE", "LIVE")

    def publish_order(self, order: BookedOrder, kind: str, status: str) -> None:
        """How an order of ours stands now."""
        leg = leg_of(order)
        stated = {} if status in ("LIVE", "CANCELED") and not self.names_states else {"status": status}
        self._private("order", {
            "type": kind, "id": self.sim.polymarket.digests[order.order_id],
            "market": condition_of(order.market), "asset_id": leg.token, "side": leg.side,
            "price": leg.price, "original_size": size_text(order.size), "order_type": "GTD",
            "size_matched": size_text(order.filled), "owner": OWNER,
            "timestamp": str(self.world.now_ns // MS), **stated,
        })  # fmt: skip

    def _private(self, kind: str, message: dict[str, Any], *, late_ns: int = 0) -> None:
        self.send_private((kind, _encode({"event_type": kind, **message})), late_ns=late_ns)

    # --- we receive

    def _on_market(self, message: Any) -> None:
        if message[0] == "life":
            if self.is_up:
                self._hear("market_resolved", message[1])
        elif message[0] == "tick":
            if self.is_up:
                self._new_tick(message[1], message[2])
                self._ask_snapshot(message[1])
        else:
            super()._on_market(message)

    def _on_snapshot(self, market: int, seq: int, rows: list[Row]) -> None:
        """A whole book says its tick."""
        tick = self.sim.tick_of(rows[0][3])
        if self.expected[market] is None and self.wire.lives.of_row(market).tick != tick:
            self._new_tick(market, tick)
        super()._on_snapshot(market, seq, rows[1:])

    def _new_tick(self, market: int, tick: int) -> None:
        """Another grid begins a new book."""
        if self.sim.process is not None and self.loop is not None:
            change = TickChange(market, tick, self.world.now_ns)
            self.loop.run(self.wire.hear, change, self.sim.process.time_now())
            self._invalid(market, "tick")
            self._check()

    def _heard(self, wire: PolymarketWire, kind: str, raw: bytes) -> None:
        frame: Any = read_frame(kind, raw)
        if kind != "market_resolved":
            self.streams.channel.mentioned(frame)
        wire.hear(frame, wire._clock.now_ns())
