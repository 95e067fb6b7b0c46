"""The status of a process: exact decimals that add up, and nothing that JSON can't say."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from paper_runs import shared_run

from pr3dict.domain.market import MarketStatus
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.paper_result import seen_part
from pr3dict.runtime.status import MARKET_STATUS, SHOWN_OVER, moment, status_of


@pytest.fixture(scope="module")
def status():
    return json.loads(msgspec.json.encode(status_of(shared_run().engine.view())))


def test_money_adds_up(status):
    def of(name: str) -> Decimal:
        return Decimal(status[name])

    pnl = status["pnl"]
    assert Decimal(pnl["total"]) == of("equity") - of("opening_cash") != 0
    assert sum(Decimal(market["pnl"]) for market in status["markets"]) == Decimal(pnl["total"])
    assert sum(map(Decimal, pnl["by_cause"].values())) == Decimal(pnl["total"])
    assert of("daily_loss") == max(-Decimal(pnl["day"]), 0)
    assert 0 < of("heat") < of("heat_limit")


def test_orders_and_fills_are_counted_where_they_stand(status):
    view = shared_run().engine.view()
    assert len(status["orders"]) == view.open_orders == sum(m["open_orders"] for m in status["markets"]) > 0
    assert status["fill_count"] == sum(m["fills"] for m in status["markets"]) > 0
    for order in status["orders"]:
        (market,) = [m for m in status["markets"] if m["ticker"] == order["ticker"]]
        best = market["bid" if order["side"] == "bid" else "ask"]
        assert (Decimal(order["price"]) <= Decimal(best)) == (
            order["side"] == "bid" or order["price"] == best
        )


def test_every_market_status_has_its_word():
    codes = {
        "initialized": d.INITIALIZED, "active": d.ACTIVE, "paused": d.PAUSED, "closed": d.CLOSED,
        "determined": d.DETERMINED, "settled": d.SETTLED, "post_only": d.POST_ONLY_MODE,
        "restarting": d.RESTARTING, "disputed": MarketStatus.DISPUTED, "amended": MarketStatus.AMENDED,
    }  # fmt: skip
    assert len(codes) == len(MarketStatus)
    assert {word: code for code, word in enumerate(MARKET_STATUS)} == codes


@pytest.mark.parametrize(
    ("at_ns", "words"),
    [(0, None), (-1, None), (1_788_220_800_123_999_999, "2026-09-01T00:00:00.123Z")],
)
def test_moments(at_ns, words):
    assert moment(at_ns) == words


def test_the_seen_part_of_a_tape_closes_what_it_cuts():
    tapes = shared_run().tapes
    until_ns = shared_run().until_ns
    part = seen_part(tapes, until_ns)
    kept = int((tapes.events["local_ns"] <= until_ns).sum())
    assert np.array_equal(part.events[:kept], tapes.events[:kept])
    ends = part.events[kept:]
    assert ends["kind"].tolist() == [d.STATUS] * 2
    assert ends["aux"].tolist() == [d.CLOSED] * 2
    assert sorted(ends["market"].tolist()) == [0, 1]
    assert max(part.last_ns) <= until_ns
    assert seen_part(tapes, 2**62) is tapes


@pytest.mark.parametrize(
    ("account", "mode", "env"),
    [
        ("paper", "paper", None),
        ("exchange 127.0.0.1:7070", "paper", None),
        ("kalshi demo 1a2b3c4d", "live", "demo"),
        ("kalshi prod 1a2b3c4d", "live", "prod"),
        ("somewhere", "live", None),
    ],
)
def test_real_money_is_told_by_the_account(account, mode, env):
    view = msgspec.structs.replace(shared_run().engine.view(), account=account)
    found = status_of(view)
    assert (found["mode"], found["env"], found["adapters"]) == (mode, env, {})


def test_markets_that_paid_long_ago_are_summed_up():
    """Of those that paid, and in which nothing is held, the newest are shown; money still adds up."""
    view = shared_run().engine.view()
    first = view.markets[0]
    flat = {"yes_contracts": 0, "no_contracts": 0, "orders": (), "holds": ()}
    paid = {"status": MarketStatus.SETTLED, "value_micros": 0, "cost_micros": -5_000_000, **flat}
    gone = [
        msgspec.structs.replace(first, market=n, ticker=f"OLD-{n}", fees_micros=1_000, fills=2, **paid)
        for n in range(SHOWN_OVER + 3)
    ]
    held = msgspec.structs.replace(gone[0], market=SHOWN_OVER + 3, ticker="HELD", yes_contracts=1_000_000)
    markets = (*gone, held, msgspec.structs.replace(first, market=SHOWN_OVER + 4))
    found = status_of(msgspec.structs.replace(view, markets=markets, alerts=(("fill_rate_low", 1),)))
    shown = [market["market"] for market in found["markets"]]
    assert shown == list(range(3, SHOWN_OVER + 5))
    assert found["past"] == {"markets": 3, "fills": 6, "fees": "0.003", "pnl": "14.997"}
    assert found["fill_count"] == sum(m["fills"] for m in found["markets"]) + found["past"]["fills"]
    assert found["alerts"][0]["ticker"] == "OLD-1"  # known though it is not shown
    assert status_of(view)["past"]["markets"] == 0
