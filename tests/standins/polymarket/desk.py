"""Orders as they come over the wire: what is checked before the book sees them, and how they end."""

from __future__ import annotations

from typing import Any, Final

from standins.polymarket.asking import Ask
from standins.polymarket.auth import ApiKey
from standins.polymarket.crypto import (
    ORDER_TYPE,
    checksum,
    digest_of,
    exchange_domain,
    nested_digest,
    order_struct,
    raw,
    recover,
)
from standins.polymarket.errors import OrderError, RefusedError, refused
from standins.polymarket.state import FAK, FOK, GTC, GTD, Account, MarketState, Order, Trade
from standins.polymarket.values import (
    BUY,
    DOLLAR,
    MICRO,
    SECOND,
    SELL,
    Json,
    decimal_text,
    price_text,
    read_whole,
)
from standins.polymarket.venue import CANCEL_ONLY, POST_ONLY, Venue

MOST_ORDERS: Final = 15
MOST_CANCELS: Final = 1_000
GTD_FLOOR_S: Final = 180
TRANSIT_S: Final = 3  # what a request may take on its way
SAFE_SALT: Final = 2**53
CENT: Final = 10_000  # micro: 0.01 share or dollar
POST_ONLY_TEXT: Final = "post-only mode: only post-only orders and cancels are allowed"
_FIELDS: Final = (
    "salt", "maker", "signer", "tokenId", "makerAmount", "takerAmount", "side", "expiration",
    "signatureType", "timestamp", "metadata", "builder", "signature",
)  # fmt: skip


