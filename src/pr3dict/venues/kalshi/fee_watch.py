"""The fees of our markets as they are now, against what the engine knows of them.

An event's change is told by the streams, a series' by nobody, and a market's waiver ends by itself: so series
and events are read every ten minutes, and when a scheduled change is due; rates are worked out every second.
"""

from __future__ import annotations

from typing import Final

from pr3dict.domain.events import FeesChanged
from pr3dict.domain.fees import KalshiFeeChange, kalshi_schedule
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.kalshi.frames import EventFeeMessage
from pr3dict.venues.kalshi.markets import Life, Lives
from pr3dict.venues.kalshi.models import Event
from pr3dict.venues.kalshi.rest import KalshiRest

LOOK_NS: Final = 600 * NS_PER_SECOND
EVENTS_A_CALL: Final = 100


class FeeWatch:
    """`look` reads, `hear` takes a notice, `changes` says what the engine has to know."""

    def __init__(self, rest: KalshiRest, lives: Lives) -> None:
        self.due_ns = 0  # of the next look
        self._rest = rest
        self._lives = lives
        self._series: dict[str, KalshiFeeChange] = {}
        self._events: dict[str, tuple[str, KalshiFeeChange]] = {}  # its series, what it states itself
        self._told: dict[int, tuple[int, int]] = {}  # rows, and rates of takers and makers

    async def look(self, now_ns: int) -> None:
        """Read the fees of all our events and their series.

        Raises:
            ReadFailedError: there is no answer.
            DataError: an answer can't be read.
        """
        ours = list(dict.fromkeys(life.listing.event_id for life in self._lives.all()))
        found: list[Event] = []
        for start in range(0, len(ours), EVENTS_A_CALL):
            found += await self._rest.events(tickers=",".join(ours[start : start + EVENTS_A_CALL]))
        for event in found:
            stated = KalshiFeeChange(
                fee_type=event.fee_type_override, multiplier_ppm=event.fee_multiplier_override
            )
            self._events[event.event_ticker] = (event.series_ticker, stated)
        self._events = {ticker: self._events[ticker] for ticker in ours if ticker in self._events}
        for ticker in dict.fromkeys(series for series, _ in self._events.values()):
            series = await self._rest.series(ticker)
            self._series[ticker] = KalshiFeeChange(
                fee_type=series.fee_type, multiplier_ppm=int(series.fee_multiplier)
            )
        self.due_ns = min(now_ns + LOOK_NS, await self._scheduled_ns(now_ns))

    async def _scheduled_ns(self, now_ns: int) -> int:
        """When the next change that is announced for us has surely happened."""
        moments = [
            int(change.scheduled_ts)
            for change in await self._rest.series_fee_changes()
            if change.series_ticker in self._series
        ]
        moments += [
            int(change.scheduled_ts)
            for change in await self._rest.event_fee_changes()
            if change.event_ticker in self._events
        ]
        return min((at for at in moments if at > now_ns), default=now_ns + LOOK_NS) + NS_PER_SECOND

    def hear(self, news: EventFeeMessage) -> None:
        """An event's own fee moved; of one that was not read yet, the next look comes at once."""
        known = self._events.get(news.event_ticker)
        if known is None:
            self.due_ns = 0
            return
        stated = KalshiFeeChange(fee_type=news.fee_type_override, multiplier_ppm=news.fee_multiplier_override)
        self._events[news.event_ticker] = (known[0], stated)

    def changes(self, now_ns: int) -> tuple[FeesChanged, ...]:
        """The markets whose rates are not those that the engine was told."""
        found = []
        for life in self._lives.all():
            rates = self._rates(life, now_ns)
            row, listing = life.listing.market, life.listing
            if rates is not None and rates != self._told.get(row, (listing.taker_ppm, listing.maker_ppm)):
                self._told[row] = rates
                found.append(FeesChanged(market=row, taker_ppm=rates[0], maker_ppm=rates[1]))
        return tuple(found)

    def _rates(self, life: Life, now_ns: int) -> tuple[int, int] | None:
        """What takers and makers pay; None: not read yet."""
        event = self._events.get(life.listing.event_id)
        series = None if event is None else self._series.get(event[0])
        if event is None or series is None:
            return None
        terms = kalshi_schedule([series], [event[1]], waived_until_ns=life.waived_ns or None).at(now_ns)
        return terms.taker_ppm, terms.maker_ppm
