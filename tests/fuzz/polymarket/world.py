"""The whole adapter of an account on a line that the fuzzer holds: its answers, frames and an engine.

Only the sockets are ours: what a response or a frame says goes through `PolymarketHttp`,
`PolymarketStreams`, `PolymarketWire`, a `LiveSource` and an `Engine` as in a live process.
"""

from __future__ import annotations

import base64
import random
from typing import Any, Final

import msgspec

from fuzz.rig import SECOND, START_NS, Line, Rig
from pr3dict.domain import commands as c
from pr3dict.domain.units import BID
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket import desk
from pr3dict.venues.polymarket import models as m
from pr3dict.venues.polymarket.adapter import AdapterTerms, PolymarketWire
from pr3dict.venues.polymarket.auth import ApiKey
from pr3dict.venues.polymarket.budget import Bucket, Budget
from pr3dict.venues.polymarket.http import Hosts, PolymarketHttp
from pr3dict.venues.polymarket.markets import Life, life_of, listed
from pr3dict.venues.polymarket.numbers import reader_of
from pr3dict.venues.polymarket.sign import WalletKey
from pr3dict.venues.polymarket.streams import PolymarketStreams
from pr3dict.venues.session import Backoff, Reconnects
from venues.polymarket import bodies

BASE: Final = "http://127.0.0.1:1"
OWNER: Final = bodies.OWNER
WALLET: Final = WalletKey("11" * 32)
TIER: Final = "elite"
MUCH: Final = 10**6  # requests a second: what is tried here is not the pace
CONDITIONS: Final = ("0x" + "a1" * 32, "0x" + "b2" * 32)
TOKENS: Final = (("71321045", "52114319"), ("88813", "99914"))
TOKEN_OF: Final = {
    token: (row, is_no == 1) for row, pair in enumerate(TOKENS) for is_no, token in enumerate(pair)
}
MARKETS: Final = (
    {**bodies.GAMMA_MARKET, "id": "1", "conditionId": CONDITIONS[0], "slug": "a",
     "clobTokenIds": msgspec.json.encode(TOKENS[0]).decode(), "gameStartTime": None},
    {**bodies.GAMMA_MARKET, "id": "2", "conditionId": CONDITIONS[1], "slug": "b",
     "clobTokenIds": msgspec.json.encode(TOKENS[1]).decode(), "gameStartTime": None,
     "orderPriceMinTickSize": 0.001, "negRisk": True, "negRiskMarketID": "0x" + "c3" * 31 + "00"},
)  # fmt: skip
RESTING: Final = 4  # orders that the account has at first
SIZE: Final = 10_000_000
desk.HEARD_S = 0.0  # the account's channel says nothing between a cancel and its answer here


def body_of(kind: Any, body: Any) -> Any:
    """A typed body."""
    return reader_of(kind)(msgspec.json.encode(body))


def lives() -> list[Life]:
    """Two markets: one on cents with a fee, one of neg-risk on tenths of a cent."""
    found = []
    for row, body in enumerate(MARKETS):
        market = body_of(m.GammaMarket, body)
        found.append(life_of(listed(market, row=row), market))
    return found


def wide_budget() -> Budget:
    """A budget of the best tier, in which no address has a limit to speak of."""
    budget = Budget(START_NS, TIER)
    budget._total = Bucket(MUCH, MUCH, START_NS)
    budget._hosts = {host: Bucket(MUCH, MUCH, START_NS) for host in budget._hosts}
    budget._routes = {route: [Bucket(MUCH, MUCH, START_NS)] for route in budget._routes}
    return budget


