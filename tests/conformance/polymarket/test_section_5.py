"""Section 5: one book of two tokens, the three kinds of matches, pairs, redemption."""

from __future__ import annotations

import pytest

from conformance.polymarket.bench import CONTRACT, accepted, book_of, catalog, desk, live, until
from conformance.polymarket.rows import Unused, row
from conformance.polymarket.trade import MONEY, Books, batch, filled, final, lone, order, other_trader, stock
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from pr3dict.risk.exposure import Exposure, OrderExposure
from pr3dict.risk.gate import Gate, MarketFacts, Portfolio, Refusal, Wish
from pr3dict.risk.limits import RiskConfig
from standins.polymarket import MarketSpec
from standins.polymarket.probe import Probe
from standins.polymarket.values import NO, PUSD, YES

UNUSED = (
    Unused("Holding rewards", "a few markets pay them by themselves; nothing has to be done for them"),
    Unused("Taker rebates by volume", "we make"),
)
NEVER = {"mine_s": [600, 600]}


@row("5.1", "Both tokens tell one book: a bid for YES at p is an ask for NO at 1 - p, and counts once.")
def test_one_book():
    async def body(t):
        await accepted(t, 1, price=4_900, size=7 * CONTRACT)
        life = t.lives[0]
        yes, no = await t.wire.rest.book(life.yes), await t.wire.rest.book(life.no)
        mirrored = {(10_000 - int(x.price), int(x.size)) for x in no.asks}
        assert {(int(x.price), int(x.size)) for x in yes.bids} == mirrored
        assert (4_900, 7 * CONTRACT) in mirrored
        await until(lambda: book_of(t)[0].get(4_900) == 7 * CONTRACT)
        assert book_of(t)[0] == dict(mirrored)

    live(body)


@row("5.2", "A quote of both sides without inventory is two purchases, which lock b + (1 - a) a contract.")
def test_a_two_sided_quote():
    async def body(t):
        await batch(t, {"price": 4_900}, {"side": d.ASK, "price": 5_100})
        await t.ear.until(e.Accepted, 2)
        rests = {(o.action, o.token, o.price) for o in t.server.venue.open.values()}
        assert rests == {("BUY", YES, 4_900), ("BUY", NO, 4_900)}
        locked = sum(each.reserved() for each in t.server.venue.open.values())
        assert locked == 10 * (490_000 + 490_000)

    live(body)


@row(
    "5.3",
    "What is held is sold instead: a sale of YES takes the place of a purchase of NO and costs no cash.",
)
def test_a_sale_needs_no_cash():
    async def body(t):
        t.server.do("split", market="plain-0", shares="10")
        t.server.do("deposit", dollars=-9_990)
        assert (await t.wire.rest.balance()).balance == 0
        await accepted(t, 1, side=d.ASK, price=5_100, sell=True)
        [sale] = t.server.venue.open.values()
        assert (sale.action, sale.token, sale.price) == ("SELL", YES, 5_100)
        t.place(2, side=d.ASK, price=5_100)
        assert (await t.ear.until(e.Refused, order_id=2)).why == "no_cash"

    live(body)


# (our order, what the other does: token, side, price of his token; what we hold after it)
MAKES = {
    "complementary": ({"price": 4_900}, (YES, "SELL", 0.49), (10, 0)),
    "mint": ({"price": 4_900}, (NO, "BUY", 0.51), (10, 0)),
    "mint_no": ({"side": d.ASK, "price": 5_100}, (YES, "BUY", 0.51), (0, 10)),
    "merge": ({"side": d.ASK, "price": 5_100, "sell": True}, (NO, "SELL", 0.49), (-10, 0)),
    "merge_no": ({"side": d.BID, "price": 4_900, "sell": True}, (YES, "SELL", 0.49), (0, -10)),
}


