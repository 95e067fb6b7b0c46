"""Recorded messages of the real venue against the stand-in's: the same keys, values of the same format."""

import gzip
import json
import re

import pytest

from standins.kalshi import KalshiStandIn
from standins.kalshi.probe import Probe, run

T0 = "KXA-0-T0"
FORMATS = (
    ("uuid", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ("dollars4", r"-?\d+\.\d{4}"),
    ("dollars6", r"-?\d+\.\d{6}"),
    ("contracts", r"-?\d+\.\d{2}"),
    ("time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
    ("ticker", r"[A-Z0-9][A-Z0-9.-]*-[A-Z0-9.-]+"),
    ("word", r"[a-z_]*"),
)
# The recordings are of May to July 2026. What left the API since then, and what the recorders added:
GONE = {
    "ticker": {"no_ask", "no_ask_size_fp", "no_bid", "no_bid_size_fp", "yes_ask", "yes_bid"},
    "orderbook_delta": {"price_cents", "ts"},
    "market_positions": {"resting_orders_count"},
}
# What came to the API since then, or stands only in frames about our own orders:
NEWER = {
    "": {"sending_ts_ms"},
    "fill": {"client_order_id", "exchange_index"},
    "market_positions": {"exchange_index"},
}


def format_of(value):
    """The format of a value; of a list its entries', so that lengths don't matter."""
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    if isinstance(value, int):
        return "ms" if value > 10**12 else "seconds" if value > 10**9 else "int"
    if isinstance(value, list):
        return ("list", *sorted({str(format_of(each)) for each in value}))
    if isinstance(value, dict):
        return shape_of(value)
    return next((name for name, pattern in FORMATS if re.fullmatch(pattern, value)), "text")


def shape_of(body, kind=""):
    """Keys and formats of an object, without what only one of the two eras has."""
    apart = GONE.get(kind, set()) | NEWER.get(kind, set()) | NEWER[""]
    return {key: format_of(value) for key, value in body.items() if key not in apart}


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def demo_frames(data_dir):
    return list(lines(data_dir / "raw-ws-samples" / "kalshi-demo-session.jsonl.gz"))


def l2_payloads(data_dir, kind, most=3_000):
    """Native message bodies that the L2 recorder kept."""
    for path in sorted((data_dir / "kalshi-kxbtc15m-l2-a").rglob(f"{kind}*.gz")):
        for line in lines(path):
            yield line["payload_json"]
            most -= 1
            if not most:
                return


def ours():
    """One frame of the stand-in by type, and its REST answers."""
    found = {}

    async def session():
        async with KalshiStandIn(speed=0, tier="prestige") as server, Probe(server) as probe:
            wire = await probe.connect()
            await wire.send("subscribe", channels=["orderbook_delta", "trade", "ticker"], market_ticker=T0)
            await wire.send("subscribe", channels=["fill"])
            await wire.send("subscribe", 6, channels=["orderbook_delta"], market_tickers=["KXB-1-T1"])
            await probe.placed(price="0.5200", count="5.52")
            server.do("take", ticker=T0, taker="ask", price="0.4800", contracts="3")
            for frame in await wire.frames():
                found.setdefault(frame["type"], frame)
                if "client_order_id" not in frame.get("msg", {}):
                    found[frame["type"]] = frame
            found["positions"] = await probe.get("/portfolio/positions")
            found["orderbook"] = await probe.get(f"/markets/{T0}/orderbook")

    run(session())
    return found


@pytest.fixture(scope="module")
def stand_in():
    return ours()


@pytest.mark.parametrize("kind", ["subscribed", "ok", "orderbook_snapshot", "orderbook_delta", "fill"])
def test_frames_of_the_demo_exchange(data_dir, stand_in, kind):
    recorded = [frame for frame in demo_frames(data_dir) if frame["type"] == kind]
    assert recorded
    mine = stand_in[kind]
    for frame in recorded:
        assert shape_of(frame | {"msg": None}) == shape_of(mine | {"msg": None})
        body, other = shape_of(frame["msg"], kind), shape_of(mine["msg"], kind)
        assert body == other, kind


@pytest.mark.parametrize("kind", ["orderbook_snapshot", "orderbook_delta", "ticker"])
def test_bodies_of_a_production_recording(data_dir, stand_in, kind):
    mine = shape_of(stand_in[kind]["msg"], kind)
    count = 0
    for body in l2_payloads(data_dir, kind):
        assert shape_of(body, kind).items() <= mine.items(), body
        count += 1
    assert count > 10


def test_reads_of_the_demo_exchange(data_dir, stand_in):
    exchanges = list(lines(data_dir / "raw-ws-samples" / "kalshi-demo-rest.jsonl.gz"))
    books = [e for e in exchanges if e["url"].endswith("/orderbook")]
    positions = [e for e in exchanges if "/portfolio/positions" in e["url"]]
    assert books and positions
    for exchange in books:
        assert shape_of(json.loads(exchange["response_body"])) == shape_of(stand_in["orderbook"])
    body, mine = json.loads(positions[0]["response_body"]), stand_in["positions"]
    assert body.keys() == mine.keys()
    for name in ("market_positions", "event_positions"):
        for row in body[name]:
            row["ticker" if name == "market_positions" else "event_ticker"] = (
                T0  # tickers may hold any letters
            )
            assert shape_of(row, name) == shape_of(mine[name][0], name)


def test_the_numbers_of_a_recorded_session_run_as_the_stand_ins_do(data_dir):
    """`ok` and data of one subscription share one count without a hole: the rule that the stand-in keeps."""
    counts = {}
    for frame in demo_frames(data_dir):
        if "seq" in frame:
            assert frame["seq"] == counts.get(frame["sid"], 0) + 1
            counts[frame["sid"]] = frame["seq"]
    assert counts and max(counts.values()) > 2_000


def test_a_wrong_shape_is_seen(stand_in):
    body = dict(stand_in["fill"]["msg"])
    good = shape_of(body, "fill")
    assert shape_of(body | {"count_fp": "5.5"}, "fill") != good
    assert shape_of(body | {"yes_price_dollars": 52}, "fill") != good
    assert shape_of({key: value for key, value in body.items() if key != "side"}, "fill") != good
