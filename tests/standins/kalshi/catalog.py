"""What the stand-in lists: series, events, markets, incentive programmes, milestones, scheduled fees.

A `Catalog` says what there is; nothing in it moves. Times are ns on the venue's clock, relative to its start
where a name ends in `_in_s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pr3dict.domain.market import PriceGrid, kalshi_grid
from pr3dict.kernels import dtypes as d
from standins.kalshi.values import SECOND, Json, fixed_uuid, iso, price_text

EMPTY: d.Array = np.zeros(0, d.EVENT)
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A series and its fees."""

    ticker: str
    title: str = "A series"
    category: str = "Financials"
    fee_type: str = "quadratic"
    fee_multiplier: float = 1.0


@dataclass(frozen=True, slots=True)
class EventSpec:
    """An event."""

    ticker: str
    series: str
    title: str = "An event"
    mutually_exclusive: bool = False
    collateral_return: str = ""
    fee_type_override: str | None = None
    fee_multiplier_override: float | None = None


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """A market. `labels` name its price grids: the first holds at first, the others can be switched to.

    `result` is what it is determined as when its tape (or a fault) does not say: yes, no, scalar (pays
    `scalar_price`) or void (every position gets its cost back).
    """

    ticker: str
    event: str
    title: str = "A market"
    labels: tuple[str, ...] = ("linear_cent", "tapered_deci_cent", "deci_cent")
    exchange_index: int = 0
    listed_in_s: float = 0.0
    open_in_s: float = 0.0
    close_in_s: float = 30 * DAY_S
    determine_after_s: float = 5.0
    settlement_timer_s: int = 60
    can_close_early: bool = True
    result: str = "yes"
    scalar_price: int = 5_000
    floor_strike: float | None = None

    @property
    def grids(self) -> tuple[PriceGrid, ...]:
        """Its price grids."""
        return tuple(kalshi_grid(label) for label in self.labels)

    @property
    def id(self) -> str:
        """Its UUID."""
        return fixed_uuid("market", self.ticker)


@dataclass(frozen=True, slots=True)
class Programme:
    """An incentive programme of a market; `reward_centicents` a period."""

    ticker: str
    start_in_s: float = -DAY_S
    end_in_s: float = DAY_S
    kind: str = "liquidity"
    reward_centicents: int = 1_000_000
    discount_bps: int = 5_000
    target: int = 1_000
    paid_out: bool = False


@dataclass(frozen=True, slots=True)
class MilestoneSpec:
    """A thing of the real world that events are about."""

    title: str
    events: tuple[str, ...]
    start_in_s: float = 3_600.0
    end_in_s: float | None = None
    category: str = "sports"
    type: str = "basketball_game"


@dataclass(frozen=True, slots=True)
class FeeChange:
    """Fees that a series (or an event) will have."""

    series: str
    in_s: float
    fee_type: str | None = "quadratic"
    multiplier: float | None = 1.0
    event: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that is listed; `events_rows` is the flow of everybody else by `exch_ns` from 0 on.

    A row's `market` is the place in `markets`, a TICK's `aux` the place in the market's grids.
    """

    series: tuple[SeriesSpec, ...]
    events: tuple[EventSpec, ...]
    markets: tuple[MarketSpec, ...]
    programmes: tuple[Programme, ...] = ()
    milestones: tuple[MilestoneSpec, ...] = ()
    fee_changes: tuple[FeeChange, ...] = ()
    flow: d.Array = field(default_factory=lambda: EMPTY)


def ranges_of(grid: PriceGrid) -> list[Json]:
    """`price_ranges` of a grid."""
    return [
        {"start": price_text(b.start), "end": price_text(b.end), "step": price_text(b.step)}
        for b in grid.bands
    ]


def small_catalog(count: int = 4, **changes: object) -> Catalog:
    """`count` quiet markets with a book of a few levels, on the shards 0 to 3 in turn; nothing moves."""
    series = (SeriesSpec("KXA"), SeriesSpec("KXB", category="Sports", fee_type="quadratic_with_maker_fees"))
    events = tuple(EventSpec(f"{series[k % 2].ticker}-{k}", series[k % 2].ticker) for k in range(count))
    markets = tuple(
        replace(MarketSpec(f"{events[k].ticker}-T{k}", events[k].ticker, exchange_index=k % 4), **changes)  # type: ignore[arg-type]
        for k in range(count)
    )
    flow = np.concatenate([EMPTY, *(standing_book(k) for k in range(count))])
    return Catalog(
        series,
        events,
        markets,
        programmes=(Programme(markets[0].ticker),),
        milestones=(MilestoneSpec("A game", (events[0].ticker,)),),
        fee_changes=(FeeChange("KXA", DAY_S, "quadratic_with_maker_fees", 0.5),),
        flow=flow,
    )


def standing_book(market: int, mid: int = 5_000, levels: int = 5, contracts: int = 100) -> d.Array:
    """LEVEL rows at time 0: `contracts` at each cent from two cents off `mid` outward."""
    rows = np.zeros(2 * levels, d.EVENT)
    rows["market"], rows["kind"], rows["qty"] = market, d.LEVEL, contracts * 1_000_000
    rows["side"] = np.repeat((d.BID, d.ASK), levels)
    steps = 200 + 100 * np.arange(levels)
    rows["price"] = np.concatenate((mid - steps, mid + steps))
    return rows


def synthetic_catalog(
    count: int, *, seed: int = 1, regime: str = "short_dated", hours: float = 4.0
) -> Catalog:
    """`count` generated markets of a regime that live for `hours`, pairs of them in one event."""
    import msgspec

    from pr3dict.runtime.synthetic import market_tape
    from pr3dict.runtime.synthetic import regime as regime_named

    chosen = msgspec.structs.replace(regime_named(regime), hours=hours)
    series = (SeriesSpec("KXSYN"), SeriesSpec("KXSYNM", fee_type="quadratic_with_maker_fees"))
    events, markets, flows = [], [], []
    for k in range(count):
        tape = market_tape(seed + k, chosen, open_ns=0)
        name = series[k // 2 % 2].ticker
        if k % 2 == 0:
            events.append(EventSpec(f"{name}-E{k // 2}", name, title=tape.meta.title))
        markets.append(
            MarketSpec(
                f"{events[-1].ticker}-M{k}", events[-1].ticker, title=tape.meta.title,
                labels=(chosen.grid, "deci_cent"), exchange_index=k // 2 % 4, close_in_s=hours * 3600,
                result=str(tape.meta.outcome),
            )
        )  # fmt: skip
        flows.append(_flow_of(tape.events, k, 0))
    return Catalog(
        series, tuple(events), tuple(markets),
        programmes=tuple(Programme(market.ticker) for market in markets[::2]), flow=_in_order(flows),
    )  # fmt: skip


def tape_catalog(paths: Sequence[str]) -> Catalog:
    """The markets of recorded tapes, shifted so that the earliest begins at the venue's start."""
    from pr3dict.runtime.listing import own_grids
    from pr3dict.runtime.tapeset import load

    tapes = load(paths, latency_ns=0)
    rows, start_ns = own_grids(tapes), tapes.start_ns
    series, events, markets = {}, {}, []
    for m, (meta, name) in enumerate(zip(tapes.metas, tapes.names, strict=True)):
        ticker = name.replace("@", "-")
        first = meta.event_id.split("-")[0]
        series[first] = SeriesSpec(first)
        events[meta.event_id] = EventSpec(meta.event_id, first, meta.title, meta.exclusive)
        close_ns = meta.close_ns if meta.close_ns is not None else tapes.last_ns[m]
        spec = MarketSpec(
            ticker, meta.event_id, title=meta.title, labels=tuple(_label(grid) for grid in meta.grids),
            close_in_s=max((close_ns - start_ns) / SECOND, 1.0), result=meta.outcome or "yes",
        )  # fmt: skip
        markets.append(spec)
    flow = _flow_of(rows, None, start_ns)
    return Catalog(tuple(series.values()), tuple(events.values()), tuple(markets), flow=flow)


