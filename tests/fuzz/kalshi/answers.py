"""Damaged answers through requests, readers and the adapter: judged by the table, numbers only as said."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fuzz import honest
from fuzz.damage import Sample, damage
from fuzz.honest import Lie
from fuzz.kalshi.checks import (
    TOTAL,
    check_balance,
    check_book,
    check_created,
    check_fills,
    check_order,
    check_orders,
    check_positions,
    check_queue,
    check_repeated,
    check_settled,
    check_taken_out,
    item,
    refuses,
    verdicts,
)
from fuzz.kalshi.world import GROUP, LIMITS, TICKERS, World
from fuzz.rig import SECOND, Answer, Said, idle, same, with_time
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.kalshi_markets import Selection, find_markets
from pr3dict.venues.kalshi import account_models as a
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.frames import FillFrame
from pr3dict.venues.kalshi.incentives import find_incentives
from pr3dict.venues.kalshi.numbers import reader_of
from pr3dict.venues.kalshi.queue import QueuePoll
from pr3dict.venues.kalshi.rest import READERS, ReadFailedError
from venues.kalshi import bodies

ORDERS: Final = "/portfolio/events/orders"
BY_NAME: Final = {kind.__name__: Sample(kind.__name__, body) for kind, body in bodies.BODIES.items()}
ERRORS: Final = [
    Sample("error", body)
    for body in (
        {"error": {"code": "insufficient_balance", "message": "no", "details": "x"}},
        {"error": {"code": "invalid_order", "message": "no", "details": "post only cross"}},
        {"code": "order_not_found", "message": "no", "details": ""}, {"msg": "no"}, {"error": "no"},
        {"error": {"code": "order_already_exists", "message": "duplicate"}},
        {"error": {"code": "trading_is_paused", "message": "paused"}},
        {"error": {"code": "fill_or_kill_insufficient_resting_volume", "message": "none"}},
    )
]  # fmt: skip
CORPUS: Final = [*BY_NAME.values(), *ERRORS]
STATUSES: Final = (
    200,
    201,
    202,
    299,
    301,
    304,
    400,
    401,
    403,
    404,
    408,
    409,
    410,
    413,
    415,
    418,
    422,
    429,
    431,
    500,
    502,
    503,
)
_read_fill_frame: Final = reader_of(FillFrame)


class Answers:
    """One adapter that asks, and gets damaged answers."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.next_order = 1000
        self.case: dict[str, Any] = {}
        self.ways: dict[str, tuple[int, Callable[[Answer], Awaitable[None]], str]] = {
            "place": (12, self._place, "Created"),
            "place_batch": (6, self._place_batch, "CreatedBatch"),
            "cancel": (9, self._cancel, "Canceled"),
            "cancel_batch": (5, self._cancel_batch, "CanceledBatch"),
            "cancel_all": (2, self._cancel_all, "Orders"),
            "reduce": (6, self._reduce, "Decreased"),
            "renew": (5, self._renew, "Amended"),
            "renew_unknown": (3, self._renew_unknown, "OrderAnswer"),
            "read_orders": (6, self._read_orders, "Orders"),
            "read_order": (4, self._read_order, "OrderAnswer"),
            "read_fills": (6, self._read_fills, "Fills"),
            "read_positions": (4, self._read_positions, "Positions"),
            "read_balance": (3, self._read_balance, "Balance"),
            "read_book": (3, self._read_book, "OrderbookAnswer"),
            "as_of": (2, self._as_of, "UserDataTimestamp"),
            "queue": (3, self._queue, "QueuePositions"),
            "reread": (5, self._reread, "Markets"),
            "limits": (3, self._limits, "AccountLimits"),
            "costs": (2, self._costs, "EndpointCosts"),
            "fees": (4, self._fees, "Events"),
            "schedule": (3, self._schedule, "ScheduleAnswer"),
            "status": (2, self._status, "ExchangeStatus"),
            "groups": (3, self._groups, "GroupCreated"),
            "catalogue": (4, self._catalogue, "Markets"),
            "incentives": (2, self._incentives, "IncentivePrograms"),
            "look_up": (3, self._look_up, "OrderAnswer"),
            "any_read": (10, self._any_read, ""),
        }
        self._names = list(self.ways)
        self._weights = [weight for weight, _, _ in self.ways.values()]

    # --- one input ----------------------------------------------------------------------------------

    async def step(self) -> tuple[str, str]:
        """(damage, what became of the input); raises `Lie`, and then `case` is the input."""
        rng = self.rng
        name = rng.choices(self._names, self._weights)[0]
        sample = BY_NAME.get(self.ways[name][2])
        if name == "any_read":
            sample = BY_NAME[rng.choice(list(READERS)).__name__]
        assert sample is not None
        status = 200
        value = None
        if rng.random() < 0.2:
            status, sample = rng.choice(STATUSES), rng.choice(ERRORS) if rng.random() < 0.8 else sample
        elif name in ("place", "place_batch", "cancel_batch"):
            value = self._fitting(name, sample)
        hurt, raw = damage(rng, sample, CORPUS, value)
        self.case = {"name": name, "status": status, "sample": sample.name, "raw": raw.decode("latin-1")}
        return hurt, await self.take(name, status, raw, sample.name)

    async def replay(self, case: Mapping[str, Any]) -> None:
        """One input that was kept."""
        await self.take(case["name"], case["status"], case["raw"].encode("latin-1"), case["sample"])

    def _fitting(self, name: str, sample: Sample) -> Any:
        """An answer that is about the orders that are asked about."""
        value = sample.value()
        for place, one in enumerate([value] if name == "place" else value["orders"]):
            if name == "cancel_batch":
                one.pop("order_id", None)
            else:
                one["client_order_id"] = f"test-{self.next_order + place}"
        return value

    async def take(self, name: str, status: int, raw: bytes, sample: str) -> str:
        """One answer to one request."""
        world = self.world
        world.sink.clear()
        answer = Answer(status, raw, sample, verdicts)
        await self.ways[name][1](answer)
        world.script.clear()
        failure = world.wire.failure()
        if failure is not None:
            raise Lie(f"the adapter died: {type(failure).__name__}: {failure}")
        return answer.became

    async def _ask(self, answer: Answer, method: str, path: str, *commands: c.Action) -> list[e.Control]:
        """The events that follow from commands, the first matching request answered so."""
        world = self.world
        world.script[:] = [(method, path, answer.said)]
        world.sink.clear()
        world.wire.send(world.pace.now_ns(), commands)
        await idle()
        if world.script or world.wire.orders.placing():
            await world.pace.pass_ns(2 * SECOND)
        if world.script:
            raise Lie(f"{method} {path} was never asked")
        found = list(world.sink.events)
        answer.malformed = sum(isinstance(x, e.Malformed) for x in found)
        noise = (e.Malformed, e.VenueStatus, e.FeesChanged, e.Filled)  # a fill is of one that was looked up
        return [x for x in found if not isinstance(x, noise)]

    def _new(self, count: int, size: int = TOTAL) -> list[c.Place]:
        first, self.next_order = self.next_order, self.next_order + count
        return [
            c.Place(order_id=first + k, market=0, side=BID, price=4400, size=size, tif=d.POST_ONLY)
            for k in range(count)
        ]

    async def _rest(self, count: int = 1) -> list[c.Place]:
        """Orders that rest, taken as ever."""
        orders = self._new(count)
        self.world.wire.send(self.world.pace.now_ns(), orders)
        await idle()
        accepted = {x.order_id for x in self.world.sink.events if isinstance(x, e.Accepted)}
        if accepted < {order.order_id for order in orders}:
            raise Lie("a good answer to a new order is no longer taken")
        return orders

    # --- orders -------------------------------------------------------------------------------------

    async def _place(self, answer: Answer) -> None:
        order = self._new(1)[0]
        sent, *rest = await self._ask(answer, "POST", ORDERS, order)
        same(sent, e.Sent(order_id=order.order_id))
        self._check_placed(answer, order, rest, lambda value: value)

    async def _place_batch(self, answer: Answer) -> None:
        await self.world.pace.pass_ns(SECOND)  # a batch needs a budget, and a 429 took it away
        orders = self._new(4)
        events = await self._ask(answer, "POST", f"{ORDERS}/batched", *orders)
        for place, order in enumerate(orders):
            rest = [x for x in events if x.order_id == order.order_id][1:]  # type: ignore[union-attr]
            self._check_placed(
                answer, order, rest, lambda value, place=place: item(value, place, len(orders))
            )

    def _check_placed(
        self, answer: Answer, order: c.Place, rest: Sequence[e.Control], item: Callable[[Any], Any]
    ) -> None:
        first, *more = rest
        if isinstance(first, e.Accepted):
            answer.is_judged("accepted")
            honest.any_reading(answer.raw, lambda value: check_created(item(value), order, first, more))
            return
        if more:
            raise Lie(f"{rest} of one order")
        if isinstance(first, e.Refused):
            if not 200 <= answer.status < 300:
                answer.is_judged("refused")
            else:
                honest.any_reading(answer.raw, lambda value: same(refuses(item(value)), True))
                answer.became = "refused"
        else:
            same(type(first), e.AnswerLost)
            answer.is_unknown()

    async def _cancel(self, answer: Answer) -> None:
        order = (await self._rest())[0]
        cancel = c.Cancel(order_id=order.order_id, market=0)
        (event,) = await self._ask(answer, "DELETE", ORDERS, cancel)
        self._check_canceled(answer, event, lambda value: value, retried=answer.status == 429)

    async def _cancel_batch(self, answer: Answer) -> None:
        await self.world.pace.pass_ns(SECOND)
        orders = await self._rest(4)
        cancels = [c.Cancel(order_id=order.order_id, market=0) for order in orders]
        events = await self._ask(answer, "DELETE", f"{ORDERS}/batched", *cancels)
        again = "refused" in answer.verdicts
        for place, order in enumerate(orders):
            (event,) = [x for x in events if x.order_id == order.order_id]  # type: ignore[union-attr]
            self._check_canceled(
                answer, event, lambda value, place=place: item(value, place, 4), retried=again
            )

    def _check_canceled(
        self, answer: Answer, event: e.Control, item: Callable[[Any], Any], *, retried: bool
    ) -> None:
        match event:
            case e.Closed() if retried:
                same(event.filled, 0)
                answer.became = "refused"
            case e.Closed():
                answer.is_judged("accepted")
                honest.any_reading(answer.raw, lambda value: check_taken_out(item(value), event))
            case e.RequestRefused() if 200 <= answer.status < 300:
                honest.any_reading(answer.raw, lambda value: same(refuses(item(value)), True))
                answer.became = "refused"
            case e.RequestRefused():
                answer.is_judged("refused")
            case e.AnswerLost():
                answer.is_unknown()
            case _:
                raise Lie(f"a cancel made a {type(event).__name__}")

    async def _cancel_all(self, answer: Answer) -> None:
        """The answer is the list of what still rests."""
        world = self.world
        world.script[:] = [("GET", "/portfolio/orders", answer.said)]
        world.wire.send(world.pace.now_ns(), [c.CancelAll(venue="kalshi", why="x")])
        await world.pace.pass_ns(2 * SECOND)
        failed = [x for x in world.sink.events if isinstance(x, e.ReadFailed)]
        answer.became = "refused" if failed else "accepted"

    async def _reduce(self, answer: Answer) -> None:
        order = (await self._rest())[0]
        command = c.Reduce(order_id=order.order_id, market=0, remaining=5_000_000)
        (event,) = await self._ask(answer, "POST", ORDERS, command)
        self._check_changed(answer, event, e.Reduced)

    async def _renew(self, answer: Answer) -> None:
        order = (await self._rest())[0]
        command = c.Renew(order_id=order.order_id, market=0, expiry_ns=self.world.pace.now_ns() + 60 * SECOND)
        (event,) = await self._ask(answer, "POST", ORDERS, command)
        self._check_changed(answer, event, e.Renewed)

    def _check_changed(self, answer: Answer, event: e.Control, done: type) -> None:
        if isinstance(event, done):
            answer.is_judged("accepted")
            if isinstance(event, e.Reduced):
                honest.any_reading(
                    answer.raw, lambda value: same(event.remaining, honest.size(value["remaining_count"]))
                )
        elif isinstance(event, e.RequestRefused):
            answer.is_judged("refused")
        else:
            same(type(event), e.AnswerLost)
            answer.is_unknown()

    async def _renew_unknown(self, answer: Answer) -> None:
        """An order of an earlier run, which has to be read before it can be amended."""
        order_id, self.next_order = self.next_order, self.next_order + 1
        expiry_ns = self.world.pace.now_ns() + 60 * SECOND
        command = c.Renew(order_id=order_id, market=0, venue_id="o-1", expiry_ns=expiry_ns)
        (event,) = await self._ask(answer, "GET", "/portfolio/orders/o-1", command)
        answer.became = "accepted" if isinstance(event, e.Renewed) else "refused"
        if isinstance(event, e.Renewed):
            honest.any_reading(answer.raw, lambda value: check_repeated(self.world.last, value["order"]))

    # --- reads --------------------------------------------------------------------------------------

    async def _read(
        self, answer: Answer, path: str, command: c.Action, check: Callable[[Any, Any], None]
    ) -> None:
        await self.world.pace.pass_ns(SECOND)
        (event,) = await self._ask(answer, "GET", path, command)
        if isinstance(event, e.ReadFailed):
            answer.became = "refused"
            return
        if not 200 <= answer.status < 300 and not (answer.status == 404 and isinstance(command, c.ReadOrder)):
            raise Lie(f"status {answer.status} made a {type(event).__name__}")
        answer.became = "accepted"
        if 200 <= answer.status < 300:
            honest.any_reading(answer.raw, lambda value: check(event, value))

    async def _read_orders(self, answer: Answer) -> None:
        await self._read(answer, "/portfolio/orders", c.ReadOrders(venue="kalshi"), check_orders)

    async def _read_order(self, answer: Answer) -> None:
        order_id, self.next_order = self.next_order, self.next_order + 1
        command = c.ReadOrder(order_id=order_id, market=0, venue_id="o-1")
        await self._read(answer, "/portfolio/orders/o-1", command, check_order)

    async def _read_fills(self, answer: Answer) -> None:
        command = c.ReadFills(venue="kalshi", since_ns=self.world.pace.now_ns())
        await self._read(answer, "/portfolio/fills", command, check_fills)

    async def _read_positions(self, answer: Answer) -> None:
        await self._read(answer, "/portfolio/positions", c.ReadPositions(venue="kalshi"), check_positions)

    async def _read_balance(self, answer: Answer) -> None:
        await self._read(answer, "/portfolio/balance", c.ReadBalance(venue="kalshi"), check_balance)

    async def _read_book(self, answer: Answer) -> None:
        await self._read(answer, "/markets/KXA-1/orderbook", c.ReadBook(market=0), check_book)

    async def _as_of(self, answer: Answer) -> None:
        now_ns = self.world.pace.now_ns() + SECOND
        await self._read(
            answer, "/exchange/user_data_timestamp", c.ReadBalance(venue="kalshi"),
            lambda event, value: same(event.as_of_ns, min(now_ns, honest.moment(value["as_of_time"]))),
        )  # fmt: skip

    async def _queue(self, answer: Answer) -> None:
        world = self.world
        poll = QueuePoll(world.wire.rest, world.wire.orders, world.wire.lives, world.pace, SECOND)
        world.wire.orders.named(7, "o-1")
        world.wire.orders._by_venue = {"o-1": 7}  # earlier answers gave names to others
        poll.placed(0)
        world.script[:] = [("GET", "/portfolio/orders/queue_positions", answer.said)]
        found = await with_time(world.pace, poll.poll())
        answer.became = "refused" if found is None else "accepted"
        for place in () if found is None else found.positions:
            honest.any_reading(answer.raw, lambda value, place=place: check_queue(place, value))

    # --- what a running adapter reads -----------------------------------------------------------------

    async def _tried(self, answer: Answer, path: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """What a read gives; None: it was refused, in one of the two ways that who asks knows."""
        self.world.script[:] = [("GET", path, answer.said)]
        try:
            found = await with_time(self.world.pace, work())
        except (ReadFailedError, DataError):
            answer.became = "refused"
            return None
        answer.became = "accepted"
        return found

    async def _reread(self, answer: Answer) -> None:
        world = self.world
        known = {life.listing.market: life.value_micros for life in world.wire.lives.all()}
        await self._tried(answer, "/markets", lambda: world.wire._read_markets(TICKERS))
        for event in world.sink.events:
            if isinstance(event, e.Settled):
                honest.any_reading(answer.raw, lambda value, event=event: check_settled(event, value, known))

    async def _limits(self, answer: Answer) -> None:
        world = self.world
        world.script[:] = [("GET", "/account/limits", answer.said)]
        await with_time(world.pace, world.wire._each_minute())
        limits = world.http.budget.limits
        answer.became = "accepted" if limits.usage_tier != LIMITS["usage_tier"] else "refused"
        if answer.became == "accepted":
            honest.any_reading(answer.raw, lambda value: honest.check_model(limits, value))
        world.http.budget.tokens(world.pace.now_ns())
        world.http.budget.set_limits(
            msgspec.convert(LIMITS, a.AccountLimits, dec_hook=_cast), world.pace.now_ns()
        )
        await world.pace.pass_ns(SECOND)

    async def _costs(self, answer: Answer) -> None:
        world, budget = self.world, self.world.http.budget
        before = dict(budget._costs), budget._default
        costs = await self._tried(answer, "/account/endpoint_costs", world.wire.rest.endpoint_costs)
        if costs is not None:
            budget.set_costs(costs)
            honest.any_reading(answer.raw, lambda value: honest.check_model(costs, value))
        budget._costs, budget._default = before

    async def _fees(self, answer: Answer) -> None:
        path = self.rng.choice(("/events", "/series/KXA", "/series/fee_changes", "/events/fee_changes"))
        world = self.world
        world.script[:] = [("GET", path, answer.said)]
        await with_time(world.pace, world.wire._refees(world.pace.now_ns()))
        world.wire.fees.changes(world.pace.now_ns())
        answer.became = "refused" if world.sink.events else "accepted"

    async def _schedule(self, answer: Answer) -> None:
        world = self.world
        world.wire._schedule_due_ns = 0
        world.script[:] = [("GET", "/exchange/schedule", answer.said)]
        await world.pace.pass_ns(6 * SECOND)
        answer.became = (
            "refused" if any(isinstance(x, e.Malformed) for x in world.sink.events) else "accepted"
        )

    async def _status(self, answer: Answer) -> None:
        world = self.world
        world.script[:] = [("GET", "/exchange/status", answer.said)]
        await world.pace.pass_ns(6 * SECOND)
        answer.became = "accepted"

    async def _groups(self, answer: Answer) -> None:
        """A group that fired is armed; where it is gone, another is made; it is deleted."""
        world, wire = self.world, self.world.wire
        wire.fired[GROUP] = None
        verb, path = self.rng.choice(
            (("PUT", "/portfolio/order_groups/"), ("POST", "/portfolio/order_groups/create"))
        )
        world.script[:] = [(verb, path, answer.said)]
        if verb == "POST":
            world.script.append(
                ("PUT", "/portfolio/order_groups/", Said(404, b'{"error":{"code":"not_found"}}'))
            )
        try:
            await with_time(world.pace, world.wire.arm())
            answer.became = "accepted"
        except WorkError:
            answer.became = "refused"
            if not wire.fired:
                raise Lie("a group that was not armed takes orders") from None
        wire.fired.clear()
        wire.groups.clear()
        wire.groups[GROUP], wire._maker.group_of[2] = 2, GROUP

    async def _catalogue(self, answer: Answer) -> None:
        path = self.rng.choice(("/markets", "/events", "/series"))
        rest, now_ns, wanted = self.world.wire.rest, self.world.pace.now_ns(), Selection(tickers=TICKERS)
        await self._tried(answer, path, lambda: find_markets(rest, wanted, now_ns=now_ns, direct_member=True))

    async def _incentives(self, answer: Answer) -> None:
        rest = self.world.wire.rest
        await self._tried(answer, "/incentive_programs", lambda: find_incentives(rest, TICKERS))

    async def _look_up(self, answer: Answer) -> None:
        """A fill of an order that is not known: its order is asked for."""
        world = self.world
        number = f"x-{self.rng.randrange(10**9)}"
        msg = {**bodies.FRAMES["fill"], "order_id": number, "trade_id": number, "client_order_id": None}
        world.script[:] = [("GET", "/portfolio/orders/x-", answer.said)]
        world.wire.hear(
            _read_fill_frame(msgspec.json.encode({"type": "fill", "msg": msg})), world.pace.now_ns()
        )
        await world.pace.pass_ns(8 * SECOND)
        filled = [x for x in world.sink.events if isinstance(x, e.Filled)]
        answer.became = "accepted" if filled else "refused"
        for event in filled:
            same((event.price, event.size), (4500, 4_000_000))

    async def _any_read(self, answer: Answer) -> None:
        kind = next((k for k in READERS if k.__name__ == answer.sample), m.Markets)
        found = await self._tried(answer, "/any", lambda: self.world.wire.rest.get(kind, "/any"))
        if found is not None:
            honest.any_reading(answer.raw, lambda value: honest.check_model(found, value))

    # --- health -------------------------------------------------------------------------------------

    async def check_health(self) -> None:
        """Good answers are taken as ever."""
        world = self.world
        await world.pace.pass_ns(1_200_000_000)
        world.sink.clear()
        (order,) = await self._rest()
        good = Answer(200, BY_NAME["Canceled"].raw, "", verdicts)
        (closed,) = await self._ask(good, "DELETE", ORDERS, c.Cancel(order_id=order.order_id, market=0))
        same(closed, e.Closed(order_id=order.order_id, why="none", filled=4_000_000))
        good = Answer(200, BY_NAME["Balance"].raw, "", verdicts)
        (read,) = await self._ask(good, "GET", "/portfolio/balance", c.ReadBalance(venue="kalshi"))
        same(getattr(read, "cash_micros", None), 123_456_700)
        world.fold()


def _cast(kind: type, value: Any) -> Any:
    return kind(value)
