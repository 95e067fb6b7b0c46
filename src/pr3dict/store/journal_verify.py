"""Proof that a journal is whole and means what it says: every row read again, every sum made a second way.

What is compared: SQLite's own check; the mark; numbers and times of the steps; the hash chain; each row's
columns with its body; the account folded from the first step with the one folded from the latest snapshot and
with the hashes noted on the way; and each position with the sum of its fills, made here from the raw JSON.
Where a process began with other order terms than the one before, the account's timers differ from what was
noted: from there on no hash is compared, and of the snapshot orders, positions and cash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from pr3dict.domain.errors import Pr3dictError
from pr3dict.domain.events import Started
from pr3dict.domain.steps import Step
from pr3dict.domain.units import BID
from pr3dict.engine import recovery
from pr3dict.engine.account import Account, OrderTerms
from pr3dict.store.journal import (
    CHAIN_START,
    Columns,
    Journal,
    LogError,
    Stored,
    columns_of,
    control_hash,
    link,
    load_step,
)

WHOLE: Final = "the database is whole"
MARK: Final = "nothing durable was lost"
CHAIN: Final = "numbers, times and hash chain"
ROWS: Final = "columns agree with their bodies"
HASHES: Final = "noted hashes of the account"
SNAPSHOT: Final = "account from the latest snapshot"
POSITIONS: Final = "positions from raw fills"


class Check(NamedTuple):
    """One comparison: how many things were compared, and the first difference (None: all agree)."""

    name: str
    compared: int
    difference: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a journal holds and what was compared."""

    path: str
    steps: int
    inputs: int
    derived: int
    commands: int
    quotes: int
    starts: int
    first_ns: int
    last_ns: int
    chain: str
    checks: tuple[Check, ...]

    @property
    def difference(self) -> str | None:
        """The first difference of all."""
        return next((f"{c.name}: {c.difference}" for c in self.checks if c.difference is not None), None)


def verify(journal: Journal, terms: Callable[[Started], OrderTerms]) -> Verified:
    """Compare everything that can be; reads the journal twice (SQLite's check, then every step).

    `terms` gives the order terms of a process from its `Started`.

    Raises:
        LogError: the file can't be read at all.
    """
    run = _Run(journal, terms)
    run.note(WHOLE, journal.integrity_defect(), count=1)
    run.note(MARK, journal.mark_defect(), count=1)
    try:
        for stored in journal.stored():
            if not run.take(stored):
                break
    except LogError as error:
        run.note(CHAIN, str(error))
    run.end()
    return run.result()


