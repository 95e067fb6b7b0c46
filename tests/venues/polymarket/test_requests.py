"""Commands become the right token, side and amounts; answers become events; orders are recognised."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.commands import Place
from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.domain.events import Accepted, AnswerLost, Closed, NotSent, Refused, RequestRefused, Sent
from pr3dict.domain.inventory import Inventory
from pr3dict.domain.market import POLYMARKET_TICKS, polymarket_grid
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.account_models import OpenOrder, Posted
from pr3dict.venues.polymarket.amounts import LOT, Amounts, price_and_size
from pr3dict.venues.polymarket.numbers import UNKNOWN, reader_of
from pr3dict.venues.polymarket.outcomes import Outcome, Verdict, judge_leg
from pr3dict.venues.polymarket.requests import Requests, Terms, batch_body, in_yes_terms, leg_of
from pr3dict.venues.polymarket.sign import Exchange, Order, WalletKey, WalletKind

YES = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
NO = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
TERMS = Terms("0x" + "ab" * 32, YES, NO, 100, neg_risk=False)
NOW_NS = 1_763_800_000_123_456_789
NOW_S = NOW_NS // 10**9
KEY = WalletKey("11" * 32)


def requests(terms=TERMS, key=KEY, prefix="abcd"):
    return Requests(key, "owner-1", lambda row: terms, prefix)


def place(**changes):
    fields = {
        "order_id": 7,
        "market": 0,
        "side": d.BID,
        "price": 5300,
        "size": 100_000_000,
        "tif": d.POST_ONLY,
        **changes,
    }
    return Place(**fields)


@pytest.mark.parametrize(
    ("side", "sell", "token", "word", "price"),
    [
        (d.BID, False, YES, "BUY", 3000),
        (d.ASK, False, NO, "BUY", 7000),
        (d.ASK, True, YES, "SELL", 3000),
        (d.BID, True, NO, "SELL", 7000),
    ],
)
def test_which_token_an_order_names(side, sell, token, word, price):
    leg = leg_of(place(side=side, sell=sell, price=3000), TERMS)
    assert leg == (token, word, price, 100_000_000)
    assert in_yes_terms(word, price, is_no=token == NO) == (side, 3000, sell)


@given(st.sampled_from([d.BID, d.ASK]), st.booleans(), st.integers(1, 9999), st.integers(1, 10**9))
def test_the_token_that_changes_hands_is_the_one_that_the_inventory_moves(side, sell, price, size):
    leg = leg_of(place(side=side, sell=sell, price=price, size=size), TERMS)
    held = Inventory(yes_contracts=10**9, no_contracts=10**9)
    after = held.fill(side, price, size, nets=False, sell=sell)
    moved = size if leg.side == "BUY" else -size
    assert after.yes_contracts - held.yes_contracts == (moved if leg.token == YES else 0)
    assert after.no_contracts - held.no_contracts == (moved if leg.token == NO else 0)
    paid = after.cost_micros - held.cost_micros
    exact = leg.price * size * (1 if leg.side == "BUY" else -1)
    assert abs(paid * 10_000 - exact) < 10_000


def test_the_body_is_the_documented_one():
    built = requests().create(place(), NOW_NS)
    body = json.loads(built.body())
    order = body.pop("order")
    assert body == {"owner": "owner-1", "orderType": "GTC", "postOnly": True, "deferExec": False}
    signature, salt = order.pop("signature"), order.pop("salt")
    assert order == {
        "maker": KEY.address,
        "signer": KEY.address,
        "tokenId": YES,
        "makerAmount": "53000000",
        "takerAmount": "100000000",
        "side": "BUY",
        "expiration": "0",
        "signatureType": 0,
        "timestamp": f"{NOW_S}000",
        "metadata": "0x" + "00" * 32,
        "builder": "0x" + "00" * 32,
    }
    assert type(salt) is int and 0 <= salt < 2**53 and salt == requests().salt(7)
    signed = Order(salt, int(YES), 53_000_000, 100_000_000, "BUY", NOW_S * 1000)
    assert KEY.sign(signed, Exchange.STANDARD) == (built.digest, signature)
    assert json.loads(batch_body([built, built]))[1]["order"]["salt"] == salt


@pytest.mark.parametrize(
    ("tif", "expiry_s", "kind", "post_only", "expiration"),
    [
        (d.POST_ONLY, 0, "GTC", True, 0),
        (d.LIMIT, 0, "GTC", False, 0),
        (d.POST_ONLY, 600, "GTD", True, NOW_S + 660),
        (d.LIMIT, 121, "GTD", False, NOW_S + 181),
        (d.POST_ONLY, 30, "GTD", True, NOW_S + 181),  # the venue knows nothing shorter
        (d.IOC, 600, "GTD", False, NOW_S + 181),  # a purchase: FAK would spend dollars
    ],
)
def test_kinds_of_orders_and_their_ends(tif, expiry_s, kind, post_only, expiration):
    expiry_ns = NOW_NS + expiry_s * 10**9 if expiry_s else 0
    built = requests().create(place(tif=tif, expiry_ns=expiry_ns), NOW_NS)
    post = built.post
    assert built.rests
    assert (post.order_type, post.post_only, post.order.expiration) == (kind, post_only, str(expiration))
    assert built.expires_ns == ((expiration - 60) * 10**9 if expiration else 0)
    if expiry_s >= 121 and tif != d.IOC:
        assert built.expires_ns <= expiry_ns < built.expires_ns + 10**9


@pytest.mark.parametrize(("tif", "kind"), [(d.IOC, "FAK"), (d.FOK, "FOK")])
def test_sales_that_trade_at_once_are_the_venue_s_own_kinds(tif, kind):
    built = requests().create(place(side=d.ASK, sell=True, tif=tif, expiry_ns=NOW_NS + 10**12), NOW_NS)
    assert (built.post.order_type, built.post.order.expiration, built.expires_ns) == (kind, "0", 0)
    assert not built.rests and not built.post.post_only


def test_a_purchase_that_fills_whole_or_not_at_all_is_refused():
    with pytest.raises(DataError, match="dollars"):
        requests().create(place(tif=d.FOK), NOW_NS)


terms_and_prices = st.sampled_from(POLYMARKET_TICKS).flatmap(
    lambda t: st.tuples(
        st.just(t), st.sampled_from(polymarket_grid(t).prices()), st.booleans(), st.booleans()
    )
)


@settings(max_examples=60, deadline=None)
@given(
    terms_and_prices,
    st.integers(500, 10**6),
    st.sampled_from([d.BID, d.ASK]),
    st.booleans(),
    st.sampled_from([d.POST_ONLY, d.LIMIT, d.IOC, d.FOK]),
)
def test_what_is_signed_means_what_was_commanded(market, lots, side, sell, tif):
    tick, price, neg_risk, is_v2 = market
    ids = (str(2 << 248 | 5 << 120), str(2 << 248 | 5 << 120 | 1)) if is_v2 else (YES, NO)
    terms = Terms(TERMS.condition, *ids, tick, neg_risk)
    command = place(side=side, sell=sell or tif == d.FOK, price=price, size=lots * LOT, tif=tif)
    built = requests(terms).create(command, NOW_NS)
    order = built.post.order
    amounts = Amounts(int(order.maker_amount), int(order.taker_amount))
    leg = leg_of(command, terms)
    assert (order.token_id, order.side) == (leg.token, leg.side)
    assert price_and_size(leg.side, amounts) == (leg.price, leg.size) and built.size == leg.size
    exchange = Exchange.V3 if is_v2 else Exchange.NEG_RISK if neg_risk else Exchange.STANDARD
    signed = Order(order.salt, int(leg.token), *amounts, leg.side, int(order.timestamp))
    assert built.digest == KEY.digest(signed, exchange)


@pytest.mark.parametrize(
    "changes", [{"size": 10_001}, {"size": 0}, {"price": 5350}, {"price": 0}, {"price": 10_000}]
)
def test_what_no_order_can_say_is_refused_before_it_leaves(changes):
    with pytest.raises(DataError):
        requests().create(place(**changes), NOW_NS)


@pytest.mark.parametrize("prefix", ["", "abc", "a-bc", "ä" * 5, "x" * 33])
def test_a_prefix_that_could_be_mistaken_is_refused(prefix):
    with pytest.raises(ConfigError, match="prefix"):
        requests(prefix=prefix)


def test_a_deposit_wallet_s_order_names_the_wallet_twice():
    wallet = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
    built = requests(key=WalletKey("11" * 32, WalletKind.DEPOSIT, wallet)).create(place(), NOW_NS)
    order = built.post.order
    assert (order.maker, order.signer, order.signature_type) == (wallet, wallet, 3)
    assert len(order.signature) == 2 + 2 * 317


# --- answers ----------------------------------------------------------------------------------------

read_leg = reader_of(Posted)


def answered(command, **fields):
    """The events of an answer to a command, and its order."""
    made = requests().create(command, NOW_NS)
    body = {"success": True, "errorMsg": "", "orderID": made.digest, "status": "live", **fields}
    leg = read_leg(json.dumps(body).encode())
    return made.digest, Requests.placed(command, made, judge_leg(leg, made.digest), leg)


def test_the_digest_is_known_before_the_order_leaves():
    command = place()
    built = requests().create(command, NOW_NS)
    assert Requests.sent(command, built) == (Sent(order_id=7, venue_id=built.digest),)


def test_what_became_of_new_orders():
    digest, events = answered(place(), makingAmount="", takingAmount="")
    assert events == (Accepted(order_id=7, venue_id=digest, filled=0),)
    digest, events = answered(place(tif=d.LIMIT), status="matched", takingAmount="40.5", makingAmount="21")
    assert events == (Accepted(order_id=7, venue_id=digest, filled=40_500_000),)
    digest, events = answered(place(tif=d.LIMIT), status="matched", takingAmount="100")
    accepted = Accepted(order_id=7, venue_id=digest, filled=100_000_000)
    assert events == (accepted, Closed(order_id=7, why="filled", filled=100_000_000))
    command = place(tif=d.IOC, side=d.ASK, sell=True)
    digest, events = answered(command, status="matched", makingAmount="30", takingAmount="15.9")
    assert events[1] == Closed(order_id=7, why="unfilled_ioc", filled=30_000_000)
    digest, events = answered(command, status="matched")
    assert events[1] == Closed(order_id=7, why="unfilled_ioc", filled=UNKNOWN)
    digest, events = answered(place(tif=d.IOC), status="matched", takingAmount="40")
    assert events == (Accepted(order_id=7, venue_id=digest, filled=40_000_000),)  # the rest is cancelled
    digest, events = answered(place(tif=d.IOC), status="delayed")
    assert events == (Accepted(order_id=7, venue_id=digest, filled=0),)


def test_what_was_refused_lost_or_never_left():
    text = "not enough balance / allowance"
    assert answered(place(), orderID="", errorMsg=text)[1] == (Refused(order_id=7, why="no_cash", text=text),)
    sell = place(side=d.ASK, sell=True)
    assert answered(sell, orderID="", errorMsg=text)[1] == (Refused(order_id=7, why="not_held", text=text),)
    (lost,) = answered(place(), status="unmatched")[1]
    assert isinstance(lost, AnswerLost) and lost.request == "place"
    built = requests().create(place(), NOW_NS)
    outcome = Outcome(Verdict.NOT_SENT, "rate_limit", "x")
    assert Requests.placed(place(), built, outcome, None) == (NotSent(order_id=7, why="rate_limit"),)
    (lost,) = Requests.placed(place(), built, Outcome(Verdict.ACCEPTED), None)
    assert isinstance(lost, AnswerLost)


def test_what_became_of_cancels():
    assert Requests.canceled(7, Outcome(Verdict.ACCEPTED)) == (Closed(order_id=7, why="none", filled=-1),)
    refused = Requests.canceled(7, Outcome(Verdict.REFUSED, "unknown_order", "x"))
    assert refused == (RequestRefused(order_id=7, request="cancel", why="unknown_order", text="x"),)
    for verdict in (Verdict.UNKNOWN, Verdict.NOT_SENT):
        (lost,) = Requests.canceled(7, Outcome(verdict, text="x"))
        assert lost == AnswerLost(order_id=7, request="cancel", why="x")


# --- a process that has forgotten -------------------------------------------------------------------


def shown(built, *, late_s: int, in_base_units: bool = False, **changes):
    """The order as the venue shows it."""
    order = built.post.order
    maker, taker = int(order.maker_amount), int(order.taker_amount)
    price, size = price_and_size(order.side, Amounts(maker, taker))
    body = {
        "id": built.digest,
        "status": "LIVE",
        "market": TERMS.condition,
        "asset_id": order.token_id,
        "side": order.side,
        "original_size": str(size) if in_base_units else str(size / 10**6),
        "size_matched": "0",
        "price": f"{price / 10_000:.4f}",
        "created_at": NOW_S + late_s,
        **changes,
    }
    return reader_of(OpenOrder)(json.dumps(body).encode())


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 10**12),
    st.integers(-4, 50),
    st.sampled_from([d.BID, d.ASK]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 99),
)
def test_an_order_of_ours_is_recognised_by_what_the_venue_shows(
    order_id, late_s, side, sell, neg_risk, cents
):
    maker = requests(TERMS._replace(neg_risk=neg_risk))
    command = place(order_id=order_id, side=side, sell=sell, price=cents * 100, size=5_010_000)
    built = maker.create(command, NOW_NS)
    seen = shown(built, late_s=late_s)
    others = [order_id + 1, order_id + 2]
    assert maker.recognise(seen, [*others, order_id], neg_risk=neg_risk) == order_id
    assert maker.recognise(seen, others, neg_risk=neg_risk) == 0
    assert maker.recognise(seen, [order_id], neg_risk=not neg_risk) == 0
    assert requests(prefix="wxyz").recognise(seen, [order_id], neg_risk=neg_risk) == 0


def test_an_order_in_base_units_or_of_another_size_or_time():
    maker = requests()
    built = maker.create(place(), NOW_NS)
    assert maker.recognise(shown(built, late_s=1, in_base_units=True), [7], neg_risk=False) == 7
    assert maker.recognise(shown(built, late_s=1, original_size="99"), [7], neg_risk=False) == 0
    assert maker.recognise(shown(built, late_s=600), [7], neg_risk=False) == 0
    with pytest.raises(DataError, match="traded"):
        maker.recognise(shown(built, late_s=1, size_matched="101"), [7], neg_risk=False)


def test_the_same_order_built_twice_in_a_second_is_one_order():
    first, second = (requests().create(place(), NOW_NS + span) for span in (0, 800_000_000))
    assert first == second
    later = requests().create(place(), NOW_NS + 10**9)
    assert later.digest != first.digest
    assert requests().create(place(order_id=8), NOW_NS).digest != first.digest


def test_bodies_are_values():
    with pytest.raises(AttributeError):
        requests().create(place(), NOW_NS).post.owner = "x"
    assert isinstance(requests().create(place(), NOW_NS).post, msgspec.Struct)
