"""The ledger: a fold over fills that says what was earned, and by what.

A fill of s contracts at price p, with d = +1 when we bought YES terms and -1 when we sold them, is followed
along the mid: m0 just before it, m1 a chosen horizon later, M the last mark, V what one YES contract paid.
Each step of that path is one cause (Huang and Stoll 1996 up to m1, carried on to resolution):

    gross_spread        sum d * (m0 - p) * s      what was captured against the mid
    adverse_selection   sum d * (m1 - m0) * s     what the market did to the fill within the horizon
    inventory           sum d * (M - m1) * s      what holding earned or cost before resolution
    resolution          sum d * (V - M) * s       the net position at the end x what the outcome did to it
    fees   -sum fee     rebates   sum rebate      rewards   what the programmes paid

A point that is unknown makes the step onto it zero, and the next step holds the move: no mid at the fill (a
one-sided book) claims no spread and is measured from its price; a horizon that was not reached ends at the
last mark; without a last mark the position is followed straight to settlement. An open position with neither
is a `DataError`: no price is made up.

The parts add up to the change of equity to the micro-dollar. They are summed exactly at 1e-12 dollar and
rounded towards zero once a market; the residue, below one micro a fill, joins `inventory`. The change of
equity itself comes from cash and position value, not from the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.domain.inventory import position_value_micros
from pr3dict.domain.units import BID, MICROS_PER_PRICE_UNIT, MONEY_SCALE, PRICE_SCALE, floor_div, trunc_div


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One own fill in YES terms: `price` in 1/10,000 dollar, `size` in micro-contracts, the rest in micros.

    `cash_micros` is the cash that moved without fees, rounded against us (negative: paid); buying NO at 1 - p
    is an ASK at p that pays (1 - p) * size. `mid_micros` and `after_micros` are -1 when unknown. `trade_id`
    is the venue's unique id of this fill, where it has one.
    """

    exch_ns: int
    market: str
    side: int  # BID: we bought YES terms
    price: int
    size: int
    cash_micros: int
    fee_micros: int = 0
    rebate_micros: int = 0
    mid_micros: int = -1
    after_micros: int = -1
    maker: bool = True
    trade_id: str | None = None


class Valuation(msgspec.Struct, frozen=True, kw_only=True):
    """What a market's position is valued by at the end, micros of one YES contract; -1: unknown.

    `settled` with `value_micros` -1 is a void that returns each position's cost.
    """

    mark_micros: int = -1  # last mid before resolution
    settled: bool = False
    value_micros: int = -1  # what one YES contract paid


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of the change of equity, micros; costs are negative, so `net_micros` is the plain sum."""

    gross_spread: int = 0
    inventory: int = 0
    adverse_selection: int = 0
    fees: int = 0
    rebates: int = 0
    rewards: int = 0
    resolution: int = 0

    @property
    def net_micros(self) -> int:
        """Change of equity."""
        return sum(msgspec.structs.astuple(self))

    def __add__(self, other: Attribution) -> Attribution:
        return Attribution(
            **{part: getattr(self, part) + getattr(other, part) for part in self.__struct_fields__}
        )


class MarketLedger(msgspec.Struct, frozen=True, kw_only=True):
    """One market's account: sizes in micro-contracts, money in micros.

    `cash_micros` moved on fills, before fees; `no_contracts` is NO bought less NO sold. The position is worth
    (or paid) `value_micros`. Pairs that the venue merged are still counted, at the dollar that they became.
    """

    fills: int
    bought: int
    sold: int
    no_contracts: int
    cash_micros: int
    value_micros: int
    attribution: Attribution

    @property
    def net_contracts(self) -> int:
        """YES terms bought less sold, micro-contracts."""
        return self.bought - self.sold


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts of all markets, their total, and how many repeated fills were dropped."""

    markets: dict[str, MarketLedger]
    total: Attribution
    duplicates: int


def fold(
    fills: Iterable[Fill],
    valuations: Mapping[str, Valuation],
    rewards_micros: Mapping[str, int] | None = None,
) -> Ledger:
    """Fold fills in any order into accounts; fills with a `trade_id` seen before are dropped.

    `rewards_micros` is what programmes paid, by market. Raises `DataError` when a trade id comes back with
    different content, a fill's cash does not fit its price and size, or an open position has no value.
    """
    rewards = dict(rewards_micros or {})
    by_market: dict[str, list[Fill]] = {}
    seen: dict[tuple[str, str], Fill] = {}
    duplicates = 0
    for fill in fills:
        if fill.trade_id is not None:
            known = seen.get((fill.market, fill.trade_id))
            if known is not None:
                _require_same(known, fill)
                duplicates += 1
                continue
            seen[fill.market, fill.trade_id] = fill
        by_market.setdefault(fill.market, []).append(fill)
    accounts = {
        market: _account(
            market, by_market.get(market, []), valuations.get(market, Valuation()), rewards.get(market, 0)
        )
        for market in sorted(by_market.keys() | rewards.keys())
    }
    total = sum((account.attribution for account in accounts.values()), Attribution())
    return Ledger(markets=accounts, total=total, duplicates=duplicates)


def _require_same(known: Fill, again: Fill) -> None:
    """A venue repeats a fill word for word; only what we measured around it may differ."""
    words = ("exch_ns", "side", "price", "size", "cash_micros")
    differing = [w for w in words if getattr(known, w) != getattr(again, w)]
    if differing:
        raise DataError(
            f"trade {again.trade_id} came twice with different {', '.join(differing)}", key=again.market
        )


