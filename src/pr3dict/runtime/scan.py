"""What `pr3dict scan` finds: each tape watched by the brain without quoting, judged and ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pr3dict.domain.units import NS_PER_HOUR
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.quote_state import resolution_left_ns, takes_orders
from pr3dict.kernels.rotation import score_row, watch
from pr3dict.kernels.selection import mean_left_ns, watch_quotes
from pr3dict.kernels.selection_rows import new_selection
from pr3dict.kernels.world import World, new_world
from pr3dict.runtime.tapeset import expand_paths, fee_rows, grid_rows, market_rows, merge
from pr3dict.store.tape import Tape, TapeMeta, read_tape
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.selection import (
    BOOK,
    DEPTH,
    TRADES,
    Candidate,
    Rejection,
    Score,
    rejections,
    score_of,
    statistics,
)

STATUS_WORDS = {
    d.INITIALIZED: "not yet open",
    d.PAUSED: "paused",
    d.CLOSED: "closed",
    d.DETERMINED: "determined",
    d.SETTLED: "settled",
    d.RESTARTING: "restarting",
}
MISSING = {"book": (), "trades": (BOOK, DEPTH), "quotes": (DEPTH, TRADES), "bars": (BOOK, DEPTH, TRADES)}
NOT_YET = "not_yet_open"

Progress = Callable[[int, int], None]  # (done, of all)


@dataclass(frozen=True, slots=True)
class Judged:
    """A tape's market and what was found of it. `left_ns`: time to resolution judged, -1 unknown."""

    meta: TapeMeta
    candidate: Candidate
    left_ns: int


def scan(
    paths: Iterable[str | Path],
    config: MarketMakingConfig,
    *,
    at_ns: int | None = None,
    on_progress: Progress | None = None,
) -> list[Judged]:
    """Judge the market of each tape, in the order of the files, one tape in memory at a time.

    Without `at_ns` every figure is its average over the tape, time to resolution too. With it, statistics
    come from before that moment and fade as `selection_memory` says, as they do in a running rotation.

    Raises:
        DataError: names the file that is missing or no valid tape.
    """
    files = expand_paths(paths)
    tickers = []
    found = []
    for done, file in enumerate(files):
        if on_progress is not None:
            on_progress(done, len(files))
        judged = judge(read_tape(file), config, at_ns=at_ns)
        tickers.append(judged.meta.ticker)
        found.append(judged)
    return [one if tickers.count(one.meta.ticker) == 1 else _with_session(one) for one in found]


def _with_session(judged: Judged) -> Judged:
    meta, candidate = judged.meta, judged.candidate
    name = f"{meta.ticker}@{meta.session}"
    renamed = Candidate(name, candidate.statistics, candidate.score, candidate.rejections, candidate.missing)
    return Judged(meta, renamed, judged.left_ns)


def judge(tape: Tape, config: MarketMakingConfig, *, at_ns: int | None = None) -> Judged:
    """Statistics, rejections and score of one tape's market."""
    missing = MISSING[tape.meta.kind]
    if tape.meta.kind == "book" and tape.meta.has_trades == "none":
        missing = (TRADES,)
    if tape.meta.kind == "book":
        return _judge_book(tape, config, at_ns, missing)
    return _judge_partly(tape, config, at_ns, missing)


def _world(tape: Tape, config: MarketMakingConfig, memory_ns: int) -> tuple[World, d.Array]:
    tapes = merge([tape], latency_ns=0)
    grids, first_grids = grid_rows(tapes.metas)
    rules = np.zeros(1, d.RULES)
    rules["selection_memory_ns"] = memory_ns
    world = new_world(
        grids,
        config.to_params(),
        fee_rows(tapes.metas, at_ns=tapes.start_ns, direct_member=False),
        market_rows(tapes.metas),
        grid_of_market=first_grids,
        rules=rules,
        cash_micros=0,
        fill_capacity=1,
        curve_capacity=1,
        ring_capacity=64,
    )
    return world, tapes.events


def _judge_book(
    tape: Tape, config: MarketMakingConfig, at_ns: int | None, missing: tuple[str, ...]
) -> Judged:
    memory_ns = 0 if at_ns is None else config.integer("selection_memory")
    world, events = _world(tape, config, memory_ns)
    watch(world, events, int(events["local_ns"][-1]) if at_ns is None else at_ns - 1)
    row, market = world.selections[0], world.markets[0]
    left_ns = mean_left_ns(row) if at_ns is None else resolution_left_ns(market, at_ns)
    score: Score | None = None
    if TRADES not in missing and int(row.two_sided):
        score_row(world, 0, left_ns)
        score = score_of(world.scores[0])
    why = list(rejections(row, world.params[0], left_ns, missing))
    if at_ns is not None and int(events["local_ns"][0]) >= at_ns:
        why = [Rejection(NOT_YET, "the tape begins later")]
    elif at_ns is not None and not takes_orders(market):
        why = [Rejection(d.REASON_NAMES[d.R_NOT_ACTIVE], _not_open(tape, int(market.status), at_ns))]
    stats = statistics(row, missing=missing)
    return Judged(tape.meta, Candidate(tape.meta.ticker, stats, score, tuple(why), missing), left_ns)


def _not_open(tape: Tape, status: int, at_ns: int) -> str:
    last = tape.events[-1]
    if last["exch_ns"] < at_ns and last["kind"] != d.SETTLE:
        return "the tape ends earlier"
    return f"the market is {STATUS_WORDS.get(status, 'not open')} at that moment"


def _judge_partly(
    tape: Tape, config: MarketMakingConfig, at_ns: int | None, missing: tuple[str, ...]
) -> Judged:
    """A tape without a book: its spread where it has one, its trades where it has them, and its times."""
    meta = tape.meta
    time = "start_ns" if meta.kind == "bars" else "exch_ns"
    known_at = "released_ns" if meta.kind == "bars" else time
    rows = tape.events if at_ns is None else tape.events[tape.events[known_at] < at_ns]
    row, market = new_selection()[0], market_rows([meta])[0]
    first_ns = int(tape.events[time][0])
    end_ns = int(tape.events[time][-1]) if at_ns is None else at_ns - 1
    if meta.kind == "quotes" and len(rows):
        watch_quotes(rows["exch_ns"], rows["bid_price"], rows["ask_price"], end_ns, market, row)
    elif meta.kind == "trades":
        trades = rows[rows["kind"] == d.TRADE]
        for side in (d.BID, d.ASK):
            sizes = trades["qty"][trades["side"] == side]
            row["trades"][side], row["contracts"][side] = len(sizes), sizes.sum()
    left_ns = mean_left_ns(row)
    if left_ns < 0 or at_ns is not None:
        left_ns = resolution_left_ns(market, (first_ns + end_ns) // 2 if at_ns is None else at_ns)
    why = rejections(row, config.to_params()[0], left_ns, missing)
    if not len(rows):
        why = (Rejection(NOT_YET, "the tape begins later"),)
    hours = (end_ns - first_ns) / NS_PER_HOUR if meta.kind != "quotes" else None
    stats = statistics(row, hours=hours, missing=missing)
    return Judged(meta, Candidate(meta.ticker, stats, None, why, missing), left_ns)
