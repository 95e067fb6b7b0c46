"""Token buckets of the account: read, write, and a write bucket of its own for each other shard."""

from __future__ import annotations

import re
from typing import Final

from standins.common.buckets import Bucket
from standins.kalshi.values import Json

TIERS: Final = {
    "basic": (200, 100, 2, 1), "advanced": (300, 300, 2, 2), "expert": (600, 600, 1, 2),
    "premier": (1_200, 1_200, 1, 2), "paragon": (2_400, 2_400, 1, 2), "prime": (4_800, 4_800, 1, 2),
    "prestige": (12_000, 9_600, 1, 2),
}  # fmt: skip
DEFAULT_COST: Final = 10
_ROOT: Final = "/trade-api/v2"
COSTS: Final = (
    ("DELETE", "/portfolio/events/orders/{order_id}", 2),
    ("DELETE", "/portfolio/events/orders", 2),
    ("DELETE", "/portfolio/events/orders/batched", 2),
    ("GET", "/portfolio/orders/{order_id}", 2),
)
_PATTERNS: Final = tuple(
    (method, re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path, cost) for method, path, cost in COSTS
)


class Limits:
    """The buckets of one account. A request that does not fit into all it needs takes nothing."""

    def __init__(self, tier: str, shards: list[int], now_ns: int) -> None:
        self.tier = tier
        self.refused = 0
        self.spent = 0.0
        self._shards = [shard for shard in shards if shard]
        self.set_tier(tier, now_ns)

    def set_tier(self, tier: str, now_ns: int) -> None:
        """The limits of another usage tier, with full buckets."""
        read, write, read_s, write_s = TIERS[tier]
        self.tier = tier
        self.read = Bucket(read, read * read_s, now_ns)
        self.write = {shard: Bucket(write, write * write_s, now_ns) for shard in [0, *self._shards]}

    def take(
        self, now_ns: int, method: str, path: str, *, items: int, shard: int | None, routed: bool
    ) -> bool:
        """Pay for a request. `routed`: a single order without a shard of its own, found by its ticker."""
        cost = self.cost(method, path) * items
        if method == "GET":
            buckets = [self.read]
        elif shard is not None and shard > 0 and shard in self.write:
            buckets = [self.write[shard]]
        elif routed:
            buckets = list(self.write.values())
        else:
            buckets = [self.write[0]]
        if any(bucket.fill(now_ns) < cost for bucket in buckets):
            self.refused += 1
            return False
        for bucket in buckets:
            bucket.tokens -= cost
        self.spent += cost
        return True

    def cost(self, method: str, path: str) -> int:
        """Tokens of one request (of a batch: of one item)."""
        for verb, pattern, _, cost in _PATTERNS:
            if verb == method and pattern.fullmatch(path):
                return 10 if path.endswith(("/queue_positions",)) else cost
        return DEFAULT_COST

    def json(self) -> Json:
        """`GET /account/limits`."""
        return {
            "usage_tier": self.tier,
            "read": {"refill_rate": int(self.read.rate), "bucket_capacity": int(self.read.capacity)},
            "write": {
                "refill_rate": int(self.write[0].rate), "bucket_capacity": int(self.write[0].capacity),
            },
            "grants": [
                {
                    "exchange_instance": "event_contract", "level": self.tier, "expires_ts": None,
                    "source": "manual",
                }
            ],
        }  # fmt: skip

    @staticmethod
    def costs_json() -> Json:
        """`GET /account/endpoint_costs`."""
        costs = [{"method": m, "path": _ROOT + path, "cost": cost} for m, _, path, cost in _PATTERNS]
        return {"default_cost": DEFAULT_COST, "endpoint_costs": costs}
