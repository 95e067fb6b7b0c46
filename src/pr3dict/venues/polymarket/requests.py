"""What a command becomes on the wire, and what its answer means to the engine; no I/O.

A market has two tokens and one book. In YES terms a bid buys YES at p or sells NO held at 1 - p; an ask buys
NO at 1 - p or sells YES held at p. Which of both is the gate's choice (`Place.sell`).

An order's salt follows from our own order id, and its timestamp is whole seconds. So the same order built
twice in a second is one order to the venue, and a process that has forgotten an order recognises it: from
what the venue shows of it and our order id, its digest can be computed again (`recognise`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from pr3dict.domain.commands import Place
from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.domain.events import (
    Accepted,
    AnswerLost,
    Closed,
    Control,
    NotSent,
    Refused,
    RequestRefused,
    Sent,
)
from pr3dict.domain.units import BID, NS_PER_SECOND, PRICE_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.account_models import OpenOrder, OrderType, Posted, PostOrder, SignedOrder
from pr3dict.venues.polymarket.amounts import (
    LOT,
    Amounts,
    Side,
    limit_amounts,
    price_and_size,
)
from pr3dict.venues.polymarket.numbers import UNKNOWN, seconds
from pr3dict.venues.polymarket.outcomes import Outcome, Verdict
from pr3dict.venues.polymarket.sign import (
    MAX_SALT,
    ZERO_BYTES32,
    Order,
    OrderSigner,
    exchange_of,
    keccak256,
    parse_token_id,
)

EARLY_S: Final = 60  # the venue ends a GTD order this much before its expiration
LEAST_AHEAD_S: Final = 180  # and takes none that is nearer
_BEFORE_S: Final = 60  # how long before the venue saw it an order may have been signed
_AFTER_S: Final = 5  # and how far the venue's clock may be behind ours
_PREFIX: Final = re.compile(r"[A-Za-z0-9]{4,32}")
_encode: Final = msgspec.json.Encoder().encode


class Terms(NamedTuple):
    """What an order must know of its market. `yes` and `no` are asset ids, `tick` in 1/10,000 dollar."""

    condition: str
    yes: str
    no: str
    tick: int
    neg_risk: bool


class Leg(NamedTuple):
    """An order in the venue's words: which token, in its own price; micro-contracts."""

    token: str
    side: Side
    price: int
    size: int


class Built(NamedTuple):
    """An order ready to leave. `size` is what it can trade; `expires_ns` when the venue ends it, 0: never."""

    digest: str
    post: PostOrder
    side: Side
    size: int
    expires_ns: int

    @property
    def rests(self) -> bool:
        """Whether what does not trade at once stays in the book."""
        return self.post.order_type in ("GTC", "GTD")

    def body(self) -> bytes:
        """The exact bytes of `POST /order`."""
        return _encode(self.post)


def leg_of(place: Place, terms: Terms) -> Leg:
    """Which token an order of the engine's buys or sells, and at which price of that token."""
    is_yes = (place.side == BID) != place.sell
    price = place.price if is_yes else PRICE_SCALE - place.price
    return Leg(terms.yes if is_yes else terms.no, "SELL" if place.sell else "BUY", price, place.size)


def in_yes_terms(side: Side, price: int, *, is_no: bool) -> tuple[int, int, bool]:
    """(side of the book, YES price, whether it sells) of an order or fill in the venue's words."""
    sell = side == "SELL"
    book_side = d.ASK if sell != is_no else d.BID
    return book_side, PRICE_SCALE - price if is_no else price, sell