@row("5.4", "A maker's fill is our own entry of the trade, whether tokens change hands, are made or burned.")
@pytest.mark.parametrize("kind", MAKES)
def test_makers(kind):
    ours, (token, side, price), moved = MAKES[kind]

    async def body(t):
        async with other_trader(t.server, plain_0="30") as other:
            books = Books(t)
            held = 30 if "sell" in ours else 0
            if held:
                await stock(t, books, held)
            books.send(order(1, size=10 * CONTRACT, **ours))
            await t.ear.until(e.Accepted, order_id=1)
            await other.placed(token=token, side=side, price=price, size=10)
            [fill] = await filled(t, 10 * CONTRACT)
            given = {"sell": False, "side": d.BID, **ours}
            assert (fill.side, fill.sell, fill.price) == (given["side"], given["sell"], given["price"])
            assert fill.maker and fill.fee_micros == 0
            assert books.held() == tuple((held + n) * CONTRACT for n in moved)
            await final(t)
            await books.agree()

    live(body, speed=10.0)


TAKES = {
    "complementary": ({"price": 5_100}, (YES, "SELL", 0.51), (10, 0)),
    "mint": ({"price": 5_100}, (NO, "BUY", 0.49), (10, 0)),
    "merge": ({"side": d.ASK, "price": 4_900, "sell": True}, (NO, "SELL", 0.51), (-10, 0)),
    "complementary_no": ({"side": d.ASK, "price": 4_900}, (NO, "SELL", 0.51), (0, 10)),
}


@row("5.5", "A taker's price is that of the order that he took, or what it leaves of a dollar.")
@pytest.mark.parametrize("kind", TAKES)
def test_takers(kind):
    ours, (token, side, price), moved = TAKES[kind]

    async def body(t):
        async with other_trader(t.server, plain_0="30") as other:
            books = Books(t)
            held = 30 if "sell" in ours else 0
            if held:
                await stock(t, books, held)
            await other.placed(token=token, side=side, price=price, size=10)
            books.send(order(1, size=10 * CONTRACT, tif=d.LIMIT, **ours))
            [fill] = await filled(t, 10 * CONTRACT)
            assert (
                not fill.maker and fill.price == ours["price"] and fill.fee_micros == 99_960
            )  # 10 x 0.04 x 0.51 x 0.49
            assert books.held() == tuple((held + n) * CONTRACT for n in moved)
            await final(t)
            await books.agree()

    live(body, speed=10.0)


