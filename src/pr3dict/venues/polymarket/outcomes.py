"""Which answer means what: accepted, surely refused, unknown. The table of docs/venues/polymarket.md as code.

Refused means proof that the venue did not carry the request out. An accepted HTTP answer proves nothing by
itself: each order of it is judged by its own words (`judge_leg`, `judge_cancel`). What is unknown has to be
asked for, by the digest that is known before an order leaves.
"""

from __future__ import annotations

import enum
from typing import Any, Final, NamedTuple

import msgspec

from pr3dict.venues.polymarket.account_models import Canceled, Posted

MAX_TEXT: Final = 300
RATE_LIMITED: Final = 429
RESTARTING: Final = 425
UNAVAILABLE: Final = 503
REFUSING: Final = frozenset({400, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431})
_AT_THE_DOOR: Final = frozenset({401, 403})  # nobody behind it saw the request, whoever answers


class Verdict(enum.Enum):
    """What became of a request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # surely not carried out
    UNKNOWN = "unknown"  # carried out or not
    NOT_SENT = "not_sent"  # its bytes surely never left


class Restriction(enum.Enum):
    """What the venue takes for the moment, as an answer gives away."""

    NONE = "none"
    RESTARTING = "restarting"  # nothing
    POST_ONLY = "post_only"  # post-only orders and cancels
    CANCEL_ONLY = "cancel_only"


class Outcome(NamedTuple):
    """A verdict with its reason: `why` is a word of `kernels.dtypes.WHY_NAMES`, `text` the venue's own.

    `retry_ns`: how long the venue asks to wait; 0: it does not say.
    """

    verdict: Verdict
    why: str = "none"
    text: str = ""
    restriction: Restriction = Restriction.NONE
    retry_ns: int = 0


ACCEPTED: Final = Outcome(Verdict.ACCEPTED)

# Words of Polymarket's errors to ours, the first that fits.
_WORDS: Final[tuple[tuple[str, str], ...]] = (
    ("crosses book", "post_only_cross"),
    ("post-only mode", "not_active"),
    ("cancel-only", "not_active"),
    ("tick size", "off_grid"),
    ("lower than the minimum", "min_size"),
    ("min size", "min_size"),
    ("invalid amount", "off_grid"),
    ("price discrepancy", "off_grid"),
    ("not enough balance", "no_cash"),
    ("allowance", "no_cash"),
    ("invalid expiration", "expired"),
    ("not yet ready", "not_active"),
    ("not accepting orders", "not_active"),
    ("closed only", "not_active"),
    ("trading is currently disabled", "not_active"),
    ("market is closed", "closed"),
    ("orderbook", "closed"),
    ("fully filled", "unfilled_ioc"),
    ("no orders found to match", "unfilled_ioc"),
    ("order not found", "unknown_order"),
    ("too many requests", "rate_limit"),
    ("rate limit", "rate_limit"),
)
_DUPLICATE: Final = "duplicated"  # the order is there already: ours, whose answer was lost
_TIMED_OUT: Final = "order timed out"  # it never reached the book
_LOST: Final = ("internal", "timeout", "timed out", "unavailable", "unexpected", "try again")
_GONE: Final = (
    "already",
    "not found",
    "can't be found",
    "does not exist",
    "matched",
    "canceled",
)
_PENDING: Final = ("delayed", "pending")


def problem_of(body: bytes) -> str | None:
    """The error that a body states; None: it states none.

    {"error": "text"}, {"error": {"message"}}, {"errorMsg"}, {"error_msg"}, {"message"}, {"code"}.
    """
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        value = value["error"]
    if not isinstance(value, dict):
        return None
    said = (value.get(name) for name in ("error", "errorMsg", "error_msg", "message", "code"))
    texts = [text for text in said if isinstance(text, str) and text]
    return ": ".join(dict.fromkeys(texts))[:MAX_TEXT] or None


def why_of(text: str) -> str:
    """Our word for an error; "none" where Polymarket's says nothing that we know."""
    said = text.lower()
    return next((why for words, why in _WORDS if words in said), "none")


def restriction_of(text: str) -> Restriction:
    """What an error says about the venue as a whole."""
    said = text.lower().replace("_", "-")
    if "post-only mode" in said or "post-only-mode" in said:
        return Restriction.POST_ONLY
    if "cancel-only" in said or "cancel only" in said:
        return Restriction.CANCEL_ONLY
    return Restriction.NONE


