"""The arrays of one replay, gathered in a named tuple and a struct, and the function that allocates them.

A `Grids` maps prices to levels for each price grid in use; a `World` is everything a replay reads and
writes. Nothing is allocated after `new_world`, so a replay's memory is known before it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed, lower_getattr
from numba.experimental import structref

from pr3dict.domain.units import PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import selection_rows as sr
from pr3dict.kernels.jit import njit
from pr3dict.kernels.wakes import new_wakes

IntArray = npt.NDArray[np.int64]


class Grids(NamedTuple):
    """Price grids, one a row. `level_of_price` is -1 off the grid."""

    level_of_price: npt.NDArray[np.int16]  # (grids, PRICE_SCALE + 1)
    price_of_level: npt.NDArray[np.int32]  # (grids, most levels)
    level_count: npt.NDArray[np.int32]  # (grids,)


def make_grids(prices: Sequence[Sequence[int]]) -> Grids:
    """Build the level maps of grids given as ascending valid prices in 1/10,000 dollar."""
    width = max(len(row) for row in prices)
    level_of_price = np.full((len(prices), PRICE_SCALE + 1), -1, np.int16)
    price_of_level = np.full((len(prices), width), -1, np.int32)
    for g, row in enumerate(prices):
        level_of_price[g, list(row)] = np.arange(len(row))
        price_of_level[g, : len(row)] = row
    return Grids(level_of_price, price_of_level, np.array([len(r) for r in prices], np.int32))


if numba.config.DISABLE_JIT:
    _WorldBase: type = object
else:
    _WorldBase = structref.StructRefProxy


class World(_WorldBase):  # type: ignore[misc]
    """State of a replay over n markets; `depth*` have shape (n, 2 sides, levels), micro-contracts.

    Compiled functions receive it as one pointer (a numba structref): as a tuple its two dozen arrays would be
    copied at every call (docs/adr/0005). Made by `new_world` only.
    """

    if numba.config.DISABLE_JIT:

        def __init__(self, *arrays: object) -> None:
            """Hold the arrays as plain attributes."""

    else:

        def __new__(cls, *arrays: object) -> Self:
            """Build the struct that compiled code sees."""
            return structref.StructRefProxy.__new__(cls, *arrays)

    grids: Grids
    rules: d.Array  # (1,) RULES
    account: d.Array  # (1,) ACCOUNT
    clock: d.Array  # (1,) replay cursors
    params: d.Array  # (n,) PARAMS
    fees: d.Array  # (n,) FEE
    markets: d.Array  # (n,) MARKET, as we know them
    quotes: d.Array  # (n,) QUOTE, the decision that stands
    books: d.Array  # (n,) BOOK as we see it
    depth: IntArray
    orders: d.Array  # (n, ORDER_SLOTS) ORDER as we know them
    exchange_books: d.Array  # (n,) BOOK at the exchange
    exchange_depth: IntArray
    consumed: IntArray  # tape volume at a level that our takers already took
    exchange_orders: d.Array  # (n, ORDER_SLOTS) EXCHANGE_ORDER
    watched: npt.NDArray[np.int16]  # (n, 2, levels) our resting orders at a level, WATCH_TAKEN if `consumed`
    active: npt.NDArray[np.int16]  # (n, ORDER_SLOTS) slots of resting orders, the first `live_orders` count
    holdings: d.Array  # (n,) HOLDING at the exchange
    siblings: npt.NDArray[
        np.int32
    ]  # (n,) next market of the same exclusive event, round a ring; itself: alone
    wakes: IntArray  # (2 x leaves,) when each market is looked at again at the latest: kernels/wakes.py
    changed: npt.NDArray[np.int32]  # markets that wait for a decision, the first `changed_count` count
    scratch: IntArray  # (2 sides, 2, MAX_LEVELS) work space of the diff
    spare_levels: IntArray  # (levels,) work space of a grid change
    outbox: d.Array  # ring of MESSAGE to the exchange
    inbox: d.Array  # ring of MESSAGE to us
    fills: d.Array  # FILL in order of exchange time
    curve: d.Array  # CURVE samples
    stats: d.Array  # (n,) MARKET_STATS
    selections: d.Array  # (n,) SELECTION
    scores: d.Array  # (n,) SCORE


FIELDS = tuple(name for name in World.__annotations__)

_MEMINFO_DATA_WORD = 3  # numba's MemInfo: reference count, destructor, its argument, data

if not numba.config.DISABLE_JIT:

    @structref.register
    class WorldType(types.StructRef):  # type: ignore[misc]
        """The numba type of `World`."""

        def preprocess_fields(
            self, fields: tuple[tuple[str, types.Type], ...]
        ) -> tuple[tuple[str, types.Type], ...]:
            """Forget literal values: only the arrays' types matter."""
            return tuple((name, types.unliteral(kind)) for name, kind in fields)

    structref.define_boxing(WorldType, World)
    structref.define_constructor(World, WorldType, list(FIELDS))
    structref.define_attributes(WorldType)

    def _define_plain_attribute(name: str) -> None:
        """Read a field straight from the struct: numba's own way needs the counts that kernels lack."""

        @lower_getattr(WorldType, name)  # type: ignore[untyped-decorator]
        def load(context: Any, builder: Any, kind: Any, value: Any) -> Any:
            handle = cgutils.create_struct_proxy(kind)(context, builder, value=value)
            words = builder.bitcast(handle.meminfo, cgutils.voidptr_t.as_pointer())
            data = builder.load(builder.gep(words, [ir.Constant(ir.IntType(32), _MEMINFO_DATA_WORD)]))
            fields = kind.get_data_type()
            place = builder.bitcast(data, context.get_value_type(fields).as_pointer())
            struct = cgutils.create_struct_proxy(fields)(context, builder, ref=place)
            return impl_ret_borrowed(context, builder, kind.field_dict[name], getattr(struct, name))

    for _name in FIELDS:
        _define_plain_attribute(_name)


