"""Deliberate bugs of the Kalshi adapter, and of the engine where only Kalshi shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pr3dict.domain import events as e
from pr3dict.engine import engine as engine_module
from pr3dict.engine import recovery
from pr3dict.engine.orders import Orders
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi import desk, outcomes, requests
from pr3dict.venues.kalshi import http as kalshi_http
from pr3dict.venues.kalshi.account_frames import AccountFrames
from pr3dict.venues.kalshi.adapter import KalshiWire
from pr3dict.venues.kalshi.markets import Lives
from pr3dict.venues.kalshi.outcomes import Outcome, Verdict
from pr3dict.venues.kalshi.reads import KalshiReads
from pr3dict.venues.kalshi.requests import Requests

Patch = tuple[Any, str, Any]


def _renewal_forgets_the_total() -> list[Patch]:
    """The total of an amendment counts what traded; this one states what it was placed with less that."""
    amend = Requests.amend_expiry

    def rest_only(self, command, own):
        order = amend(self, command, own)
        return msgspec.structs.replace(order, count=requests.size_text(max(own.total // 2, 10_000)))

    return [(Requests, "amend_expiry", rest_only)]


def _group_ignored() -> list[Patch]:
    return [
        (AccountFrames, "_group", lambda self, frame, now_ns: ()),
        (desk.OrderDesk, "_check_group", lambda self, market, outcome: None),
    ]


def _group_armed_alone() -> list[Patch]:
    """A group that fired is armed again by the program itself."""
    hear = KalshiWire.hear

    def at_once(self, frame, now_ns):
        hear(self, frame, now_ns)
        if self.fired:
            self._spawn(self.arm())

    return [(KalshiWire, "hear", at_once)]


def _resumes_race() -> list[Patch]:
    """A second resume does not wait for what the first one asked."""
    return [(KalshiWire, "arm", lambda self: self._arm_fired())]


def _netting_turned_round() -> list[Patch]:
    """An ask that closes YES is booked as one that buys it."""
    filled = AccountFrames.filled

    def turned(self, fill, order_id, now_ns):
        said = filled(self, fill, order_id, now_ns)
        closes = fill.post_position_fp is not None and fill.post_position_fp >= 0 and said.side == d.ASK
        return msgspec.structs.replace(said, side=d.BID) if closes else said

    return [(AccountFrames, "filled", turned)]


def _expiry_rounded_up() -> list[Patch]:
    return [(requests, "seconds", lambda ns: -(-ns // 1_000_000_000))]


def _refusing(*statuses: int) -> Callable[[int, bytes], Outcome]:
    judge = outcomes.judge

    def refuses(status: int, body: bytes) -> Outcome:
        said = judge(status, body)
        return Outcome(Verdict.REFUSED, "none", said.code, said.text) if status in statuses else said

    return refuses


def _conflict_is_refusal() -> list[Patch]:
    return [(kalshi_http, "judge", _refusing(409))]


def _server_error_is_refusal() -> list[Patch]:
    return [(kalshi_http, "judge", _refusing(500, 502, 503))]


def _wipe_ignored() -> list[Patch]:
    """What a list does not show any more is believed to rest for as long as it was to live."""

    def believes(self, order, now_ns, asked_ns, as_of_ns):
        return None

    return [(Orders, "absent", believes)]


def _gone_is_cancelled() -> list[Patch]:
    """404 on a cancel: taken for a cancel of what had not traded."""
    unchanged = Requests._unchanged

    def closed(self, order_id, request, outcome):
        if request == "cancel" and outcome.why == "unknown_order":
            return (e.Closed(order_id=order_id, why="none", filled=0),)
        return unchanged(self, order_id, request, outcome)

    return [(Requests, "_unchanged", closed)]


def _shard_guessed() -> list[Patch]:
    create = Requests.create

    def common(self, place):
        return msgspec.structs.replace(create(self, place), exchange_index=0)

    return [(Requests, "create", common)]


def _close_ignored() -> list[Patch]:
    tick = Lives.tick
    return [
        (Lives, "tick", lambda self, now_ns: tick(self, now_ns)[:0]),
        (Lives, "reread", lambda self, market, now_ns: (tick(self, 0)[:0], ())),
    ]


def _first_result_paid() -> list[Patch]:
    """A payout is what was determined first, whatever was amended since."""
    settled = Lives._settled

    def first(self, ticker, news, now_ns):
        value = self[ticker].value_micros
        if value >= 0:
            news = msgspec.structs.replace(news, settlement_value=value // 100)
        return settled(self, ticker, news, now_ns)

    return [(Lives, "_settled", first)]


def _fees_doubled() -> list[Patch]:
    filled = KalshiReads.filled

    async def twice(self, fill):
        said = await filled(self, fill)
        return msgspec.structs.replace(said, fee_micros=2 * said.fee_micros)

    return [(KalshiReads, "filled", twice)]


def _daily_loss_forgotten() -> list[Patch]:
    recovered = recovery.recovered

    def anew(engine, now_ns):
        recovered(engine, now_ns)
        if engine.watch.day_end_ns:
            engine.world.account[0].day_start_equity_micros = engine.equity_micros

    return [(recovery, "recovered", anew), (engine_module, "recovered", anew)]


MUTANTS: dict[str, Callable[[], list[Patch]]] = {
    "daily loss forgotten on restart": _daily_loss_forgotten,
    "renewal forgets the total": _renewal_forgets_the_total,
    "group trigger ignored": _group_ignored,
    "group armed without a person": _group_armed_alone,
    "a second resume does not wait": _resumes_race,
    "netting turned round": _netting_turned_round,
    "expiry rounded up": _expiry_rounded_up,
    "409 treated as refusal": _conflict_is_refusal,
    "5xx treated as refusal": _server_error_is_refusal,
    "silent wipe ignored": _wipe_ignored,
    "404 means cancelled": _gone_is_cancelled,
    "shard guessed": _shard_guessed,
    "close time ignored": _close_ignored,
    "first result paid": _first_result_paid,
    "fees of listed fills doubled": _fees_doubled,
}

ADAPTER = frozenset(MUTANTS) - {"daily loss forgotten on restart", "silent wipe ignored"}  # live there alone
