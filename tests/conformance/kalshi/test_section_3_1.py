"""Section 3: market data over REST."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from conformance.kalshi.bench import (
    SECOND,
    T0,
    T1,
    T2,
    T3,
    accepted,
    anywhere,
    catalog,
    changed,
    listening,
    live,
    lives_at,
    place,
    served,
    small,
    until,
)
from conformance.kalshi.rows import Unused, row
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.runtime.kalshi_scan import _books as read_books
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.hours import trades_at
from pr3dict.venues.kalshi.rest import ReadFailedError
from standins.kalshi import EventSpec, FeeChange, MarketSpec

UNUSED = (
    Unused(
        "Filters of lists by time of creation, close, settlement or change",
        "markets are named, or taken as open",
    ),
    Unused(
        "The archive's markets, trades, candles and positions",
        "history comes from recordings; fills and orders are all that an account has to find again",
    ),
    Unused(
        "Candlesticks of many markets in one call",
        "history comes from recordings; one market's candles are enough",
    ),
    Unused("Metadata of events (pictures, colours)", "nothing is decided by it"),
    Unused("`live_data` and scores", "no model reads them; start times come from milestones"),
    Unused(
        "Combos (multivariate events and their lifecycle channel)",
        "their fair value follows from their legs, which no model works out",
    ),
    Unused(
        "Transfers between shards and balance targets",
        "money is moved by people; the program only reads what lies where",
    ),
    Unused(
        "Subaccounts (making them, transfers, netting of collateral across markets)",
        "one primary subaccount; returned collateral can leave a leg that can't be sold",
    ),
)
ET_THURSDAY_0258 = (
    int(datetime(2026, 11, 19, 7, 58, tzinfo=UTC).timestamp()) * SECOND
)  # New York is 5 h behind


@row("3.1", "Lists are read page after page until the cursor is empty.", demo=True)
def test_pages():
    async def body(account):
        pages = []
        async for page in account.rest.pages(m.Markets, "/markets", {"status": "open"}, public=True, limit=2):
            pages.append(page.markets)
            if len(pages) == 3:
                break
        tickers = [market.ticker for page in pages for market in page]
        assert len(tickers) == len(set(tickers)) and all(len(page) <= 2 for page in pages)
        if account.server is not None:
            assert len(pages) == 2 and set(tickers) == {T0, T1, T2, T3}

    anywhere(body)


@row("3.2", "Incentive programmes turn pages by a cursor of another name.")
def test_next_cursor():
    async def body(server, rest):
        pages = []
        async for page in rest.pages(m.IncentivePrograms, "/incentive_programs", {}, public=True, limit=1):
            pages += [p.market_ticker for p in page.incentive_programs]
        assert pages == [T0, T1]

    two = small()
    served(body, catalog=replace(two, programmes=(two.programmes[0], replace(two.programmes[0], ticker=T1))))


@row("3.3", "No list is asked for more entries a page than the exchange gives.")
def test_limits_of_pages():
    async def body(server, rest):
        with listening(server) as asked:
            for read in (
                rest.markets, rest.events, rest.milestones, rest.incentive_programs, rest.orders, rest.fills,
                rest.positions, rest.settlements,
            ):  # fmt: skip
                await read()
            await rest.trades(T0)
        most = {"/events": 200, "/milestones": 500, "/incentive_programs": 10_000}
        assert len(asked) == 9
        assert all(1 <= int(h.query["limit"]) <= most.get(h.path, 1000) for h in asked)
        with pytest.raises(ReadFailedError) as error:
            await rest.get(m.Markets, "/markets", public=True, query={"limit": 1001})
        assert error.value.status == 400

    served(body)


@row(
    "3.4",
    "A cursor that leads back to the first page ends the list with an error, not with repeated entries.",
)
def test_repeated_cursor():
    async def body(server, rest):
        changed(server, "markets", lambda body: body | {"cursor": "garbage"})
        with pytest.raises(DataError, match="cursor"):
            await rest.markets()

    served(body)


@row(
    "3.5", "The exchange's status is followed for the shards that our markets are on: open, paused or closed."
)
def test_status():
    async def body(server, ear, wire):
        assert (await ear.until(e.VenueStatus)).status == "open"
        shut = {"exchange_index": 3, "exchange_active": False, "trading_active": False}

        def one_shard(body):
            others = [s for s in body["exchange_index_statuses"] if s["exchange_index"] != 3]
            return body | {"exchange_index_statuses": [*others, shut]}

        changed(server, "status", one_shard)  # we trade there too
        assert (await ear.until(e.VenueStatus, 2)).status == "closed"
        del server.rewrites["status"]
        assert (await ear.until(e.VenueStatus, 3)).status == "open"
        server.do("pause_trading")
        assert (await ear.until(e.VenueStatus, 4)).status == "paused"

    live(body, speed=20.0)


@row("3.6", "A shard that we do not trade on does not stop us when it pauses.")
def test_other_shard():
    async def body(server, ear, wire):
        assert (await ear.until(e.VenueStatus)).status == "open"
        changed(
            server,
            "status",
            lambda body: (
                body
                | {
                    "exchange_index_statuses": [
                        {"exchange_index": 0, "exchange_active": True, "trading_active": True},
                        {"exchange_index": 2, "exchange_active": False, "trading_active": False},
                    ]
                }
            ),
        )
        await asyncio.sleep(0.6)
        assert [x.status for x in ear.of(e.VenueStatus)] == ["open"]

    live(body, speed=20.0, catalog=catalog(MarketSpec("KXS-1-A", "KXS-1")))


@row("3.7", "The announced time of return from a break is read.")
def test_resume_time():
    async def body(server, rest):
        server.do("pause_exchange", seconds=100.0)
        status = await rest.status()
        assert status.exchange_active is False
        assert 90 < (int(status.exchange_estimated_resume_time) - server.now_ns()) / SECOND < 101

    served(body)


@row(
    "3.8",
    "Quotes are out of the book a minute before the weekly pause, by New York's clock, summer and winter.",
)
def test_weekly_pause():
    async def body(server, ear, wire):
        assert (await ear.until(e.VenueStatus)).status == "open"
        paused = await ear.until(e.VenueStatus, 2)
        assert paused.status == "paused"
        assert -5 <= (server.now_ns() - ET_THURSDAY_0258) / SECOND - 60 < 30
        schedule = await wire.rest.schedule()
        for summer_s, winter_s in ((0, 0), (3600, 3600)):
            june = int(datetime(2026, 6, 18, 7, 0, tzinfo=UTC).timestamp()) + summer_s  # 03:00 in New York
            assert not trades_at(schedule, june * SECOND) and trades_at(
                schedule, (june - 60 - summer_s) * SECOND
            )
            december = int(datetime(2026, 12, 17, 8, 0, tzinfo=UTC).timestamp()) + winter_s
            assert not trades_at(schedule, december * SECOND)

    live(body, start_ns=ET_THURSDAY_0258, speed=60.0)


@row("3.9", "Quotes are out of the book a minute before announced maintenance, and come back after it.")
def test_maintenance():
    async def body(server, ear, wire):
        server.do("schedule_maintenance", in_s=120.0, seconds=30.0)
        wire._schedule_due_ns = 0
        assert (await ear.until(e.VenueStatus, 1)).status == "open"
        assert (await ear.until(e.VenueStatus, 2)).status == "paused"
        assert server.venue.exchange_active
        await until(lambda: ear.of(e.VenueStatus)[-1].status == "closed", 5)
        await until(lambda: ear.of(e.VenueStatus)[-1].status == "open", 5)

    live(body, start_ns=int(datetime(2026, 11, 17, 17, tzinfo=UTC).timestamp()) * SECOND, speed=60.0)


@row(
    "3.10",
    "What is read of the account is dated as of when the exchange says its lists are, not as of our request.",
)
def test_as_of():
    async def body(server, ear, wire):
        server.faults.change({"read_lag_ms": [700, 700]})
        await asyncio.sleep(1.1)  # reads of one round share a date
        wire.send(0, [c.ReadOrders(venue="kalshi")])
        read = await ear.until(e.OrdersRead)
        assert 600 * 1e6 < read.asked_ns - read.as_of_ns < 2_000 * 1e6

    live(body)


@row(
    "3.11",
    "Markets are asked for with one status, and judged by the status that each of them states.",
    demo=True,
)
def test_status_filter():
    async def body(account):
        if account.server is not None:
            account.server.do("pause_market", ticker=T0)
            changed(account.server, "markets", lambda body: body)
        found = await account.rest.markets(tickers=(T0,), status="open")
        assert all(market.status == "active" for market in found)
        if account.server is not None:
            assert [x.status for x in await account.rest.markets(status="paused")] == ["inactive"]

    anywhere(body)


@row(
    "3.12", "A market that can't be found is a failed read with its reason, and nothing is concluded from it."
)
def test_market_not_found():
    async def body(server, rest):
        with pytest.raises(ReadFailedError) as error:
            await rest.market("KXNO-1-X")
        assert error.value.status == 404

    served(body)


@row("3.13", "A book over REST is read with its best bids last and its NO bids as YES asks.")
def test_book():
    async def body(server, ear, wire):
        wire.send(0, [c.ReadBook(market=0)])
        book = await ear.until(e.BookRead)
        assert (book.bid_price, book.ask_price) == (4800, 5200)
        sides = await wire.rest.orderbook(T0)
        prices = [int(price) for price, _ in sides.yes_dollars]
        assert prices == sorted(prices) and prices[-1] == 4800
        for side in ("yes_dollars", "no_dollars"):
            changed(
                server,
                "orderbook",
                lambda body, side=side: {"orderbook_fp": body["orderbook_fp"] | {side: []}},
            )
            wire.send(0, [c.ReadBook(market=0)])
            await ear.until(e.BookRead, len(ear.of(e.BookRead)) + 1)
            book = ear.of(e.BookRead)[-1]
            assert (book.bid_price if side == "yes_dollars" else book.ask_price) == -1

    live(body)


@row(
    "3.14",
    "A book's depth is asked for as the exchange counts it: 1 for the touch, 0 for all of it.",
    demo=True,
)
def test_depth():
    async def body(account):
        page = await account.rest.get(
            m.Markets, "/markets", public=True, query={"limit": 1, "status": "open"}
        )
        ticker = page.markets[0].ticker
        touch, whole = await account.rest.orderbook(ticker, 1), await account.rest.orderbook(ticker)
        assert len(touch.yes_dollars or ()) <= 1 and len(touch.no_dollars or ()) <= 1
        assert len(whole.yes_dollars or ()) >= len(touch.yes_dollars or ())

    anywhere(body)


@row("3.15", "Trades of the tape are read at their YES price with today's word for the taker's side.")
def test_trades():
    async def body(server, rest):
        server.do("take", ticker=T0, taker="bid", price="0.5200", contracts="2.5")
        (trade,) = await rest.trades(T0)
        assert (int(trade.yes_price_dollars), int(trade.count_fp)) == (5200, 2_500_000)
        assert trade.taker_outcome_side == "yes" and trade.is_block_trade is False

    served(body)


@row("3.16", "Candles are read, also those in which nothing traded.")
def test_candles():
    async def body(server, rest):
        server.do("level", ticker=T0, side="bid", price="0.4900", contracts=5)
        now_s = server.now_ns() // SECOND
        found = await rest.candlesticks(
            "KXA", T0, start_ts=now_s - 120, end_ts=now_s + 120, period_interval=1
        )
        assert found.candlesticks and int(found.candlesticks[-1].volume_fp) == 0

    served(body)


@row(
    "3.17",
    "An event is read with its markets beside it, and lists of events with theirs inside where asked for.",
)
def test_events():
    async def body(server, rest):
        event = await rest.event("KXA-0")
        assert (event.series_ticker, event.exchange_index) == ("KXA", 0)
        nested = await rest.events(with_nested_markets=True)
        assert [[x.ticker for x in one.markets] for one in nested] == [[T0], [T1], [T2], [T3]]

    served(body)


@row("3.18", "A series is read with its fee type and multiplier; without either a market is not listed.")
def test_series():
    async def body(server, rest):
        series = await rest.series("KXB")
        assert (series.fee_type, int(series.fee_multiplier)) == ("quadratic_with_maker_fees", 1_000_000)
        changed(server, "series", lambda body: {"series": body["series"] | {"fee_multiplier": None}})
        with pytest.raises(DataError, match="fee_multiplier"):
            await rest.series("KXB")

    served(body)


@row(
    "3.19",
    "Fee changes that are announced for series and events are read, and the next look falls due with them.",
)
def test_scheduled_fees():
    async def body(server, ear, wire):
        assert {x.series_ticker for x in await wire.rest.series_fee_changes()} == {"KXA"}
        assert {x.event_ticker for x in await wire.rest.event_fee_changes()} == {"KXB-1"}
        changes = {
            x.market: (x.taker_ppm, x.maker_ppm)
            for x in [await ear.until(e.FeesChanged, k) for k in (1, 2, 3)]
        }
        assert changes == {0: (35_000, 8_750), 2: (35_000, 8_750), 1: (140_000, 35_000)}

    moves = (
        FeeChange("KXA", 30.0, "quadratic_with_maker_fees", 0.5),
        FeeChange("KXB", 40.0, "quadratic_with_maker_fees", 2.0, event="KXB-1"),
    )
    live(body, speed=60.0, catalog=replace(small(), fee_changes=moves))


@row("3.20", "Real-world start times are read; milestones are always asked for with a limit.", demo=True)
def test_milestones():
    async def body(account):
        page = await account.rest.get(m.Milestones, "/milestones", public=True, query={"limit": 3})
        for one in page.milestones:
            assert int(one.start_date) > 0 and one.id
        if account.server is not None:
            assert (await account.rest.milestone(page.milestones[0].id)).related_event_tickers == ("KXA-0",)

    anywhere(body)


@row("3.21", "Fills from before the exchange's cutoff are read from its archive.")
def test_cutoff():
    async def body(server, ear, wire):
        await accepted(ear, wire, place(wire, 1, price=4900))
        server.do("take", ticker=T0, taker="ask", price="0.4900", contracts="3")
        fill = await ear.until(e.Filled)
        kept = list(server.venue.ledger.fills)
        changed(server, "cutoff", lambda body: body | {"trades_created_ts": "2026-12-31T00:00:00Z"})
        changed(server, "fills", lambda body: body | {"fills": []})
        changed(server, "old_fills", lambda body: body | {"fills": kept})
        wire.send(0, [c.ReadFills(venue="kalshi", since_ns=0)])
        assert [x.trade_id for x in (await ear.until(e.FillsRead)).fills] == [fill.trade_id]

    live(body)


@row(
    "3.22",
    "A market without a field that trading needs is refused; fields that we do not know do no harm.",
    demo=True,
)
def test_market_fields():
    async def body(account):
        page = await account.rest.get(m.Markets, "/markets", public=True, query={"limit": 100})
        assert all(market.price_ranges and market.close_time for market in page.markets)
        if account.server is None:
            return
        for name in (
            "ticker",
            "event_ticker",
            "status",
            "open_time",
            "close_time",
            "price_ranges",
            "market_type",
        ):
            changed(account.server, "market", lambda body, name=name: {
                "market": {k: v for k, v in body["market"].items() if k != name}})  # fmt: skip
            with pytest.raises(DataError, match=name):
                await account.rest.market(T0)
        changed(account.server, "market", lambda body: {"market": body["market"] | {"brand_new": {"x": [1]}}})
        assert (await account.rest.market(T0)).ticker == T0

    anywhere(body)


@row("3.23", "What a market belongs to is read from its fields, never from its ticker.")
def test_tickers_are_not_parsed():
    async def body(server, rest):
        (life,) = await lives_at(rest, server.now_ns())
        assert (life.listing.ticker, life.listing.event_id, life.shard) == ("ODD", "OTHER-9", 2)

    odd = catalog(MarketSpec("ODD", "OTHER-9", exchange_index=2), events=(EventSpec("OTHER-9", "THIRD"),))
    served(body, catalog=odd)


@row("3.24", "Markets of an event that excludes all but one outcome are known as such.")
def test_exclusive():
    async def body(server, rest):
        lives = await lives_at(rest, server.now_ns())
        assert [life.listing.exclusive for life in lives] == [True, True, False]
        assert len({life.listing.event_id for life in lives[:2]}) == 1

    three = (MarketSpec("A", "X"), MarketSpec("B", "X"), MarketSpec("C", "Y"))
    served(body, catalog=catalog(*three, events=(EventSpec("X", "S", mutually_exclusive=True),)))


@row("3.43", "Books of many markets are read up to a hundred a call, each ticker a parameter of its own.")
def test_many_books():
    async def body(server, rest):
        tickers = [market.spec.ticker for market in server.venue.markets]
        with listening(server) as asked:
            found = await read_books(rest, tickers)
        assert len(asked) == 2 and all(h.path == "/markets/orderbooks" for h in asked)
        assert set(found) == set(tickers) and all(int(x.yes_dollars[-1][0]) == 4800 for x in found.values())

    served(body, catalog=catalog(*(MarketSpec(f"M{k}", "E") for k in range(120))))
