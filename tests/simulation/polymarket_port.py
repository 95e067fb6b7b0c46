"""Merges, splits and redemptions at the modelled Polymarket: a relayer, and the chain behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pr3dict.kernels import exchange_run
from pr3dict.venues.polymarket.contracts import OperationRequest
from pr3dict.venues.polymarket.inventory import (
    OperationBusyError,
    OperationUnknownError,
    Progress,
    Stage,
)
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.loop import VirtualLoop
    from simulation.simulator import Simulation


@dataclass
class Operation:
    """What was handed in, or never will be."""

    market: int
    request: OperationRequest | None
    stage: Stage = Stage.PENDING
    ended_ns: int = 0


class Chain:
    """Operations of the wallet, one after another; they go on whatever becomes of the process."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.random = sim.world.stream("polymarket/chain")
        self.operations: dict[str, Operation] = {}
        self.names = 0

    @property
    def is_busy(self) -> bool:
        """Whether an operation is under way."""
        return any(one.request and one.stage is Stage.PENDING for one in self.operations.values())

    def begin(self, name: str, request: OperationRequest) -> None:
        """An operation arrives."""
        self.sim.rules.operation_arrives(name, request)
        self.operations[name] = Operation(self.sim.session.desk.rows[request.condition], request)
        delay_ns = self.random.randint(1_000, 15_000) * MS
        self.world.after(delay_ns, self._end, name, self.world.fires("operation_failed"))

    def _end(self, name: str, fails: bool) -> None:
        one = self.operations[name]
        assert one.request is not None
        if fails:
            self.world.effect(212)
        one.ended_ns = self.world.now_ns
        one.stage = Stage.FAILED if fails or not self._carry_out(one.market, one.request) else Stage.CONFIRMED

    def _carry_out(self, market: int, request: OperationRequest) -> bool:
        """Whether it could be done."""
        venue = self.sim.polymarket
        venue.advance()
        if request.operation == "redeem":
            venue.unredeemed.discard(market)
            return True
        pairs = request.yes_size if request.operation == "merge" else -request.yes_size
        held = [venue.balance(market, is_no) for is_no in (False, True)]
        if venue.over[market] or min(held) < pairs or venue.dollars() < -pairs:
            return False
        truth, now_ns = venue.exchange.truth, self.world.now_ns
        yes, no = truth.holdings[market]
        exchange_run.split(venue.exchange.world, market, -pairs)
        truth.hold(now_ns, market, yes - pairs, no - pairs)
        truth.change_cash(now_ns, pairs)
        venue.version += 1
        return True


class Port:
    """How one process reaches the relayer."""

    def __init__(self, sim: Simulation, loop: VirtualLoop) -> None:
        self.sim = sim
        self.world = sim.world
        self.loop = loop
        self.chain: Chain = sim.polymarket.chain

    async def _way(self) -> None:
        await self.loop.sleep(self.chain.random.randint(10, 200) * MS)
        if self.world.now_ns < self.sim.session.cut_until_ns:
            raise OperationUnknownError("no answer")

    async def prepare(self, request: OperationRequest) -> str:
        await self._way()
        if self.chain.is_busy:
            raise OperationBusyError("the wallet is busy")
        self.chain.names += 1
        return f"operation-{self.sim.options.seed}-{self.chain.names}"

    async def submit(self, request: OperationRequest, name: str) -> str:
        await self._way()
        if name in self.chain.operations:  # it was given up
            raise OperationBusyError("the name was used")
        if self.world.fires("operation_busy"):
            self.world.effect(213)
            self.chain.operations[name] = Operation(-1, None, Stage.FAILED)
            raise OperationBusyError("the relayer takes nothing now")
        lost = self.world.fires("operation_lost")
        if not lost or self.world.amount("operation_lost", 0, 1):
            self.chain.begin(name, request)
        if lost:
            self.world.effect(216)
            await self.loop.sleep(5 * SECOND)
            raise OperationUnknownError("no answer")
        return f"tx-{name}"

    async def stage(self, request: OperationRequest | None, name: str, venue_id: str) -> Progress:
        await self._way()
        one = self.chain.operations.setdefault(name, Operation(-1, None, Stage.FAILED))  # it never will be
        return Progress(one.stage)

    async def close(self) -> None:
        """There is nothing to give back."""
