"""What proves a refusal, and what does not; one order of a batch, one order of a sweep."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.account_models import (
    Canceled,
    OrderState,
    Posted,
    TradeState,
    order_state,
    trade_state,
)
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.outcomes import (
    _WORDS,
    Restriction,
    Verdict,
    judge,
    judge_cancel,
    judge_leg,
    problem_of,
)

ME, OTHER = "0x" + "8f" * 32, "0x" + "11" * 32
R, U, A = Verdict.REFUSED, Verdict.UNKNOWN, Verdict.ACCEPTED
NONE, RESTARTING, POST_ONLY, CANCEL_ONLY = Restriction


def error(text):
    return json.dumps({"error": text}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"Size (1) lower than the minimum: 5"}',
        b'{"error":{"message":"Size (1) lower than the minimum: 5"}}',
        b'{"errorMsg":"Size (1) lower than the minimum: 5"}',
        b'{"error_msg":"Size (1) lower than the minimum: 5"}',
        b'{"message":"Size (1) lower than the minimum: 5","code":"x"}',
    ],
)
def test_every_shape_of_error_is_read(body):
    outcome = judge(400, body)
    assert (outcome.verdict, outcome.why) == (R, "min_size")
    assert "lower than the minimum" in outcome.text


@pytest.mark.parametrize(
    ("status", "body", "verdict", "why", "restriction"),
    [
        (200, b"", A, "none", NONE),
        (302, error("x"), U, "none", NONE),
        (400, error("not enough balance / allowance"), R, "no_cash", NONE),
        (400, error("invalid post-only order: order crosses book"), R, "post_only_cross", NONE),
        (400, error("Price (0.5) breaks minimum tick size rule: 0.01"), R, "off_grid", NONE),
        (400, error("invalid amount for a marketable BUY order ($0.5), min size: $1"), R, "min_size", NONE),
        (400, error("invalid expiration"), R, "expired", NONE),
        (400, error("the market is not yet ready to process new orders"), R, "not_active", NONE),
        (400, error("order couldn't be fully filled. FOK orders are ..."), R, "unfilled_ioc", NONE),
        (400, error("no orders found to match with FAK order."), R, "unfilled_ioc", NONE),
        (400, error("the orderbook 123 does not exist"), R, "closed", NONE),
        (400, error("owner has to be the owner of the API KEY"), R, "none", NONE),
        (400, error("order_version_mismatch"), R, "none", NONE),
        (400, error("Duplicated."), U, "none", NONE),
        (400, error("something brand new"), R, "none", NONE),
        (400, b"<html>bad gateway</html>", U, "none", NONE),
        (401, error("Unauthorized/Invalid api key"), R, "none", NONE),
        (401, b"", R, "none", NONE),
        (403, b"<html>error 1010</html>", R, "none", NONE),
        (403, error("closed only mode"), R, "not_active", NONE),
        (404, error("order not found"), R, "unknown_order", NONE),
        (404, b"nope", U, "none", NONE),
        (408, error("timeout"), U, "none", NONE),
        (409, error("x"), U, "none", NONE),
        (425, b"", R, "not_active", RESTARTING),
        (429, b"", U, "rate_limit", NONE),
        (500, error("order timed out"), R, "none", NONE),
        (500, error("internal server error"), U, "none", NONE),
        (502, b"<html>", U, "none", NONE),
        (503, b'{"code":"post_only_mode","retry_after_seconds":7}', R, "not_active", POST_ONLY),
        (503, error("Trading is currently cancel-only"), R, "not_active", CANCEL_ONLY),
        (503, b"cancel-only", R, "not_active", CANCEL_ONLY),
        (503, error("unavailable"), U, "none", NONE),
        (503, b"", U, "none", NONE),
    ],
)
def test_the_table(status, body, verdict, why, restriction):
    outcome = judge(status, body)
    assert (outcome.verdict, outcome.why, outcome.restriction) == (verdict, why, restriction)


def test_a_429_is_a_proof_only_with_the_signer_s_headers():
    assert judge(429, b"", by_signer=True, retry_ns=5) == judge(429, b"", retry_ns=5)._replace(verdict=R)


def test_how_long_to_wait_comes_from_header_or_body():
    body = b'{"code":"post_only_mode","retry_after_seconds":7}'
    assert judge(503, body).retry_ns == 7_000_000_000
    assert judge(503, body, retry_ns=3).retry_ns == 3
    for odd in (b'"7"', b"-7", b"null", b"1e9", b"[]", b"true"):
        assert judge(503, b'{"code":"post_only_mode","retry_after_seconds":' + odd + b"}").retry_ns == 0


def test_our_words_are_words_of_the_kernels():
    assert {why for _, why in _WORDS} <= set(d.WHY_NAMES)


@given(st.integers(100, 599), st.binary(max_size=60))
def test_no_body_is_a_crash_and_noise_proves_nothing(status, body):
    outcome = judge(status, body)
    if problem_of(body) is None and status not in (401, 403, 425):
        assert outcome.verdict is not R or b"cancel" in body.lower()
    assert (outcome.verdict is A) == (200 <= status < 300)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda x: (
        st.lists(x, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "message", "errorMsg", "retry_after_seconds"]), x)
    ),
    max_leaves=8,
)


@given(st.sampled_from([400, 425, 429, 500, 503]), JSON)
def test_any_json_is_a_problem_or_none(status, value):
    found = problem_of(json.dumps(value).encode())
    assert found is None or (isinstance(found, str) and found)
    assert judge(status, json.dumps(value).encode()).retry_ns >= 0


# --- one order of an answer -------------------------------------------------------------------------

read_leg = reader_of(Posted)


def leg(**fields):
    body = {"success": True, "errorMsg": "", "orderID": ME, "status": "live", **fields}
    return read_leg(json.dumps({k: v for k, v in body.items() if v != "absent"}).encode())


@pytest.mark.parametrize(
    ("fields", "verdict", "why"),
    [
        ({}, A, "none"),
        ({"status": "matched"}, A, "none"),
        ({"status": "delayed"}, A, "none"),
        ({"status": "LIVE", "orderID": ME.upper().replace("X", "x")}, A, "none"),
        ({"errorMsg": None}, A, "none"),
        ({"success": None}, A, "none"),
        ({"success": "absent", "errorMsg": "absent"}, A, "none"),
        ({"success": False}, U, "none"),
        ({"status": "unmatched"}, U, "none"),
        ({"status": "brand_new"}, U, "none"),
        ({"status": "absent"}, U, "none"),
        ({"orderID": OTHER}, U, "none"),
        ({"orderID": ""}, U, "none"),
        ({"orderID": None}, U, "none"),
        ({"errorMsg": "not enough balance / allowance"}, U, "none"),  # with an order id: contradiction
        ({"orderID": "", "errorMsg": "not enough balance / allowance"}, R, "no_cash"),
        (
            {"orderID": "absent", "errorMsg": "invalid post-only order: order crosses book"},
            R,
            "post_only_cross",
        ),
        ({"orderID": "", "errorMsg": "Duplicated."}, U, "none"),
        ({"orderID": "", "errorMsg": "internal error, try again"}, U, "none"),
        ({"orderID": "", "errorMsg": "order timed out"}, R, "none"),
        ({"orderID": "", "errorMsg": "brand new"}, R, "none"),
    ],
)
def test_one_new_order(fields, verdict, why):
    outcome = judge_leg(leg(**fields), ME)
    assert (outcome.verdict, outcome.why) == (verdict, why)


def test_a_leg_may_tell_of_the_window_after_a_restart():
    text = "post-only mode: only post-only orders and cancels are allowed"
    outcome = judge_leg(leg(orderID="", errorMsg=text), ME)
    assert (outcome.verdict, outcome.why, outcome.restriction) == (R, "not_active", POST_ONLY)


@pytest.mark.parametrize(
    ("body", "verdict", "why"),
    [
        ({"canceled": [ME]}, A, "none"),
        ({"canceled": [ME.upper().replace("X", "x")], "not_canceled": None}, A, "none"),
        ({"canceled": [], "not_canceled": {ME: "already canceled or matched"}}, R, "unknown_order"),
        ({"not_canceled": {ME: "order can't be found - already canceled or matched"}}, R, "unknown_order"),
        ({"not_canceled": {ME: "order is delayed"}}, R, "none"),
        ({"not_canceled": {ME: "brand new"}}, U, "none"),
        ({"canceled": [ME], "not_canceled": {ME: "x"}}, U, "none"),
        ({"canceled": [OTHER], "not_canceled": {}}, U, "none"),
        ({}, U, "none"),
    ],
)
def test_one_cancel(body, verdict, why):
    outcome = judge_cancel(reader_of(Canceled)(json.dumps(body).encode()), ME)
    assert (outcome.verdict, outcome.why) == (verdict, why)


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("LIVE", OrderState.LIVE),
        ("ORDER_STATUS_LIVE", OrderState.LIVE),
        ("ORDER_STATUS_CANCELED_MARKET_RESOLVED", OrderState.CANCELED),
        ("CANCELED", OrderState.CANCELED),
        ("CANCELED_order couldn't be fully filled. FOK", OrderState.CANCELED),
        ("matched", OrderState.MATCHED),
        ("DELAYED", OrderState.DELAYED),
        ("UNMATCHED", OrderState.UNMATCHED),
        ("INVALID", OrderState.INVALID),
        ("UNKNOWN", OrderState.UNKNOWN),
        ("CANCELEDX", OrderState.UNKNOWN),
        ("", OrderState.UNKNOWN),
    ],
)
def test_states_of_orders(text, state):
    assert order_state(text) is state


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("MATCHED", TradeState.MATCHED),
        ("TRADE_STATUS_MATCHED_NOT_BROADCASTED", TradeState.MATCHED),
        ("TRADE_STATUS_MINED", TradeState.MINED),
        ("RETRYING", TradeState.RETRYING),
        ("TRADE_STATUS_CONFIRMED", TradeState.CONFIRMED),
        ("FAILED", TradeState.FAILED),
        ("REVERSED", TradeState.UNKNOWN),
        ("", TradeState.UNKNOWN),
    ],
)
def test_states_of_trades(text, state):
    assert trade_state(text) is state
