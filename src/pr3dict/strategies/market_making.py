"""The market maker as a Python object: settings, exact inventory by market, and the one brain's decision."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import numpy as np

from pr3dict.domain.errors import DataError, UsageError
from pr3dict.domain.inventory import Inventory
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import (
    MICROS_PER_PRICE_UNIT,
    MONEY_SCALE,
    NS_PER_HOUR,
    PRICE_SCALE,
    QTY_SCALE,
    parse_price,
    parse_quantity,
)
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.quote import decide
from pr3dict.kernels.rewards import set_terms
from pr3dict.kernels.world import Grids, make_grids, new_market
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.decision import Decision, decision_of

Number = Decimal | int | str

# What a fill did, by the word for it: (side in YES terms, whether contracts held were sold).
_FILLS = {
    "yes": (d.BID, False),
    "buy_yes": (d.BID, False),
    "no": (d.ASK, False),
    "buy_no": (d.ASK, False),
    "sell_yes": (d.ASK, True),
    "sell_no": (d.BID, True),
}
_ROOM = 10**15  # micros: no portfolio limit binds a single decision
_SMALLEST_ORDER = QTY_SCALE // 100
_MOST_CONTRACTS = 10**6
_MOST_HOURS = 10**6
_MOST_DOLLARS = 10**9


class MarketMakingStrategy:
    """Quotes both sides of binary markets by its config and keeps what it holds in each.

    The engine drives it over arrays (`params`, `rules`); `quote` asks the same compiled policy for one
    decision from plain numbers.
    """

    def __init__(self, config: MarketMakingConfig | None = None) -> None:
        """Start flat in every market; the default config without one."""
        self.config = config if config is not None else MarketMakingConfig()
        self._inventory: dict[str, Inventory] = {}

    def params(self) -> d.Array:
        """The config as one PARAMS row, shape (1,)."""
        return self.config.to_params()

    def rules(self) -> d.Array:
        """The config's limits over all markets as one RULES row, shape (1,)."""
        return self.config.to_rules()

    def update_inventory(
        self, *, market_id: str, side: str, quantity: Number, price: Number, nets: bool = False
    ) -> Inventory:
        """Book a fill and return the market's inventory after it.

        side: "yes" or "no" (bought; "buy_yes" and "buy_no" say the same), "sell_yes" or "sell_no" (what is
        held). quantity: contracts. price: the YES price in dollars, whatever the side. nets: the venue turns
        a YES + NO pair into its dollar by itself.

        Raises:
            UsageError: unknown side, or a quantity or price that no fill can have.
            WorkError: more was sold than is held.
        """
        if side not in _FILLS:
            raise UsageError(f"side {side!r} of a fill in {market_id} is unknown; use {', '.join(_FILLS)}")
        try:
            size, units = parse_quantity(quantity), parse_price(str(price))
        except DataError as error:
            raise UsageError(f"fill in {market_id}: {error}; give the exact figure of the fill") from None
        if size == 0:
            raise UsageError(f"fill in {market_id}: a quantity of 0 is no fill; leave it out")
        book_side, sells = _FILLS[side]
        after = self.inventory(market_id).fill(book_side, units, size, nets=nets, sell=sells)
        self._inventory[market_id] = after
        return after

    def set_inventory(
        self, *, market_id: str, yes_contracts: int, no_contracts: int, cost_micros: int
    ) -> Inventory:
        """Take over what the account's record says: after a restart, a voided fill, a merge or a settlement.

        Sizes in micro-contracts. The cost (cash paid less received) is booked on what is held, NO first.
        """
        no_cost = cost_micros if no_contracts else 0
        after = Inventory(
            yes_contracts=yes_contracts,
            no_contracts=no_contracts,
            yes_cost_micros=cost_micros - no_cost if yes_contracts else 0,
            no_cost_micros=no_cost,
            realised_micros=0 if yes_contracts or no_contracts else -cost_micros,
        )
        self._inventory[market_id] = after
        return after

    def inventory(self, market_id: str) -> Inventory:
        """What is held in a market; flat where nothing was booked."""
        return self._inventory.get(market_id, Inventory())

    def get_position_size(
        self,
        signal: object = None,  # noqa: ARG002 - part of the strategy interface
        account_balance: object = None,  # noqa: ARG002
        risk_pct: object = None,  # noqa: ARG002
    ) -> Decimal:
        """Contracts of a quote: always `config.quote_size`; sizing by risk percentage does not apply."""
        return self.config.quote_size

    def quote(
        self,
        *,
        fair: Number,
        liquidity: Number,
        hours: Number,
        net: Number | None = None,
        market_id: str | None = None,
        volatile: bool = False,
        tick: Number = "0.01",
        best_bid: Number | None = None,
        best_ask: Number | None = None,
        rewards: RewardTerms | None = None,
        reward_others: Number = 0,
    ) -> Decision:
        """Decide one market from plain numbers with the compiled policy.

        fair, tick, best_bid, best_ask: dollars. liquidity: dollars. hours: to close and resolution. net:
        contracts, YES less NO (default: what is held in `market_id`). Without the touch the book counts as
        unknown: it clamps no price and passes the filter on the existing spread. rewards: what the market
        pays for resting quotes, reward_others: what others score on each side (contracts at the midpoint,
        which is that of the touch, else fair value).

        Raises:
            UsageError: a number that no market can have.
        """
        params = self.params()[0]
        market = new_market()[0]
        market.status = d.ACTIVE
        market.nets_positions = 1
        market.lot = market.min_size = _SMALLEST_ORDER
        market.fair_micros = _fair_micros(fair)
        market.liquidity_micros = _scaled("liquidity", liquidity, MONEY_SCALE, 0, _MOST_DOLLARS)
        market.resolution_ns = _scaled("hours", hours, NS_PER_HOUR, 0, _MOST_HOURS)
        market.close_ns = market.resolution_ns
        market.volatility_micros = int(params.high_volatility_micros) + 1 if volatile else 0
        self._set_position(market, net, market_id)
        grids = _grid(_tick_units(tick))
        touch_known = _set_touch(market, grids, best_bid, best_ask)
        if rewards is not None:
            others = _scaled("reward_others", reward_others, QTY_SCALE, 0, _MOST_CONTRACTS)
            _set_rewards(market, rewards, others, touch_known)
        return decision_of(_decide(market, params, grids, touch_known), params)

    def _set_position(self, market: np.record, net: Number | None, market_id: str | None) -> None:
        if net is None:
            held = self.inventory(market_id) if market_id is not None else Inventory()
            market.yes_contracts, market.no_contracts = held.yes_contracts, held.no_contracts
            return
        contracts = _scaled("net", net, QTY_SCALE, -_MOST_CONTRACTS, _MOST_CONTRACTS)
        market.yes_contracts, market.no_contracts = max(contracts, 0), max(-contracts, 0)


