"""Polymarket's side of the fault runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from live import polymarket_world as world
from live.polymarket_truth import WALLET, salts_in, told
from live.polymarket_watch import PolymarketWatch
from live.side import Rows
from live.truth import Told
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.polymarket_access import PolymarketAccess, polymarket_access
from pr3dict.runtime.polymarket_live import PolymarketLive
from pr3dict.runtime.venue_selection import Selection
from pr3dict.store.data_dir import DataDir
from pr3dict.venues.polymarket.settings import build_polymarket
from standins.polymarket import HAZARDS, HOOKS, Catalog, PolymarketStandIn

STEM: Final = "PR3DICT_POLYMARKET_LOCAL"
LOST: Final = ("error_after_apply", "error_before_apply", "lost_answer", "lost_request", "drop_user")


async def _spell(server: PolymarketStandIn, seconds: float, most_s: float, **settings: Any) -> None:
    """Faults for a while; then what was set before."""
    before = {name: server.faults.settings.get(name, 0) for name in settings}
    server.faults.change(settings)
    await asyncio.sleep(min(seconds, most_s))
    server.faults.change(before)


async def _outage(server: PolymarketStandIn, most_s: float) -> None:
    """No write is carried out for longer than an order lives: what rests can only expire."""
    await _spell(server, 200.0, most_s, error_before_apply=1.0)


async def _slow(server: PolymarketStandIn, most_s: float) -> None:
    """What is asked for is done, and answered when nobody waits any more: heartbeats are lost, too."""
    await _spell(server, 40.0, most_s, answer_delay_ms=[6_000, 9_000])


async def _unsettled(server: PolymarketStandIn, most_s: float) -> None:
    """A third of all trades fails, and a third is tried again."""
    await _spell(server, 120.0, most_s, trade_failed=0.35, trade_retrying=0.35)


async def _blocked(server: PolymarketStandIn, most_s: float) -> None:
    """The region is blocked for a moment."""
    await _spell(server, 6.0, most_s, geoblocked=1.0)


async def _forgetful(server: PolymarketStandIn, most_s: float) -> None:
    """A restart after which some orders are gone, and nobody says so."""
    seconds = min(20.0, most_s)
    server.do("restart", seconds=seconds, post_only_s=60.0, loses=0.3)
    await asyncio.sleep(1.5 * seconds)


class PolymarketSide:
    """See `live.side.Side`."""

    name = "polymarket"
    settings = world.SETTINGS
    kill_settings = (
        *(f"polymarket.{name}={value}" for name, value in world.TERMS.items()),
        "risk.max_orders_per_second=20", "risk.max_orders_per_minute=0", "risk.read_retry_seconds=0.25",
        "risk.pause_seconds=2",
    )  # fmt: skip
    faults = (*HOOKS, *HAZARDS)
    unseen = ()
    effects = world.EFFECTS
    words = world.FEED_WORDS
    provisional = True
    session_kills, together, doubt_s = 5, 4, 200.0
    spells = (_outage, _slow, _unsettled, _blocked, _forgetful)

    def server(self, catalog: Catalog, seed: int, **options: Any) -> PolymarketStandIn:
        """With a deposit wallet of ours."""
        server = PolymarketStandIn(catalog, seed=seed, **options)
        server.open_account(server.address, wallet=WALLET, kind=3)
        return server

    def catalog(self, hours: float, seed: int, pace: float, outlive_h: float = 2.0) -> Catalog:
        """Some markets are resolved on the way."""
        return world.catalog(hours, seed=seed, pace=pace, outlive_h=outlive_h)

    def venue(self, server: PolymarketStandIn, seed: int) -> PolymarketLive:
        """Everything there."""
        return PolymarketLive(access_to(server), build_polymarket(single=world.TERMS), Selection())

    def watch(self, server: PolymarketStandIn, risk: RiskConfig, place: DataDir) -> PolymarketWatch:
        """One for Polymarket."""
        return PolymarketWatch(server, risk, place.latch, place.mailbox)

    def works(self, server: PolymarketStandIn) -> Iterable[Any]:
        """Nothing besides."""
        return ()

    def bad(self, rate: float) -> Mapping[str, Any]:
        """As listed."""
        return world.faults(rate)

    def worse(self) -> Mapping[str, Any]:
        """Short restarts and many lost answers."""
        return {
            **world.faults(8.0), **world.RARE, **dict.fromkeys(LOST, 0.03), "freeze_s": [1.0, 8.0],
            "restart_s": [1.0, 3.0], "post_only_s": [1.0, 5.0], "mine_s": [0.1, 0.5],
            "confirm_s": [0.1, 1.0], "retry_s": [0.5, 2.0], "relayer_s": [0.2, 1.0],
        }  # fmt: skip

    def quiet(self) -> Mapping[str, Any]:
        """Trades go to the chain as ever."""
        return world.QUIET

    def calm(self, server: PolymarketStandIn) -> None:
        """Everything is taken again."""
        server.do("open_up")

    def reopen(self) -> Mapping[str, Any]:
        """As `calm`."""
        return {"action": "open_up"}

    async def sweep(self, server: PolymarketStandIn, chance: random.Random) -> None:
        """What we quote next crosses."""
        venue = server.venue
        open_now = [m for m in venue.markets if m.status == "active"]
        if not open_now:
            return
        market = chance.choice(open_now)
        slug, taker = market.spec.slug, chance.choice(("bid", "ask"))
        side = int(taker == "bid")  # that is swept
        prices = sorted(market.book.totals[side], reverse=taker == "ask")[:3]
        server.faults.change({"frame_delay_ms": [100, 900]})
        for price in prices:
            server.do("take", market=slug, taker=taker, price=f"{price / 10_000:.4f}", shares=150)
        if prices and 0 < prices[-1] < 10_000:
            at, other = f"{prices[-1] / 10_000:.4f}", "bid" if taker == "bid" else "ask"
            server.do("level", market=slug, side=other, price=at, shares=30)
            await asyncio.sleep(4.0)
            server.do("level", market=slug, side=other, price=at, shares=0)
        server.faults.change({"frame_delay_ms": world.HOOKS["frame_delay_ms"]})

    def told(self, body: Mapping[str, Any], rows: Rows, journal: Path) -> Told:
        """The journal says which order has which salt."""
        return told(body, rows, salts_in(journal) if journal.exists() else {})

    def said(self, server: PolymarketStandIn, folder: Path) -> Mapping[str, Any]:
        """Port, wallet and keys."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "wallet.key"
        path.touch(0o600)
        path.write_text(server.private_key, encoding="utf-8")
        return {"port": server.port, "settings": [], "key": str(path), "relayer": server.relayer_key()}

    def environment(self, said: Mapping[str, Any]) -> dict[str, str]:
        """The wallet and its keys."""
        return {
            f"{STEM}_WALLET_KEY_FILE": said["key"], f"{STEM}_WALLET_KIND": "deposit",
            f"{STEM}_FUNDER": WALLET, f"{STEM}_RELAYER_KEY": said["relayer"],
        }  # fmt: skip


def access_to(server: PolymarketStandIn) -> PolymarketAccess:
    """The way to a stand-in with its own wallet."""
    names = {
        f"{STEM}_WALLET_KEY": server.private_key, f"{STEM}_WALLET_KIND": "deposit", f"{STEM}_FUNDER": WALLET,
        f"{STEM}_RELAYER_KEY": server.relayer_key(),
    }  # fmt: skip
    return polymarket_access("local", url=server.url, environment=names)


SIDE: Final = PolymarketSide()
