"""Kalshi's side of the fault runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from live import kalshi_world as world
from live.kalshi_truth import told
from live.kalshi_watch import KalshiWatch
from live.side import Rows
from live.truth import Told
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.kalshi_access import KalshiAccess, Selection, kalshi_access
from pr3dict.runtime.kalshi_live import KalshiLive
from pr3dict.store.data_dir import DataDir
from pr3dict.venues.kalshi.settings import build_kalshi
from standins.kalshi import HAZARDS, HOOKS, Catalog, KalshiStandIn

SWEEP_LOSS: Final = 60  # dollars: contracts of one shard that may trade within 15 seconds
LOST: Final = ("error_after_apply", "error_before_apply", "lost_answer", "lost_request", "drop_private")


async def _outage(server: KalshiStandIn, most_s: float) -> None:
    """No write is carried out for longer than an order lives: what rests can only expire."""
    server.faults.change({"error_before_apply": 1.0})
    await asyncio.sleep(min(30.0, most_s))
    server.faults.change({"error_before_apply": world.RARE["error_before_apply"]})


async def _slow(server: KalshiStandIn, most_s: float) -> None:
    """What is asked for is done, and answered when nobody waits for the answer any more."""
    server.faults.change({"answer_delay_ms": [2_000, 9_000]})
    await asyncio.sleep(min(30.0, most_s))
    server.faults.change({"answer_delay_ms": world.HOOKS["answer_delay_ms"]})


class KalshiSide:
    """See `live.side.Side`."""

    name = "kalshi"
    settings = world.SETTINGS
    # Reads of a young account must be believed soon, or no life of a few seconds would ever quote.
    kill_settings = (
        "kalshi.sweep_loss=60", "risk.max_orders_per_second=20",
        "risk.max_orders_per_minute=0", "risk.read_retry_seconds=0.25", "risk.pause_seconds=2",
    )  # fmt: skip
    faults = (*HOOKS, *HAZARDS)
    unseen = ()
    effects = world.EFFECTS
    words = world.FEED_WORDS
    provisional = False
    session_kills, together, doubt_s = 25, 1, 0.0
    spells = (_outage, _slow)

    def server(self, catalog: Catalog, seed: int, **options: Any) -> KalshiStandIn:
        """Its account is a direct member's at every other seed."""
        member = bool(seed % 2)
        return KalshiStandIn(catalog, tier="advanced", seed=seed, direct_member=member, **options)

    def catalog(self, hours: float, seed: int, pace: float, outlive_h: float = 2.0) -> Catalog:
        """Markets on four shards."""
        return world.catalog(hours, seed=seed, pace=pace, outlive_h=outlive_h)

    def venue(self, server: KalshiStandIn, seed: int) -> KalshiLive:
        """Everything there, with order groups."""
        terms = {"sweep_loss": str(SWEEP_LOSS), "direct_member": str(bool(seed % 2)).lower()}
        return KalshiLive(access_to(server), build_kalshi(single=terms), Selection())

    def watch(self, server: KalshiStandIn, risk: RiskConfig, place: DataDir) -> KalshiWatch:
        """One for Kalshi."""
        return KalshiWatch(server, risk, place.latch, place.mailbox)

    def works(self, server: KalshiStandIn) -> Iterable[Any]:
        """A dispute."""
        return (_argue(server),)

    def bad(self, rate: float) -> Mapping[str, Any]:
        """As listed."""
        return world.faults(rate)

    def worse(self) -> Mapping[str, Any]:
        """Short pauses, and many lost answers."""
        return {
            **world.faults(8.0), **world.RARE, **dict.fromkeys(LOST, 0.03), "freeze_s": [1.0, 8.0],
            "pause_s": [1.0, 5.0],
        }  # fmt: skip

    def quiet(self) -> Mapping[str, Any]:
        """Nothing."""
        return world.QUIET

    def calm(self, server: KalshiStandIn) -> None:
        """Pauses end."""
        server.do("resume")
        for market in server.venue.markets:
            server.do("activate_market", ticker=market.spec.ticker)

    def reopen(self) -> Mapping[str, Any]:
        """As `calm`."""
        return {"action": "resume"}

    async def sweep(self, server: KalshiStandIn, chance: random.Random) -> None:
        """What we quote next crosses."""
        venue = server.venue
        open_now = [m for m in venue.markets if m.status == "active" and venue.open_of[m.place]]
        if not open_now or not venue.trading_active:
            return
        market = chance.choice(open_now)
        ticker, taker = market.spec.ticker, chance.choice(("bid", "ask"))
        side = int(taker == "bid")  # that is swept
        other = "bid" if taker == "bid" else "ask"
        server.faults.change({"frame_delay_ms": [100, 900]})
        prices = sorted(market.shown[side], reverse=taker == "ask")[:3]
        for price in prices:
            server.do("take", ticker=ticker, taker=taker, price=f"{price / 10_000:.4f}", contracts=150)
        if prices:
            at = f"{prices[-1] / 10_000:.4f}"
            server.do("level", ticker=ticker, side=other, price=at, contracts=30)
            await asyncio.sleep(4.0)
            server.do("level", ticker=ticker, side=other, price=at, contracts=0)
        server.faults.change({"frame_delay_ms": world.HOOKS["frame_delay_ms"]})

    def told(self, body: Mapping[str, Any], rows: Rows, journal: Path) -> Told:
        """Orders name ours themselves."""
        return told(body, rows)

    def said(self, server: KalshiStandIn, folder: Path) -> Mapping[str, Any]:
        """Port and key."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "key.pem"
        path.touch(0o600)
        path.write_text(server.key.pem, encoding="utf-8")
        member = f"kalshi.direct_member={str(server.venue._direct).lower()}"
        return {"port": server.port, "settings": [member], "key_id": server.key.id, "pem": str(path)}

    def environment(self, said: Mapping[str, Any]) -> dict[str, str]:
        """The key."""
        return {
            "PR3DICT_KALSHI_LOCAL_KEY_ID": said["key_id"],
            "PR3DICT_KALSHI_LOCAL_PRIVATE_KEY_FILE": said["pem"],
        }


def access_to(server: KalshiStandIn) -> KalshiAccess:
    """The way to a stand-in with its own key."""
    key = server.key
    names = {"PR3DICT_KALSHI_LOCAL_KEY_ID": key.id, "PR3DICT_KALSHI_LOCAL_PRIVATE_KEY": key.pem}
    return kalshi_access("local", url=f"http://127.0.0.1:{server.port}", environment=names)


async def _argue(server: KalshiStandIn) -> None:
    """The result of the first market is disputed, and amended before it pays."""
    market = server.venue.markets[0]
    while market.status != "determined":  # noqa: ASYNC110 - the stand-in tells nobody else
        await asyncio.sleep(1.0)
    server.do("dispute", ticker=market.spec.ticker)
    await asyncio.sleep(15.0)
    server.do("amend_result", ticker=market.spec.ticker, result="no")


SIDE: Final = KalshiSide()
