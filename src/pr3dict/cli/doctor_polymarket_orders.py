"""The round trip of `doctor --orders` at Polymarket: one deep post-only order, placed, seen and cancelled.

The order is a bid of the smallest size at the lowest price, with an expiry of three minutes of its own:
should this process die on the way, the venue ends it by itself. Its digest is known before it leaves, so it
can be found and cancelled whatever became of its answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from pr3dict.cli.doctor import Finding
from pr3dict.cli.doctor_venue import LOOK_NS, WAIT_S, OrderEar, Step, comes_true
from pr3dict.domain.commands import Place
from pr3dict.domain.errors import DataError
from pr3dict.domain.units import BID, NS_PER_SECOND, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.polymarket_access import PolymarketAccess
from pr3dict.runtime.polymarket_markets import find_markets
from pr3dict.runtime.venue_selection import Selection
from pr3dict.venues.polymarket.account_models import OrderState
from pr3dict.venues.polymarket.book import TickChange
from pr3dict.venues.polymarket.frames import Frame, OrderFrame
from pr3dict.venues.polymarket.markets import Life
from pr3dict.venues.polymarket.orders import Answer, PolymarketOrders
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.polymarket.requests import Built, Requests
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.session import Clock

LIFE_NS: Final = 180 * NS_PER_SECOND
CANCEL_TRIES: Final = 5
MARKETS: Final = 20  # among which a deep book is looked for
FAR: Final = 1_000  # price units between our bid and the best one, where there is such a market
OVER: Final = (OrderState.CANCELED, OrderState.MATCHED, OrderState.INVALID)


class Failed(Step):
    """A step of this trip that failed."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text, "see docs/venues/polymarket.md")


class Ear(OrderEar):
    """Hears Polymarket's account channel."""

    def hear(self, frame: Frame | TickChange, _now_ns: int) -> None:
        """A frame about the account."""
        if isinstance(frame, OrderFrame):
            self.note(frame.id.lower(), frame.state.value)


async def round_trip(
    access: PolymarketAccess, rest: PolymarketRest, clock: Clock, lives: Sequence[Life] = ()
) -> list[Finding]:
    """A finding a step; whatever fails, what was made is taken away again, and said if it could not be."""
    try:
        life = await _market(rest, lives)
    except Step as step:
        return [step.finding]
    except (ReadFailedError, DataError) as error:
        return [Finding("order", "fail", str(error), "no market could be chosen")]
    ear = Ear()
    streams = access.streams(clock, ear, (), ear.hear, private=True)
    streams.start()
    trip = Trip(access, rest, clock, ear, life)
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


async def _market(rest: PolymarketRest, lives: Sequence[Life]) -> Life:
    """A market that takes orders; the lowest price is far from its best bid if there is one."""
    asked = tuple(life.listing.ticker for life in lives)[:MARKETS]
    found = await find_markets(rest, Selection(tickers=asked, max_markets=MARKETS))
    fit = [life for life in found.lives if life.asking]
    if not fit:
        raise Step("order", "no market takes orders", "name one with --market")

    def depth(life: Life) -> int:
        return min(int(found.bodies[life.listing.ticker].best_bid or 0) - life.tick, FAR)

    return max(fit, key=depth)


class Trip:
    """One order."""

    def __init__(
        self, access: PolymarketAccess, rest: PolymarketRest, clock: Clock, ear: Ear, life: Life
    ) -> None:
        assert access.signer is not None
        assert access.key is not None
        self.findings: list[Finding] = []
        self._rest = rest
        self._orders = PolymarketOrders(rest.http)
        self._clock = clock
        self._ear = ear
        self._life = life
        self._build = Requests(
            access.signer, access.key.key, lambda _: life.terms, f"doctor{secrets.token_hex(8)}"
        )
        self._digest = ""
        self._may_rest = False  # an order was sent and is not proven to be gone

    def _ok(self, name: str, text: str) -> None:
        self.findings.append(Finding(name, "ok", text))

    async def go(self) -> None:
        """Every step; raises `Step` where one fails."""
        if not await self._ear.came_up():
            raise Failed("order", "the account's channel did not come up; nothing was sent")
        await self._place()
        await self._see()
        await self._cancel()

    def _built(self) -> Built:
        now_ns, life = self._clock.now_ns(), self._life
        place = Place(
            order_id=1,
            market=life.listing.market,
            side=BID,
            price=life.tick,
            size=life.listing.min_size,
            tif=d.POST_ONLY,
            expiry_ns=now_ns + LIFE_NS,
        )
        return self._build.create(place, now_ns)

    async def _place(self) -> None:
        built = self._built()
        self._digest, self._may_rest = built.digest, True
        answer = await self._orders.post(built)
        if answer.outcome.verdict is not Verdict.ACCEPTED:
            self._may_rest = answer.outcome.verdict is Verdict.UNKNOWN
            raise Failed("order", f"was not placed in {self._name}: {_why(answer)}")
        at = f"{built.size / QTY_SCALE:g} contracts at ${self._life.tick / 10_000:g}"
        self._ok("order", f"a bid of {at} rests in {self._name}")

    @property
    def _name(self) -> str:
        return f"{self._life.listing.title!r}"

    async def _see(self) -> None:
        """In the list of orders, and on the account's channel."""
        if not await comes_true(self._is_listed, self._clock):
            raise Failed("order read", "the order does not appear in the list of orders")
        self._ok("order read", "the order is in the list of orders, under the digest that was computed here")
        if not await self._ear.until(self._digest, (OrderState.LIVE.value,)):
            raise Failed("order stream", f"nothing was heard of the order within {WAIT_S:g} s")
        self._ok("order stream", "the order was heard on the account's channel")

    async def _is_listed(self) -> bool:
        listed = await self._rest.open_orders(self._life.condition)
        return any(order.id.lower() == self._digest for order in listed)

    async def _cancel(self) -> None:
        answer = await self._orders.cancel(self._digest)
        if answer.outcome.verdict is not Verdict.ACCEPTED:
            raise Failed("cancel", f"the order was not cancelled: {_why(answer)}")
        self._may_rest = False
        if not await self._ear.until(self._digest, (OrderState.CANCELED.value,)):
            raise Failed("cancel", f"the cancel was taken but not heard on the channel within {WAIT_S:g} s")
        if not await comes_true(self._is_over, self._clock):
            raise Failed("cancel", "the cancel was taken, and the order still shows as resting")
        self._ok("cancel", "the order was cancelled, heard on the channel, and nothing is left over")

    async def _is_over(self) -> bool:
        order = await self._rest.order(self._digest)
        return order is not None and order.state in OVER

    # --- whatever happened ---------------------------------------------------------------------------

    async def clean(self) -> None:
        """Take away what a failed step left; a finding for what can't be. The order expires in any case."""
        why = ""
        for _ in range(CANCEL_TRIES if self._may_rest else 0):
            try:
                answer = await self._orders.cancel(self._digest)
                if answer.outcome.verdict is Verdict.ACCEPTED or await self._is_over():
                    return
                why = _why(answer)
            except (ReadFailedError, DataError) as error:
                why = str(error)
            await self._clock.sleep(LOOK_NS)
        if self._may_rest:
            text = f"the order {self._digest[:12]}... in {self._name} is not proven to be gone: {why}"
            self.findings.append(Finding("clean up", "fail", text, "it expires by itself within minutes"))


def _why(answer: Answer) -> str:
    return answer.malformed or answer.outcome.text or answer.outcome.why or answer.outcome.verdict.value
