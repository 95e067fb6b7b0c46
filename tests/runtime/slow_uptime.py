"""Two-sided uptime from the exported lines of a journal, in the obvious slow way: nothing of the product.

Time is cut wherever anything could change; on each piece every pair of prices is tried.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

HOUR = 3600 * 10**9
BID, ASK = 0, 1
DOUBT = ("feed_down", "feed_stale", "unreconciled")


class SlowUptime:
    """Facts by time, read from JSON lines; one product that holds every market."""

    def __init__(self, text: str, size: int, spread: int, needed: int = 0) -> None:
        self.size, self.spread, self.needed = size, spread, needed
        self.steps = [json.loads(line) for line in text.splitlines()]
        self.orders: dict[int, dict] = {}
        self.alive: list[tuple[int, int, int]] = []  # order id, from, until
        self.unseen: list[tuple[int, int]] = []
        self.doubt: list[tuple[int, int]] = []
        self.sizes: dict[int, list[tuple[int, int]]] = {}
        self.markets: dict[int, dict] = {}
        self.read()

    def read(self):
        since: dict[int, int] = {}
        held: dict[str, int] = {}
        proof = last = None
        for step in self.steps:
            now = step["now_ns"]
            for event in step["inputs"]:
                if event["kind"] == "started" and last is not None:
                    self.unseen.append((last, now))
                    self.end_all(since, last)
                    proof = None
                if event["kind"] == "clock_jumped":
                    self.unseen.append((event["awake_ns"], now))
                if event["kind"] == "feed_alive":
                    proof = max(proof or 0, min(now, event["venue_ns"]))
            for event in (*step["inputs"], *step["derived"], *step["commands"]):
                kind, order_id = event["kind"], event.get("order_id", 0)
                if kind == "listed":
                    self.markets.setdefault(
                        event["market"], {"from": now, "close": event.get("close_ns", -1)}
                    )
                elif kind == "settled":
                    self.markets[event["market"]].setdefault("settled", now)
                elif kind == "held" and event["why"] in (*DOUBT, "venue_not_open"):
                    if event["on"]:
                        held[event["why"]] = now
                        starts = any(x["kind"] == "started" for x in step["inputs"])
                        if event["why"] in ("feed_down", "feed_stale") and proof is not None and not starts:
                            self.doubt.append((proof, now))
                            proof = None
                    else:
                        self.doubt.append((held.pop(event["why"]), now))
                elif kind == "place":
                    self.orders[order_id] = event
                    self.sizes[order_id] = [(now, event["size"])]
                elif kind == "accepted":
                    since.setdefault(order_id, now)
                elif kind in ("cancel", "closed", "refused", "not_sent", "answer_lost", "timed_out"):
                    self.end(since, order_id, now)
                elif kind in ("filled", "fills_read"):
                    for fill in event.get("fills", [event]):
                        self.fill(fill, now)
                elif kind == "reduced":
                    self.sizes[order_id].append((now, event["remaining"]))
            last = now
        self.end_all(since, last)
        for since_ns in held.values():
            self.doubt.append((since_ns, last))
        self.last = last
        self.first = self.steps[0]["now_ns"]

    def fill(self, fill, now):
        order_id = fill["order_id"]
        trades = self.orders[order_id].setdefault("trades", set()) if order_id in self.sizes else None
        if trades is not None and fill["trade_id"] not in trades:
            trades.add(fill["trade_id"])
            self.sizes[order_id].append((now, self.sizes[order_id][-1][1] - fill["size"]))

    def end(self, since, order_id, now):
        if order_id in since:
            self.alive.append((order_id, since.pop(order_id), now))
            since[order_id] = 2**62  # it never counts again

    def end_all(self, since, now):
        for order_id in list(since):
            if since[order_id] <= now:
                self.end(since, order_id, now)

    def hours(self):
        """Two-sided ns by start of the hour, and closed ns."""
        cuts = {self.first, self.last}
        cuts |= {t for _, a, b in self.alive for t in (a, b)}
        cuts |= {t for span in (*self.unseen, *self.doubt) for t in span}
        cuts |= {at for sizes in self.sizes.values() for at, _ in sizes}
        cuts |= {o.get("expiry_ns", 0) for o in self.orders.values()}
        cuts |= {m[key] for m in self.markets.values() for key in ("from", "close", "settled") if key in m}
        cuts |= set(range(self.first - self.first % HOUR, self.last, HOUR))
        ordered = sorted(t for t in cuts if self.first <= t <= self.last)
        quoted, closed = Counter(), Counter()
        for a, b in pairwise(ordered):
            state = self.state(a)
            if state == "quoted":
                quoted[a - a % HOUR] += b - a
            elif state == "closed":
                closed[a - a % HOUR] += b - a
        return quoted, closed

    def state(self, at):
        if any(a <= at < b for a, b in (*self.unseen, *self.doubt)):
            return "absent"
        known = [m for m, facts in self.markets.items() if facts["from"] <= at]
        opened = [m for m in known if not self.is_closed(self.markets[m], at)]
        if known and not opened:
            return "closed"
        count = sum(self.two_sided(m, at) for m in opened)
        return "quoted" if opened and count >= min(self.needed or len(opened), len(opened)) else "absent"

    @staticmethod
    def is_closed(facts, at):
        return 0 <= facts["close"] <= at or facts.get("settled", 2**62) <= at

    def two_sided(self, market, at):
        resting = []
        for order_id, a, b in self.alive:
            order = self.orders[order_id]
            expiry = order.get("expiry_ns", 0)
            if order["market"] == market and a <= at < b and not 0 < expiry <= at:
                left = [size for when, size in self.sizes[order_id] if when <= at][-1]
                if left > 0:
                    resting.append((order["side"], order["price"], left))
        return any(
            sum(s for side, price, s in resting if side == BID and price >= bid) >= self.size
            and sum(s for side, price, s in resting if side == ASK and price <= ask) >= self.size
            and ask - bid <= self.spread
            for bid in {p for side, p, _ in resting if side == BID}
            for ask in {p for side, p, _ in resting if side == ASK}
        )
