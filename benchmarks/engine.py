"""The whole trading process on a recorded feed: socket, decoder, inbox, engine, gate, journal, tape, status.

A feeder in another process sends recorded Kalshi frames over loopback; the process under test reads them
with the product's decoder, inbox, shell and recorder, and trades against a venue that accepts every order and
fills none. Time is the recording's, so decisions are those of real hours whatever the speed; time-outs of the
engine are set wide. Three questions:

- how many messages a second, from bytes to decisions, with journal and tape on;
- a burst of 100,000 a second for ten seconds in a stream of 5,000: how soon it has caught up, and whether the
  books are right in the end (rebuilt from the same frames by themselves);
- an hour of the recording at full speed: whether memory stays flat.

The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog

sys.path.insert(0, str(Path(__file__).parent))

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.engine.engine import Engine
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.clock import EngineTime, SystemClock
from pr3dict.runtime.inbox import Inbox, LiveSource
from pr3dict.runtime.paper import load_brain
from pr3dict.runtime.shell import Shell, ShellParts, ShellSettings
from pr3dict.runtime.trader import Trader
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.latch import LatchFile
from pr3dict.store.lease import Lease
from pr3dict.store.mailbox import Mailbox
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.market_making import MarketMakingStrategy
from pr3dict.strategies.presets import preset
from pr3dict.venues.kalshi.decode import KalshiDecoder
from recorded_messages import Feed, kalshi_feed

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = 1_000_000
CASH = 10_000_000_000
SECOND = 1_000_000_000
MARK = ord("#")  # a line of the feeder's own: when it was sent, and how many frames were before it
MARK_EVERY = 1_000
CAUGHT_UP_S = 0.1


# --- the feeder ---------------------------------------------------------------------------------------


def feed_process(port: int, frames: list[bytes], plan: Sequence[tuple[float, int]]) -> None:
    """Send frames by `plan`: (messages a second, 0: as fast as they are read; how many), round and round."""
    import socket

    with socket.create_connection(("127.0.0.1", port)) as link:
        sent = 0
        for rate, count in plan:
            began, first = time.perf_counter(), sent
            while sent < first + count:
                chunk = frames[
                    sent % len(frames) : sent % len(frames) + min(MARK_EVERY, first + count - sent)
                ]
                if rate:
                    ahead = (sent - first) / rate - (time.perf_counter() - began)
                    if ahead > 0:
                        time.sleep(ahead)
                sent += len(chunk)
                mark = b"#%d %d\n" % (time.monotonic_ns(), sent)
                link.sendall(b"\n".join(chunk) + b"\n" + mark)
        link.shutdown(socket.SHUT_WR)
        link.recv(1)


# --- the process under test -----------------------------------------------------------------------------


class FeedClock:
    """The time of the last frame received, so that the recording's hours pass."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def wall_ns(self) -> int:
        """The recording's time."""
        return self.now_ns

    def monotonic_ns(self) -> int:
        """As `wall_ns`."""
        return self.now_ns


class AcceptingWire:
    """A venue that takes every order at once, cancels at once and fills nothing."""

    def __init__(self, source_of: list[LiveSource]) -> None:
        self._sources = source_of
        self.orders = 0
        self._open: set[int] = set()

    def send(self, now_ns: int, commands: Sequence[c.Action]) -> None:
        """Answer each command."""
        push = self._sources[0].push
        for command in commands:
            match command:
                case c.Place():
                    self.orders += 1
                    self._open.add(command.order_id)
                    push(e.Sent(order_id=command.order_id))
                    push(e.Accepted(order_id=command.order_id, venue_id=f"v{command.order_id}"))
                case c.Cancel(order_id=order_id):
                    if order_id in self._open:
                        self._open.discard(order_id)
                        push(e.Closed(order_id=order_id, why="none", filled=0))
                    else:
                        push(e.RequestRefused(order_id=order_id, request="cancel", why="unknown_order"))
                case c.Reduce():
                    push(e.Reduced(order_id=command.order_id, remaining=command.remaining))
                case c.ReadOrders():
                    push(e.OrdersRead(venue="kalshi", asked_ns=now_ns, as_of_ns=now_ns + 1, orders=()))
                case c.ReadFills():
                    push(e.FillsRead(venue="kalshi", asked_ns=now_ns, as_of_ns=now_ns + 1,
                                     since_ns=command.since_ns, fills=()))  # fmt: skip
                case c.ReadPositions():
                    push(e.PositionsRead(venue="kalshi", asked_ns=now_ns, as_of_ns=now_ns + 1, positions=()))
                case c.ReadBalance():
                    push(
                        e.BalanceRead(venue="kalshi", asked_ns=now_ns, as_of_ns=now_ns + 1, cash_micros=CASH)
                    )
                case _:
                    pass

    async def close(self) -> None:
        """Nothing to give back."""


