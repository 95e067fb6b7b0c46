"""Section 2: prices, sizes, grids, floors, directions."""

from __future__ import annotations

import json

import pytest

from conformance.kalshi.bench import (
    CONTRACT,
    T0,
    accepted,
    catalog,
    changed,
    heard,
    labelled,
    listening,
    live,
    lives_at,
    place,
    rows_of,
    say,
    served,
    statuses,
    until,
)
from conformance.kalshi.rows import row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.frames import read_frame, side_of
from pr3dict.venues.kalshi.numbers import Money, Price, Size, read_number, size_text
from standins.kalshi import MarketSpec

ONE = "KXS-1-A"


@row("2.1", "Decimal texts become integers exactly: prices in 1/10,000, sizes and money in millionths.")
def test_exact_numbers():
    cases = (
        (Price, "0.0001", 1),
        (Price, "1.0000", 10_000),
        (Size, "0.01", 10_000),
        (Money, "-0.000001", -1),
    )
    for kind, text, value in cases:
        assert read_number(kind, text) == value
    for kind, bad in (
        (Price, 0.45),
        (Price, "0.00001"),
        (Size, 5),
        (Size, "-1.00"),
        (Money, "1e2"),
        (Price, ""),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - msgspec's hook may raise nothing else
            read_number(kind, bad)


@row(
    "2.2",
    "Sizes go in steps of 0.01 contract: finer orders never leave, fractional fills are booked exactly.",
)
def test_hundredths():
    with pytest.raises(DataError, match=r"0\.01"):
        size_text(5_000)

    async def body(server, ear, wire):
        wire.send(0, [place(wire, 1, size=5_000)])
        assert (await ear.until(e.NotSent)).order_id == 1
        await accepted(ear, wire, place(wire, 2, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="0.37")
        assert (await ear.until(e.Filled)).size == 370_000

    live(body)


@row("2.3", "Price and count of an order go out as decimal texts, never as JSON numbers.")
def test_texts_out():
    async def body(server, ear, wire):
        with listening(server) as heard_:
            await accepted(ear, wire, place(wire, 1, size=5_500_000))
            wire.send(0, [c.Reduce(order_id=1, market=0, remaining=2_000_000)])
            await ear.until(e.Reduced)
        bodies = [h.body for h in heard_ if h.method == "POST"]
        assert (bodies[0]["price"], bodies[0]["count"]) == ("0.4500", "5.50")
        assert bodies[1]["reduce_to"] == "2.00"

    live(body)


@row("2.4", "Answers to orders are read by their own names, without the endings that lists use.")
def test_answer_names():
    async def body(server, ear, wire):
        changed(
            server, "create", lambda body: {**body, "fill_count_fp": "9.00", "remaining_count_fp": "0.00"}
        )
        await accepted(ear, wire, place(wire, 1))
        assert ear.of(e.Accepted)[0].filled == 0 and not ear.of(e.Closed)
        changed(server, "create", lambda body: {k: v for k, v in body.items() if k != "fill_count"})
        wire.send(0, [place(wire, 2)])
        assert (await ear.until(e.AnswerLost)).order_id == 2

    live(body)


@row("2.5", "Whole-cent and whole-contract fields of the past are never read in place of today's.")
def test_legacy_numbers():
    old = {"trade_id": "t", "order_id": "o", "market_ticker": T0, "yes_price": 45, "no_price": 55, "count": 4}
    old |= {"is_taker": False, "side": "yes", "action": "buy", "fee_cost": "0.00"}
    with pytest.raises(DataError, match="yes_price_dollars"):
        read_frame("fill", json.dumps({"type": "fill", "msg": old}).encode())

    async def body(server, rest):
        legacy = {
            "yes_bid": 99,
            "tick_size": 5,
            "response_price_units": "usd_cent",
            "liquidity_dollars": "1.00",
        }
        changed(server, "market", lambda body: {"market": body["market"] | legacy})
        assert int((await rest.market(T0)).yes_bid_dollars) == 4800

    served(body)


@row(
    "2.6", "The amounts that are still whole numbers are read in their own unit: cents, or hundredths of one."
)
def test_whole_amounts():
    async def body(server, ear, wire):
        server.do("take", ticker=T0, taker="bid", price="0.5200", contracts="1")
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="2")
        await ear.until(e.Filled)
        balance = await wire.rest.balance()
        assert 0 <= int(balance.balance_dollars) - int(balance.balance) < 10_000
        server.do("determine", ticker=T0, result="yes")
        server.do("finalize", ticker=T0)
        (paid,) = await wire.rest.settlements()
        assert (int(paid.revenue), int(paid.value)) == (2_000_000, 1_000_000)
        (programme,) = await wire.rest.incentive_programs()
        assert int(programme.period_reward) == 100_000_000  # 1,000,000 hundredths of a cent are 100 dollars

    live(body)


@row("2.7", "`price_ranges` alone make the grid; its label may be new, or wrong.")
def test_ranges_win():
    async def body(server, rest):
        for label in ("brand_new_label", "linear_cent"):
            changed(
                server,
                "markets",
                lambda body, label=label: {
                    **body,
                    "markets": [m | {"price_level_structure": label} for m in body["markets"]],
                },
            )
            (life,) = await lives_at(rest, server.now_ns())
            assert life.listing.grids[0].contains(501) is False and life.listing.grids[0].contains(510)

    served(body, catalog=labelled("deci_cent"))


def _steps(label: str) -> dict[int, int]:
    """Step of a grid by where it begins, as the venue tells it."""
    fixed = {
        "linear_cent": {0: 100},
        "deci_cent": {0: 10},
        "tapered_deci_cent": {0: 10, 1000: 100, 9000: 10},
        "center_deci_edge_centi_cent": {0: 1, 100: 10, 9900: 1},
    }
    if label in fixed:
        return fixed[label]
    words, sizes = label.split("_"), {"whole": 100, "half": 50, "quint": 20, "deci": 10, "centi": 1}
    return {0: sizes[words[3]], 1000: sizes[words[1]], 9000: sizes[words[3]]}


def check_grid(label: str) -> None:
    """Every price of the grid and none beside it is in our listing; the exchange takes and refuses alike."""
    steps = _steps(label)
    starts = sorted(steps)
    prices = {
        p
        for start, end in zip(starts, [*starts[1:], 10_000], strict=True)
        for p in range(start, end + 1, steps[start])
    } - {0, 10_000}

    async def body(server, ear, wire):
        grid = wire.lives[ONE].listing.grids[0]
        assert set(grid.prices()) == prices
        for number, start in enumerate(starts, 1):
            await accepted(
                ear, wire, place(wire, number, ONE, BID if start < 5000 else ASK, start + steps[start])
            )
        off = place(wire, 9, ONE, BID, starts[-1] - steps[starts[-2]] // 2 if len(starts) > 1 else 4550)
        if off.price not in prices:
            wire.send(0, [off])
            assert (await ear.until(e.Refused)).why == "off_grid"

    live(body, catalog=catalog(MarketSpec(ONE, "KXS-1", labels=(label,)), events=()))


@row("2.8", "The grid of whole cents is followed to the price.")
def test_linear_cent():
    check_grid("linear_cent")


@row("2.9", "The grid of tenths of a cent is followed to the price.")
def test_deci_cent():
    check_grid("deci_cent")


@row("2.10", "The tapered grid is followed: tenths of a cent outside 10 and 90 cents, cents between.")
def test_tapered():
    check_grid("tapered_deci_cent")


PAIRS = (
    "whole_half",
    "whole_quint",
    "half_half",
    "half_quint",
    "half_deci",
    "quint_quint",
    "quint_deci",
    "centi_centi",
)


@row("2.11", "Each grid with a centre and edges of its own is followed, down to a hundredth of a cent.")
@pytest.mark.parametrize("pair", PAIRS)
def test_centre_and_edge(pair):
    centre, edge = pair.split("_")
    check_grid(f"center_{centre}_edge_{edge}_cent")


@row("2.12", "The combos' grid is followed, whose edges are one cent wide.")
def test_combo_grid():
    check_grid("center_deci_edge_centi_cent")


@row("2.13", "A price of whole cents is on every grid that the program knows.")
def test_whole_cents():
    async def body(server, rest):
        for life in await lives_at(rest, server.now_ns()):
            assert all(grid.contains(cent * 100) for grid in life.listing.grids for cent in range(1, 100))

    served(body)


@row(
    "2.14", "A grid that moves live to one listed beforehand becomes the market's grid; resting orders stay."
)
def test_grid_moves():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1))
        server.do("change_grid", ticker=T0, grid=1)
        listing = wire.lives[T0].listing
        await until(lambda: len(rows_of(ear, 0, d.TICK)) > 0)
        now = listing.grids[int(rows_of(ear, 0, d.TICK)["aux"][0])]
        assert now.contains(460) and not now.contains(4550)
        assert [o["status"] for o in server.do("truth")["orders"]] == ["resting"]
        await accepted(ear, wire, place(wire, 2, price=460))

    live(body)


