"""What a hockey recording of Polymarket holds: rows of all tokens, the markets they are, a score feed."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import PRICE_SCALE, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.polymarket_common import MS_NS, IntArray, exact_units, read_columns, words

COLUMNS: Final = ("timestamp", "price", "size", "best_bid", "best_ask", "side", "event_type", "asset_id")
SIDES: Final = {"BID": d.BID, "ASK": d.ASK}
KINDS: Final = {"PRICE_CHANGE": False, "LAST_TRADE": True}
MIRROR_SHARE: Final = 0.9  # of the changes of both tokens: fewer in common prove no pair
PERIODS: Final = 3
PERIOD_S: Final = 1_200
BREAK_S: Final = 1_080
SCORE_COLUMNS: Final = (
    "ts_ms",
    "event_id",
    "period",
    "display_clock",
    "home_team",
    "home_score",
    "away_team",
    "away_score",
)


# --- reading --------------------------------------------------------------------------------------


class Recording(NamedTuple):
    """All rows in order of arrival, one array a column; prices and sizes in units."""

    now_ms: IntArray
    price: IntArray
    size: IntArray
    bid: IntArray  # best after the change; 0: none
    ask: IntArray  # PRICE_SCALE: none
    side: IntArray
    is_print: IntArray
    token: IntArray  # index of `tokens`
    tokens: list[str]  # in order of appearance


def read_recording(parts: Sequence[Path]) -> Recording:
    """The rows of all files in their order. Raises `DataError` that names file and row (from 1)."""
    tokens: dict[str, int] = {}
    columns = [_read_part(part, tokens) for part in parts]
    now_ms, price, size, bid, ask, side, is_print, token = map(np.concatenate, zip(*columns, strict=True))
    return Recording(now_ms, price, size, bid, ask, side, is_print, token, list(tokens))


def _read_part(path: Path, tokens: dict[str, int]) -> tuple[IntArray, ...]:
    table = read_columns(path, COLUMNS)
    price = exact_units(table, "price", PRICE_SCALE, path).values
    size = exact_units(table, "size", QTY_SCALE, path).values
    bid = exact_units(table, "best_bid", PRICE_SCALE, path).values
    ask = exact_units(table, "best_ask", PRICE_SCALE, path).values
    side = _codes(table, "side", SIDES, path)
    is_print = _codes(table, "event_type", KINDS, path)
    names = words(table, "asset_id", path)
    token = np.array([tokens.setdefault(name, len(tokens)) for name in names], np.int64)
    faults = {
        "price: outside 0 to 1 dollar": (price <= 0) | (price >= PRICE_SCALE),
        "size: a print of nothing": (is_print == 1) & (size == 0),
        "best_bid: at or above best_ask": (is_print == 0) & (ask > 0) & (bid >= ask),
        "best_ask: above 1 dollar": ask > PRICE_SCALE,
    }
    for sentence, faulty in faults.items():
        if faulty.any():
            raise DataError(sentence, file=path, row=int(np.argmax(faulty)) + 1)
    return (
        _times_ms(table, path),
        price,
        size,
        bid,
        np.where(ask == 0, PRICE_SCALE, ask),
        side,
        is_print,
        token,
    )


def _times_ms(table: pa.Table, path: Path) -> IntArray:
    column = table.column("timestamp")
    wanted = pa.timestamp("ms", "UTC")
    if column.type != wanted or column.null_count:
        raise DataError(f"must be {wanted} without nulls, is {column.type}", file=path, key="timestamp")
    times: IntArray = column.cast(pa.int64()).to_numpy()
    if times.min() <= 0:
        raise DataError("before 1970", file=path, row=int(np.argmin(times)) + 1, key="timestamp")
    return times


def _codes(table: pa.Table, name: str, known: dict[str, int] | dict[str, bool], path: Path) -> IntArray:
    texts = words(table, name, path)
    for text in set(texts) - known.keys():
        sentence = f"{text!r} is none of {', '.join(known)}"
        raise DataError(sentence, file=path, row=texts.index(text) + 1, key=name)
    return np.array([known[text] for text in texts], np.int64)


# --- markets out of tokens ------------------------------------------------------------------------


class Change(NamedTuple):
    """A new resting size in YES terms, with the touch that is stated after its message."""

    now_ms: int
    side: int
    price: int
    size: int
    bid: int
    ask: int


class Print(NamedTuple):
    """A trade as printed, in YES terms; `side` is the taker's."""

    now_ms: int
    side: int
    price: int
    size: int


class Market(NamedTuple):
    """The rows of one market, both tokens in one, in order of time."""

    yes: str
    other: str  # "": no mirror proven
    changes: list[Change]
    prints: list[Print]
    rows: int
    price_changes: int
    mirrored: int  # changes that both tokens tell
    late: int  # rows with a time before the row above of this market