class FeedReader(asyncio.Protocol):
    """Lines to rows; remembers how late each of the feeder's marks was read."""

    def __init__(self, source: LiveSource, decoder: KalshiDecoder, out: d.Array, run: Run) -> None:
        self._source, self._decoder, self._out, self._run = source, decoder, out, run
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._run.transport = transport

    def data_received(self, data: bytes) -> None:
        """Decode every whole line."""
        run, decode, out = self._run, self._decoder.decode, self._out
        put, times = self._source.put_rows, run.times_ns
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line[0] == MARK:
                sent_ns, count = line[1:].split()
                run.marks.append((int(sent_ns), time.monotonic_ns(), int(count)))
                continue
            turn, place = divmod(run.received, len(times))
            run.clock.now_ns = times[place] + turn * run.span_ns
            rows = decode(line, run.clock.now_ns)
            if rows:
                put(out[:rows])
            run.received += 1
        backlog = len(self._source.inbox)
        run.most_waiting = max(run.most_waiting, backlog)
        if backlog > run.pause_above:  # a reader slows its socket down before it drops anything
            run.hold()

    def eof_received(self) -> bool:
        """The feeder is done."""
        run = self._run
        run.ended = True
        return True


class Run:
    """What a reader and the measurement share."""

    def __init__(self, feed: Feed, clock: FeedClock, *, pause_above: int) -> None:
        self.times_ns = [frame.local_ns for frame in feed.frames]
        self.span_ns = self.times_ns[-1] - self.times_ns[0] + SECOND
        self.clock = clock
        self.pause_above = pause_above
        self.received = 0
        self.ended = False
        self.most_waiting = 0
        self.marks: list[tuple[int, int, int]] = []
        self.transport: Any = None
        self.held = False

    def hold(self) -> None:
        """Read no more until the inbox is empty."""
        self.transport.pause_reading()
        self.held = True

    def look(self, inbox: Inbox) -> None:
        """Read on once the engine has caught up."""
        if self.held and len(inbox) < self.pause_above // 4:
            self.held = False
            self.transport.resume_reading()


def listings(feed: Feed) -> list[e.Listed]:
    """The markets of a feed, which all end a day after the last frame."""
    end_ns = feed.frames[-1].local_ns + 86_400 * SECOND
    return [
        e.Listed(
            market=m, venue="kalshi", ticker=ticker, event_id=ticker, exclusive=False, title=ticker,
            grids=(kalshi_grid("linear_cent"),), min_size=CONTRACT, lot=CONTRACT, fee_kind="none",
            nets_positions=True, reduce_in_place=True, close_ns=end_ns, resolution_ns=end_ns,
        )
        for m, ticker in enumerate(feed.last_ns)
    ]  # fmt: skip


def rss_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def books_of(engine: Engine) -> np.ndarray:
    """Depth of every market as the engine has it."""
    return engine.world.depth[: len(engine.listings)].copy()


