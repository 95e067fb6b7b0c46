"""`python -m live.stand_in --keys DIR`: the stand-in of the kill tests as a process, in its own time."""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from live.side import SIDES, Side, side_of

PACE: Final = 60.0  # what takes a minute elsewhere takes a second: time is the real one
HOURS: Final = 0.1


async def _serve(side: Side, folder: Path, seed: int) -> None:
    async with side.server(side.catalog(HOURS, seed, PACE, 0.2), seed) as server:
        print(json.dumps(side.said(server, folder)), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venue", choices=SIDES, default="kalshi")
    parser.add_argument("--keys", type=Path, required=True, help="folder for the private key")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(side_of(given.venue), given.keys, given.seed))


main()