@row(
    "2.15",
    "On a grid that was not listed beforehand a market stays paused, also when it is activated, "
    "until it is back.",
)
def test_unlisted_grid():
    async def body(server, ear, wire):
        assert server.venue.by_ticker[ONE].spec.grids[1] not in wire.lives[ONE].listing.grids
        server.do("change_grid", ticker=ONE, grid=1)
        await ear.until(e.BookInvalid)
        assert statuses(ear, 0) == [d.ACTIVE, d.PAUSED]
        server.do("pause_market", ticker=ONE)
        server.do("activate_market", ticker=ONE)
        await until(lambda: len(statuses(ear, 0)) >= 4)
        assert statuses(ear, 0)[1:] == [d.PAUSED] * 3
        server.do("change_grid", ticker=ONE, grid=0)
        await heard(ear, 0, d.TICK, 0)
        await until(lambda: statuses(ear, 0)[-1] == d.ACTIVE)

    live(
        body,
        catalog=catalog(MarketSpec(ONE, "KXS-1", labels=("linear_cent", "center_centi_edge_centi_cent"))),
    )


@row("2.16", "A grid that moved while nothing was heard is found by the reading of the market itself.")
def test_grid_reread():
    async def body(server, ear, wire):
        market = server.venue.by_ticker[T0]
        market.grid = 1  # nobody is told
        await wire._reread((T0,))
        grid = wire.lives[T0].listing.grids[int(rows_of(ear, 0, d.TICK)["aux"][-1])]
        assert set(grid.prices()) == set(market.spec.grids[1].prices())

    live(body)