class Bench:
    """One run of the process; `go` returns its figures."""

    def __init__(self, feed: Feed, folder: Path, *, pause_above: int) -> None:
        self.feed = feed
        config = preset("short_dated").with_changes(max_time_to_resolution=168, max_quote_age_seconds=5)
        wide = {
            "answer_timeout_seconds": 600,
            "reconcile_interval_seconds": 3600,
            "feed_timeout_seconds": 3600,
        }
        self.engine = Engine(RiskConfig(max_churn=0, **wide))
        self.engine.register_strategy(MarketMakingStrategy(config=config))
        self.clock = FeedClock(feed.frames[0].local_ns)
        self.run = Run(feed, self.clock, pause_above=pause_above)
        data_dir = DataDir.of(folder)
        data_dir.create()
        sources: list[LiveSource] = []
        self.wire = AcceptingWire(sources)
        self.markets = listings(feed)
        venues = {listing.market: listing.venue for listing in self.markets}
        self.source = LiveSource(Inbox(), EngineTime(self.clock), {"kalshi": self.wire}, venues)
        sources.append(self.source)
        self.journal = Journal.open(data_dir.journal)
        self.recorder = Recorder(data_dir.tapes / "bench")
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        self.parts = ShellParts(
            engine=self.engine,
            trader=Trader(self.engine, venues=["kalshi"]),
            source=self.source,
            journal=self.journal,
            tape=self.recorder,
            operators=Mailbox(data_dir.mailbox),
            latch=LatchFile(data_dir.latch),
            lease=Lease.take(data_dir, "", now_ns=1, state=folder / "state"),
            clock=SystemClock(),
            log=structlog.get_logger(),
            status_path=data_dir.status,
            session="bench",
        )
        started = e.Started(version="bench", account="bench", settings="{}", cash_micros=CASH)
        self.parts.trader.pending += (started, *self.markets, e.FeedUp(venue="kalshi"))
        self.out = np.zeros(32_768, d.EVENT)
        self.decoder = KalshiDecoder({x.ticker: x.market for x in self.markets}, self.out)
        self.figures: dict[str, Any] = {}

    async def go(self, plan: Sequence[tuple[float, int]], *, sample_s: float = 0.05) -> dict[str, Any]:
        """Run the shell and the feeder to the end of the plan."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: FeedReader(self.source, self.decoder, self.out, self.run), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        shell = Shell(self.parts, ShellSettings())
        trading = loop.create_task(shell.run())
        frames = [frame.raw for frame in self.feed.frames]
        feeder = multiprocessing.get_context("fork").Process(target=feed_process, args=(port, frames, plan))
        feeder.start()
        while self.run.received == 0:  # noqa: ASYNC110 - a wait of milliseconds, once
            await asyncio.sleep(0.001)
        began, cpu = time.perf_counter(), time.process_time()
        memory: list[tuple[int, float]] = []
        while not (self.run.ended and not self.source.inbox):
            await asyncio.sleep(sample_s)
            self.run.look(self.source.inbox)
            memory.append((self.run.received, rss_mib()))
        elapsed, used = time.perf_counter() - began, time.process_time() - cpu
        self.run.transport.close()
        server.close()
        shell.stop("done")
        code = await trading
        feeder.join(10)
        inbox = self.source.inbox
        return {
            "messages": self.run.received,
            "messages_per_s": round(self.run.received / elapsed),
            "cpu_share": round(used / elapsed, 3),
            "messages_per_cpu_s": round(self.run.received / used),
            "rows": self.engine.brain.rows_seen,
            "steps": self.engine.number,
            "orders": self.wire.orders,
            "dropped_rows": inbox.dropped_rows,
            "most_waiting": self.run.most_waiting,
            "exit_code": code,
            "memory": memory,
        }


def right_books(feed: Feed, markets: list[e.Listed], messages: int) -> np.ndarray:
    """The books after `messages` frames, by decoder and nothing else."""
    out = np.zeros(32_768, d.EVENT)
    decoder = KalshiDecoder({x.ticker: x.market for x in markets}, out)
    depth = np.zeros((len(markets), 2, 10_001), np.int64)
    for i in range(messages):
        frame = feed.frames[i % len(feed.frames)]
        for row in out[: decoder.decode(frame.raw, frame.local_ns)]:
            if row["kind"] == d.SNAPSHOT:
                if row["bits"] & d.SNAP_FIRST:
                    depth[row["market"]] = 0
                if row["price"]:
                    depth[row["market"], row["side"], row["price"]] = row["qty"]
            elif row["kind"] == d.LEVEL:
                depth[row["market"], row["side"], row["price"]] = row["qty"]
    return depth[:, :, 100:10_000:100]


def catch_up_s(marks: list[tuple[int, int, int]], burst_end: int) -> float:
    """From the last message of the burst sent to the first mark after it that was read in time."""
    sent_ns = next(sent for sent, _, count in marks if count >= burst_end)
    for sent, read, count in marks:
        if count >= burst_end and (read - sent) / SECOND <= CAUGHT_UP_S:
            return (read - sent_ns) / SECOND
    return float("inf")


def main() -> None:
    """Parse, run the three, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PR3DICT_DATA", shared)))
    parser.add_argument("--messages", type=int, default=600_000)
    parser.add_argument("--burst", type=int, default=1_000_000, help="messages at 100,000 a second")
    parser.add_argument("--hours", type=float, default=1.0, help="of recording for the memory test")
    given = parser.parse_args()
    folder = given.data / "kalshi-kxbtc15m-l2-b"
    if not folder.is_dir():
        raise SystemExit(f"no recording at {folder}: set PR3DICT_DATA to the folder of recordings")
    feed = kalshi_feed(folder, given.messages)
    load_brain()
    result: dict[str, Any] = {"benchmark": "engine", "feed": len(feed.frames), "markets": len(feed.last_ns)}
    for name, work in (("throughput", throughput), ("burst", burst), ("memory", memory)):
        print(f"{name}...", flush=True)
        result[name] = work(feed, given)
        print(json.dumps(result[name]), flush=True)
    print(json.dumps(result))


