"""Trades and orders in the account's own words: whose they are, what they moved, told once in any order."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain import events as e
from pr3dict.domain.commands import Place
from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import polymarket_terms
from pr3dict.domain.market import polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.account_frames import AccountFrames, Stranger, Us
from pr3dict.venues.polymarket.account_models import Trade, TradeState
from pr3dict.venues.polymarket.frames import OrderFrame, TradeFrame, kind_of, read_frame
from pr3dict.venues.polymarket.markets import Life, Lives
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.own_orders import Known, OwnOrder, OwnOrders
from pr3dict.venues.polymarket.settling import Moved, Settling

YES, NO = "7132", "5211"
OURS, WALLET = "our-key", "0xOurWallet"
NOW_NS = 1_763_800_002_000_000_000
MINE = "0x8fc9"


def life(row: int = 0) -> Life:
    listing = e.Listed(
        market=row, venue="polymarket", ticker="0xc", event_id="e", exclusive=False, title="t",
        grids=(polymarket_grid(100),), min_size=5_000_000, lot=10_000, fee_kind="polymarket",
        taker_ppm=40_000,
        nets_positions=False, reduce_in_place=False,
    )  # fmt: skip
    return Life(
        listing=listing, condition="0xc", yes=YES, no=NO, neg_risk=False, tick=100, grid=0,
        fees=polymarket_terms(40_000, 250_000),
    )  # fmt: skip


def frames(*orders: tuple[int, str, dict[str, Any]]) -> AccountFrames:
    own = OwnOrders()
    for order_id, digest, more in orders:
        given_ = {"market": 0, "side": d.BID, "price": 5_300, "size": 100_000_000, "tif": d.POST_ONLY}
        order = OwnOrder(Place(order_id=order_id, **{**given_, **more}))
        order.digest = digest
        own.add(order)
    return AccountFrames(own, Lives([life()]), Settling(), Us(OURS, WALLET))


def row(**more: Any) -> dict[str, Any]:
    base = {"order_id": MINE, "owner": OURS, "maker_address": "0xourwallet", "matched_amount": "12.5"}
    return {**base, "price": "0.53", "asset_id": YES, "outcome": "Yes", "side": "BUY", **more}


def trade(*rows: dict[str, Any], **more: Any) -> TradeFrame:
    body = {
        "event_type": "trade", "id": "t1", "taker_order_id": "0xTaker", "market": "0xc", "asset_id": NO,
        "side": "BUY", "size": "12.5", "price": "0.47", "status": "MATCHED", "owner": "taker-key",
        "match_time": "1763800001", "trader_side": "MAKER", "maker_orders": list(rows), **more,
    }  # fmt: skip
    found = read_frame("trade", json.dumps(body).encode())
    assert isinstance(found, TradeFrame)
    return found


def test_only_our_own_row_counts_whatever_the_taker_did() -> None:
    (fill,) = frames((5, MINE, {})).trade(
        trade(row(order_id="0xelse", owner="x", maker_address="0xy"), row())
    )
    assert (fill.order_id, fill.side, fill.sell, fill.price, fill.size) == (
        5,
        d.BID,
        False,
        5_300,
        12_500_000,
    )
    assert (fill.maker, fill.final, fill.fee_micros, fill.exch_ns) == (True, False, 0, 1_763_800_001 * 10**9)


@pytest.mark.parametrize(
    ("asset", "side", "price", "want"),
    [
        (YES, "BUY", "0.53", (d.BID, False, 5_300)),
        (YES, "SELL", "0.53", (d.ASK, True, 5_300)),
        (NO, "BUY", "0.47", (d.ASK, False, 5_300)),
        (NO, "SELL", "0.47", (d.BID, True, 5_300)),
    ],
)
def test_a_row_in_its_own_token(asset: str, side: str, price: str, want: tuple[int, bool, int]) -> None:
    (fill,) = frames((5, MINE, {})).trade(trade(row(asset_id=asset, side=side, price=price)))
    assert (fill.side, fill.sell, fill.price) == want


def test_what_we_took_is_one_exact_fill_for_each_order_that_we_took() -> None:
    mint = row(order_id="0xa", owner="a", maker_address="0xa", asset_id=NO, price="0.48", matched_amount="10")
    swap = row(
        order_id="0xb", owner="b", maker_address="0xb", side="SELL", price="0.53", matched_amount="2.5"
    )
    told = trade(
        mint, swap, taker_order_id=MINE, asset_id=YES, price="0.522", owner=OURS, trader_side="TAKER"
    )
    fills = frames((5, MINE, {"tif": d.IOC})).trade(told)
    assert [(f.price, f.size, f.maker) for f in fills] == [
        (5_200, 10_000_000, False),
        (5_300, 2_500_000, False),
    ]
    assert fills[0].fee_micros == 99_840  # 10 x 0.04 x 0.52 x 0.48
    assert len({f.trade_id for f in fills}) == 2


def test_parts_that_do_not_add_up_are_refused() -> None:
    told = trade(
        row(owner="a", maker_address="0xa", matched_amount="10"), taker_order_id="0x8fc8", owner=OURS
    )
    with pytest.raises(Stranger):
        frames().trade(told)
    with pytest.raises(DataError, match="add up"):
        frames().trade(told, sure=True)
    with pytest.raises(DataError, match="no order"):
        frames((5, MINE, {})).trade(trade(taker_order_id=MINE))


def test_a_stranger_of_ours_is_asked_for_and_then_foreign() -> None:
    known = frames()
    with pytest.raises(Stranger) as caught:
        known.trade(trade(row()))
    assert caught.value.digest == MINE
    (fill,) = known.trade(trade(row()), sure=True)
    assert fill.order_id == 0
    assert frames().trade(trade(row(asset_id="9"), asset_id="9")) == ()  # a market that is not ours


STATES = ["MATCHED", "MATCHED", "MINED", "RETRYING", "TRADE_STATUS_CONFIRMED", "SOMETHING_NEW"]


def test_every_order_of_messages_books_once_and_ends_final() -> None:
    for order in set(permutations(STATES)):
        known = frames((5, MINE, {}))
        told = [event for state in order for event in known.trade(trade(row(), status=state))]
        assert [type(event) for event in told[:1]] == [e.Filled]
        assert sum(isinstance(event, e.Filled) for event in told) == 1
        final = [event for event in told if isinstance(event, e.FillFinal)]
        assert told[0].final != bool(final) and len(final) <= 1 and len(known.settling) == 0


def test_failures_take_back_also_when_they_come_first_or_after_the_end() -> None:
    known = frames((5, MINE, {}))
    told = known.trade(trade(row(), status="FAILED"))
    assert [type(event) for event in told] == [e.Filled, e.FillVoided] and not told[0].final
    assert known.trade(trade(row(), status="MINED")) == known.trade(trade(row(), status="FAILED")) == ()
    assert isinstance(
        known.trade(trade(row(), status="CONFIRMED"))[0], e.FillFinal
    )  # a contradiction is told


def test_what_is_not_on_the_chain_yet_moves_both_tokens_and_cash() -> None:
    known = frames((5, MINE, {}))
    known.trade(trade(row(), id="a"))
    known.trade(trade(row(asset_id=NO, side="SELL", price="0.40"), id="b"))
    known.trade(trade(row(), id="c", status="MINED"))
    moved = Moved()
    for fill in known.settling.off_chain():
        moved.add(fill)
    assert (moved.yes_contracts, moved.no_contracts) == (12_500_000, -12_500_000)
    assert moved.cash_micros == -6_625_000 + 5_000_000
    assert sum(m.yes_contracts for m in known.settling.pending(0)) == 25_000_000


@settings(max_examples=50)
@given(st.booleans(), st.booleans(), st.integers(1, 9_999), st.integers(1, 10**9))
def test_cash_of_a_fill_is_that_of_its_own_token(bid: bool, sell: bool, price: int, size: int) -> None:
    fill = e.Filled(
        trade_id="t",
        order_id=1,
        market=0,
        side=d.BID if bid else d.ASK,
        sell=sell,
        price=price,
        size=size,
        exch_ns=1,
    )
    moved = Moved()
    moved.add(fill)
    own = price if bid != sell else 10_000 - price
    paid = -(own * size // 10_000) if sell else -(-own * size // 10_000)
    assert moved.cash_micros == -paid
    assert moved.yes_contracts + moved.no_contracts == (-size if sell else size)
    assert (moved.yes_contracts != 0) == (bid != sell)


# --- orders -------------------------------------------------------------------------------------------


def order(**more: Any) -> OrderFrame:
    body = {
        "event_type": "order", "type": "UPDATE", "id": MINE, "owner": OURS, "market": "0xc", "asset_id": YES,
        "side": "BUY", "price": "0.53", "original_size": "100", "size_matched": "0", "status": "LIVE",
        "timestamp": "1763800000120", **more,
    }  # fmt: skip
    found = read_frame("order", json.dumps(body).encode())
    assert isinstance(found, OrderFrame)
    return found


@pytest.mark.parametrize(
    ("more", "want"),
    [
        ({"type": "PLACEMENT"}, e.Accepted(order_id=5, venue_id=MINE, filled=0)),
        ({"size_matched": "12.5"}, e.Accepted(order_id=5, venue_id=MINE, filled=12_500_000)),
        ({"status": "ORDER_STATUS_LIVE"}, e.Accepted(order_id=5, venue_id=MINE, filled=0)),
        (
            {"size_matched": "100", "status": "MATCHED"},
            e.Closed(order_id=5, why="filled", filled=100_000_000),
        ),
        ({"status": "CANCELED", "size_matched": "3"}, e.Closed(order_id=5, why="none", filled=3_000_000)),
        ({"status": "CANCELED", "size_matched": ""}, e.Closed(order_id=5, why="none", filled=-1)),
        ({"type": "CANCELLATION", "status": ""}, e.Closed(order_id=5, why="none", filled=0)),
        ({"status": "CANCELED_MARKET_RESOLVED"}, e.Closed(order_id=5, why="closed", filled=0)),
        ({"status": "CANCELED_NOT_ENOUGH_BALANCE"}, e.Closed(order_id=5, why="no_cash", filled=0)),
        (
            {"original_size": "100000000", "size_matched": "12500000"},
            e.Accepted(order_id=5, venue_id=MINE, filled=12_500_000),
        ),
    ],
)  # fmt: skip
def test_how_an_order_stands(more: dict[str, Any], want: e.Event) -> None:
    assert frames((5, MINE, {})).order(order(**more), NOW_NS) == (want,)


def test_words_that_nobody_knows_are_counted() -> None:
    known = frames((5, MINE, {}))
    assert known.order(order(status="SETTLING_ELSEWHERE"), NOW_NS) == ()
    assert known.unknown_words == {"SETTLING_ELSEWHERE": 1}
    assert known.order(order(status="UNMATCHED"), NOW_NS) == ()
    assert known.order(order(id="0xother"), NOW_NS) == () and known.unlisted == 1
    with pytest.raises(DataError, match="sent"):
        known.order(order(original_size="99"), NOW_NS)


def test_how_an_order_ends_that_must_trade_at_once() -> None:
    known = frames((5, MINE, {"tif": d.IOC}))
    partly = {"size_matched": "20"}
    told = known.order(order(**partly, status="MATCHED"), NOW_NS)  # a purchase: what is left rests
    assert told == (e.Accepted(order_id=5, venue_id=MINE, filled=20_000_000),)
    ended = (e.Closed(order_id=5, why="unfilled_ioc", filled=20_000_000),)
    assert known.order(order(**partly, status="CANCELED"), NOW_NS) == ended
    own = known._orders.get(5)
    own.rests = False
    assert known.order(order(**partly, status="MATCHED"), NOW_NS) == ended


def test_an_order_whose_time_has_come_expired() -> None:
    known = frames((5, MINE, {}))
    known._orders.get(5).expires_ns = NOW_NS
    assert known.order(order(status="CANCELED"), NOW_NS)[0].why == "expired"
    assert known.order(order(status="CANCELED"), NOW_NS - 1)[0].why == "none"


def test_orders_of_earlier_processes_are_known_by_digest_or_nameless() -> None:
    own = OwnOrders([Known(3, 0, "0xABC"), Known(4, 0), Known(9, 1)])
    assert own.of_digest("0xabc") == 3 and own.digest(3) == "0xabc"
    assert own.nameless(0) == (4,) and own.newest == 9
    own.named(4, "0xdef")
    assert own.nameless(0) == () and own.of_digest("0xDEF") == 4


# --- damage -------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3), max_leaves=5,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(["order", "trade", "market_resolved", "new_market"]), data=st.data())
def test_no_damage_escapes(kind: str, data: st.DataObject) -> None:
    known = frames((5, MINE, {}))
    good: Any = trade(row()) if kind == "trade" else order()
    names = [f for f in type(good).__struct_fields__ if f != "maker_orders"]
    body: dict[str, Any] = {"event_type": kind, "market": "0xc", "id": MINE, "asset_id": YES}
    for name in data.draw(st.lists(st.sampled_from(names), max_size=6)):
        body[name] = data.draw(JSON)
    if data.draw(st.booleans()):
        body["maker_orders"] = [{**row(), data.draw(st.sampled_from(sorted(row()))): data.draw(JSON)}]
    raw = json.dumps(body).encode()
    cut = data.draw(st.integers(0, len(raw)))
    for text in (raw, raw[:cut]):
        try:
            found = read_frame(kind_of(text), text)
            if isinstance(found, TradeFrame):
                events = known.trade(found, sure=True)
            elif isinstance(found, OrderFrame):
                events = known.order(found, NOW_NS)
            else:
                continue
        except DataError:
            continue
        assert all(fill.size > 0 for fill in events if isinstance(fill, e.Filled))


def test_a_listed_trade_and_a_told_one_are_the_same_fills() -> None:
    """Both routes must give one fill one name, or it would count twice."""
    told = trade(row(), row(order_id="0xother", owner="z", maker_address="0xz"))
    listed = {
        "id": "t1", "taker_order_id": "0xTaker", "market": "0xc", "asset_id": NO, "side": "BUY",
        "size": "12.5", "price": "0.47", "status": "TRADE_STATUS_CONFIRMED", "match_time": "1763800001",
        "trader_side": "MAKER", "owner": "taker-key", "maker_orders": [row()],
    }  # fmt: skip
    read = reader_of(Trade)(json.dumps(listed).encode())
    known = frames((5, MINE, {}))
    assert known.fills(told) == known.fills(read) and read.state is TradeState.CONFIRMED
