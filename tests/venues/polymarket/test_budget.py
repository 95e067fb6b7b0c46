"""No window of the address overflows, quotes never use up cancels, the venue's own count wins."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.venues.polymarket.budget import HOSTS, ROUTES, TIERS, TOTAL, Budget, Charge, Told

SECOND = 1_000_000_000
ORDER = Charge("clob", ("POST", "/order"), "orders", 1)
CANCEL = Charge("clob", ("DELETE", "/order"), "cancels", 1, urgent=True)
READ = Charge("clob", ("GET", "/book"))


def drain(budget: Budget, charge: Charge, now_ns: int, most: int = 100_000) -> int:
    """How many leave at one instant."""
    return next(n for n in range(most) if not budget.take(charge, now_ns))


def test_a_standard_signer_s_bursts_and_rates():
    budget = Budget(0)
    assert drain(budget, ORDER, 0) == 54 and drain(budget, CANCEL, 0) == 108
    assert drain(budget, ORDER, SECOND) == 40 and drain(budget, CANCEL, SECOND) == 80
    assert budget.tokens(SECOND) == {"orders": 0, "cancels": 0}
    assert (budget.most("orders"), budget.most("cancels")) == (54, 108)


def test_reads_and_quotes_leave_a_reserve_of_the_address_to_cancels():
    budget = Budget(0)
    limit = Charge("clob", ("GET", "/somewhere"))
    reads = drain(budget, limit, 0)
    assert reads < HOSTS["clob"] // 5 and not budget.take(ORDER, 0)
    assert all(budget.take(CANCEL, 0) for _ in range(100))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(ROUTES)),
    st.lists(st.integers(0, 3 * SECOND), min_size=30, max_size=60),
)
def test_no_window_of_ten_seconds_overflows(route, gaps):
    budget = Budget(0)
    host = "gamma" if "keyset" in route[1] else "clob"
    now_ns, sent = 0, []
    for gap in gaps:
        now_ns += gap
        count = drain(budget, Charge(host, route, urgent=True), now_ns)
        sent.append((now_ns, count))
    for start, _ in sent:
        inside = sum(n for at, n in sent if start <= at < start + 10 * SECOND)
        assert inside <= min(ROUTES[route][0], HOSTS[host], TOTAL)


def test_no_window_of_ten_minutes_overflows():
    for route, (_, long) in ROUTES.items():
        if not long:
            continue
        budget, total = Budget(0), 0
        for second in range(0, 600, 4):
            charge = Charge("clob", route, urgent=True)
            total += drain(budget, charge, second * SECOND)
        assert 0 < total <= long


@given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 15)), max_size=60))
def test_the_signer_s_bucket_never_lets_more_through_than_the_venue_s(steps):
    budget, now_ns, level, at_ns = Budget(0), 0, 60 * SECOND, 0
    for gap, orders in steps:
        now_ns += gap
        level, at_ns = min(60 * SECOND, level + (now_ns - at_ns) * 40), now_ns
        if budget.take(ORDER._replace(tokens=orders), now_ns):
            level -= orders * SECOND
            assert level >= 0


def test_what_cannot_be_paid_costs_nothing():
    budget = Budget(0)
    drain(budget, ORDER, 0)
    before = {charge: drain(Budget(0), charge, 0) for charge in (READ,)}
    for _ in range(1000):
        assert not budget.take(ORDER, 0)
    assert drain(budget, READ, 0) == before[READ]


def test_a_sweep_is_paid_afterwards_and_may_be_owed():
    budget = Budget(0)
    budget.owe(500, 0)
    assert budget.tokens(0)["cancels"] == 108 - 500 and not budget.take(CANCEL, 0)
    assert budget.wait_ns(CANCEL, 0) == -(-(500 - 108 + 1) * SECOND // 80)
    assert budget.take(ORDER, 0)


def test_the_venue_s_count_wins_where_it_is_less():
    budget = Budget(0)
    budget.told(ORDER, Told(remaining=7), 0)
    assert budget.tokens(0) == {"orders": 7, "cancels": 108}
    budget.told(ORDER, Told(remaining=5000), 0)
    assert budget.tokens(0)["orders"] == 7
    budget.told(READ, Told(remaining=1, warned=True), 0)
    assert budget.tokens(0) == {"orders": 7, "cancels": 108} and budget.warnings == 1


def test_a_refusal_waits_until_its_reset():
    budget = Budget(0)
    budget.refused(CANCEL, Told(remaining=0, reset_ns=3 * SECOND), 0)
    assert budget.wait_ns(CANCEL, 0) > 3 * SECOND - SECOND // 10
    assert budget.take(ORDER, 0)
    budget.refused(ORDER, Told(tier="x", reset_ns=10**19), 0)  # nonsense is no year of silence
    assert budget.wait_ns(ORDER, 0) <= SECOND


def test_a_refusal_without_headers_slows_its_route_alone():
    budget = Budget(0)
    budget.refused(ORDER, Told(), 0)
    assert budget.wait_ns(ORDER, 0) > 0 == budget.wait_ns(CANCEL, 0)
    assert budget.tokens(0)["orders"] == 54
    budget.refused(Charge("gamma", ("GET", "/x")), Told(), 0)
    assert budget.wait_ns(Charge("gamma", ("GET", "/y")), 0) > 0 == budget.wait_ns(READ, 0)


def test_tiers_are_followed_and_unknown_ones_are_not():
    budget = Budget(0)
    drain(budget, ORDER, 0)
    budget.told(ORDER, Told(tier="Elite"), 0)
    assert budget.tier == "elite" and budget.tokens(0)["orders"] == 0
    assert budget.tokens(SECOND)["orders"] == 600
    budget.told(ORDER, Told(tier="brand new"), SECOND)
    assert budget.tier == "elite"
    assert all(t.cancels == 2 * t.orders and t.orders_burst < 2 * t.orders for t in TIERS.values())
