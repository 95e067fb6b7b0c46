"""What the tests that look at a stand-in share, whichever venue it stands in for."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

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


def as_test(open_server, *, limit_s: float = 60):
    """Makes a test of a coroutine that gets a running stand-in, which `open_server` makes."""

    def make(body):
        def test():
            async def all_of_it():
                async with open_server() as server:
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
def threaded(open_server):
    """A stand-in in a thread of its own, for commands that run their own event loop."""
    loop, ready, over, servers = asyncio.new_event_loop(), threading.Event(), [], []

    async def serve() -> None:
        over.append(asyncio.Event())
        async with open_server() as server:
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


def made(catalog):
    """A catalog, which may be given as a function that makes it."""
    return catalog() if callable(catalog) else catalog
