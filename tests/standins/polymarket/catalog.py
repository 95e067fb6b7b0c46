"""What the stand-in lists: events, markets with two tokens each, and the flow of everybody else.

A `Catalog` says what there is; nothing in it moves. Times end in `_in_s`: seconds after the venue's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

import numpy as np

from pr3dict.kernels import dtypes as d
from standins.polymarket.crypto import keccak
from standins.polymarket.values import SECOND

EMPTY: d.Array = np.zeros(0, d.EVENT)
DAY_S: Final = 86_400
HOUR_S: Final = 3_600
# feeType, rate ppm, maker-rebate share percent
FEES: Final = {
    "politics": ("politics_fees", 40_000, 25), "sports": ("sports_fees_v3", 50_000, 15),
    "crypto": ("crypto_fees_v2", 70_000, 20), "weather": ("weather_fees", 50_000, 25),
    "geopolitics": ("zero_fees", 0, 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventSpec:
    """An event; the markets of a `neg_risk` one exclude each other."""

    slug: str
    title: str = "An event"
    neg_risk: bool = False

    @property
    def neg_risk_id(self) -> str:
        """`negRiskMarketID`; empty without."""
        return "0x" + keccak(f"neg-risk/{self.slug}".encode())[:31].hex() + "00" if self.neg_risk else ""


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """A market. `ticks`, of 1/10,000 dollar: the first holds at first.

    `result` is yes, no or void; it is known `resolve_in_s` after the start, unless somebody says otherwise.
    `hold_s` holds takers back as in sports, `hold_ms` as in crypto (the request waits). `ready_in_s`: Gamma
    lists it from the start, the book takes orders from then on.
    """

    slug: str
    event: str
    question: str = "Will it happen?"
    outcomes: tuple[str, str] = ("Yes", "No")
    ticks: tuple[int, ...] = (100, 10)
    auto_tick: bool = False
    version: str = "v1"
    category: str = "politics"
    min_size: int = 5
    hold_s: int = 0
    hold_ms: int = 0
    game_start_in_s: float | None = None
    clears_at_start: bool = False
    ready_in_s: float = 0.0
    end_in_s: float = 30.0 * DAY_S
    resolve_in_s: float = 30.0 * DAY_S + 60
    result: str = "yes"
    rewards_min_size: int = 50
    rewards_max_spread_cents: float = 4.5
    rewards_daily: int = 12

    @property
    def condition(self) -> str:
        """The 32-byte condition id of the CLOB's routes."""
        return _condition(self.slug, self.version)

    @property
    def tokens(self) -> tuple[str, str]:
        """The assets of YES and NO."""
        return _tokens(self.slug, self.version)


@cache
def _condition(slug: str, version: str) -> str:
    digest = keccak(f"condition/{slug}".encode())
    return "0x" + ((b"\x01" + digest[:16] + bytes(15)) if version == "v2" else digest).hex()


