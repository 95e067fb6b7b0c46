"""Polymarket's own rules on top of the simulated exchange: heartbeats, trades on the chain, balances, pay.

The exchange below stays the truth about orders, fills, tokens and cash, all counted from the match on. What
the chain shows of it is worked out here: each trade reaches it some time between its match and its end.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.fees import charge, polymarket_terms
from pr3dict.kernels import dtypes as d
from pr3dict.venues.simulated import interventions as hands
from pr3dict.venues.simulated.faults import FillFault, PlaceFault
from pr3dict.venues.simulated.truth import BookedOrder, cash_of
from simulation.flow import row
from simulation.polymarket_port import Chain
from simulation.polymarket_texts import TICKS, leg_of, tokens_of
from simulation.texts import read_plain
from simulation.venue import SeededFaults, Venue
from simulation.world import SECOND

if TYPE_CHECKING:
    from simulation.simulator import Simulation

ALLOWED_NS = 10 * SECOND  # without a heartbeat
SWEEP_NS = 5 * SECOND  # between two looks at heartbeats
FATES = {"refund": "half", "amended": "zero"}  # nobody is refunded, and nothing is amended once it is paid


class PolymarketFaults(SeededFaults):
    """What goes wrong at Polymarket itself."""

    def on_place(self, now_ns: int, place: c.Place) -> PlaceFault:
        venue = self.sim.polymarket
        if place.sell and venue.sells_unsettled(place) and self.world.fires("sale_unsettled"):
            self.world.effect(205)
            return PlaceFault(refuse="not_held", text="not enough balance")
        return super().on_place(now_ns, place)

    def on_fill(self, now_ns: int, fill: e.Filled) -> FillFault:
        fault = super().on_fill(now_ns, fill)
        if not fault.ghost:
            self.sim.polymarket.matched(fill, fault)
        return fault


class PolymarketVenue(Venue):
    """One wallet at Polymarket, and one API key."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim)
        n = sim.options.markets
        self.random: Random = self.world.stream("polymarket")
        self.digests: dict[int, str] = {}  # by order
        self.numbers: dict[str, int] = {}  # by digest
        self.hands: dict[str, e.Filled] = {}  # fills of a person, by the digest of his order
        self.stages: dict[str, str] = {}  # of trades that are on their way
        self.on_chain: set[str] = set()  # trades that balances show already
        self.over = [False] * n  # closed, as the catalogue says
        self.uma = [""] * n
        self.uncovered: set[int] = set()  # orders that ended because nothing covered them
        self.chain = Chain(sim)
        self.unredeemed: set[int] = set()  # markets whose tokens are still in the wallet
        # heartbeats
        self.beat_id = ""
        self.beats = 0
        self.beat_ns = 0  # of the last one that counted; 0: nobody ever beat
        self.deaf_until_ns = 0  # heartbeats are lost on their way
        self.world.after(SWEEP_NS, self._sweep)

    def _make_faults(self) -> SeededFaults:
        return PolymarketFaults(self.sim)

    def heal(self) -> None:
        super().heal()
        self.deaf_until_ns = 0

    def draw(self, name: str, choices: int) -> int:
        """A choice that belongs to a name: the same whenever it is asked for."""
        return Random(f"{self.sim.options.seed}/{name}").randrange(choices)

    # --- names

    def named(self, number: int, digest: str) -> None:
        """An order arrives."""
        self.digests[number] = digest
        self.numbers[digest] = number

    def find(self, digest: str) -> BookedOrder | None:
        """The order of a digest."""
        return self.exchange.truth.orders.get(self.numbers.get(digest, -1))

    def digest_of_fill(self, fill: e.Filled) -> str:
        """The order that a fill belongs to, a person's too."""
        if fill.order_id:
            return self.digests[fill.order_id]
        digest = f"0x{int(fill.venue_id.rpartition('-')[2]):064x}"
        self.hands[digest] = fill
        return digest

    # --- markets

    def neg_risk(self, market: int) -> bool:
        """Whether a market is one outcome of several."""
        return self.sim.listings[market].exclusive

    def tick(self, market: int) -> int:
        """The price grid now, in 1/10,000 dollar."""
        return TICKS[self.sim.grid_of(market)]

    def restriction(self, market: int, *, post_only: bool) -> tuple[int, Any] | None:
        """Why nothing is taken in a market, or nothing that may trade at once."""
        if self.over[market]:
            return 400, {"error": "the market is closed"}
        if self.sim.venue_status == "paused":
            return 503, {"error": "Trading is currently cancel-only. New orders are not accepted"}
        if self.sim.status_of(market) == d.PAUSED:
            return 400, {"error": "the market is not accepting orders"}
        if not post_only and self.sim.status_of(market) == d.POST_ONLY_MODE:
            return 503, {"code": "post_only_mode", "retry_after_seconds": 3}
        return None

    # --- heartbeats

    def beat(self, said: str) -> tuple[int, Any]:
        """A heartbeat; one that names a wrong id does not count."""
        if said != self.beat_id:
            return 400, {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": self.beat_id}
        self.beats += 1
        self.beat_id, self.beat_ns = f"beat-{self.beats}", self.world.now_ns
        return 200, {"heartbeat_id": self.beat_id}

    def stranger_beats(self) -> None:
        """Somebody else beats with our key."""
        if self.beat_ns:
            self.beat(self.beat_id)
            self.world.effect(202)

    def _sweep(self) -> None:
        self.world.after(SWEEP_NS, self._sweep)
        if self.beat_ns and self.world.now_ns - self.beat_ns > ALLOWED_NS and self.open_orders():
            self.sim.say("no heartbeat: the venue cancels everything")
            self.world.effect(56)
            self.world.effect(204)
            self.cancel_everything(told=True)

    # --- trades on their way to the chain

    def matched(self, fill: e.Filled, fault: FillFault) -> None:
        """A trade begins its way: mined, perhaps sent again, confirmed or failed."""
        self.stages[fill.trade_id] = "MATCHED"
        span_ns = fault.final_after_ns or fault.void_after_ns
        if not fault.final_after_ns:
            if span_ns and self.world.fires("retrying"):
                self.world.effect(206)
                self.world.after(span_ns // 2, self._stage, fill, "RETRYING")
            return
        mined_ns = self.random.randint(0, span_ns)
        if self.world.fires("retrying"):
            self.world.effect(206)
            self.world.after(mined_ns // 2, self._stage, fill, "RETRYING")
        self.world.after(mined_ns, self._stage, fill, "MINED")
        moved_ns = mined_ns + self.random.randint(-SECOND, SECOND)  # balances are told apart from statuses
        self.world.after(min(max(moved_ns, 0), span_ns), self.on_chain.add, fill.trade_id)

    def _stage(self, fill: e.Filled, stage: str) -> None:
        truth = self.exchange.truth
        if fill.trade_id in truth.provisional:
            self.stages[fill.trade_id] = stage
            booked = next(one for one in reversed(truth.fills) if one.trade_id == fill.trade_id)
            self.sim.session.send_trade(booked, stage)

    def stage_of(self, fill: e.Filled) -> str:
        """The status of a trade now."""
        truth = self.exchange.truth
        if fill.trade_id in truth.void:
            return "FAILED"
        if fill.trade_id in truth.provisional:
            return self.stages[fill.trade_id]
        return "CONFIRMED"

    def traded(self, order: BookedOrder) -> tuple[int, int]:
        """(dollars, contracts) that an order has moved; micros."""
        fills = [f for f in self.exchange.truth.fills if f.order_id == order.order_id]
        money = sum(read_plain(leg_of(f).price, 4) * f.size // 10_000 for f in fills)
        return money, order.filled

    # --- balances

    def _off_chain(self) -> list[e.Filled]:
        truth = self.exchange.truth
        fills = (truth.fills[place] for place in truth.provisional.values())
        return [fill for fill in fills if fill.trade_id not in self.on_chain]

    def balance(self, market: int, is_no: bool) -> int:
        """Tokens of the wallet on the chain."""
        held = list(self.exchange.truth.holdings[market])
        if market in self.unredeemed:
            held = list(self.exchange.paid[market][:2])
        for fill in self._off_chain():
            if fill.market == market and leg_of(fill).token == tokens_of(market)[is_no]:
                held[is_no] += fill.size if fill.sell else -fill.size
        return max(held[is_no], 0)

    def dollars(self) -> int:
        """Dollars of the wallet on the chain; micros."""
        cash = self.exchange.cash_micros - sum(self.exchange.paid[m][2] for m in self.unredeemed)
        for fill in self._off_chain():
            of_no = (fill.side == d.BID) == fill.sell
            locked = (-fill.size if fill.sell else fill.size) if of_no else 0
            cash -= cash_of(fill) - locked
        return max(cash, 0)

    def sells_unsettled(self, place: c.Place) -> bool:
        """Whether an order sells tokens that are not on the chain yet."""
        is_no = place.side == d.BID
        return self.balance(place.market, is_no) < place.size

    # --- the end of a market

    def settle(self, market: int, word: str, delay_ns: int) -> None:
        """A market is resolved in `delay_ns`, some after a dispute."""
        word = FATES.get(word, word)
        self.sim.fates[market] = word
        if self.world.fires("dispute_uma"):
            self.world.effect(207)
            self.uma[market] = "proposed"
            self.world.after(delay_ns // 2, self._disputed, market)
        self.world.after(delay_ns, self._close, market, word)

    def _disputed(self, market: int) -> None:
        if not self.over[market]:
            self.uma[market] = "disputed"

    def _close(self, market: int, word: str) -> None:
        """Whatever is on its way is over before anybody is paid."""
        self.over[market] = True
        self.uma[market] = ""
        self.sim.status[market] = d.CLOSED
        self.feed([row(self.world.now_ns, market, d.STATUS, aux=d.CLOSED)])
        self.sim.say(f"market {market} closes")
        self._pay(market, word)

    def _pay(self, market: int, word: str) -> None:
        truth = self.exchange.truth
        if any(truth.fills[place].market == market for place in truth.provisional.values()):
            self.world.after(SECOND, self._pay, market, word)
            return
        self.unredeemed.add(market)
        self.sim.pay(market, word)
        if self.draw(f"redeemed {market}", 2):  # somebody redeems for everybody
            self.world.after(self.random.randint(1, 30) * SECOND, self.unredeemed.discard, market)

    # --- hands

    def fee_of_hand(self, market: int, price: int, size: int) -> int:
        listing = self.sim.listings[market]
        terms = polymarket_terms(listing.taker_ppm, 0)
        return charge(terms, price=price, size=size, revenue_micros=0, maker=False).fee_micros

    def clear_book(self, market: int) -> None:
        """A game starts: its book is emptied."""
        self.advance()
        self.version += 1
        self._done(hands.wipe(self.exchange, self.world.now_ns, market, told=True))

    def unsupport(self, order: e.VenueOrder) -> None:
        """The venue finds no money behind an order."""
        self.uncovered.add(order.order_id)
        self.cancel_by_hand(order)
