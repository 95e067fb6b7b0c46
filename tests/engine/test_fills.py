"""The ledger of a market: the same evidence in any order gives the same position and cash."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.events import Filled
from pr3dict.domain.inventory import Inventory
from pr3dict.domain.units import ASK, BID
from pr3dict.engine.fills import MarketLedger, fill_key, is_same_fill
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import position as kernel

apply_fill, value_micros, yes_cash = (
    getattr(f, "py_func", f) for f in (kernel.apply_fill, kernel.value_micros, kernel.yes_cash_micros)
)

# Sizes of a third of a contract and odd prices make every rounding visible.
SIZES = st.sampled_from([1, 3, 333_333, 1_000_000, 2_500_000, 10_000_000])


def a_fill(
    n: int, side: int, price: int, size: int, *, sell: bool = False, ns: int = 0, **kw: object
) -> Filled:
    return Filled(
        trade_id=str(n), order_id=1, market=0, side=side, sell=sell, price=price, size=size, exch_ns=ns or n,
        **kw,
    )  # fmt: skip


FILLS = st.lists(
    st.tuples(st.sampled_from([BID, ASK]), st.integers(1, 9_999), SIZES, st.booleans(), st.integers(0, 3)),
    max_size=12,
).map(
    lambda rows: [
        a_fill(n, side, price, size, sell=sell, ns=1 + n // 2, fee_micros=fee, rebate_micros=3 - fee)
        for n, (side, price, size, sell, fee) in enumerate(rows, 1)
    ]
)


def slow(fills: list[Filled], merges: list[tuple[int, int]], *, nets: bool) -> SimpleNamespace:
    """Fill by fill with the functions of the replay, in the order of the exchange."""
    row = SimpleNamespace(yes_contracts=0, no_contracts=0, cost_micros=0)
    happened = [(fill_key(f), f) for f in fills] + [((ns, 1 << 40, ""), pairs) for ns, pairs in merges]
    for _, what in sorted(happened, key=lambda x: x[0]):
        if isinstance(what, Filled):
            leg = d.SELL_LEG if what.sell else d.BUY_LEG
            apply_fill(row, nets, what.side, leg, yes_cash(what.side, what.price, what.size), what.size)
        elif not nets:
            row.yes_contracts -= what
            row.no_contracts -= what
            missing = max(0, -row.yes_contracts, -row.no_contracts)  # bought back as a split pair
            row.yes_contracts += missing
            row.no_contracts += missing
            row.cost_micros -= what - missing
    return row


def as_row(ledger: MarketLedger) -> SimpleNamespace:
    held = ledger.position()
    return SimpleNamespace(
        yes_contracts=held.yes_contracts, no_contracts=held.no_contracts, cost_micros=held.cost_micros
    )


def booked(fills: list[Filled], *, nets: bool) -> MarketLedger:
    ledger = MarketLedger(0, "kalshi", nets=nets)
    for fill in fills:
        ledger.book(fill)
    return ledger


@given(FILLS, st.booleans(), st.lists(st.tuples(st.integers(1, 7), SIZES), max_size=3), st.randoms())
def test_any_order_of_evidence_gives_what_the_replay_books(fills, nets, merges, random):
    fills_or_merges = [*fills, *merges]
    random.shuffle(fills_or_merges)
    ledger = MarketLedger(0, "kalshi", nets=nets)
    for what in fills_or_merges:
        if isinstance(what, Filled):
            ledger.book(what)
        else:
            ledger.merge(what[0], "", what[1])
    assert as_row(ledger) == slow(fills, merges, nets=nets)
    fees = sum(f.fee_micros - f.rebate_micros for f in fills)
    assert ledger.cash_micros() == -slow(fills, merges, nets=nets).cost_micros - fees
    assert MarketLedger.load(ledger.save()).save() == ledger.save()


@given(FILLS, st.booleans(), st.data())
def test_voids_leave_what_the_other_fills_make(fills, nets, data):
    ledger = booked(fills, nets=nets)
    gone = data.draw(st.sets(st.sampled_from([f.trade_id for f in fills]))) if fills else set()
    for trade_id in sorted(gone):
        assert ledger.void(trade_id) is not None
    rest = [f for f in fills if f.trade_id not in gone]
    assert as_row(ledger) == slow(rest, [], nets=nets)


@given(
    FILLS, st.booleans(), st.sampled_from([0, 1, 333_333, 500_000, 1_000_000]), st.booleans(), st.randoms()
)
def test_settlement_pays_whatever_came_before_or_after_it(fills, nets, value, refund, random):
    row = slow(fills, [], nets=nets)
    row.cost_micros -= row.cost_micros if refund else value_micros(row, value)
    row.yes_contracts = row.no_contracts = 0
    shuffled = list(fills)
    random.shuffle(shuffled)
    cut = random.randint(0, len(shuffled))
    ledger = booked(shuffled[:cut], nets=nets)
    assert not ledger.settle(9, 250_000, refund=False)
    amended = (value, refund) != (250_000, False)
    assert ledger.settle(10, value, refund=refund) == amended
    assert not ledger.settle(11, value, refund=refund)
    for fill in shuffled[cut:]:
        ledger.book(fill)
    assert as_row(ledger) == row
    assert ledger.settled_ns == 9


@given(FILLS)
def test_without_sales_beyond_what_is_held_it_is_the_inventory_of_the_domain(fills):
    ledger, inventory = MarketLedger(0, "polymarket", nets=False), Inventory()
    for fill in sorted(fills, key=fill_key):
        held = inventory.no_contracts if fill.side == BID else inventory.yes_contracts
        if fill.sell and fill.size > held:
            continue
        inventory = inventory.fill(fill.side, fill.price, fill.size, nets=False, sell=fill.sell)
        ledger.book(fill)
    held = ledger.position()
    assert (held.yes_contracts, held.no_contracts) == (inventory.yes_contracts, inventory.no_contracts)
    assert held.cost_micros == inventory.cost_micros
    assert held.net_contracts == inventory.net_position


def test_a_sale_that_is_heard_of_before_its_purchase_splits_nothing():
    ledger = MarketLedger(0, "polymarket", nets=False)
    assert not ledger.book(a_fill(2, ASK, 6_000, 5_000_000, sell=True))
    assert ledger.contracts() == (0, 5_000_000)  # as far as we know: half of a split pair was sold
    assert ledger.book(a_fill(1, BID, 4_000, 5_000_000))  # the brain would have made a pair of it
    assert ledger.contracts() == (0, 0)
    assert ledger.cash_micros() == 1_000_000


def test_a_merge_that_is_heard_of_before_its_purchases_splits_nothing():
    ledger = MarketLedger(0, "polymarket", nets=False)
    ledger.merge(5, "0xabc", 2_000_000)
    assert ledger.contracts() == (0, 0)
    ledger.book(a_fill(1, BID, 4_000, 2_000_000))
    assert ledger.contracts() == (2_000_000, 0)  # the other half is still missing
    ledger.book(a_fill(2, ASK, 6_000, 3_000_000))
    assert ledger.contracts() == (0, 1_000_000)


def test_what_may_be_voided_is_shown_apart():
    ledger = MarketLedger(0, "polymarket", nets=False)
    firm, loose = a_fill(1, BID, 4_000, 5_000_000), a_fill(2, ASK, 6_000, 3_000_000, final=False)
    ledger.book(firm)
    ledger.book(loose)
    assert ledger.position().provisional == (loose,)
    assert ledger.contracts() == (5_000_000, 3_000_000)
    assert ledger.confirmed_contracts() == (5_000_000, 0)
    assert not ledger.is_final("2")
    ledger.confirm("2")
    assert ledger.is_final("2") and ledger.position().provisional == ()
    assert ledger.confirmed_contracts() == (5_000_000, 3_000_000)


def test_a_repeated_merge_counts_once():
    ledger = booked([a_fill(1, BID, 4_000, 5_000_000), a_fill(2, ASK, 6_000, 5_000_000)], nets=False)
    assert ledger.merge(5, "0xabc", 2_000_000) and not ledger.merge(5, "0xabc", 2_000_000)
    assert ledger.contracts() == (3_000_000, 3_000_000)
    assert ledger.merge(5, "", 1_000_000) and ledger.merge(5, "", 1_000_000)  # nothing tells these apart
    assert ledger.contracts() == (1_000_000, 1_000_000)


def test_a_forgotten_market_keeps_its_sums():
    ledger = booked([a_fill(1, BID, 4_000, 5_000_000, fee_micros=9)], nets=True)
    ledger.settle(10, 1_000_000, refund=False)
    before = (ledger.position(), ledger.cash_micros())
    ledger.forget()
    assert ledger.fills == {} and (ledger.position(), ledger.cash_micros()) == before
    again = MarketLedger.load(ledger.save())
    assert (again.position(), again.cash_micros(), again.forgotten) == (*before, True)
    again.settle(11, 0, refund=False)  # it may still be amended
    assert again.cash_micros() == -2_000_009


def test_fills_of_one_instant_follow_the_numbers_of_their_trades():
    keys = [fill_key(a_fill(n, BID, 4_000, 1, ns=7)) for n in (2, 10, 9, 100)]
    assert [k[2] for k in sorted(keys)] == ["2", "9", "10", "100"]


def test_what_moves_money_must_agree_and_the_rest_may_differ():
    fill = a_fill(1, BID, 4_000, 5_000_000)
    assert is_same_fill(fill, a_fill(1, BID, 4_000, 5_000_000, ns=99, maker=False, final=False))
    for other in (
        a_fill(1, ASK, 4_000, 5_000_000), a_fill(1, BID, 4_001, 5_000_000), a_fill(1, BID, 4_000, 5_000_001),
        a_fill(1, BID, 4_000, 5_000_000, sell=True), a_fill(1, BID, 4_000, 5_000_000, fee_micros=1),
        a_fill(1, BID, 4_000, 5_000_000, rebate_micros=1),
    ):  # fmt: skip
        assert not is_same_fill(fill, other)


def test_a_merge_that_was_concluded_from_positions_is_replaced_by_its_notice():
    """Positions read at 20 showed ten pairs gone; the venue's own word for it (at 15) comes afterwards."""
    ledger = MarketLedger(0, "polymarket", nets=False)
    for fill in (a_fill(1, BID, 4_000, 12_000_000), a_fill(2, ASK, 6_000, 12_000_000)):
        ledger.book(fill)
    assert ledger.merge(20, "", 10_000_000)
    concluded = (ledger.position(), ledger.cash_micros())
    assert ledger.merge(15, "m1", 10_000_000)
    assert (ledger.position(), ledger.cash_micros()) == concluded
    assert not ledger.merge(15, "m1", 10_000_000)
    assert ledger.merge(30, "m2", 2_000_000), "a later one is another"
    assert ledger.cash_micros() == concluded[1] + 2_000_000
