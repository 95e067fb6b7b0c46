"""Matching of the Polymarket stand-in against the obvious slow way, and what its trades do to balances."""

import itertools
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.polymarket import small_catalog, synthetic_catalog
from standins.polymarket.errors import OrderError
from standins.polymarket.faults import FaultBox
from standins.polymarket.probe import Probe, agrees, run, still
from standins.polymarket.state import Order
from standins.polymarket.values import ASK, BID, MICRO, NO, PUSD, SECOND, YES
from standins.polymarket.venue import Venue

OWNERS = [f"0x{n:040x}" for n in (0xA1, 0xA2, 0xA3)]
START_NS = 1_795_000_000 * SECOND
EMPTY = replace(small_catalog(1), flow=small_catalog(1).flow[:0])


def bare(**faults):
    """A venue of one empty market, with three wallets that have money and pairs."""
    venue = Venue(EMPTY, start_ns=START_NS, faults=FaultBox(faults))
    for owner in OWNERS:
        account = venue.open_account(owner, cash_micros=10_000 * MICRO)
        venue.owner_of[owner] = account.owner
        venue.ledger.split(START_NS, account.wallet, venue.markets[0], 2_000 * MICRO)
    return venue


class Slow:
    """Everything that rests in one list; the best of it is looked for each time."""

    def __init__(self):
        self.rests = []  # [number, side, YES price, left, who, token]
        self.fills = []  # (taker, maker, YES price, size)
        self.numbers = itertools.count()

    def enter(self, who, token, action, price, size, kind, spend):
        side = BID if (action == "BUY") == (token == YES) else ASK
        limit = price if token == YES else 10_000 - price
        found, money, wanted = [], spend, size
        while wanted if not spend else money > 1:
            crossing = [
                r for r in self.rests
                if r[1] != side and r[3] > sum(f[1] for f in found if f[0] is r)
                and (r[2] <= limit if side == BID else r[2] >= limit)
            ]  # fmt: skip
            if not crossing:
                break
            best = min(crossing, key=lambda r: (r[2] if side == BID else -r[2], r[0]))
            own = best[2] if token == YES else 10_000 - best[2]
            part = min(best[3], money * 10_000 // own if spend else wanted)
            found.append((best, part))
            money, wanted = money - part * own // 10_000, wanted - part
            if part < best[3]:
                break
        done = money <= 1 if spend else not wanted
        if (kind == "FAK" and not found) or (kind == "FOK" and not done):
            return False
        for rest, part in found:
            rest[3] -= part
            self.fills.append((who, rest[4], rest[2], part))
        self.rests = [r for r in self.rests if r[3]]
        if kind == "GTC" and wanted:
            self.rests.append([next(self.numbers), side, limit, wanted, who, token])
        return True


ACTIONS = st.tuples(
    st.integers(0, 2), st.sampled_from([YES, NO]), st.sampled_from(["BUY", "SELL"]),
    st.integers(45, 55), st.integers(500, 4_000), st.sampled_from(["GTC", "GTC", "GTC", "FAK", "FOK"]),
)  # fmt: skip


@settings(max_examples=120)
@given(st.lists(ACTIONS, min_size=1, max_size=40))
def test_orders_meet_as_in_the_slow_way(actions):
    venue, slow = bare(), Slow()
    market = venue.markets[0]
    for number, (who, token, action, cents, hundredths, kind) in enumerate(actions):
        price, size = cents * 100, hundredths * 10_000
        spend = size if action == "BUY" and kind != "GTC" else 0
        account = venue.accounts[venue.owner_of[OWNERS[who]]]
        order = Order(
            f"o{number}", OWNERS[who], account, market, token, action, price, 0 if spend else size, kind,
            venue.now_ns, budget=spend,
        )  # fmt: skip
        taken = slow.enter(f"o{number}", token, action, price, 0 if spend else size, kind, spend)
        if taken:
            venue.enter(order)
        else:
            with pytest.raises(OrderError, match=r"FAK orders are|FOK orders are"):
                venue.enter(order)
        venue.flush()
    fills = [
        (trade.taker_id, share.order_id, _yes(share), share.size)
        for trade in venue.trades.values()
        for share in trade.makers
    ]
    assert fills == slow.fills
    rests = sorted((r.side, r.price, r.left, r.order.id) for r in market.book.orders())
    assert rests == sorted((r[1], r[2], r[3], r[4]) for r in slow.rests)
    assert venue.unexplained() == []
    venue.catch_up(venue.now_ns + 60 * SECOND)
    check_money(venue)


def _yes(share):
    return share.price if share.token == YES else 10_000 - share.price


def check_money(venue):
    """Every wallet has what its fills say: by definition, in fractions of a dollar."""
    cash = {account.wallet: Fraction(8_000) for account in venue.accounts.values()}
    held = defaultdict(lambda: Fraction(2_000))
    for trade in venue.trades.values():
        rate, p = Fraction(trade.market.fee_rate_ppm, 10**6), Fraction(trade.price, 10_000)
        for share in trade.makers:
            size, price = Fraction(share.size, MICRO), Fraction(share.price, 10_000)
            own = price if share.token == trade.token else 1 - price
            for wallet, token, action, paid in (
                (share.wallet, share.token, share.action, price),
                (trade.taker_wallet, trade.token, trade.action, own),
            ):
                sign = 1 if action == "BUY" else -1
                cash[wallet] -= sign * paid * size
                held[wallet, token] += sign * size
        cash[trade.taker_wallet] -= rate * p * (1 - p) * Fraction(trade.size, MICRO)
    for account in venue.accounts.values():
        balances = venue.ledger.balances[account.wallet]
        assert abs(Fraction(balances[PUSD], MICRO) - cash[account.wallet]) < Fraction(1, 1_000)
        for token in (YES, NO):
            asset = venue.markets[0].tokens[token]
            assert Fraction(balances[asset], MICRO) == held[account.wallet, token]


@pytest.mark.parametrize(
    ("maker", "taker", "pairs"),
    [
        ((YES, "SELL", 5_000), (YES, "BUY", 6_000), 0), ((NO, "SELL", 5_000), (NO, "BUY", 6_000), 0),
        ((YES, "BUY", 6_000), (NO, "BUY", 4_500), 7), ((YES, "SELL", 4_000), (NO, "SELL", 5_500), -7),
    ],
    ids=["swap", "swap-of-no", "mint", "merge"],
)  # fmt: skip
def test_pairs_are_made_and_burned(maker, taker, pairs):
    venue = bare()
    market = venue.markets[0]
    for number, (token, action, price) in enumerate((maker, taker)):
        account = venue.accounts[venue.owner_of[OWNERS[number]]]
        venue.enter(
            Order(
                f"o{number}",
                OWNERS[number],
                account,
                market,
                token,
                action,
                price,
                7 * MICRO,
                "GTC",
                START_NS,
            )
        )
    [trade] = venue.trades.values()
    assert trade.minted == pairs * MICRO
    own = maker[2] if maker[0] == taker[0] else 10_000 - maker[2]
    assert trade.price == own  # the maker's price: what is better is the taker's
    venue.catch_up(START_NS + 60 * SECOND)
    assert venue.ledger.backing[market.spec.condition] == (6_000 + pairs) * MICRO
    assert venue.unexplained() == []
    check_money(venue)


def test_a_failed_trade_changes_nothing_on_the_chain():
    venue = bare(trade_failed=1.0)
    market = venue.markets[0]
    accounts = [venue.accounts[venue.owner_of[owner]] for owner in OWNERS]
    before = {a.wallet: dict(venue.ledger.balances[a.wallet]) for a in accounts}
    for number, (token, price) in enumerate(((YES, 6_000), (NO, 4_500))):
        venue.enter(
            Order(
                f"o{number}", OWNERS[number], accounts[number], market, token, "BUY", price, 7 * MICRO, "GTC",
                START_NS,
            )
        )  # fmt: skip
    assert venue.ledger.available(accounts[0].wallet, PUSD, []) == 8_000 * MICRO - 4_200_000
    venue.catch_up(START_NS + 60 * SECOND)
    [trade] = venue.trades.values()
    assert trade.status == "FAILED"
    assert {a.wallet: dict(venue.ledger.balances[a.wallet]) for a in accounts} == before
    assert venue.ledger.available(accounts[0].wallet, PUSD, []) == 8_000 * MICRO
    assert venue.orders["o0"].matched == 7 * MICRO and venue.unexplained() == []


def test_tokens_are_sold_only_after_they_are_confirmed():
    async def test():
        async with still() as server, Probe(server) as probe:
            await probe.placed(price=0.52, size=20)
            status, answer = await probe.place(side="SELL", price=0.6, size=20)
            assert (status, answer["error"]) == (400, "not enough balance / allowance")
            assert await probe.tokens() == 0 and await probe.cash() == 10_000_000_000
            server.pass_time(10)
            assert await probe.tokens() == 20_000_000
            assert await probe.cash() == 10_000_000_000 - 10_400_000 - 199_680
            await probe.placed(side="SELL", price=0.6, size=15)
            status, _ = await probe.place(side="SELL", price=0.6, size=6)  # five are left
            assert status == 400
            await probe.placed(side="SELL", price=0.6, size=5)
            agrees(server)

    run(test())


def test_open_buys_of_all_markets_share_the_money():
    async def test():
        async with still(cash_dollars=20) as server, Probe(server) as probe:
            first = await probe.placed(price=0.4, size=30)
            assert (await probe.place(market=1, price=0.4, size=21))[0] == 400
            second = await probe.placed(market=1, token=NO, price=0.4, size=20)
            assert (await probe.place(market=2, price=0.01, size=5))[0] == 400
            server.do("deposit", dollars=-5)
            orders = [await probe.order(o["orderID"]) for o in (first, second)]
            assert [o["status"] for o in orders] == ["LIVE", "CANCELED_NOT_ENOUGH_BALANCE"]
            agrees(server)

    run(test())


def test_everybody_elses_flow_is_played_and_our_orders_take_part():
    async def test():
        catalog = synthetic_catalog(2, hours=0.25, category="sports")
        async with still(catalog, tier="elite") as server, Probe(server) as probe:
            server.pass_time(30)
            placed = []
            for market in (0, 1):
                bid, ask = server.venue.markets[market].book.best()
                placed.append(await probe.placed(market=market, price=bid / 1e4, size=200, post_only=True))
                await probe.placed(market=market, token=NO, price=1 - ask / 1e4, size=200, post_only=True)
            for _ in range(60):
                server.pass_time(5)
                assert server.venue.unexplained() == []
            trades = agrees(server)["trades"]
            assert trades and all(trade["trader_side"] == "MAKER" for trade in trades)
            own = {order["orderID"] for order in placed}
            assert own & {row["order_id"] for trade in trades for row in trade["maker_orders"]}
            kinds = {
                (row["side"] == trade["side"], row["asset_id"] == trade["asset_id"])
                for trade in trades
                for row in trade["maker_orders"]
            }
            assert kinds == {(True, False), (False, True)}  # mints or merges, and swaps
            server.pass_time(1_000)
            assert all(market.status == "resolved" for market in server.venue.markets)
            assert agrees(server)["open_orders"] == []

    run(test())


def test_a_recorded_trade_takes_from_others_what_we_did_not_get():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = await probe.placed(price=0.48, size=50)  # behind the hundred that rest there
            server.do("take", market="plain-0", taker="ask", price="0.48", shares="120")
            assert (await probe.order(order["orderID"]))["size_matched"] == "20"
            [trade] = agrees(server)["trades"]
            assert trade["size"] == "120"
            assert [row["matched_amount"] for row in trade["maker_orders"]] == ["100", "20"]
            book = await probe.get("/book", token_id=server.venue.markets[0].tokens[YES])
            assert book["bids"][-1] == {"price": "0.48", "size": "30"}
            server.do("level", market="plain-0", side="bid", price="0.48", shares="70")
            server.do("level", market="plain-0", side="bid", price="0.48", shares="0")
            book = await probe.get("/book", token_id=server.venue.markets[0].tokens[YES])
            assert book["bids"][-1] == {"price": "0.48", "size": "30"}

    run(test())


def test_a_budget_leaves_less_than_a_share_unspent():
    venue = bare()
    market = venue.markets[0]
    for price in (5_200, 5_300):
        venue.crowd_level(market, ASK, price, 100 * MICRO)
    account = venue.accounts[venue.owner_of[OWNERS[0]]]
    order = Order(
        "o", OWNERS[0], account, market, YES, "BUY", 5_500, 0, "FOK", venue.now_ns, budget=52_000_001
    )  # fmt: skip
    [trade] = venue.enter(order)
    assert (trade.price, trade.size, order.paid) == (5_200, 100 * MICRO, 52_000_000)


def test_what_a_recorded_trade_took_is_not_taken_again_by_its_level():
    venue = bare()
    market = venue.markets[0]
    venue.crowd_level(market, BID, 4_700, 100 * MICRO)
    venue.crowd_trade(market, ASK, 4_700, 30 * MICRO)
    venue.crowd_level(market, BID, 4_700, 70 * MICRO)
    assert market.book.others(BID, 4_700) == 70 * MICRO
    account = venue.accounts[venue.owner_of[OWNERS[0]]]
    venue.enter(
        Order("o", OWNERS[0], account, market, YES, "BUY", 4_800, 20 * MICRO, "GTC", venue.now_ns)
    )  # fmt: skip
    venue.crowd_level(market, BID, 4_800, 100 * MICRO)
    venue.crowd_trade(market, ASK, 4_800, 30 * MICRO)
    venue.crowd_level(market, BID, 4_800, 70 * MICRO)
    assert venue.orders["o"].matched == 20 * MICRO
    assert market.book.others(BID, 4_800) == 90 * MICRO  # ours came first, so theirs is still there
    venue.crowd_level(market, BID, 4_800, 40 * MICRO)
    assert market.book.others(BID, 4_800) == 60 * MICRO


def test_a_level_of_others_that_crosses_us_trades_with_us():
    async def test():
        async with still() as server, Probe(server) as probe:
            order = await probe.placed(token=NO, price=0.49, size=30)  # an ask of YES at 0.51
            server.do("level", market="plain-0", side="bid", price="0.51", shares="40")
            assert (await probe.order(order["orderID"]))["status"] == "MATCHED"
            assert server.venue.markets[0].book.best() == (5_100, 5_200)
            assert server.venue.markets[0].book.totals[BID][5_100] == 10_000_000
            agrees(server)

    run(test())
