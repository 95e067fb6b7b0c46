"""From a venue's bytes to the decision, message by message: decode, book, fair value, quote, diff.

Recorded messages of Kalshi and Polymarket run through one process as a live engine would take them: the
decoder writes EVENT rows, one compiled call applies them and decides. Between messages, outside the measured
time, the exchange is played: it accepts what was sent. The garbage collector is frozen and off.
The last line printed is one JSON object, times in microseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from pr3dict.domain.market import kalshi_grid
from pr3dict.kernels import brain
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.jit import njit
from pr3dict.kernels.world import World, make_grids, new_market, new_world
from pr3dict.strategies.presets import preset
from pr3dict.venues.kalshi.decode import KalshiDecoder
from pr3dict.venues.polymarket.book import BookDecoder, BookSpec
from pr3dict.venues.polymarket.book_frames import messages
from recorded_messages import Feed, Frame, kalshi_feed, polymarket_feed

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = 1_000_000
ROWS = 20_000
WARM_SHARE = 10  # the first tenth of the messages is not measured
MINUTE_NS = 60_000_000_000

Decode = Callable[[bytes, int], int]


@njit
def take_message(w: World, events: d.Array, count: int, now_ns: int) -> None:
    """The compiled half: the rows of one message, then one decision of each market they changed."""
    for i in range(count):
        brain.see_event(w, events[i])
    if w.clock[0].changed_count > 0:
        brain.decide_changed(w, now_ns)


@njit
def play_exchange(w: World, now_ns: int) -> None:
    """Accept every request in the outbox, so that the next message meets orders that live."""
    clock = w.clock[0]
    mask = len(w.outbox) - 1
    while clock.outbox_head < clock.outbox_tail:
        message = w.outbox[clock.outbox_head & mask]
        clock.outbox_head += 1
        if message.kind == d.NEW:
            message.kind = d.ACK
        elif message.kind == d.CANCEL:
            message.kind = d.CANCELED
        else:
            message.kind = d.REDUCED
        message.why = d.WHY_NONE
        brain.see_report(w, message, now_ns)
    for k in range(clock.changed_count):
        w.markets[w.changed[k]].changed = 0
    clock.changed_count = 0


def compiled(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """The machine code behind `kernel` after one call: a call of it skips the look at argument types.

    That look takes longer than the decision for a tuple of structured arrays.
    """
    kernel(*arguments)
    if numba.config.DISABLE_JIT:
        return kernel  # type: ignore[no-any-return]
    (overload,) = kernel.overloads.values()
    return overload.entry_point  # type: ignore[no-any-return]


def live_world(resolution_ns: list[int], grid_label: str, *, kalshi: bool) -> World:
    """Markets under the short-dated preset, open until `resolution_ns` (one a market)."""
    n = len(resolution_ns)
    config = preset("short_dated").with_changes(max_time_to_resolution="24h")
    markets = new_market(n)
    markets["status"] = d.ACTIVE
    markets["nets_positions"] = kalshi
    markets["reduce_in_place"] = kalshi
    markets["book_includes_own"] = 0
    markets["min_size"] = CONTRACT
    markets["lot"] = CONTRACT
    markets["close_ns"] = resolution_ns
    markets["resolution_ns"] = resolution_ns
    rules = config.to_rules()
    rules[0].curve_interval_ns = MINUTE_NS
    return new_world(
        make_grids([kalshi_grid(grid_label).prices()]),
        np.repeat(config.to_params(), n),
        np.zeros(n, d.FEE),
        markets,
        grid_of_market=[0] * n,
        rules=rules,
        cash_micros=10_000 * 1_000_000,
        fill_capacity=16,
        curve_capacity=16,
    )


def run_frames(frames: list[Frame], decode: Decode, world: World, events: d.Array) -> npt.NDArray[np.int64]:
    """Nanoseconds of each frame from bytes to decision."""
    take = compiled(take_message, world, events, 0, 0)
    play = compiled(play_exchange, world, 0)
    clock = world.clock[0]
    spent = np.zeros(len(frames), np.int64)
    now = time.perf_counter_ns
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for i, (raw, local_ns) in enumerate(frames):
            began = now()
            count = decode(raw, local_ns)
            take(world, events, count, local_ns)
            spent[i] = now() - began
            if clock.outbox_head != clock.outbox_tail:
                play(world, local_ns)
    finally:
        gc.enable()
        gc.unfreeze()
    return spent


def measure_kalshi(feed: Feed) -> tuple[npt.NDArray[np.int64], World]:
    """All frames of a Kalshi feed."""
    events = np.zeros(ROWS, d.EVENT)
    rows = {ticker: row for row, ticker in enumerate(feed.last_ns)}
    world = live_world([ns + 5 * MINUTE_NS for ns in feed.last_ns.values()], "tapered_deci_cent", kalshi=True)
    decoder = KalshiDecoder(rows, events)
    return run_frames(feed.frames, decoder.decode, world, events), world


def measure_polymarket(feed: Feed, tokens: list[tuple[str, str]]) -> tuple[npt.NDArray[np.int64], World]:
    """All frames of a Polymarket feed, through the books that a live process keeps, with their checks."""
    events = np.zeros(ROWS, d.EVENT)
    world = live_world([feed.last_ns[yes] + 60 * MINUTE_NS for yes, _ in tokens], "deci_cent", kalshi=False)
    decoder = BookDecoder(events)
    for row, (yes, no) in enumerate(tokens):
        decoder.add(
            BookSpec(
                market=row, condition=f"0x{yes[:64]}", yes=yes, no=no, tick=100, min_size=CONTRACT,
                neg_risk=False,
            )
        )  # fmt: skip

    def decode(raw: bytes, local_ns: int) -> int:
        count = 0
        for message in messages(raw):
            count, _ = decoder.decode(message, local_ns)
        return count

    return run_frames(feed.frames, decode, world, events), world


def percentiles(spent: npt.NDArray[np.int64]) -> dict[str, float]:
    """Median and 99th percentile in microseconds."""
    return {f"p{q}_us": round(float(np.percentile(spent, q)) / 1_000, 3) for q in (50, 99)}


def summary(spent: npt.NDArray[np.int64], world: World) -> dict[str, float]:
    """What one venue's frames took and made."""
    return {
        **percentiles(spent),
        "messages": len(spent),
        "decisions": int(world.clock[0].decisions),
        "orders": int(world.stats["orders"].sum()),
    }


def measure(data: Path, most: int) -> dict[str, Any]:
    """Run up to `most` messages a venue."""
    kalshi_frames = kalshi_feed(data / "kalshi-kxbtc15m-l2-a", most)
    polymarket_frames, tokens = polymarket_feed(data / "polymarket-mlb-l2-2025", most)
    results = {
        "kalshi": measure_kalshi(kalshi_frames),
        "polymarket": measure_polymarket(polymarket_frames, tokens),
    }
    steady = {venue: spent[len(spent) // WARM_SHARE :] for venue, (spent, _) in results.items()}
    everything = np.concatenate(list(steady.values()))
    return {
        **percentiles(everything),
        "messages": len(everything),
        **{venue: summary(steady[venue], world) for venue, (_, world) in results.items()},
    }


def main() -> None:
    """Print the measurement as one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("PR3DICT_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=Path(default), help="folder of recordings (or PR3DICT_DATA)"
    )
    parser.add_argument("--messages", type=int, default=100_000, help="most messages a venue")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"no recordings at {arguments.data}: name their folder with --data or PR3DICT_DATA")
    print(json.dumps(measure(arguments.data, arguments.messages)))


if __name__ == "__main__":
    main()
