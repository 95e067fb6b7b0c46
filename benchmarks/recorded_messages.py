"""Recorded market data as the WebSocket frames that a live process receives.

Kalshi's recordings keep each frame's `msg`; the frame is put together again around it. Polymarket's MLB
recordings keep one row a level, so a change becomes today's `price_change` frame, which tells both tokens.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

NS_PER_MS = 1_000_000


class Frame(NamedTuple):
    """One message: the bytes and when they were received."""

    raw: bytes
    local_ns: int


class Feed(NamedTuple):
    """Frames of several markets in order, and the last time seen of each market, by its name."""

    frames: list[Frame]
    last_ns: dict[str, int]


def _encode(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _records(session: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for kind in ("orderbook_snapshot", "orderbook_delta", "ticker"):
        for path in sorted(session.glob(f"{kind}.*")):
            with gzip.open(path) as lines:
                records += [json.loads(line) for line in lines]
    # The book channel is in order by its sequence number; the ticker has none and follows the clock.
    records.sort(key=lambda r: (r["local_recv_ns"], r["sequence_number"] or 0))
    return records


def kalshi_feed(folder: Path, most: int) -> Feed:
    """Up to `most` frames of a `kalshi-kxbtc15m-l2` folder; a market appears in one session only."""
    frames: list[Frame] = []
    last_ns: dict[str, int] = {}
    for session in sorted((folder / "sessions").iterdir()):
        if len(frames) >= most:
            break
        records = _records(session)
        fresh = {r["market_ticker"] for r in records} - last_ns.keys()
        for r in records:
            if r["market_ticker"] not in fresh:
                continue
            body = {"sid": 1, "seq": r["sequence_number"], "msg": r["payload_json"]}
            if r["event_type"] == "ticker":
                body = {"sid": 2, "msg": r["payload_json"]}
            frames.append(Frame(_encode({"type": r["event_type"], **body}), r["local_recv_ns"]))
            last_ns[r["market_ticker"]] = r["local_recv_ns"]
    return Feed(frames[:most], last_ns)


def _text(price: int) -> str:
    """A price of 1/10,000 dollar as the venue writes it."""
    return f"{price / 10_000:.4f}".rstrip("0").rstrip(".") or "0"


class _Levels:
    """The YES book of a game by price in 1/10,000 dollar: what the touch is after each row."""

    def __init__(self) -> None:
        self._sides: tuple[dict[int, float], dict[int, float]] = ({}, {})

    def clear(self) -> None:
        for side in self._sides:
            side.clear()

    def set(self, row: dict[str, str]) -> None:
        side, price = self._sides[row["side"] in ("ask", "SELL")], round(float(row["price"]) * 10_000)
        side[price] = float(row["size"])
        if not side[price]:
            del side[price]

    def touch(self) -> tuple[int, int]:
        """Best bid and ask; 0 and 10,000 where there is none."""
        return max(self._sides[0], default=0), min(self._sides[1], default=10_000)


def _price_change(row: dict[str, str], yes: str, no: str, touch: tuple[int, int]) -> Frame:
    buys = row["side"] in ("bid", "BUY")
    size = row["size"].removesuffix(".0")
    price = round(float(row["price"]) * 10_000)
    words = ("BUY", "SELL") if buys else ("SELL", "BUY")
    bid, ask = touch
    changes = [
        {
            "asset_id": asset,
            "price": _text(at),
            "size": size,
            "side": word,
            "hash": row["hash"],
            "best_bid": _text(low),
            "best_ask": _text(high),
        }
        for asset, at, word, low, high in (
            (yes, price, words[0], bid, ask),
            (no, 10_000 - price, words[1], 10_000 - ask, 10_000 - bid),
        )
    ]
    message = {
        "market": f"0x{row['asset_id'][:64]}",
        "price_changes": changes,
        "timestamp": row["timestamp"],
        "event_type": "price_change",
    }
    return Frame(_encode(message), int(row["timestamp"]) * NS_PER_MS)


def _book(rows: list[dict[str, str]]) -> Frame:
    def side(words: tuple[str, ...]) -> list[dict[str, str]]:
        return [{"price": r["price"], "size": r["size"]} for r in rows if r["side"] in words]

    first = rows[0]
    message = {
        "market": f"0x{first['asset_id'][:64]}",
        "asset_id": first["asset_id"],
        "timestamp": first["timestamp"],
        "hash": first["hash"],
        "bids": side(("bid", "BUY")),
        "asks": side(("ask", "SELL")),
        "event_type": "book",
    }
    return Frame(_encode(message), int(first["timestamp"]) * NS_PER_MS)


def _game(path: Path) -> Iterator[tuple[str, str, Frame]]:
    """Frames of one game with the ids of its tokens, of which the first seen counts as YES."""
    with gzip.open(path, "rt", newline="") as lines:
        rows = [r for r in csv.DictReader(lines) if (r["timestamp"] or "").isdecimal()]
    tokens = list(dict.fromkeys(r["asset_id"] for r in rows))
    if len(tokens) != 2:
        return
    yes, no = tokens
    rows = [r for r in rows if r["asset_id"] == yes]
    levels = _Levels()
    for (kind, _, _), group in groupby(rows, key=lambda r: (r["event_type"], r["timestamp"], r["hash"])):
        if kind == "book":
            listed = list(group)
            levels.clear()
            for row in listed:
                levels.set(row)
            yield yes, no, _book(listed)
        else:
            for row in group:
                levels.set(row)
                yield yes, no, _price_change(row, yes, no, levels.touch())


def polymarket_feed(folder: Path, most: int) -> tuple[Feed, list[tuple[str, str]]]:
    """Up to `most` frames of the games in a `polymarket-mlb-l2` folder, and each game's (YES, NO) token."""
    frames: list[Frame] = []
    last_ns: dict[str, int] = {}
    tokens: dict[str, str] = {}
    for path in sorted((folder / "events").glob("*.csv.gz")):
        earlier = set(tokens)  # of some games there are two recordings: one will do
        for yes, no, frame in _game(path):
            if len(frames) >= most or yes in earlier:
                break
            frames.append(frame)
            last_ns[yes] = frame.local_ns
            tokens[yes] = no
    return Feed(frames, last_ns), list(tokens.items())