def _pairs(r: Recording) -> list[tuple[int, int]]:
    """Tokens as (first seen, its mirror or -1): each says of its neighbour row what the other says of it."""
    a, b = slice(None, -1), slice(1, None)
    mirror = (
        (r.is_print[a] + r.is_print[b] == 0)
        & (r.now_ms[a] == r.now_ms[b])
        & (r.token[a] != r.token[b])
        & (r.price[a] + r.price[b] == PRICE_SCALE)
        & (r.size[a] == r.size[b])
        & (r.side[a] != r.side[b])
        & (r.bid[a] + r.ask[b] == PRICE_SCALE)
        & (r.ask[a] + r.bid[b] == PRICE_SCALE)
    )
    first = np.minimum(r.token[a], r.token[b])[mirror].tolist()
    second = np.maximum(r.token[a], r.token[b])[mirror].tolist()
    votes = Counter(zip(first, second, strict=True))
    changes = Counter(r.token[r.is_print == 0].tolist())
    partner: dict[int, int] = {}
    for (one, two), count in votes.items():
        if count >= MIRROR_SHARE * max(changes[one], changes[two]):
            partner[one], partner[two] = two, one
    return [(t, partner.get(t, -1)) for t in range(len(r.tokens)) if t <= partner.get(t, t)]


def markets(r: Recording) -> Iterator[Market]:
    """The markets of a recording, in the order in which their YES tokens appear."""
    for yes, other in _pairs(r):
        rows = np.flatnonzero((r.token == yes) | (r.token == other))
        is_yes = (r.token[rows] == yes).tolist()
        side, price = r.side[rows].tolist(), r.price[rows].tolist()
        size, now_ms = r.size[rows].tolist(), r.now_ms[rows].tolist()
        bid, ask, is_print = r.bid[rows].tolist(), r.ask[rows].tolist(), r.is_print[rows].tolist()
        changes: list[Change] = []
        prints: list[Print] = []
        untold: Counter[tuple[Change, bool]] = Counter()  # changes of this instant that one token told
        last_ms = late = mirrored = 0
        for k, at_ms in enumerate(now_ms):
            late += at_ms < last_ms
            last_ms = at_ms
            line = (side[k], price[k]) if is_yes[k] else (d.ASK - side[k], PRICE_SCALE - price[k])
            if is_print[k]:
                prints.append(Print(at_ms, *line, size[k]))
                continue
            touch = (bid[k], ask[k]) if is_yes[k] else (PRICE_SCALE - ask[k], PRICE_SCALE - bid[k])
            change = Change(at_ms, *line, size[k], *touch)
            if changes and changes[-1].now_ms != at_ms:
                untold.clear()
            if untold[change, not is_yes[k]]:
                untold[change, not is_yes[k]] -= 1
                mirrored += 1
            else:
                untold[change, is_yes[k]] += 1
                changes.append(change)
        changes.sort(key=lambda change: change.now_ms)
        prints.sort(key=lambda trade: trade.now_ms)
        name = r.tokens[other] if other >= 0 else ""
        told = len(rows) - len(prints)
        yield Market(r.tokens[yes], name, changes, prints, len(rows), told, mirrored, late)


# --- the score ------------------------------------------------------------------------------------


class _Score(NamedTuple):
    now_ms: int
    left_s: int  # game clock left in regular time
    breaks: int  # breaks left
    goals: tuple[int, int]


class Scores(NamedTuple):
    """A score feed: polls of one game in order of time; teams and goals as the feed orders them."""

    event_id: str
    teams: tuple[str, str]
    polls: list[_Score]

    def expected_end_ns(self) -> int | None:
        """When the game may end; None where the feed shows no clock that runs."""
        first, last = self.polls[0], self.polls[-1]
        played_s = first.left_s - last.left_s
        breaks_passed_ms = (first.breaks - last.breaks) * BREAK_S * 1000
        passed_ms = last.now_ms - first.now_ms - breaks_passed_ms
        if played_s <= 0 or passed_ms <= 0:
            return None
        left_ms = passed_ms * last.left_s // played_s + last.breaks * BREAK_S * 1000
        return (last.now_ms + left_ms) * MS_NS


def read_scores(path: Path) -> Scores:
    """The score feed of one game. Raises `DataError` that names file and line of what is wrong."""
    try:
        lines = csv.DictReader(io.StringIO(path.read_text("utf-8")), strict=True)
        rows = list(lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"not a CSV text ({error})", file=path) from error
    for name in SCORE_COLUMNS:
        if name not in (lines.fieldnames or ()):
            raise DataError(f"the column {name!r} is missing", file=path)
    if not rows:
        raise DataError("holds no rows", file=path)
    polls: list[_Score] = []
    for line, row in enumerate(rows, 2):
        try:
            polls.append(_poll(row))
        except DataError as error:
            raise error.at(file=path, row=line) from None
        if polls[-1].now_ms < polls[0].now_ms or {row["event_id"]} != {rows[0]["event_id"]}:
            raise DataError("another game, or a time before the first row", file=path, row=line)
    polls.sort(key=lambda poll: poll.now_ms)
    return Scores(rows[0]["event_id"], (rows[0]["home_team"], rows[0]["away_team"]), polls)


def _poll(row: dict[str, str]) -> _Score:
    period, minutes, seconds = row["period"], *(row["display_clock"] or "").partition(":")[::2]
    numbers = [row["ts_ms"], period, minutes, seconds, row["home_score"], row["away_score"]]
    if not all(text and text.isascii() and text.isdigit() for text in numbers):
        raise DataError(f"time, period, clock and scores must be whole numbers, found {numbers}")
    now_ms, at, clock_m, clock_s, home, away = map(int, numbers)
    breaks = max(PERIODS - at, 0)
    return _Score(now_ms, breaks * PERIOD_S + 60 * clock_m + clock_s, breaks, (home, away))
