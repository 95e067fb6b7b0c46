"""Helpers of the tests that look at the stand-in: its clock, and the way to it."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pr3dict.runtime.kalshi_access import KalshiAccess, kalshi_access

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)  # so that `standins.*` is found


class VenueClock:
    """The stand-in's time, which may run faster than ours."""

    def __init__(self, server) -> None:
        self._server = server

    def now_ns(self) -> int:
        return self._server.now_ns()

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9 / (self._server.speed or 1.0))


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

    def make(body):
        def test():
            async def all_of_it():
                made = catalog() if callable(catalog) else catalog
                async with KalshiStandIn(made, **{"tier": "prestige", **options}) as server:
                    await body(server)

            asyncio.run(asyncio.wait_for(all_of_it(), limit_s))

        test.__name__, test.__doc__ = body.__name__, body.__doc__
        return test

    return make


def freeze(server) -> None:
    """Venue time stands still from now on."""
    server._manual_ns = server.now_ns()
    server.speed = 0.0


@contextmanager
def in_thread(catalog, **options):
    """A stand-in in a thread of its own, for commands that run their own event loop."""
    from standins.kalshi import KalshiStandIn

    loop, ready, over, servers = asyncio.new_event_loop(), threading.Event(), [], []

    async def serve() -> None:
        over.append(asyncio.Event())
        async with KalshiStandIn(catalog, **{"tier": "prestige", **options}) as server:
            servers.append(server)
            ready.set()
            await over[0].wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(120), "the stand-in did not come up"
    try:
        yield servers[0]
    finally:
        loop.call_soon_threadsafe(over[0].set)
        thread.join(10)
        loop.close()
