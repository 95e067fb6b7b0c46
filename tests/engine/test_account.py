"""The account as a fold: any evidence, in lockstep with a slow account that starts over each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from account_desk import SECOND, START, Desk

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.domain.order import CLOSED_STATES, OrderState
from pr3dict.domain.units import ASK, BID
from pr3dict.engine.account import NEVER_NS, Account, OrderTerms
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import position as kernel

apply_fill, value_micros, yes_cash = (
    getattr(f, "py_func", f) for f in (kernel.apply_fill, kernel.value_micros, kernel.yes_cash_micros)
)


# --- a slow account: lists of evidence, everything recomputed from them each time ------------------------


class SlowAccount:
    def __init__(self) -> None:
        self.evidence: list = []

    def tell(self, event) -> None:
        if isinstance(event, e.FillsRead):
            self.evidence += event.fills
        else:
            self.evidence.append(event)

    def fills(self, market: int) -> dict[str, e.Filled]:
        """Booked fills: the first content of each trade, unless it was voided before it was final."""
        booked: dict[str, e.Filled] = {}
        final, void = [], []
        for x in self.evidence:
            if getattr(x, "market", None) != market:
                continue
            if isinstance(x, e.FillVoided) and x.trade_id not in final:
                void.append(x.trade_id)
            elif isinstance(x, e.FillFinal) and x.trade_id not in void:
                final.append(x.trade_id)
            elif isinstance(x, e.Filled):
                known = booked.setdefault(x.trade_id, x)
                same = (known.price, known.size, known.side) == (x.price, x.size, x.side)
                if x.final and same and x.trade_id not in void:
                    final.append(x.trade_id)
        return {k: f for k, f in booked.items() if k not in void}

    def row(self, market: int, *, nets: bool) -> SimpleNamespace:
        row = SimpleNamespace(yes_contracts=0, no_contracts=0, cost_micros=0)
        fills = sorted(self.fills(market).values(), key=lambda f: (f.exch_ns, len(f.trade_id), f.trade_id))
        for f in fills:
            leg = d.SELL_LEG if f.sell else d.BUY_LEG
            apply_fill(row, nets, f.side, leg, yes_cash(f.side, f.price, f.size), f.size)
        paid = [x for x in self.evidence if isinstance(x, e.Settled) and x.market == market]
        if paid:
            row.cost_micros -= (
                row.cost_micros if paid[-1].refund else value_micros(row, paid[-1].value_micros)
            )
            row.yes_contracts = row.no_contracts = 0
        row.fees = sum(f.fee_micros - f.rebate_micros for f in fills)
        return row

    def traded(self, order_id: int) -> int:
        """What was matched for an order: voided fills too, each trade once."""
        first: dict[tuple[int, str], e.Filled] = {}
        for x in self.evidence:
            if isinstance(x, e.Filled):
                first.setdefault((x.market, x.trade_id), x)
        seen = {k: f for k, f in first.items() if f.order_id == order_id}
        return sum(f.size for f in seen.values())


ORDERS = st.integers(1, 4)
SIZES = st.sampled_from([1, 2, 5, 10]).map(lambda n: n * 1_000_000)
WHYS = st.sampled_from(["none", "expired", "reactivated"])
REQUESTS = st.sampled_from(["place", "cancel", "reduce", "renew"])
TRADES = st.integers(1, 9)


def a_trade(n: int, market: int, changed: bool, final: bool) -> e.Filled:
    """Trade `n` has one content, but for corrupt copies."""
    return e.Filled(
        trade_id=str(n), order_id=n % 5, market=market, side=n % 2, sell=n % 3 == 0,
        price=1_234 + 777 * n + changed, size=(n % 4 + 1) * 1_333_333, fee_micros=n, rebate_micros=n // 2,
        exch_ns=START + n % 6, final=final,
    )  # fmt: skip


def evidence(market: int) -> st.SearchStrategy:
    reads = st.integers(-9, 2).map(lambda n: n * SECOND)
    fills = st.builds(
        a_trade, TRADES, st.just(market), st.integers(0, 9).map(lambda n: n == 0), st.booleans()
    )
    rows = st.builds(
        e.VenueOrder, order_id=st.integers(0, 5), venue_id=st.sampled_from("ab"), market=st.just(market),
        side=st.just(BID), price=st.just(4_500), remaining=SIZES,
    )  # fmt: skip
    return st.one_of(
        fills,
        fills,
        st.builds(e.Sent, order_id=ORDERS),
        st.builds(e.NotSent, order_id=ORDERS, why=st.just("closed")),
        st.builds(e.Accepted, order_id=ORDERS, venue_id=st.just("v"), filled=st.sampled_from([0, 1_333_333])),
        st.builds(e.Refused, order_id=ORDERS, why=WHYS),
        st.builds(e.AnswerLost, order_id=ORDERS, request=REQUESTS, why=st.just("timeout")),
        st.builds(e.Closed, order_id=ORDERS, why=WHYS, filled=st.sampled_from([-1, 0, 1_333_333, 9_999])),
        st.builds(e.Reduced, order_id=ORDERS, remaining=SIZES, filled=st.sampled_from([-1, 0, 1_333_333])),
        st.builds(e.Renewed, order_id=ORDERS, expiry_ns=st.just(START + 50 * SECOND)),
        st.builds(
            e.RequestRefused, order_id=ORDERS, request=st.sampled_from(["cancel", "reduce", "renew"]),
            why=st.sampled_from(["unknown_order", "not_active"]),
        ),
        st.builds(e.FillFinal, market=st.just(market), trade_id=TRADES.map(str)),
        st.builds(e.FillVoided, market=st.just(market), trade_id=TRADES.map(str), why=st.just("FAILED")),
        st.builds(e.Settled, market=st.just(market), value_micros=st.sampled_from([0, 333_333, 1_000_000])),
        st.tuples(st.just("order"), ORDERS, st.sampled_from(["open", "closed", "not_found"]), reads, SIZES),
        st.tuples(st.just("orders"), st.lists(rows, max_size=3), reads),
        st.tuples(st.just("fills"), st.lists(fills, max_size=4), reads),
        st.tuples(st.just("cancel"), ORDERS),
        st.tuples(st.just("reduce"), ORDERS, SIZES),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3, 20, 200])),
    )  # fmt: skip


def act(desk: Desk, what, slow: SlowAccount) -> None:
    if not isinstance(what, tuple):
        slow.tell(what)
        desk.do(what)
        return
    kind, *rest = what
    if kind == "wait":
        desk.wait(rest[0])
    elif kind == "cancel":
        desk.command(c.Cancel(order_id=rest[0], market=desk.market))
    elif kind == "reduce":
        desk.command(c.Reduce(order_id=rest[0], market=desk.market, remaining=rest[1]))
    elif kind == "order":
        order_id, status, age, size = rest
        desk.read_order(order_id, status, as_of_ns=desk.now + age, remaining=size, filled=1_333_333)
    elif kind == "orders":
        desk.read_orders(*rest[0], as_of_ns=desk.now + rest[1])
    else:
        read = e.FillsRead(
            venue=desk.venue, asked_ns=desk.now, as_of_ns=desk.now + rest[1], since_ns=START - 60 * SECOND,
            fills=tuple(rest[0]),
        )  # fmt: skip
        slow.tell(read)
        desk.do(read)


@settings(max_examples=150)
@given(st.booleans(), st.integers(0, 1), st.data())
def test_any_evidence_in_lockstep_with_the_slow_account(apart, compares, data):
    desk = Desk(apart=apart, reconcile_interval_ns=compares * 30 * SECOND)
    slow = SlowAccount()
    for order_id, expiry_ns in enumerate((0, 0, START + 30 * SECOND, START + 30 * SECOND), 1):
        desk.place(order_id, side=order_id % 2, live=False, expiry_ns=expiry_ns)
    ended: dict[int, OrderState] = {}
    for what in data.draw(st.lists(evidence(desk.market), max_size=25)):
        act(desk, what, slow)
        row, held = slow.row(desk.market, nets=not apart), desk.account.position(desk.market)
        assert (held.yes_contracts, held.no_contracts) == (row.yes_contracts, row.no_contracts)
        assert held.cost_micros == row.cost_micros
        assert desk.account.cash_micros == 1_000_000_000 - row.cost_micros - row.fees
        orders = desk.account.orders
        shown = {order.order_id: order for order in desk.account.open_orders(desk.market)}
        for order_id in range(1, 5):
            order = orders.open.get(order_id) or orders.closed[order_id]
            assert order.booked == slow.traded(order_id)
            assert (order_id in shown) == (order.state not in CLOSED_STATES)
            assert ended.get(order_id, order.state) is order.state, "a closed order never reopens"
            if order.state in CLOSED_STATES:
                ended[order_id] = order.state
    desk.check_fold()


@settings(max_examples=150)
@given(
    st.booleans(),
    st.lists(st.tuples(TRADES, st.sampled_from(["final", "loose", "confirmed", "void"])), max_size=9),
    st.randoms(),
)
def test_any_permutation_and_repetition_of_evidence_gives_the_same_ledger(apart, trades, random):
    story = []
    for n, fate in dict(trades).items():
        story += [a_trade(n, 2 * apart, False, fate == "final")]
        if fate == "confirmed":
            story += [e.FillFinal(market=2 * apart, trade_id=str(n))]
        elif fate == "void":
            story += [e.FillVoided(market=2 * apart, trade_id=str(n), why="FAILED")]
    story += [e.Settled(market=2 * apart, value_micros=333_333)]
    ledgers = []
    for _ in range(2):
        desk = Desk(apart=apart)
        for event in story + random.choices(story, k=len(story)):
            desk.do(event)
        held = desk.account.position(desk.market)
        ledgers.append((held, desk.account.cash_micros, desk.account.ledgers[desk.market].save()))
        random.shuffle(story)
    assert ledgers[0] == ledgers[1]


# --- the fold itself ----------------------------------------------------------------------------------


def busy_desk() -> Desk:
    desk = Desk(apart=True, reconcile_interval_ns=30 * SECOND, order_life_ns=60 * SECOND)
    for order_id in range(1, 8):
        desk.place(order_id, side=order_id % 2, live=order_id % 3 > 0, expiry_ns=START + 60 * SECOND)
        desk.fill(
            order_id, size=order_id % 4 + 1, side=order_id % 2, final=order_id % 2 == 0, fee_micros=order_id
        )
        desk.wait(4)
    desk.do(e.FillVoided(market=2, trade_id="t3", why="FAILED"))
    desk.do(e.Closed(order_id=5, why="none", filled=-1))
    desk.read_orders(desk.row(0, "foreign"), desk.row(5))
    desk.read_positions(e.VenuePosition(market=3, yes_contracts=5, no_contracts=0))
    desk.do(e.Merged(market=2, pairs=1_000_000))
    desk.do(e.Transferred(venue="polymarket", amount_micros=5, why="deposit", transfer_id="d"))
    desk.wait(90)
    return desk


def test_a_snapshot_is_canonical_and_goes_on_as_before():
    desk = busy_desk()
    blob = desk.account.encode()
    again = Account.decode(blob, desk.terms)
    assert again.encode() == blob
    assert again.wants(NEVER_NS) == desk.account.wants(NEVER_NS)
    assert len(desk.account.wants(NEVER_NS)) > 10
    assert [again.open_orders(m) for m in (2, 3)] == [desk.account.open_orders(m) for m in (2, 3)]
    assert again.position(2) == desk.account.position(2)
    desk.check_fold()


def test_the_fold_does_not_depend_on_hashing():
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import hashlib, test_account as t\n"
        "desk = t.busy_desk()\n"
        "for blob in (desk.account.encode(), repr(desk.log).encode()):\n"
        "    print(hashlib.sha256(blob).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": seed}, text=True, check=True,
            capture_output=True, timeout=60,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1 and len(said.pop().split()) == 2


@pytest.mark.parametrize("blob", [b"", b"\x90", b"not a snapshot", Account(OrderTerms()).encode()[:-1]])
def test_a_damaged_snapshot_is_refused(blob):
    with pytest.raises(DataError, match="snapshot of the account can't be read"):
        Account.decode(blob, OrderTerms())


def test_a_snapshot_of_another_version_is_refused():
    blob = Account(OrderTerms()).encode()
    assert blob[1] == 1
    with pytest.raises(DataError, match="has version 2, not 1"):
        Account.decode(blob[:1] + b"\x02" + blob[2:], OrderTerms())


def test_events_that_concern_no_order_and_no_money_change_nothing():
    desk = Desk()
    before = desk.account.encode()
    for event in (
        e.Stopping(why="ctrl-c"),
        e.FeedAlive(venue="kalshi", venue_ns=START),
        e.Held(market=0, why="stopping", on=True),
        e.DayStarted(end_ns=START, equity_micros=1),
        e.Sent(order_id=9),
        e.Refused(order_id=9, why="min_size"),
        e.AnswerLost(order_id=9, request="cancel", why=""),
        e.Closed(order_id=9, why="none", filled=0),
        e.Presumed(order_id=9, filled=0),
    ):
        assert desk.do(event) == ((), (), (), ())
    desk.command(c.Resubscribe(market=0))
    assert desk.account.encode() == before


@pytest.mark.parametrize(
    "event",
    [
        e.Filled(trade_id="x", order_id=0, market=9, side=ASK, price=1, size=1, exch_ns=1),
        e.FillFinal(market=9, trade_id="x"),
        e.FillVoided(market=9, trade_id="x", why=""),
        e.Settled(market=9, value_micros=0),
        e.Merged(market=9, pairs=1),
    ],
)
def test_evidence_about_a_market_that_was_never_listed_is_alarmed_and_not_booked(event):
    desk = Desk()
    cash = desk.account.cash_micros
    [anomaly] = desk.do(event).anomalies
    assert (anomaly.code, anomaly.market) == ("foreign_fill", 9)
    assert desk.account.cash_micros == cash and desk.account.position(9).cost_micros == 0


def test_the_fills_of_a_settled_market_are_forgotten_after_their_span():
    desk = Desk(settled_keep_ns=100 * SECOND)
    desk.place()
    desk.fill(size=4, trade_id="x")
    desk.do(e.Settled(market=0, value_micros=1_000_000))
    desk.wait(99)
    desk.do(e.Sent(order_id=1))
    assert desk.account.fill_count(0) == 1
    desk.wait(1)
    desk.do(e.Sent(order_id=1))
    assert desk.account.fill_count(0) == 0
    cash = desk.account.cash_micros
    assert [a.code for a in desk.fill(size=4, trade_id="x").anomalies] == ["late_fill"]
    assert desk.account.cash_micros == cash
    desk.check_fold()


def test_memory_is_bounded_by_what_is_open_and_kept():
    desk = Desk(closed_keep_ns=50 * SECOND)
    for order_id in range(1, 400):
        desk.place(order_id)
        desk.do(e.Closed(order_id=order_id, why="none", filled=0))
        desk.wait(1)
    assert len(desk.account.orders.closed) <= 51
    assert len(desk.account.orders._agenda._alarms) <= 64 + 4
