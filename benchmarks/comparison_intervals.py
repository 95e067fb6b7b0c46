"""How often `pr3dict compare` is right: two runs of one policy called noise, a planted difference found.

Blocks are drawn as two runs of one policy: every block's two sides are swapped at random, so that neither
run is better, and what differs is heavy-tailed. `--runs A.json B.json` takes the blocks of two recorded runs
instead of generated ones. Beside the interval in use stand textbook ones (Davison and Hinkley 1997, ch. 5).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pr3dict.analytics import comparison
from pr3dict.analytics.bootstrap import intervals, paired_difference, swap_p_value

FloatArray = npt.NDArray[np.float64]
PLANTED = 0.002  # dollars a contract
NORMAL = NormalDist()


def generated(n: int, rng: np.random.Generator) -> FloatArray:
    """Blocks with a common market (t with 2 degrees of freedom) and a run's own luck (1.5 degrees)."""
    size = 300 * np.exp(rng.normal(0, 1.2, n))
    market = 3 * rng.standard_t(2, n)
    luck = 0.02 * np.sqrt(size)[:, None] * rng.standard_t(1.5, (n, 2))
    sizes = size[:, None] * np.exp(rng.normal(0, 0.03, (n, 2)))
    return np.column_stack((market + luck[:, 0], sizes[:, 0], market + luck[:, 1], sizes[:, 1]))


def recorded(first: Path, other: Path) -> FloatArray:
    """Blocks in which one of two recorded runs traded."""
    runs = [comparison.read_run(path.read_bytes(), str(path)) for path in (first, other)]
    return np.array(comparison.paired_blocks(*runs)[0], np.float64) / comparison.MICRO


def swapped(blocks: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Either run's side of each block at random: two runs of which neither is better."""
    return np.where(rng.random(len(blocks))[:, None] < 0.5, blocks, blocks[:, [2, 3, 0, 1]])


def textbook(blocks: FloatArray, rng: np.random.Generator, resamples: int = 999) -> dict[str, bool]:
    """Whether each textbook 95% interval of the difference of net leaves zero outside."""
    change = blocks[:, 2] - blocks[:, 0]
    n, mean, error = len(change), change.mean(), change.std(ddof=1) / math.sqrt(len(change))
    drawn = change[rng.integers(0, n, (resamples, n))]
    means = drawn.mean(1)
    t = (means - mean) / np.maximum(drawn.std(1, ddof=1) / math.sqrt(n), 1e-12)
    centred = change - mean
    skew = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    bias = NORMAL.inv_cdf(float(np.clip((means < mean).mean(), 1e-3, 1 - 1e-3)))

    def adjusted(z: float) -> float:
        return NORMAL.cdf(bias + (bias + z) / (1 - skew * (bias + z)))

    low, high = np.quantile(t, (0.025, 0.975)) * error
    bounds = {
        "percentile": np.quantile(means, (0.025, 0.975)),
        "bca": np.quantile(means, (adjusted(-1.96), adjusted(1.96))),
        "studentised": (mean - high, mean - low),
    }
    return {name: bool(a > 0 or b < 0) for name, (a, b) in bounds.items()}


def called(blocks: FloatArray, rng: np.random.Generator) -> bool:
    """Whether `pr3dict compare` calls a difference."""
    return swap_p_value(blocks, rng) <= comparison.CALLED


def outside(blocks: FloatArray, rng: np.random.Generator) -> bool:
    """Whether one of the two 95% intervals that `pr3dict compare` prints leaves zero outside."""
    found = intervals(blocks, paired_difference, rng, level=comparison.LEVEL)
    return any(one.low > 0 or one.high < 0 for one in found)


def measure(draw: Callable[[], FloatArray], samples: int, rng: np.random.Generator) -> dict[str, float]:
    """Shares in percent: noise called noise by each method, and the planted difference found by ours."""
    alarms: dict[str, int] = {}
    found = 0
    for _ in range(samples):
        blocks = draw()
        verdicts = {"compare": called(blocks, rng), "printed": outside(blocks, rng), **textbook(blocks, rng)}
        for name, alarm in verdicts.items():
            alarms[name] = alarms.get(name, 0) + alarm
        found += called(blocks + np.outer(blocks[:, 3], [0, 0, PLANTED, 0]), rng)
    noise = {f"{name}_noise_percent": round(100 - 100 * count / samples, 1) for name, count in alarms.items()}
    return {**noise, "planted_found_percent": round(100 * found / samples, 1)}


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, nargs="*", default=[12, 30, 45])
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--runs", type=Path, nargs=2, help="two runs on the same tapes, of `--out`")
    given = parser.parse_args()
    rng = np.random.default_rng(7)
    results = {}
    for n in given.blocks:
        if given.runs:
            pool = recorded(*given.runs)
            results[str(n)] = measure(
                lambda n=n, pool=pool: swapped(pool[rng.integers(0, len(pool), n)], rng), given.samples, rng
            )
        else:
            results[str(n)] = measure(lambda n=n: swapped(generated(n, rng), rng), given.samples, rng)
    print(json.dumps({"samples": given.samples, "planted_dollars_a_contract": PLANTED, "by_blocks": results}))


if __name__ == "__main__":
    main()
