"""`make simulate`: many seeds on all cores, what they found, which fault of the catalogue took effect."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from simulation import mutants
from simulation.catalogue import ALL_KNOBS, KALSHI_ROWS, LEFT_OUT, POLYMARKET_ROWS, ROW_NAMES, ROWS
from simulation.simulator import Outcome, Simulation
from simulation.swarm import draw

LEAST_ROWS = 60  # of the catalogue that must have taken effect in a run of 1,000 seeds


def run_seed(seed: int, mutant: str = "") -> Outcome:
    """One seed, with one deliberate bug where `mutant` names it."""
    options = draw(seed)
    if not mutant:
        return Simulation(options).run()
    with mutants.applied(mutant):
        return Simulation(options).run()


def _run_many(seeds: list[int]) -> list[Outcome]:
    return [run_seed(seed) for seed in seeds]


def outcomes(first: int, count: int, workers: int) -> Iterator[Outcome]:
    """The outcomes of seeds `first` to `first + count - 1`, as they come."""
    chunks = [list(range(k, min(k + 8, first + count))) for k in range(first, first + count, 8)]
    if workers <= 1:
        for chunk in chunks:
            yield from _run_many(chunk)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in pool.map(_run_many, chunks):
            yield from done


class Tally:
    """What many seeds came to."""

    def __init__(self) -> None:
        self.failures: list[Outcome] = []
        self.seeds = self.steps = self.places = self.fills = self.lives = 0
        self.adapters: Counter[str] = Counter()
        self.virtual_s = 0.0
        self.knobs: Counter[str] = Counter()
        self.effective: Counter[int] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.seeds += 1
        self.adapters[outcome.adapter] += 1
        self.steps += outcome.steps
        self.places += outcome.places
        self.fills += outcome.fills
        self.lives += outcome.lives
        self.virtual_s += outcome.virtual_s
        self.knobs += outcome.injected
        self.effective += outcome.effective
        if outcome.violation:
            self.failures.append(outcome)

    @property
    def rows_effective(self) -> int:
        """Rows of the catalogue that were injected and took effect."""
        return self.effective_of(ROWS)

    def effective_of(self, rows: tuple[int, ...]) -> int:
        """The same of some rows, as of those that only one venue has."""
        return sum(1 for row in rows if self.effective[row] and self._injected(row))

    def _injected(self, row: int) -> int:
        return sum(self.knobs[name] for name, knob in ALL_KNOBS.items() if row in knob.rows)

    def table(self) -> str:
        """Each fault of the catalogue: injected, effective."""
        lines = [f"{'':>3} {'injected':>9} {'effective':>9}  fault"]
        for row in (*range(1, 81), *KALSHI_ROWS, *POLYMARKET_ROWS):
            if row in LEFT_OUT:
                lines.append(f"{row:>3} {'-':>9} {'-':>9}  elsewhere: {LEFT_OUT[row]}")
            else:
                name = ROW_NAMES.get(row, "?")
                lines.append(f"{row:>3} {self._injected(row):>9} {self.effective[row]:>9}  {name}")
        return "\n".join(lines)


def main() -> int:
    """Run the seeds that the command line asks for; 1 when one of them broke something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mutant", default="", help="a deliberate bug, or `all`: each must be found")
    parser.add_argument("--no-shrink", action="store_true", help="only name the seeds that fail")
    args = parser.parse_args()
    if args.mutant:
        return hunt(args.mutant, args.first, args.seeds)
    began, tally = time.perf_counter(), Tally()
    for outcome in outcomes(args.first, args.seeds, args.workers):
        tally.add(outcome)
        if outcome.violation:
            print(f"\nseed {outcome.seed} at {outcome.at_s:.3f} s: {outcome.text}", flush=True)
        if sys.stdout.isatty() or tally.seeds % 100 == 0:
            spent = time.perf_counter() - began
            print(f"\r{tally.seeds} seeds, {tally.seeds / spent:.1f} a second", end="", flush=True)
    spent = time.perf_counter() - began
    print(f"\n\n{tally.table()}\n")
    print(
        f"{tally.seeds} seeds in {spent:.1f} s ({tally.seeds / spent:.2f} a second), "
        f"{tally.virtual_s / 3_600:.1f} virtual hours, {tally.steps} steps, {tally.lives} processes, "
        f"{tally.places} orders, {tally.fills} fills"
    )
    print(f"{tally.rows_effective} of 80 faults injected and effective, {len(LEFT_OUT)} tested elsewhere")
    for venue, rows in (("kalshi", KALSHI_ROWS), ("polymarket", POLYMARKET_ROWS)):
        count = tally.effective_of(rows)
        print(f"{count} of {len(rows)} at {venue}, where {tally.adapters[venue]} seeds traded")
    if tally.failures and not args.no_shrink:
        from simulation.shrink import tell

        tell(tally.failures[0])
    print(f"{len(tally.failures)} seeds with a violation")
    thin = args.seeds >= 1_000 and tally.rows_effective < LEAST_ROWS
    return 1 if tally.failures or thin else 0


def hunt(name: str, first: int, count: int) -> int:
    """Find each mutant; 1 when one survives all seeds."""
    missed = []
    for mutant in mutants.MUTANTS if name == "all" else [name]:
        found = mutants.find(mutant, first, count)
        if found is None:
            missed.append(mutant)
            print(f"{mutant:32} survives {count} seeds", flush=True)
        else:
            print(f"{mutant:32} seed {found.seed:4}  {found.text[:120]}", flush=True)
    print(f"{len(missed)} mutants missed" if missed else "every mutant was found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
