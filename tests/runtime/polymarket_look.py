"""Helpers of the tests that look at Polymarket's stand-in: its clock, and the way to it."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from venue_look import VenueClock, as_test, freeze, made, threaded

from pr3dict.runtime.polymarket_access import PolymarketAccess, polymarket_access

__all__ = ["VenueClock", "access_to", "environment", "freeze", "in_thread", "lively", "with_standin"]

NOBODY = {"PR3DICT_CONFIG_DIR": "/nonexistent"}


def environment(server, **more: str) -> dict[str, str]:
    """The variables of the stand-in's wallet."""
    return {"PR3DICT_POLYMARKET_LOCAL_WALLET_KEY": server.private_key, **NOBODY, **more}


def access_to(server, *, key: bool = False) -> PolymarketAccess:
    """The way to the stand-in."""
    found = environment(server) if key else NOBODY
    return polymarket_access("local", url=server.url, environment=found, key=key)


@cache
def lively():
    """Two generated markets, made once."""
    from standins.polymarket import synthetic_catalog

    return synthetic_catalog(2, hours=0.25)


def with_standin(catalog=None, *, limit_s: float = 60, **options):
    """Makes a test of a coroutine that gets a running stand-in."""
    from standins.polymarket import PolymarketStandIn

    return as_test(lambda: PolymarketStandIn(made(catalog), **options), limit_s=limit_s)


def in_thread(catalog, **options):
    """A stand-in in a thread of its own, for commands that run their own event loop."""
    from standins.polymarket import PolymarketStandIn

    return threaded(lambda: PolymarketStandIn(catalog, **options))
