"""The end of a seed: the journal folds to the live account, and with its tape replays to the live state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pr3dict.engine.engine import Engine
from pr3dict.engine.tracked import TrackedOrder
from pr3dict.kernels import dtypes as d
from pr3dict.strategies.market_making import MarketMakingStrategy
from simulation.oracles import Violation

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.simulator import Simulation

_NO_ROWS = np.zeros(0, d.EVENT)


def _engine(sim: Simulation) -> Engine:
    engine = Engine(sim.risk, capacity=4)
    engine.register_strategy(MarketMakingStrategy(sim.strategy))
    return engine


def check_fold(sim: Simulation, process: Process) -> None:
    """I16: folding the whole journal gives the account of the living process."""
    folded = _engine(sim)
    for step in sim.disk.steps():
        folded.fold(step)
    if folded.number != process.engine.number:
        raise Violation(
            "I16 journal", f"ends at step {folded.number}, the process made {process.engine.number}"
        )
    for name in ("account", "breakers"):
        theirs, ours = getattr(folded, name).encode(), getattr(process.engine, name).encode()
        if theirs != ours:
            raise Violation(f"I16 fold {name}", difference(ours, theirs))
    if folded.holds.to_list() != process.engine.holds.to_list():
        raise Violation(
            "I16 fold holds", f"{folded.holds.to_list()} against {process.engine.holds.to_list()}"
        )


def check_replay(sim: Simulation, process: Process) -> None:
    """I16, I17: the last life again from journal and tape: the same commands and the same state."""
    engine = _engine(sim)
    tail = []
    for step in sim.disk.steps():
        if step.number <= process.first_number:
            engine.fold(step)
        else:
            tail.append(step)
    sim.watching = False
    if process.first_number:
        engine.recovered(process.recovered_ns)
    inputs = {step.now_ns: step.inputs for step in tail}
    data = dict(process.batches)
    again = []
    for now_ns in sorted({*inputs, *data}):
        again += engine.advance(now_ns, data.get(now_ns, _NO_ROWS), inputs.get(now_ns, ()))
    for one, other in zip(again, tail, strict=False):
        if one != other:
            raise Violation("I16 replay step", first_difference(one, other))
    if len(again) != len(tail):
        raise Violation("I16 replay step", f"{len(again)} steps after the replay, {len(tail)} in the journal")
    ours, theirs = process.engine.state_hash(), engine.state_hash()
    if engine.now_ns == process.engine.now_ns and ours != theirs:
        raise Violation("I16 replay state", f"{theirs} after the replay, {ours} live")


def difference(ours: bytes, theirs: bytes) -> str:
    """Where two encoded states differ, in a few words."""
    import msgspec

    return _walk("", msgspec.msgpack.decode(ours), msgspec.msgpack.decode(theirs)) or "only in their bytes"


def _walk(path: str, ours: object, theirs: object) -> str:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            if ours.get(key) != theirs.get(key):
                return _walk(f"{path}.{key}", ours.get(key), theirs.get(key))
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        if len(ours) == len(TrackedOrder.__slots__):  # an order: its fields by name
            ours = dict(zip(TrackedOrder.__slots__, ours, strict=True))
            theirs = dict(zip(TrackedOrder.__slots__, theirs, strict=True))
            return _walk(f"{path} order {ours['order_id']}", ours, theirs)
        for k, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if one != other:
                return _walk(f"{path}[{k}]", one, other)
    return f"{path}: live {str(ours)[:300]}, folded {str(theirs)[:300]}" if ours != theirs else ""


def first_difference(again: object, journaled: object) -> str:
    """Which part of a step differs."""
    for name in ("number", "now_ns", "inputs", "derived", "commands", "quotes", "rows"):
        one, other = getattr(again, name, None), getattr(journaled, name, None)
        if one != other:
            return f"step {journaled.number} {name}: replayed {str(one)[:400]}, journaled {str(other)[:400]}"  # type: ignore[attr-defined]
    return "?"