@row("2.17", "An order that a rising settlement floor takes out is closed as off the grid.")
def test_floor_takes_out():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=3000))
        server.do("raise_floor", ticker=T0, price="0.3500")
        closed = await ear.until(e.Closed)
        assert (closed.order_id, closed.why, closed.filled) == (1, "off_grid", 0)

    live(body)


@row("2.18", "No order at or below a market's settlement floor is sent, whether it was listed or told later.")
def test_floor_is_kept():
    async def body(server, ear, wire):
        server.do("raise_floor", ticker=T0, price="0.3500")
        await until(lambda: wire.lives[T0].floor == 3500)
        wire.send(0, [place(wire, 1, price=3500), place(wire, 2, price=3600)])
        assert (await ear.until(e.NotSent)).order_id == 1
        assert (await ear.until(e.Accepted)).order_id == 2
        (life,) = [x for x in await lives_at(wire.rest, server.now_ns()) if x.listing.ticker == T0]
        assert life.floor == 3500

    live(body)


@row(
    "2.19",
    "A buyer of YES is a bid and a buyer of NO an ask, at the same YES price whichever way it is said.",
)
def test_directions():
    async def body(server, ear, wire):
        with listening(server) as heard_:
            await accepted(ear, wire, place(wire, 1, side=BID, price=4500))
            await accepted(ear, wire, place(wire, 2, side=ASK, price=5500))
        assert [(h.body["side"], h.body["price"]) for h in heard_ if h.method == "POST"] == [
            ("bid", "0.4500"),
            ("ask", "0.5500"),
        ]
        orders = {o.client_order_id: o for o in await wire.rest.orders(status="resting")}
        assert (orders["conf1-2"].book_side, int(orders["conf1-2"].yes_price_dollars)) == ("ask", 5500)
        (no,) = [x for x in server.do("truth")["orders"] if x["client_order_id"] == "conf1-2"]
        assert (no["outcome_side"], no["no_price_dollars"]) == ("no", "0.4500")

    live(body)


@row(
    "2.20",
    "Either word for a direction is enough, `book_side` or `outcome_side`; without both a message is "
    "refused.",
)
def test_direction_words():
    assert [side_of("bid", None), side_of("ask", None)] == [BID, ASK]
    assert [side_of(None, "yes"), side_of(None, "no")] == [BID, ASK]
    for words in ((None, None), ("buy", None), (None, "maybe")):
        with pytest.raises(DataError):
            side_of(*words)


@row("2.21", "The direction words of the past are never read, even where they contradict today's.")
def test_legacy_words():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, side=ASK, price=5100))
        order = server.do("truth")["open_orders"][0]
        fill = {
            "trade_id": "t-1",
            "order_id": order["order_id"],
            "client_order_id": "conf1-1",
            "market_ticker": T0,
            "is_taker": False,
            "book_side": "ask",
            "outcome_side": "no",
            "yes_price_dollars": "0.5100",
            "count_fp": "1.00",
            "fee_cost": "0.0000",
            "side": "yes",
            "action": "buy",
            "purchased_side": "yes",
        }
        say(server, {"type": "fill", "sid": 4, "msg": fill})
        assert (await ear.until(e.Filled)).side == ASK
        trade = {
            "trade_id": "t-2", "market_ticker": T0, "yes_price_dollars": "0.5000", "count_fp": "1.00",
            "taker_outcome_side": "no", "taker_side": "yes",
        }  # fmt: skip
        say(server, {"type": "trade", "sid": 2, "msg": trade})
        await until(lambda: len(rows_of(ear, 0, d.TRADE)) > 0)
        assert int(rows_of(ear, 0, d.TRADE)["side"][0]) == ASK

    live(body)


@row("2.22", "A fill of an ask is booked as sold YES at the YES price, not bought NO at the NO price.")
def test_fill_price():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, side=ASK, price=5100))
        server.do("take", ticker=T0, taker="bid", price="0.5100", contracts="3")
        fill = await ear.until(e.Filled)
        assert (fill.side, fill.price, fill.size) == (ASK, 5100, 3 * CONTRACT)
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0), c.ReadPositions(venue="kalshi")])
        (again,) = (await ear.until(e.FillsRead)).fills
        assert (again.side, again.price) == (ASK, 5100)
        (held,) = (await ear.until(e.PositionsRead)).positions
        assert (held.yes_contracts, held.no_contracts) == (0, 3 * CONTRACT)

    live(body)