def sibling_rings(events: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Link the markets of each event in a ring: entry m is the next market of m's event, m itself if alone.

    `events` (n,) numbers the event of each market, -1: none. A walk round the ring meets each once.
    """
    rings = np.arange(len(events), dtype=np.int32)
    first: dict[int, int] = {}
    for m, event in enumerate(events.tolist()):
        if event >= 0:
            before = first.setdefault(event, m)
            rings[m], rings[before] = rings[before], m
    return rings


@njit
def _make_world(*arrays: Any) -> World:
    return World(*arrays)


def new_world(
    grids: Grids,
    params: d.Array,
    fees: d.Array,
    markets: d.Array,
    *,
    grid_of_market: Sequence[int],
    rules: d.Array,
    cash_micros: int,
    fill_capacity: int,
    curve_capacity: int,
    ring_capacity: int = 1 << 14,
    with_exchange: bool = True,
) -> World:
    """Allocate a replay of `len(markets)` markets that starts with empty books and `cash_micros`.

    `ring_capacity` must be a power of two: it bounds the messages in flight each way. An engine, whose
    exchange is elsewhere, does without the exchange's arrays.
    """
    n = len(markets)
    there = n if with_exchange else 0
    width = grids.price_of_level.shape[1]
    account = np.zeros(1, d.ACCOUNT)
    account[0].cash_micros = account[0].local_cash_micros = cash_micros
    account[0].day_start_equity_micros = cash_micros
    account[0].next_order_id = 1
    books = np.zeros(n, d.BOOK)
    books["grid"] = np.asarray(grid_of_market, np.int32)
    books["bid_level"] = -1
    books["ask_level"] = grids.level_count[books["grid"]]
    quotes = np.zeros(n, d.QUOTE)
    quotes["bid_price"] = quotes["ask_price"] = quotes["fair_micros"] = -1
    holdings = np.zeros(there, d.HOLDING)
    holdings["own_bid_price"], holdings["own_ask_price"] = d.NO_BID, d.NO_ASK
    arrays: dict[str, object] = {
        "grids": grids,
        "rules": rules,
        "account": account,
        "clock": np.zeros(1, d.CLOCK),
        "params": params,
        "fees": fees,
        "markets": markets,
        "quotes": quotes,
        "books": books,
        "depth": np.zeros((n, 2, width), np.int64),
        "orders": np.zeros((n, d.ORDER_SLOTS), d.ORDER),
        "exchange_books": books[:there].copy(),
        "exchange_depth": np.zeros((there, 2, width), np.int64),
        "consumed": np.zeros((there, 2, width), np.int64),
        "exchange_orders": np.zeros((there, d.ORDER_SLOTS), d.EXCHANGE_ORDER),
        "watched": np.zeros((there, 2, width), np.int16),
        "active": np.zeros((there, d.ORDER_SLOTS), np.int16),
        "holdings": holdings,
        "siblings": sibling_rings(markets["event"]),
        "wakes": new_wakes(n),
        "changed": np.zeros(2 * n, np.int32),  # each once, and once more when the kill switch trips
        "scratch": np.zeros((2, 2, d.MAX_LEVELS), np.int64),
        "spare_levels": np.zeros(width, np.int64),
        "outbox": np.zeros(ring_capacity, d.MESSAGE),
        "inbox": np.zeros(ring_capacity, d.MESSAGE),
        "fills": np.zeros(fill_capacity, d.FILL),
        "curve": np.zeros(curve_capacity, d.CURVE),
        "stats": _new_stats(n),
        "selections": sr.new_selection(n),
        "scores": np.zeros(n, sr.SCORE),
    }
    world: World = _make_world(*(arrays[name] for name in FIELDS))
    for name, array in arrays.items():  # the same memory, for readers in Python
        setattr(world, name, array)
    return world


def _new_stats(n: int) -> d.Array:
    """MARKET_STATS rows of markets without mark and settlement."""
    rows = np.zeros(n, d.MARKET_STATS)
    rows["settle_value_micros"] = rows["mark_micros"] = rows["mark_before_settle_micros"] = -1
    return rows


def new_market(n: int = 1) -> d.Array:
    """MARKET rows that know nothing yet: no book, no fair value, unknown times, flat."""
    rows = np.zeros(n, d.MARKET)
    for field in (
        "event",
        "close_ns",
        "resolution_ns",
        "stated_liquidity_micros",
        "bid_price",
        "ask_price",
        "far_bid_price",
        "far_ask_price",
        "fair_micros",
        "quoted_state",
        "reward_mid",
    ):
        rows[field] = -1
    return rows
