"""Lives that end at any moment: sessions of kills at random and at named points, each with one exchange."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from audit import Facts, check, look
from rig import PATIENCE_S, Exchange, Trader, Zygote, until

from pr3dict.domain.events import Halt, Resume
from pr3dict.store.latch import LatchFile
from pr3dict.store.mailbox import Mailbox

LONGEST_MS = 3_000
HALTED_CODE = 3
STANDING_CODE = 1  # orders may still stand
BRIEF_S = 6.0
INTERRUPTED_CODE = 130  # asked to end while it was still starting


@dataclass
class Tally:
    """What sessions did and found; `seconds_to_quoting` of lives that were watched, from their start."""

    kills: int = 0
    starts: int = 0
    halted: int = 0  # lives that began with the latch set
    fills: int = 0
    orders: int = 0
    failed: int = 0  # lives that ended before their first step because the exchange did not answer
    sessions: int = 0
    settled: int = 0  # markets that paid out
    seconds_to_quoting: list[float] = field(default_factory=list)
    passes: dict[str, int] = field(default_factory=dict)  # of crash points that killed
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.kills += other.kills
        self.starts += other.starts
        self.halted += other.halted
        self.fills += other.fills
        self.orders += other.orders
        self.failed += other.failed
        self.sessions += other.sessions
        self.settled += other.settled
        self.seconds_to_quoting += other.seconds_to_quoting
        self.wrong += other.wrong
        for name, count in other.passes.items():
            self.passes[name] = self.passes.get(name, 0) + count


class Session:
    """One exchange, one data directory, many lives."""

    def __init__(
        self, zygote: Zygote, exchange: Exchange, folder: Path, *settings: str, provisional: bool = False
    ) -> None:
        """`provisional`: the exchange takes fills back, and says which (`exchange.failed`).

        There an order that a kill cut off may stand for minutes, so a life may end with orders that do.
        """
        self.exchange = exchange
        self.provisional = provisional
        self.trader = Trader(zygote, exchange, folder, *settings)
        self.latch = LatchFile(self.trader.place.latch)
        self.tally = Tally(sessions=1)
        self._name = folder.name
        self._facts = Facts(provisional=provisional)

    @property
    def stops(self) -> tuple[int, ...]:
        """Codes of an orderly stop."""
        return (0, STANDING_CODE) if self.provisional else (0,)

    def note(self, wrong: Iterable[str]) -> None:
        self.tally.wrong += [f"{self._name}, life {self.tally.starts}: {what}" for what in wrong]

    def look(self) -> None:
        """After a kill: nothing at the exchange that the journal does not know."""
        self.note(look(self.trader.place.journal, self.exchange.truth(), self._facts))

    def live(self, *, crash_at: str = "", kill_ms: float | None = None) -> None:
        was_latched = self.latch.read() is not None
        self.tally.halted += was_latched
        self.tally.starts += 1
        self.trader.start(crash_at=crash_at, kill_ms=kill_ms)

    def ends_killed(self, code: int | None, *, may_fail: bool = False) -> bool:
        """Count a kill; a life that ended by itself must have been asked to, and end in order.

        `may_fail`: it was asked before its first step, in the middle of whatever it was loading.
        """
        if code in (-signal.SIGKILL, -signal.SIGTERM):  # the latter before it listens to signals
            self.tally.kills += 1
            return True
        if code not in (HALTED_CODE, INTERRUPTED_CODE, *self.stops) and not may_fail:
            self.note([f"ended with {code}: {self.trader.said()}"])
        return False

    def post(self, command: Halt | Resume) -> str:
        return Mailbox(self.trader.place.mailbox).post(command)

    def finish(self, quoting_s: float | None = PATIENCE_S) -> Tally:
        """A last life that must reach quoting, stop in order and agree with the exchange in everything.

        `quoting_s` None: it may be stopped before orders that kills cut off can be ruled out.
        """
        if self.latch.read() is not None or posts(self):
            make_ready(self)
        starts = self.trader.starts() + 1
        began_s = time.monotonic()
        self.live()
        if self.trader.await_quoting(starts, BRIEF_S if quoting_s is None else quoting_s):
            self.tally.seconds_to_quoting.append(time.monotonic() - began_s)
        elif quoting_s is not None:
            self.note([f"never quotes again: {self.trader.said()}"])
        time.sleep(0.5)
        code = self.trader.stop()
        if code != 0 and (quoting_s is not None or code not in self.stops):
            self.note([f"the last stop ended with {code}: {self.trader.said()}"])
        truth = self.exchange.truth()
        failed = self.exchange.failed if self.provisional else None
        found = check(self.trader.place.journal, truth, failed, doubts=quoting_s is None)
        self.note(found.wrong)
        self.tally.fills, self.tally.orders = found.fills, found.orders
        self.tally.settled = len(truth.settled)
        return self.tally


def random_kills(session: Session, kills: int, seed: int) -> Tally:
    """Kill after 1 to 3,000 ms; some lives are asked to stop shortly before, some start latched."""
    chance = random.Random(seed)
    halted_lives = range(kills // 3, kills // 3 + min(3, kills // 4))
    orders_before = 0
    for number in range(2 * kills):
        if session.tally.kills == kills:
            break
        kill_ms = float(chance.randint(1, LONGEST_MS))
        if number in halted_lives and number == halted_lives[0]:
            kill_ms = LONGEST_MS
        starts, is_asked = session.trader.starts(), False
        session.live(kill_ms=kill_ms)
        if number in halted_lives and number == halted_lives[0]:
            session.post(Halt(command_id="", who="test", reason="a person says so"))
            if not until(lambda: session.latch.read() is not None, 20):
                session.note(["the latch was not set within 20 s"])
        elif chance.random() < 0.2:  # in the middle of a stop
            time.sleep(max(0.0, kill_ms - chance.uniform(0, 300)) / 1000)
            session.trader.zygote.signal(signal.SIGTERM)
            is_asked = True
        code = session.trader.zygote.ended()
        session.ends_killed(code, may_fail=is_asked and session.trader.starts() == starts)
        session.look()
        orders_before = check_latch(session, number in halted_lives, orders_before)
        if halted_lives and number == halted_lives[-1]:
            session.post(Resume(command_id="", who="test", reason="it was a test"))
    return session.finish()


def check_latch(session: Session, halted: bool, orders_before: int) -> int:
    """Orders that ever reached the exchange; while the latch is set there are no more of them."""
    if not halted:
        return 0
    if session.latch.read() is None:
        session.note(["the latch is gone after a kill"])
    orders = len(session.exchange.truth().order_ids)
    if orders_before and orders > orders_before:
        session.note([f"{orders - orders_before} orders were sent although the latch was set"])
    return orders


# --- named points ----------------------------------------------------------------------------------

BY_HALT = ("latch.write", "latch.rename", "latch.written", "mailbox.answered")
BY_RESUME = ("latch.clear",)
BY_POST = ("mailbox.post",)
BY_STOP = ("recorder.", "shell.snapshot", "shutdown.", "snapshot.")
BY_WAITING = ("lease.renew",)
RUN_S = 2.5  # how long a life may take to come to a point
WAIT_S = 8.0


def point_kills(session: Session, point: str, times: int) -> None:
    """Kill `times` times at a point, at its first pass, its second, ... and from the first again.

    A life that never gets to its pass ends in order; a point that is not reached at all is reported.
    """
    kills, n = 0, 1
    for _ in range(2 * times + 1):
        if kills == times:
            break
        if point_life(session, point, n):
            kills += 1
            n += 1
        elif n == 1:
            session.note([f"the crash point {point} is never reached"])
            break
        else:
            n = 1
        session.look()
    session.tally.passes[point] = session.tally.passes.get(point, 0) + kills


def point_life(session: Session, point: str, n: int) -> bool:
    """One life of the kind that comes to `point`; whether it was killed there."""
    if point in BY_POST:
        return post_life(session, point, n)
    trader = session.trader
    if point in BY_HALT or session.latch.read() is not None:
        make_ready(session)
    if point in BY_RESUME:
        make_ready(session)
        session.latch.set("halt", "the test needs it", 0)
        session.post(Resume(command_id="", who="test", reason="the point"))
    starts = trader.starts() + 1
    session.live(crash_at=f"{point}:{n}")
    if point in BY_HALT and trader.await_quoting(starts, 20):
        session.post(Halt(command_id="", who="test", reason="the point"))
    if point.startswith(BY_STOP):
        trader.await_quoting(starts, 20)
        code = trader.stop()
    else:
        code = trader.zygote.ended(WAIT_S if point in BY_WAITING else RUN_S)
        if code is None:
            code = trader.stop()
    return session.ends_killed(code)


def make_ready(session: Session) -> None:
    """A life in between: no command waits for the next one, and the latch is not set."""
    trader = session.trader
    starts = trader.starts() + 1
    session.live()
    trader.await_quoting(starts)
    session.post(Resume(command_id="", who="test", reason="the next point"))
    is_ready = until(lambda: session.latch.read() is None and not any(posts(session)), 20)
    if trader.stop() not in session.stops or not is_ready:
        session.note([f"a resume was not obeyed: {trader.said()}"])


def posts(session: Session) -> list[Path]:
    return list((session.trader.place.mailbox / "posts").glob("*.json"))


def post_life(session: Session, point: str, n: int) -> bool:
    """`pr3dict resume` dies on its way to a trader, which goes on."""
    trader = session.trader
    if trader.starts() == 0:
        make_ready(session)
    resume = ["resume", "--reason", "the point", "--data-dir", str(trader.place.path)]
    trader.zygote.start(resume, trader.log, crash_at=f"{point}:{n}")
    session.tally.starts += 1
    return session.ends_killed(trader.zygote.ended())
