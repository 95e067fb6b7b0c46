"""The screen of a process: everything in its place on 80 and on 120 columns, for any status."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pr3dict.cli import screen


def market(row: int, **other: Any) -> dict[str, Any]:
    return {
        "market": row,
        "ticker": f"KXTEST-26SEP01-M{row}",
        "title": "",
        "venue": "kalshi",
        "status": "active",
        "fair": "0.4961",
        "uncertainty": "0.005",
        "bid": "0.47",
        "bid_size": "10",
        "ask": "0.525",
        "ask_size": "8.25",
        "best_bid": "0.48",
        "best_ask": "0.52",
        "state": "normal",
        "reasons": [],
        "quote_age_s": 1.2,
        "net_position": "10",
        "gross_position": "10",
        "open_orders": 2,
        "holds": [],
        "fills": 12,
        "pnl": "1.2345",
        "settled": None,
    } | other


def status(*markets: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "mode": "paper",
        "account": "paper",
        "version": "0.1.0",
        "now": "2026-09-01T03:04:05.123Z",
        "uptime_s": 12.5,
        "equity": "10012.34",
        "cash": "9876.5",
        "pnl": {"total": "12.34", "day": "-3.2"},
        "heat": "412.1",
        "heat_limit": "2500",
        "daily_loss": "3.2",
        "daily_loss_limit": "500",
        "markets": list(markets),
        "orders": [],
        "fills": [],
        "fill_count": 0,
        "breakers": [],
        "latch": None,
        "journal": {"steps": 12_345},
        "rates": {"messages_per_s": None},
        "alerts": [],
    } | other


def fill(ticker: str, **other: Any) -> dict[str, Any]:
    return {
        "time": "2026-09-01T03:04:01Z",
        "ticker": ticker,
        "side": "bid",
        "price": "0.47",
        "size": "10",
        "fee": "0",
        "maker": True,
        "final": True,
    } | other


def drawn(view: dict[str, Any], width: int) -> list[str]:
    paper = io.StringIO()
    Console(width=width, force_terminal=False, file=paper).print(screen.screen(view, width))
    return [line.rstrip() for line in paper.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_every_market_is_one_whole_row(width):
    lines = drawn(status(*[market(row) for row in range(10)]), width)
    assert max(map(len, lines)) <= width
    for row in range(10):
        (line,) = [line for line in lines if f"-M{row} " in line]
        for cell in ("0.496", "10@0.47", "8.25@0.525", "+10", "12", "+$1.23", "normal"):
            assert cell in line.split()
        assert ("0.48" in line.split()) == (width == 120)
    text = "\n".join(lines)
    assert "$10,012.34" in text
    assert "+$12.34" in text
    assert "(16%)" in text  # 412.10 of 2,500


@pytest.mark.parametrize("width", [80, 120])
def test_markets_that_paid_long_ago_are_one_row(width):
    past = {"markets": 1_980, "fills": 6_400, "fees": "12", "pnl": "-45.6"}
    lines = drawn(status(market(0), past=past), width)
    (row,) = [line for line in lines if "1,980 more" in line]
    assert [word for word in row.replace("|", " ").split() if any(c.isalnum() for c in word)][2:] == [
        "6,400", "-$45.60", "paid",
    ]  # fmt: skip
    assert len(lines) == len(drawn(status(market(0)), width)) + 1
    assert not any("more" in line for line in drawn(status(market(0), past={"markets": 0}), width))


def test_what_is_wrong_stands_below():
    view = status(
        market(0, holds=["feed_stale"]),
        market(1, bid=None, ask=None, reasons=["low_liquidity"]),
        market(2, status="settled", settled="1"),
        market(3, status="paused"),
        latch={"reason": "operator", "text": "news [soon]"},
        breakers=[{"breaker": "fill_burst", "ticker": None, "text": "11 fills in 1 s"}],
        alerts=[
            {"name": "inventory_high", "ticker": None, "severity": "high", "text": "net above the threshold"}
        ],
        fills=[fill("KXTEST-26SEP01-M1"), fill("KXTEST-26SEP01-M2", side="ask", maker=False, final=False)],
    )
    text = "\n".join(drawn(view, 80))
    for words in (
        "feed stale", "low liquidity", "paid 1.00", "paused",
        "HALTED (operator): news [soon]", "fill_burst (all markets): 11 fills in 1 s",
        "high net above the threshold", "bought", "taker provisional",
    ):  # fmt: skip
        assert words in text
    assert text.index("sold") < text.index("bought")  # newest first


def test_nothing_is_said_twice():
    text = "2 drifts in 300 s"
    view = status(
        market(0),
        latch={"reason": "drift", "text": text},
        breakers=[{"breaker": "drift", "ticker": None, "text": text}],
        alerts=[{"name": "drift", "ticker": None, "severity": "critical", "text": text}],
    )
    assert "\n".join(drawn(view, 120)).count(text) == 1


@pytest.mark.parametrize(("height", "fills"), [(19, 0), (21, 2), (24, 5), (30, 5), (50, 5)])
def test_a_view_fits_its_terminal(height, fills):
    view = status(*[market(row) for row in range(10)], fills=[fill("KXTEST-26SEP01-M0")] * 9)
    paper = io.StringIO()
    notes = ["a note"]
    Console(width=80, file=paper).print(screen.screen(view, 80, notes, height))
    lines = paper.getvalue().splitlines()
    assert len(lines) < height
    assert sum("bought" in line for line in lines) == fills


def test_a_live_view_keeps_its_height():
    heights = {
        len(drawn(status(market(0), fills=[fill("KXTEST-26SEP01-M0")] * count), 80)) for count in range(8)
    }
    assert len(heights) == 1


@given(st.lists(st.text("ab-", min_size=1, max_size=30), min_size=1, max_size=5), st.integers(4, 30))
def test_short_names_fit_and_are_never_empty_of_meaning(tickers, width):
    names = screen.short_names(tickers, width)
    assert len(names) == len(tickers)
    for name, ticker in zip(names, tickers, strict=True):
        assert len(name) <= width
        assert name or ticker.endswith("-")
        if "\u2026" not in name:
            assert ticker.endswith(name)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.04, "0.0 s"), (59.6, "60 s"), (600, "10 min"), (7200, "2.0 h")],
)
def test_spans(seconds, words):
    assert screen.span(seconds) == words
