"""Each check of the gate trips and does not trip just below; what the brain sends, it passes."""

from __future__ import annotations

import ast
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.commands import Place
from pr3dict.kernels import diff
from pr3dict.kernels import dtypes as d
from pr3dict.risk.exposure import EventLoss, Exposure, FillExposure, OrderExposure, event_loss, losses
from pr3dict.risk.gate import ABSURD, Gate, MarketFacts, Portfolio, Refusal, Wish
from pr3dict.risk.limits import RiskConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "kernels"))

from test_diff import limits, own_orders, quotes, world_of

SOURCE = Path(__file__).resolve().parents[2] / "src" / "pr3dict"
CONTRACT = 1_000_000
DOLLAR = 1_000_000
SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND

WISH = Wish(7, 3, d.BID, sell=False, price=4_500, size=10 * CONTRACT, tif=d.POST_ONLY, expiry_ns=5)
FACTS = MarketFacts(
    status=d.ACTIVE, min_size=CONTRACT, lot=10_000, on_grid=lambda price: price % 100 == 0,
    fair_micros=500_000, book_age_ns=0, held=False, price_band_micros=200_000, nets_positions=True,
    best_bid=4_800, best_ask=5_200, max_order_size=100 * CONTRACT,
)  # fmt: skip
FLAT = Exposure()
FUNDS = Portfolio(killed=False, halted=False, cash_micros=10_000 * DOLLAR, locked_micros=0)


def verdict(wish=WISH, facts=FACTS, exposure=FLAT, portfolio=FUNDS, **settings):
    return Gate(RiskConfig(**settings)).approve(NOW, wish, facts, exposure, portfolio)


def code(*args, **kwargs):
    found = verdict(*args, **kwargs)
    return found.code if isinstance(found, Refusal) else ""


def test_an_approved_order_is_the_wish():
    assert verdict() == Place(
        order_id=7, market=3, side=d.BID, sell=False, price=4_500, size=10 * CONTRACT, tif=d.POST_ONLY,
        expiry_ns=5,
    )  # fmt: skip


# --- stopped --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("portfolio", "facts", "expected"),
    [
        ({"killed": True}, {}, "killed"),
        ({"halted": True}, {}, "halted"),
        ({}, {"held": True}, "held"),
        *[({}, {"status": status}, "not_active") for status in range(8) if status not in (1, 6)],
        ({}, {"status": d.POST_ONLY_MODE}, ""),
    ],
)
def test_nothing_leaves_while_stopped(portfolio, facts, expected):
    assert code(facts=FACTS._replace(**facts), portfolio=FUNDS._replace(**portfolio)) == expected


@pytest.mark.parametrize("tif", [d.LIMIT, d.IOC, d.FOK])
def test_only_resting_orders_while_the_venue_takes_no_others(tif):
    assert code(WISH._replace(tif=tif), FACTS._replace(status=d.POST_ONLY_MODE)) == "not_active"


# --- price and size -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"side": 2}, "price_range"),
        ({"price": 0}, "price_range"),
        ({"price": 10_000}, "price_range"),
        ({"price": -100}, "price_range"),
        ({"price": math.nan}, "price_range"),
        ({"price": math.inf}, "price_range"),
        ({"price": 4_500.5}, "price_range"),
        ({"size": 0}, "bad_size"),
        ({"size": -CONTRACT}, "bad_size"),
        ({"size": math.nan}, "bad_size"),
        ({"size": math.inf}, "bad_size"),
        ({"size": 10**15 + 1}, "bad_size"),
        ({"size": 100 * CONTRACT}, ""),
        ({"size": 100 * CONTRACT + 10_000}, "fat_finger"),
        ({"price": 3_000}, ""),
        ({"price": 2_900}, "price_band"),
        ({"side": d.ASK, "price": 7_000}, ""),
        ({"side": d.ASK, "price": 7_100}, "price_band"),
        ({"price": 4_550}, "off_grid"),
        ({"size": CONTRACT}, ""),
        ({"size": CONTRACT - 10_000}, "min_size"),
        ({"size": CONTRACT + 1}, "lot"),
    ],
)
def test_price_and_size(change, expected):
    wish = WISH._replace(**change)
    assert code(wish) == expected
    if expected in ABSURD:
        assert verdict(wish).is_absurd


