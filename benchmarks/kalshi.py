"""The way to Kalshi: bytes to decision, a new order to bytes at the other end, and pacing in a small tier.

1. `decision`: recorded messages through decoder, book, fair value, quote and diff, as in tick_to_quote.py.
2. `send`: from `KalshiWire.send` of a new order until another process has its bytes, over loopback. Request,
   JSON, signature, headers and socket are in it; with an RSA key of 2,048 bits and with an Ed25519 key.
3. `pacing`: 100 requotes a second, a new order and the cancel of the one before, against the stand-in
   exchange in the Basic tier (100 write tokens a second; an order costs 10, a cancel 2). What the budget does
   not allow is not sent; `rate_limited` counts answers of 429.

The last line printed is one JSON object, times in microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

sys.path.insert(0, str(Path(__file__).parent))

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.shell import in_loop
from pr3dict.venues.kalshi.account_models import AccountLimits, BucketTerms
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire
from pr3dict.venues.kalshi.budget import BASIC, Budget
from pr3dict.venues.kalshi.http import KalshiHttp
from pr3dict.venues.kalshi.markets import Life, life_of, listed
from pr3dict.venues.kalshi.numbers import Count
from pr3dict.venues.kalshi.rest import KalshiRest
from pr3dict.venues.kalshi.sign import Signer
from recorded_messages import kalshi_feed
from tick_to_quote import WARM_SHARE, measure_kalshi, percentiles, summary

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = 1_000_000
WARM = 200  # orders that are not measured
REQUOTES_A_SECOND = 100
RICH = AccountLimits(
    usage_tier="prestige",
    read=BucketTerms(refill_rate=Count(1_000_000), bucket_capacity=Count(1_000_000)),
    write=BucketTerms(refill_rate=Count(1_000_000), bucket_capacity=Count(1_000_000)),
)
CREATED = b'{"order_id":"o-1","fill_count":"0.00","remaining_count":"1.00","ts_ms":1795355184001}'
ANSWER = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(CREATED)
    + CREATED
)


class WallClock:
    """This machine's time."""

    def now_ns(self) -> int:
        """Ns UTC."""
        return time.time_ns()

    async def sleep(self, span_ns: int) -> None:
        """Wait."""
        await asyncio.sleep(span_ns / 1e9)


class Ear:
    """A sink that counts events and lets one wait for the answer to an order."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.accepted: list[int] = []
        self.answered = asyncio.Event()

    def put_rows(self, rows: d.Array) -> None:
        """Market data are not looked at."""

    def push(self, event: e.Control) -> None:
        """Count it."""
        self.counts[type(event).__name__] += 1
        if isinstance(event, e.Accepted):
            self.accepted.append(event.order_id)
        if isinstance(event, e.Accepted | e.NotSent | e.Refused | e.AnswerLost):
            self.answered.set()


def place(number: int, price: int = 4000) -> c.Place:
    """A new order of one contract."""
    return c.Place(order_id=number, market=0, side=BID, price=price, size=CONTRACT, tif=d.POST_ONLY)


# --- the other end ------------------------------------------------------------------------------------


def receive() -> None:
    """Take one connection's requests, answer each, and print when each had arrived."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    arrived: list[int] = []
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting = b""
    while part := connection.recv(65_536):
        now_ns = time.monotonic_ns()
        waiting += part
        head, end, body = waiting.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            continue
        waiting = body[_length(head) :]
        arrived.append(now_ns)
        connection.sendall(ANSWER)
    print(json.dumps(arrived), flush=True)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@contextmanager
