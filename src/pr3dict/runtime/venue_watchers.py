"""Which watcher belongs to which access; a venue's code is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pr3dict.runtime.venue_follow import Watcher
from pr3dict.venues.session import Clock

if TYPE_CHECKING:
    from pr3dict.runtime.kalshi_access import KalshiAccess
    from pr3dict.runtime.polymarket_access import PolymarketAccess


def watcher_of(
    access: KalshiAccess | PolymarketAccess, clock: Clock, *, direct_member: bool = False
) -> Watcher:
    """The venue of an access as it is looked at; `direct_member`: of Kalshi, whose fees round finer then."""
    if access.venue == "kalshi":
        from pr3dict.runtime.kalshi_follow import KalshiWatcher

        return KalshiWatcher(access, clock, direct_member=direct_member)
    from pr3dict.runtime.polymarket_follow import PolymarketWatcher

    return PolymarketWatcher(access, clock)
