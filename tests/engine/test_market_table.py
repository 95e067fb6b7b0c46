"""Rows of markets: they grow without moving anything, and never change their market."""

import numpy as np
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import Listed
from pr3dict.domain.market import kalshi_grid, polymarket_grid
from pr3dict.engine.market_table import MarketTable
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import live
from pr3dict.kernels.wakes import set_wake, wake_ns
from pr3dict.strategies.market_making import MarketMakingStrategy

CENTS = kalshi_grid("linear_cent")
FINE = polymarket_grid(10)


def listed(market: int, **changes) -> Listed:
    facts = {
        "market": market,
        "venue": "kalshi",
        "ticker": f"T{market}",
        "event_id": "E",
        "exclusive": False,
        "title": "",
        "grids": (CENTS,),
        "min_size": 1_000_000,
        "lot": 1_000_000,
        "fee_kind": "none",
        "nets_positions": True,
        "reduce_in_place": True,
    }
    return Listed(**{**facts, **changes})


def table(capacity: int) -> MarketTable:
    strategy = MarketMakingStrategy()
    return MarketTable(capacity, strategy.params(), strategy.rules())


def level(market: int, price: int, now_ns: int, side: int = d.BID) -> d.Array:
    row = np.zeros(1, d.EVENT)
    row["market"], row["price"], row["side"], row["kind"] = market, price, side, d.LEVEL
    row["qty"], row["exch_ns"], row["local_ns"] = 5_000_000, now_ns, now_ns
    return row


def fill(markets: MarketTable) -> None:
    """Six markets, the last on a finer grid, with a book before and after each growth."""
    spare = np.zeros(1, d.EVENT)
    for m in range(6):
        grids = (CENTS,) if m < 5 else (CENTS, FINE)
        assert markets.add(listed(m, exclusive=m % 2 == 0, grids=grids))
        for price in (4000, 4500):
            live.see(markets.world, level(m, price, 10 + m), markets.grids_of, spare)
        set_wake(markets.world.wakes, m, 1000 - m)
    markets.world.account[0].local_cash_micros = 77


def test_growing_changes_nothing_that_is_there():
    small, large = table(1), table(64)
    fill(small)
    fill(large)
    for name in ("markets", "books", "params", "fees", "orders", "quotes"):
        for m in range(6):
            ours, theirs = getattr(small.world, name)[m : m + 1], getattr(large.world, name)[m : m + 1]
            if name != "books":  # a row of grids may have another number
                assert ours.tobytes() == theirs.tobytes(), (name, m)
    for m in range(6):
        book = small.world.books[m]
        assert small.world.grids.price_of_level[book.grid, book.bid_level] == 4500
        assert wake_ns(small.world.wakes, m) == 1000 - m
    assert small.world.wakes[1] == 995
    assert small.world.siblings[:6].tolist() == large.world.siblings[:6].tolist()
    ring, m = [], 0
    for _ in range(3):
        ring.append(m)
        m = int(small.world.siblings[m])
    assert sorted(ring) == [0, 2, 4] and m == 0
    assert int(small.world.account[0].local_cash_micros) == 77


def test_a_tick_row_names_the_markets_own_grid():
    markets = table(2)
    markets.add(listed(0, grids=(FINE,)))
    markets.add(listed(1, grids=(CENTS, FINE)))
    tick = level(1, 0, 20)
    tick["kind"], tick["aux"] = d.TICK, 1
    live.see(
        markets.world, np.concatenate([level(1, 4000, 20), tick]), markets.grids_of, np.zeros(1, d.EVENT)
    )
    book = markets.world.books[1]
    assert int(book.grid) == 0
    assert markets.world.grids.price_of_level[book.grid, book.bid_level] == 4000


def test_a_snapshot_replaces_the_book():
    markets = table(1)
    markets.add(listed(0))
    spare = np.zeros(1, d.EVENT)
    live.see(markets.world, level(0, 4800, 10), markets.grids_of, spare)
    rows = np.concatenate([level(0, 4000, 20), level(0, 4200, 20), level(0, 6000, 20, d.ASK)])
    rows["kind"] = d.SNAPSHOT
    rows["bits"][0], rows["bits"][-1] = d.SNAP_FIRST, d.SNAP_LAST
    live.see(markets.world, rows, markets.grids_of, spare)
    book, prices = markets.world.books[0], markets.world.grids.price_of_level
    assert prices[book.grid, book.bid_level] == 4200
    assert prices[book.grid, book.ask_level] == 6000
    assert int((markets.world.depth[0] > 0).sum()) == 3
    assert int(markets.world.markets[0].snapshots) == 1


def test_a_row_never_changes_its_market():
    markets = table(2)
    assert markets.add(listed(0))
    assert not markets.add(listed(0))
    with pytest.raises(DataError, match="rows never change"):
        markets.add(listed(1, ticker="T0"))
    with pytest.raises(DataError, match="next free row is 1"):
        markets.add(listed(2))