_LABELS = (
    "linear_cent", "deci_cent", "tapered_deci_cent", "center_whole_edge_half_cent",
    "center_whole_edge_quint_cent", "center_half_edge_half_cent", "center_half_edge_quint_cent",
    "center_half_edge_deci_cent", "center_quint_edge_quint_cent", "center_quint_edge_deci_cent",
    "center_centi_edge_centi_cent", "center_deci_edge_centi_cent",
)  # fmt: skip


def _label(grid: PriceGrid) -> str:
    prices = grid.prices()
    found = [label for label in _LABELS if kalshi_grid(label).prices() == prices]
    return found[0] if found else "center_centi_edge_centi_cent"


def _flow_of(rows: d.Array, market: int | None, start_ns: int) -> d.Array:
    """Book and trade rows of a tape from 0 on: the venue itself opens, closes and settles."""
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


def series_json(s: SeriesSpec, fee_type: str, multiplier: float, updated_ns: int) -> Json:
    """A series."""
    return {
        "ticker": s.ticker, "frequency": "custom", "title": s.title, "category": s.category,
        "categories": [s.category], "tags": [], "settlement_sources": [], "contract_url": "",
        "contract_terms_url": "", "product_metadata": None, "fee_type": fee_type,
        "fee_multiplier": multiplier, "additional_prohibitions": [], "volume_fp": "0.00",
        "last_updated_ts": iso(updated_ns),
    }  # fmt: skip


def milestone_json(m: MilestoneSpec, start_ns: int) -> Json:
    """A milestone."""
    end = None if m.end_in_s is None else iso(start_ns + int(m.end_in_s * SECOND))
    return {
        "id": fixed_uuid("milestone", m.title, *m.events), "category": m.category, "type": m.type,
        "start_date": iso(start_ns + int(m.start_in_s * SECOND)), "end_date": end,
        "related_event_tickers": list(m.events), "primary_event_tickers": list(m.events), "title": m.title,
        "notification_message": "", "source_id": None, "source_ids": {}, "details": {},
        "last_updated_ts": iso(start_ns),
    }  # fmt: skip


def programme_json(p: Programme, market_id: str, start_ns: int) -> Json:
    """An incentive programme."""
    body: Json = {
        "id": fixed_uuid("programme", p.ticker, p.kind, p.start_in_s), "market_id": market_id,
        "market_ticker": p.ticker, "incentive_type": p.kind, "incentive_description": "",
        "start_date": iso(start_ns + int(p.start_in_s * SECOND)),
        "end_date": iso(start_ns + int(p.end_in_s * SECOND)), "period_reward": p.reward_centicents,
        "paid_out": p.paid_out, "max_reward_per_account": None,
    }  # fmt: skip
    if p.kind == "liquidity":
        body |= {"discount_factor_bps": p.discount_bps, "target_size_fp": f"{p.target}.00"}
    return body