@pytest.mark.parametrize("fair", [-1, math.nan, 1_000_001])
def test_no_order_without_a_fair_value(fair):
    assert code(facts=FACTS._replace(fair_micros=fair)) == "no_fair"


@pytest.mark.parametrize(("fair", "expected"), [(470_000, ""), (470_001, "price_collar")])
def test_the_collar_of_the_settings(fair, expected):
    assert code(facts=FACTS._replace(fair_micros=fair), price_collar="0.02") == expected


@pytest.mark.parametrize(("size", "expected"), [(12 * CONTRACT, ""), (12 * CONTRACT + 10_000, "fat_finger")])
def test_the_size_cap_of_the_settings(size, expected):
    assert code(WISH._replace(size=size), max_order_size=12) == expected


@pytest.mark.parametrize(("age_ns", "expected"), [(3 * SECOND, ""), (3 * SECOND + 1, "stale")])
def test_old_data(age_ns, expected):
    facts = FACTS._replace(book_age_ns=age_ns)
    assert code(facts=facts, max_data_age_seconds=3) == expected
    assert code(facts=facts) == ""


@pytest.mark.parametrize(
    ("side", "price", "far", "expected"),
    [
        (d.BID, 5_100, 5_200, ""),
        (d.BID, 5_200, 5_200, "post_only_cross"),
        (d.ASK, 4_900, 4_800, ""),
        (d.ASK, 4_800, 4_800, "post_only_cross"),
        (d.BID, 5_200, -1, ""),
    ],
)
def test_crossing_the_far_touch(side, price, far, expected):
    wish = WISH._replace(side=side, price=price)
    facts = FACTS._replace(best_bid=far, best_ask=far)
    assert code(wish, facts, refuse_crossing=True) == expected
    assert code(wish, facts) == ""  # the venue's to refuse
    assert code(wish._replace(tif=d.LIMIT), facts, refuse_crossing=True) == ""  # an exit takes on purpose


@pytest.mark.parametrize(
    ("side", "own_side", "own_price", "expected"),
    [
        (d.BID, d.ASK, 4_600, ""),
        (d.BID, d.ASK, 4_500, "own_cross"),
        (d.ASK, d.BID, 4_400, ""),
        (d.ASK, d.BID, 4_500, "own_cross"),
        (d.BID, d.BID, 4_500, ""),
    ],
)
def test_no_own_bid_meets_an_own_ask(side, own_side, own_price, expected):
    exposure = FLAT.with_order(OrderExposure(own_side, False, own_price, CONTRACT))
    assert code(WISH._replace(side=side), exposure=exposure) == expected


# --- limits ---------------------------------------------------------------------------------------

# 10 contracts at 0.45 lose 4.50 dollars if NO.


@pytest.mark.parametrize(
    ("setting", "code_of_it"),
    [
        ("max_loss_per_market", "market_loss"),
        ("max_loss_per_event", "event_loss"),
        ("max_total_loss", "total_loss"),
    ],
)
def test_worst_case_caps(setting, code_of_it):
    assert code(**{setting: "4.50"}) == ""
    assert code(**{setting: "4.499999"}) == code_of_it


def test_siblings_count_against_the_event_and_all_else_against_the_total():
    portfolio = FUNDS._replace(siblings=EventLoss(3 * DOLLAR, 0), others_loss_micros=2 * DOLLAR)
    assert code(portfolio=portfolio, max_loss_per_market="4.50") == ""
    assert code(portfolio=portfolio, max_loss_per_event="7.50") == ""
    assert code(portfolio=portfolio, max_loss_per_event="7.499999") == "event_loss"
    assert code(portfolio=portfolio, max_total_loss="9.50") == ""
    assert code(portfolio=portfolio, max_total_loss="9.499999") == "total_loss"


@pytest.mark.parametrize(("limit", "expected"), [(4_500_000, ""), (4_499_999, "heat"), (0, "heat"), (-1, "")])
def test_heat(limit, expected):
    assert code(portfolio=FUNDS._replace(heat_limit_micros=limit)) == expected


def test_open_orders_of_any_fate_count_as_filled():
    exposure = FLAT.with_order(OrderExposure(d.BID, False, 4_500, 10 * CONTRACT))
    assert code(exposure=exposure, max_loss_per_market=9) == ""
    assert code(exposure=exposure, max_loss_per_market="8.99") == "market_loss"


