"""`python -m live.stand_in --keys DIR`: the stand-in of the kill tests as a process, in its own time."""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import suppress
from pathlib import Path

from live import world
from standins.kalshi import KalshiStandIn

PACE = 60.0  # what takes a minute elsewhere takes a second: time is the real one
HOURS = 0.1


def _write(folder: Path, pem: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "key.pem"
    path.touch(0o600)
    path.write_text(pem, encoding="utf-8")
    return str(path)


async def _serve(folder: Path, seed: int) -> None:
    catalog = world.catalog(HOURS, seed=seed, pace=PACE, outlive_h=0.2)
    async with KalshiStandIn(catalog, tier="advanced", seed=seed) as server:
        pem = _write(folder, server.key.pem)
        print(json.dumps({"port": server.port, "key_id": server.key.id, "pem": pem}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=Path, required=True, help="folder for the private key")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.keys, given.seed))


main()
