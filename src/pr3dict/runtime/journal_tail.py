"""What a journal adds to a view of the engine: the last fills, the words of alerts and breakers, payouts.

A tail reads the steps that came since its last look, of a running process or of one that has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pr3dict.domain.commands import Alert, ClearLatch, SetLatch
from pr3dict.domain.events import Control, Filled, FillsRead, Latched, Listed, Released, Settled, Tripped
from pr3dict.domain.steps import Step
from pr3dict.domain.units import MICROS_PER_PRICE_UNIT, format_contracts, format_dollars, format_price
from pr3dict.runtime.status import moment, side_word
from pr3dict.store.journal import Journal

KEPT_FILLS: Final = 50
LOOK_BACK_STEPS: Final = 20_000  # of a long journal whose process can be asked for the rest


class JournalTail:
    """Follows a journal; `add_to` completes a status."""

    def __init__(self, journal: Journal, *, after: int = 0) -> None:
        """Begin after step `after`."""
        self.journal = journal
        self.number = after
        self.markets: dict[int, Listed] = {}
        self.fills: deque[tuple[int, Filled]] = deque(maxlen=KEPT_FILLS)
        self._seen: dict[tuple[int, str], None] = {}
        self._breakers: dict[tuple[str, int], Tripped] = {}
        self._alerts: dict[tuple[str, int], Alert] = {}
        self._settled: dict[int, Settled] = {}
        self._latch: tuple[str, str] | None = None

    def look(self) -> None:
        """Take in the steps since the last look; raises `LogError` as `Journal.steps`."""
        self.take(self.journal.steps(self.number))

    def take(self, steps: Iterable[Step]) -> None:
        """Take in steps in order."""
        for step in steps:
            self.number = step.number
            for event in (*step.inputs, *step.derived):
                self._event(step.now_ns, event)
            for command in step.commands:
                if isinstance(command, Alert):
                    key = (command.name, command.market)
                    if command.on:
                        self._alerts[key] = command
                    else:
                        self._alerts.pop(key, None)
                elif isinstance(command, SetLatch):
                    self._latch = self._latch or (command.reason, command.text)
                elif isinstance(command, ClearLatch):
                    self._latch = None

    def _event(self, now_ns: int, event: Control) -> None:
        match event:
            case Filled():
                self._fill(now_ns, event)
            case FillsRead():
                for fill in event.fills:
                    self._fill(now_ns, fill)
            case Listed():
                self.markets[event.market] = event
            case Tripped():
                self._breakers[event.breaker, event.market] = event
            case Released():
                self._breakers.pop((event.breaker, event.market), None)
            case Settled():
                self._settled[event.market] = event
            case Latched():
                self._latch = self._latch or (event.reason, event.text)
            case _:
                pass

    def _fill(self, now_ns: int, fill: Filled) -> None:
        key = (fill.market, fill.trade_id)
        if key not in self._seen:  # a venue may tell of a fill more than once
            self._seen[key] = None
            if len(self._seen) > 20 * KEPT_FILLS:
                del self._seen[next(iter(self._seen))]
            self.fills.append((now_ns, fill))

    def add_to(self, status: dict[str, Any]) -> dict[str, Any]:
        """A status with the last fills, and words for what only has a name."""
        tickers = {market["market"]: market["ticker"] for market in status["markets"]}
        for breaker in status["breakers"]:
            found = self._breakers.get((breaker["breaker"], _row(breaker)))
            if found is not None:
                breaker |= {"text": found.text, "until": moment(found.until_ns)}
        for alert in status["alerts"]:
            said = self._alerts.get((alert["name"], _row(alert)))
            if said is not None:
                alert |= {"text": said.text, "severity": said.severity}
        for market in status["markets"]:
            settled = self._settled.get(market["market"])
            if settled is not None:
                market["settled"] = "refund" if settled.refund else _paid(settled)
        if self._latch is not None:
            status["latch"] = {"reason": self._latch[0], "text": self._latch[1]}
        status["fills"] = [_fill_json(tickers, at_ns, fill) for at_ns, fill in self.fills]
        status["journal"]["last"] = self.number
        return status


def recent_tail(journal: Journal) -> JournalTail:
    """The tail of a journal that may be long, from its last `LOOK_BACK_STEPS` steps."""
    tail = JournalTail(journal, after=max(0, journal.last_number - LOOK_BACK_STEPS))
    tail.look()
    return tail


def _row(told: dict[str, Any]) -> int:
    return -1 if told["market"] is None else int(told["market"])


def _paid(settled: Settled) -> str:
    return format_price(settled.value_micros // MICROS_PER_PRICE_UNIT)


def _fill_json(tickers: Mapping[int, str], at_ns: int, fill: Filled) -> dict[str, Any]:
    return {
        "time": moment(fill.exch_ns or at_ns),
        "ticker": tickers.get(fill.market, str(fill.market)),
        "side": side_word(fill.side),
        "price": format_price(fill.price),
        "size": format_contracts(fill.size),
        "fee": format_dollars(fill.fee_micros - fill.rebate_micros),
        "maker": fill.maker,
        "final": fill.final,
        "order_id": fill.order_id,
        "trade_id": fill.trade_id,
    }