def _decide(market: np.record, params: np.record, grids: Grids, touch_known: bool) -> np.record:
    quote: np.record = np.zeros(1, d.QUOTE)[0]
    decide(market, params, grids, 0, 0, _ROOM, _ROOM, 0, quote)
    if not touch_known:
        # Whether an unknown book absorbs an exit can't be told.
        quote.reasons &= ~(1 << d.R_EXIT_UNABSORBED)
        quote.existing_spread_micros = -1
    return quote


def _set_touch(market: np.record, grids: Grids, best_bid: Number | None, best_ask: Number | None) -> bool:
    """Write the touch into the row; without one, a book as wide as prices go, which constrains nothing."""
    if best_bid is None and best_ask is None:
        market.bid_price, market.ask_price = 0, PRICE_SCALE
        return False
    if best_bid is None or best_ask is None:
        raise UsageError("one side of the book is missing; give both best bid and best ask, or neither")
    bid, ask = (_touch_units(grids, name, price) for name, price in (("bid", best_bid), ("ask", best_ask)))
    if bid >= ask:
        raise UsageError(f"best bid {best_bid} is not below best ask {best_ask}; check the two")
    market.bid_price = market.far_bid_price = bid
    market.ask_price = market.far_ask_price = ask
    return True


def _set_rewards(market: np.record, rewards: RewardTerms, others: int, touch_known: bool) -> None:
    set_terms(market, rewards)
    fair_halves = int(market.fair_micros) * 2 // MICROS_PER_PRICE_UNIT
    market.reward_mid = int(market.bid_price) + int(market.ask_price) if touch_known else fair_halves
    market.reward_bid_others = market.reward_ask_others = others


def _touch_units(grids: Grids, name: str, price: Number) -> int:
    try:
        units = parse_price(str(price))
    except DataError as error:
        raise UsageError(f"best {name}: {error}") from None
    if grids.level_of_price[0, units] < 0:
        raise UsageError(
            f"best {name} {price} is not on the price grid; give a multiple of the tick inside (0, 1)"
        )
    return units


def _number(name: str, value: Number) -> Decimal:
    try:
        number = Decimal(value)
    except (ArithmeticError, ValueError, TypeError):
        raise UsageError(f"{name} {value!r} is not a number; write for example 0.5") from None
    if not number.is_finite():
        raise UsageError(f"{name} {value} is not a finite number; give the real figure")
    return number


def _scaled(name: str, value: Number, scale: int, low: int, high: int) -> int:
    number = _number(name, value)
    if not low <= number <= high:
        raise UsageError(f"{name} {value} is outside {low} to {high}; give a figure inside")
    return round(number * scale)


def _fair_micros(fair: Number) -> int:
    number = _number("fair", fair)
    if not 0 < number < 1:
        raise UsageError(f"fair {fair} is outside (0, 1); give a YES price in dollars such as 0.50")
    return min(max(round(number * MONEY_SCALE), 1), MONEY_SCALE - 1)


def _tick_units(tick: Number) -> int:
    units = _number("tick", tick) * PRICE_SCALE
    if units % 1 != 0 or not 1 <= units <= PRICE_SCALE // 2 or PRICE_SCALE % int(units) != 0:
        raise UsageError(f"tick {tick} does not divide a dollar in steps of 0.0001; use for example 0.01")
    return int(units)


@lru_cache(maxsize=16)
def _grid(tick_units: int) -> Grids:
    return make_grids([range(tick_units, PRICE_SCALE, tick_units)])
