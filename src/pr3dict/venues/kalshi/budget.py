"""The account's request budget: tokens of reads and writes, what a call costs, and which bucket pays.

Writes that name a shard from 1 up pay from that shard's own bucket; shard 0, batches and writes without a
shard from the common one. A part of each write bucket is kept for cancels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from pr3dict.venues.kalshi.account_models import AccountLimits, BucketTerms, EndpointCosts
from pr3dict.venues.kalshi.numbers import Count
from pr3dict.venues.session import TokenBucket

DEFAULT_COST: Final = 10
COMMON: Final = 0
CANCEL_RESERVE_PPM: Final = 200_000  # of a write bucket
ARRIVALS_A_SECOND: Final = 20  # 1/20 s: what requests may differ by in how long they travel
ORDERS: Final = "/portfolio/events/orders"
BATCH: Final = f"{ORDERS}/batched"

# What is known without asking (Kalshi's documentation of rate limits); `/account/endpoint_costs` wins.
KNOWN_COSTS: Final[dict[tuple[str, str], int]] = {
    ("DELETE", f"{ORDERS}/{{}}"): 2,
    ("DELETE", ORDERS): 2,
    ("DELETE", BATCH): 2,
    ("GET", "/portfolio/orders/{}"): 2,
}
_PLACEHOLDER: Final = re.compile(r"\{[^}]*\}|:[A-Za-z_]+")
_API_PREFIX: Final = "/trade-api/v2"

BASIC: Final = AccountLimits(
    usage_tier="basic",
    read=BucketTerms(refill_rate=Count(200), bucket_capacity=Count(400)),
    write=BucketTerms(refill_rate=Count(100), bucket_capacity=Count(100)),
)


class Charge(NamedTuple):
    """What one call costs, and from which bucket."""

    tokens: int
    write: bool
    shard: int = COMMON
    urgent: bool = False


def template(path: str) -> str:
    """A path with its parameters as {}, as the table of costs keys it."""
    return _PLACEHOLDER.sub("{}", path.removeprefix(_API_PREFIX))


def _counted(terms: BucketTerms) -> int:
    """The capacity that we count: a request is paid later than it left, and a full bucket gains nothing."""
    return max(terms.bucket_capacity - terms.refill_rate // ARRIVALS_A_SECOND, terms.bucket_capacity // 2, 1)


class Budget:
    """Buckets and costs of one account; mutable, owned by its client."""

    def __init__(self, now_ns: int, limits: AccountLimits = BASIC) -> None:
        self.limits = limits
        self._costs = dict(KNOWN_COSTS)
        self._default = DEFAULT_COST
        self._read = TokenBucket(limits.read.refill_rate, _counted(limits.read), now_ns)
        self._write: dict[int, TokenBucket] = {}
        self._empty_ns = -1  # when all buckets were taken for empty; -1: they began full
        self._bucket(COMMON, now_ns)

    def set_limits(self, limits: AccountLimits, now_ns: int) -> None:
        """What `GET /account/limits` says; buckets begin empty, since others may have spent them."""
        self.limits = limits
        self._read = TokenBucket(limits.read.refill_rate, _counted(limits.read), now_ns)
        self._read.drain(now_ns)
        self._empty_ns = now_ns
        shards = list(self._write)
        self._write.clear()
        for shard in shards:
            self._bucket(shard, now_ns)

    def set_costs(self, costs: EndpointCosts) -> None:
        """What `GET /account/endpoint_costs` says; it replaces what was known before."""
        self._default = costs.default_cost
        self._costs = {(c.method.upper(), template(c.path)): c.cost for c in costs.endpoint_costs}

    def cost(self, method: str, path: str, items: int = 1) -> int:
        """Tokens of a call to a path template; a batch costs by the item."""
        key = (method, path)
        if path == BATCH and key not in self._costs:
            key = (method, f"{ORDERS}/{{}}" if method == "DELETE" else ORDERS)
        return self._costs.get(key, self._default) * items

    def batch_room(self, method: str, now_ns: int, *, urgent: bool = False) -> int:
        """How many orders a batch that leaves now may have: it has to fit into the common bucket at once."""
        bucket, cost = self._bucket(COMMON, now_ns), max(1, self.cost(method, BATCH))
        return max(0, bucket.tokens(now_ns) - (0 if urgent else bucket.reserve)) // cost

    def _bucket(self, shard: int, now_ns: int) -> TokenBucket:
        found = self._write.get(shard)
        if found is None:
            terms = self.limits.write
            reserve = terms.bucket_capacity * CANCEL_RESERVE_PPM // 1_000_000
            at_ns = now_ns if self._empty_ns < 0 else self._empty_ns
            found = TokenBucket(terms.refill_rate, _counted(terms), at_ns, reserve=reserve)
            if self._empty_ns >= 0:
                found.drain(at_ns)
            self._write[shard] = found
        return found

    def _of(self, charge: Charge, now_ns: int) -> TokenBucket:
        return self._bucket(charge.shard, now_ns) if charge.write else self._read

    def wait_ns(self, charge: Charge, now_ns: int) -> int:
        """How long until the call may leave; `session.NEVER_NS`: it never fits."""
        return self._of(charge, now_ns).wait_ns(now_ns, charge.tokens, urgent=charge.urgent)

    def take(self, charge: Charge, now_ns: int) -> bool:
        """Pay for a call, if there is enough."""
        return self._of(charge, now_ns).take(now_ns, charge.tokens, urgent=charge.urgent)

    def refused(self, charge: Charge, now_ns: int) -> None:
        """The venue answered 429: our count was too high."""
        self._of(charge, now_ns).drain(now_ns)

    def tokens(self, now_ns: int, shards: Iterable[int] = (COMMON,)) -> dict[str, int]:
        """What is left, for `status`."""
        left = {f"write_{shard}": self._bucket(shard, now_ns).tokens(now_ns) for shard in shards}
        return {"read": self._read.tokens(now_ns), **left}