def judge(status: int, body: bytes, *, by_signer: bool = False, retry_ns: int = 0) -> Outcome:
    """What an answer to a request that changes something means as a whole.

    by_signer: the answer tells of the signer's own limits; without that a 429 may come from any gateway.
    """
    if 200 <= status < 300:
        return ACCEPTED
    problem = problem_of(body)
    text = problem or f"HTTP {status}"
    if status == RATE_LIMITED:
        verdict = Verdict.REFUSED if by_signer else Verdict.UNKNOWN
        return Outcome(verdict, "rate_limit", text, retry_ns=retry_ns)
    if status == RESTARTING:
        return Outcome(Verdict.REFUSED, "not_active", text, Restriction.RESTARTING, retry_ns)
    if status in _AT_THE_DOOR:
        return Outcome(Verdict.REFUSED, why_of(text), text, restriction_of(text), retry_ns)
    if problem is None:
        found = body[:MAX_TEXT].decode("utf-8", "replace")
        if status == UNAVAILABLE and restriction_of(found) is Restriction.CANCEL_ONLY:
            return Outcome(Verdict.REFUSED, "not_active", text, Restriction.CANCEL_ONLY, retry_ns)
        return Outcome(Verdict.UNKNOWN, "none", f"HTTP {status} without a reason", retry_ns=retry_ns)
    if status == UNAVAILABLE and (limit := restriction_of(problem)) is not Restriction.NONE:
        return Outcome(Verdict.REFUSED, "not_active", text, limit, retry_ns or _retry_ns(body))
    if status in REFUSING:
        return _refusal(problem)
    if status == 500 and _TIMED_OUT in problem.lower():
        return Outcome(Verdict.REFUSED, "none", text)
    return Outcome(Verdict.UNKNOWN, "none", f"HTTP {status}: {text}", retry_ns=retry_ns)


def _refusal(text: str) -> Outcome:
    """An error of the exchange itself."""
    said = text.lower()
    if _DUPLICATE in said:
        return Outcome(Verdict.UNKNOWN, "none", text)
    return Outcome(Verdict.REFUSED, why_of(text), text, restriction_of(text))


def _retry_ns(body: bytes) -> int:
    found: Any = msgspec.json.decode(body)
    said = found.get("retry_after_seconds") if isinstance(found, dict) else None
    return said * 1_000_000_000 if type(said) is int and 0 <= said < 86_400 else 0


def judge_leg(leg: Posted, digest: str) -> Outcome:
    """What an answer to one new order means, alone or in a batch: its words count, not its `success`."""
    error = (leg.errorMsg or "")[:MAX_TEXT]
    named = leg.orderID or ""
    if error and not named:
        if _TIMED_OUT not in error.lower() and any(word in error.lower() for word in _LOST):
            return Outcome(Verdict.UNKNOWN, "none", error)
        return _refusal(error)
    if error or not named or leg.success is False:
        return Outcome(Verdict.UNKNOWN, "none", error or "neither an order nor a reason")
    if named.lower() != digest.lower():
        return Outcome(Verdict.UNKNOWN, "none", "the answer names another order")
    status = (leg.status or "").lower().removeprefix("order_status_")
    if status in ("live", "matched", "delayed"):
        return Outcome(Verdict.ACCEPTED, text=status)
    return Outcome(Verdict.UNKNOWN, "none", f"status {status[:40]!r}: it rests or is gone")


def judge_cancel(body: Canceled, digest: str) -> Outcome:
    """What an answer to cancels means for one order. One that is gone may have traded: "unknown_order"."""
    name = digest.lower()
    gone = any(said.lower() == name for said in body.canceled or ())
    reason = next((why for said, why in (body.not_canceled or {}).items() if said.lower() == name), None)
    if gone and reason is None:
        return ACCEPTED
    if gone or reason is None:
        return Outcome(Verdict.UNKNOWN, "none", "the answer does not say what became of the order")
    text = reason[:MAX_TEXT]
    said = text.lower()
    if any(word in said for word in _PENDING):
        return Outcome(Verdict.REFUSED, "none", text)
    if any(word in said for word in _GONE):
        return Outcome(Verdict.REFUSED, "unknown_order", text)
    return Outcome(Verdict.UNKNOWN, "none", text)
