"""The compiled exchange against the slow reference on generated recordings and orders; what always holds."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.fees import FeeTerms, Formula
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import exchange as x
from pr3dict.kernels import exchange_reference as ref
from pr3dict.kernels.replay import exchange_event
from pr3dict.kernels.world import make_grids, new_market, new_world

CONTRACT = 1_000_000
SECOND = 1_000_000_000
START = 1_000 * SECOND
# Few prices, so that orders meet; the second grid is finer and wider, the third lacks most prices of both.
GRIDS = (tuple(range(1_000, 10_000, 1_000)), tuple(range(500, 10_000, 500)), (1_500, 4_000, 5_000, 8_000))
PRICES = sorted({price for grid in GRIDS for price in grid})
KALSHI = FeeTerms(
    formula=Formula.KALSHI,
    taker_ppm=70_000,
    maker_ppm=17_500,
    balance_unit_micros=100,
    rebate_unit_micros=100,
)
POLYMARKET = FeeTerms(
    formula=Formula.POLYMARKET, taker_ppm=50_000, rebate_ppm=150_000, trade_fee_unit_micros=10
)


class Both:
    """The compiled exchange and the reference, fed with the same events and messages.

    Market 0 nets positions as Kalshi does, market 1 holds tokens apart as Polymarket does.
    """

    def __init__(self, *, cash=1_000 * CONTRACT, queue=0, power=1.0, merge=0, rate=0.0, markets=(0, 1)):
        fees = [KALSHI, POLYMARKET]
        rules = np.zeros(1, d.RULES)
        rules["queue"], rules["queue_power"], rules["merge_threshold"] = queue, power, merge
        rules["order_rate"], rules["order_burst"], rules["response_ns"] = rate, 3.0, 7
        rows = new_market(2)
        rows["nets_positions"], rows["status"] = [1, 0], d.ACTIVE
        rows["min_size"], rows["lot"] = CONTRACT, 10_000
        fee_rows = np.zeros(2, d.FEE)
        for row, terms in zip(fee_rows, fees, strict=True):
            row["kind"], row["taker_ppm"], row["maker_ppm"] = terms.formula, terms.taker_ppm, terms.maker_ppm
            row["rebate_ppm"], row["unit_micros"] = terms.rebate_ppm, terms.balance_unit_micros
            row["trade_unit_micros"] = terms.trade_fee_unit_micros
            row["rebate_unit_micros"] = terms.rebate_unit_micros
        params = np.zeros(2, d.PARAMS)
        params["rebalance_threshold"] = 5 * CONTRACT
        self.world = new_world(
            make_grids(GRIDS), params, fee_rows, rows, grid_of_market=[0, 0], rules=rules, cash_micros=cash,
            fill_capacity=4_096, curve_capacity=1, ring_capacity=1 << 12,
        )  # fmt: skip
        self.world.exchange_books["status"] = d.ACTIVE
        self.reference = ref.Exchange(
            GRIDS,
            [ref.Market(0, m == 0, CONTRACT, fees[m]) for m in range(2)],
            cash_micros=cash, queue=queue, power=power, response_ns=7, merge_threshold=merge,
            order_rate=rate, order_burst=3.0, rebalance_threshold=5 * CONTRACT,
        )  # fmt: skip
        self.start_cash = cash
        self.markets = markets
        self.now = START
        self.next_id = 1
        self.sent = []  # (market, slot, id)
        self.next_slot = 0
        self.grown = defaultdict(int)  # (market, side): size that the recording ever added
        self.taken = defaultdict(int)  # (market, side): size that we took of it
        self.ticked = False
        for m in range(2):  # both clocks of statistics start at the same instant
            self.level(m, d.BID, GRIDS[0][0], 0)
        x.integrate(self.world, 0, self.now)
        x.integrate(self.world, 1, self.now)

    # Operations: each is applied to both.

    def event(self, m, kind, side=0, price=0, qty=0, aux=0, bits=0):
        rows = np.zeros(1, d.EVENT)
        row = rows[0]
        row["exch_ns"], row["market"], row["kind"], row["side"] = self.now, m, kind, side
        row["price"], row["qty"], row["aux"], row["bits"] = price, qty, aux, bits
        exchange_event(self.world, row)

    def on_grid(self, m, price):
        return price in GRIDS[self.reference.markets[m].grid]

    def level(self, m, side, price, size):
        if not self.on_grid(m, price):
            return
        fills = len(self.reference.fills)
        old = self.reference.markets[m].levels[side].get(price, 0)
        self.grown[m, side] += max(0, size - old)
        level = GRIDS[self.reference.markets[m].grid].index(price)
        x.tape_level(self.world, self.now, m, side, level, size)
        self.reference.level(self.now, m, side, price, size)
        met = sum(fill.qty for fill in self.reference.fills[fills:])
        self.taken[m, side] += met
        assert met <= max(0, size - old), "filled by more than newly arrived"

    def trade(self, m, taker, price, size):
        fills = len(self.reference.fills)
        self.event(m, d.TRADE, taker, price, size)
        self.reference.trade(self.now, m, taker, price, size)
        assert sum(fill.qty for fill in self.reference.fills[fills:]) <= size, "filled by more than traded"

    def snapshot(self, m, book):
        """A full book as the loader turns it into levels: what is not in it goes first."""
        held = self.reference.markets[m].levels
        for side in (d.BID, d.ASK):
            for price, size in sorted(held[side].items()):
                if size > 0 and (side, price) not in book:
                    self.level(m, side, price, 0)
        for (side, price), size in sorted(book.items()):
            self.level(m, side, price, size)

    def status(self, m, status):
        self.event(m, d.STATUS, aux=status)
        self.reference.status(self.now, m, status)

    def tick(self, m, grid):
        self.ticked = True
        self.event(m, d.TICK, aux=grid)
        self.reference.tick(self.now, m, grid)

    def settle(self, m, value, refund):
        self.event(m, d.SETTLE, qty=value, bits=d.REFUND if refund else 0)
        self.reference.settle(self.now, m, value, refund)

    def message(self, kind, m, slot, order_id, qty=0, price=0, side=0, tif=0, leg=0, expiry=0):
        rows = np.zeros(1, d.MESSAGE)
        row = rows[0]
        row["kind"], row["market"], row["slot"], row["id"], row["qty"] = kind, m, slot, order_id, qty
        row["price"], row["side"], row["tif"], row["leg"], row["expiry_ns"] = price, side, tif, leg, expiry
        x.arrive(self.world, self.now, row)

    def new(self, m, side, price, size, tif=d.POST_ONLY, leg=d.BUY_LEG, expiry=0):
        if m == 0:
            leg = d.BUY_LEG  # where positions net there are no legs
        busy = {order.slot for order in self.reference.markets[m].orders}
        while self.next_slot % d.ORDER_SLOTS in busy:
            self.next_slot += 1
        slot, order_id = self.next_slot % d.ORDER_SLOTS, self.next_id
        self.next_slot += 1
        self.next_id += 1
        self.sent.append((m, slot, order_id))
        fills = len(self.reference.fills)
        self.message(d.NEW, m, slot, order_id, size, price, side, tif, leg, expiry)
        order = ref.Own(order_id, slot, side, leg, price, size, size, expiry)
        self.reference.new(self.now, m, order, tif)
        taken = self.reference.fills[fills:]
        self.taken[m, 1 - side] += sum(fill.qty for fill in taken)
        assert not any(fill.maker for fill in taken)
        assert tif != d.POST_ONLY or not taken, "a post-only order took"
        assert all(fill.price <= price if side == d.BID else fill.price >= price for fill in taken)
        if tif == d.FOK:
            assert sum(fill.qty for fill in taken) in (0, size)
        return order

    def cancel(self, pick, wrong_id=False):
        if self.sent:
            m, slot, order_id = self.sent[pick % len(self.sent)]
            order_id += 1_000_000 if wrong_id else 0
            self.message(d.CANCEL, m, slot, order_id)
            self.reference.cancel(self.now, m, slot, order_id)

    def reduce(self, pick, size):
        if self.sent:
            m, slot, order_id = self.sent[pick % len(self.sent)]
            self.message(d.REDUCE, m, slot, order_id, size)
            self.reference.reduce(self.now, m, slot, order_id, size)

    def wait(self, span):
        """Let time pass; what expires on the way is cancelled at its own time, as the replay does."""
        until = self.now + span
        while True:
            due = [o.expiry_ns for market in self.reference.markets for o in market.orders if o.expiry_ns > 0]
            if not due or min(due) > until:
                break
            self.now = min(due)
            x.expire_orders(self.world, self.now)
            self.reference.expire(self.now)
        self.now = until

    # Comparisons.

    def compare(self):
        world, reference = self.world, self.reference
        account, clock = world.account[0], world.clock[0]
        assert int(account["error"]) == 0
        fields = ("at_ns", "kind", "market", "slot", "id", "qty", "why")
        paid = ("price", "fee_micros", "rebate_micros", "maker")
        got = []
        for row in world.inbox[: int(clock["inbox_tail"])]:
            is_fill = row["kind"] == d.FILL_REPORT
            got.append(tuple(int(row[f]) for f in fields) + tuple(int(row[f]) for f in paid if is_fill))
        want = [tuple(r) if r.kind == d.FILL_REPORT else tuple(r)[:7] for r in reference.reports]
        assert got == want
        fills = [
            tuple(int(row[f]) for f in ref.Trade._fields) for row in world.fills[: int(clock["fill_count"])]
        ]
        assert fills == [tuple(int(v) for v in fill) for fill in reference.fills]
        assert int(account["cash_micros"]) == reference.cash_micros
        assert int(account["reserved_micros"]) == reference.reserved_micros()
        for m in range(2):
            self.compare_market(m)

    def compare_market(self, m):
        market, held = self.reference.markets[m], self.world.holdings[m]
        assert (int(held["yes_contracts"]), int(held["no_contracts"])) == (market.yes, market.no)
        assert int(held["cost_micros"]) == market.cost_micros
        assert int(held["reserved_micros"]) == market.reserved_micros()
        slots = self.world.active[m, : int(held["live_orders"])]
        got = [
            tuple(int(v) for v in self.world.exchange_orders[m, slot][list(ORDER_FIELDS)]) for slot in slots
        ]
        want = [
            (o.id, o.side, o.price, o.leg, o.remaining, o.front, o.traded, o.fee_state.accumulator_micros)
            for o in market.orders
        ]
        assert got == want
        book, grid = self.world.exchange_books[m], GRIDS[market.grid]
        assert (int(book["status"]), GRIDS[int(book["grid"])]) == (market.status, grid)
        for side in (d.BID, d.ASK):
            depth, consumed = self.world.exchange_depth[m, side], self.world.consumed[m, side]
            assert depth[: len(grid)].tolist() == [market.levels[side].get(p, 0) for p in grid]
            assert consumed[: len(grid)].tolist() == [market.taken[side].get(p, 0) for p in grid]
            assert not depth[len(grid) :].any()
            count = sum(order.side == side for order in market.orders)
            assert int(held["live_bids" if side == d.BID else "live_asks"]) == count

    def compare_statistics(self):
        self.reference.close_books(self.now)
        for m in range(2):
            x.integrate(self.world, m, self.now)
            if self.reference.markets[m].status != d.SETTLED:
                x.note_mark(self.world, m)
            want = self.reference.markets[m].stats
            got = {name: self.world.stats[m][name].item() for name in vars(want)}
            assert got == vars(want)

    def check_always(self):
        """What must hold at any time, whatever was done."""
        reference = self.reference
        trades = reference.fills
        fees = sum(fill.fee_micros - fill.rebate_micros for fill in trades)
        for m, market in enumerate(reference.markets):
            assert market.yes >= 0 and market.no >= 0, "nobody shorts"
            assert not (market.nets and market.yes and market.no), "pairs are netted"
            mine = [fill for fill in trades if fill.market == m]
            if market.stats.settled == 0:
                bought = sum(fill.qty for fill in mine if fill.side == d.BID)
                assert market.yes - market.no == 2 * bought - sum(fill.qty for fill in mine)
                # Cash in YES terms: NO contracts still tie up their dollar.
                assert -market.cost_micros == sum(fill.cash_micros for fill in mine) - market.no
            bids = [order.price for order in market.orders if order.side == d.BID]
            asks = [order.price for order in market.orders if order.side == d.ASK]
            assert not bids or not asks or max(bids) < min(asks), "we trade with ourselves"
            assert all(0 < order.remaining <= order.qty and order.front >= 0 for order in market.orders)
            assert market.status not in (d.CLOSED, d.DETERMINED, d.SETTLED) or not market.orders
            for side in (d.BID, d.ASK):
                assert self.taken[m, side] <= self.grown[m, side], "a size was taken twice"
        costs = sum(market.cost_micros for market in reference.markets)
        assert reference.cash_micros == self.start_cash - costs - fees
        # What rests is paid for, up to fees and one rounding a fill.
        assert reference.reserved_micros() <= max(0, reference.cash_micros + fees) + len(trades)


ORDER_FIELDS = ("id", "side", "price", "leg", "remaining", "front", "traded", "fee_accumulator_micros")

markets = st.integers(0, 1)
sides = st.integers(0, 1)
prices = st.sampled_from(PRICES)
sizes = st.integers(1, 12).map(lambda n: n * CONTRACT) | st.integers(1, 20 * CONTRACT)
statuses = st.sampled_from(
    [d.ACTIVE, d.ACTIVE, d.PAUSED, d.POST_ONLY_MODE, d.RESTARTING, d.CLOSED, d.DETERMINED, d.INITIALIZED]
)
tifs = st.sampled_from([d.POST_ONLY, d.POST_ONLY, d.LIMIT, d.LIMIT, d.IOC, d.FOK])
books = st.dictionaries(st.tuples(sides, prices), sizes, max_size=6)
operations = st.one_of(
    st.tuples(st.just("level"), markets, sides, prices, st.just(0) | sizes),
    st.tuples(st.just("level"), markets, sides, prices, sizes),
    st.tuples(st.just("trade"), markets, sides, prices, sizes),
    st.tuples(st.just("new"), markets, sides, prices, sizes, tifs, sides, st.sampled_from([0, 0, 0, 2, 9])),
    st.tuples(st.just("new"), markets, sides, prices, sizes, tifs),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("reduce"), st.integers(0, 30), sizes | st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 5)),
    st.tuples(st.just("snapshot"), markets, books),
    st.tuples(st.just("status"), markets, statuses),
    st.tuples(st.just("tick"), markets, st.integers(0, 2)),
    st.tuples(st.just("settle"), markets, st.sampled_from([0, 1_000_000, 500_000, 333_333]), st.booleans()),
)
set_ups = st.fixed_dictionaries(
    {
        "cash": st.sampled_from([1_000 * CONTRACT, 12 * CONTRACT]),
        "queue": st.integers(0, d.QUEUE_OPTIMISTIC),
        "power": st.sampled_from([1.0, 2.0, 3.0]),
        "merge": st.sampled_from([0, 1, 3 * CONTRACT]),
        "rate": st.sampled_from([0.0, 0.0, 5e8]),  # tokens a second: one in 2 ns
    }
)


def apply(both, operation):
    name, *arguments = operation
    if name == "new" and len(arguments) == 7:
        arguments[6] = both.now + arguments[6] - 1 if arguments[6] else 0  # some expiries are past on arrival
    getattr(both, name)(*arguments)


@settings(max_examples=150)
@given(set_ups, st.lists(operations, min_size=5, max_size=40))
def test_equals_the_reference_on_generated_operations(set_up, steps):
    both = Both(**set_up)
    for step in steps:
        apply(both, step)
        both.compare()
        both.check_always()
    both.compare_statistics()


def random_step(rng, both):
    """One step of a livelier market than hypothesis finds: mostly two-sided, with many small orders."""
    m, side = rng.randrange(2), rng.randrange(2)
    center = rng.choice([4_000, 5_000, 6_000])
    away = rng.choice([0, 500, 1_000, 1_000, 2_000])
    passive = min(max(center - away if side == d.BID else center + away, 500), 9_500)
    size = rng.choice([rng.randrange(1, 9) * CONTRACT, rng.randrange(CONTRACT // 2, 9 * CONTRACT)])
    kind = rng.random()
    if kind < 0.30:
        return ("level", m, side, passive, rng.choice([0, size, size * 3]))
    if kind < 0.50:
        return ("trade", m, side, rng.choice([4_000, 5_000, 5_000, 6_000]), size)
    if kind < 0.72:
        tif = rng.choice([d.POST_ONLY] * 6 + [d.LIMIT, d.LIMIT, d.IOC, d.FOK])
        price = 10_000 - passive if tif != d.POST_ONLY and rng.random() < 0.7 else passive
        return ("new", m, side, price, size, tif, rng.randrange(2), rng.choice([0] * 9 + [20]))
    if kind < 0.78:
        return ("cancel", -rng.randrange(1, 9), rng.random() < 0.1)
    if kind < 0.83:
        return ("reduce", -rng.randrange(1, 9), size)
    if kind < 0.97:
        return ("wait", rng.randrange(6))
    if kind < 0.98:
        return ("status", m, rng.choice([d.PAUSED, d.POST_ONLY_MODE, d.RESTARTING]))
    if kind < 0.985:
        return ("tick", m, rng.randrange(2))
    return ("status", m, d.ACTIVE)


def long_run(seed):
    rng = random.Random(seed)
    both = Both(
        cash=rng.choice([15, 1_000]) * CONTRACT, queue=seed % 7, power=rng.choice([1.0, 2.0, 3.0]),
        merge=rng.choice([0, 1, CONTRACT]), rate=rng.choice([0.0, 0.0, 3e8]),
    )  # fmt: skip
    for step in range(240):
        apply(both, random_step(rng, both))
        both.check_always()
        if step % 40 == 39:
            both.compare()
    both.compare()
    both.compare_statistics()
    for m in range(2):
        both.settle(m, rng.choice([0, 1_000_000]), refund=False)
    both.compare()
    return both


def test_equals_the_reference_over_long_runs():
    answers, makers = set(), set()
    for seed in range(21):
        both = long_run(seed)
        # All was paid out: what is left is what was traded, at the settlement's worth, less fees.
        earned = both.start_cash
        for fill in both.reference.fills:
            worth = int(both.world.stats[fill.market]["settle_value_micros"]) * fill.qty // 1_000_000
            earned += fill.cash_micros + (worth if fill.side == d.BID else -worth)
            earned += fill.rebate_micros - fill.fee_micros
        assert int(both.world.account[0]["cash_micros"]) == earned, f"seed {seed}"
        assert int(both.world.account[0]["reserved_micros"]) == 0
        answers |= {(report.kind, report.why) for report in both.reference.reports}
        makers |= {(fill.maker, fill.side, fill.market) for fill in both.reference.fills}
    assert len(makers) == 8, "both roles, both sides, both venues"
    assert {why for _, why in answers} == set(range(d.WHY_NOT_HELD + 1)), "every reason was met"
    assert {kind for kind, _ in answers} == set(range(d.ACK, d.CANCEL_REJECT + 1))


# --- one rule each --------------------------------------------------------------------------------------


def quoted(**set_up):
    """Both, with 100 bid at 4,000 and 100 asked at 6,000 in each market."""
    both = Both(**set_up)
    for m in range(2):
        both.level(m, d.BID, 4_000, 100 * CONTRACT)
        both.level(m, d.ASK, 6_000, 100 * CONTRACT)
    return both


def last_report(both):
    both.compare()
    clock = both.world.clock[0]
    row = both.world.inbox[int(clock["inbox_tail"]) - 1]
    return int(row["kind"]), int(row["why"])


def filled(both):
    both.compare()
    count = int(both.world.clock[0]["fill_count"])
    return [(int(row["price"]), int(row["qty"])) for row in both.world.fills[:count]]


def live(both, m=0):
    both.compare()
    return int(both.world.holdings[m]["live_orders"])


def test_queue_known_answer_through_the_exchange():
    # QU-01, risk-averse: front 100, 70, 60, 60, then 5 contracts reach us.
    both = quoted()
    both.new(0, d.BID, 4_000, 50 * CONTRACT)
    fronts = [int(both.world.exchange_orders[0, 0]["front"])]
    for step in (
        lambda: both.trade(0, d.ASK, 4_000, 30 * CONTRACT),
        lambda: both.level(0, d.BID, 4_000, 60 * CONTRACT),
        lambda: both.level(0, d.BID, 4_000, 90 * CONTRACT),
        lambda: both.trade(0, d.ASK, 4_000, 65 * CONTRACT),
    ):
        step()
        fronts.append(int(both.world.exchange_orders[0, 0]["front"]))
    assert [front // CONTRACT for front in fronts] == [100, 70, 60, 60, 0]
    assert filled(both) == [(4_000, 5 * CONTRACT)]


@given(
    st.integers(0, 10 * CONTRACT),
    st.lists(
        st.tuples(st.integers(1, 4 * CONTRACT), st.sampled_from([4_000, 4_000, 3_000, 5_000])), max_size=8
    ),
)
@settings(max_examples=40)
def test_fills_are_the_volume_that_passed_our_place(front, trades):
    both = Both()
    both.level(0, d.BID, 4_000, front)
    both.new(0, d.BID, 4_000, 6 * CONTRACT)
    expected, ahead = 0, front
    for size, price in trades:
        both.trade(0, d.ASK, price, size)
        if price == 4_000:
            expected += max(0, size - ahead)
            ahead = max(0, ahead - size)
        elif price == 3_000:  # through us
            expected += size
    assert sum(size for _, size in filled(both)) == min(expected, 6 * CONTRACT)


def test_a_trade_through_us_fills_better_prices_first_and_at_most_its_size():
    both = quoted()
    both.level(0, d.ASK, 6_000, 0)
    both.new(0, d.ASK, 5_000, 4 * CONTRACT)
    both.new(0, d.ASK, 6_000, 4 * CONTRACT)
    both.trade(0, d.BID, 7_000, 6 * CONTRACT)
    assert filled(both) == [(5_000, 4 * CONTRACT), (6_000, 2 * CONTRACT)]


def test_arrived_size_that_met_us_is_gone():
    # 10 newly bid at 5,000 fill our ask of 4 there: 6 are left to sell into, not 10.
    both = quoted()
    both.new(0, d.ASK, 5_000, 4 * CONTRACT)
    both.level(0, d.BID, 5_000, 10 * CONTRACT)
    assert filled(both) == [(5_000, 4 * CONTRACT)]
    assert int(both.world.fills[0]["mid_micros"]) == 500_000  # the mid before it came
    both.new(0, d.ASK, 5_000, 10 * CONTRACT, d.IOC)
    assert filled(both) == [(5_000, 4 * CONTRACT), (5_000, 6 * CONTRACT)]


def test_taken_size_comes_back_only_after_the_level_fell_below_it():
    both = quoted()
    both.new(0, d.BID, 6_000, 70 * CONTRACT, d.IOC)
    both.new(0, d.BID, 6_000, 70 * CONTRACT, d.IOC)
    assert filled(both) == [(6_000, 70 * CONTRACT), (6_000, 30 * CONTRACT)]
    both.level(0, d.ASK, 6_000, 20 * CONTRACT)
    both.new(0, d.BID, 6_000, 70 * CONTRACT, d.IOC)
    assert len(filled(both)) == 2
    both.level(0, d.ASK, 6_000, 50 * CONTRACT)
    both.new(0, d.BID, 6_000, 70 * CONTRACT, d.IOC)
    assert filled(both)[2:] == [(6_000, 30 * CONTRACT)]


@pytest.mark.parametrize("tif", [d.POST_ONLY, d.LIMIT, d.IOC, d.FOK])
@pytest.mark.parametrize("side", [d.BID, d.ASK])
def test_crossing_order_by_time_in_force(side, tif):
    both = quoted()
    both.new(0, side, 6_000 if side == d.BID else 4_000, 130 * CONTRACT, tif)
    expected = {
        d.POST_ONLY: ((d.REJECT, d.WHY_POST_ONLY_CROSS), 0, 0),
        d.LIMIT: ((d.FILL_REPORT, d.WHY_NONE), 1, 1),
        d.IOC: ((d.CANCELED, d.WHY_UNFILLED_IOC), 1, 0),
        d.FOK: ((d.REJECT, d.WHY_UNFILLED_IOC), 0, 0),
    }[tif]
    assert (last_report(both), len(filled(both)), live(both)) == expected


@pytest.mark.parametrize(
    ("status", "post_only", "limit", "cancel"),
    [
        (d.ACTIVE, d.ACK, d.ACK, d.CANCELED),
        (d.PAUSED, d.REJECT, d.REJECT, d.CANCELED),
        (d.POST_ONLY_MODE, d.ACK, d.REJECT, d.CANCELED),
        (d.RESTARTING, d.REJECT, d.REJECT, d.CANCEL_REJECT),
        (d.INITIALIZED, d.REJECT, d.REJECT, d.CANCELED),
        (d.CLOSED, d.REJECT, d.REJECT, d.CANCEL_REJECT),
        (d.SETTLED, d.REJECT, d.REJECT, d.CANCEL_REJECT),
    ],
)
def test_what_a_status_lets_through(status, post_only, limit, cancel):
    both = quoted()
    both.new(0, d.BID, 3_000, CONTRACT)
    both.status(0, status)
    assert live(both) == (0 if status in (d.CLOSED, d.SETTLED) else 1)
    both.new(0, d.BID, 2_000, CONTRACT)
    assert last_report(both)[0] == post_only
    both.new(0, d.BID, 2_000, CONTRACT, d.LIMIT)
    assert last_report(both)[0] == limit
    both.cancel(0)
    assert last_report(both)[0] == cancel


@pytest.mark.parametrize(("m", "left"), [(0, 0), (1, 1)])
def test_reactivation_wipes_what_rests_where_the_venue_does(m, left):
    both = quoted()
    both.new(m, d.BID, 3_000, CONTRACT)
    both.status(m, d.PAUSED)
    both.status(m, d.ACTIVE)
    assert live(both, m) == left
    if left == 0:
        assert last_report(both) == (d.CANCELED, d.WHY_REACTIVATED)


def test_a_restart_keeps_what_rests():
    both = quoted()
    both.new(0, d.BID, 3_000, CONTRACT)
    for status in (d.RESTARTING, d.POST_ONLY_MODE, d.ACTIVE):
        both.status(0, status)
    assert live(both) == 1


def test_orders_refused_for_their_own_fault():
    both = quoted()
    for arguments, why in (
        ((0, d.BID, 3_500, CONTRACT), d.WHY_OFF_GRID),
        ((0, d.BID, 3_000, CONTRACT - 1), d.WHY_MIN_SIZE),
        ((1, d.ASK, 7_000, CONTRACT, d.POST_ONLY, d.SELL_LEG), d.WHY_NOT_HELD),
        ((0, d.BID, 3_000, CONTRACT, d.POST_ONLY, d.BUY_LEG, START - 1), d.WHY_EXPIRED),
    ):
        both.new(*arguments)
        assert last_report(both) == (d.REJECT, why)
    both.new(0, d.BID, 5_000, CONTRACT)
    both.new(0, d.ASK, 5_000, CONTRACT)
    assert last_report(both) == (d.REJECT, d.WHY_SELF_TRADE)


def test_rate_limit_is_a_token_bucket():
    both = quoted(rate=1e9)  # a burst of 3, then one a nanosecond
    answers = []
    for pause in (0, 0, 0, 0, 1, 0, 2, 0, 0):
        both.wait(pause)
        both.new(0, d.BID, 3_000, CONTRACT)
        answers.append(last_report(both)[1])
    refused = d.WHY_RATE_LIMIT
    assert answers == [0, 0, 0, refused, 0, refused, 0, 0, refused]


def test_no_cash_for_what_the_rest_has_locked():
    both = quoted(cash=5 * CONTRACT)
    both.new(0, d.BID, 3_000, 10 * CONTRACT)
    assert int(both.world.account[0]["reserved_micros"]) == 3 * CONTRACT
    both.new(1, d.ASK, 7_000, 7 * CONTRACT)
    assert last_report(both) == (d.REJECT, d.WHY_NO_CASH)
    both.new(1, d.ASK, 8_000, 10 * CONTRACT)
    assert last_report(both)[0] == d.ACK
    both.cancel(0)
    assert int(both.world.account[0]["reserved_micros"]) == 2 * CONTRACT


@pytest.mark.parametrize(("first", "second"), [(5_000, 1_000), (1_000, 5_000)])
def test_closing_contracts_are_lent_to_one_order_only(first, second):
    # Long 10: one ask of 10 closes for nothing, the other one opens and must be paid for.
    both = quoted(cash=8 * CONTRACT)
    both.new(0, d.BID, 6_000, 10 * CONTRACT, d.IOC)
    cash = int(both.world.account[0]["cash_micros"])
    both.level(0, d.BID, 4_000, 0)
    both.new(0, d.ASK, 10_000 - first, 10 * CONTRACT)
    both.new(0, d.ASK, 10_000 - second, 10 * CONTRACT)
    assert last_report(both) == (d.REJECT, d.WHY_NO_CASH)
    assert int(both.world.account[0]["reserved_micros"]) <= cash


def test_expired_orders_leave_at_their_time():
    both = quoted()
    both.new(0, d.BID, 3_000, CONTRACT, d.POST_ONLY, d.BUY_LEG, START + 5)
    both.new(0, d.BID, 3_000, CONTRACT)
    both.wait(4)
    assert live(both) == 2
    both.wait(1)
    assert live(both) == 1
    assert last_report(both) == (d.CANCELED, d.WHY_EXPIRED)


def test_a_reduced_order_keeps_its_place_and_counts_once_when_filled():
    both = quoted()
    both.new(0, d.BID, 4_000, 10 * CONTRACT)
    both.trade(0, d.ASK, 4_000, 60 * CONTRACT)
    both.reduce(0, 4 * CONTRACT)
    assert int(both.world.exchange_orders[0, 0]["front"]) == 40 * CONTRACT
    both.trade(0, d.ASK, 4_000, 43 * CONTRACT)
    both.trade(0, d.ASK, 4_000, 43 * CONTRACT)
    assert filled(both) == [(4_000, 3 * CONTRACT), (4_000, CONTRACT)]
    assert int(both.world.stats[0]["orders_filled"]) == 1


def test_selling_legs_and_merging_never_go_short():
    # 10 YES promised by a sell; buying NO pairs them up and merges them; then the sell fills all the same.
    both = quoted(merge=CONTRACT)
    both.new(1, d.BID, 6_000, 10 * CONTRACT, d.IOC)
    both.new(1, d.ASK, 7_000, 10 * CONTRACT, d.POST_ONLY, d.SELL_LEG)
    both.new(1, d.ASK, 5_000, 10 * CONTRACT)
    both.trade(1, d.BID, 5_000, 10 * CONTRACT)
    both.trade(1, d.BID, 8_000, 10 * CONTRACT)
    both.compare()
    both.check_always()
    held = both.world.holdings[1]
    assert (int(held["yes_contracts"]), int(held["no_contracts"])) == (0, 10 * CONTRACT)


@pytest.mark.parametrize("m", [0, 1])
def test_a_refund_returns_the_cost_and_nothing_else(m):
    both = quoted()
    both.new(m, d.BID, 6_000, 10 * CONTRACT, d.IOC)
    both.new(m, d.ASK, 4_000, 3 * CONTRACT, d.IOC)
    both.settle(m, 500_000, refund=True)
    both.compare()
    fees = sum(int(row["fee_micros"] - row["rebate_micros"]) for row in both.world.fills[:2])
    assert int(both.world.account[0]["cash_micros"]) == both.start_cash - fees
    assert int(both.world.holdings[m]["cost_micros"]) == 0


def test_taker_of_no_and_taker_of_yes_mirror():
    # The same life in YES and in NO terms: prices mirrored, bids for asks, and the same money.
    ends = []
    for mirror in (False, True):
        both = Both()
        for name, m, side, price, *rest in MIRRORED:
            if mirror:
                side, price = 1 - side, 10_000 - price
            apply(both, (name, m, side, price, *rest))
        both.compare()
        held = both.world.holdings[0]
        pair = (int(held["yes_contracts"]), int(held["no_contracts"]))
        ends.append((int(both.world.account[0]["cash_micros"]), pair[::-1] if mirror else pair))
        ends[-1] += ([(int(row["qty"]), int(row["fee_micros"])) for row in both.world.fills[:3]],)
    assert ends[0] == ends[1]
    assert len(ends[0][2]) == 3 and all(qty > 0 for qty, _ in ends[0][2])


MIRRORED = [
    ("level", 0, d.BID, 4_000, 10 * CONTRACT),
    ("level", 0, d.ASK, 6_000, 10 * CONTRACT),
    ("new", 0, d.BID, 4_000, 5 * CONTRACT),
    ("trade", 0, d.ASK, 4_000, 18 * CONTRACT),
    ("new", 0, d.BID, 6_000, 3 * CONTRACT, d.IOC),
    ("new", 0, d.ASK, 4_000, 9 * CONTRACT, d.IOC),
]


def test_a_tick_change_keeps_what_fits_the_new_grid():
    both = quoted()
    both.tick(0, 1)
    both.new(0, d.BID, 4_500, 2 * CONTRACT)
    both.new(0, d.BID, 4_000, 2 * CONTRACT)
    both.level(0, d.BID, 4_500, 30 * CONTRACT)
    both.tick(0, 0)
    assert last_report(both) == (d.CANCELED, d.WHY_OFF_GRID)
    assert live(both) == 1
    assert int(both.world.exchange_orders[0, 1]["front"]) == 100 * CONTRACT
    assert int(both.world.exchange_depth[0, d.BID, 3]) == 130 * CONTRACT
