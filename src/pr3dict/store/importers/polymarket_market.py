"""One Polymarket market's recorded messages as a tape: what the WebSocket and the archive importer share.

Both hand over EVENT rows in the terms of each row's own token (`market` 0: YES, 1: the other one), in order
of arrival. `qty` of a TICK row holds the tick before it (0: not told), `aux` the tick after it; `aux` of a
TRADE row the fee rate in basis points (-1: not told).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import POLYMARKET_SHORT_CRYPTO_NS
from pr3dict.domain.market import POLYMARKET_TICKS, polymarket_grid
from pr3dict.domain.units import MONEY_SCALE, PRICE_SCALE, QTY_SCALE, format_price
from pr3dict.kernels import archive, recordings
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import ImportedTape, MarketReport, counted, event_row, events_of
from pr3dict.store.tape import Scalar, TapeFee, TapeMeta

USUAL_TICK: Final = 100  # $0.01, where no message tells
MIN_SIZE: Final = 5 * QTY_SCALE
FREE: Final = TapeFee(kind="none", source="Polymarket charged no fee before 2026-01-06.")
DEAREST: Final = TapeFee(
    kind="polymarket",
    taker_ppm=70_000,
    source="The recording does not tell the market's fee: takers are assumed to pay the dearest category's, "
    "0.07 p (1 - p) (crypto); makers pay nothing, and no rebate is assumed.",
)


class MarketFacts(NamedTuple):
    """What is known of a market besides its messages. Sizes in micro-contracts, tick in 1/10,000 dollar."""

    id: str
    tokens: Sequence[str]  # YES first
    yes_source: str  # a sentence: why the first token is YES
    ticker: str = ""  # "": its id
    event_id: str = ""
    title: str = ""
    tick: int | None = None  # at the start
    min_size: int = MIN_SIZE
    fee: TapeFee | None = None  # None: what is assumed for its time
    winner: int | None = None  # token that paid; None: not told
    resolved_ns: int | None = None


def assumed_fee(now_ns: int) -> TapeFee:
    """The fee of a market whose own is not recorded: the dearest that the venue charged at that time."""
    return DEAREST if now_ns >= POLYMARKET_SHORT_CRYPTO_NS else FREE


def to_yes_terms(events: d.Array) -> None:
    """Turn the other token's rows into YES terms, in place: a bid for NO at q is an ask for YES at 1 - q."""
    priced = (events["market"] == 1) & (events["price"] > 0)
    if priced.any():
        events["price"][priced] = PRICE_SCALE - events["price"][priced]
        events["side"][priced] = d.ASK - events["side"][priced]


def sort_by_venue(events: d.Array, arrival: npt.NDArray[np.intp] | None) -> tuple[d.Array, int]:
    """Rows by the venue's time, arrival order at equal times, and how many arrived behind a later one.

    `arrival` is the order of arrival; None: that of the rows.
    """
    times = events["exch_ns"] if arrival is None else events["exch_ns"][arrival]
    late = int((times < np.maximum.accumulate(times)).sum())
    if late:
        order = np.argsort(times, kind="stable")
        arrival = order if arrival is None else arrival[order]
    return (events if arrival is None else np.take(events, arrival)), late


def market_tape(
    events: d.Array,
    facts: MarketFacts,
    *,
    session: str,
    source_format: str,
    rows: int,
    arrival: npt.NDArray[np.intp] | None = None,
    has_trades: Literal["recorded", "none"] = "recorded",
    defects: Sequence[str] = (),
    details: dict[str, Scalar] | None = None,
) -> ImportedTape | None:
    """The tape of one market, of kind `trades` where it has trades but no book; None where it has neither.

    `events` are as the module tells and are used up; `arrival` is their order where they do not stand in it.
    `rows` is the number of recorded messages behind
    them. The book is told by the YES token's messages, or by the other's where YES has no full book.
    """
    to_yes_terms(events)
    events, late = sort_by_venue(events, arrival)
    books = events["market"][events["kind"] == d.SNAPSHOT]
    if len(books):
        source = 0 if (books == 0).any() else 1
    elif (events["kind"] == d.TRADE).any():
        source = 0
        events = events[np.isin(events["kind"], (d.TRADE, d.TICK, d.STATUS, d.SETTLE))]
    else:
        return None
    made = archive.assemble_market(events, source)
    kind: Literal["book", "trades"] = "book" if len(books) else "trades"
    figures = made.figures
    ticks, tape, found = _with_grids(made.rows, facts.tick)
    tape, more = _through_resolution(tape, facts)
    found += more
    tape, crossed, _ = recordings.uncross(tape)
    found += _defects(figures, late, crossed)
    if kind == "trades":
        found.append("no order book was recorded: the tape holds trades only")
    trades = tape["kind"] == d.TRADE
    report = MarketReport(
        session=session,
        market=facts.ticker or facts.id,
        kind=kind,
        events=len(tape),
        rows=rows,
        snapshots=int(figures[archive.SNAPSHOTS]),
        deltas=int(figures[archive.DELTAS]),
        trades=int(trades.sum()),
        settled=bool((tape["kind"] == d.SETTLE).any()),
        snapshots_checked=int(figures[archive.CHECKED]),
        snapshots_equal=int(figures[archive.EQUAL]),
        defects=(*defects, *found),
        details={
            "yes_token": facts.tokens[0],
            "tokens": len(facts.tokens),
            "book_of_other_token": source == 1,
            "mirror_checked": int(figures[archive.MIRROR_CHECKED]),
            "mirror_equal": int(figures[archive.MIRROR_EQUAL]),
            "trades_with_cause": made.caused,
            "tick_changes": len(ticks) - 1,
            **_fee_rates(tape["aux"][trades]),
            **(details or {}),
        },
    )
    tape["aux"][trades] = 0
    return ImportedTape(
        tape, _meta(facts, report, ticks, int(tape["exch_ns"][0]), source_format, has_trades), report
    )


