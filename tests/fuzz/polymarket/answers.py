"""Damaged answers through requests, readers and the adapter: judged by the tables, numbers only as said."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from fuzz import honest
from fuzz.damage import Sample, damage
from fuzz.honest import Lie
from fuzz.polymarket import checks
from fuzz.polymarket import numbers as n
from fuzz.polymarket.checks import SIGNED, verdicts
from fuzz.polymarket.world import CONDITIONS, MARKETS, OWNER, TIER, TOKENS, WALLET, World
from fuzz.rig import SECOND, Answer, idle, same, with_time
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError, WorkError
from pr3dict.venues.polymarket import models as m
from pr3dict.venues.polymarket.frames import TradeFrame
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.rest import READERS, ReadFailedError
from venues.polymarket import bodies

ORDER: Final = {**bodies.ORDER, "market": CONDITIONS[0], "asset_id": TOKENS[0][0], "original_size": "10",
                "size_matched": "2.5", "maker_address": WALLET.maker}  # fmt: skip
TRADE: Final = {
    **bodies.TRADE, "market": CONDITIONS[0], "asset_id": TOKENS[0][0], "owner": "somebody",
    "maker_orders": [{**bodies.TRADE["maker_orders"][0], "asset_id": TOKENS[0][0], "owner": OWNER}],
}  # fmt: skip
GAMMA: Final = {"markets": list(MARKETS)}
ENDED: Final = {"closed": True, "umaResolutionStatus": "resolved", "outcomePrices": '["0", "1"]'}


def name_of(kind: Any) -> str:
    """Of a type of bodies."""
    return str(kind) if hasattr(kind, "__origin__") else str(kind.__name__)


BY_NAME: Final = {
    **{name_of(kind): Sample(str(kind), body) for kind, body in bodies.BODIES.items()},
    "Legs": Sample("Legs", [bodies.POSTED] * 4), "Ours": Sample("Ours", ORDER),
    "OurOrders": Sample("OurOrders", bodies.page(ORDER)),
    "OurTrades": Sample("OurTrades", bodies.page(TRADE)),
    "Markets": Sample("Markets", GAMMA), "Ended": Sample("Ended", {"markets": [{**MARKETS[0], **ENDED}]}),
    "Key": Sample("Key", {"apiKey": OWNER, "secret": "c2VjcmV0", "passphrase": "p"}),
    "Canceleds": Sample("Canceleds", {"canceled": ["0x1", "0x2"], "not_canceled": {"0x3": "not found"}}),
}  # fmt: skip
ERRORS: Final = [
    Sample("error", body)
    for body in (
        {"error": "not enough balance / allowance"}, {"error": "post-only order: order crosses book"},
        {"errorMsg": "Duplicated."}, {"error": {"message": "order timed out", "code": "x"}},
        {"error_msg": "no"}, {"error": "post-only mode", "retry_after_seconds": 7}, {"message": "gateway"},
        {"error": "cancel-only"},
        {"error": "it is cancel-only", "retry_after_seconds": 10**30}, {"code": "internal"},
        {"error": "order timed out"}, {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": "h9"},
    )
]  # fmt: skip
CORPUS: Final = [*BY_NAME.values(), *ERRORS]
STATUSES: Final = (
    200, 201, 202, 299, 301, 304, 400, 401, 403, 404, 405, 408, 409, 410, 415, 418, 422, 425, 429, 431, 500,
    502, 503, 504,
)  # fmt: skip
KINDS: Final = {name_of(kind): kind for kind in READERS}
NOISE: Final = (
    e.Malformed,
    e.VenueStatus,
    e.FeesChanged,
    e.Filled,
    e.FillFinal,
    e.FillVoided,
    e.ClockSkewed,
    e.RewardsChanged,
)
_read_trade: Final = reader_of(TradeFrame)
Way = Callable[[Answer], Awaitable[None]]


class Answers:
    """One adapter that asks, and gets damaged answers."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.case: dict[str, Any] = {}
        self.ways: dict[str, tuple[int, Way, str]] = {
            "place": (12, self._place, "Posted"),
            "place_batch": (8, self._place_batch, "Legs"),
            "cancel": (10, self._cancel, "Canceled"),
            "cancel_batch": (6, self._cancel_batch, "Canceleds"),
            "cancel_all": (3, self._cancel_all, "Canceled"),
            "beat": (6, self._beat, "Heartbeat"),
            "read_orders": (7, self._read_orders, "OurOrders"),
            "read_order": (6, self._read_order, "Ours"),
            "read_fills": (8, self._read_fills, "OurTrades"),
            "read_positions": (4, self._read_positions, "BalanceAllowance"),
            "read_balance": (4, self._read_balance, "BalanceAllowance"),
            "read_book": (4, self._read_book, "Book"),
            "watch": (3, self._watch, "tuple[pr3dict.venues.polymarket.models.Book, ...]"),
            "reread": (6, self._reread, "Markets"),
            "end": (3, self._reread, "Ended"),
            "verbose": (4, self._verbose, "VerboseMarket"),
            "tier": (3, self._tier, "RateLimitTier"),
            "skew": (2, self._skew, "Seconds"),
            "key": (3, self._key, "Key"),
            "look_up": (5, self._look_up, "Ours"),
            "catalogue": (5, self._catalogue, "Markets"),
            "any_read": (14, self._any_read, ""),
        }
        self._names = list(self.ways)
        self._weights = [weight for weight, _, _ in self.ways.values()]

    # --- one input ----------------------------------------------------------------------------------

    async def step(self) -> tuple[str, str]:
        """(damage, what became of the input); raises `Lie`, and then `case` is the input."""
        rng = self.rng
        name = rng.choices(self._names, self._weights)[0]
        of = self.ways[name][2] or rng.choice(list(KINDS))
        sample, status, value = BY_NAME[of], 200, None
        if rng.random() < 0.2:
            status, sample = rng.choice(STATUSES), rng.choice(ERRORS) if rng.random() < 0.8 else sample
        else:
            value = self._fitting(name, sample)
        hurt, raw = damage(rng, sample, CORPUS, value)
        headers = SIGNED if status == 429 and rng.random() < 0.7 else {}
        self.case = {
            "name": name, "status": status, "sample": of, "raw": raw.decode("latin-1"), "headers": headers,
        }  # fmt: skip
        return hurt, await self.take(name, status, raw, of, headers)

    async def replay(self, case: Mapping[str, Any]) -> None:
        """One input that was kept; it may name orders of the world in which it was found."""
        raw = case["raw"].encode("latin-1")
        await self.take(case["name"], case["status"], raw, case["sample"], case["headers"])

    def _fitting(self, name: str, sample: Sample) -> Any:
        """An answer that is about the orders that are asked about."""
        value, first = sample.value(), self.world.next_order
        digests = list(self.world.digests)
        match name:
            case "place":
                value["orderID"] = DIGEST_OF.format(first)
            case "place_batch":
                for place, leg in enumerate(value):
                    leg["orderID"] = DIGEST_OF.format(first + place)
            case "cancel":
                value = {"canceled": [DIGEST_OF.format(first)], "not_canceled": {}}
            case "cancel_batch":
                names = [DIGEST_OF.format(first + place) for place in range(4)]
                value = {
                    "canceled": names[:2],
                    "not_canceled": {names[2]: "order not found", names[3]: "pending"},
                }
            case "read_order" | "look_up":
                value["id"] = self.rng.choice(digests)
            case "read_orders":
                value["data"][0]["id"] = self.rng.choice(digests)
            case "read_fills":
                value["data"][0]["id"] = f"t-{self.rng.randrange(10**12)}"
                value["data"][0]["maker_orders"][0]["order_id"] = self.rng.choice(digests)
        return value

    async def take(self, name: str, status: int, raw: bytes, sample: str, headers: Any) -> str:
        """One answer to one request."""
        world = self.world
        world.sink.clear()
        answer = Answer(status, raw, sample, verdicts, headers)
        await self.ways[name][1](answer)
        world.script.clear()
        failure = world.wire.failure()
        if failure is not None:
            raise Lie(f"the adapter died: {type(failure).__name__}: {failure}")
        return answer.became

    def _named(self, answer: Answer, orders: list[c.Place]) -> Answer:
        """The answer with the digests of the orders, which are known only now."""
        raw = answer.raw
        for order, digest in zip(orders, map(self._digest_to_be, orders), strict=True):
            raw = raw.replace(DIGEST_OF.format(order.order_id).encode(), digest.encode())
        return Answer(answer.status, raw, answer.sample, verdicts, answer.said.headers)

    def _digest_to_be(self, order: c.Place) -> str:
        maker = self.world.wire._desk._maker
        known = self.world.wire.orders.digest(order.order_id)
        return known or maker.create(order, self.world.pace.now_ns()).digest.lower()

    async def _ask(self, answer: Answer, method: str, path: str, *commands: c.Action) -> list[e.Control]:
        """The events that follow from commands, the first matching request answered so."""
        world = self.world
        world.script[:] = [(method, path, answer.said)]
        world.sink.clear()
        world.wire.send(world.pace.now_ns(), commands)
        await idle()
        if world.script or world.wire.orders.placing() or not world.sink.events:
            await world.pace.pass_ns(2 * SECOND)
        if world.script:
            raise Lie(f"{method} {path} was never asked")
        found = list(world.sink.events)
        answer.malformed = sum(isinstance(x, e.Malformed) for x in found)
        return [x for x in found if not isinstance(x, NOISE)]

    async def _rest(self, count: int = 1) -> list[c.Place]:
        """Orders that rest, taken as ever."""
        world = self.world
        orders = world.new(count)
        world.wire.send(world.pace.now_ns(), orders)
        await idle()
        accepted = {x.order_id for x in world.sink.events if isinstance(x, e.Accepted)}
        if accepted < {order.order_id for order in orders}:
            raise Lie("a good answer to a new order is no longer taken")
        return orders

    # --- orders -------------------------------------------------------------------------------------

    async def _place(self, answer: Answer) -> None:
        orders = self.world.new(1)
        named = self._named(answer, orders)
        sent, *rest = await self._ask(named, "POST", "/order", *orders)
        same(sent, e.Sent(order_id=orders[0].order_id, venue_id=self.world.digest(orders[0])))
        self._check_placed(answer, named, orders[0], rest, lambda value: value)

    async def _place_batch(self, answer: Answer) -> None:
        await self.world.pace.pass_ns(SECOND)
        orders = self.world.new(4)
        named = self._named(answer, orders)
        events = await self._ask(named, "POST", "/orders", *orders)
        for place, order in enumerate(orders):
            rest = [x for x in events if x.order_id == order.order_id][1:]  # type: ignore[union-attr]
            self._check_placed(
                answer, named, order, rest, lambda value, place=place: checks.leg_of(value, place, 4)
            )

    def _check_placed(
        self, answer: Answer, named: Answer, order: c.Place, rest: list[e.Control], leg: Callable[[Any], Any]
    ) -> None:
        first, *more = rest
        digest = self.world.digest(order)
        if isinstance(first, e.AnswerLost):
            named.is_unknown()
        elif isinstance(first, e.Refused) and not 200 <= named.status < 300:
            named.is_judged("refused")
        elif isinstance(first, e.Accepted | e.Refused):
            same(200 <= named.status < 300, True)
            honest.any_reading(named.raw, lambda value: checks.check_placed(leg(value), digest, first, more))
            named.became = "accepted" if isinstance(first, e.Accepted) else "refused"
        else:
            raise Lie(f"{rest} of one order")
        answer.became = named.became

    async def _cancel(self, answer: Answer) -> None:
        await self.world.pace.pass_ns(SECOND)  # an order needs a budget, and a 429 took it away
        orders = self.world.new(1)
        named = self._named(answer, orders)
        self.world.wire.send(self.world.pace.now_ns(), orders)
        await idle()
        cancel = c.Cancel(order_id=orders[0].order_id, market=0)
        (event,) = await self._until_told(named, "/order", [cancel])
        self._check_canceled(answer, named, orders[0], event)

    async def _cancel_batch(self, answer: Answer) -> None:
        await self.world.pace.pass_ns(SECOND)
        orders = self.world.new(4)
        named = self._named(answer, orders)
        self.world.wire.send(self.world.pace.now_ns(), orders)
        await idle()
        cancels = [c.Cancel(order_id=order.order_id, market=0) for order in orders]
        events = await self._until_told(named, "/orders", cancels)
        for order in orders:
            (event,) = [x for x in events if x.order_id == order.order_id]  # type: ignore[union-attr]
            self._check_canceled(answer, named, order, event)

    async def _until_told(self, named: Answer, path: str, cancels: list[c.Cancel]) -> list[e.Control]:
        """What became of each cancel; those that are only refused for now are sent again."""
        world = self.world
        world.script[:] = [("DELETE", path, named.said)]
        world.sink.clear()
        world.wire.send(world.pace.now_ns(), cancels)
        for _ in range(40):
            await idle()
            found = [x for x in world.sink.events if not isinstance(x, NOISE)]
            if len(found) == len(cancels):
                return found
            await world.pace.pass_ns(SECOND)
        for _ in range(4000):  # the venue asked for a long pause
            await world.pace.pass_ns(SECOND)
            found = [x for x in world.sink.events if not isinstance(x, NOISE)]
            if len(found) == len(cancels):
                return found
        raise Lie("nothing is told of a cancel")

    def _check_canceled(self, answer: Answer, named: Answer, order: c.Place, event: e.Control) -> None:
        digest, accepted = self.world.digest(order), 200 <= named.status < 300
        match event:
            case e.Closed() if not accepted:  # it was sent again
                same("refused" in named.verdicts, True)
                named.became = "refused"
            case e.Closed():
                same(event.filled, n.UNKNOWN)
                self._says(named, digest, "accepted")
            case e.RequestRefused() if accepted:
                self._says(named, digest, event.why)
                named.became = "refused"
            case e.RequestRefused():
                named.is_judged("refused")
            case e.AnswerLost():
                named.is_unknown()
            case _:
                raise Lie(f"a cancel made a {type(event).__name__}")
        answer.became = named.became

    def _says(self, named: Answer, digest: str, word: str) -> None:
        honest.any_reading(named.raw, lambda value: same(checks.cancel_verdict(value, digest), word))
        named.became = "accepted"

    async def _cancel_all(self, answer: Answer) -> None:
        world = self.world
        world.script[:] = [("DELETE", "/cancel-all", answer.said)]
        world.wire.send(world.pace.now_ns(), [c.CancelAll(venue="polymarket", why="x")])
        await world.pace.pass_ns(3 * SECOND)
        same(any(isinstance(x, e.Closed) for x in world.sink.events), False)
        answer.became = "accepted" if 200 <= answer.status < 300 else "refused"

    async def _beat(self, answer: Answer) -> None:
        """The id that the next heartbeat names is one that was told."""
        world, beats = self.world, self.world.wire.heartbeats
        before, counted = beats._id, beats.beats
        world.script[:] = [("POST", "/v1/heartbeats", answer.said)]
        await with_time(world.pace, beats.beat())
        answer.became = "accepted" if beats.beats > counted else "refused"
        if beats._id not in (before, "h1"):
            honest.any_reading(answer.raw, lambda value: same(value["heartbeat_id"], beats._id))
        if not beats._id and beats.beats > counted:
            raise Lie("a heartbeat counted, and names no next one")

    # --- reads --------------------------------------------------------------------------------------

    async def _read(
        self, answer: Answer, path: str, command: c.Action, check: Callable[[Any, Any], None]
    ) -> None:
        await self.world.pace.pass_ns(SECOND)  # what an earlier read still asks for
        event, *_ = await self._ask(answer, "GET", path, command)
        if isinstance(event, e.ReadFailed):
            answer.became = "refused"
            return
        answer.became = "accepted"
        if 200 <= answer.status < 300 and answer.raw.strip() not in (b"", b"null"):
            honest.any_reading(answer.raw, lambda value: check(event, value))
        elif getattr(event, "status", "") != "not_found":
            raise Lie(f"status {answer.status} made a {type(event).__name__}")

    async def _read_orders(self, answer: Answer) -> None:
        digests, command = self.world.digests, c.ReadOrders(venue="polymarket")
        await self._read(answer, "/data/orders", command, lambda x, v: checks.check_orders(x, v, digests))

    async def _read_order(self, answer: Answer) -> None:
        digest, place = next(iter(self.world.digests.items()))
        command = c.ReadOrder(order_id=place.order_id, market=place.market, venue_id=digest)
        digests = self.world.digests
        await self._read(answer, "/data/order/", command, lambda x, v: checks.check_order(x, v, digests))

    async def _read_fills(self, answer: Answer) -> None:
        digests, now_ns = self.world.digests, self.world.pace.now_ns()
        command = c.ReadFills(venue="polymarket", since_ns=1)
        await self._read(answer, "/data/trades", command, lambda x, v: checks.check_fills(x, v, digests))
        if self.world.wire.settling.oldest_ns() > now_ns + 10**18:
            raise Lie("a fill of the far future is waited for")

    async def _read_positions(self, answer: Answer) -> None:
        self.world.wire.holdings._swept_ns = -(10**18)
        await self._read(answer, "/balance-allowance$", c.ReadPositions(venue="polymarket"), self._held)

    def _held(self, event: e.PositionsRead, value: Any) -> None:
        """The first balance that is asked for is that of some token; what fills left pending is added."""
        balance = n.whole(value["balance"], 2**62)
        if not len(self.world.wire.settling) and not self.world.wire.lives.prices():
            told = [x for p in event.positions for x in (p.yes_contracts, p.no_contracts) if x]
            same(told in ([balance], []) and (bool(told) or balance == 0), True)

    async def _read_balance(self, answer: Answer) -> None:
        world = self.world
        world.wire.holdings._swept_ns = world.pace.now_ns()
        world.wire.holdings._held = dict.fromkeys((0, 1), (0, 0))
        world.wire.holdings._moved.clear()
        is_quiet = not len(world.wire.settling)
        command = c.ReadBalance(venue="polymarket")
        if not is_quiet:
            return await self._tried_cash(answer, command)
        await self._read(
            answer, "/balance-allowance$", command,
            lambda event, value: same(event.cash_micros, n.whole(value["balance"], 2**62))
            if event.cash_micros or n.whole(value["balance"], 2**62) else None,
        )  # fmt: skip
        return None

    async def _tried_cash(self, answer: Answer, command: c.ReadBalance) -> None:
        event, *_ = await self._ask(answer, "GET", "/balance-allowance$", command)
        answer.became = "refused" if isinstance(event, e.ReadFailed) else "accepted"

    async def _read_book(self, answer: Answer) -> None:
        await self._read(answer, "/book", c.ReadBook(market=0), checks.check_book)

    # --- what a running adapter reads -----------------------------------------------------------------

    async def _tried(self, answer: Answer, method: str, path: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """What a read gives; None: it was refused, in one of the ways that who asks knows."""
        self.world.script[:] = [(method, path, answer.said)]
        try:
            found = await with_time(self.world.pace, work())
        except (ReadFailedError, DataError):
            answer.became = "refused"
            return None
        answer.became = "accepted"
        return found

    async def _watch(self, answer: Answer) -> None:
        """The comparison of books by another route never dies, and changes no book by itself."""
        from pr3dict.venues.polymarket.book_watch import BookWatch

        world = self.world
        watch = BookWatch(world.wire.rest, world.streams, world.pace)
        for condition, book in world.streams.decoder.books.items():
            book.replace({4400: 10**6}, {5600: 10**6})
            same(condition in CONDITIONS, True)
        world.script[:] = [("POST", "/books", answer.said)]
        await with_time(world.pace, watch.round())
        answer.became = "refused" if watch.failed else "accepted"
        for book in world.streams.decoder.books.values():
            same(book.sides, ({4400: 10**6}, {5600: 10**6}))

    async def _reread(self, answer: Answer) -> None:
        world = self.world
        wire = world.wire
        await self._tried(answer, "GET", "/gamma/markets/keyset", lambda: wire._read_markets(CONDITIONS))
        for event in world.sink.events:
            if isinstance(event, e.Settled):
                honest.any_reading(answer.raw, lambda value, event=event: self._is_paid(event, value))
        self._relist()

    def _relist(self) -> None:
        """The markets as they were, for the next input."""
        from fuzz.polymarket.world import lives

        self.world.wire.lives._paid.clear()
        self.world.wire.lives.add(lives())

    @staticmethod
    def _is_paid(event: e.Settled, value: Any) -> None:
        bodies_of = [x for x in value["markets"] if x["conditionId"].lower() == CONDITIONS[event.market]]
        same(event.value_micros in [checks.payout_of(x) for x in bodies_of], True)

    async def _verbose(self, answer: Answer) -> None:
        world = self.world
        world.script.append(
            ("GET", "/gamma/markets/keyset", Answer(200, b'{"markets":[]}', "", verdicts).said)
        )
        empty = list(world.script)
        world.script[:] = [*empty, *empty, ("GET", "/markets/", answer.said)]
        try:
            await with_time(world.pace, world.wire._read_markets(CONDITIONS[:1]))
            answer.became = "accepted"
        except (ReadFailedError, DataError):
            answer.became = "refused"
        for event in world.sink.events:
            if isinstance(event, e.Settled):
                honest.any_reading(answer.raw, lambda value, event=event: self._is_won(event, value))
        self._relist()

    @staticmethod
    def _is_won(event: e.Settled, value: Any) -> None:
        same(value["closed"], True)
        won = [token["token_id"] for token in value["tokens"] if token.get("winner")]
        pays = 500_000 if value.get("is_50_50_outcome") else 1_000_000 if won[0] == TOKENS[0][0] else 0
        same(event.value_micros, pays)

    async def _tier(self, answer: Answer) -> None:
        world = self.world
        world.script[:] = [("GET", "/v1/user/rate-limit-tier", answer.said)]
        await with_time(world.pace, world.wire._each_minute())
        budget = world.http.budget
        answer.became = "accepted" if budget.tier != TIER else "refused"
        if budget.tier != TIER:
            honest.any_reading(answer.raw, lambda value: same(value["tier"].lower(), budget.tier))
        budget.set_tier(TIER, world.pace.now_ns())
        await world.pace.pass_ns(3 * SECOND)

    async def _skew(self, answer: Answer) -> None:
        now_ns = self.world.pace.now_ns()
        await self._tried(answer, "GET", "/time", self.world.wire._read_skew)
        for event in self.world.sink.events:
            if isinstance(event, e.ClockSkewed):
                said_ns = now_ns - event.skew_ns
                honest.any_reading(
                    answer.raw, lambda v, ns=said_ns: same(abs(ns - n.seconds(v)) <= 2 * SECOND, True)
                )

    async def _key(self, answer: Answer) -> None:
        verb, path, ask = self.rng.choice((
            ("GET", "/auth/derive-api-key", self.world.wire._requests.derive_key),
            ("POST", "/auth/api-key", self.world.wire._requests.create_key),
        ))  # fmt: skip
        self.world.script[:] = [(verb, path, answer.said)]
        try:
            key = await with_time(self.world.pace, ask())
        except (WorkError, DataError) as error:
            answer.became = "refused"
            if "c2VjcmV0" in str(error):
                raise Lie("an error shows a secret") from None
            return
        answer.became = "accepted"
        parts = key.parts()
        honest.any_reading(answer.raw, lambda v: same(parts, (v["apiKey"], v["secret"], v["passphrase"])))

    async def _look_up(self, answer: Answer) -> None:
        """A trade of an order that is not known: its order is asked for."""
        world = self.world
        number = f"x-{self.rng.randrange(10**12)}"
        row = {**TRADE["maker_orders"][0], "order_id": "0x" + f"{self.rng.randrange(16**64):064x}"}
        body = {**TRADE, "id": number, "status": "MATCHED", "maker_orders": [row]}
        world.script[:] = [("GET", "/data/order/", answer.said)]
        world.wire.hear(_read_trade(msgspec.json.encode(body)), world.pace.now_ns())
        await world.pace.pass_ns(8 * SECOND)
        filled = [x for x in world.sink.events if isinstance(x, e.Filled)]
        answer.became = "accepted" if filled else "refused"
        for event in filled:
            same((event.price, event.size, event.trade_id.startswith(number)), (5300, 12_500_000, True))

    async def _catalogue(self, answer: Answer) -> None:
        """Each entry is read by itself, or named."""
        found = await self._tried(answer, "GET", "/gamma/markets/keyset", self.world.wire.rest.gamma_markets)
        if found is not None:
            honest.any_reading(answer.raw, lambda value: self._is_listed(found, value))

    @staticmethod
    def _is_listed(found: Any, value: Any) -> None:
        left = list(value["markets"])
        if not value.get("next_cursor"):
            same(len(found.items) + len(found.refused), len(left))
        for item in found.items[: len(left)]:
            while True:
                try:
                    honest.check_model(item, left.pop(0), "", n.MEANINGS)
                    break
                except Lie:
                    if not left:
                        raise

    async def _any_read(self, answer: Answer) -> None:
        kind = KINDS.get(answer.sample, m.Book)
        found = await self._tried(answer, "GET", "/any", lambda: self.world.wire.rest.get(kind, "/any"))
        if found is not None:
            honest.any_reading(answer.raw, lambda value: honest.check_model(found, value, "", n.MEANINGS))

    # --- health -------------------------------------------------------------------------------------

    async def check_health(self) -> None:
        """Good answers are taken as ever."""
        world = self.world
        await world.pace.pass_ns(2 * SECOND)
        world.sink.clear()
        (order,) = await self._rest()
        digest = world.digest(order)
        (closed,) = await self._until_told(
            Answer(200, msgspec.json.encode({"canceled": [digest]}), "", verdicts), "/order",
            [c.Cancel(order_id=order.order_id, market=0)],
        )  # fmt: skip
        same(closed, e.Closed(order_id=order.order_id, why="none", filled=-1))
        good = Answer(200, msgspec.json.encode(bodies.page()), "", verdicts)
        (read,) = await self._ask(good, "GET", "/data/orders", c.ReadOrders(venue="polymarket"))
        same(getattr(read, "orders", None), ())
        world.fold()


DIGEST_OF: Final = "0xdd{:062d}"
