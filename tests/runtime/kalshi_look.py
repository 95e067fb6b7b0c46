"""Helpers of the tests that look at Kalshi's stand-in: its clock, and the way to it."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from venue_look import VenueClock, as_test, freeze, made, threaded

from pr3dict.runtime.kalshi_access import KalshiAccess, kalshi_access

__all__ = ["VenueClock", "access_to", "environment", "freeze", "in_thread", "lively", "with_standin"]


def environment(server) -> dict[str, str]:
    """The variables of the stand-in's key."""
    return {
        "PR3DICT_KALSHI_LOCAL_KEY_ID": server.key.id,
        "PR3DICT_KALSHI_LOCAL_PRIVATE_KEY": server.key.pem.replace("\n", "\\n"),
        "PR3DICT_CONFIG_DIR": "/nonexistent",
    }


def access_to(server, *, key: bool = True) -> KalshiAccess:
    """The way to the stand-in."""
    found = environment(server) if key else {"PR3DICT_CONFIG_DIR": "/nonexistent"}
    return kalshi_access("local", url=server.url, environment=found, key=key)


@cache
def lively():
    """Two generated markets, made once."""
    from standins.kalshi import synthetic_catalog

    return synthetic_catalog(2, hours=0.25)


def with_standin(catalog=None, *, limit_s: float = 60, **options):
    """Makes a test of a coroutine that gets a running stand-in."""
    from standins.kalshi import KalshiStandIn

    given = {"tier": "prestige", **options}
    return as_test(lambda: KalshiStandIn(made(catalog), **given), limit_s=limit_s)


def in_thread(catalog, **options):
    """A stand-in in a thread of its own, for commands that run their own event loop."""
    from standins.kalshi import KalshiStandIn

    return threaded(lambda: KalshiStandIn(catalog, **{"tier": "prestige", **options}))
