"""What a journal and its recording say about a run under faults, step by step, without the engine's code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from live.truth import TrueOrder
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.store.recording import read_rows

SECOND: Final = 1_000_000_000
NOTHING: Final = "there is nothing to do"  # of an operation that was not needed after all
SLACK_NS: Final = 2 * SECOND
READS: Final = frozenset({e.OrdersRead, e.FillsRead, e.PositionsRead, e.BalanceRead})


class Story:
    """Reads one run; `wrong` are decisions that what was known did not allow, `seen` counts effects."""

    def __init__(
        self, risk: RiskConfig, markets: int, effects: Mapping[str, str], words: Sequence[tuple[str, str]]
    ) -> None:
        """`effects`: what each fault leads to, by the names that `seen` counts; "" where nothing may be seen.

        `words`: what a lost feed says, and what that is counted as.
        """
        self._effects = effects
        self._words = words
        self.wrong: list[str] = []
        self.seen: Counter[str] = Counter()
        self._risk = risk
        self._everything = frozenset(range(markets))
        self._broken = set(self._everything)
        self._down = True
        self._alive_ns = 0
        self._reads: set[type] = set()
        self._group_stopped = False
        self._places: dict[int, c.Place] = {}
        self._trades: Counter[str] = Counter()
        self._over: set[int] = set()  # orders that were told to be over
        self._open: set[int] = set()  # orders that were told to rest

    def read(self, place: DataDir) -> None:
        """All steps in order, with the snapshots that were recorded before each."""
        ends = self._read_rows(place)
        at = 0
        with Journal.read(place.journal) as journal:
            for step in journal.steps():
                for event in step.inputs:
                    self._hear(event)
                while at < len(ends) and ends[at][0] <= step.now_ns:
                    self._broken.discard(ends[at][1])
                    at += 1
                for event in step.derived:
                    self.seen[type(event).__name__] += 1
                    if isinstance(event, e.Transferred | e.FillVoided):
                        self.wrong.append(f"step {step.number}: {event} that nothing explains")
                for command in step.commands:
                    self._command(step, command)

    def _read_rows(self, place: DataDir) -> list[tuple[int, int]]:
        """(local time, market) at which whole books came; counts what happened to markets."""
        found: list[tuple[int, int]] = []
        for folder in sorted(place.tapes.iterdir()):
            for rows in read_rows(folder) if any(folder.glob("rows-*")) else ():
                last = rows[(rows["kind"] == d.SNAPSHOT) & (rows["bits"] & d.SNAP_LAST != 0)]
                found += zip(last["local_ns"].tolist(), last["market"].tolist(), strict=True)
                paused = (rows["kind"] == d.STATUS) & (rows["aux"] == d.PAUSED)
                self.seen["market paused"] += int(paused.sum())
                self.seen["close moved"] += int((rows["kind"] == d.CLOSE_TIME).sum())
                self.seen["grid changed"] += int((rows["kind"] == d.TICK).sum())
        return sorted(found)

    def compare(self, orders: Iterable[TrueOrder]) -> None:
        """Each order at the stand-in is what its intent says, or less of it."""
        for order in orders:
            place = self._places.get(order.order_id)
            if place is None:
                continue  # the audit says so
            meant = (place.market, place.side, place.price)
            is_same = (order.market, order.side, order.price) == meant and order.size <= place.size
            if not is_same or order.sell not in (None, place.sell):
                self.wrong.append(f"order {place.order_id} is {order} at the exchange, meant as {place}")

    def effective(self) -> dict[str, int]:
        """What was seen of each fault."""
        return {fault: self.seen[effect] for fault, effect in self._effects.items() if effect}

    def _hear(self, event: e.Control) -> None:
        self.seen[type(event).__name__] += 1
        match event:
            case e.Started():
                self._down, self._alive_ns, self._reads = True, 0, set()
                self._broken = set(self._everything)
            case e.BookInvalid():
                self.seen[f"book {event.why}"] += 1
                self._broken.add(event.market)
            case e.FeedDown():
                word = next((short for text, short in self._words if text in event.why), "lost")
                self.seen[f"feed {word}"] += 1
                self._down, self._broken = True, set(self._everything)
            case e.FeedUp():
                self._down, self._alive_ns = False, 0
            case e.FeedAlive():
                self._alive_ns = max(self._alive_ns, event.venue_ns)
            case e.OrdersRead() | e.FillsRead() | e.PositionsRead() | e.BalanceRead():
                self._reads.add(type(event))
                self.seen["late index"] += event.as_of_ns < event.asked_ns - SECOND // 4
                for fill in event.fills if isinstance(event, e.FillsRead) else ():
                    self.seen["found by a read"] += fill.trade_id not in self._trades
                    self._trades[fill.trade_id] += 1
            case _:
                self._hear_order(event)

    def _hear_order(self, event: e.Control) -> None:
        match event:
            case e.Accepted():
                self.seen["told too late"] += event.order_id in self._over
                self.seen["told twice"] += event.order_id in self._open
                self._open.add(event.order_id)
            case e.Filled():
                self.seen["told twice"] += self._trades[event.trade_id] > 0
                self.seen["told too late"] += event.order_id in self._over
                self._trades[event.trade_id] += 1
            case e.Closed():
                self.seen[f"closed {event.why}"] += 1
                self.seen["told twice"] += event.order_id in self._over
                self._over.add(event.order_id)
            case e.OrderRead(status="closed"):
                self.seen["found by a read"] += event.order_id not in self._over
                self._over.add(event.order_id)
            case e.AnswerLost():
                self.seen["answer lost"] += 1
            case e.Refused() | e.RequestRefused():
                self.seen[f"refused {event.why}"] += 1
            case e.NotSent():
                self.seen[f"not sent {event.why[:28]}"] += 1
            case _:
                self._hear_rest(event)

    def _hear_rest(self, event: e.Control) -> None:
        match event:
            case e.VenueStatus():
                self.seen[f"venue {event.status}"] += 1
            case e.Halt():
                self.seen[f"halt by {event.who}"] += 1
                self._group_stopped = True
            case e.Resume():
                self._group_stopped = False
            case e.OperationEnded(done=False):
                self.seen["operation failed"] += event.why != NOTHING
            case _:
                pass

    def _command(self, step: object, command: c.Action) -> None:
        self.seen[type(command).__name__] += 1
        if isinstance(command, c.SetLatch):
            self.seen[f"latch {command.reason}"] += 1
        if not isinstance(command, c.Place):
            return
        self._places[command.order_id] = command
        now_ns = step.now_ns  # type: ignore[attr-defined]
        why = ""
        if self._group_stopped:
            why = "after a halt that nobody has lifted"
        elif self._down:
            why = "while the streams are down"
        elif command.market in self._broken:
            why = "while its book waits for a snapshot"
        elif self._alive_ns and now_ns - self._alive_ns > self._risk.feed_timeout_ns + SLACK_NS:
            why = f"{(now_ns - self._alive_ns) / SECOND:.1f} s after the last proof of life"
        elif READS - self._reads:
            why = f"before {sorted(kind.__name__ for kind in READS - self._reads)} were read"
        if why:
            self.wrong.append(f"step {step.number}: order {command.order_id} was decided {why}")  # type: ignore[attr-defined]
