"""The dense book against a dict of levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import book as bk
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import make_grids

# Cents, tenths of a cent at the ends as on Kalshi, Polymarket's finest in the middle, and a coarse one.
CENTS = tuple(range(100, 10_000, 100))
TAPERED = tuple(sorted({*range(10, 1_000, 10), *range(1_000, 9_000, 100), *range(9_000, 10_000, 10)}))
FINE = tuple(range(4_900, 5_101))
COARSE = (2_500, 5_000, 7_500)
GRIDS = (CENTS, TAPERED, FINE, COARSE)
MAPS = make_grids(GRIDS)
SPARE = np.zeros(MAPS.price_of_level.shape[1], np.int64)

sizes = st.just(0) | st.integers(1, 10**12)
levels = st.tuples(st.just("level"), st.integers(0, 1), st.integers(0, 10_000), sizes)
ticks = st.tuples(st.just("tick"), st.integers(0, len(GRIDS) - 1), st.just(0), st.just(0))
# Prices close together, so that the best level is removed and found again all the time.
touches = st.tuples(st.just("level"), st.integers(0, 1), st.integers(0, 6), sizes)
steps = st.lists(levels | touches | touches | ticks, max_size=60)


def empty_book(grid=0):
    book = np.zeros(1, d.BOOK)[0]
    book.grid, book.bid_level, book.ask_level = grid, -1, len(GRIDS[grid])
    return book, np.zeros((2, MAPS.price_of_level.shape[1]), np.int64)


def put(book, depth, side, price, size):
    grid = int(book.grid)
    level = int(MAPS.level_of_price[grid, price])
    return int(bk.set_level(book, depth, len(GRIDS[grid]), side, level, size))


def outward(grid, side, price):
    """The valid price at `price` or further from the other side; at the grid's edge, the edge."""
    if side == d.BID:
        return max((p for p in GRIDS[grid] if p <= price), default=GRIDS[grid][0])
    return min((p for p in GRIDS[grid] if p >= price), default=GRIDS[grid][-1])


def best(levels_of_side, side):
    prices = [price for price, size in levels_of_side.items() if size > 0]
    if not prices:
        return -1
    return max(prices) if side == d.BID else min(prices)


def check(book, depth, grid, sides):
    assert bk.best_bid(book, MAPS) == best(sides[0], d.BID)
    assert bk.best_ask(book, MAPS) == best(sides[1], d.ASK)
    for side in (d.BID, d.ASK):
        want = [sides[side].get(price, 0) for price in GRIDS[grid]]
        assert depth[side, : len(want)].tolist() == want
        assert not depth[side, len(want) :].any()
    bid, ask = best(sides[0], d.BID), best(sides[1], d.ASK)
    mid = (bid + ask) * 50 if 0 <= bid < ask else -1
    assert bk.mid_micros(book, MAPS) == mid


@given(steps)
def test_equals_a_dict_of_levels(operations):
    book, depth = empty_book()
    sides = ({}, {})
    grid = 0
    for name, first, price, size in operations:
        if name == "tick":
            grid = first
            if grid != book.grid:
                for side in (d.BID, d.ASK):
                    moved = {}
                    for p, held in sides[side].items():
                        moved[outward(grid, side, p)] = moved.get(outward(grid, side, p), 0) + held
                    sides[side].clear()
                    sides[side].update(moved)
            bk.change_grid(book, depth, SPARE, MAPS, grid)
        else:
            if price not in GRIDS[grid]:
                price = GRIDS[grid][(len(GRIDS[grid]) // 2 + price) % len(GRIDS[grid])]
            assert put(book, depth, first, price, size) == sides[first].get(price, 0)
            sides[first][price] = size
        check(book, depth, grid, sides)


@given(
    st.dictionaries(st.sampled_from(TAPERED), st.integers(1, 10**9), max_size=12),
    st.sampled_from(TAPERED),
    st.integers(0, len(GRIDS) - 1),
)
def test_a_new_grid_never_crosses_the_book_and_keeps_its_size(resting, middle, grid):
    book, depth = empty_book(1)
    for price, size in resting.items():
        put(book, depth, d.BID if price < middle else d.ASK, price, size)
    before = depth.sum(axis=1).tolist()
    bk.change_grid(book, depth, SPARE, MAPS, grid)
    assert depth.sum(axis=1).tolist() == before
    bid, ask = bk.best_bid(book, MAPS), bk.best_ask(book, MAPS)
    assert bid < 0 or ask < 0 or bid <= ask
    # It locks only at an edge, where nothing lies further out.
    assert bid != ask or bid < 0 or bid in (GRIDS[grid][0], GRIDS[grid][-1])


def test_back_on_the_same_prices_nothing_has_changed():
    book, depth = empty_book(0)
    for side, price, size in ((d.BID, 4_900, 5), (d.BID, 4_800, 7), (d.ASK, 5_100, 9)):
        put(book, depth, side, price, size)
    before = depth.copy()
    bk.change_grid(book, depth, SPARE, MAPS, 1)
    assert bk.best_bid(book, MAPS) == 4_900 and bk.best_ask(book, MAPS) == 5_100
    bk.change_grid(book, depth, SPARE, MAPS, 0)
    assert (depth == before).all()


@pytest.mark.parametrize("side", [d.BID, d.ASK])
def test_the_middle_of_a_locked_or_one_sided_book_is_none(side):
    book, depth = empty_book(0)
    put(book, depth, side, 5_000, 1)
    assert bk.mid_micros(book, MAPS) == -1
    put(book, depth, 1 - side, 5_000, 1)
    assert bk.mid_micros(book, MAPS) == -1
