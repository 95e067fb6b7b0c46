"""The arrays of a simulated exchange: before its first event, and with more markets than before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from pr3dict.domain.events import Listed
from pr3dict.domain.market import PriceGrid
from pr3dict.engine.market_table import fee_row, market_row
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import exchange_run
from pr3dict.kernels.world import World, make_grids, new_world

_ROWS: Final = (
    "fees", "markets", "exchange_books", "exchange_orders", "active", "holdings", "stats",
)  # fmt: skip
_LEVELS: Final = ("exchange_depth", "consumed", "watched")


def open_world(
    listings: Sequence[Listed], rules: d.Array, cash_micros: int
) -> tuple[World, dict[PriceGrid, int]]:
    """A world whose markets are open and have no book yet, and the row of each price grid."""
    grid_rows: dict[PriceGrid, int] = {}
    for listing in listings:
        for grid in listing.grids:
            grid_rows.setdefault(grid, len(grid_rows))
    rules = rules.copy()
    rules["entry_ns"] = rules["response_ns"] = 0  # who carries the messages adds what that takes
    world = new_world(
        make_grids([grid.prices() for grid in grid_rows] or [(1,)]),
        np.zeros(len(listings), d.PARAMS),
        np.concatenate([np.zeros(0, d.FEE), *(fee_row(listing) for listing in listings)]),
        np.concatenate([np.zeros(0, d.MARKET), *(market_row(listing) for listing in listings)]),
        grid_of_market=[grid_rows[listing.grids[0]] for listing in listings],
        rules=rules,
        cash_micros=cash_micros,
        fill_capacity=1 << 12,
        curve_capacity=0,
    )
    exchange_run.begin(world)
    return world, grid_rows


def grow_world(world: World, listings: Sequence[Listed]) -> tuple[World, dict[PriceGrid, int]]:
    """The same exchange with the markets that follow its own in `listings`; old grids keep their rows.

    No report may wait in it: rings are not taken over, their cursors are.
    """
    grown, grid_rows = open_world(listings, world.rules, 0)
    count, width = world.exchange_depth.shape[0], world.exchange_depth.shape[2]
    for name in _ROWS:
        getattr(grown, name)[:count] = getattr(world, name)
    for name in _LEVELS:
        getattr(grown, name)[:count, :, :width] = getattr(world, name)
    for name in ("account", "clock"):
        getattr(grown, name)[:] = getattr(world, name)
    return grown, grid_rows