@row("5.6", "One order that takes several of ours is one fill for each, at that order's own price.")
def test_several_of_ours():
    async def body(t):
        lone(t)
        await batch(t, {"price": 4_900}, {"price": 4_800}, {"price": 4_900, "size": 5 * CONTRACT})
        await t.ear.until(e.Accepted, 3)
        async with other_trader(t.server) as other:
            await other.placed(token=NO, side="BUY", price=0.52, size=20)
            await until(lambda: sum(f.size for f in t.ear.of(e.Filled)) == 20 * CONTRACT)
            told = {(f.order_id, f.price, f.size // CONTRACT) for f in t.ear.of(e.Filled)}
            assert told == {(1, 4_900, 10), (3, 4_900, 5), (2, 4_800, 5)}
            assert len({f.trade_id for f in t.ear.of(e.Filled)}) == 3

    live(body)


@row(
    "5.7", "A taker's order that meets several prices gets each of them, and never a worse one than its own."
)
def test_better_prices():
    async def body(t):
        books = Books(t)
        books.send(order(1, 5_400, 250 * CONTRACT, tif=d.LIMIT))
        fills = await filled(t, 250 * CONTRACT)
        assert {(f.price, f.size // CONTRACT) for f in fills} == {(5_200, 100), (5_300, 100), (5_400, 50)}
        assert all(f.price <= 5_400 for f in fills)
        await final(t)
        await books.agree()

    live(body)


@row("5.8", "When both sides of a quote fill, what is held is a pair, worth a dollar: the spread is earned.")
def test_both_sides():
    async def body(t):
        books = Books(t)
        before = books.account.cash_micros
        books.send(order(1, 4_900, 10 * CONTRACT))
        books.send(order(2, 5_100, 10 * CONTRACT, side=d.ASK))
        await t.ear.until(e.Accepted, 2)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        t.server.do("take", market="plain-0", taker="bid", price="0.51", shares="10")
        await filled(t, 10 * CONTRACT, 1)
        await filled(t, 10 * CONTRACT, 2)
        assert books.held() == (10 * CONTRACT, 10 * CONTRACT)
        assert books.account.cash_micros + 10 * 1_000_000 - before == 10 * 20_000
        await final(t)
        await books.agree()

    live(body)


@row("5.9", "No order leaves that would meet one of our own, whichever tokens the two name.")
def test_own_orders_never_meet():
    gate = Gate(RiskConfig())
    facts = MarketFacts(
        status=d.ACTIVE, min_size=5 * CONTRACT, lot=10_000, on_grid=lambda _: True, fair_micros=500_000,
        book_age_ns=0, held=False, price_band_micros=0, nets_positions=False,
    )  # fmt: skip
    cash = Portfolio(killed=False, halted=False, cash_micros=10**10, locked_micros=0)
    for sells in (False, True):  # a purchase of NO at 0.48, and a sale of YES at 0.52
        ours = OrderExposure(d.ASK, sells, 5_200, 10 * CONTRACT)
        exposure = Exposure(yes_contracts=20 * CONTRACT, no_contracts=0, orders=(ours,))
        for price, meets in ((5_100, False), (5_200, True), (5_300, True)):
            wish = Wish(9, 0, d.BID, False, price, 10 * CONTRACT, d.POST_ONLY)
            found = gate.approve(0, wish, facts, exposure, cash)
            assert (isinstance(found, Refusal) and found.code == "own_cross") is meets


@row("5.10", "Should two orders of ours meet all the same, both fills are told, and the money adds up.")
def test_a_trade_with_ourselves():
    async def body(t):
        lone(t)
        books = Books(t)
        books.send(order(1, 5_200, 10 * CONTRACT, side=d.ASK))
        await t.ear.until(e.Accepted, order_id=1)
        books.send(order(2, 5_200, 10 * CONTRACT, tif=d.LIMIT))
        [made], [took] = await filled(t, 10 * CONTRACT, 1), await filled(t, 10 * CONTRACT, 2)
        assert made.maker and not took.maker and made.trade_id != took.trade_id
        assert books.held() == (10 * CONTRACT, 10 * CONTRACT)
        await final(t)
        await books.agree()

    live(body)


@row("5.11", "An order that the wallet no longer pays for is cancelled by the venue; we hear why.")
def test_unsupported_orders():
    async def body(t):
        await accepted(t, 1, price=4_000, size=100 * CONTRACT)
        await accepted(t, 2, price=4_100, size=100 * CONTRACT)
        t.server.do("deposit", dollars=-9_950)
        closed = await t.ear.until(e.Closed, order_id=2)
        assert (closed.why, closed.filled) == ("no_cash", 0)
        assert [o.price for o in t.server.venue.open.values()] == [4_000]

    live(body)


@row("5.12", "What all open orders of all markets lock is not there for another one.")
def test_cash_is_shared():
    async def body(t):
        t.server.do("deposit", dollars=-9_990)
        await accepted(t, 1, price=4_000, size=20 * CONTRACT)
        t.place(2, market=1, price=4_000, size=20 * CONTRACT)
        assert (await t.ear.until(e.Refused, order_id=2)).why == "no_cash"
        t.wire.send(0, [c.Cancel(order_id=1, market=0)])
        await t.ear.until(e.Closed, order_id=1)
        await accepted(t, 3, market=1, price=4_000, size=20 * CONTRACT)

    live(body)


@row(
    "5.13",
    "Tokens of a trade that is not confirmed can't be sold yet: the refusal says that they are not held.",
)
def test_only_confirmed_tokens_are_sold():
    async def body(t):
        await accepted(t, 1, price=4_900)
        t.server.do("take", market="plain-0", taker="ask", price="0.49", shares="10")
        await filled(t, 10 * CONTRACT)
        t.place(2, side=d.ASK, price=6_000, sell=True)
        assert (await t.ear.until(e.Refused, order_id=2)).why == "not_held"

    live(body, faults=NEVER)


@row("5.16", "What a resolved market pays counts as cash before and after it is redeemed, and once.")
@pytest.mark.parametrize(("result", "micros"), [("yes", 1_000_000), ("no", 0), ("void", 500_000)])
def test_redemption(result, micros):
    async def body(t):
        books = Books(t)
        books.send(order(1, 5_200, 100 * CONTRACT, tif=d.LIMIT))
        await filled(t, 100 * CONTRACT)
        await final(t)
        t.server.do("resolve", market="plain-0", result=result)
        assert (await t.ear.until(e.Settled)).value_micros == micros
        await books.agree()
        venue = t.server.venue
        assert venue.ledger.redeem(venue.now_ns, t.server.account.wallet, venue.markets[0]) == ""
        t.wire.holdings.touch(0)
        await books.agree()
        assert books.held() == (0, 0)

    live(body, speed=60.0)


@row(
    "5.17", "What somebody else does to the wallet (a split, a conversion of NO) shows in positions and cash."
)
def test_by_another_hand():
    async def body(t):
        venue, wallet = t.server.venue, t.server.account.wallet
        fields = [m for m in venue.markets if m.neg_risk]
        for market in fields:
            t.server.do("split", market=market.spec.slug, shares="20")
        assert venue.ledger.convert(venue.now_ns, wallet, fields, 0b11, 20 * CONTRACT) == ""
        for life in t.lives:
            t.wire.holdings.touch(life.listing.market)
        t.wire.send(0, list(MONEY))
        read = await t.ear.until(e.PositionsRead)
        rows = [t.wire.lives.names[m.spec.condition] for m in fields]
        held = {p.market: (p.yes_contracts, p.no_contracts) for p in read.positions}
        assert held == {row: (20 * CONTRACT, 0) for row in rows}
        cash = await t.ear.until(e.BalanceRead)
        assert cash.cash_micros == 10_000_000_000 - 2 * 20_000_000 + 20_000_000

    live(body, count=4)


@row("5.18", "A position of the second protocol is settled by its own exchange and held under its own kind.")
def test_second_protocol():
    async def body(t):
        [life] = t.lives
        books = Books(t)
        books.send(order(1, 5_200, 10 * CONTRACT, tif=d.LIMIT))
        await filled(t, 10 * CONTRACT)
        await final(t)
        assert t.server.venue.markets[0].exchange == "v3"
        held = await t.wire.rest.balance("CONDITIONAL-V2", life.yes)
        assert held.balance == 10 * CONTRACT
        await books.agree()

    live(body, catalog=catalog(MarketSpec("later", "later", version="v2")))


@row("5.19", "A wallet whose allowance is missing trades nothing; no approval is ever sent by itself.")
def test_no_approvals():
    async def body(server, desk):
        server.do("approve", approved=False)
        _, answer, events = await desk.place(1)
        assert events[0].why == "no_cash" and "allowance" in answer.outcome.text
        assert set((await desk.rest.balance()).allowances.values()) == {0}
        assert server.requests["rpc"] == server.requests["submit"] == 0
        server.do("approve")
        _, _, events = await desk.place(2)
        assert isinstance(events[0], e.Accepted)

    desk(body)


@row("5.20", "The venue's own books add up after trades of every kind: no dollar and no pair from nowhere.")
def test_nothing_from_nowhere():
    async def body(t):
        t.server.do("split", market="plain-0", shares="50")
        async with other_trader(t.server, plain_0="50") as other, Probe(t.server, nonce=0):
            for number, (ours, (token, side, price), _) in enumerate(MAKES.values(), 1):
                await accepted(t, number, **ours)
                await other.placed(token=token, side=side, price=price, size=10)
                await filled(t, 10 * CONTRACT, number)
            await final(t)
            truth = t.server.do("truth")
            assert truth["unexplained"] == []
            assert t.server.venue.ledger.balances[t.server.account.wallet][PUSD] > 0

    live(body)
