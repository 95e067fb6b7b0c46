"""Whether our quotes in a market keep the terms of a programme, as far as the journal proves it.

Only orders count that the venue has shown and that nothing has put in doubt since: an order whose cancel is
on its way, whose answer was lost or whose expiry has passed is absent. So is everything at a venue whose
streams are down or whose word has not been compared yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pr3dict.domain.events import Listed
from pr3dict.domain.order import OrderState
from pr3dict.engine import holds as h
from pr3dict.engine.holds import EVERYWHERE, Holds
from pr3dict.engine.tracked import NEVER_NS, OpenOrder
from pr3dict.risk.programme import ProgrammeConfig, Terms

QUOTED: Final = ""
CLOSED: Final = "closed"  # no duty: past its close, paid out, or the venue is not open
NOT_LISTED: Final = "not_listed"
NOT_RUNNING: Final = "not_running"
UNPROVEN: Final = (h.FEED_DOWN, h.FEED_STALE, h.UNRECONCILED)

# What is wrong with our orders.
NO_ORDERS: Final = "no_orders"
IN_FLIGHT: Final = "in_flight"  # sent or being cancelled, not confirmed
UNKNOWN: Final = "unknown_order"
ONE_SIDED: Final = "one_sided"
TOO_SMALL: Final = "too_small"
TOO_WIDE: Final = "too_wide"
_DOUBTFUL: Final = (OrderState.UNKNOWN, OrderState.CLOSING)


class Standing(NamedTuple):
    """Why a market or a product is not quoted by its terms, `QUOTED` where it is.

    `until_ns`: how long that holds at most if nothing happens.
    """

    why: str
    until_ns: int


def orders_standing(orders: Iterable[OpenOrder], terms: Terms, now_ns: int) -> Standing:
    """Our orders in one market against the terms.

    The spread is taken where a side's size, summed from its best price, reaches the least size; the band is
    that of the mid of our best prices.
    """
    sides: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    until_ns = NEVER_NS
    doubts: dict[str, None] = {}
    for order in orders:
        if order.state is not OrderState.LIVE:
            doubts[UNKNOWN if order.state in _DOUBTFUL else IN_FLIGHT] = None
        elif order.expiry_ns == 0 or order.expiry_ns > now_ns:
            sides[order.side].append((order.price, order.remaining))
            if order.expiry_ns:
                until_ns = min(until_ns, order.expiry_ns)
    bids, asks = sorted(sides[0], reverse=True), sorted(sides[1])
    if not (bids and asks):
        missing = ONE_SIDED if bids or asks else NO_ORDERS
        return Standing(next(iter(sorted(doubts, reverse=True)), missing), until_ns)
    band = terms.band(bids[0][0], asks[0][0])
    bid, ask = _reached(bids, band.min_size), _reached(asks, band.min_size)
    if bid < 0 or ask < 0:
        return Standing(TOO_SMALL, until_ns)
    return Standing(QUOTED if ask - bid <= band.max_spread else TOO_WIDE, until_ns)


def _reached(side: Sequence[tuple[int, int]], size: int) -> int:
    """The price at which a side's size reaches `size`, -1: it does not."""
    total = 0
    for price, remaining in side:
        total += remaining
        if total >= size:
            return price
    return -1


def market_standing(
    listing: Listed, holds: Holds, orders: Iterable[OpenOrder], terms: Terms, now_ns: int, *, settled: bool
) -> Standing:
    """One market as it stands at `now_ns`."""
    if settled or 0 <= listing.close_ns <= now_ns:
        return Standing(CLOSED, NEVER_NS)
    close_ns = listing.close_ns if listing.close_ns >= 0 else NEVER_NS
    words = holds.words(EVERYWHERE, listing.venue)
    if h.VENUE_NOT_OPEN in words:
        return Standing(CLOSED, close_ns)
    unproven = next((word for word in UNPROVEN if word in words), None)
    if unproven is not None:
        return Standing(unproven, close_ns)
    found = orders_standing(orders, terms, now_ns)
    return Standing(found.why, min(found.until_ns, close_ns))


def product_standing(config: ProgrammeConfig, product: str, markets: Sequence[Standing]) -> Standing:
    """A product of these markets: quoted when enough of those that are open are."""
    if not markets:
        return Standing(NOT_LISTED, NEVER_NS)
    until_ns = min(market.until_ns for market in markets)
    missing = [market.why for market in markets if market.why not in (QUOTED, CLOSED)]
    quoted = sum(market.why == QUOTED for market in markets)
    if not missing and not quoted:
        return Standing(CLOSED, until_ns)
    if quoted >= config.needed_of(product, quoted + len(missing)):
        return Standing(QUOTED, until_ns)
    return Standing(missing[0], until_ns)
