"""What everything that is open can lose at worst: the reading of limits that assumes the worse of each doubt.

For each outcome: what is held, plus for each order that may still fill the worse of filled and not filled,
plus for each provisional fill the worse of final and void. Without provisional fills this is
`kernels.worstcase.loss_if`. In micros, fees apart; a negative loss is a certain profit. How contracts came
into the account (bought, sold, netted, merged) does not matter: a bid at p that fills gains 1 - p a contract
if YES and loses p if NO, whatever leg it trades, so taking it back does the opposite.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pr3dict.domain.units import BID, PRICE_SCALE, notional_ceil, notional_floor


class OrderExposure(NamedTuple):
    """What remains of an own order in any state but closed: unknown and in-flight ones count in full."""

    side: int  # BID buys YES terms
    sell: bool  # sells what is held; the same bet as buying the other side
    price: int
    remaining: int
    rests: bool = True  # surely: not on its way, in doubt or being cancelled


class FillExposure(NamedTuple):
    """A fill that the venue may still void; the position counts it as booked."""

    side: int
    sell: bool
    price: int
    size: int
    fee_micros: int = 0  # paid already; a void is not trusted to return it, so no loss reads it


@dataclass(frozen=True, slots=True)
class Exposure:
    """One market: contracts in micro-contracts and their cost in micros, with provisional fills booked."""

    yes_contracts: int = 0
    no_contracts: int = 0
    cost_micros: int = 0
    orders: tuple[OrderExposure, ...] = ()
    provisional: tuple[FillExposure, ...] = ()

    @property
    def net_contracts(self) -> int:
        """YES less NO, micro-contracts."""
        return self.yes_contracts - self.no_contracts

    def with_order(self, order: OrderExposure) -> Exposure:
        """The same with one order more."""
        return Exposure(
            self.yes_contracts, self.no_contracts, self.cost_micros, (*self.orders, order), self.provisional
        )

    def without_doubtful(self) -> Exposure:
        """The same with those orders only that surely rest."""
        resting = tuple(order for order in self.orders if order.rests)
        return Exposure(self.yes_contracts, self.no_contracts, self.cost_micros, resting, self.provisional)

    def closing_contracts(self, side: int) -> int:
        """How much more an order on `side` may trade and only close what is surely held, micro-contracts.

        Provisional fills of the position's own direction may be void: they are not surely held. What other
        open orders on the side will close is taken.
        """
        held = -self.net_contracts if side == BID else self.net_contracts
        doubtful = sum(fill.size for fill in self.provisional if fill.side != side)
        taken = sum(order.remaining for order in self.orders if order.side == side)
        return max(held - doubtful - taken, 0)


def losses(exposure: Exposure) -> tuple[int, int]:
    """Loss in micros (if YES, if NO) with the worst fills and voids; orders rounded up once an outcome."""
    bids = asks = 0
    for order in exposure.orders:
        if order.side == BID:
            bids += order.price * order.remaining
        else:
            asks += (PRICE_SCALE - order.price) * order.remaining
    void_bids = void_asks = 0
    for fill in exposure.provisional:
        if fill.side == BID:  # a void takes back what it gains if YES
            void_bids += fill.size - notional_ceil(fill.price, fill.size)
        else:
            void_asks += notional_floor(fill.price, fill.size)
    return (
        exposure.cost_micros - exposure.yes_contracts - (-asks // PRICE_SCALE) + void_bids,
        exposure.cost_micros - exposure.no_contracts - (-bids // PRICE_SCALE) + void_asks,
    )


class EventLoss(NamedTuple):
    """Markets of one exclusive event: their loss when none ends YES, and how much more when the worst does.

    The others of a market that stands alone are `EventLoss()`.
    """

    none_micros: int = 0
    swing_micros: int = 0  # at least 0

    def joined(self, if_yes: int, if_no: int) -> int:
        """Worst loss, at least 0, of these together with one market that loses `if_yes` or `if_no`.

        As `kernels.worstcase.joined_loss_micros`: at most one of them all ends YES.
        """
        return max(self.none_micros + if_no + max(self.swing_micros, if_yes - if_no), 0)


def event_loss(exposures: Iterable[Exposure]) -> EventLoss:
    """Gather the markets of one exclusive event (or some of them); O(open orders)."""
    none = swing = 0
    for exposure in exposures:
        if_yes, if_no = losses(exposure)
        none += if_no
        swing = max(swing, if_yes - if_no)
    return EventLoss(none, swing)


def joined_loss(exposures: Iterable[Exposure]) -> int:
    """Worst loss in micros, at least 0, of markets of which at most one ends YES."""
    none, swing = event_loss(exposures)
    return max(none + swing, 0)


def portfolio_heat(events: Iterable[Iterable[Exposure]]) -> int:
    """Worst loss in micros of all events, each given by its markets: their sum, as all may go wrong at once.

    A market of no event is an event of one. An event that is certain to gain counts 0, so it never pays for
    another; a lone market likewise.
    """
    return sum(joined_loss(markets) for markets in events)