class Desk:
    """Places and cancels."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue

    # --- placing ----------------------------------------------------------------------------------

    def place(self, ask: Ask) -> Json:
        """`POST /order`."""
        try:
            return self._answer(*self._take(ask.signer, ask.body))
        except OrderError as error:
            self._refuse_in_mode(ask.body)
            if self.venue.faults.hits("refused_as_200"):
                return _rejected(str(error))
            raise refused(400, str(error)) from None

    def _refuse_in_mode(self, body: Any) -> None:
        """A restricted exchange refuses single orders with its own status."""
        venue = self.venue
        left_s = max(0, venue.mode_until_ns - venue.now_ns) // SECOND
        if venue.mode == POST_ONLY and not (isinstance(body, dict) and body.get("postOnly") is True):
            told = {"error": POST_ONLY_TEXT, "code": "post_only_mode", "retry_after_seconds": left_s}
            raise RefusedError(503, told)
        if venue.mode == CANCEL_ONLY:
            raise refused(503, "Trading is currently cancel-only. New orders are not accepted")

    def place_many(self, ask: Ask) -> list[Json]:
        """`POST /orders`: each leg has its own answer."""
        answers = []
        for body in ask.items(MOST_ORDERS):
            try:
                answers.append(self._answer(*self._take(ask.signer, body)))
            except OrderError as error:
                answers.append(_rejected(str(error)))
        return answers

    def hold_ms(self, body: Any) -> int:
        """How long a request waits because one of its orders would take where takers wait."""
        holds = [0]
        for each in body if isinstance(body, list) else [body]:
            wire = each.get("order") if isinstance(each, dict) else None
            asset = wire.get("tokenId") if isinstance(wire, dict) else None
            found = self.venue.by_asset.get(str(asset))
            if found is not None and each.get("postOnly") is not True:
                holds.append(found[0].spec.hold_ms)
        return max(holds)

    def _answer(self, order: Order, trades: list[Trade]) -> Json:
        making, taking = order.matched, order.paid
        if order.action == BUY:
            making, taking = taking, making
        status = {"LIVE": "live", "DELAYED": "delayed"}.get(order.status, "matched")
        matched = bool(trades)
        return {
            "success": True, "errorMsg": "", "orderID": order.id, "status": "matched" if matched else status,
            "makingAmount": decimal_text(making) if matched else "",
            "takingAmount": decimal_text(taking) if matched else "",
            "tradeIDs": [trade.id for trade in trades], "transactionsHashes": [],
        }  # fmt: skip

    def _take(self, key: ApiKey, body: Any) -> tuple[Order, list[Trade]]:
        if not isinstance(body, dict) or not isinstance(body.get("order"), dict):
            raise OrderError("Invalid order payload")
        wire = body["order"]
        self._check_shape(wire)
        market, token = self._market(wire["tokenId"])
        account = self._account(key, wire, body.get("owner"))
        order_id = self._check_signature(key, wire, market)
        order = self._order(key, body, wire, account, market, token, order_id)
        venue = self.venue
        if order_id in venue.orders:
            raise OrderError(f"order {order_id} is invalid. Duplicated.")
        if venue.mode == CANCEL_ONLY:
            raise OrderError("Trading is currently cancel-only. New orders are not accepted")
        if venue.mode == POST_ONLY and not order.post_only:
            raise OrderError(POST_ONLY_TEXT)
        trades = venue.enter(order)
        if order.kind == GTD:
            venue.expire_at(order)
        return order, trades

    def _check_shape(self, wire: Json) -> None:
        numbers = ("tokenId", "makerAmount", "takerAmount", "expiration", "timestamp")
        whole = all(read_whole(wire.get(name)) is not None for name in numbers)
        salt, kind = wire.get("salt"), wire.get("signatureType")
        plain = isinstance(salt, int) and not isinstance(salt, bool) and 0 <= salt <= SAFE_SALT
        known = isinstance(kind, int) and not isinstance(kind, bool) and kind in (0, 1, 2, 3)
        texts = all(isinstance(wire.get(name), str) for name in ("maker", "signer", "signature", "builder"))
        if not (whole and plain and known and texts) or wire.get("side") not in (BUY, SELL):
            raise OrderError("Invalid order payload")
        if any(name not in wire for name in _FIELDS):
            raise OrderError("Invalid order payload")

    def _market(self, asset: str) -> tuple[MarketState, int]:
        found = self.venue.by_asset.get(asset)
        if found is None:
            raise OrderError("the orderbook does not exist")
        if found[0].status == "waiting":
            raise OrderError("the market is not yet ready to process new orders")
        if found[0].status == "resolved" or not found[0].accepting:
            raise OrderError("the market is closed")
        return found

    def _account(self, key: ApiKey, wire: Json, owner: Any) -> Account:
        if owner != key.id:
            raise OrderError("owner has to be the owner of the API KEY")
        try:
            maker, signer = checksum(wire["maker"]), checksum(wire["signer"])
        except ValueError:
            raise OrderError("Invalid order payload") from None
        account = self.venue.accounts.get(maker)
        kind = wire["signatureType"]
        wanted = maker if kind == 3 else key.owner
        if account is None or account.owner != key.owner or not account.deployed or signer != wanted:
            raise OrderError("the order signer address has to be the address of the API KEY")
        if account.kind != kind:
            raise OrderError("invalid signature")
        if not account.allowed:
            raise OrderError("maker address not allowed, please use the deposit wallet flow")
        if account.banned:
            raise OrderError("address banned")
        if account.closed_only and wire["side"] == BUY:
            raise OrderError("address in closed only mode")
        return account

    def _check_signature(self, key: ApiKey, wire: Json, market: MarketState) -> str:
        """The order's id, once its signature holds under the exchange of its market."""
        separator = exchange_domain(market.exchange)
        try:
            struct = order_struct(wire)
            digest = digest_of(separator, struct)
            if wire["signatureType"] == 3:
                signed, signature = _unwrap(wire["signature"], separator, struct, checksum(wire["maker"]))
            else:
                signed, signature = digest, raw(wire["signature"], 65)
            signer = recover(signed, signature)
        except Exception as error:  # the signature library has errors of its own
            raise OrderError("invalid signature") from error
        if signer != key.owner:
            raise OrderError("invalid signature")
        return "0x" + digest.hex()

    def _order(
        self, key: ApiKey, body: Json, wire: Json, account: Account, market: MarketState, token: int,
        order_id: str,
    ) -> Order:  # fmt: skip
        kind, post_only = body.get("orderType"), body.get("postOnly", False)
        if kind not in (GTC, GTD, FOK, FAK) or not isinstance(post_only, bool):
            raise OrderError("Invalid order payload")
        if post_only and kind in (FOK, FAK):
            raise OrderError("invalid post-only order: only GTC and GTD order types are allowed")
        making, taking = int(wire["makerAmount"]), int(wire["takerAmount"])
        buys, market_order = wire["side"] == BUY, kind in (FOK, FAK)
        size, money = (taking, making) if buys else (making, taking)
        if not size or not money:
            raise OrderError("invalid amounts")
        price = self._price(market, size, money, market_order=market_order)
        budget = money if buys and market_order else 0
        if (budget or size) % CENT:
            raise OrderError("invalid amounts, max accuracy of 2 decimals")
        if not market_order and size < market.spec.min_size * MICRO:
            raise OrderError(
                f"order {order_id} is invalid. Size ({decimal_text(size)}) lower than the minimum: "
                f"{market.spec.min_size}"
            )
        return Order(
            order_id, key.id, account, market, token, wire["side"], price, 0 if budget else size, kind,
            self.venue.now_ns, budget=budget, expiry_s=self._expiry(kind, int(wire["expiration"])),
            post_only=post_only, salt=int(wire["salt"]),
        )  # fmt: skip

    def _price(self, market: MarketState, size: int, money: int, *, market_order: bool) -> int:
        """The price that two amounts mean, on the grid."""
        tick = market.tick
        price = (money * DOLLAR + size // 2) // size
        if market_order:
            price = (price + tick // 2) // tick * tick
        slack = size * tick // 2 if market_order else DOLLAR * 100
        off = abs(money * DOLLAR - price * size) > slack
        if off or price % tick or not tick <= price <= DOLLAR - tick:
            raise OrderError(f"Price ({price_text(price)}) breaks minimum tick size rule: {price_text(tick)}")
        return price

    def _expiry(self, kind: str, seconds: int) -> int:
        now_s = self.venue.now_ns // SECOND
        if kind == GTD and seconds < now_s + GTD_FLOOR_S - TRANSIT_S:
            raise OrderError("invalid expiration")
        if kind != GTD and seconds:
            raise OrderError("invalid expiration")
        return seconds

    # --- cancelling -------------------------------------------------------------------------------

    def cancel(self, ask: Ask) -> Json:
        """`DELETE /order`."""
        order_id = ask.fields().get("orderID")
        if not isinstance(order_id, str) or not order_id:
            raise refused(400, "Invalid orderID")
        return self._cancelled(ask, [order_id])

    def cancel_many(self, ask: Ask) -> Json:
        """`DELETE /orders`."""
        return self._cancelled(ask, [str(order_id) for order_id in ask.items(MOST_CANCELS)])

    def cancel_all(self, ask: Ask) -> Json:
        """`DELETE /cancel-all`: everything of this API key."""
        return self._cancelled(ask, [order.id for order in self.venue.of_key(ask.signer.id)])

    def cancel_market(self, ask: Ask) -> Json:
        """`DELETE /cancel-market-orders`: by condition, by asset, or by both."""
        body = ask.fields()
        condition, asset = body.get("market") or "", body.get("asset_id") or ""
        if not condition and not asset:
            raise refused(400, "Invalid market or asset_id")
        chosen = [
            order.id
            for order in self.venue.of_key(ask.signer.id)
            if condition in ("", order.market.spec.condition) and asset in ("", order.asset)
        ]
        return self._cancelled(ask, chosen)

    def _cancelled(self, ask: Ask, order_ids: list[str]) -> Json:
        done: list[str] = []
        failed: dict[str, str] = {}
        for order_id in order_ids:
            order = self.venue.orders.get(order_id)
            if order is None or self.venue.owner_of[order.key] != ask.owner:
                failed[order_id] = "order can't be found - already canceled or matched"
            elif order.waiting:
                failed[order_id] = "order is delayed and can't be canceled"
            elif self.venue.cancel(order):
                done.append(order_id)
            else:
                failed[order_id] = "already canceled or matched"
        return {"canceled": done, "not_canceled": failed}

    # --- heartbeats -------------------------------------------------------------------------------

    def heartbeat(self, ask: Ask) -> Json:
        """`POST /v1/heartbeats`."""
        given = ask.fields().get("heartbeat_id") or ""
        right, following = self.venue.beat(ask.signer.id, str(given))
        if not right:
            raise RefusedError(400, {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": following})
        return {"heartbeat_id": following}


def _rejected(text: str) -> Json:
    """A leg that was not taken; it says success all the same."""
    return {
        "success": True, "errorMsg": text, "orderID": "", "status": "", "makingAmount": "",
        "takingAmount": "", "tradeIDs": [], "transactionsHashes": [],
    }  # fmt: skip


def _unwrap(blob: str, separator: bytes, struct: bytes, wallet: str) -> tuple[bytes, bytes]:
    """What the owner of a deposit wallet signed, and the signature itself.

    The blob is signature, domain separator, hash of the order, its type as text, and that text's length.

    Raises:
        ValueError: the parts do not fit the order.
    """
    if not blob.startswith("0x"):
        raise ValueError("no hex")
    data = bytes.fromhex(blob[2:])
    length = int.from_bytes(data[-2:], "big")
    if len(data) != 65 + 32 + 32 + length + 2:
        raise ValueError("the signature's parts do not add up")
    text = data[129 : 129 + length]
    if data[65:97] != separator or data[97:129] != struct or text != ORDER_TYPE.encode():
        raise ValueError("the signature is for something else")
    return nested_digest(separator, struct, wallet), data[:65]
