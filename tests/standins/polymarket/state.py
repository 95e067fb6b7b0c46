"""What changes at the stand-in: accounts, orders, trades, markets, and the notes that streams are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from standins.polymarket.book import Book, Resting
from standins.polymarket.catalog import FEES, EventSpec, MarketSpec
from standins.polymarket.crypto import ADDRESSES
from standins.polymarket.values import (
    ASK,
    BID,
    BUY,
    MS,
    NO,
    PUSD,
    SECOND,
    YES,
    Json,
    decimal_text,
    opposite,
    price_text,
)

GTC, GTD, FOK, FAK = "GTC", "GTD", "FOK", "FAK"
CROWD: Final = "0x00000000000000000000000000000000000C4095"  # everybody else, with all the money there is
FINAL: Final = ("CONFIRMED", "FAILED")
UNLIMITED: Final = 2**256 - 1


class Note(NamedTuple):
    """Something that a channel tells: `owner` is the EOA of a user note, `custom` a custom feature."""

    market: int
    body: Json
    owner: str = ""
    assets: tuple[str, ...] = ()
    custom: bool = False


@dataclass(slots=True)
class Account:
    """A wallet and who owns it; kind 0 EOA, 1 proxy, 2 Safe, 3 deposit wallet."""

    wallet: str
    owner: str
    kind: int
    deployed: bool = True
    allowed: bool = True  # to trade with orders of this kind
    closed_only: bool = False
    banned: bool = False
    spenders: dict[str, int] = field(default_factory=dict)  # pUSD allowances
    operators: set[str] = field(default_factory=set)  # of its tokens
    nonce: int = 0

    def approve_all(self) -> None:
        """As after the venue's set-up of a wallet."""
        names = ("standard", "neg_risk", "v3", "adapter", "neg_risk_adapter", "router")
        self.spenders = {ADDRESSES[name]: UNLIMITED for name in names}
        self.operators = {ADDRESSES[name] for name in names}


@dataclass(slots=True)
class MarketState:
    """A market as it stands. `status`: waiting (not yet at the book), active, resolved."""

    spec: MarketSpec
    event: EventSpec
    place: int
    ready_ns: int
    end_ns: int
    start_ns: int
    game_start_ns: int = 0
    listed_start_ns: int = 0  # as Gamma has it
    status: str = "active"
    accepting: bool = True
    tick: int = 100
    uma: str | None = None
    winner: int | None = None  # the place of a token; None of a resolved market: void
    book: Book = field(default_factory=Book)
    recorded: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    traded: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    touch: tuple[int, int] = (0, 10_000)
    last_price: int = 0  # YES
    last_side: str = ""
    volume_micros: int = 0
    prices: list[tuple[int, int]] = field(default_factory=list)
    rewards_min_size: int = 0
    fees_micros: dict[str, int] = field(default_factory=dict)  # taker fees by UTC day

    @property
    def neg_risk(self) -> bool:
        """Of an event whose outcomes exclude each other."""
        return self.event.neg_risk

    @property
    def exchange(self) -> str:
        """The exchange that settles it."""
        if self.spec.version == "v2":
            return "v3"
        return "neg_risk" if self.neg_risk else "standard"

    @property
    def tokens(self) -> tuple[str, str]:
        """Its assets."""
        return self.spec.tokens

    @property
    def fee_rate_ppm(self) -> int:
        """Of the taker."""
        return FEES[self.spec.category][1]

    def payouts(self) -> tuple[int, int]:
        """Micro-dollars of a share of each token after resolution."""
        if self.winner is None:
            return 500_000, 500_000
        return (1_000_000, 0) if self.winner == YES else (0, 1_000_000)


