"""Breakers: counts of what goes wrong, each over its window, and what stands tripped.

`breaker_table.py` says what each counts and does. Everything here is a fold over events, commands and
anomalies: the same items in the same order give the same state, and only `due` follows time. A breaker trips
once an episode: evidence at or over the threshold while it stands only puts off its return.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.risk.breaker_table import ANOMALIES, BREAKERS, DAILY_LOSS, latches, severity_of
from pr3dict.risk.limits import RiskConfig

__all__ = ["BREAKERS", "DAILY_LOSS", "Breakers", "latches", "severity_of"]

EVERYWHERE: Final = -1
NEVER_NS: Final = 2**63 - 1
MAX_ENTRIES = 1024  # of a window; beyond it the two oldest become one, at the later time
MAX_ORDERS = 8192  # open orders remembered; beyond it the oldest is forgotten
MAX_FILLS = 2048  # trade ids of a venue remembered, to count each fill once

VOLATILE = "absurd_orders|"  # refusals of the gate are not in the journal: only their trip outlives us

Trip = e.Tripped | e.Released

# What each part of `observe` looks at; any other event or command is none of its business.
_STATE = (e.Tripped, e.Released, e.Resume, e.Listed, e.Filled, e.FillsRead, e.FillVoided)
_ORDER = (
    e.AnswerLost, e.TimedOut, e.NotSent, e.Refused, e.RequestRefused, e.Closed, e.Presumed, e.OrderRead,
)  # fmt: skip
_HEALTH = (
    e.ReadFailed, e.Malformed, e.FeedDown, e.BookInvalid, e.ClockSkewed, e.ClockJumped, e.LoopStalled,
    e.LogStalled, e.LogFailed, e.Started, e.Stopping,
)  # fmt: skip
_COMMAND = (c.Place, c.Cancel, c.CancelAll)


class AnomalyLike(Protocol):
    """Evidence that should not exist, as the account and the gate report it."""

    @property
    def code(self) -> str:
        """A word of `ANOMALIES`, or one that is only told."""

    @property
    def market(self) -> int:
        """-1: none."""

    @property
    def venue(self) -> str:
        """Empty where it belongs to no venue."""

    @property
    def text(self) -> str:
        """One sentence."""


class _Order(msgspec.Struct, array_like=True):
    """What breakers remember of an order of ours."""

    market: int
    placed_ns: int
    asked: bool = False  # we asked for its end
    filled: bool = False


class _State(msgspec.Struct, array_like=True):
    """Everything that a later call may read, ready for canonical bytes."""

    windows: dict[str, list[tuple[int, int]]] = {}
    orders: dict[int, _Order] = {}
    fills: dict[str, dict[str, bool]] = {}  # venue -> trade -> voided, oldest first
    venues: dict[int, str] = {}
    trips: dict[str, dict[int, int]] = {}  # breaker -> market -> until_ns


class _Window:
    """Weights with their times, no longer than a span."""

    def __init__(self, entries: Iterable[tuple[int, int]] = ()) -> None:
        self.entries: deque[tuple[int, int]] = deque(entries)
        self.total = sum(weight for _, weight in self.entries)

    def add(self, now_ns: int, weight: int, span_ns: int) -> int:
        """Count `weight` and return what the span up to now holds."""
        self.entries.append((now_ns, weight))
        self.total += weight
        while self.entries[0][0] <= now_ns - span_ns:
            self.total -= self.entries.popleft()[1]
        if len(self.entries) > MAX_ENTRIES:
            (_, first), (at_ns, second) = self.entries.popleft(), self.entries.popleft()
            self.entries.appendleft((at_ns, first + second))
        return self.total


class Breakers:
    """What stands tripped, and the counts behind it; bounded memory.

    The caller passes every event, command and anomaly to `observe`, and concludes (journals, then observes)
    what that and `due` return.
    """

    def __init__(self, config: RiskConfig) -> None:
        self._config = config
        self._threshold = {n: config.integer(r.threshold) if r.threshold else 1 for n, r in BREAKERS.items()}
        self._span_ns = {
            name: config.integer(row.window)
            for name, row in BREAKERS.items()
            if row.window and row.window != "settlement_fills"
        }
        self._pause_ns = {name: config.integer(row.pause) for name, row in BREAKERS.items()}
        share = self._threshold["settlement_failures"]
        self._most_voids = -(-share * config.settlement_fills // 1_000_000)
        self._churn_life_ns = config.integer("churn_life_seconds")
        self._windows: dict[str, _Window] = {}
        self._orders: dict[int, _Order] = {}
        self._fills: dict[str, dict[str, bool]] = {}
        self._venues: dict[int, str] = {}
        self._trips: dict[tuple[str, int], int] = {}
        self._folding = False
        self._routes: dict[type, Callable[[int, Any], tuple[Trip, ...]]] = {
            **dict.fromkeys(_STATE, self._observe_state),
            **dict.fromkeys(_ORDER, self._observe_order),
            **dict.fromkeys(_HEALTH, self._observe_health),
            **dict.fromkeys(_COMMAND, self._observe_command),
        }

    # --- what stands --------------------------------------------------------------------------------

    @property
    def next_due_ns(self) -> int:
        """When a pause ends next; NEVER_NS when none is running."""
        return min((until for until in self._trips.values() if until > 0), default=NEVER_NS)

    def is_blocked(self, market: int) -> bool:
        """Whether any breaker holds this market."""
        return any(place in (EVERYWHERE, market) for _, place in self._trips)

    def tripped(self) -> tuple[tuple[str, int, int], ...]:
        """All that stands as (breaker, market or -1, until_ns or 0), sorted."""
        return tuple((name, market, until) for (name, market), until in sorted(self._trips.items()))

    def due(self, now_ns: int) -> tuple[e.Released, ...]:
        """Pauses that end now."""
        over = sorted(key for key, until in self._trips.items() if 0 < until <= now_ns)
        return self._release(over)

    # --- evidence -----------------------------------------------------------------------------------

    def fold(self, now_ns: int, item: e.Event | c.Command | AnomalyLike) -> None:
        """Count what a journal holds, without tripping: trips and releases stand in the journal as well.

        So a journal means the same under other thresholds. Of one step: inputs, derived events, commands.
        """
        self._folding = True
        self.observe(now_ns, item)
        self._folding = False

    def observe(self, now_ns: int, item: e.Event | c.Command | AnomalyLike) -> tuple[Trip, ...]:
        """Count one event, command or anomaly; returns what it trips or releases."""
        route = self._routes.get(type(item))
        if route is not None:
            return route(now_ns, item)
        return () if isinstance(item, e.Event | c.Command) else self._observe_anomaly(now_ns, item)

    def _observe_state(self, now_ns: int, item: e.Event) -> tuple[Trip, ...]:
        match item:
            case e.Tripped():
                self._stand(item)
            case e.Released():
                self._release([(item.breaker, item.market)])
            case e.Resume():
                return self._release(sorted(key for key, until in self._trips.items() if until == 0))
            case e.Listed():
                self._venues[item.market] = item.venue
            case e.Filled():
                return self._filled(now_ns, item)
            case e.FillsRead():
                return tuple(trip for fill in item.fills for trip in self._filled(now_ns, fill))
            case e.FillVoided():
                return self._voided(now_ns, item)
            case _:
                pass
        return ()

    def _observe_order(self, now_ns: int, item: e.Event) -> tuple[Trip, ...]:
        match item:
            case e.AnswerLost() | e.TimedOut():
                why = item.why if isinstance(item, e.AnswerLost) else "no answer in time"
                return self._error(now_ns, item.order_id, f"{item.request}: {why}")
            case e.NotSent():
                trips = self._error(now_ns, item.order_id, f"not sent: {item.why}")
                self._orders.pop(item.order_id, None)
                return trips
            case e.Refused():
                return self._refused(now_ns, item)
            case e.RequestRefused() if item.why != "unknown_order":
                order = self._orders.get(item.order_id)
                if order is not None:
                    return self._count(now_ns, "refusals", order.market, f"{item.request}: {item.why}")
            case e.Closed():
                return self._ended(now_ns, item.order_id, item.filled, item.why)
            case e.Presumed():
                return self._ended(now_ns, item.order_id, item.filled, "expired")
            case e.OrderRead(status="closed"):
                self._orders.pop(item.order_id, None)
            case _:
                pass
        return ()

    def _observe_health(self, now_ns: int, item: e.Event) -> tuple[Trip, ...]:
        match item:
            case e.ReadFailed():
                return self._count_venue(now_ns, "errors", item.venue, f"read {item.read}: {item.why}")
            case e.Malformed():
                return self._count_venue(now_ns, "malformed", item.venue, item.why, item.count)
            case e.FeedDown():
                return self._count_venue(now_ns, "feed_losses", item.venue, item.why)
            case e.BookInvalid():
                name = "book_disagreements" if item.why == "differs" else "invalid_books"
                return self._count(now_ns, name, item.market, item.why)
            case e.ClockSkewed():
                what = f"our clock less that of {item.venue}"
                return self._measure(now_ns, "clock_skew", abs(item.skew_ns) - 1, what, item.skew_ns)
            case e.ClockJumped():
                return self._measure(now_ns, "clock_jump", abs(item.gap_ns), "jump", item.gap_ns)
            case e.LoopStalled():
                return self._measure(now_ns, "loop_stall", item.gap_ns, "stall", item.gap_ns)
            case e.LogStalled():
                return self._measure(now_ns, "log_stall", item.gap_ns, "no write confirmed for", item.gap_ns)
            case e.LogFailed():
                return self._trip(now_ns, "log_failure", (EVERYWHERE,), item.why)
            case e.Started():
                return self._count(now_ns, "crash_loop", EVERYWHERE, "start without a clean stop")
            case e.Stopping():
                self._windows.pop(_key("crash_loop", EVERYWHERE), None)
            case _:
                pass
        return ()

    def _observe_command(self, now_ns: int, item: c.Command) -> tuple[Trip, ...]:
        match item:
            case c.Place():
                self._orders[item.order_id] = _Order(item.market, now_ns)
                if len(self._orders) > MAX_ORDERS:
                    del self._orders[min(self._orders)]
            case c.Cancel():
                order = self._orders.get(item.order_id)
                if order is None or order.asked:
                    return ()
                order.asked = True
                age_ns = now_ns - order.placed_ns
                if age_ns < self._churn_life_ns:
                    return self._count(
                        now_ns, "churn", order.market, f"the last lived {age_ns / NS_PER_SECOND:.3f} s"
                    )
            case c.CancelAll():
                for order in self._orders.values():
                    if self._venues.get(order.market, item.venue) == item.venue:
                        order.asked = True
            case _:
                pass
        return ()

    def _observe_anomaly(self, now_ns: int, item: AnomalyLike) -> tuple[Trip, ...]:
        name = ANOMALIES.get(item.code, "")
        if not name:
            return ()
        if BREAKERS[name].scope == "venue" and item.venue:
            return self._count_venue(now_ns, name, item.venue, item.text)
        return self._count(now_ns, name, item.market, item.text)

    # --- orders and fills ---------------------------------------------------------------------------

    def _error(self, now_ns: int, order_id: int, text: str) -> tuple[Trip, ...]:
        order = self._orders.get(order_id)
        venue = self._venues.get(order.market, "") if order is not None else ""
        return self._count_venue(now_ns, "errors", venue, text)

    def _refused(self, now_ns: int, item: e.Refused) -> tuple[Trip, ...]:
        order = self._orders.pop(item.order_id, None)
        if order is None:
            return ()
        text = f"{item.why} {item.text}".rstrip()
        if item.why == "post_only_cross":
            return self._count(now_ns, "crossings", order.market, text)
        return self._count(now_ns, "refusals", order.market, text)

    def _ended(self, now_ns: int, order_id: int, filled: int, why: str) -> tuple[Trip, ...]:
        order = self._orders.pop(order_id, None)
        asked = why == "none" and order is not None and order.asked
        if order is None or order.filled or filled > 0 or why == "filled" or asked:
            return ()
        return self._count(now_ns, "unasked_ends", order.market, why)

    def _filled(self, now_ns: int, fill: e.Filled) -> tuple[Trip, ...]:
        """A fill counts once, whichever route tells it and however often."""
        seen = self._fills.setdefault(self._venues.get(fill.market, ""), {})
        trade = f"{fill.market}:{fill.trade_id}"
        if trade in seen:
            return ()
        _remember(seen, trade, voided=False)
        order = self._orders.get(fill.order_id)
        if order is not None:
            order.filled = True
        self._windows.pop(_key("unasked_ends", fill.market), None)
        if fill.exch_ns <= now_ns - self._span_ns["fill_burst_count"]:
            return ()  # read late: it is no part of what happens now
        text = f"the last traded at {fill.price / 10_000:.4f}"
        return self._count(now_ns, "fill_burst_count", fill.market, text) + self._count(
            now_ns, "fill_burst_contracts", fill.market, text, fill.size
        )

    def _voided(self, now_ns: int, item: e.FillVoided) -> tuple[Trip, ...]:
        venue = self._venues.get(item.market, "")
        seen = self._fills.setdefault(venue, {})
        trade = f"{item.market}:{item.trade_id}"
        if seen.get(trade, False):
            return ()
        if trade in seen:
            seen[trade] = True
        else:
            _remember(seen, trade, voided=True)
        last = list(seen.values())[-self._config.settlement_fills :]
        voids = sum(last)
        if not self._most_voids or voids < self._most_voids:
            return ()
        text = f"{voids} of the last {len(last)} fills of {venue} were voided: {item.why}"
        return self._trip(now_ns, "settlement_failures", self._markets_of(venue), text)

    # --- counting and tripping ----------------------------------------------------------------------

    def _markets_of(self, venue: str) -> tuple[int, ...]:
        return tuple(sorted(m for m, name in self._venues.items() if name == venue)) or (EVERYWHERE,)

    def _count_venue(
        self, now_ns: int, name: str, venue: str, text: str, weight: int = 1
    ) -> tuple[Trip, ...]:
        return self._count_at(now_ns, name, venue, self._markets_of(venue), text, weight)

    def _count(self, now_ns: int, name: str, market: int, text: str, weight: int = 1) -> tuple[Trip, ...]:
        place = EVERYWHERE if BREAKERS[name].scope == "all" else market
        return self._count_at(now_ns, name, place, (place,), text, weight)

    def _count_at(
        self, now_ns: int, name: str, place: int | str, markets: tuple[int, ...], text: str, weight: int
    ) -> tuple[Trip, ...]:
        threshold = self._threshold[name]
        if threshold == 0:
            return ()
        span_ns = self._span_ns.get(name)
        if span_ns is None:
            return self._trip(now_ns, name, markets, text)
        window = self._windows.setdefault(_key(name, place), _Window())
        total = window.add(now_ns, weight, span_ns)
        if total < threshold:
            return ()
        scale = self._config.facts(BREAKERS[name].threshold)["scale"]
        count = f"{BREAKERS[name].counts}: {total / scale:g} in {span_ns / NS_PER_SECOND:g} s"
        return self._trip(now_ns, name, markets, f"{count}, the last: {text}")

    def _measure(self, now_ns: int, name: str, size_ns: int, what: str, shown_ns: int) -> tuple[Trip, ...]:
        """Trip when a span reaches its threshold."""
        threshold = self._threshold[name]
        if threshold == 0 or size_ns < threshold:
            return ()
        limit = f"the limit is {threshold / NS_PER_SECOND:g} s"
        return self._trip(now_ns, name, (EVERYWHERE,), f"{what} {shown_ns / NS_PER_SECOND:.3f} s; {limit}")

    def _trip(self, now_ns: int, name: str, markets: tuple[int, ...], text: str) -> tuple[Trip, ...]:
        until_ns = now_ns + self._pause_ns[name] if BREAKERS[name].action == "pause" else 0
        trips = []
        for market in markets:
            stands = self._trips.get((name, market))
            if stands is None and not self._folding:
                trips.append(e.Tripped(breaker=name, market=market, until_ns=until_ns, text=text))
                self._trips[name, market] = until_ns
            elif stands:
                self._trips[name, market] = max(stands, until_ns)
        return tuple(trips)

    def _stand(self, event: e.Tripped) -> None:
        """What was concluded stands: our own trips already do, others (the day's loss) are kept from here."""
        stands = self._trips.get((event.breaker, event.market))
        if stands is None:
            self._trips[event.breaker, event.market] = event.until_ns
        elif stands > 0 and event.until_ns > 0:
            self._trips[event.breaker, event.market] = max(stands, event.until_ns)

    def _release(self, keys: Iterable[tuple[str, int]]) -> tuple[e.Released, ...]:
        """Let go, and start counting anew."""
        released = []
        for name, market in keys:
            if self._trips.pop((name, market), None) is None:
                continue
            for place in (market, self._venues.get(market, "")):
                self._windows.pop(_key(name, place), None)
            if name == "settlement_failures":
                self._fills.pop(self._venues.get(market, ""), None)
            released.append(e.Released(breaker=name, market=market))
        return tuple(released)

    # --- as bytes -----------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The state as canonical bytes: equal states give equal bytes."""
        trips: dict[str, dict[int, int]] = {}
        for (name, market), until in sorted(self._trips.items()):
            trips.setdefault(name, {})[market] = until
        state = _State(
            windows={
                key: list(window.entries)
                for key, window in sorted(self._windows.items())
                if not key.startswith(VOLATILE)
            },
            orders=dict(sorted(self._orders.items())),
            fills={venue: self._fills[venue] for venue in sorted(self._fills)},
            venues=dict(sorted(self._venues.items())),
            trips=trips,
        )
        return msgspec.msgpack.encode(state)

    def load(self, blob: bytes) -> None:
        """Take over the state that `encode` gave; raises `msgspec.DecodeError` for other bytes."""
        state = msgspec.msgpack.decode(blob, type=_State)
        self._windows = {key: _Window(entries) for key, entries in state.windows.items()}
        self._orders = state.orders
        self._fills = state.fills
        self._venues = state.venues
        self._trips = {(name, m): until for name, row in state.trips.items() for m, until in row.items()}


def _key(name: str, place: int | str) -> str:
    return f"{name}|{place}"


def _remember(seen: dict[str, bool], trade: str, *, voided: bool) -> None:
    seen[trade] = voided
    if len(seen) > MAX_FILLS:
        del seen[next(iter(seen))]
