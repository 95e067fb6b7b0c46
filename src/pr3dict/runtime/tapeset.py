"""Several tapes on one clock: files to events of one replay, and the rows that say what their markets are."""

from __future__ import annotations

import glob
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError
from pr3dict.domain.fees import kalshi_rounding
from pr3dict.domain.market import PriceGrid
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.snapshots import flatten_snapshots
from pr3dict.kernels.world import Grids, make_grids, new_market
from pr3dict.runtime.jobs import Stop, run_jobs
from pr3dict.store.layouts import LAYOUTS
from pr3dict.store.series import is_series
from pr3dict.store.tape import Tape, TapeMeta, read_meta, read_tape

FEE_KINDS = {"none": d.FEE_NONE, "kalshi": d.FEE_KALSHI, "polymarket": d.FEE_POLYMARKET}

Progress = Callable[[int, int], None]  # (done, of all)


@dataclass(frozen=True, slots=True)
class TapeSet:
    """Tapes of one replay. `events` are EVENT rows by exchange time, `market` is the place in `metas`."""

    events: d.Array
    metas: tuple[TapeMeta, ...]
    names: tuple[str, ...]  # a ticker, with its session where a ticker was recorded more than once
    first_ns: tuple[int, ...]
    last_ns: tuple[int, ...]

    @property
    def start_ns(self) -> int:
        """Exchange time of the first event."""
        return min(self.first_ns)

    @property
    def span_ns(self) -> int:
        """From the first to the last event."""
        return max(self.last_ns) - self.start_ns


def expand_paths(paths: Iterable[str | Path]) -> list[Path]:
    """The tapes that files, folders (every `*.parquet` in them) and patterns name, in order, each once.

    Raises:
        DataError: a path names no file, or a folder or pattern holds no tape.
    """
    found: dict[Path, Path] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            files = sorted(path.glob("*.parquet"))
        elif path.exists():
            files = [path]
        else:
            names = sorted(glob.glob(str(given)))  # noqa: PTH207 - a pattern may be absolute
            files = [Path(name) for name in names if name.endswith(".parquet")]
        if not files:
            what = "no *.parquet tape in this folder" if path.is_dir() else "no such file"
            raise DataError(f"{what}; make tapes with `pr3dict import`", file=given)
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def load(
    paths: Iterable[str | Path], *, latency_ns: int, on_progress: Progress | None = None, jobs: int = 1
) -> TapeSet:
    """Read tapes and put their events on one clock; `latency_ns` is how much later than the exchange we see.

    Up to `jobs` tapes are read at a time; `on_progress` is called from their threads.

    Raises:
        DataError: names the file that is missing, no valid tape or without an order book, or says that there
            are none. A series is refused where it is named and left out where a folder is.
    """
    given = list(paths)
    files = _without_series(expand_paths(given), [Path(path) for path in given])
    if not files:
        raise DataError("no tape was named; give files or folders of *.parquet tapes")
    begun = itertools.count()

    def read(file: Path, _: Stop) -> Tape:
        if on_progress is not None:
            on_progress(next(begun), len(files))
        return _read_book(file)

    return merge(run_jobs([partial(read, file) for file in files], jobs), latency_ns=latency_ns)


def _without_series(files: Sequence[Path], given: Sequence[Path]) -> list[Path]:
    """`files` without the series that lie in a folder of `given`: importers write them beside the tapes."""
    folders = {path.resolve() for path in given if path.is_dir()}
    return [file for file in files if file.resolve().parent not in folders or not _says_series(file)]


def _says_series(file: Path) -> bool:
    try:
        return is_series(file)
    except DataError:  # not even Parquet
        return False


def _read_book(file: Path) -> Tape:
    """A tape that can be replayed; refuses others by their metadata, before their rows are read."""
    advice = "a replay needs an order book: give tapes of kind `book` (`pr3dict tape info` tells the kind)"
    if _says_series(file):
        what = "a series of facts about markets (resolutions or reference values), no tape"
        raise DataError(f"{what}; {advice}", file=file)
    kind = read_meta(file).kind
    if kind != "book":
        raise DataError(f"holds {LAYOUTS[kind].words}; {advice}", file=file)
    return read_tape(file)


def merge(tapes: Sequence[Tape], *, latency_ns: int) -> TapeSet:
    """Tapes on one clock, stable at equal times; snapshots become level changes.

    Recorders' clocks can't be trusted, so what we see comes `latency_ns` after exchange time, in order. A
    tape without settlement gets one row more, which closes its market where the recording stops.

    Raises:
        DataError: a tape holds nothing to replay.
    """
    grids = _all_grids([tape.meta for tape in tapes])
    parts = []
    for row, (events, meta) in enumerate(tapes):
        flat = flatten_snapshots(events)
        if not len(flat):
            raise DataError("the tape holds no book and no trade to replay", key=meta.ticker)
        part = _ended(flat)
        part["market"] = row
        _number_grids(part, [grids[grid] for grid in meta.grids])
        parts.append(part)
    events = parts[0] if len(parts) == 1 else _in_order(parts)
    events["local_ns"] = np.maximum.accumulate(events["exch_ns"] + latency_ns)
    metas = tuple(tape.meta for tape in tapes)
    return TapeSet(
        events=events,
        metas=metas,
        names=_unique_names(metas),
        first_ns=tuple(int(part["exch_ns"][0]) for part in parts),
        last_ns=tuple(int(part["exch_ns"][-1]) for part in parts),
    )