def child(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process of Python that ends with the block; finds the stand-in."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def said(process: subprocess.Popen[str]) -> Any:
    """The next line of a child, as JSON."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a process of the benchmark ended at once")
    return json.loads(line)


# --- a new order to bytes ---------------------------------------------------------------------------


def new_pem(kind: str) -> str:
    """A fresh private key."""
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa_2048":
        key = rsa.generate_private_key(65_537, 2_048)
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


async def send_orders(port: int, kind: str, lives: list[Life], orders: int) -> list[int]:
    """When each order was handed to the wire, one after another."""
    clock, ear = WallClock(), Ear()
    budget = Budget(clock.now_ns(), RICH)
    url = f"http://127.0.0.1:{port}/trade-api/v2"
    http = KalshiHttp(url, Signer("benchmark", new_pem(kind)), clock, budget)
    wire = KalshiWire(http, None, ear, clock, lives, AdapterTerms(prefix="bench"))
    began: list[int] = []
    try:
        for number in range(1, WARM + orders + 1):
            ear.answered.clear()
            began.append(time.monotonic_ns())
            wire.send(0, [place(number)])
            await ear.answered.wait()
    finally:
        await wire.close()
    if ear.counts["Accepted"] != WARM + orders:
        raise SystemExit(f"orders were not accepted: {dict(ear.counts)}")
    return began


def measure_send(lives: list[Life], orders: int) -> dict[str, Any]:
    """Microseconds from `send` to the bytes at the other end, for each kind of key."""
    found: dict[str, Any] = {"orders": orders}
    for kind in ("rsa_2048", "ed25519"):
        with child(__file__, "--receive") as process:
            began = in_loop(send_orders(int(said(process)), kind, lives, orders))
            arrived = said(process)
        spent = np.array(arrived, np.int64) - np.array(began, np.int64)
        found[kind] = percentiles(spent[WARM:])
    return found


# --- pacing -----------------------------------------------------------------------------------------


async def lives_of(rest: KalshiRest, now_ns: int) -> list[Life]:
    """The stand-in's markets."""
    found = []
    for row, market in enumerate(await rest.markets()):
        event = await rest.event(market.event_ticker)
        series = await rest.series(event.series_ticker)
        told = listed(market, event, series, row=row, at_ns=now_ns, direct_member=True)
        found.append(life_of(told, market, event.exchange_index))
    return found


async def requote(
    server: dict[str, str], signer: Signer, seconds: float
) -> tuple[list[Life], dict[str, int]]:
    """Requotes at a steady pace; the markets, and what came of them."""
    clock, ear = WallClock(), Ear()
    http = KalshiHttp(server["rest"], signer, clock, Budget(clock.now_ns()), answer_s=120.0)
    lives = await lives_of(KalshiRest(http), clock.now_ns())
    wire = KalshiWire(http, None, ear, clock, lives, AdapterTerms(prefix="bench"))
    try:
        await wire.start()
        if http.budget.limits.write != BASIC.write:
            raise SystemExit("the stand-in does not serve the Basic tier")
        await asyncio.sleep(1.0)
        wire.send(0, [place(1)])  # the first order loads what the exchange compiled
        await ear.answered.wait()
        ear.counts.clear()
        began = time.monotonic()
        count = round(seconds * REQUOTES_A_SECOND)
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / REQUOTES_A_SECOND - time.monotonic()))
            cancels = [c.Cancel(order_id=order_id, market=0) for order_id in ear.accepted]
            ear.accepted.clear()
            wire.send(0, [*cancels, place(number + 2, 3900 + number % 100 // 50 * 100)])
        took_s = time.monotonic() - began
        await asyncio.sleep(2.0)  # what waits for the budget
        figures = wire.figures()
    finally:
        await wire.close()
    counts = ear.counts
    return lives, {
        "requotes": count,
        "requotes_per_s": round(count / took_s),
        "placed": counts["Accepted"],
        "cancelled": counts["Closed"],
        "held_back": counts["NotSent"],
        "refused": counts["Refused"] + counts["RequestRefused"],
        "lost": counts["AnswerLost"],
        "rate_limited": figures["rate_limited"],
    }


def measure_pacing(keys: Path, seconds: float) -> tuple[list[Life], dict[str, int]]:
    """Against a stand-in of its own."""
    with child("-m", "standins.kalshi", "--tier", "basic", "--keys", str(keys)) as process:
        server = said(process)
        pem = Path(server["ed25519_pem"]).read_text(encoding="utf-8")
        return in_loop(requote(server, Signer(server["ed25519_key_id"], pem), seconds))


def measure_decision(data: Path, most: int) -> dict[str, float] | None:
    """Bytes to decision; None without recordings."""
    folder = data / "kalshi-kxbtc15m-l2-a"
    if not folder.is_dir():
        print(f"no recordings at {folder}: name their folder with --data or PR3DICT_DATA", file=sys.stderr)
        return None
    spent, world = measure_kalshi(kalshi_feed(folder, most))
    return summary(spent[len(spent) // WARM_SHARE :], world)


def main() -> None:
    """Print the measurement as one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("PR3DICT_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of recordings")
    parser.add_argument("--messages", type=int, default=100_000, help="most recorded messages")
    parser.add_argument("--orders", type=int, default=3_000, help="measured, for each kind of key")
    parser.add_argument("--seconds", type=float, default=10.0, help="of requotes")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.receive:
        receive()
        return
    with tempfile.TemporaryDirectory() as keys:
        lives, pacing = measure_pacing(Path(keys), arguments.seconds)
    send = measure_send(lives, arguments.orders)
    decision = measure_decision(arguments.data, arguments.messages)
    print(json.dumps({"decision": decision, "send": send, "pacing": pacing}))


if __name__ == "__main__":
    main()