class World(Rig):
    """One adapter, with `RESTING` orders in each market."""

    def __init__(self, seed: int) -> None:
        super().__init__("polymarket", len(CONDITIONS))
        secret = base64.urlsafe_b64encode(b"secret of the fuzzer").decode()
        key = ApiKey(WALLET.address, OWNER, secret, "passphrase")
        hosts = Hosts(BASE, BASE + "/gamma", BASE, BASE, "ws://127.0.0.1:1", "ws://127.0.0.1:1")
        self.http = PolymarketHttp(hosts, self.pace, wide_budget(), key=key, signer=WALLET)
        self.http._session = Line(self.answer)  # type: ignore[assignment]
        self.wire = PolymarketWire(
            self.http, None, self.sink, self.pace, lives(), AdapterTerms(prefix="test")
        )
        below = random.Random(seed).randrange
        self.streams = PolymarketStreams(
            hosts.ws_market, hosts.ws_user, self.pace, self.sink, [life.spec for life in lives()],
            self.wire.hear, lambda: Reconnects(Backoff(SECOND, 2 * SECOND, below), SECOND), key=key,
        )  # fmt: skip
        self.wire.streams = self.streams
        self.wire._reads._trades_read.set()  # as after the first read of a start
        ((self.line, self.link),) = self.streams._lines
        self.user, self.user_link = self.streams._user, self.streams._user_link
        self.sink.add_wire("polymarket", self.wire)
        self.next_order = 1
        self.digests: dict[str, c.Place] = {}
        for place in [*self.new(RESTING), *self.new(RESTING, market=1)]:
            self.know(place)
        self.wire._spawn(self.wire._watch_lives())

    # --- orders -------------------------------------------------------------------------------------

    def new(self, count: int, market: int = 0) -> list[c.Place]:
        """New orders that nobody has seen."""
        first, self.next_order = self.next_order, self.next_order + count
        expiry_ns = self.pace.now_ns() + 600 * SECOND
        return [
            c.Place(order_id=first + k, market=market, side=BID if k % 2 == 0 else d.ASK,
                    price=4400 if k % 2 == 0 else 5600, size=SIZE, tif=d.POST_ONLY, expiry_ns=expiry_ns)
            for k in range(count)
        ]  # fmt: skip

    def know(self, place: c.Place) -> None:
        """An order that rests already."""
        draft = self.wire._desk._draft(place)
        assert draft is not None
        draft.own.placing = False
        draft.own.answered.set()
        self.digests[draft.built.digest] = place

    def digest(self, place: c.Place) -> str:
        """The venue's name of an order."""
        return self.wire.orders.digest(place.order_id)

    # --- answers ------------------------------------------------------------------------------------

    def listings(self) -> list[Any]:
        """Both markets."""
        return [life.listing for life in lives()]

    def normal(self, method: str, path: str, body: Any) -> Any:
        """What a healthy exchange answers."""
        if path == "/order" and method == "POST":
            return self.created(body)
        if path == "/orders" and method == "POST":
            return [self.created(one) for one in body]
        if method == "DELETE":
            asked = [body["orderID"]] if isinstance(body, dict) else body or []
            return {"canceled": asked, "not_canceled": {}}
        if path == "/v1/heartbeats":
            return {"heartbeat_id": "h1"}
        if path.startswith("/data/order/"):
            return {**bodies.ORDER, "id": path.rpartition("/")[2], "asset_id": TOKENS[0][0],
                    "market": CONDITIONS[0], "status": "LIVE"}  # fmt: skip
        if path == "/gamma/markets/keyset":
            return {"markets": list(MARKETS)}
        if path.startswith("/clob-markets/"):
            return self.clob_market(CONDITIONS.index(path.rpartition("/")[2]))
        if path.startswith("/markets/"):
            return {**bodies.VERBOSE_MARKET, "condition_id": path.rpartition("/")[2], "closed": False}
        return self.bodies()[path]

    @staticmethod
    def clob_market(row: int) -> Any:
        """What the order API says of a market."""
        tokens = [{"t": token, "o": name} for token, name in zip(TOKENS[row], ("Yes", "No"), strict=True)]
        return {
            **bodies.CLOB_MARKET, "c": CONDITIONS[row], "t": tokens, "mts": (0.01, 0.001)[row],
            "nr": row == 1, "fd": {"r": 0.04, "e": 1, "to": True},
        }  # fmt: skip

    def created(self, body: Any) -> Any:
        """A new order rests under its digest."""
        salt = self.wire._desk._maker.salt
        (own,) = [own for own in self.wire.orders.placing() if salt(own.order_id) == body["order"]["salt"]]
        return {**bodies.POSTED, "orderID": own.digest, "takingAmount": ""}

    def bodies(self) -> dict[str, Any]:
        """Answers by path."""
        book = {**bodies.BOOK, "asset_id": TOKENS[0][0], "market": CONDITIONS[0]}
        return {
            "/data/orders": bodies.page(), "/data/trades": bodies.page(), "/book": book, "/books": [book],
            "/balance-allowance": {"balance": "0", "allowances": {}}, "/balance-allowance/update": {},
            "/time": self.pace.now_ns() // SECOND, "/v1/user/rate-limit-tier": {"tier": TIER},
        }  # fmt: skip

    # --- connections --------------------------------------------------------------------------------

    def connect(self) -> None:
        """New connections: everything is subscribed."""
        for link, line in ((self.link, self.line), (self.user_link, self.user)):
            link._up = False
            line.went_down("the fuzzer connects anew")
            line.hello()
            link._up = True
            link.alive_ns = self.pace.now_ns()
            line.went_up()

    def hear(self, raw: bytes, *, user: bool) -> None:
        """One frame of either channel."""
        if user:
            self.streams.hear_user(self.user, raw)
        else:
            self.streams.hear_market(self.line, raw)