def throughput(feed: Feed, _: argparse.Namespace) -> dict[str, Any]:
    """As fast as it goes; the reader slows the feeder down."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(feed, Path(folder), pause_above=20_000)
        found = asyncio.run(bench.go([(0, len(feed.frames))]))
        found.pop("memory")
        return found


def burst(feed: Feed, given: argparse.Namespace) -> dict[str, Any]:
    """5,000 a second, 100,000 a second for ten seconds, 5,000 again."""
    plan = [(5_000, 15_000), (100_000, given.burst), (5_000, 60_000)]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(feed, Path(folder), pause_above=1 << 17)
        found = asyncio.run(bench.go(plan))
        found.pop("memory")
        depth = books_of(bench.engine)
        right = right_books(feed, bench.markets, found["messages"])
        found["caught_up_after_s"] = round(catch_up_s(bench.run.marks, 15_000 + given.burst), 3)
        found["books_right"] = bool((depth == right[:, :, : depth.shape[2]]).all())
        return found


def memory(feed: Feed, given: argparse.Namespace) -> dict[str, Any]:
    """An hour of the recording; growth of resident memory after the first tenth."""
    end_ns = feed.frames[0].local_ns + round(given.hours * 3600) * SECOND
    span_ns = feed.frames[-1].local_ns - feed.frames[0].local_ns
    share = (end_ns - feed.frames[0].local_ns) / span_ns
    count = round(len(feed.frames) * share)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(feed, Path(folder), pause_above=20_000)
        found = asyncio.run(bench.go([(0, count)]))
        samples = found.pop("memory")
        settled = [mib for at, mib in samples if at >= count / 10]
        found["mib_first"], found["mib_last"] = round(settled[0], 1), round(settled[-1], 1)
        found["growth"] = round(settled[-1] / settled[0] - 1, 4)
        found["recorded_hours"] = given.hours
        return found


if __name__ == "__main__":
    main()
