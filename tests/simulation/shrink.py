"""A failing seed made small: fewer faults, less time, fewer decisions; then a story, and a tape to keep.

A seed means something else after the next change of the code; the options and the decisions that fired are
what is kept (`regressions/*.json`), and a test runs each again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from simulation.catalogue import ALL_KNOBS
from simulation.simulator import Outcome, Simulation
from simulation.swarm import Options, draw
from simulation.world import SECOND, Fired

FOLDER = Path(__file__).parent / "regressions"
MOST_RUNS = 150
Tape = list[Fired]


class Shrinker:
    """Tries smaller worlds for as long as they break the same invariant."""

    def __init__(self, options: Options, outcome: Outcome, *, most_runs: int = MOST_RUNS) -> None:
        self.options = options
        self.outcome = outcome
        self.name = outcome.violation
        self.tape: Tape = list(outcome.fired)
        self.runs = 0
        self.most_runs = most_runs

    def shrink(self) -> Outcome:
        """The smallest world found."""
        self._cut_time()
        self._drop_knobs()
        self._drop_decisions()
        self._cut_time()
        return self.outcome

    def _still_fails(self, options: Options, tape: Tape) -> bool:
        if self.runs >= self.most_runs:
            return False
        self.runs += 1
        outcome = Simulation(options, tape).run()
        if outcome.violation != self.name:
            return False
        self.options, self.outcome = options, outcome
        self.tape = [decision for decision in tape if decision in set(outcome.fired)]
        return True

    def _cut_time(self) -> None:
        """End the safety phase where it broke, or earlier."""
        at_ns = int(self.outcome.at_s * SECOND) + SECOND
        for length in (at_ns, self.options.safety_ns // 2, self.options.safety_ns * 3 // 4):
            if SECOND < length < self.options.safety_ns:
                self._still_fails(replace(self.options, safety_ns=length), self.tape)

    def _drop_knobs(self) -> None:
        for knob in sorted(self.options.intensity, key=lambda k: sum(name == k for name, _ in self.tape)):
            left = [decision for decision in self.tape if decision[0] != knob]
            self._still_fails(self.options.without(knob), left)

    def _drop_decisions(self) -> None:
        """Zeller's ddmin over the decisions that fired (Zeller and Hildebrandt, 2002)."""
        parts = 2
        while len(self.tape) >= 2 and self.runs < self.most_runs:
            size = -(-len(self.tape) // parts)
            chunks = [self.tape[k : k + size] for k in range(0, len(self.tape), size)]
            smaller = next(
                (
                    k
                    for k in range(len(chunks))
                    if self._still_fails(self.options, [d for j, c in enumerate(chunks) if j != k for d in c])
                ),
                None,
            )
            if smaller is not None:
                parts = max(parts - 1, 2)
            elif parts >= len(self.tape):
                break
            else:
                parts = min(parts * 2, len(self.tape))


def tell(
    outcome: Outcome,
    *,
    keep: bool = True,
    say: Callable[[str], object] = print,
    most_runs: int = MOST_RUNS,
) -> Path | None:
    """Shrink a failing seed and print its story; keeps the tape."""
    say(f"\nseed {outcome.seed} breaks {outcome.violation}; making it smaller ...")
    shrinker = Shrinker(draw(outcome.seed), outcome, most_runs=most_runs)
    small = shrinker.shrink()
    options = shrinker.options
    say(f"{shrinker.runs} runs: {len(outcome.fired)} faults -> {len(shrinker.tape)}, of these kinds:")
    for knob in sorted({name for name, _ in shrinker.tape}):
        say(f"  {ALL_KNOBS[knob].what} ({knob}, {sum(name == knob for name, _ in shrinker.tape)} times)")
    say(f"a {options.venue} account ({options.adapter} adapter), {options.markets} markets,")
    say(f"{options.safety_ns // SECOND} s of trouble")
    for line in small.story[-25:]:
        say(f"  {line}")
    say(f"  {small.at_s:8.3f} s  {small.text}")
    return save(shrinker.options, shrinker.tape, small) if keep else None


def save(options: Options, tape: Tape, outcome: Outcome) -> Path:
    """Write the decision tape of a failure."""
    word = "".join(ch if ch.isalnum() else "-" for ch in outcome.violation.lower()).strip("-")
    path = FOLDER / f"{word}-{options.seed}.json"
    FOLDER.mkdir(exist_ok=True)
    story = {"broke": outcome.violation, "text": outcome.text, "options": asdict(options), "fired": tape}
    path.write_text(json.dumps(story) + "\n", encoding="utf-8")
    return path


def load(path: Path) -> tuple[Options, Tape]:
    """The world of a kept failure."""
    story = json.loads(path.read_text(encoding="utf-8"))
    return Options(**story["options"]), [(name, number) for name, number in story["fired"]]
