"""The real Kalshi adapter between engine and modelled venue, on a virtual event loop.

Requests go through the adapter's own budget, requests and readers as JSON; the account's and the markets'
notices come as frames that its own decoder reads. Only sockets are left out: books come as numbered rows.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import http as kalshi_http
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import Budget
from pr3dict.venues.kalshi.frames import read_frame
from pr3dict.venues.kalshi.markets import Life, life_of
from pr3dict.venues.kalshi.models import Market
from pr3dict.venues.kalshi.numbers import reader_of
from pr3dict.venues.simulated.truth import BookedOrder
from simulation.adapter_session import AdapterSession, Clock, Sink
from simulation.flow import Row
from simulation.kalshi_desk import Desk
from simulation.kalshi_line import KalshiLine
from simulation.loop import VirtualLoop
from simulation.setting import STEPS
from simulation.texts import count_text, money_text, price_text
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.simulator import Simulation

RETRY_ARM_NS = 2 * SECOND
AGAIN = "-again"
REASONS = {
    "expired": "ExpiryCancel",
    "closed": "CloseCancel",
    "not_active": "HaltCancel",
    "reactivated": "HaltCancel",
    "self_trade": "SelfTradeCancel",
    "post_only_cross": "PostOnlyCrossCancel",
}
_market = reader_of(Market)
_encode = msgspec.json.Encoder().encode


class Http(kalshi_http.KalshiHttp):
    """The adapter's own client, with a line of the simulated network instead of a socket."""

    def __init__(self, line: KalshiLine, clock: Clock) -> None:
        signer: Any = SimpleNamespace()  # there is a key; nothing is signed
        super().__init__("http://localhost/trade-api/v2", signer, clock, Budget(clock.now_ns()))
        self._line = line

    async def _send(self, call: kalshi_http.Call) -> kalshi_http.Reply:
        self.requests += 1
        reply = await self._line.ask(call)
        if reply.status == 429:
            self.rate_limited += 1
            self.budget.refused(self.charge(call), self.clock.now_ns())
        return reply


class Streams:
    """What the adapter asks its streams for."""

    def __init__(self, session: KalshiSession) -> None:
        self._session = session
        self.malformed = self.connections = 0
        self.sequences = SimpleNamespace(gaps=0)

    def start(self) -> None:
        self._session.connect()

    def snapshot(self, ticker: str) -> None:
        if self._session.is_up:
            self._session.resubscribe(self._session.desk.tickers[ticker])

    def failure(self) -> None:
        return None


