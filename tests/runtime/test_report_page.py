"""The report: every section, the result's numbers, hostile names as text, nothing from outside."""

from __future__ import annotations

import json
import re
from functools import cache

import msgspec
import numpy as np
import pytest

from pr3dict.runtime.backtest import run_backtest
from pr3dict.runtime.observer import POINTS
from pr3dict.runtime.report_page import PANELS, report_page
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.tape import Tape
from pr3dict.strategies.presets import build_config

SECTIONS = [
    "What this rests on", "Profit and loss by cause", "Equity and drawdown",
    "Price, our quotes and our fills", "Inventory", "Spread quoted against the market",
    "What fills were worth as time went on",
    "Fill quality by place in the queue", "Markets", "Settings",
]  # fmt: skip
HOSTILE = "<script>alert(1)</script>&\"'"


@cache
def result(*, ticker: str = "", queue: str = "power3", preset: str = "default"):
    tapes = []
    for regime in ("wide_spread", "deep_book", "short_dated"):
        tape = synthetic_market(3, regime)
        meta = msgspec.structs.replace(tape.meta, ticker=ticker + tape.meta.ticker)
        tapes.append(Tape(tape.events.copy(), meta))
    spec = make_spec(build_config(preset), preset=preset, cash_micros=10**10, queue=queue)
    return run_backtest(merge(tapes, latency_ns=50_000_000), spec, points=POINTS)


@cache
def page(**given) -> str:
    return report_page(result(**given), title="A title", command="pr3dict backtest 'a b'")


def figures(text: str) -> dict:
    return json.loads(re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)[1])


def visible(text: str) -> str:
    body = re.search(r"<main>(.*?)</main>", text, re.DOTALL)[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_every_section_stands_in_order_and_assumptions_come_first():
    assert re.findall(r"<h2>(.*?)</h2>", page()) == SECTIONS
    shown = visible(page())
    for sentence in result().assumptions:
        assert sentence in shown.replace("&#x27;", "'").replace("&amp;", "&")
    assert shown.index("Generated data") < shown.index("What this rests on")
    assert "pr3dict backtest &#x27;a b&#x27;" in shown


def test_the_numbers_are_the_result_s():
    answer, drawn, shown = result().to_json(), figures(page()), visible(page())
    ladder = drawn["ladder"][0]["data"][0]["x"]
    assert ladder[-1] == pytest.approx(float(answer["pnl"]["net"]), abs=1e-6)
    assert sum(ladder[:-1]) == pytest.approx(ladder[-1], abs=1e-6)
    equity, fall = (trace["y"] for trace in drawn["equity"][0]["data"])
    assert (equity[0], equity[-1]) == (float(answer["equity_start"]), float(answer["equity_end"]))
    assert -min(fall) == pytest.approx(float(answer["max_drawdown"]), abs=1e-6)
    for horizon, value in zip(answer["markouts"], drawn["markouts"][0]["data"][0]["y"][1:], strict=True):
        assert value == pytest.approx(100 * float(answer["markouts"][horizon]), abs=1e-3)
    assert f"{answer['fills']:,} fills" in shown
    net = float(answer["pnl"]["net"])
    assert f"{'+' if net > 0 else chr(0x2212)}${abs(net):,.2f}" in shown
    assert len(drawn["queues"][0]["data"]) == 3
    for end in ("pessimistic", "optimistic"):
        assert f"{abs(float(answer[end]['net'])):,.2f}" in shown


def test_every_fill_is_drawn_in_its_market():
    drawn = figures(page())["price"]
    assert len(drawn) == len(np.unique(result().fills["market"])) <= PANELS
    marks = [trace for panel in drawn for trace in panel["data"] if "markers" in trace["mode"]]
    assert sum(len(trace["x"]) for trace in marks) == len(result().fills)


def test_a_hostile_ticker_is_text():
    text = page(ticker=HOSTILE)
    assert text.count("<script") == 3
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;" in text


def test_nothing_is_loaded_from_elsewhere():
    body = re.sub(r"<script>.*?</script>", "", page(), flags=re.DOTALL)
    assert not re.search(r"""(?:src|href|srcset|action)\s*=|url\(|@import|https?://""", body)
    assert len(page().encode()) < 7_000_000


def test_the_same_result_is_the_same_page():
    assert report_page(result(), title="A title", command="pr3dict backtest 'a b'") == page()


def test_the_chosen_end_of_the_bracket_is_named_once():
    shown = visible(page(queue="risk-averse"))
    assert "pessimistic: risk-averse (chosen)" in shown
    assert len(figures(page(queue="risk-averse"))["queues"][0]["data"]) == 2


def test_settings_that_differ_are_listed_and_no_others():
    assert "Every setting is the default." in visible(page())
    conservative = visible(page(preset="conservative"))
    assert re.search(r"base_spread \$ of a \$1 contract 0\.06 0\.04", conservative)
    assert "requote_threshold" not in conservative


def test_a_backtest_without_a_fill_has_its_page_too():
    tape = synthetic_market(3, "short_dated")
    spec = make_spec(build_config("default"), preset="default", cash_micros=10**10)
    none = run_backtest(merge([tape], latency_ns=50_000_000), spec, points=POINTS)
    text = report_page(none, title="Nothing", command="pr3dict demo")
    assert none.report.total.count("fills") == 0
    shown = visible(text)
    assert "No market was filled" in shown
    assert "Not quoted: 1 of 1 markets" in shown
    assert "min_time_to_resolution is 30 min" in shown
    assert "nan" not in shown.lower().replace("finance", "")
