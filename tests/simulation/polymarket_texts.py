"""Names and numbers of the modelled Polymarket: tokens, conditions, digests, and our side of an order."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.sign import Exchange, Order, Signature, WalletKind, exchange_of
from simulation.texts import plain_text

if TYPE_CHECKING:
    from pr3dict.domain import commands as c
    from pr3dict.domain import events as e
    from pr3dict.venues.simulated.truth import BookedOrder

WALLET = "0x" + "5a" * 20
OWNER = "11111111-2222-3333-4444-555555555555"  # our API key's id
STRANGER = "99999999-8888-7777-6666-555555555555"
TICKS = (100, 10, 50, 25)  # the grids of a listing, as the adapter lists a market whose tick is a cent


def condition_of(market: int) -> str:
    """The condition of a market."""
    return f"0x{market + 1:064x}"


def tokens_of(market: int) -> tuple[str, str]:
    """YES and NO of a market: every third one has positions of Protocol V2, the others old tokens."""
    if market % 3 == 2:
        return str((market + 1) << 110), str((market + 1) << 110 | 1)
    base = (market + 1) * (2**200 + 2**70)
    return str(base), str(base + 1)


class Wallet:
    """Names orders as a wallet's key would; nothing is signed."""

    address = maker = signer = WALLET
    kind = WalletKind.EOA

    def digest(self, order: Order, exchange: Exchange) -> str:
        said = f"{order}{exchange.name}".encode()
        return "0x" + blake2b(said, digest_size=32).hexdigest()

    def sign(self, order: Order, exchange: Exchange) -> Signature:
        return Signature(self.digest(order, exchange), "0x" + "00" * 65)

    def sign_auth(self, timestamp_s: int, nonce: int) -> str:
        raise AssertionError(f"nobody asks for keys here: {timestamp_s}, {nonce}")


def digest_of(signed: dict[str, Any], *, neg_risk: bool) -> str:
    """The venue's name of an order that arrives."""
    order = Order(
        int(signed["salt"]), int(signed["tokenId"]), int(signed["makerAmount"]), int(signed["takerAmount"]),
        signed["side"], int(signed["timestamp"]),
    )  # fmt: skip
    return Wallet().digest(order, exchange_of(order.token_id, neg_risk=neg_risk))


class Leg(NamedTuple):
    """One side of a trade or an order in the venue's words."""

    token: str
    side: str
    price: str


def leg_of(order: BookedOrder | e.Filled | e.VenueOrder | c.Place) -> Leg:
    """Which token an order or fill of ours buys or sells, and at which price of that token."""
    of_no = (order.side == d.BID) == order.sell
    price = 10_000 - order.price if of_no else order.price
    token = tokens_of(order.market)[of_no]
    return Leg(token, "SELL" if order.sell else "BUY", plain_text(price, 4))


def size_text(size: int) -> str:
    """Micro-contracts as contracts."""
    return plain_text(size, 6)