def _defects(figures: npt.NDArray[np.int64], late: int, crossed: int) -> list[str]:
    found = []
    early = int(figures[archive.EARLY])
    if early:
        found.append(f"{counted(early, 'level change')} before the first snapshot, left out")
    unequal = int(figures[archive.CHECKED] - figures[archive.EQUAL])
    if unequal:
        found.append(f"{counted(unequal, 'snapshot')} that the replayed book did not equal; the snapshot won")
    unlike = int(figures[archive.MIRROR_CHECKED] - figures[archive.MIRROR_EQUAL])
    if unlike:
        found.append(
            f"{counted(unlike, 'instant')} at which the other token's book was no mirror of this one"
        )
    if late:
        found.append(
            f"{counted(late, 'row')} arrived behind one of a later venue time; the venue's time ordered them"
        )
    if crossed:
        found.append(f"{counted(crossed, 'instant')} with a crossed book; the older level was removed")
    return found


def _fee_rates(rates: npt.NDArray[np.int64]) -> dict[str, Scalar]:
    """The fee rates of the trades as text (they are no sum), such as `0` or `0, 200`."""
    told = np.unique(rates[rates >= 0])
    return {"fee_rate_bps": ", ".join(str(rate) for rate in told)} if len(told) else {}


# --- grids ----------------------------------------------------------------------------------------


def _with_grids(rows: d.Array, tick: int | None) -> tuple[list[int], d.Array, list[str]]:
    """The ticks in force one after the other, the rows with TICK naming their place, and defects.

    Where no message tells the first tick it is the one before the first change, else 0.01 dollar. A stretch
    whose prices do not lie on its tick gets the coarsest tick that they lie on.
    """
    places = np.flatnonzero(rows["kind"] == d.TICK)
    start = tick or int(rows["qty"][places[0]] if len(places) else 0) or USUAL_TICK
    told = [start, *(int(rows["aux"][place]) for place in places)]
    ticks: list[int] = []
    refined = 0
    for i, announced in enumerate(told):
        first = int(places[i - 1]) if i else 0
        end = int(places[i]) if i < len(places) else len(rows)
        fitting = _fitting_tick(rows[first:end], announced)
        refined += fitting != announced and (i > 0 or tick is not None)
        ticks.append(fitting)
    rows["aux"][places] = np.arange(1, len(ticks))
    rows["qty"][places] = 0
    found = []
    if refined:
        found.append(
            f"{counted(refined, 'stretch', 'stretches')} with prices off the told tick, on a finer grid"
        )
    return ticks, rows, found


def _fitting_tick(rows: d.Array, announced: int) -> int:
    if announced not in POLYMARKET_TICKS:
        raise DataError(f"Polymarket has no tick of {format_price(announced)}", key="new_tick_size")
    resting = ((rows["kind"] == d.LEVEL) | (rows["kind"] == d.SNAPSHOT)) & (rows["qty"] > 0)
    prices = np.flatnonzero(np.bincount(rows["price"][resting]))
    common = math.gcd(announced, *prices.tolist())
    return max(tick for tick in POLYMARKET_TICKS if common % tick == 0)


# --- the end --------------------------------------------------------------------------------------


def _through_resolution(rows: d.Array, facts: MarketFacts) -> tuple[d.Array, list[str]]:
    """Close and settle the market where its resolution was seen; nothing after it is on the tape."""
    if facts.resolved_ns is None:
        return rows, []
    found = []
    end = int(np.searchsorted(rows["exch_ns"], facts.resolved_ns, side="right"))
    if end < len(rows):
        found.append(f"{counted(len(rows) - end, 'row')} after the resolution, left out")
    now_ns = facts.resolved_ns
    local_ns = max(now_ns, int(rows["local_ns"][end - 1]) if end else 0)
    last = [event_row(now_ns, local_ns, d.STATUS, aux=d.CLOSED)]
    if facts.winner is not None:
        last.append(event_row(now_ns, local_ns, d.SETTLE, qty=0 if facts.winner else MONEY_SCALE))
    return np.concatenate([rows[:end], events_of(last)]), found


def _meta(
    facts: MarketFacts,
    report: MarketReport,
    ticks: Sequence[int],
    first_ns: int,
    source_format: str,
    has_trades: Literal["recorded", "none"],
) -> TapeMeta:
    outcome: Literal["yes", "no"] | None = None
    if facts.winner is not None:
        outcome = "no" if facts.winner else "yes"
    resolved = facts.resolved_ns is not None
    return TapeMeta(
        kind="trades" if report.kind == "trades" else "book",
        venue="polymarket",
        ticker=report.market,
        event_id=facts.event_id or facts.id,
        title=f"{facts.title or facts.id}: {facts.yes_source}",
        session=report.session,
        source_format=source_format,
        contract_id=facts.tokens[0],
        grids=tuple(polymarket_grid(tick) for tick in ticks),
        min_size=facts.min_size,
        lot=QTY_SCALE,
        fee=facts.fee or assumed_fee(first_ns),
        nets_positions=False,
        reduce_in_place=False,
        close_ns=facts.resolved_ns,
        expected_resolution_ns=facts.resolved_ns,
        times_source="The recorded market_resolved message." if resolved else "",
        outcome=outcome,
        outcome_source="The recorded market_resolved message." if outcome else "",
        has_trades=has_trades,
        quality={
            "deltas": report.deltas,
            "snapshots": report.snapshots,
            "snapshots_checked": report.snapshots_checked,
            "snapshots_equal": report.snapshots_equal,
            "defects": len(report.defects),
            **report.details,
        },
    )
