"""The token buckets of each signer: one for orders, one for cancels."""

from __future__ import annotations

from typing import Final

from standins.common.buckets import Bucket
from standins.polymarket.values import SECOND, Json

# orders a second, burst, cancels a second, burst
TIERS: Final = {
    "standard": (40, 60, 80, 120), "copper": (60, 90, 120, 180), "bronze": (80, 120, 160, 240),
    "silver": (200, 300, 400, 600), "gold": (400, 600, 800, 1_200), "platinum": (450, 675, 900, 1_350),
    "diamond": (525, 787, 1_050, 1_575), "elite": (600, 900, 1_200, 1_800),
}  # fmt: skip


class Limits:
    """Buckets by signer. A request that does not fit takes nothing."""

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self.refused = 0
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def set_tier(self, tier: str) -> None:
        """Another tier for everybody, with full buckets."""
        if tier not in TIERS:
            raise ValueError(f"there is no tier {tier!r}; known: {', '.join(TIERS)}")
        self.tier = tier
        self._buckets.clear()

    def bucket(self, now_ns: int, signer: str, kind: str) -> Bucket:
        """A signer's bucket; `kind` orders or cancels."""
        found = self._buckets.get((signer, kind))
        if found is None:
            rate, burst = TIERS[self.tier][:2] if kind == "orders" else TIERS[self.tier][2:]
            found = self._buckets[signer, kind] = Bucket(rate, burst, now_ns)
        return found

    def take(self, now_ns: int, signer: str, kind: str, cost: int, *, debt: bool = False) -> bool:
        """Pay for a request. `debt`: whatever it costs, as cancel-all does once it is let in."""
        bucket = self.bucket(now_ns, signer, kind)
        if bucket.fill(now_ns) < (1 if debt else cost):
            self.refused += 1
            return False
        bucket.tokens -= cost
        return True

    def charge(self, now_ns: int, signer: str, kind: str, cost: int) -> None:
        """Take more, below nothing if need be."""
        bucket = self.bucket(now_ns, signer, kind)
        bucket.fill(now_ns)
        bucket.tokens -= cost

    def headers(self, now_ns: int, signer: str, kind: str, *, refused: bool = False) -> dict[str, str]:
        """What the signer is told."""
        bucket = self.bucket(now_ns, signer, kind)
        tokens = bucket.fill(now_ns)
        wait_s = max(0.0, (1 - tokens) / bucket.rate)
        told = {
            "Poly-RateLimit-Remaining": str(int(tokens)), "Poly-RateLimit-Tier": self.tier,
            "Poly-RateLimit-Reset": str(int(now_ns / SECOND + wait_s) + 1),
        }  # fmt: skip
        return told | {"Retry-After": str(max(1, round(wait_s)))} if refused else told

    def json(self) -> Json:
        """`/v1/user/rate-limit-tier`."""
        orders, order_burst, cancels, cancel_burst = TIERS[self.tier]
        return {
            "tier": self.tier, "orders_per_second": orders, "orders_burst": order_burst,
            "cancels_per_second": cancels, "cancels_burst": cancel_burst,
        }  # fmt: skip
