"""A paper process for tests: `python paper_child.py DIR [name=value ...]` trades one generated market."""

from __future__ import annotations

import sys
from pathlib import Path

from pr3dict.domain.errors import Pr3dictError
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.logs import make_log
from pr3dict.runtime.paper import PaperSpec, run_paper
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.data_dir import DataDir
from pr3dict.strategies.presets import build_config


def paper_spec(
    folder: Path,
    *,
    speed: float | None,
    regime: str = "wide_spread",
    preset: str = "default",
    latency_ms: int = 50,
    **risk,
) -> PaperSpec:
    """One generated market in `folder`."""
    tapes = merge([synthetic_market(3, regime)], latency_ns=latency_ms * 1_000_000)
    spec = make_spec(build_config(preset), preset=preset, cash_micros=10_000_000_000, latency_ms=latency_ms)
    return PaperSpec(tapes, spec, RiskConfig(**risk), DataDir.of(folder), speed=speed)


def main() -> int:
    """Run; the exit code is the process's."""
    folder = Path(sys.argv[1])
    given = dict(word.split("=") for word in sys.argv[2:])
    speed = float(given.pop("speed"))
    latency_ms = int(given.pop("latency_ms", "50"))
    try:
        log = make_log(folder / "logs")
        return run_paper(
            paper_spec(folder, speed=speed or None, latency_ms=latency_ms, **given), log
        ).exit_code
    except Pr3dictError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