@dataclass(slots=True, eq=False)
class Order:
    """An order of a client. Prices are of its own token; `budget` is what a FAK or FOK BUY spends."""

    id: str
    key: str  # API key
    account: Account
    market: MarketState
    token: int
    action: str
    price: int
    size: int
    kind: str
    created_ns: int
    budget: int = 0
    expiry_s: int = 0
    post_only: bool = False
    salt: int = 0  # that was signed
    status: str = "LIVE"
    matched: int = 0
    paid: int = 0  # micro-dollars that changed hands
    trades: list[str] = field(default_factory=list)
    resting: Resting | None = None
    waiting: bool = False  # for its taker hold to end

    @property
    def side(self) -> int:
        """Of the book in YES terms."""
        return BID if (self.action == BUY) == (self.token == YES) else ASK

    @property
    def yes_price(self) -> int:
        """Its price in YES terms."""
        return self.price if self.token == YES else opposite(self.price)

    @property
    def asset(self) -> str:
        """The token's id."""
        return self.market.tokens[self.token]

    @property
    def spends(self) -> str:
        """What it pays with: pUSD or the token."""
        return PUSD if self.action == BUY else self.asset

    @property
    def left(self) -> int:
        """Micro-shares that rest."""
        return self.resting.left if self.resting else 0

    def reserved(self) -> int:
        """What it keeps from other orders."""
        if self.waiting:
            return self.budget or (-(-self.size * self.price // 10_000) if self.action == BUY else self.size)
        if self.action == BUY:
            return -(-self.left * self.price // 10_000)
        return self.left

    @property
    def original(self) -> str:
        """Shares, or dollars for a BUY with a budget."""
        return decimal_text(self.budget or self.size)

    def json(self) -> Json:
        """As reads show it."""
        return {
            "id": self.id, "status": self.status, "owner": self.key, "maker_address": self.account.wallet,
            "market": self.market.spec.condition, "asset_id": self.asset, "side": self.action,
            "original_size": self.original, "size_matched": decimal_text(self.matched),
            "price": price_text(self.price), "outcome": self.market.spec.outcomes[self.token],
            "order_type": self.kind, "expiration": str(self.expiry_s), "associate_trades": list(self.trades),
            "created_at": self.created_ns // SECOND,
        }  # fmt: skip

    def told(self, kind: str, now_ns: int) -> Json:
        """An `order` event: PLACEMENT, UPDATE or CANCELLATION."""
        return self.json() | {
            "event_type": "order", "type": kind, "order_owner": self.key,
            "associate_trades": list(self.trades) or None, "created_at": str(self.created_ns // SECOND),
            "timestamp": str(now_ns // MS),
        }  # fmt: skip


class Leg(NamedTuple):
    """What a settled trade changes: an asset of a wallet, by so much."""

    wallet: str
    asset: str
    amount: int


@dataclass(slots=True)
class Share:
    """One maker's part of a trade. `order` None: somebody else's."""

    order_id: str
    owner: str  # API key
    wallet: str
    token: int
    action: str
    price: int
    size: int
    order: Order | None = None


@dataclass(slots=True)
class Trade:
    """One taker against the makers of one price. Prices are of the taker's token."""

    id: str
    market: MarketState
    taker_id: str
    taker_key: str
    taker_wallet: str
    taker: Order | None
    token: int
    action: str
    price: int
    size: int
    fee: int
    matched_ns: int
    makers: list[Share]
    legs: list[Leg] = field(default_factory=list)
    minted: int = 0  # pairs that its settlement makes, less those it burns
    status: str = "MATCHED"
    updated_ns: int = 0
    hash: str = ""

    def parties(self) -> dict[str, str]:
        """By API key, TAKER or MAKER."""
        found = {share.owner: "MAKER" for share in self.makers if share.order}
        if self.taker:
            found[self.taker_key] = "TAKER"
        return found

    def json(self, role: str) -> Json:
        """As reads show it to one who was TAKER or MAKER."""
        spec = self.market.spec
        rows = [
            {
                "order_id": share.order_id, "owner": share.owner, "maker_address": share.wallet,
                "matched_amount": decimal_text(share.size), "price": price_text(share.price),
                "fee_rate_bps": "0", "asset_id": spec.tokens[share.token],
                "outcome": spec.outcomes[share.token], "outcome_index": share.token, "side": share.action,
            }
            for share in self.makers
        ]  # fmt: skip
        return {
            "id": self.id, "taker_order_id": self.taker_id, "market": spec.condition,
            "asset_id": spec.tokens[self.token], "side": self.action, "size": decimal_text(self.size),
            "fee_rate_bps": "0", "price": price_text(self.price), "status": f"TRADE_STATUS_{self.status}",
            "match_time": str(self.matched_ns // SECOND), "last_update": str(self.updated_ns // SECOND),
            "outcome": spec.outcomes[self.token], "bucket_index": 0, "owner": self.taker_key,
            "maker_address": self.taker_wallet, "transaction_hash": self.hash, "trader_side": role,
            "maker_orders": rows,
        }  # fmt: skip

    def told(self, key: str, role: str) -> Json:
        """A `trade` event for one of its parties."""
        return self.json(role) | {
            "event_type": "trade", "type": "TRADE", "status": self.status, "trade_owner": key,
            "timestamp": str(self.updated_ns // MS),
        }  # fmt: skip


def other(token: int) -> int:
    """The market's other token."""
    return NO if token == YES else YES


def fee_of(size: int, price: int, rate_ppm: int) -> int:
    """The taker's fee in micro-dollars: shares x rate x p (1 - p), to five decimals, half up.

    Size in micro-shares, price in 1/10,000 dollar.
    """
    whole = size * rate_ppm * price * (10_000 - price)
    unit = 10 * 1_000_000 * 10_000 * 10_000  # ten micro-dollars
    return (whole + unit // 2) // unit * 10


def rebate_percent(market: MarketState) -> int:
    """Percent of a market's taker fees that go back to makers."""
    return FEES[market.spec.category][2]


def event_id(place: int) -> str:
    """Gamma's id of an event."""
    return str(9_000 + place)


def market_id(place: int) -> str:
    """Gamma's id of a market."""
    return str(540_000 + place)