class Requests:
    """Builds orders and reads answers; `terms_of` gives the terms of the engine's market rows."""

    def __init__(
        self,
        signer: OrderSigner,
        owner: str,
        terms_of: Callable[[int], Terms],
        prefix: str,
        first_order: int = 1,
        earlier: Sequence[tuple[str, int]] = (),
    ) -> None:
        """`owner` is the API key's id; `prefix` belongs to the orders of one run from `first_order` on.

        `earlier` are those of the runs before, oldest first.

        Raises `ConfigError` for a prefix that could be mistaken.
        """
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError("a prefix of orders has 4 to 32 letters and digits", key="prefix")
        self.prefix = prefix
        self._runs = (*earlier, (prefix, first_order))
        self._signer = signer
        self._owner = owner
        self._terms_of = terms_of

    def salt(self, order_id: int) -> int:
        """The salt of an order of ours: 53 bits, the same for ever."""
        prefix = next((name for name, first in reversed(self._runs) if first <= order_id), self.prefix)
        return int.from_bytes(keccak256(f"{prefix}-{order_id}".encode())[:8], "big") % MAX_SALT

    # --- new orders -------------------------------------------------------------------------------

    def create(self, place: Place, now_ns: int) -> Built:
        """A signed order.

        One that may rest is GTC, or GTD where it expires: the venue ends a GTD order at the second that was
        asked for, or two minutes from now where that is later than asked, since it knows nothing shorter. One
        that must trade at once is FAK or FOK where it sells. FAK and FOK purchases spend dollars and would
        buy more than `size` at better prices: a purchase that must trade at once rests as GTD, and who sends
        it cancels what is left of it (`Built.rests`).

        Raises `DataError` for a size that is no multiple of 0.01 contract, a price off the grid, and a
        purchase that must fill whole or not at all.
        """
        terms = self._terms_of(place.market)
        leg = leg_of(place, terms)
        if leg.size <= 0 or leg.size % LOT:
            what = f"a size of {leg.size} micro-contracts is no multiple of 0.01 contract"
            raise DataError(what, key="size")
        if place.tif == d.FOK and leg.side == "BUY":
            what = "a FOK purchase states dollars and may buy more than its size; send an IOC order"
            raise DataError(what, key="tif")
        rests = place.tif in (d.POST_ONLY, d.LIMIT) or leg.side == "BUY"
        amounts = limit_amounts(leg.side, leg.price, leg.size, terms.tick)
        order = Order(
            self.salt(place.order_id),
            parse_token_id(leg.token),
            amounts.maker,
            amounts.taker,
            leg.side,
            seconds(now_ns) * 1000,
        )
        digest, signature = self._signer.sign(order, exchange_of(order.token_id, neg_risk=terms.neg_risk))
        expiration_s = self._expiration_s(place, now_ns) if rests else 0
        post = PostOrder(
            order=self._signed(order, leg.token, expiration_s, signature),
            owner=self._owner,
            order_type=_order_type(place, expiration_s, rests=rests),
            post_only=place.tif == d.POST_ONLY,
        )
        size = amounts.taker if leg.side == "BUY" else amounts.maker
        expires_ns = (expiration_s - EARLY_S) * NS_PER_SECOND if expiration_s else 0
        return Built(digest, post, leg.side, size, expires_ns)

    @staticmethod
    def _expiration_s(place: Place, now_ns: int) -> int:
        """Unix seconds as the venue wants them; 0: none."""
        least = seconds(now_ns) + LEAST_AHEAD_S + 1  # the venue looks at it a moment later
        if place.tif == d.IOC:
            return least
        return max(seconds(place.expiry_ns) + EARLY_S, least) if place.expiry_ns else 0

    def _signed(self, order: Order, token: str, expiration_s: int, signature: str) -> SignedOrder:
        return SignedOrder(
            salt=order.salt,
            maker=self._signer.maker,
            signer=self._signer.signer,
            token_id=token,
            maker_amount=str(order.maker_amount),
            taker_amount=str(order.taker_amount),
            side=order.side,
            expiration=str(expiration_s),
            signature_type=int(self._signer.kind),
            timestamp=str(order.timestamp_ms),
            metadata=ZERO_BYTES32,
            builder=ZERO_BYTES32,
            signature=signature,
        )

    @staticmethod
    def sent(place: Place, built: Built) -> tuple[Control, ...]:
        """The bytes may leave from now on; their digest is the venue's id."""
        return (Sent(order_id=place.order_id, venue_id=built.digest),)

    @staticmethod
    def placed(place: Place, built: Built, outcome: Outcome, leg: Posted | None) -> tuple[Control, ...]:
        """What became of a new order, as `outcomes.judge_leg` judged its answer."""
        order_id = place.order_id
        match outcome.verdict:
            case Verdict.NOT_SENT:
                return (NotSent(order_id=order_id, why=outcome.why),)
            case Verdict.REFUSED:
                why = "not_held" if outcome.why == "no_cash" and place.sell else outcome.why
                return (Refused(order_id=order_id, why=why, text=outcome.text),)
            case Verdict.ACCEPTED if leg is not None:
                return _accepted(place, built, outcome, leg)
        return (AnswerLost(order_id=order_id, request="place", why=outcome.text),)

    # --- cancels ----------------------------------------------------------------------------------

    @staticmethod
    def canceled(order_id: int, outcome: Outcome) -> tuple[Control, ...]:
        """What became of a cancel. The venue does not say what had traded: fills tell, or a read does."""
        match outcome.verdict:
            case Verdict.ACCEPTED:
                return (Closed(order_id=order_id, why="none", filled=UNKNOWN),)
            case Verdict.REFUSED:
                return (
                    RequestRefused(order_id=order_id, request="cancel", why=outcome.why, text=outcome.text),
                )
        return (AnswerLost(order_id=order_id, request="cancel", why=outcome.text),)

    # --- orders of an earlier process -------------------------------------------------------------

    def recognise(self, order: OpenOrder, candidates: Iterable[int], *, neg_risk: bool) -> int:
        """Which of our order ids an order at the venue has; 0: none of these.

        Raises `DataError` for an order whose price and size mean no amounts.
        """
        token = parse_token_id(order.asset_id)
        size, _ = order.sizes()
        amounts = Amounts(int(order.price) * size // PRICE_SCALE, size)
        if order.side == "SELL":
            amounts = Amounts(amounts.taker, amounts.maker)
        price_and_size(order.side, amounts)
        exchange, name = exchange_of(token, neg_risk=neg_risk), order.id.lower()
        seen_s = seconds(order.created_at)
        for order_id in candidates:
            salt = self.salt(order_id)
            for at_s in range(seen_s + _AFTER_S, seen_s - _BEFORE_S, -1):
                built = Order(salt, token, amounts.maker, amounts.taker, order.side, at_s * 1000)
                if self._signer.digest(built, exchange) == name:
                    return order_id
        return 0


def _order_type(place: Place, expiration_s: int, *, rests: bool) -> OrderType:
    if rests:
        return "GTD" if expiration_s else "GTC"
    return "FOK" if place.tif == d.FOK else "FAK"


def _accepted(place: Place, built: Built, outcome: Outcome, leg: Posted) -> tuple[Control, ...]:
    """Taken; one that never rests, or traded whole, is over at once, unless it still waits to trade."""
    order_id, filled = place.order_id, leg.filled(built.side)
    accepted = Accepted(order_id=order_id, venue_id=built.digest, filled=max(filled, 0))
    if outcome.text == "delayed":
        return (accepted,)
    if filled >= built.size:
        return accepted, Closed(order_id=order_id, why="filled", filled=filled)
    if not built.rests:
        return accepted, Closed(order_id=order_id, why="unfilled_ioc", filled=filled)
    return (accepted,)


def batch_body(orders: Iterable[Built]) -> bytes:
    """The exact bytes of `POST /orders`."""
    return _encode([built.post for built in orders])
