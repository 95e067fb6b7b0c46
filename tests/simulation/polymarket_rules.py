"""What must hold at Polymarket besides what holds everywhere; names as in docs/simulation.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.contracts import OperationRequest
from pr3dict.venues.polymarket.http import Call
from pr3dict.venues.polymarket.inventory import Stage
from pr3dict.venues.polymarket.sign import MAX_SALT, keccak256
from simulation.adapter_rules import AdapterRules
from simulation.polymarket_texts import condition_of, leg_of
from simulation.texts import read_plain
from simulation.world import SECOND

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.simulator import Simulation

BEAT_NS = 12 * SECOND  # four between two heartbeats, and two answers that never come
HEARD_NS = 20 * SECOND  # by then an operation that is over was asked for
AT_ONCE_NS = 150 * SECOND


class PolymarketRules(AdapterRules):
    """Watches the wire to Polymarket and its truth."""

    letter = "P"

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        self._numbers: dict[int, int] = {}  # orders by salt
        self._sent: set[int] = set()  # orders that left the adapter
        self._merges: set[str] = set()  # names of those whose pairs were told
        self._operates: dict[str, int] = {}  # operations on tokens to the steps that decided them
        self._awake_ns = 0  # when the machine last woke up
        self._beat_ns = 0  # when the process beat last; 0: not yet

    def born(self) -> None:
        super().born()
        self._beat_ns = 0

    # --- what the engine asks for

    def leaves(self, place: c.Place) -> None:
        super().leaves(place)
        if place.tif != d.POST_ONLY:  # what must trade at once may rest until it is cancelled
            at_once_ns = self.world.now_ns + AT_ONCE_NS
            self.expiry_ns[place.order_id] = max(place.expiry_ns, at_once_ns)
        name = f"{self.sim.session.prefix}-{place.order_id}"
        salt = int.from_bytes(keccak256(name.encode())[:8], "big") % MAX_SALT
        self._numbers[salt] = place.order_id

    def number_of(self, signed: dict[str, Any]) -> int:
        """Our id of an order on the wire."""
        return self._numbers[int(signed["salt"])]

    # --- the wire

    def beats(self) -> None:
        """2: a heartbeat leaves; none is late."""
        process = self.sim.process
        now_ns = self.world.now_ns
        if process is not None and self._beat_ns:
            self._check_beat(process)
        self._beat_ns = now_ns

    def _check_beat(self, process: Process) -> None:
        asleep = process.asleep_until_ns > self.world.now_ns
        self._awake_ns = self.world.now_ns if asleep else max(self._awake_ns, process.asleep_until_ns)
        late_ns = self.world.now_ns - max(self._beat_ns, self._awake_ns)
        if late_ns > BEAT_NS:
            raise self.violation("2 heartbeat", f"none left for {late_ns / SECOND:.1f} s")

    def call_leaves(self, call: Call, kind: str) -> None:
        """3: a new order leaves the adapter as the engine wants it, once."""
        if kind not in ("place", "batch"):
            return
        body = msgspec.json.decode(call.body or b"")
        for order in body if kind == "batch" else [body]:
            self._order_leaves(order)

    def _order_leaves(self, body: dict[str, Any]) -> None:
        signed = body["order"]
        number = self.number_of(signed)
        if number in self._sent:
            raise self.violation("3 wire", f"order {number} leaves twice")
        self._sent.add(number)
        place = self.places[number]
        leg = leg_of(place)
        money, tokens = int(signed["makerAmount"]), int(signed["takerAmount"])
        if leg.side == "SELL":
            money, tokens = tokens, money
        said = (signed["tokenId"], signed["side"], tokens, money * 10_000, body["postOnly"])
        price = read_plain(leg.price, 4)
        meant = (leg.token, leg.side, place.size, price * place.size, place.tif == d.POST_ONLY)
        if said != meant:
            raise self.violation("3 wire", f"order {number} leaves as {said}, the engine asked for {meant}")
        if place.expiry_ns and body["orderType"] not in ("GTD", "FAK", "FOK"):
            raise self.violation("1 expiry", f"order {number} leaves as {body['orderType']}")
        if body["orderType"] in ("FAK", "FOK") and leg.side == "BUY":
            raise self.violation("3 wire", f"order {number} spends dollars, and may buy more than its size")

    # --- operations on tokens

    def stepped(self, step: Step) -> None:
        for command in step.commands:
            if isinstance(command, c.Operate):
                self._operates[command.name] = step.number

    def operates(self, command: c.Operate) -> None:
        """4: an operation leaves once it is journaled."""
        number = self._operates.get(command.name)
        if number is None or number > self.sim.disk.durable_number:
            raise self.violation("4 operation", f"{command} leaves before step {number} is on disk")

    def operation_arrives(self, name: str, request: OperationRequest) -> None:
        """4: one at a time, each once, none without its entry; of pairs that nothing else needs."""
        venue = self.sim.polymarket
        if name in venue.chain.operations or venue.chain.is_busy:
            raise self.violation("4 operation", f"{name} arrives while another is under way, or twice")
        if name not in self._operates:
            raise self.violation("4 operation", f"{name} arrives, and the journal does not know it")

    def _merged(self, event: e.Merged) -> None:
        """4: what became cash is told once, and only once the chain has it."""
        one = self.sim.polymarket.chain.operations.get(event.merge_id)
        if one is None or one.request is None or one.stage is not Stage.CONFIRMED:
            raise self.violation("4 operation", f"{event}, but the chain has not confirmed it")
        pairs = one.request.yes_size if one.request.operation == "merge" else -one.request.yes_size
        self._merges.add(event.merge_id)
        if event.pairs != pairs:
            raise self.violation("4 operation", f"{event}, but it was of {pairs}")

    def finish(self) -> None:
        """4: what the chain has done is known at the end."""
        for name, one in self.sim.polymarket.chain.operations.items():
            done = one.stage is Stage.CONFIRMED and one.ended_ns < self.world.now_ns - HEARD_NS
            if done and one.request.operation != "redeem" and name not in self._merges:
                raise self.violation("4 operation", f"{name} happened, and nobody was told")

    # --- what the adapter says

    def said(self, event: e.Control) -> None:
        """8, and 6: a trade is final or void only where the venue says so."""
        super().said(event)
        truth = self._truth
        if isinstance(event, e.Merged):
            self._merged(event)
        if isinstance(event, e.FillFinal | e.FillVoided):
            trade = event.trade_id.partition("/")[0]
            void = trade in truth.void
            if trade in truth.provisional or void != isinstance(event, e.FillVoided):
                raise self.violation("6 end of a trade", f"{event}, but the trade is not")
        elif isinstance(event, e.Filled) and event.final and event.order_id:
            trade = event.trade_id.partition("/")[0]
            if trade in truth.provisional or trade in truth.void:
                raise self.violation("6 end of a trade", f"{event} is told as final")

    def traded(self, event: e.Filled, trade_id: str) -> None:
        super().traded(event, trade_id.partition("/")[0])

    # --- each second

    def second(self) -> None:
        """1, 2, 4 on the venue's truth."""
        super().second()
        if self.sim.process is not None and self._beat_ns:
            self._check_beat(self.sim.process)

    def knows_close(self, wire: Any, market: int, now_ns: int) -> bool:
        return bool(wire.lives[condition_of(market)].over)
