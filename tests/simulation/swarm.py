"""What one seed is: which faults it has and how strongly, which market, which limits, which clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from simulation.catalogue import KALSHI_KNOBS, KNOBS, POLYMARKET_KNOBS
from simulation.world import SECOND

POLYMARKET_ONLY = ("void", "void_alone", "final_late", "final_conflict", "void_storm")
KALSHI_SHARE = 0.7  # of Kalshi seeds at the model of Kalshi, the rest at an exchange of no particular kind
POLYMARKET_SHARE = 0.6  # the same of Polymarket seeds
NOT_THERE = ("fee_noise", "group", "past_end")  # faults that no wallet at Polymarket can meet
CALM_SHARE = 0.08  # of seeds without any fault: the engine must simply trade


@dataclass(frozen=True)
class Options:
    """One seed's world. Times in ns; `intensity` of a knob from 0 (off) to 1."""

    seed: int
    venue: Literal["kalshi", "polymarket"]
    markets: int
    exclusive: bool  # markets 0 and 1 are outcomes of one event
    safety_ns: int
    liveness_ns: int = 60 * SECOND  # and the life of an order that may be unknown
    life_ns: int = 30 * SECOND  # expiry of an order
    quote_size: int = 10
    max_inventory: int = 40
    heat_ppm: int = 300_000
    daily_loss: int = 200
    cash: int = 2_000
    clock: Literal["none", "linear", "step", "periodic"] = "none"
    clock_ns: int = 0
    small: bool = False  # buggified: small queues, short lives
    intensity: dict[str, float] = field(default_factory=dict)
    adapter: Literal["generic", "kalshi", "polymarket"] = (
        "generic"  # else: a real one, and its venue's own rules
    )
    group_limit: int = 0  # contracts of an order group

    def without(self, knob: str) -> Options:
        """The same world without one fault."""
        return replace(self, intensity={k: v for k, v in self.intensity.items() if k != knob})


def draw(seed: int) -> Options:
    """The options of `seed`: each fault is on with probability 1/2, with uniform intensity."""
    r = Random(f"{seed}/options")
    venue: Literal["kalshi", "polymarket"] = r.choice(("kalshi", "polymarket"))
    calm = r.random() < CALM_SHARE
    damp = r.choice((1.0, 1.0, 0.4))  # some worlds are rough, some have few faults of many kinds
    intensity = {}
    for knob in KNOBS:
        on, level = r.random() < 0.5, r.random()
        if on and not calm and not (knob in POLYMARKET_ONLY and venue == "kalshi"):
            intensity[knob] = level * damp if KNOBS[knob].most < 1.0 else level
    small = r.random() < 0.3
    clock: Literal["none", "linear", "step", "periodic"] = "none"
    if "clock" in intensity:
        clock = r.choice(("linear", "step", "periodic"))
    options = Options(
        seed=seed,
        venue=venue,
        markets=r.choice((2, 3, 3, 4)),
        exclusive=r.random() < 0.5,
        safety_ns=r.randint(25, 75) * SECOND,
        life_ns=r.choice((3, 5, 8) if small else (15, 30, 60)) * SECOND,
        quote_size=r.choice((2, 5, 10)),
        max_inventory=r.choice((20, 40)),
        heat_ppm=r.choice((60_000, 150_000, 500_000)),
        daily_loss=r.choice((5, 20, 200)),
        cash=r.choice((100, 500, 2_000)),
        clock=clock,
        clock_ns=round(intensity.get("clock", 0.0) * r.choice((-1, 1)) * 4 * SECOND),
        small=small,
        intensity=intensity,
    )
    return _at_kalshi(options) if venue == "kalshi" else _at_polymarket(options)


def _at_kalshi(options: Options) -> Options:
    """Most Kalshi accounts trade at the model of Kalshi; draws of its own keep the others as they are."""
    r = Random(f"{options.seed}/kalshi options")
    if r.random() >= KALSHI_SHARE:
        return options
    knobs = {knob: r.random() for knob in KALSHI_KNOBS if r.random() < 0.5}
    calm = not options.intensity
    return replace(
        options,
        adapter="kalshi",
        group_limit=r.choice((5, 15, 40, 400)),
        life_ns=options.life_ns if options.small else r.choice((6, 10, 20)) * SECOND,  # renewed more often
        intensity=options.intensity | ({} if calm else knobs),
    )


def _at_polymarket(options: Options) -> Options:
    """As `_at_kalshi`, for wallets at the model of Polymarket, where no order lives less than two minutes."""
    r = Random(f"{options.seed}/polymarket options")
    if r.random() >= POLYMARKET_SHARE:
        return options
    knobs = {knob: r.random() for knob in (*POLYMARKET_KNOBS, "private_twice") if r.random() < 0.5}
    kept = {knob: level for knob, level in options.intensity.items() if knob not in NOT_THERE}
    return replace(
        options,
        adapter="polymarket",
        safety_ns=r.randint(22, 38) * SECOND,  # what is in doubt afterwards may take three minutes
        life_ns=r.choice((130, 140, 150)) * SECOND,
        intensity=kept | (knobs if options.intensity else {}),
    )
