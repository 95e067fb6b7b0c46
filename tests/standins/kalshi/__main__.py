"""`python -m standins.kalshi --port N`: serve the stand-in until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import suppress
from pathlib import Path

from standins.kalshi.auth import ApiKey
from standins.kalshi.catalog import Catalog, small_catalog, synthetic_catalog, tape_catalog
from standins.kalshi.limits import TIERS
from standins.kalshi.server import KalshiStandIn


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m standins.kalshi", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one, which is printed")
    parser.add_argument("--tapes", nargs="+", help="recorded book tapes to play, from now on")
    parser.add_argument("--markets", type=int, default=4, help="generated markets, without --tapes")
    parser.add_argument("--regime", default="", help="of the generated markets; by default books stand still")
    parser.add_argument("--hours", type=float, default=4.0, help="that generated markets live")
    parser.add_argument("--speed", type=float, default=1.0, help="venue seconds a second")
    parser.add_argument("--faults", type=Path, help="JSON object of faults and hazards, as HOOKS and HAZARDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tier", choices=sorted(TIERS), default="basic")
    parser.add_argument("--cash", type=float, default=10_000.0, help="dollars on each shard")
    parser.add_argument("--keys", type=Path, help="folder to write the private keys to, as <id>.pem")
    return parser.parse_args()


def _catalog(given: argparse.Namespace) -> Catalog:
    if given.tapes:
        return tape_catalog(given.tapes)
    if given.regime:
        return synthetic_catalog(given.markets, seed=given.seed, regime=given.regime, hours=given.hours)
    return small_catalog(given.markets)


def _write(folder: Path, key: ApiKey) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key.id}.pem"
    path.touch(0o600)
    path.write_text(key.pem, encoding="utf-8")
    return str(path)


async def _serve(given: argparse.Namespace) -> None:
    faults = json.loads(given.faults.read_text(encoding="utf-8")) if given.faults else {}
    stand_in = KalshiStandIn(
        _catalog(given), port=given.port, speed=given.speed, tier=given.tier, cash_dollars=given.cash,
        faults=faults, seed=given.seed,
    )  # fmt: skip
    async with stand_in as server:
        said = {
            "rest": server.url, "ws": server.ws_url, "admin": server.admin_url,
            "ed25519_key_id": server.key.id, "rsa_key_id": server.rsa_key.id,
        }  # fmt: skip
        if given.keys:
            said["ed25519_pem"] = _write(given.keys, server.key)
            said["rsa_pem"] = _write(given.keys, server.rsa_key)
        print(json.dumps(said), flush=True)
        await asyncio.Event().wait()


with suppress(KeyboardInterrupt):
    asyncio.run(_serve(_arguments()))
