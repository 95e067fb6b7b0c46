"""Rows a second and peak memory of importing one generated hour of the pmxt archive.

Prints one JSON object as its last line. The hour is generated (seeded, synthetic): thousands of markets of
very unequal size, both tokens of each, 97% level changes, with full books, trades and tick changes between.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
CENT = 100  # prices in 1/10,000 dollar
CONTRACT = 1_000_000  # sizes in 1/1,000,000 contract
DEPTH = 30  # levels a side that makers use
BOOK_SHARE = 0.01
TRADE_SHARE = 0.018
TICK_SHARE = 0.05  # of the markets
BOOK, CHANGE, TRADE, TICK = range(4)
KINDS = pa.array(["book", "price_change", "last_trade_price", "tick_size_change"])
SIDES = pa.array(["BUY", "SELL"])
GROUP_ROWS = 1 << 20
SAMPLE_ROWS = 1 << 17
Array = npt.NDArray[Any]


class Rows(NamedTuple):
    """One token's rows of a market, in order of time. Prices and sizes are integers, -1: none."""

    received: Array
    time: Array
    kind: Array
    side: Array
    price: Array
    size: Array
    best_bid: Array
    best_ask: Array
    bids: list[str]  # of the books only
    asks: list[str]


def _changes(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array, Array]:
    """(side, price, size, centre) of level changes around a walking price; the book never crosses.

    Bids rest below the centre and asks above it. When it moves by a cent, the level that it moves onto is
    removed.
    """
    moves = rng.random(n) < 0.01
    step = np.where(moves, rng.choice((-1, 1), n), 0)
    centre = int(rng.integers(10, 91)) + np.cumsum(step)
    period = 2 * (90 - 10)  # reflect between 10 and 90 cents
    centre = 10 + np.abs((centre - 10 + period // 2) % period - period // 2)
    step = np.diff(centre, prepend=centre[0])
    side = rng.integers(0, 2, n)
    distance = 1 + np.minimum(rng.geometric(0.15, n) - 1, DEPTH - 1)
    round_sizes = rng.choice(np.array([5, 10, 20, 25, 50, 100, 200, 500, 1000]), n) * 100
    size = np.where(rng.random(n) < 0.5, round_sizes, rng.integers(100, 300_000, n))  # cents of a contract
    size = np.where(rng.random(n) < 0.35, 0, size)
    price = np.where(side == 0, centre - distance, centre + distance)
    moved = step != 0
    side = np.where(moved, np.where(step > 0, 1, 0), side)
    price = np.where(moved, centre, price)
    size = np.where(moved, 0, size)
    fine = (price > 0) & (price < 100)
    size = np.where(fine, size, 0)
    return side, np.clip(price, 1, 99) * CENT, size * (CONTRACT // 100), centre


def _print_decreases(kind: Array, side: Array, price: Array, size: Array) -> None:
    """Let a trade tell what the change right before it took from its level, where it took something."""
    changes = np.flatnonzero(kind == CHANGE)
    level = side[changes] * 100 + price[changes] // CENT
    order = np.argsort(level, kind="stable")
    before = np.zeros(len(kind), np.int64)
    again = np.diff(level[order], prepend=-1) == 0
    before[changes[order[again]]] = size[changes[order[np.flatnonzero(again) - 1]]]
    trades = np.flatnonzero(kind == TRADE)
    size[trades] = np.maximum(size[trades], CONTRACT)
    trades = trades[(kind[trades - 1] == CHANGE) & (before[trades - 1] > size[trades - 1])]
    side[trades] = 1 - side[trades - 1]
    price[trades] = price[trades - 1]
    size[trades] = before[trades - 1] - size[trades - 1]


def _text(depth: Array, side: int) -> str:
    """One side of a book as the archive writes it, best last."""
    prices = np.flatnonzero(depth[side])
    if side == 1:
        prices = prices[::-1]
    return json.dumps(
        [[f"{p / 100:.2f}", f"{depth[side, p] / 100:.2f}".rstrip("0").rstrip(".")] for p in prices.tolist()],
        separators=(",", ":"),
    )


def _token_rows(rng: np.random.Generator, n: int) -> Rows:
    """The YES token's rows of a market: a full book first, then changes with books and trades between."""
    side, price, size, centre = _changes(rng, n)
    kind = np.full(n, CHANGE)
    draw = rng.random(n)
    kind[draw < BOOK_SHARE] = BOOK
    kind[(draw >= BOOK_SHARE) & (draw < BOOK_SHARE + TRADE_SHARE)] = TRADE
    kind[np.diff(centre, prepend=centre[0]) != 0] = CHANGE  # a moving centre must reach the book
    kind[0] = BOOK
    if n > 50 and rng.random() < TICK_SHARE:
        kind[n - 1] = TICK
    time_ms = np.sort(rng.integers(0, HOUR_MS, n)) + START_MS
    depth = np.zeros((2, 100), np.int64)
    for distance in range(1, DEPTH):
        for s, p in ((0, int(centre[0]) - distance), (1, int(centre[0]) + distance)):
            if 0 < p < 100:
                depth[s, p] = int(rng.integers(100, 100_000))
    bids: list[str] = []
    asks: list[str] = []
    last = 0
    changes = kind == CHANGE
    for at in np.flatnonzero(kind == BOOK).tolist():
        span = np.flatnonzero(changes[last:at]) + last
        depth[side[span], price[span] // CENT] = size[span] // (CONTRACT // 100)
        bids.append(_text(depth, 0))
        asks.append(_text(depth, 1))
        last = at
    _print_decreases(kind, side, price, size)
    return Rows(
        time_ms + rng.integers(20, 60),
        time_ms,
        kind,
        side,
        price,
        size,
        (centre - 1) * CENT,
        (centre + 1) * CENT,
        bids,
        asks,
    )


def _mirrored(rows: Rows) -> Rows:
    """The other token's rows: the same book seen from NO, without the trades, which only one token prints."""
    keep = rows.kind != TRADE

    def turned(text: str) -> str:
        levels = [[f"{1 - float(price):.2f}", size] for price, size in json.loads(text)]
        return json.dumps(levels, separators=(",", ":"))

    return Rows(
        rows.received[keep],
        rows.time[keep],
        rows.kind[keep],
        1 - rows.side[keep],
        10_000 - rows.price[keep],
        rows.size[keep],
        10_000 - rows.best_ask[keep],
        10_000 - rows.best_bid[keep],
        [turned(text) for text in rows.asks],
        [turned(text) for text in rows.bids],
    )


def _masked(values: Array, valid: Array, kind: pa.DataType) -> pa.Array:
    return pa.array(values, type=kind, mask=~valid)


def _decimals(values: Array, valid: Array, kind: pa.DataType) -> pa.Array:
    """Integers in units of the last place as 128-bit decimals."""
    words = np.zeros((len(values), 2), np.int64)
    words[:, 0] = values
    bits = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(words)])


def _book_texts(is_book: Array, texts: list[str]) -> pa.Array:
    places = np.zeros(len(is_book), np.int32)
    places[is_book] = np.arange(len(texts))
    return pa.array(texts, pa.string()).take(pa.array(places, mask=~is_book))


def _table(market: str, asset: str, rows: Rows, rng: np.random.Generator) -> pa.Table:
    n = len(rows.kind)
    book, trade, tick = (rows.kind == kind for kind in (BOOK, TRADE, TICK))
    change = rows.kind == CHANGE
    priced = change | trade
    time_type, price_type = pa.timestamp("ms", tz="UTC"), pa.decimal128(9, 4)
    hashes = [f"0x{value:064x}" for value in rng.integers(0, 2**63, int(trade.sum()))]
    return pa.table(
        {
            "timestamp_received": pa.array(rows.received, time_type),
            "timestamp": pa.array(rows.time, time_type),
            "market": pa.array([market.encode()] * n, pa.binary(66)),
            "event_type": KINDS.take(pa.array(rows.kind)),
            "asset_id": pa.array([asset] * n, pa.string()),
            "bids": _book_texts(book, rows.bids),
            "asks": _book_texts(book, rows.asks),
            "price": _decimals(rows.price, priced, price_type),
            "size": _decimals(rows.size, priced, pa.decimal128(18, 6)),
            "side": SIDES.take(_masked(rows.side, priced, pa.int32())),
            "best_bid": _decimals(rows.best_bid, change, price_type),
            "best_ask": _decimals(rows.best_ask, change, price_type),
            "fee_rate_bps": _masked(np.zeros(n), trade, pa.uint16()),
            "transaction_hash": _book_texts(trade, hashes),
            "old_tick_size": _decimals(np.full(n, 100), tick, price_type),
            "new_tick_size": _decimals(np.full(n, 10), tick, price_type),
        }
    )


def _market_tables(rng: np.random.Generator, market: str, n: int) -> list[pa.Table]:
    """Both tokens of one market; about `n` rows."""
    yes = _token_rows(rng, max(n // 2, 2))
    assets = sorted(
        str(int(rng.integers(1, 9))) + "".join(map(str, rng.integers(0, 10, 76))) for _ in range(2)
    )
    return [
        _table(market, asset, rows, rng) for asset, rows in zip(assets, (yes, _mirrored(yes)), strict=True)
    ]


def generate(path: Path, megabytes: float, seed: int, compression: str, markets: int) -> int:
    """Write an hour of about `megabytes`; returns its rows."""
    rng = np.random.default_rng(seed)
    sample_rows = int(min(SAMPLE_ROWS, 1_000 + 5_000 * megabytes))
    samples = [_market_tables(rng, "0x" + "0" * 64, sample_rows) for _ in range(8)]
    sample = pa.concat_tables([table for tables in samples for table in tables])
    sink = pa.BufferOutputStream()
    pq.write_table(sample, sink, compression=compression)
    row_bytes = sink.getvalue().size / sample.num_rows
    shares = rng.pareto(1.1, markets) + 0.02
    shares = np.minimum(shares / shares.sum(), 0.03)  # the busiest market is at most 3% of the hour
    sizes = (megabytes * 1e6 / row_bytes * shares / shares.sum()).astype(int)
    rows = 0
    waiting: list[pa.Table] = []
    held = 0
    with pq.ParquetWriter(path, sample.schema, compression=compression) as writer:
        for i, n in enumerate(sizes.tolist()):
            market = f"0x{i:08x}" + "".join(f"{byte:02x}" for byte in rng.bytes(28))
            for table in _market_tables(rng, market, n):
                waiting.append(table)
                held += table.num_rows
                rows += table.num_rows
            if held >= GROUP_ROWS or i == len(sizes) - 1:
                writer.write_table(pa.concat_tables(waiting), row_group_size=GROUP_ROWS)
                waiting, held = [], 0
    return rows


# --- the import -----------------------------------------------------------------------------------

CHILD = """
import resource, sys, time
from pathlib import Path
from pr3dict.store.importers import get_importer, import_recordings, report_json
import json
began = time.perf_counter()
written = import_recordings(get_importer("pmxt"), [Path(sys.argv[1])], Path(sys.argv[2]))
elapsed = time.perf_counter() - began
report = report_json(written)
usage = resource.getrusage(resource.RUSAGE_SELF)
facts = {key: report[key] for key in ("events", "trades", "markets", "snapshots_checked", "snapshots_equal")}
facts["mirror_checked"] = report["details"]["mirror_checked"]
facts["mirror_equal"] = report["details"]["mirror_equal"]
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
cpu = usage.ru_utime + usage.ru_stime
figures = {"tapes": len(written), "elapsed_s": elapsed, "cpu_s": cpu, "peak_rss_bytes": peak}
print(json.dumps(figures | facts))
"""


def import_file(path: Path, out: Path) -> dict[str, Any]:
    """Import the file in a process of its own, whose memory and time are measured."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(out)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=300.0, help="size of the file (default 300)")
    parser.add_argument("--markets", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compression", choices=("zstd", "snappy"), default="zstd")
    parser.add_argument("--file", type=Path, help="keep the generated file here, and use it when it exists")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "generated_hour.parquet"
        if not path.exists():
            began = time.perf_counter()
            # In a process of its own: a child's peak memory can't be below its parent's at the start.
            wanted = (path, options.megabytes, options.seed, options.compression, options.markets)
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                pool.submit(generate, *wanted).result()
            print(f"generated {path.stat().st_size:,} bytes in {time.perf_counter() - began:.0f} s")
        warm = Path(folder) / "warm.parquet"  # compiles or loads what the measured import calls
        generate(warm, 0.05, options.seed, options.compression, 3)
        import_file(warm, Path(folder) / "warm")
        rows, size = pq.read_metadata(path).num_rows, path.stat().st_size
        facts = import_file(path, Path(folder) / "tapes")
    speeds = {"rows_per_s": rows / facts["elapsed_s"], "rows_per_cpu_s": rows / facts["cpu_s"]}
    result = {"rows": rows, "file_bytes": size, **{name: round(speed) for name, speed in speeds.items()}}
    print(json.dumps(result | facts))


if __name__ == "__main__":
    main()