def no_contracts_of(fill: Fill) -> int:
    """NO contracts bought (negative: sold) by a fill, from its cash.

    In YES terms a fill moves -d * p * s of cash; each NO contract bought pays a dollar more. Raises
    `DataError` when the cash fits no mix of YES and NO.
    """
    yes_cash = -fill.price * fill.size if fill.side == BID else fill.price * fill.size
    no = floor_div(yes_cash - fill.cash_micros * PRICE_SCALE, PRICE_SCALE)
    low, high = (-fill.size, 0) if fill.side == BID else (0, fill.size)
    if not low <= no <= high:
        what = f"a fill of {fill.size} at {fill.price} cannot move {fill.cash_micros} micros of cash"
        raise DataError(what, key=fill.market)
    return no


def _account(market: str, fills: Sequence[Fill], valuation: Valuation, rewards: int) -> MarketLedger:
    bought = sum(f.size for f in fills if f.side == BID)
    sold = sum(f.size for f in fills if f.side != BID)
    no = sum(no_contracts_of(f) for f in fills)
    cash = sum(f.cash_micros for f in fills)
    value = _value(market, bought - sold, no, cash, valuation)
    attribution = msgspec.structs.replace(
        _trading_parts(market, fills, valuation, cash + value),
        fees=-sum(f.fee_micros for f in fills),
        rebates=sum(f.rebate_micros for f in fills),
        rewards=rewards,
    )
    return MarketLedger(
        fills=len(fills),
        bought=bought,
        sold=sold,
        no_contracts=no,
        cash_micros=cash,
        value_micros=value,
        attribution=attribution,
    )


def _value(market: str, net: int, no: int, cash: int, valuation: Valuation) -> int:
    """What the position is worth, or paid, at the end."""
    if valuation.settled and valuation.value_micros < 0:
        return -cash  # void: what was paid comes back
    price = valuation.value_micros if valuation.settled else valuation.mark_micros
    if net == 0:
        return no  # pairs only: a dollar each at any price
    if price < 0:
        raise DataError(f"{net} micro-contracts are open with neither mark nor settlement", key=market)
    return position_value_micros(net + no, no, price)


def _trading_parts(
    market: str, fills: Sequence[Fill], valuation: Valuation, trading_micros: int
) -> Attribution:
    """Split `trading_micros` (cash plus position value, fees apart) into its four causes."""
    gross = adverse = inventory = resolution = 0  # 1e-12 dollar: micros x micro-contracts
    for fill in fills:
        signed = fill.size if fill.side == BID else -fill.size
        price, mid, after, mark, final = _path(fill, valuation)
        gross += signed * (mid - price)
        adverse += signed * (after - mid)
        inventory += signed * (mark - after)
        resolution += signed * (final - mark)
    gross_micros, adverse_micros = trunc_div(gross, MONEY_SCALE), trunc_div(adverse, MONEY_SCALE)
    resolution_micros = trunc_div(resolution, MONEY_SCALE)
    if valuation.settled and valuation.value_micros < 0:  # no single price: the void takes all of it back
        resolution_micros = trading_micros - trunc_div(gross + adverse + inventory, MONEY_SCALE)
    inventory_micros = trading_micros - gross_micros - adverse_micros - resolution_micros
    # One rounding of cash a fill, one of each part and of the value; more would be a broken ledger.
    assert abs(inventory_micros - trunc_div(inventory, MONEY_SCALE)) <= len(fills) + 4, market
    return Attribution(
        gross_spread=gross_micros,
        adverse_selection=adverse_micros,
        inventory=inventory_micros,
        resolution=resolution_micros,
    )


def _path(fill: Fill, valuation: Valuation) -> tuple[int, int, int, int, int]:
    """Price, mid before, mid after, last mark and final value of a fill, micros; the unknown filled in."""
    price = fill.price * MICROS_PER_PRICE_UNIT
    mid = fill.mid_micros if fill.mid_micros >= 0 else price
    last = valuation.mark_micros if valuation.mark_micros >= 0 else mid
    after = fill.after_micros if fill.after_micros >= 0 else last
    mark = valuation.mark_micros if valuation.mark_micros >= 0 else after
    final = valuation.value_micros if valuation.settled and valuation.value_micros >= 0 else mark
    return price, mid, after, mark, final


class HalfSpreads(msgspec.Struct, frozen=True):
    """Size-weighted half-spreads in micros a contract, exact; effective = realized + impact."""

    effective: Fraction
    realized: Fraction
    impact: Fraction


def effective_realized_impact(trades: Iterable[tuple[int, int, int, int, int]]) -> HalfSpreads:
    """Decompose the half-spread that takers paid (Huang and Stoll 1996).

    Each trade is (d, price, mid before, mid a horizon later, size): d is +1 when the taker bought and -1 when
    it sold, prices in micros, sizes in micro-contracts. Raises `DataError` without any traded size.
    """
    effective = realized = weight = 0
    for d, price, mid, after, size in trades:
        effective += d * (price - mid) * size
        realized += d * (price - after) * size
        weight += size
    if weight <= 0:
        raise DataError("half-spreads need at least one trade with a size")
    return HalfSpreads(
        Fraction(effective, weight), Fraction(realized, weight), Fraction(effective - realized, weight)
    )
