"""What must hold between a journal and the exchange's truth, computed from raw events and in plain Python."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pr3dict.cli.journal import terms_of
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.order import OrderState
from pr3dict.domain.units import BID
from pr3dict.engine.account import Account
from pr3dict.store.journal import Journal, LogError
from pr3dict.store.journal_verify import fold, verify
from pr3dict.venues.simulated.wire import Truth

CONTRACT = 1_000_000
DOLLAR = 1_000_000
PRICES = 10_000


class Audit(NamedTuple):
    """`wrong` is empty where all is well; `fills` and `orders` were compared."""

    wrong: list[str]
    fills: int
    orders: int


class Facts:
    """What a journal says, without the engine's code.

    Pairs of YES and NO count as a dollar. `provisional`: at this exchange fills may be taken back, and pairs
    be made and merged.
    """

    def __init__(self, *, provisional: bool = False) -> None:
        self.provisional = provisional
        self.voided: set[str] = set()
        self.places: dict[int, c.Place] = {}
        self.fills: dict[str, e.Filled] = {}
        self.settled: dict[int, e.Settled] = {}
        self.markets: list[int] = []
        self.opening_cash = 0
        self.latched = False
        self.wrong: list[str] = []
        self.number = 0  # of the last step taken in

    def take(self, step) -> None:
        self.number = step.number
        for event in (*step.inputs, *step.derived):
            self._event(event)
        halted = self.latched
        for command in step.commands:
            if isinstance(command, c.Place):
                self._place(command, halted=halted)
            elif isinstance(command, c.SetLatch):
                self.latched = True
            elif isinstance(command, c.ClearLatch):
                self.latched = False

    def _event(self, event) -> None:
        match event:
            case e.Started():
                self.opening_cash = self.opening_cash or event.cash_micros
            case e.Listed():
                self.markets.append(event.market)
            case e.Latched() | e.Halt():
                self.latched = True
            case e.Resume():
                self.latched = False
            case e.Settled():
                self.settled[event.market] = event
            case e.Filled():
                self._fill(event)
            case e.FillsRead():
                for fill in event.fills:
                    self._fill(fill)
            case e.FillVoided() if self.provisional:
                self.voided.add(event.trade_id)
            case e.Merged() if self.provisional:
                pass  # the same money
            case e.FillVoided() | e.Merged() | e.Transferred():
                self.wrong.append(f"step {self.number}: {event} at an exchange that has none")

    def _place(self, place: c.Place, *, halted: bool) -> None:
        if place.order_id in self.places:
            self.wrong.append(f"step {self.number}: order id {place.order_id} is used again")
        if halted:
            self.wrong.append(f"step {self.number}: order {place.order_id} although the latch is set")
        self.places[place.order_id] = place

    def _fill(self, fill: e.Filled) -> None:
        known = self.fills.setdefault(fill.trade_id, fill)
        if key(known) != key(fill):
            self.wrong.append(f"step {self.number}: trade {fill.trade_id} is told in two ways")
        if fill.order_id not in self.places:
            self.wrong.append(f"step {self.number}: trade {fill.trade_id} of an order without an intent")

    def standing(self) -> list[e.Filled]:
        """Fills that were not taken back."""
        return [fill for name, fill in self.fills.items() if name not in self.voided]

    def net(self, market: int) -> int:
        """YES less NO, in micro-contracts."""
        if market in self.settled:
            return 0
        mine = (fill for fill in self.standing() if fill.market == market)
        return sum(fill.size if fill.side == BID else -fill.size for fill in mine)

    def cash(self) -> int:
        """Micros: opening, less what was paid, plus a dollar for each netted pair and for what won."""
        return self.opening_cash + sum(self._cash_of(market) for market in self.markets)

    def _cash_of(self, market: int) -> int:
        """What a market moved; one that was void gave every price back, but no fee."""
        fees, costs, bought, sold = 0, 0, 0, 0
        for fill in self.standing():
            if fill.market != market:
                continue
            price = fill.price if fill.side == BID else PRICES - fill.price
            cost, rest = divmod(price * fill.size, PRICES)
            assert rest == 0, "a size that no lot allows"
            fees += fill.fee_micros - fill.rebate_micros
            costs += cost
            bought, sold = bought + fill.size * (fill.side == BID), sold + fill.size * (fill.side != BID)
        pairs = min(bought, sold)
        cash = pairs * DOLLAR // CONTRACT - costs - fees
        settled = self.settled.get(market)
        if settled is None:
            return cash
        if settled.refund:
            return -fees
        value = settled.value_micros
        return cash + ((bought - pairs) * value + (sold - pairs) * (DOLLAR - value)) // CONTRACT


def key(fill: e.Filled) -> tuple:
    """What a trade is, whoever tells it."""
    return fill.order_id, fill.market, fill.side, fill.price, fill.size, fill.fee_micros, fill.rebate_micros


def look(path: Path, truth: Truth, facts: Facts) -> list[str]:
    """After a kill: the journal may lack what happened since, but an order that it lacks must not exist.

    `facts` are those of the journal so far; its new steps are added.
    """
    if is_unmade(path):
        return [f"order {n} without a journal" for n in truth.order_ids]
    with Journal.read(path) as journal:
        for step in journal.steps(after=facts.number):
            facts.take(step)
    wrong = [*facts.wrong, *compare(facts, truth)]
    facts.wrong.clear()
    return wrong


def check(path: Path, truth: Truth, failed: frozenset[str] | None = None, *, doubts: bool = False) -> Audit:
    """Compare the journal in `path` with the truth after the trader reconciled and stopped in order.

    `failed`: fills of the truth that were taken back, at an exchange where that happens. `doubts`: an order
    whose request a kill cut off, and that could still arrive, may count as open.
    """
    facts, account = Facts(provisional=failed is not None), None
    with Journal.read(path) as journal:
        for step in journal.steps():
            facts.take(step)
            account = follow(account, step)
        found = verify(journal, terms_of)
        last_ns = journal.last_ns
    assert account is not None, "no life came as far as its first step"
    for event in truth.settled:  # it may have paid out after the trader had gone
        if event.market not in facts.settled:
            facts.settled[event.market] = event
            account.apply(last_ns, event)
    wrong = [*facts.wrong, *compare(facts, truth), *compare_end(facts, truth, failed or frozenset())]
    wrong += compare_account(account, facts, truth, doubts=doubts)
    if found.difference is not None:
        wrong.append(f"journal verify: {found.difference}")
    return Audit(wrong, len(truth.fills), len(truth.order_ids))


def is_unmade(path: Path) -> bool:
    """Whether a life was killed before its journal had tables."""
    try:
        Journal.read(path).close()
    except LogError as error:
        if error.kind == "missing" or "empty" in str(error):
            return True
        raise
    return False


def follow(account: Account | None, step) -> Account | None:
    for event in step.inputs:
        if isinstance(event, e.Started) and account is None:
            account = Account(terms_of(event))
    if account is not None:
        fold(account, step)
    return account


def compare(facts: Facts, truth: Truth) -> list[str]:
    """What must hold at any time."""
    wrong = [f"the exchange itself: {what}" for what in truth.unexplained]
    wrong += [f"order {n} at the exchange has no intent" for n in truth.order_ids if n not in facts.places]
    true_fills = {fill.trade_id: fill for fill in truth.fills}
    if len(true_fills) != len(truth.fills):
        wrong.append("the exchange has a trade id twice")
    for trade_id, fill in facts.fills.items():
        if trade_id not in true_fills:
            wrong.append(f"trade {trade_id} is in the journal and never happened")
        elif key(true_fills[trade_id]) != key(fill):
            wrong.append(f"trade {trade_id} is {key(fill)}, truly {key(true_fills[trade_id])}")
    return wrong


def compare_end(facts: Facts, truth: Truth, failed: frozenset[str]) -> list[str]:
    """What holds besides after an orderly end."""
    true_names = {fill.trade_id for fill in truth.fills} - failed
    wrong = [f"trade {name} is lost" for name in sorted(true_names - facts.fills.keys())]
    wrong += [f"trade {name} was taken back, and stands" for name in sorted(true_names & facts.voided)]
    for name in sorted((failed & facts.fills.keys()) - facts.voided):
        wrong.append(f"trade {name} counts, and was taken back")
    wrong += [f"order {order.order_id} still rests" for order in truth.open_orders]
    held = {p.market: p.yes_contracts - p.no_contracts for p in truth.positions}
    for market in facts.markets:
        if facts.net(market) != held.get(market, 0):
            wrong.append(f"market {market}: fills make {facts.net(market)}, truly {held.get(market, 0)}")
    if facts.cash() != truth.cash_micros:
        wrong.append(f"cash from fills {facts.cash()}, truly {truth.cash_micros}")
    return wrong


def compare_account(account: Account, facts: Facts, truth: Truth, *, doubts: bool) -> list[str]:
    wrong = []
    cash, positions = account.cash_micros, {market: account.position(market) for market in facts.markets}
    cash += sum(min(position.yes_contracts, position.no_contracts) for position in positions.values())
    if cash != truth.cash_micros:
        wrong.append(f"cash of the account and its pairs {cash}, truly {truth.cash_micros}")
    for market, position in positions.items():
        if position.yes_contracts - position.no_contracts != facts.net(market):
            wrong.append(f"market {market}: the account holds {position}, fills make {facts.net(market)}")
        wrong += [
            f"{order} counts as open and is not"
            for order in account.open_orders(market)
            if not (doubts and order.state is OrderState.UNKNOWN and order.expiry_ns > truth.now_ns)
        ]
    return wrong
