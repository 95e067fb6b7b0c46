"""What proves a refusal, and what does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.account_models import Problem
from pr3dict.venues.kalshi.outcomes import _CODES, _DETAILS, REFUSING, Verdict, judge, judge_item, problem_of


def nested(code="", message="m", details=""):
    return json.dumps({"error": {"code": code, "message": message, "details": details}}).encode()


SHAPES = {
    "nested": nested("invalid_order", "bad", "post only cross"),
    "flat": b'{"code":"invalid_order","message":"bad","details":"post only cross"}',
    "msg": b'{"msg":"post only cross"}',
    "text": b'{"error":"post only cross"}',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_error_is_read(shape):
    outcome = judge(400, SHAPES[shape])
    assert (outcome.verdict, outcome.why) == (Verdict.REFUSED, "post_only_cross")
    assert "post only cross" in outcome.text


@pytest.mark.parametrize(
    ("status", "body", "verdict", "why"),
    [
        (200, b"", Verdict.ACCEPTED, "none"),
        (201, b"{}", Verdict.ACCEPTED, "none"),
        (204, b"", Verdict.ACCEPTED, "none"),
        (302, nested("x"), Verdict.UNKNOWN, "none"),
        (400, nested("insufficient_balance"), Verdict.REFUSED, "no_cash"),
        (400, nested("available_balance_too_low"), Verdict.REFUSED, "no_cash"),
        (400, nested("invalid_order_size"), Verdict.REFUSED, "min_size"),
        (400, nested("invalid_order", "x", "MARKET_INACTIVE"), Verdict.REFUSED, "not_active"),
        (400, nested("brand_new_code"), Verdict.REFUSED, "none"),
        (400, b"<html>bad gateway</html>", Verdict.UNKNOWN, "none"),
        (401, nested("authentication_error"), Verdict.REFUSED, "none"),
        (403, b"<html>blocked</html>", Verdict.UNKNOWN, "none"),
        (404, nested("not_found"), Verdict.REFUSED, "unknown_order"),
        (404, nested("market_not_found"), Verdict.REFUSED, "not_active"),
        (408, nested("timeout"), Verdict.UNKNOWN, "none"),
        (409, nested("order_already_exists"), Verdict.UNKNOWN, "none"),
        (409, nested("fill_or_kill_insufficient_resting_volume"), Verdict.REFUSED, "unfilled_ioc"),
        (410, nested("deprecated_v1_order_endpoint"), Verdict.REFUSED, "none"),
        (429, b'{"error":"too many requests"}', Verdict.REFUSED, "rate_limit"),
        (429, b"", Verdict.REFUSED, "rate_limit"),
        (500, nested("internal"), Verdict.UNKNOWN, "none"),
        (503, nested("unavailable"), Verdict.UNKNOWN, "none"),
        (504, b"", Verdict.UNKNOWN, "none"),
    ],
)
def test_the_table(status, body, verdict, why):
    outcome = judge(status, body)
    assert (outcome.verdict, outcome.why) == (verdict, why)


def test_our_words_are_words_of_the_kernels():
    assert {why for _, why in _DETAILS} | set(_CODES.values()) <= set(d.WHY_NAMES)


@given(st.integers(100, 599), st.binary(max_size=60))
def test_no_body_is_a_crash_and_noise_never_proves_a_refusal(status, body):
    outcome = judge(status, body)
    if problem_of(body) is None:
        assert outcome.verdict is not Verdict.REFUSED or status == 429
    assert (outcome.verdict is Verdict.REFUSED) <= (status in REFUSING or status in (409, 429))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "code", "message", "msg", "details"]), x)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_problem_or_none(value):
    found = problem_of(json.dumps(value).encode())
    assert found is None or isinstance(found, Problem)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("order_already_exists", Verdict.UNKNOWN),
        ("internal_error", Verdict.UNKNOWN),
        ("", Verdict.UNKNOWN),
        ("service_unavailable", Verdict.UNKNOWN),
        ("insufficient_balance", Verdict.REFUSED),
        ("not_found", Verdict.REFUSED),
    ],
)
def test_one_order_of_a_batch(code, verdict):
    assert judge_item(Problem(code=code, message="m")).verdict is verdict
