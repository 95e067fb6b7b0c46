"""`python -m standins.polymarket --port N`: serve the stand-in until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import suppress
from pathlib import Path

from standins.polymarket.catalog import Catalog, small_catalog, synthetic_catalog, tape_catalog
from standins.polymarket.limits import TIERS
from standins.polymarket.server import PRIVATE_KEY, PolymarketStandIn


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m standins.polymarket", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one, which is printed")
    parser.add_argument("--tapes", nargs="+", help="recorded book tapes to play, from now on")
    parser.add_argument("--markets", type=int, default=5, help="generated markets, without --tapes")
    parser.add_argument("--regime", default="", help="of the generated markets; by default books stand still")
    parser.add_argument("--hours", type=float, default=4.0, help="that generated markets live")
    parser.add_argument("--speed", type=float, default=1.0, help="venue seconds a second")
    parser.add_argument("--faults", type=Path, help="JSON object of faults and hazards, as HOOKS and HAZARDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tier", choices=sorted(TIERS), default="standard")
    parser.add_argument("--cash", type=float, default=10_000.0, help="dollars of each wallet")
    parser.add_argument("--key-file", type=Path, help="file of the wallet's private key, as 0x and hex")
    return parser.parse_args()


def _catalog(given: argparse.Namespace) -> Catalog:
    if given.tapes:
        return tape_catalog(given.tapes)
    if given.regime:
        return synthetic_catalog(given.markets, seed=given.seed, regime=given.regime, hours=given.hours)
    return small_catalog(given.markets)


async def _serve(given: argparse.Namespace) -> None:
    faults = json.loads(given.faults.read_text(encoding="utf-8")) if given.faults else {}
    key = given.key_file.read_text(encoding="utf-8").strip() if given.key_file else PRIVATE_KEY
    stand_in = PolymarketStandIn(
        _catalog(given), port=given.port, speed=given.speed, tier=given.tier, cash_dollars=given.cash,
        faults=faults, seed=given.seed, private_key=key,
    )  # fmt: skip
    async with stand_in as server:
        said = {
            "rest": server.url, "gamma": server.gamma_url, "relayer": server.relayer_url,
            "rpc": server.rpc_url, "ws_market": server.market_ws_url, "ws_user": server.user_ws_url,
            "admin": server.admin_url, "address": server.address, "relayer_key": server.relayer_key(),
        }  # fmt: skip
        print(json.dumps(said), flush=True)
        await asyncio.Event().wait()


with suppress(KeyboardInterrupt):
    asyncio.run(_serve(_arguments()))
