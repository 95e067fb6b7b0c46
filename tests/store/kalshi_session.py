"""Hand-made Kalshi sessions in the recorder's format."""

import gzip
import json
from pathlib import Path

TICKER = "KXBTC15M-26MAY132030-30"
CLOSE = "2026-05-14T00:30:00Z"
CLOSE_NS = 1_778_718_600_000_000_000
SECOND = 1_000_000_000


def stamp(ns: int) -> str:
    """The recorder's text of a time given relative to the close."""
    from datetime import UTC, datetime

    seconds, rest = divmod(CLOSE_NS + ns, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // 1000:06d}Z" if rest else f"{text}Z"


class Session:
    """Collects records; times are ns relative to the close, prices and sizes texts."""

    def __init__(self, folder: Path, name: str = "session_a") -> None:
        self.folder = folder / "sessions" / name
        self.name = name
        self.seq = 0
        self.files: dict[str, list[dict]] = {}
        self.watch()

    def add(self, stem, payload, *, ns=None, seq=None, ticker=TICKER, local=0):
        record = {
            "market_ticker": ticker,
            "exchange_ts": None if ns is None else stamp(ns),
            "local_recv_ns": CLOSE_NS + local,
            "sequence_number": seq,
            "payload_json": payload,
        }
        self.files.setdefault(stem, []).append(record)
        return self

    def watch(self, ticker=TICKER):
        return self.add("watch_market", {"close_time": CLOSE, "strike": 79487.86}, ticker=ticker)

    def next_seq(self, seq):
        self.seq = self.seq + 1 if seq is None else seq
        return self.seq

    def snapshot(self, yes, no, *, local, seq=None):
        book = {"yes_dollars_fp": yes, "no_dollars_fp": no} if yes or no else {}
        return self.add("orderbook_snapshot", book, seq=self.next_seq(seq), local=local)

    def delta(self, ns, side, price, change, *, seq=None, local=None):
        payload = {"side": side, "price_dollars": price, "delta_fp": change}
        local = ns - 60_000_000 if local is None else local
        return self.add("orderbook_delta", payload, ns=ns, seq=self.next_seq(seq), local=local)

    def ticker(self, ns, volume, price="0.4500", last="1.00"):
        payload = {"volume_fp": volume, "price_dollars": price, "last_trade_size_fp": last}
        return self.add("ticker", payload, ns=ns)

    def outcome(self, outcome, ticker=TICKER):
        path = self.folder.parent.parent / "markets.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"session,market_ticker,outcome,outcome_source\n{self.name},{ticker},{outcome},the venue\n"
        )
        return self

    def write(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for stem, records in self.files.items():
            self.write_lines(stem, [json.dumps(record).encode() for record in records])
        return self.folder

    def write_lines(self, stem, lines):
        path = self.folder / f"{stem}.2026-05-14T00.ndjson.gz"
        path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
        return path
