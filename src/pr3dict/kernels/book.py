"""The dense order book: one array cell a price level and side, best levels kept up to date.

Depth arrays have shape (2 sides, levels) in micro-contracts; the level map of the market's price grid
(`world.Grids`) leads from price to level. Reading the best price and the size at a price is O(1).
"""

from __future__ import annotations

from pr3dict.domain.units import MICROS_PER_PRICE_UNIT
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.dtypes import ASK, BID
from pr3dict.kernels.jit import kernel
from pr3dict.kernels.world import Grids, IntArray

OFF_GRID = -1


@kernel
def set_level(book: d.Row, depth: IntArray, level_count: int, side: int, level: int, size: int) -> int:
    """Make the resting size at (side, level) `size`; returns the size before."""
    old = depth[side, level]
    depth[side, level] = size
    if side == BID:
        if size > 0:
            if level > book.bid_level:
                book.bid_level = level
        elif level == book.bid_level:
            best = level - 1
            while best >= 0 and depth[BID, best] == 0:
                best -= 1
            book.bid_level = best
    elif size > 0:
        if level < book.ask_level:
            book.ask_level = level
    elif level == book.ask_level:
        best = level + 1
        while best < level_count and depth[ASK, best] == 0:
            best += 1
        book.ask_level = best
    return old


@kernel
def levels_behind(book: d.Row, side: int, level: int) -> int:
    """Levels by which `level` lies behind its side's best one; negative: before it, or the side is empty.

    Free of branches: a replay asks this of every event, and which side is next can't be predicted.
    """
    best = int(book.bid_level) + side * (int(book.ask_level) - int(book.bid_level))
    return (1 - 2 * side) * (best - level)


@kernel
def best_bid(book: d.Row, grids: Grids) -> int:
    """Best bid price, -1 when there are no bids."""
    if book.bid_level < 0:
        return -1
    return int(grids.price_of_level[book.grid, book.bid_level])


@kernel
def best_ask(book: d.Row, grids: Grids) -> int:
    """Best ask price, -1 when there are no asks."""
    if book.ask_level >= grids.level_count[book.grid]:
        return -1
    return int(grids.price_of_level[book.grid, book.ask_level])


@kernel
def mid_micros(book: d.Array, grids: Grids) -> int:
    """Exact middle of the touch in micros; -1 when a side is empty or the book is crossed or locked."""
    bid = best_bid(book, grids)
    ask = best_ask(book, grids)
    if bid < 0 or ask < 0 or bid >= ask:
        return -1
    return (bid + ask) * (MICROS_PER_PRICE_UNIT // 2)


@kernel
def level_at_or_inside(grids: Grids, grid: int, side: int, price: int) -> int:
    """Level of `price`, or of the next valid price away from the other side (bid down, ask up)."""
    step = -1 if side == BID else 1
    p = price
    while 0 < p < 10_000:
        level = grids.level_of_price[grid, p]
        if level >= 0:
            return int(level)
        p += step
    return 0 if side == BID else int(grids.level_count[grid]) - 1


@kernel
def move_levels(depth: IntArray, spare: IntArray, grids: Grids, old_grid: int, new_grid: int) -> None:
    """Move the size of every level of one market to another price grid; `spare` (levels,) is work space.

    A price that the new grid does not have goes to the next one away from the other side, so a coarser
    grid never crosses the book and loses no size.
    """
    count = int(grids.level_count[old_grid])
    for side in range(2):
        for level in range(count):
            spare[level] = depth[side, level]
            depth[side, level] = 0
        for level in range(count):
            if spare[level] > 0:
                price = int(grids.price_of_level[old_grid, level])
                depth[side, level_at_or_inside(grids, new_grid, side, price)] += spare[level]


@kernel
def change_grid(book: d.Row, depth: IntArray, spare: IntArray, grids: Grids, grid: int) -> None:
    """Put a book on another price grid, carrying everything over; `spare` is (levels,) work space."""
    if grid == book.grid:
        return
    move_levels(depth, spare, grids, book.grid, grid)
    book.grid = grid
    rescan_best(book, depth, grids)


@kernel
def rescan_best(book: d.Row, depth: IntArray, grids: Grids) -> None:
    """Find both best levels from scratch."""
    count = int(grids.level_count[book.grid])
    level = count - 1
    while level >= 0 and depth[BID, level] == 0:
        level -= 1
    book.bid_level = level
    level = 0
    while level < count and depth[ASK, level] == 0:
        level += 1
    book.ask_level = level
