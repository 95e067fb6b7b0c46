"""One account over two venues: each one's share of the cash, and orders that nothing can renew."""

from __future__ import annotations

import msgspec
import pytest

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.engine.account import Account
from pr3dict.engine.tracked import OrderTerms
from pr3dict.kernels import dtypes as d

SECOND = 1_000_000_000
TERMS = OrderTerms(order_life_ns=180 * SECOND, renew_before_ns=10 * SECOND)
LISTED = e.Listed(
    market=0, venue="kalshi", ticker="T", event_id="E", exclusive=False, title="t",
    grids=(kalshi_grid("linear_cent"),), min_size=1_000_000, lot=1_000_000, fee_kind="none",
    nets_positions=True, reduce_in_place=True,
)  # fmt: skip
THERE = msgspec.structs.replace(
    LISTED, market=1, venue="polymarket", ticker="0x1", nets_positions=False, reduce_in_place=False
)


def started(account: Account, now_ns: int, cash_micros: int) -> None:
    account.apply(now_ns, e.Started(version="1", account="a", settings="{}", cash_micros=cash_micros))


def balance(account: Account, now_ns: int, venue: str, cash_micros: int) -> list[tuple[str, str]]:
    """What is odd about a venue's cash, once its fills were read: (venue, code) of each anomaly."""
    as_of_ns = now_ns - 1
    fills = e.FillsRead(venue=venue, asked_ns=as_of_ns, as_of_ns=as_of_ns, since_ns=0, fills=())
    read = e.BalanceRead(venue=venue, asked_ns=as_of_ns, as_of_ns=as_of_ns, cash_micros=cash_micros)
    found = [*account.apply(now_ns, fills).anomalies, *account.apply(now_ns, read).anomalies]
    return [(anomaly.venue, anomaly.code) for anomaly in found]


@pytest.mark.parametrize("order", [(LISTED, THERE), (THERE, LISTED)])
def test_each_venue_has_its_share_of_the_cash(order):
    """Whichever is listed first, each says what its share is, and later words are held to it."""
    account = Account(TERMS)
    started(account, 1, 50_000_000)
    for listing in order:
        account.apply(1, listing)
    odd = []
    for n in range(1, 5):
        missing = 1_000_000 if n > 1 else 0
        odd += balance(account, n * 40 * SECOND, "kalshi", 40_000_000)
        odd += balance(account, n * 40 * SECOND, "polymarket", 10_000_000 - missing)
    assert odd == [("polymarket", "cash_drift")] and account.cash_micros == 50_000_000


def test_the_shares_add_up_to_what_there_was():
    """A dollar that came between the look at the start and the first word is noticed."""
    account = Account(TERMS)
    started(account, 1, 50_000_000)
    for listing in (LISTED, THERE):
        account.apply(1, listing)
    odd = []
    for n in range(1, 5):
        odd += balance(account, n * 40 * SECOND, "kalshi", 41_000_000)
        odd += balance(account, n * 40 * SECOND, "polymarket", 10_000_000)
    assert odd == [("polymarket", "cash_drift")]


def test_one_venue_alone_has_all_of_it():
    account = Account(TERMS)
    started(account, 1, 50_000_000)
    account.apply(1, LISTED)
    said = [balance(account, n * 40 * SECOND, "kalshi", 40_000_000) for n in range(1, 5)]
    assert [odd for part in said for odd in part] == [("kalshi", "cash_drift")]


def resting(account: Account, market: int, order_id: int) -> None:
    place = c.Place(
        order_id=order_id, market=market, side=d.BID, sell=False, price=4_000, size=1_000_000,
        tif=d.POST_ONLY, expiry_ns=180 * SECOND,
    )  # fmt: skip
    account.commanded(2, place)
    account.apply(3, e.Sent(order_id=order_id, venue_id=f"v{order_id}"))
    account.apply(4, e.Accepted(order_id=order_id, venue_id=f"v{order_id}", filled=0))


@pytest.mark.parametrize("again", [False, True])
def test_what_nothing_renews_is_cancelled_before_it_expires(again):
    """And once: until its cancel is answered; a snapshot knows it, too."""
    account = Account(TERMS)
    started(account, 1, 50_000_000)
    for listing in (LISTED, THERE):
        account.apply(1, listing)
    resting(account, 0, 1)
    resting(account, 1, 2)
    if again:
        account = Account.decode(account.encode(), TERMS)
        account.orders.replaced.add(THERE.market)  # as engine/recovery.py does from its listings
    due_ns = 170 * SECOND
    wanted = [w for w in account.wants(due_ns) if isinstance(w, c.Renew | c.Cancel)]
    assert wanted == [
        c.Renew(order_id=1, market=0, venue_id="v1", expiry_ns=due_ns + 180 * SECOND),
        c.Cancel(order_id=2, market=1, venue_id="v2"),
    ]
    for command in wanted:
        account.commanded(due_ns, command)
    assert not [w for w in account.wants(due_ns + 1) if isinstance(w, c.Renew | c.Cancel)]
    refused = e.RequestRefused(order_id=2, request="cancel", why="busy", text="delayed")
    account.apply(due_ns + 2, refused)
    assert not [w for w in account.wants(due_ns + 3) if isinstance(w, c.Cancel)]  # but soon
    later_ns = due_ns + 2 * SECOND
    assert [w for w in account.wants(later_ns) if isinstance(w, c.Cancel)] == [wanted[1]]
