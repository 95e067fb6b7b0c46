"""Deliberate bugs of the Polymarket adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pr3dict.domain import events as e
from pr3dict.venues.polymarket import heartbeats, outcomes, requests, settling
from pr3dict.venues.polymarket import orders as orders_module
from pr3dict.venues.polymarket.account_frames import AccountFrames
from pr3dict.venues.polymarket.account_models import TradeState
from pr3dict.venues.polymarket.holdings import Count
from pr3dict.venues.polymarket.inventory import OperationDesk
from pr3dict.venues.polymarket.markets import Lives
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.polymarket.own_orders import OwnOrders
from pr3dict.venues.polymarket.reads import PolymarketReads
from pr3dict.venues.polymarket.requests import Requests
from pr3dict.venues.polymarket.settling import Settling

Patch = tuple[Any, str, Any]


def _duplicate_is_refusal() -> list[Patch]:
    return [(outcomes, "_DUPLICATE", "no such word")]


def _server_error_is_refusal() -> list[Patch]:
    return [(outcomes, "REFUSING", outcomes.REFUSING | {500, 502, 503})]


def _failures_ignored() -> list[Patch]:
    note = Settling.note

    def deaf(self, fill, state):
        return () if state is TradeState.FAILED else note(self, fill, state)

    return [(Settling, "note", deaf)]


def _final_at_once() -> list[Patch]:
    """A trade counts as settled from its match on."""
    return [(settling, "_as", lambda fill, *, final: msgspec.structs.replace(fill, final=True))]


def _heart_sleeps() -> list[Patch]:
    return [(heartbeats, "BEAT_NS", 30 * 1_000_000_000)]


def _tokens_mixed_up() -> list[Patch]:
    """An ask without inventory buys YES."""
    leg_of = requests.leg_of

    def other(place, terms):
        leg = leg_of(place, terms)
        return leg._replace(token=terms.yes) if leg.token == terms.no and not place.sell else leg

    return [(requests, "leg_of", other)]


def _top_is_ours() -> list[Patch]:
    """Size and price at the top of a trade, which are the taker's, taken for ours."""
    made = AccountFrames._made

    def of_the_taker(self, trade, row, order_id):
        whole = msgspec.structs.replace(row, matched_amount=trade.size)
        return made(self, trade, whole, order_id)

    return [(AccountFrames, "_made", of_the_taker)]


def _others_are_ours() -> list[Patch]:
    """Every order that was taken with ours counts as ours."""
    ours = AccountFrames._ours

    def all_of_them(self, digest, condition, mine, *, sure):
        found = ours(self, digest, condition, mine, sure=sure)
        return 0 if found is None else found

    return [(AccountFrames, "_ours", all_of_them)]


def _chain_alone() -> list[Patch]:
    """Balances of the chain are compared with what was booked from the match on."""
    return [(Count, "counted", lambda self, balance, confirmed, pending, off_chain: balance)]


def _base_in_the_middle() -> list[Patch]:
    """A new process takes what is held while trades are on their way for what was held before them."""
    init = PolymarketReads.__init__

    def in_haste(self, *args):
        init(self, *args)
        self._trades_read.set()

    def counted(self, balance, confirmed, pending, off_chain):
        if self.base is None or not pending:
            self.base, self.confirmed = balance, confirmed
            return balance + off_chain
        expected = self.base + confirmed - self.confirmed
        return expected + sum(pending)

    return [
        (Count, "counted", counted),
        (Settling, "recall", lambda self, fill: None),
        (PolymarketReads, "__init__", in_haste),
    ]


def _lives_longer() -> list[Patch]:
    return [(requests, "EARLY_S", 90)]


def _canceled_whole() -> list[Patch]:
    """The answer to a cancel is taken to say that nothing had traded."""

    def closed(order_id, outcome):
        if outcome.verdict is Verdict.ACCEPTED:
            return (e.Closed(order_id=order_id, why="none", filled=0),)
        return requests_canceled(order_id, outcome)

    requests_canceled = Requests.canceled
    return [(Requests, "canceled", staticmethod(closed))]


def _gone_is_canceled() -> list[Patch]:
    """An order that could not be cancelled because it is gone counts as cancelled."""
    judge = orders_module.judge_cancel

    def kind(body, digest):
        said = judge(body, digest)
        return outcomes.ACCEPTED if said.why == "unknown_order" else said

    return [(orders_module, "judge_cancel", kind)]


def _merge_is_done() -> list[Patch]:
    """A merge that was handed in counts as done."""
    follow = OperationDesk._follow

    async def at_once(self, command, venue_id, request=None):
        self._moved(command)
        await follow(self, command, venue_id, request)

    return [(OperationDesk, "_follow", at_once)]


def _winnings_forgotten() -> list[Patch]:
    """What a resolved market pays counts only once somebody has redeemed it."""
    return [(Lives, "prices", lambda self: {})]


def _earlier_forgotten() -> list[Patch]:
    """Orders of earlier processes are nobody's."""
    return [(OwnOrders, "know", lambda self, known: None)]


MUTANTS: dict[str, Callable[[], list[Patch]]] = {
    "Duplicated treated as refusal": _duplicate_is_refusal,
    "Polymarket's 5xx treated as refusal": _server_error_is_refusal,
    "failed trades ignored": _failures_ignored,
    "trades final at once": _final_at_once,
    "heart sleeps": _heart_sleeps,
    "tokens mixed up": _tokens_mixed_up,
    "the taker's size is ours": _top_is_ours,
    "strangers' orders are ours": _others_are_ours,
    "balances of the chain alone": _chain_alone,
    "balances counted in the middle": _base_in_the_middle,
    "orders live longer": _lives_longer,
    "cancelled means nothing traded": _canceled_whole,
    "already gone means cancelled": _gone_is_canceled,
    "a merge is done when handed in": _merge_is_done,
    "winnings forgotten": _winnings_forgotten,
    "orders of earlier processes forgotten": _earlier_forgotten,
}