def test_over_the_limit_what_does_not_make_it_worse_may_leave():
    # Long 50 at 0.60: 30 dollars if NO, over the cap. An ask adds to the loss if YES only.
    long = Exposure(50 * CONTRACT, 0, 30 * DOLLAR)
    wish = WISH._replace(side=d.ASK, price=5_500, size=60 * CONTRACT)
    assert code(wish, exposure=long, max_loss_per_market=10) == ""
    assert code(exposure=long, max_loss_per_market=10) == "market_loss"


def test_an_order_that_is_being_cancelled_hides_nothing():
    """Its bid is counted against us while it may still fill, but makes no room for more."""
    leaving = OrderExposure(d.BID, False, 4_000, 50 * CONTRACT, rests=False)
    wish = WISH._replace(side=d.ASK, price=5_500, size=40 * CONTRACT)
    assert code(wish, exposure=Exposure(orders=(leaving,)), max_loss_per_market=10) == "market_loss"
    staying = leaving._replace(rests=True)
    assert code(wish, exposure=Exposure(orders=(staying,)), max_loss_per_market=10) == ""
    caps = {"max_total_loss": 10}
    hidden = FUNDS._replace(others_loss_micros=20 * DOLLAR, sure_others_micros=19 * DOLLAR)
    assert code(wish, exposure=Exposure(orders=(staying,)), portfolio=hidden, **caps) == "total_loss"


def test_an_exit_is_never_stopped_by_a_loss_limit_or_by_cash():
    short = Exposure(0, 10 * CONTRACT, 4 * DOLLAR)
    hedge = FUNDS._replace(siblings=EventLoss(20 * DOLLAR, 15 * DOLLAR), heat_limit_micros=0, cash_micros=0)
    caps = {"max_loss_per_market": "0.01", "max_loss_per_event": "0.01", "max_total_loss": "0.01"}
    before = hedge.siblings.joined(*losses(short))
    order = OrderExposure(WISH.side, WISH.sell, WISH.price, WISH.size)
    assert hedge.siblings.joined(*losses(short.with_order(order))) > before  # it costs the event its hedge
    assert code(exposure=short, portfolio=hedge, **caps) == ""
    assert code(WISH._replace(size=11 * CONTRACT), exposure=short, portfolio=hedge, **caps) == "event_loss"


def test_an_exit_of_what_may_be_void_is_no_exit():
    # 10 YES by a provisional fill: selling them is short if the venue voids it.
    fill = FillExposure(d.BID, False, 4_000, 10 * CONTRACT)
    wish = WISH._replace(side=d.ASK, sell=True, price=5_500)
    held = Exposure(10 * CONTRACT, 0, 4 * DOLLAR)
    doubtful = Exposure(10 * CONTRACT, 0, 4 * DOLLAR, (), (fill,))
    assert code(wish, exposure=held, max_loss_per_market="4.20") == ""
    assert code(wish, exposure=doubtful, max_loss_per_market="4.20") == "market_loss"


@pytest.mark.parametrize(("cash", "expected"), [(4_500_000, ""), (4_499_999, "cash")])
def test_an_order_costs_at_most_what_the_account_holds(cash, expected):
    assert code(portfolio=FUNDS._replace(cash_micros=cash)) == expected
    assert code(WISH._replace(sell=True), portfolio=FUNDS._replace(cash_micros=cash)) == ""


@pytest.mark.parametrize(("cash", "expected"), [(9_500_000, ""), (9_499_999, "cash")])
def test_cash_that_must_stay_free(cash, expected):
    portfolio = FUNDS._replace(cash_micros=cash, locked_micros=3 * DOLLAR)
    assert code(portfolio=portfolio, min_free_cash=2) == expected


# --- rates ----------------------------------------------------------------------------------------


def leaves(gate, now_ns):
    return isinstance(gate.approve(now_ns, WISH, FACTS, FLAT, FUNDS), Place)


@pytest.mark.parametrize(
    ("setting", "span"), [("max_orders_per_second", SECOND), ("max_orders_per_minute", 60 * SECOND)]
)
def test_rates_hold_in_every_window(setting, span):
    gate = Gate(RiskConfig(**{setting: 3}))
    assert [leaves(gate, NOW + k) for k in (0, 10, 20, 30)] == [True, True, True, False]
    assert not leaves(gate, NOW + span - 1)
    assert leaves(gate, NOW + span)  # the first has left the window, the second not
    assert not leaves(gate, NOW + span + 9)


