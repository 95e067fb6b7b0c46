"""What a process knows of the ones before it: whose orders are whose, and which fills may still fail."""

from __future__ import annotations

import asyncio
import json

import pytest

from pr3dict.domain.commands import Place
from pr3dict.domain.events import Filled, FillFinal, FillVoided
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.account_models import OpenOrder, TradeState
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.requests import Requests, Terms
from pr3dict.venues.polymarket.settling import Settling
from pr3dict.venues.polymarket.sign import WalletKey

NOW_NS = 1_790_000_000_500_000_000
KEY = WalletKey("0x" + "11" * 32)
TERMS = Terms("0x" + "ab" * 32, "11" * 30, "22" * 30, 100, neg_risk=False)
FILL = Filled(
    trade_id="t/0x1", order_id=7, market=0, side=d.BID, sell=False, price=4_000, size=5_000_000,
    fee_micros=0, maker=True, exch_ns=NOW_NS - 3_600 * 10**9, venue_id="0x1",
)  # fmt: skip


def requests(prefix: str, first_order: int = 1, earlier=()) -> Requests:
    return Requests(KEY, "owner", lambda row: TERMS, prefix, first_order, earlier)


def place(order_id: int) -> Place:
    return Place(
        order_id=order_id, market=0, side=d.BID, sell=False, price=4_000, size=5_000_000, tif=d.POST_ONLY,
        expiry_ns=NOW_NS + 600 * 10**9,
    )  # fmt: skip


@pytest.mark.parametrize(("order_id", "run"), [(3, "first"), (9, "first"), (10, "second"), (19, "second")])
def test_an_order_without_a_name_is_recognised_by_the_prefix_of_its_run(order_id, run):
    """It was journaled and may have left: its digest is computed again with the salt that it had."""
    left = requests(run, {"first": 1, "second": 10}[run]).create(place(order_id), NOW_NS)
    signed = left.post.order
    body = {
        "id": left.digest, "status": "LIVE", "owner": "o", "maker_address": "m", "market": TERMS.condition,
        "asset_id": signed.token_id, "side": "BUY", "original_size": "5", "size_matched": "0",
        "price": "0.4", "outcome": "Yes", "order_type": "GTD", "expiration": signed.expiration,
        "associate_trades": [], "created_at": 1_790_000_001,
    }  # fmt: skip
    shown = reader_of(OpenOrder)(json.dumps(body).encode())
    now = requests("third", 20, (("first", 1), ("second", 10)))
    assert now.recognise(shown, (order_id,), neg_risk=False) == order_id
    assert now.recognise(shown, (order_id + 10,), neg_risk=False) == 0
    alone = requests("third", 1)
    assert alone.recognise(shown, (order_id,), neg_risk=False) == 0


def test_a_fill_of_an_earlier_process_is_waited_for():
    """However old it is, it is read again, and its end is told as an end, not as another fill."""
    settling = Settling()
    settling.recall(FILL)
    assert settling.oldest_ns() == FILL.exch_ns and settling.markets() == {0}
    assert settling.note(FILL, TradeState.CONFIRMED) == (FillFinal(market=0, trade_id="t/0x1"),)
    failed = Settling()
    failed.recall(FILL)
    (void,) = failed.note(FILL, TradeState.FAILED)
    assert isinstance(void, FillVoided) and not failed.oldest_ns()


def test_the_adapter_begins_with_what_it_is_told(trading_of):
    async def body():
        terms = {"unsettled": (FILL,), "runs": (("before", 1),), "first_order": 50}
        async with trading_of.trading(terms=terms) as t:
            assert t.wire.figures()["unsettled_fills"] == 1
            assert t.wire.settling.oldest_ns() == FILL.exch_ns

    asyncio.run(body())
