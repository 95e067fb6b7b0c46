"""The round trip of `doctor --orders`: one order of the smallest size through its whole life, then no trace.

The order is a bid at the lowest price, post-only, in a group of its own and with an expiry of its own: should
this process die on the way, the exchange ends it by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pr3dict.cli.doctor import Finding
from pr3dict.cli.doctor_venue import LOOK_NS, WAIT_S, OrderEar, Step, comes_true
from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND, QTY_SCALE
from pr3dict.runtime.kalshi_access import KalshiAccess
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.frames import Frame, OrderFrame
from pr3dict.venues.kalshi.http import Query
from pr3dict.venues.kalshi.markets import Life, grid_of
from pr3dict.venues.kalshi.numbers import CENTI_CONTRACT, price_text, seconds, size_text
from pr3dict.venues.kalshi.orders import Answer, KalshiOrders
from pr3dict.venues.kalshi.outcomes import RATE_LIMITED, Verdict
from pr3dict.venues.kalshi.rest import KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

FAR: Final = 1_000  # price units between our bid and the best one, where there is such a market
LIFE_NS: Final = 120 * NS_PER_SECOND
CANCEL_TRIES: Final = 5
GONE: Final = 404


class Failed(Step):
    """A step of this trip that failed."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text, "see docs/venues/kalshi.md")


class Ear(OrderEar):
    """Hears Kalshi's private stream."""

    def hear(self, frame: Frame, _now_ns: int) -> None:
        """A frame about the account."""
        if isinstance(frame, OrderFrame):
            self.note(frame.msg.order_id, frame.msg.status)


async def round_trip(
    access: KalshiAccess, rest: KalshiRest, clock: Clock, lives: Sequence[Life] = ()
) -> list[Finding]:
    """A finding a step; whatever fails, what was made is taken away again, and said if it could not be."""
    try:
        market, shard = await _market(rest, lives)
    except (ReadFailedError, DataError, Step) as error:
        if isinstance(error, Step):
            return [error.finding]
        return [Finding("order", "fail", str(error), "no market could be chosen")]
    ear = Ear()
    streams = access.streams(clock, ear, {}, ear.hear, private=True)
    streams.start()
    trip = Trip(rest, clock, ear, market, shard)
    try:
        await trip.go()
    except Step as step:
        trip.findings.append(step.finding)
    except (ReadFailedError, DataError) as error:
        trip.findings.append(Finding("order", "fail", str(error), "try again"))
    finally:
        await trip.clean()
        await streams.close()
    return trip.findings


async def _market(rest: KalshiRest, lives: Sequence[Life]) -> tuple[m.Market, int]:
    """A market that trades, with its shard; the lowest price is far from its best bid if there is one."""
    tickers = tuple(life.listing.ticker for life in lives)[:100]
    if tickers:
        markets = await rest.markets(tickers=tickers)
    else:
        query: Query = {"status": "open", "limit": 100, "mve_filter": "exclude"}
        markets = list((await rest.get(m.Markets, "/markets", public=True, query=query)).markets)
    fit = [one for one in markets if one.status == "active" and one.exchange_index is not None]
    if not fit:
        raise Step("order", "no market is open", "name one with --market")
    best = max(fit, key=lambda one: min(int(one.yes_bid_dollars or 0), FAR))
    assert best.exchange_index is not None
    return best, best.exchange_index


