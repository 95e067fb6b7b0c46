"""`make fuzz`: damaged input by the million through a venue's adapter; one JSON line at the end.

Inputs come in chapters, each with a world and a generator of its own: `--seed` and the chapter name them for
ever. What breaks a rule is printed and kept under `regressions/`, where the tests try it again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

HERE: Final = Path(__file__).parent
CHAPTER: Final = 1000
CHECK_EACH: Final = 100


class Found(NamedTuple):
    """What a worker found: counts of (damage, what became of it) and of targets, and what broke a rule."""

    became: Counter[tuple[str, str]]
    targets: Counter[str]
    violations: list[dict[str, Any]]


def chapter(venue: str, seed: int, number: int, inputs: int, found: Found) -> int:
    """At most `inputs` inputs; it ends with the first violation. Returns how many there were."""
    return asyncio.run(_chapter(importlib.import_module(f"fuzz.{venue}"), seed, number, inputs, found))


async def _chapter(module: Any, seed: int, number: int, inputs: int, found: Found) -> int:
    name = list(module.TARGETS)[number % len(module.TARGETS)]
    one = module.target(name, random.Random(f"{seed}/{number}"))
    done = 0
    try:
        for _ in range(inputs):
            done += 1
            found.targets[name] += 1
            found.became[await one.step()] += 1
            if done % CHECK_EACH == 0 or done == inputs:
                await one.check_health()
                _check_alive(one.world)
    except Exception as error:  # noqa: BLE001 - whatever escapes is what is looked for
        broke = f"{type(error).__name__}: {error}"
        found.became["violation", "violation"] += 1
        found.violations.append(
            {"target": name, "broke": broke, "seed": seed, "chapter": number, "input": done, **one.case}
        )
    await one.world.close()
    return done


def _check_alive(world: Any) -> None:
    failure = world.wire.failure()
    if failure is not None:
        raise RuntimeError(f"a task of the adapter died: {type(failure).__name__}: {failure}")


async def _replay(module: Any, case: Mapping[str, Any]) -> None:
    one = module.target(case["target"], random.Random(1))
    await one.replay(case)
    await one.check_health()
    _check_alive(one.world)
    await one.world.close()


def replay(venue: str, case: Mapping[str, Any]) -> None:
    """Try an input that was kept; raises what it raised."""
    asyncio.run(_replay(importlib.import_module(f"fuzz.{venue}"), case))


def work(venue: str, seed: int, worker: int, workers: int, inputs: int) -> Found:
    """The share of one worker: every `workers`-th chapter, until there were `inputs` inputs."""
    found = Found(Counter(), Counter(), [])
    number = worker
    while inputs > 0:
        inputs -= chapter(venue, seed, number, min(inputs, CHAPTER), found)
        number += workers
    return found


def keep(venue: str, violation: Mapping[str, Any]) -> Path:
    """Write a violation where the tests find it."""
    folder = HERE / "regressions" / venue
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(violation["raw"].encode()).hexdigest()[:12]
    path = folder / f"{violation['target']}-{digest}.json"
    path.write_text(json.dumps(violation, indent=1) + "\n")
    return path


def totals(found: list[Found], seconds: float) -> dict[str, Any]:
    """All workers together, as the line at the end says it."""
    became = sum((one.became for one in found), Counter[tuple[str, str]]())
    targets = sum((one.targets for one in found), Counter[str]())
    ends = Counter[str]()
    kinds = Counter[str]()
    for (kind, end), count in became.items():
        ends[end] += count
        kinds[kind] += count
    return {
        "inputs": targets.total(),
        "accepted": ends["accepted"],
        "refused": ends["refused"],
        "unknown": ends["unknown"],
        "ignored": ends["ignored"],
        "connections_ended": ends["lost"],
        "by_kind": dict(sorted(kinds.items())),
        "by_target": dict(sorted(targets.items())),
        "violations": sum(len(one.violations) for one in found),
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Exit code 1: something broke a rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venue", default="kalshi")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    if not (HERE / chosen.venue).is_dir():
        print(f"error: there is no fuzzer for the venue {chosen.venue!r}", file=sys.stderr)
        return 2
    began = time.monotonic()
    shares = [len(range(w, chosen.inputs, chosen.workers)) for w in range(chosen.workers)]
    with ProcessPoolExecutor(chosen.workers, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(work, chosen.venue, chosen.seed, worker, chosen.workers, share)
            for worker, share in enumerate(shares)
        ]
        found = [future.result() for future in futures]
    for violation in (v for one in found for v in one.violations):
        print(f"violation: {json.dumps(violation)}\nkept: {keep(chosen.venue, violation)}")
    line = totals(found, time.monotonic() - began)
    print(json.dumps({"venue": chosen.venue, "seed": chosen.seed, "workers": chosen.workers, **line}))
    return 1 if line["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