class KalshiSession(AdapterSession):
    """A process's adapter, made anew for each process."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self.desk = Desk(sim)
        random = sim.world.stream("kalshi/session")
        self.hands = sim.world.stream("kalshi/hands")
        self.names_fills = random.random() < 0.5  # fills carry our own id
        self.states_payouts = random.random() < 0.5  # the notice of a payout states its value
        self.batch_from = random.choice((2, 4))
        self.runs: list[tuple[str, int]] = []
        self.lives_sent = self.lives_heard = 0

    # --- a process

    def _make(self, process: Process, loop: VirtualLoop, clock: Clock, sink: Sink) -> KalshiWire:
        first = 1 + max(self.sim.oracles.durable_of, default=0)
        self.runs = [run for run in self.runs if run[1] < first]  # of one without orders nothing is left
        prefix = f"run{self.sim.life}x{self.sim.options.seed % 10_000}"
        terms = AdapterTerms(
            prefix=prefix, first_order=first, earlier=tuple(self.runs),
            group_limit=self.sim.options.group_limit * 1_000_000, batch_from=self.batch_from,
        )  # fmt: skip
        self.runs.append((prefix, first))
        line = KalshiLine(self.sim, loop)
        lives = [self._life(market) for market in range(self.sim.options.markets)]
        return KalshiWire(
            Http(line, clock), Streams(self), sink, clock, lives, terms  # type: ignore[arg-type]
        )  # fmt: skip

    def _life(self, market: int) -> Life:
        """What the market's body says as the process begins."""
        body: Market = _market(_encode(self.desk.market(market)))
        return life_of(self.sim.listings[market], body, None)

    def _connect(self, life: int) -> None:
        super()._connect(life)
        self.lives_heard = self.lives_sent

    # --- the venue sends

    def publish(self, market: int, rows: list[Row]) -> None:
        """Books and trades as rows; status and grid are notices of another channel."""
        for entry in rows:
            if entry[6] == d.STATUS and entry[3] in (d.ACTIVE, d.PAUSED):
                self.publish_life(market, "activated" if entry[3] == d.ACTIVE else "deactivated")
            elif entry[6] == d.TICK:
                step = price_text(STEPS[entry[3]])
                ranges = [{"start": "0.0000", "end": "1.0000", "step": step}]
                self.publish_life(market, "price_level_structure_updated", price_ranges=ranges)
        super().publish(market, [entry for entry in rows if entry[6] not in (d.STATUS, d.TICK)])

    def snapshot_rows(self, market: int) -> list[Row]:
        return super().snapshot_rows(market)[2:]

    def publish_life(self, market: int, event_type: str, **fields: Any) -> None:
        """A notice about a market's life; numbered."""
        self.lives_sent += 1
        if "settlement_value" in fields:
            fields["settlement_value"] = price_text(fields["settlement_value"])
        message = {"event_type": event_type, "market_ticker": self.sim.listings[market].ticker, **fields}
        self.market_stream.send(("life", self.lives_sent, _encode({"msg": message})))

    def publish_settlement(self, event: e.Settled) -> None:
        stated = self.states_payouts and not event.refund
        value = {"settlement_value": event.value_micros // 100} if stated else {}
        self.publish_life(event.market, "settled", settled_ts=self.world.now_ns // SECOND, **value)

    def publish_group(self, name: str, event_type: str) -> None:
        """A notice about an order group."""
        message = {"event_type": event_type, "order_group_id": name, "ts_ms": self.world.now_ns // MS}
        self._private("order_group_updates", message)

    def publish_user(self, event: e.Control) -> None:
        super().publish_user(event)
        if isinstance(event, e.Reduced | e.Renewed):
            order = self.sim.kalshi.exchange.truth.orders[event.order_id]
            self.publish_order(order, "resting", "Decrease" if isinstance(event, e.Reduced) else "Amend")

    def publish_closed(self, order: BookedOrder, why: str) -> None:
        if why == "filled":
            self.publish_order(order, "executed", "Trade")
        else:
            self.publish_order(order, "canceled", REASONS.get(why, ""))

    def publish_partial(self, order: BookedOrder) -> None:
        self.publish_order(order, "resting", "Trade")

    def send_fill(self, fill: e.Filled, late_ns: int) -> None:
        order = self.sim.kalshi.exchange.truth.orders.get(fill.order_id)
        message = {
            "trade_id": fill.trade_id,
            "order_id": fill.venue_id if order is None else self.sim.kalshi.name(order),
            "market_ticker": self.sim.listings[fill.market].ticker,
            "exchange_index": self.sim.kalshi.shard_of[fill.market],
            "is_taker": not fill.maker,
            "book_side": "bid" if fill.side == d.BID else "ask",
            "yes_price_dollars": price_text(fill.price),
            "count_fp": count_text(fill.size),
            "fee_cost": money_text(fill.fee_micros - fill.rebate_micros),
            "post_position_fp": count_text(self.sim.kalshi.net_of[fill.market]),
            "ts_ms": fill.exch_ns // MS,
            "ts": fill.exch_ns // SECOND,
        }
        if order is not None and self.names_fills:
            message["client_order_id"] = self.client_id(order)
        self._private("fill", message, late_ns=late_ns)

    def client_id(self, order: BookedOrder) -> str:
        """What we called an order."""
        return self.sim.rules.client_id_of[order.order_id]

    def publish_order(self, order: BookedOrder, status: str, reason: str) -> None:
        """How an order of ours stands now."""
        venue = self.sim.kalshi
        group = venue.group_of.get(order.order_id)
        message = {
            "order_id": venue.name(order),
            "ticker": self.sim.listings[order.market].ticker,
            "exchange_index": venue.shard_of[order.market],
            "status": status,
            "book_side": "bid" if order.side == d.BID else "ask",
            "yes_price_dollars": price_text(order.price),
            "initial_count_fp": count_text(order.size),
            "fill_count_fp": count_text(order.filled),
            "remaining_count_fp": count_text(order.remaining if status == "resting" else 0),
            "client_order_id": self.client_id(order),
            "order_group_id": None if group is None else group.name,
            "last_update_reason": reason,
            "last_updated_ts_ms": self.world.now_ns // MS,
            "subaccount_number": 0,
        }
        self._private("user_order", message)

    def _private(self, kind: str, message: dict[str, Any], *, late_ns: int = 0) -> None:
        self.send_private((kind, _encode({"type": kind, "msg": message})), late_ns=late_ns)

    # --- we receive

    def _on_market(self, message: Any) -> None:
        if message[0] != "life":
            super()._on_market(message)
        elif self.is_up and message[1] > self.lives_heard:
            gap = message[1] != self.lives_heard + 1
            self.lives_heard = message[1]
            self._hear("market_lifecycle_v2", message[2])
            if gap:  # numbered: a lost one is noticed
                self._break("gap")

    def _heard(self, wire: KalshiWire, kind: str, raw: bytes) -> None:
        frame = read_frame(kind, raw)
        assert frame is not None
        if kind == "order_group_updates":
            self.sim.rules.group_told(frame.msg.order_group_id)  # type: ignore[union-attr]
        wire.hear(frame, wire._clock.now_ns())

    def _invalid(self, market: int, why: str) -> None:
        """All books share one sequence: after a gap none can be trusted."""
        hit = range(self.sim.options.markets) if why == "gap" else (market,)
        for one in hit:
            super()._invalid(one, why)

    # --- the engine sends

    def deliver(self, command: e.Resume | e.Flatten) -> None:
        """A person's command that lifts a halt is carried out once the venue takes orders again."""
        process, loop = self.sim.process, self.loop
        if process is not None and loop is not None:
            loop.run(lambda: loop.create_task(self._armed(process, loop, command)))
            self._check()
        if isinstance(command, e.Resume) and not command.command_id.endswith(AGAIN):
            again = msgspec.structs.replace(command, command_id=command.command_id + AGAIN)
            if self.hands.random() < 0.5:  # an impatient person
                self.world.after(self.hands.randint(5, 200) * MS, self.deliver, again)

    async def _armed(self, process: Process, loop: VirtualLoop, command: e.Resume | e.Flatten) -> None:
        while process.alive:
            self.sim.rules.resumes()
            try:
                await self.wire.arm()
            except Exception:  # noqa: BLE001 - the person hears of it and tries again
                await loop.sleep(RETRY_ARM_NS)
            else:
                process.put(command)
                return