class Trip:
    """One order and its group."""

    def __init__(self, rest: KalshiRest, clock: Clock, ear: Ear, market: m.Market, shard: int) -> None:
        self.findings: list[Finding] = []
        self._rest = rest
        self._orders = KalshiOrders(rest.http, subaccount=rest.subaccount)
        self._clock = clock
        self._ear = ear
        self._market = market
        self._shard = shard
        self._price = min(grid_of(market.price_ranges).prices())
        self._client_id = f"doctor-{secrets.token_hex(8)}"
        self._order_id = ""
        self._group_id = ""
        self._groups_before: set[str | None] = set()
        self._may_group = False  # a group was asked for and is not known to be there or not
        self._may_rest = False  # an order was sent and is not proven to be gone

    def _ok(self, name: str, text: str) -> None:
        self.findings.append(Finding(name, "ok", text))

    async def go(self) -> None:
        """Every step; raises `Step` where one fails."""
        if not await self._ear.came_up():
            raise Failed("order", "the private stream did not come up; nothing was sent")
        await self._make_group()
        await self._place()
        await self._see()
        await self._amend()
        await self._cancel()
        await self._delete_group()

    async def _make_group(self) -> None:
        self._groups_before = {group.id for group in await self._rest.order_groups()}
        self._may_group = True
        answer = await self._orders.create_group(QTY_SCALE, shard=self._shard)
        self._may_group = answer.body is None and answer.outcome.verdict is Verdict.UNKNOWN
        if answer.body is None:
            raise Failed("order group", f"was not made on shard {self._shard}: {_why(answer)}")
        self._group_id = answer.body.order_group_id
        self._ok("order group", f"made on shard {self._shard}")

    async def _place(self) -> None:
        order = a.CreateOrder(
            ticker=self._market.ticker,
            side="bid",
            count=size_text(CENTI_CONTRACT),
            price=price_text(self._price),
            time_in_force="good_till_canceled",
            self_trade_prevention_type="taker_at_cross",
            client_order_id=self._client_id,
            exchange_index=self._shard,
            post_only=True,
            cancel_order_on_pause=True,
            expiration_time=seconds(self._clock.now_ns() + LIFE_NS),
            order_group_id=self._group_id,
            subaccount=self._rest.subaccount,
        )
        self._may_rest = True
        answer = await self._orders.create(order)
        if answer.body is None:
            self._may_rest = answer.outcome.verdict is Verdict.UNKNOWN
            raise Failed("order", f"was not placed in {self._market.ticker}: {_why(answer)}")
        self._order_id = answer.body.order_id
        at = f"{order.count} contracts at ${order.price}"
        self._ok("order", f"a bid of {at} rests in {self._market.ticker}")

    async def _see(self) -> None:
        """In the list of orders, and on the stream."""
        if not await comes_true(self._listed, self._clock):
            raise Failed("order read", "the order does not appear in the list of orders")
        self._ok("order read", "the order is in the list of orders")
        if not await self._ear.until(self._order_id, ("resting",)):
            raise Failed("order stream", f"nothing was heard of the order within {WAIT_S:g} s")
        self._ok("order stream", "the order was heard on the private stream")

    async def _amend(self) -> None:
        """Its expiry alone, as a renewal does."""
        until_s = seconds(self._clock.now_ns() + 2 * LIFE_NS)
        change = a.AmendOrder(
            ticker=self._market.ticker,
            side="bid",
            price=price_text(self._price),
            count=size_text(CENTI_CONTRACT),
            exchange_index=self._shard,
            expiration_time=until_s,
        )
        answer = await self._orders.amend(self._order_id, change)
        if answer.body is None:
            raise Failed("amendment", f"the expiry was not moved: {_why(answer)}")

        async def moved() -> bool:
            order = await self._rest.order(self._order_id)
            return order.expiration_time is not None and seconds(int(order.expiration_time)) == until_s

        if not await comes_true(moved, self._clock):
            raise Failed("amendment", "Kalshi took it but shows the expiry of before")
        self._ok("amendment", "the expiry was moved")

    async def _cancel(self) -> None:
        answer = await self._cancel_paced()
        if answer.body is None:
            raise Failed("cancel", f"the order was not cancelled: {_why(answer)}")
        self._may_rest = False
        if not await self._ear.until(self._order_id, ("canceled",)):
            raise Failed("cancel", f"the cancel was taken but not heard on the stream within {WAIT_S:g} s")
        self._ok("cancel", "the order was cancelled, and heard on the stream")

    async def _cancel_paced(self) -> Answer:
        """A cancel that 429 only delays."""
        answer = await self._orders.cancel(self._order_id, ticker=self._market.ticker, shard=self._shard)
        for _ in range(CANCEL_TRIES - 1):
            if answer.status != RATE_LIMITED:
                break
            answer = await self._orders.cancel(self._order_id, ticker=self._market.ticker, shard=self._shard)
        return answer

    async def _delete_group(self) -> None:
        answer = await self._orders.delete_group(self._group_id, shard=self._shard)
        if answer.body is None:
            raise Failed("group deleted", f"the order group {self._group_id} stays: {_why(answer)}")
        self._group_id = ""
        self._ok("group deleted", "nothing is left over")

    # --- whatever happened ---------------------------------------------------------------------------

    async def clean(self) -> None:
        """Take away what a failed step left; a finding for what can't be."""
        if self._may_rest:
            await self._clean_order()
        groups = [self._group_id] if self._group_id else []
        if self._may_group:
            groups += await self._new_groups()
        for group_id in groups:
            await self._clean_group(group_id)

    async def _new_groups(self) -> list[str]:
        """Groups like ours that were not there before: the answer to our request was lost."""
        for _ in range(CANCEL_TRIES):
            with suppress(ReadFailedError, DataError):
                return [
                    group.id
                    for group in await self._rest.order_groups()
                    if group.id is not None
                    and group.id not in self._groups_before
                    and group.contracts_limit_fp == QTY_SCALE
                ]
        text = "an order group may have been made, and the list of groups can't be read"
        self.findings.append(Finding("clean up", "fail", text, "look for one of 1 contract at Kalshi"))
        return []

    async def _clean_group(self, group_id: str) -> None:
        why = ""
        for _ in range(CANCEL_TRIES):
            answer = await self._orders.delete_group(group_id, shard=self._shard)
            if answer.body is not None or answer.status == GONE:
                return
            why = _why(answer)
        text = f"the order group {group_id} could not be deleted: {why}"
        self.findings.append(Finding("clean up", "fail", text, "delete it at Kalshi"))

    async def _clean_order(self) -> None:
        """Find it by our own id where its answer was lost; it expires by itself in any case."""
        why = ""
        for _ in range(CANCEL_TRIES):
            try:
                if not self._order_id and not await self._find():
                    await self._clock.sleep(LOOK_NS)
                    continue
                answer = await self._cancel_paced()
                if answer.body is not None or answer.status == GONE:
                    self._may_rest = False
                    return
                why = _why(answer)
            except (ReadFailedError, DataError) as error:
                why = str(error)
        if self._order_id or why:
            what = f"the order {self._order_id}" if self._order_id else "an order that may rest"
            text = f"{what} in {self._market.ticker} could not be cancelled: {why}"
            self.findings.append(Finding("clean up", "fail", text, "it expires by itself within minutes"))

    async def _find(self) -> bool:
        for order in await self._rest.orders(ticker=self._market.ticker, status="resting"):
            if order.client_order_id == self._client_id:
                self._order_id = order.order_id
                return True
        return False

    async def _listed(self) -> bool:
        listed = await self._rest.orders(ticker=self._market.ticker, status="resting")
        return any(order.order_id == self._order_id for order in listed)


def _why(answer: Answer) -> str:
    return answer.malformed or answer.outcome.text or answer.outcome.why or answer.outcome.verdict.value