@cache
def _tokens(slug: str, version: str) -> tuple[str, str]:
    """77 digits, as most real ids; a position of the second protocol is its condition and the outcome."""
    if version == "v2":
        base = int(_condition(slug, version), 16)
        return str(base), str(base | 1)
    yes, no = (int.from_bytes(keccak(f"token/{slug}/{name}".encode()), "big") for name in ("yes", "no"))
    return str(10**76 + yes % (9 * 10**76)), str(10**76 + no % (9 * 10**76))


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that is listed; `flow` is everybody else by `exch_ns` from 0 on: LEVEL, TRADE and TICK rows.

    A row's `market` is a place in `markets`, its price that of YES, a TICK's `aux` a place in `ticks`.
    """

    events: tuple[EventSpec, ...]
    markets: tuple[MarketSpec, ...]
    flow: d.Array = field(default_factory=lambda: EMPTY)


def small_catalog(count: int = 5, **changes: Any) -> Catalog:
    """`count` quiet markets with a book of a few levels: plain, fine tick without fees, two neg-risk, V2."""
    events = (EventSpec("plain"), EventSpec("field", neg_risk=True), EventSpec("second-protocol"))
    kinds = (
        MarketSpec("plain-0", "plain"),
        MarketSpec("plain-1", "plain", ticks=(10, 100), category="geopolitics"),
        MarketSpec("field-2", "field", category="sports"),
        MarketSpec("field-3", "field", category="sports"),
        MarketSpec("second-4", "second-protocol", version="v2", category="crypto"),
    )
    markets = [kinds[k] if k < len(kinds) else replace(kinds[k % 2], slug=f"plain-{k}") for k in range(count)]
    flow = np.concatenate([EMPTY, *(standing_book(k) for k in range(count))])
    return Catalog(events, tuple(replace(market, **changes) for market in markets), flow=flow)


def standing_book(market: int, mid: int = 5_000, levels: int = 5, shares: int = 100) -> d.Array:
    """LEVEL rows at time 0: `shares` at each cent from two cents off `mid` outward."""
    rows = np.zeros(2 * levels, d.EVENT)
    rows["market"], rows["kind"], rows["qty"] = market, d.LEVEL, shares * 1_000_000
    rows["side"] = np.repeat((d.BID, d.ASK), levels)
    steps = 200 + 100 * np.arange(levels)
    rows["price"] = np.concatenate((mid - steps, mid + steps))
    return rows


def synthetic_catalog(
    count: int, *, seed: int = 1, regime: str = "short_dated", hours: float = 4.0, **changes: Any
) -> Catalog:
    """`count` generated markets of a regime on cents that live for `hours`; every third pair is neg-risk."""
    import msgspec

    from pr3dict.runtime.synthetic import market_tape
    from pr3dict.runtime.synthetic import regime as regime_named

    chosen = msgspec.structs.replace(regime_named(regime), hours=hours, grid="linear_cent")
    events, markets, flows = [], [], []
    categories = list(FEES)
    for k in range(count):
        tape = market_tape(seed + k, chosen, open_ns=0)
        if k % 2 == 0:
            events.append(EventSpec(f"synthetic-{k // 2}", tape.meta.title, neg_risk=k // 2 % 3 == 1))
        spec = MarketSpec(
            f"synthetic-market-{k}", events[-1].slug, tape.meta.title, category=categories[k % len(FEES)],
            end_in_s=hours * HOUR_S, resolve_in_s=hours * HOUR_S + 60, result=str(tape.meta.outcome or "yes"),
        )  # fmt: skip
        markets.append(replace(spec, **changes))
        flows.append(_flow_of(tape.events, k, 0))
    return Catalog(tuple(events), tuple(markets), flow=_in_order(flows))


def tape_catalog(paths: Sequence[str]) -> Catalog:
    """The markets of recorded tapes, shifted so that the earliest begins at the venue's start."""
    from pr3dict.runtime.listing import own_grids
    from pr3dict.runtime.tapeset import load

    tapes = load(paths, latency_ns=0)
    rows, start_ns = own_grids(tapes), tapes.start_ns
    events, markets = {}, []
    for m, (meta, name) in enumerate(zip(tapes.metas, tapes.names, strict=True)):
        events[meta.event_id] = EventSpec(meta.event_id, meta.title)
        close_ns = meta.close_ns if meta.close_ns is not None else tapes.last_ns[m]
        end_s = max((close_ns - start_ns) / SECOND, 1.0)
        ticks = tuple(min(band.step for band in grid.bands) for grid in meta.grids)
        spec = MarketSpec(
            name.replace("@", "-"), meta.event_id, meta.title, ticks=ticks, end_in_s=end_s,
            resolve_in_s=end_s + 60, result=meta.outcome or "yes",
        )  # fmt: skip
        markets.append(spec)
    return Catalog(tuple(events.values()), tuple(markets), flow=_flow_of(rows, None, start_ns))


def _flow_of(rows: d.Array, market: int | None, start_ns: int) -> d.Array:
    """Book and trade rows of a tape from 0 on: the venue itself opens, closes and resolves."""
    flow = rows[np.isin(rows["kind"], (d.LEVEL, d.TRADE, d.TICK))].copy()
    flow = flow[flow["exch_ns"] >= start_ns]
    flow["exch_ns"] -= start_ns
    if market is not None:
        flow["market"] = market
    return flow


def _in_order(parts: Sequence[d.Array]) -> d.Array:
    rows = np.concatenate([EMPTY, *parts])
    ordered: d.Array = rows[np.argsort(rows["exch_ns"], kind="stable")]
    return ordered