class _Run:
    """One pass over the steps."""

    def __init__(self, journal: Journal, terms: Callable[[Started], OrderTerms]) -> None:
        self.journal = journal
        self.terms = terms
        self.compared = dict.fromkeys((WHOLE, MARK, CHAIN, ROWS, HASHES, SNAPSHOT, POSITIONS), 0)
        self.differences: dict[str, str] = {}
        self.counts = {"input": 0, "derived": 0, "command": 0}
        self.quotes = self.starts = self.first_ns = 0
        self.number = self.now_ns = 0
        self.chain = CHAIN_START
        self.noted = journal.checkpoints()
        self.snapshot = journal.latest_snapshot()
        self.account: Account | None = None
        self.younger: Account | None = None  # folded from the snapshot
        self.exact = True  # every process so far had the same order terms
        self.raw = RawPositions()

    def note(self, name: str, difference: str | None, *, count: int = 0) -> None:
        """`count` more things compared, with this difference."""
        self.compared[name] += count
        if difference is not None:
            self.differences.setdefault(name, difference)

    def take(self, stored: Stored) -> bool:
        """Check one step and fold it; False when going on makes no sense."""
        self.note(CHAIN, self._chain_defect(stored), count=1)
        try:
            step = load_step(stored)
        except (msgspec.MsgspecError, Pr3dictError) as error:
            self.note(ROWS, f"step {stored.number} can't be read ({error})")
            return False
        self.note(ROWS, _columns_defect(stored, step), count=len(stored.events))
        for columns in stored.events:
            self.counts[columns.source] += 1
            self.raw.take(columns)
        self.quotes += len(stored.quotes)
        self.first_ns = self.first_ns or stored.now_ns
        self.number, self.now_ns, self.chain = stored.number, stored.now_ns, stored.chain
        return self._fold(step)

    def _chain_defect(self, stored: Stored) -> str | None:
        if stored.number != self.number + 1:
            return f"step {stored.number} follows step {self.number}"
        if stored.now_ns < self.now_ns:
            return f"step {stored.number} goes back in time"
        if stored.chain != link(self.chain, stored):
            return f"step {stored.number} or the hash of the one before was altered"
        return None

    def _fold(self, step: Step) -> bool:
        try:
            for event in step.inputs:
                if isinstance(event, Started):
                    self._start(self.terms(event))
            if self.account is not None:
                self._advance(self.account, step)
        except (Pr3dictError, msgspec.MsgspecError, ArithmeticError, LookupError) as error:
            self.note(SNAPSHOT, f"the fold stopped at step {step.number} ({type(error).__name__}: {error})")
            return False
        return True

    def _start(self, terms: OrderTerms) -> None:
        """A process began: from here on its times hold."""
        self.starts += 1
        if self.account is None:
            self.account = Account(terms)
        elif terms != self.account.terms:
            self.exact = False
            self.account = Account.decode(self.account.encode(), terms)
            if self.younger is not None:
                self.younger = Account.decode(self.younger.encode(), terms)

    def _advance(self, account: Account, step: Step) -> None:
        fold(account, step)
        if self.younger is not None:
            fold(self.younger, step)
        if self.snapshot is not None and self.snapshot.number == step.number:
            kept = msgspec.msgpack.decode(self.snapshot.blob, type=recovery.Snapshot)
            self.younger = Account.decode(kept.account, account.terms)
            self._compare_accounts(account)
        if step.number in self.noted and self.exact:
            same = control_hash(account.encode()) == self.noted[step.number]
            wrong = f"step {step.number} folds to another account than the one that was noted"
            self.note(HASHES, None if same else wrong, count=1)

    def _compare_accounts(self, account: Account) -> None:
        if self.younger is None or self.snapshot is None:
            return
        same = account.encode() == self.younger.encode() if self.exact else self._same_facts(account)
        what = f"after step {self.number} it is another one, folded from snapshot {self.snapshot.number}"
        self.note(SNAPSHOT, None if same else what, count=1)

    def _same_facts(self, account: Account) -> bool:
        """Orders, positions and cash alone: times to act at differ where settings were changed."""
        facts = [
            (a.cash_micros, a.next_order_id, [(a.position(m), a.open_orders(m)) for m in self.raw.markets()])
            for a in (account, self.younger)
            if a is not None
        ]
        return facts[0] == facts[1]

    def end(self) -> None:
        """Compare what holds after the last step."""
        if self.number != self.journal.last_number:
            self.note(CHAIN, f"ends with step {self.number} instead of {self.journal.last_number}")
        lost = [number for number in self.noted if number > self.number]
        if lost:
            self.note(HASHES, f"a hash was noted of step {lost[0]}, which is missing")
        if self.account is not None and self.snapshot is not None and self.snapshot.number < self.number:
            self._compare_accounts(self.account)
        for defect in self.journal.snapshots.defects:
            self.note(SNAPSHOT, defect)
        if self.account is not None and not self.differences:
            for market, name, net in self.raw.nets():
                held = self.account.position(market)
                found = held.yes_contracts - held.no_contracts
                wrong = f"{name} is {found}, its fills make {net} (micro-contracts, YES less NO)"
                self.note(POSITIONS, None if found == net else wrong, count=1)

    def result(self) -> Verified:
        """All figures."""
        return Verified(
            path=str(self.journal.path),
            steps=self.number,
            inputs=self.counts["input"],
            derived=self.counts["derived"],
            commands=self.counts["command"],
            quotes=self.quotes,
            starts=self.starts,
            first_ns=self.first_ns,
            last_ns=self.now_ns,
            chain=self.chain.hex(),
            checks=tuple(
                Check(name, count, self.differences.get(name)) for name, count in self.compared.items()
            ),
        )


def fold(account: Account, step: Step) -> None:
    """Apply a step to an account in the order that `domain/steps.py` states."""
    for event in (*step.inputs, *step.derived):
        account.apply(step.now_ns, event)
    for command in step.commands:
        account.commanded(step.now_ns, command)


def _columns_defect(stored: Stored, step: Step) -> str | None:
    found = (
        columns_of(source, item)
        for source, items in (("input", step.inputs), ("derived", step.derived), ("command", step.commands))
        for item in items
    )
    for position, (columns, again) in enumerate(zip(stored.events, found, strict=True)):
        if columns == again:
            continue
        if columns[:5] != again[:5] or json.loads(columns.body) != json.loads(again.body):
            return f"step {stored.number}, row {position}: columns and body disagree"
    return None


class RawPositions:
    """Positions as sums of fills by trade id, from JSON alone: nothing of the account's code is in here."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._fills: dict[tuple[int, str], int] = {}
        self._voids: set[tuple[int, str]] = set()
        self._settled: set[int] = set()

    def take(self, columns: Columns) -> None:
        """One event; commands say nothing about positions."""
        if columns.source == "command":
            return
        match columns.kind:
            case "listed":
                body = json.loads(columns.body)
                self._names[body["market"]] = body["ticker"]
            case "filled":
                self._fill(json.loads(columns.body))
            case "fills_read":
                for fill in json.loads(columns.body)["fills"]:
                    self._fill(fill)
            case "fill_voided":
                body = json.loads(columns.body)
                self._voids.add((body["market"], body["trade_id"]))
            case "settled":
                self._settled.add(json.loads(columns.body)["market"])
            case _:
                pass

    def _fill(self, body: dict[str, Any]) -> None:
        sign = 1 if body["side"] == BID else -1
        self._fills.setdefault((body["market"], body["trade_id"]), sign * body["size"])

    def markets(self) -> tuple[int, ...]:
        """Rows of all listed markets."""
        return tuple(self._names)

    def nets(self) -> Iterator[tuple[int, str, int]]:
        """(market, ticker, YES less NO in micro-contracts) of each listed market."""
        sums = dict.fromkeys(self._names, 0)
        for (market, trade_id), size in self._fills.items():
            if market in sums and market not in self._settled and (market, trade_id) not in self._voids:
                sums[market] += size
        for market, net in sums.items():
            yield market, self._names[market], net