def _in_order(parts: Sequence[d.Array]) -> d.Array:
    """The rows of all parts by exchange time, each written once to its place; stable at equal times."""
    order = np.argsort(np.concatenate([part["exch_ns"] for part in parts]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    events: d.Array = np.zeros(len(order), d.EVENT)
    words = _as_words(events)  # numpy copies rows of integers five times as fast as rows of fields
    first = 0
    for part in parts:
        words[place[first : first + len(part)]] = _as_words(part)
        first += len(part)
    return events


def _as_words(events: d.Array) -> npt.NDArray[np.int64]:
    """The same memory, (rows, words of 64 bits)."""
    return events.view(np.int64).reshape(len(events), -1)


def _ended(events: d.Array) -> d.Array:
    """A tape that closes its market when it stops: nobody may quote a book that is no longer observed."""
    if events[-1]["kind"] == d.SETTLE:
        return events
    end = np.zeros(1, d.EVENT)
    end["exch_ns"], end["kind"], end["aux"] = events[-1]["exch_ns"], d.STATUS, d.CLOSED
    return np.concatenate((events, end))


def _all_grids(metas: Sequence[TapeMeta]) -> dict[PriceGrid, int]:
    """Each price grid in use with its row."""
    grids: dict[PriceGrid, int] = {}
    for meta in metas:
        for grid in meta.grids:
            grids.setdefault(grid, len(grids))
    return grids


def _number_grids(events: d.Array, rows: Sequence[int]) -> None:
    """A TICK event names a grid of its own tape: make it name the grid's row in the replay."""
    ticks = events["kind"] == d.TICK
    events["aux"][ticks] = np.asarray(rows, np.int64)[events["aux"][ticks]]


def _unique_names(metas: Sequence[TapeMeta]) -> tuple[str, ...]:
    tickers = Counter(meta.ticker for meta in metas)
    names: dict[str, None] = {}
    for meta in metas:
        name = meta.ticker if tickers[meta.ticker] == 1 else f"{meta.ticker}@{meta.session}"
        while name in names:
            name += "+"
        names[name] = None
    return tuple(names)


def grid_rows(metas: Sequence[TapeMeta]) -> tuple[Grids, list[int]]:
    """Level maps of all price grids, and the row in force at the start of each market."""
    grids = _all_grids(metas)
    return make_grids([grid.prices() for grid in grids]), [grids[meta.grids[0]] for meta in metas]


def market_rows(metas: Sequence[TapeMeta]) -> d.Array:
    """MARKET rows that know what each market is and nothing of its book.

    Markets of one event and venue share an `event` number where their tapes state that they exclude each
    other; every other market stands alone, so that worst cases add up. Two recordings of one market are not
    exclusive outcomes: the later one stands alone.
    """
    rows = new_market(len(metas))
    rows["event"] = exclusive_groups(metas)
    for row, meta in zip(rows, metas, strict=True):
        row["nets_positions"] = meta.nets_positions
        row["reduce_in_place"] = meta.reduce_in_place
        row["status"] = d.ACTIVE
        row["min_size"] = meta.min_size
        row["lot"] = meta.lot
        close = meta.close_ns if meta.close_ns is not None else -1
        row["close_ns"] = close
        row["resolution_ns"] = close if meta.expected_resolution_ns is None else meta.expected_resolution_ns
    return rows


def exclusive_groups(metas: Sequence[TapeMeta]) -> list[int]:
    """The number of each market's exclusive event, -1 where it has none."""
    numbers: dict[tuple[str, str], int] = {}
    seen: set[tuple[str, str, str]] = set()
    groups = []
    for meta in metas:
        event = (meta.venue, meta.event_id)
        outcome = (*event, meta.ticker)
        alone = not meta.exclusive or outcome in seen
        seen.add(outcome)
        groups.append(-1 if alone else numbers.setdefault(event, len(numbers)))
    return groups


def fee_rows(metas: Sequence[TapeMeta], *, at_ns: int, direct_member: bool) -> d.Array:
    """FEE rows of the schedules that the tapes state, with Kalshi's rounding rule in force at `at_ns`.

    `direct_member` is Kalshi's finer balance rounding.
    """
    rows = np.zeros(len(metas), d.FEE)
    for row, meta in zip(rows, metas, strict=True):
        row["kind"] = FEE_KINDS[meta.fee.kind]
        row["taker_ppm"] = meta.fee.taker_ppm
        row["maker_ppm"] = meta.fee.maker_ppm
        row["rebate_ppm"] = meta.fee.rebate_ppm
        rounding = kalshi_rounding(at_ns, direct_member=direct_member)
        row["trade_unit_micros"] = rounding.trade_fee_unit_micros
        row["unit_micros"] = rounding.balance_unit_micros
        row["rebate_unit_micros"] = rounding.rebate_unit_micros
    return rows


def trading_day_offset_ns(venue: str, at_ns: int) -> int:
    """Start of the trading day after midnight UTC: Kalshi keeps New York time, Polymarket UTC."""
    if venue != "kalshi":
        return 0
    local = datetime.fromtimestamp(at_ns / NS_PER_SECOND, ZoneInfo("America/New_York"))
    offset = local.utcoffset()
    assert offset is not None  # the zone is fixed above
    return int(-offset.total_seconds()) % 86_400 * NS_PER_SECOND


def fee_name(meta: TapeMeta, *, direct_member: bool) -> str:
    """One schedule in words: "kalshi taker 7%, maker 0%, cent account"."""
    fee = meta.fee
    if fee.kind == "none":
        return "none"
    rates = f"{fee.kind} taker {fee.taker_ppm / 10_000:g}%, maker {fee.maker_ppm / 10_000:g}%"
    if fee.kind == "polymarket":
        return f"{rates}, rebate {fee.rebate_ppm / 10_000:g}% of the taker's fee"
    return f"{rates}, {'direct member' if direct_member else 'account in cents'}"
