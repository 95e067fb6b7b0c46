"""Scripted people: they halt and resume, flatten, pause a market, cancel and trade by hand."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from simulation.world import SECOND

if TYPE_CHECKING:
    from simulation.simulator import Simulation

DEEDS = ("halt", "resume", "flatten", "flatten_all", "pause", "cancel", "cancel_all", "trade", "resume")


def act(sim: Simulation, draw: int) -> None:
    """One deed, chosen by `draw`."""
    r = Random(draw)
    deed = r.choice(DEEDS)
    market = r.randrange(sim.options.markets)
    if deed in ("cancel", "cancel_all", "trade"):
        _at_the_venue(sim, deed, market, r)
        return
    if sim.process is None:
        return
    sim.world.effect(80)
    who, command = "simulated person", f"command-{draw}"
    if deed == "halt":
        sim.process.put(e.Halt(command_id=command, who=who, reason="test"))
        if r.random() < 0.8:  # most people come back
            sim.world.after(r.randint(2, 15) * SECOND, resume, sim, f"{command}-resume")
    elif deed == "resume":
        resume(sim, command)
    elif deed == "pause":
        sim.process.put(e.PauseMarket(command_id=command, who=who, market=market, paused=True))
        sim.world.after(r.randint(2, 10) * SECOND, unpause, sim, f"{command}-unpause", market)
    else:
        target = -1 if deed == "flatten_all" else market
        slip = r.choice((20_000, 50_000))
        sim.session.deliver(e.Flatten(command_id=command, who=who, market=target, max_slippage_micros=slip))


def resume(sim: Simulation, command_id: str) -> None:
    """A person lifts every halt; tries again while the process is down."""
    if sim.process is None:
        sim.world.after(SECOND, resume, sim, command_id)
        return
    sim.session.deliver(e.Resume(command_id=command_id, who="simulated person", reason="looked at it"))


def unpause(sim: Simulation, command_id: str, market: int) -> None:
    if sim.process is None:
        sim.world.after(SECOND, unpause, sim, command_id, market)
        return
    sim.process.put(e.PauseMarket(command_id=command_id, who="simulated person", market=market, paused=False))


def _at_the_venue(sim: Simulation, deed: str, market: int, r: Random) -> None:
    if deed == "trade":
        if sim.foreign_trade(market, r.choice((d.BID, d.ASK)), r.randint(1, 5)):
            sim.world.effect(80)
        return
    orders = sim.venue.open_orders()
    if not orders:
        return
    sim.world.effect(80)
    if deed == "cancel_all":
        sim.venue.cancel_everything(told=True)
    else:
        sim.venue.cancel_by_hand(orders[r.randrange(len(orders))])