@given(st.lists(st.integers(0, SECOND // 2), min_size=1, max_size=40), st.integers(1, 5), st.integers(5, 9))
def test_rates_against_a_plain_count(gaps, per_second, per_minute):
    gate = Gate(RiskConfig(max_orders_per_second=per_second, max_orders_per_minute=per_minute))
    now, left = NOW, []
    for gap in gaps:
        now += gap
        allowed = (
            sum(t > now - SECOND for t in left) < per_second
            and sum(t > now - 60 * SECOND for t in left) < per_minute
        )
        assert leaves(gate, now) == allowed
        left += [now] if allowed else []


def test_rates_survive_a_restart_and_a_fold():
    config = RiskConfig(max_orders_per_minute=3)
    gate, folded, later = Gate(config), Gate(config), Gate(config)
    for k in range(3):
        place = gate.approve(NOW + k, WISH, FACTS, FLAT, FUNDS)
        assert isinstance(place, Place)
        folded.fold(NOW + k, place)
    later.load(gate.encode())
    assert gate.encode() == folded.encode() == later.encode()
    assert not leaves(later, NOW + SECOND)


def test_a_refused_order_uses_no_rate():
    gate = Gate(RiskConfig(max_orders_per_second=1))
    assert isinstance(gate.approve(NOW, WISH._replace(size=0), FACTS, FLAT, FUNDS), Refusal)
    assert leaves(gate, NOW)


# --- the brain ------------------------------------------------------------------------------------


def exposure_of(world, m):
    """What the market holds and has open, the brain's own new orders left out."""
    row = world.markets[m]
    return Exposure(
        int(row.yes_contracts), int(row.no_contracts), int(row.cost_micros),
        tuple(
            OrderExposure(int(o["side"]), o["leg"] == d.SELL_LEG, int(o["price"]), int(o["remaining"]))
            for o in world.orders[m]
            if o["state"] != d.FREE
        ),
    )  # fmt: skip


@settings(max_examples=300)
@given(limits(), own_orders(), quotes())
def test_what_the_brain_sends_passes(given_limits, orders, wishes):
    """The orders of a whole sync, one after the other, each then open: none is refused by default."""
    world = world_of(given_limits, orders, wishes)
    market, params, account = world.markets[0], world.params[0], world.account[0]
    exposure = exposure_of(world, 0)
    others = [exposure_of(world, m) for m in range(1, len(world.markets))]
    portfolio = Portfolio(
        killed=False, halted=False, cash_micros=int(account.local_cash_micros),
        locked_micros=int(account.locked_micros), siblings=event_loss(others[1:]),
        others_loss_micros=max(*losses(others[0]), 0), heat_limit_micros=int(diff.heat_limit_micros(world)),
    )  # fmt: skip
    facts = FACTS._replace(
        status=int(market.status), min_size=int(market.min_size), lot=int(market.lot),
        on_grid=lambda price: world.grids.level_of_price[0, price] >= 0,
        fair_micros=int(market.fair_micros), price_band_micros=int(params.price_band_micros),
        max_order_size=int(params.max_order_size),
    )  # fmt: skip
    gate = Gate(RiskConfig())
    diff.sync_orders(world, NOW, 0)
    for row in world.outbox[: int(world.clock[0].outbox_tail)]:
        if row["kind"] != d.NEW:
            continue
        sell = row["leg"] == d.SELL_LEG
        side, price, size = int(row["side"]), int(row["price"]), int(row["qty"])
        wish = Wish(int(row["id"]), 0, side, bool(sell), price, size, int(row["tif"]))
        found = gate.approve(NOW, wish, facts, exposure, portfolio)
        assert isinstance(found, Place), found
        exposure = exposure.with_order(OrderExposure(side, sell, price, size))


# --- the only door --------------------------------------------------------------------------------


def places_made_in(text):
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) == "Place" or ast.unparse(node.func).endswith(".Place"))
    ]


def test_only_the_gate_makes_an_order():
    makers = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if places_made_in(path.read_text(encoding="utf-8"))
    }
    # The doctor's trial order: the least size at the lowest price, when a person asks for it.
    assert makers == {"risk/gate.py", "cli/doctor_polymarket_orders.py"}
    assert places_made_in("x = commands.Place(order_id=1)") == [1]
