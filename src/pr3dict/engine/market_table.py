"""The engine's markets: a row of every array of the brain for each, added while it runs.

Arrays grow by copying, so a row, once given, keeps its number for the life of a data directory.
"""

from __future__ import annotations

import msgspec
import numpy as np

from pr3dict.domain.errors import DataError
from pr3dict.domain.events import FeesChanged, Listed, RewardsChanged
from pr3dict.domain.market import PriceGrid
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import live
from pr3dict.kernels.rewards import set_terms
from pr3dict.kernels.world import World, make_grids, new_market, new_world

FEE_KINDS = {"none": d.FEE_NONE, "kalshi": d.FEE_KALSHI, "polymarket": d.FEE_POLYMARKET}
NO_EVENT = -1

# One entry a market, copied when the arrays grow. The exchange's half of a world stays empty here.
_ROWS = ("params", "fees", "markets", "quotes", "books", "orders", "stats", "selections", "scores")
_ONCE = ("rules", "account", "clock")


def market_row(listing: Listed) -> d.Array:
    """MARKET (1,) that knows what the market is and nothing of its book."""
    row = new_market()
    row["nets_positions"] = listing.nets_positions
    row["reduce_in_place"] = listing.reduce_in_place
    row["book_includes_own"] = listing.book_includes_own
    row["status"] = d.ACTIVE
    row["min_size"] = listing.min_size
    row["lot"] = listing.lot
    row["close_ns"] = listing.close_ns
    row["resolution_ns"] = listing.close_ns if listing.resolution_ns < 0 else listing.resolution_ns
    set_terms(row, listing.rewards)
    return row


def fee_row(listing: Listed) -> d.Array:
    """FEE (1,) of a market's schedule."""
    row = np.zeros(1, d.FEE)
    row["kind"] = FEE_KINDS[listing.fee_kind]
    for field in ("taker_ppm", "maker_ppm", "rebate_ppm", "trade_unit_micros", "unit_micros"):
        row[field] = getattr(listing, field)
    row["rebate_unit_micros"] = listing.rebate_unit_micros
    return row


class MarketTable:
    """Which market has which row, and the world that holds the rows."""

    def __init__(self, capacity: int, params: d.Array, rules: d.Array) -> None:
        """`capacity` rows at first; `params` (1,) PARAMS of every market, `rules` (1,) RULES."""
        self.listings: list[Listed] = []
        self.row_of: dict[tuple[str, str], int] = {}
        self._grids: dict[PriceGrid, int] = {}
        self._groups: dict[tuple[str, str], int] = {}
        self._capacity = capacity
        self._params = params
        self._first_rules = rules
        self.grids_of = np.zeros((capacity, live.GRIDS_A_MARKET), np.int32)
        self.world = self._allocate()
        live.start(self.world)

    def __len__(self) -> int:
        return len(self.listings)

    def add(self, listing: Listed) -> bool:
        """Give a market its row; False where it has it already.

        Raises:
            DataError: the row is not the next one, or the ticker has another row.
        """
        key = (listing.venue, listing.ticker)
        if key in self.row_of:
            if self.row_of[key] != listing.market:
                what = f"row {listing.market}, but its row is {self.row_of[key]}; rows never change"
                raise DataError(f"{listing.ticker} was listed as {what}", key="market")
            return False
        if listing.market != len(self.listings):
            what = f"row {listing.market}; the next free row is {len(self.listings)}"
            raise DataError(f"{listing.ticker} was listed as {what}", key="market")
        if len(listing.grids) > live.GRIDS_A_MARKET:
            raise DataError(f"{listing.ticker} has more than {live.GRIDS_A_MARKET} price grids", key="grids")
        self.row_of[key] = listing.market
        self.listings.append(listing)
        known = len(self._grids)
        for grid in listing.grids:
            self._grids.setdefault(grid, len(self._grids))
        if len(self.listings) > self._capacity or len(self._grids) > known:
            self._grow()
        self._fill(listing)
        return True

    def change_fees(self, event: FeesChanged) -> None:
        """A market's rates are others from now on; its listing says so too."""
        changed = msgspec.structs.replace(
            self.listings[event.market], taker_ppm=event.taker_ppm, maker_ppm=event.maker_ppm
        )
        self.listings[event.market] = changed
        self.world.fees[event.market : event.market + 1] = fee_row(changed)

    def change_rewards(self, event: RewardsChanged) -> None:
        """A market's reward terms are others from now on: its quote is decided again."""
        m = event.market
        if self.listings[m].rewards == event.rewards:
            return
        self.listings[m] = msgspec.structs.replace(self.listings[m], rewards=event.rewards)
        set_terms(self.world.markets[m : m + 1], event.rewards)
        self.world.markets[m].refresh = 1

    def _fill(self, listing: Listed) -> None:
        m, w = listing.market, self.world
        w.markets[m : m + 1] = market_row(listing)
        w.fees[m : m + 1] = fee_row(listing)
        rows = [self._grids[grid] for grid in listing.grids]
        self.grids_of[m, : len(rows)] = rows
        book = w.books[m]
        book.grid = rows[0]
        book.bid_level = -1
        book.ask_level = w.grids.level_count[rows[0]]
        self._join_event(listing)

    def _join_event(self, listing: Listed) -> None:
        """Link the market into the ring of its exclusive event."""
        m, w = listing.market, self.world
        event = NO_EVENT
        if listing.exclusive:
            key = (listing.venue, listing.event_id)
            event = self._groups.setdefault(key, len(self._groups))
            for other in range(m):
                if w.markets[other].event == event:
                    w.siblings[m], w.siblings[other] = w.siblings[other], m
                    break
        w.markets[m].event = event

    def _grow(self) -> None:
        while self._capacity < len(self.listings):
            self._capacity *= 2
        old, count = self.world, len(self.listings) - 1
        self.world = self._allocate()
        w = self.world
        for name in _ROWS:
            getattr(w, name)[:count] = getattr(old, name)[:count]
        for name in _ONCE:
            getattr(w, name)[:] = getattr(old, name)
        width = old.depth.shape[2]
        w.depth[:count, :, :width] = old.depth[:count]
        w.siblings[:count] = old.siblings[:count]
        w.changed[: len(old.changed)] = old.changed
        leaves, new_leaves = len(old.wakes) // 2, len(w.wakes) // 2
        w.wakes[new_leaves : new_leaves + count] = old.wakes[leaves : leaves + count]
        for node in range(new_leaves - 1, 0, -1):
            w.wakes[node] = min(w.wakes[2 * node], w.wakes[2 * node + 1])
        grids_of = np.zeros((self._capacity, live.GRIDS_A_MARKET), np.int32)
        grids_of[:count] = self.grids_of[:count]
        self.grids_of = grids_of

    def _allocate(self) -> World:
        grids = make_grids([grid.prices() for grid in self._grids] or [(1,)])
        n = self._capacity
        world = new_world(
            grids,
            np.repeat(self._params, n),
            np.zeros(n, d.FEE),
            new_market(n),
            grid_of_market=[0] * n,
            rules=self._first_rules.copy(),
            cash_micros=0,
            fill_capacity=0,
            curve_capacity=0,
            ring_capacity=1 << 12,
            with_exchange=False,
        )
        world.books["ask_level"] = grids.level_count[0]
        return world
