"""What may be asked of Polymarket, and when: limits of our address by route, of the signer by order.

Two independent counts. By address (IP): requests to a route, to a host and in all, in sliding windows of 10
seconds and 10 minutes. By signer: orders placed and orders cancelled, each from a bucket of its own, so that
quotes can't use up what cancels need; a batch costs one token an order, a sweep one and one for each order
that it took, which is known afterwards and may be owed. A sliding window of n is kept by a bucket that lets
at most n through in any window of that length: a fifth of n at once, the rest evenly.

Source: pages "rate limits" and "trading rate limits" of Polymarket's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.venues.session import TokenBucket

Kind = Literal["", "orders", "cancels"]
Host = Literal["clob", "gamma", "data", "site"]
Route = tuple[str, str]  # method, path template

_SHORT_S: Final = 10
_LONG_S: Final = 600
_AT_ONCE: Final = 5  # a fifth of a window at once
_RESERVE: Final = 5  # a fifth of the host's burst is for cancels
_BURST_PPM: Final = 900_000  # of the signer's burst: requests bunch on their way
TOTAL: Final = 15_000
HOSTS: Final[Mapping[str, int]] = {"clob": 9_000, "gamma": 4_000, "data": 1_000, "site": 100}

# Requests in 10 s, and in 10 min (0: no such limit).
ROUTES: Final[Mapping[Route, tuple[int, int]]] = {
    ("POST", "/order"): (5_000, 120_000),
    ("DELETE", "/order"): (5_000, 120_000),
    ("POST", "/orders"): (2_000, 21_000),
    ("DELETE", "/orders"): (2_000, 15_000),
    ("DELETE", "/cancel-all"): (250, 6_000),
    ("DELETE", "/cancel-market-orders"): (1_500, 21_000),
    ("GET", "/book"): (1_500, 0),
    ("POST", "/books"): (500, 0),
    ("GET", "/tick-size"): (200, 0),
    ("GET", "/data/orders"): (500, 0),
    ("GET", "/data/trades"): (500, 0),
    ("GET", "/data/order/{}"): (900, 0),
    ("GET", "/balance-allowance"): (200, 0),
    ("GET", "/balance-allowance/update"): (50, 0),
    ("POST", "/auth/api-key"): (100, 0),
    ("GET", "/auth/derive-api-key"): (100, 0),
    ("GET", "/auth/api-keys"): (100, 0),
    ("GET", "/markets/keyset"): (300, 0),
    ("GET", "/events/keyset"): (500, 0),
}


class Tier(NamedTuple):
    """Tokens a second and at once, of a signer's two buckets."""

    orders: int
    orders_burst: int
    cancels: int
    cancels_burst: int


TIERS: Final[Mapping[str, Tier]] = {
    "standard": Tier(40, 60, 80, 120),
    "copper": Tier(60, 90, 120, 180),
    "bronze": Tier(80, 120, 160, 240),
    "silver": Tier(200, 300, 400, 600),
    "gold": Tier(400, 600, 800, 1_200),
    "platinum": Tier(450, 675, 900, 1_350),
    "diamond": Tier(525, 787, 1_050, 1_575),
    "elite": Tier(600, 900, 1_200, 1_800),
}


class Charge(NamedTuple):
    """What one request uses: a request to its route, and `tokens` of the signer's bucket `kind`."""

    host: Host
    route: Route
    kind: Kind = ""
    tokens: int = 1
    urgent: bool = False


class Told(NamedTuple):
    """What an answer's Poly-RateLimit headers say; None and "": nothing."""

    remaining: int | None = None
    reset_ns: int = 0
    tier: str = ""
    warned: bool = False

    @property
    def is_there(self) -> bool:
        """Whether the answer had any of them."""
        return self != Told()


class Bucket(TokenBucket):
    """A token bucket that can be corrected by what the venue says."""

    __slots__ = ()

    def owe(self, now_ns: int, tokens: int) -> None:
        """Spend what was used already, even below zero."""
        self._refill(now_ns)
        self._level -= tokens * NS_PER_SECOND

    def at_most(self, now_ns: int, tokens: int) -> None:
        """No more than this is there."""
        self._refill(now_ns)
        self._level = min(self._level, tokens * NS_PER_SECOND)


def _window(requests: int, span_s: int, now_ns: int, *, reserve: bool = False) -> Bucket:
    burst = max(1, requests // _AT_ONCE)
    rate = max(1, (requests - burst) // span_s)
    return Bucket(rate, burst, now_ns, reserve=burst // _RESERVE if reserve else 0)


class Budget:
    """Buckets of one address and one signer; mutable, owned by its client."""

    def __init__(self, now_ns: int, tier: str = "standard") -> None:
        """Raises `KeyError` for a tier that Polymarket does not have."""
        self.tier = tier
        self.warnings = 0  # answers that say: this would have been refused
        self._signer = self._buckets_of(TIERS[tier], now_ns)
        self._total = _window(TOTAL, _SHORT_S, now_ns, reserve=True)
        self._hosts = {host: _window(n, _SHORT_S, now_ns, reserve=True) for host, n in HOSTS.items()}
        self._routes = {
            route: [
                _window(n, span, now_ns) for n, span in zip(limits, (_SHORT_S, _LONG_S), strict=True) if n
            ]
            for route, limits in ROUTES.items()
        }

    @staticmethod
    def _buckets_of(tier: Tier, now_ns: int) -> dict[str, Bucket]:
        def burst(tokens: int) -> int:
            return tokens * _BURST_PPM // 1_000_000

        return {
            "orders": Bucket(tier.orders, burst(tier.orders_burst), now_ns),
            "cancels": Bucket(tier.cancels, burst(tier.cancels_burst), now_ns),
        }

    def _of(self, charge: Charge) -> Iterable[tuple[Bucket, int]]:
        yield self._total, 1
        yield self._hosts[charge.host], 1
        for bucket in self._routes.get(charge.route, ()):
            yield bucket, 1
        if charge.kind:
            yield self._signer[charge.kind], charge.tokens

    def wait_ns(self, charge: Charge, now_ns: int) -> int:
        """How long until the request may leave; `session.NEVER_NS`: it never fits."""
        return max(bucket.wait_ns(now_ns, n, urgent=charge.urgent) for bucket, n in self._of(charge))

    def take(self, charge: Charge, now_ns: int) -> bool:
        """Pay for a request, if there is enough of everything."""
        if self.wait_ns(charge, now_ns) > 0:
            return False
        for bucket, n in self._of(charge):
            bucket.owe(now_ns, n)
        return True

    def owe(self, cancels: int, now_ns: int) -> None:
        """A sweep took so many orders: each costs a token."""
        self._signer["cancels"].owe(now_ns, cancels)

    def told(self, charge: Charge, said: Told, now_ns: int) -> None:
        """An answer's headers: what the venue counts wins where it is less than what we count."""
        tier = said.tier.lower()
        if tier in TIERS and tier != self.tier:
            self.set_tier(tier, now_ns)
        bucket = self._signer.get(charge.kind)
        if bucket is not None and said.remaining is not None:
            bucket.at_most(now_ns, said.remaining)
        self.warnings += said.warned

    def set_tier(self, tier: str, now_ns: int) -> None:
        """Other limits of the signer; what was spent stays spent. Raises `KeyError` for an unknown one."""
        fresh = self._buckets_of(TIERS[tier], now_ns)
        for kind, bucket in fresh.items():
            bucket.at_most(now_ns, self._signer[kind].tokens(now_ns))
        self.tier = tier
        self._signer = fresh

    def refused(self, charge: Charge, said: Told, now_ns: int) -> None:
        """The venue answered 429: the signer's bucket is empty, or, without its headers, the address's."""
        if said.is_there and charge.kind:
            bucket = self._signer[charge.kind]
            bucket.at_most(now_ns, 0)
            if now_ns < said.reset_ns < now_ns + 60 * NS_PER_SECOND:  # empty until then
                bucket.at_most(now_ns, -((said.reset_ns - now_ns) * bucket.rate // NS_PER_SECOND))
            return
        for bucket in self._routes.get(charge.route) or (self._hosts[charge.host],):
            bucket.at_most(now_ns, 0)

    def most(self, kind: Literal["orders", "cancels"]) -> int:
        """How many orders one request can ever be paid for."""
        return self._signer[kind].capacity

    def tokens(self, now_ns: int) -> dict[str, int]:
        """What is left, for `status`."""
        return {kind: bucket.tokens(now_ns) for kind, bucket in self._signer.items()}
