"""Best bid and ask of all markets of Polymarket US, polled about every two minutes: one Parquet file a day.

One `quotes` tape a slug holds the polls of all days given, one `resolutions` series the outcomes. A price is
that of YES of the slug. What each rule rests on is told in docs/tapes.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import MONEY_SCALE, PRICE_SCALE
from pr3dict.store.importers.columns import IntArray, codes, floats, read_columns, scaled
from pr3dict.store.importers.common import (
    Imported,
    ImportedSeries,
    ImportedTape,
    Importer,
    MarketReport,
    counted,
    each_once,
)
from pr3dict.store.layouts import NONE, QUOTE_ROW, Rows
from pr3dict.store.series import SCHEMAS, SeriesMeta
from pr3dict.store.tape import Scalar, TapeFee, TapeMeta

NAME: Final = "polymarketus-quotes"
COLUMNS: Final = ("ts", "slug", "bid", "ask", "volume24hr")
FEE: Final = TapeFee(kind="none", source="Not told by the set; quotes are not replayed.")
SOURCES: Final = {
    "api": "api: as the venue's API settled it",
    "convergence": "convergence: inferred from where the quotes went, biased towards clear endings",
}


def find(paths: Sequence[Path]) -> list[Path]:
    """What is imported together: a set with all its days, or a day's folder or file alone, each once."""
    missing = f"no {NAME} recording here: expected a set with quotes/dt=*/*.parquet, or days of it"
    return each_once(paths, lambda path: [path] if _is_recording(path) else [], missing)


def _is_recording(path: Path) -> bool:
    return (path.is_file() and path.suffix == ".parquet") or bool(_quote_files(path))


def _quote_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(path.glob("quotes/dt=*/*.parquet")) or sorted(path.glob("dt=*/*.parquet")) or (
        sorted(path.glob("*.parquet")) if path.name.startswith("dt=") else []
    )  # fmt: skip


class _Label(NamedTuple):
    outcome: Any  # yes or no
    source: str


class _Facts(NamedTuple):
    labels: dict[str, _Label]
    questions: dict[str, tuple[str, str]]  # question and category
    defects: list[str]


class _Quotes(NamedTuple):
    """All quotes, ordered by slug and time."""

    rows: Rows
    slug: npt.NDArray[np.int32]  # place in `slugs`
    slugs: list[str]  # ascending
    session: str
    finer: int  # rows left out: a price between steps of 1/10,000 dollar
    outside: int  # prices at or beyond 0 and 1 dollar: no bid or no ask
    files: int


def read(path: Path) -> Iterator[Imported]:
    """One tape a slug, by name, then the series of outcomes where the set has labels.

    Raises:
        DataError: names file and row (from 1) of what is not as the format promises.
    """
    facts = _read_facts(path)
    quotes = _read_quotes(_quote_files(path))
    named = [slug for slug in quotes.slugs if slug in facts.labels]
    of_set = _set_defects(quotes, facts, named)
    starts = np.flatnonzero(np.diff(quotes.slug, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(quotes.rows)], strict=True):
        slug = quotes.slugs[int(quotes.slug[start])]
        defects = of_set if start == 0 and not named else ()  # without a series the first tape tells them
        yield _tape(slug, quotes.rows[start:end], quotes.session, facts, defects)
    if named:
        yield _series(quotes, facts, named, of_set)


IMPORTER: Final = Importer(NAME, "Polymarket US best bid and ask of all markets, polled", find, read)


# --- reading --------------------------------------------------------------------------------------


def _beside(path: Path, name: str) -> Path | None:
    """A file of the set that `path` is or lies in."""
    return next((p / name for p in (path, *path.absolute().parents[:3]) if (p / name).is_file()), None)


def _read_facts(path: Path) -> _Facts:
    labels: dict[str, _Label] = {}
    questions: dict[str, tuple[str, str]] = {}
    defects = []
    label_file, market_file = _beside(path, "labels.parquet"), _beside(path, "markets.parquet")
    if label_file is None:
        defects.append("labels.parquet is absent: no outcome is known")
    else:
        table = read_columns(label_file, ("slug", "y", "source"))
        for row, entry in enumerate(table.to_pylist(), 1):
            if entry["y"] not in (0, 1) or entry["source"] not in SOURCES or entry["slug"] in labels:
                expected = f"expected one a slug, y 0 or 1, source {' or '.join(SOURCES)}"
                sentence = f"label {entry} is not as the format promises: {expected}"
                raise DataError(sentence, file=label_file, row=row)
            labels[entry["slug"]] = _Label("yes" if entry["y"] else "no", entry["source"])
    if market_file is None:
        defects.append("markets.parquet is absent: titles are the slugs")
    else:
        table = read_columns(market_file, ("slug", "question", "category"))
        questions = {e["slug"]: (e["question"], e["category"]) for e in table.to_pylist()}
    return _Facts(labels, questions, defects)


def _read_quotes(files: Sequence[Path]) -> _Quotes:
    numbers: dict[str, int] = {}
    parts, slugs = [], []
    finer = outside = 0
    for file in files:
        table = read_columns(file, COLUMNS, repeating=("slug",), nullable=("bid", "ask", "volume24hr"))
        rows, wrong, out = _quote_rows(table, file)
        slug = codes(table, "slug", numbers).astype(np.int32)
        parts.append(rows[~wrong] if wrong.any() else rows)
        slugs.append(slug[~wrong] if wrong.any() else slug)
        finer += int(wrong.sum())
        outside += out
    rows, slug = np.concatenate(parts), np.concatenate(slugs)
    del parts, slugs
    if not len(rows):
        raise DataError("holds no quote", file=files[0])
    names = sorted(numbers)
    place = np.zeros(len(names), np.int32)
    place[[numbers[name] for name in names]] = np.arange(len(names))
    slug = place[slug]
    order = np.lexsort((rows["exch_ns"], slug))
    days = [str(np.datetime64(int(ns), "ns"))[:10] for ns in (rows["exch_ns"].min(), rows["exch_ns"].max())]
    session = "..".join(dict.fromkeys(days))
    return _Quotes(rows[order], slug[order], names, session, finer, outside, len(files))


def _quote_rows(table: pa.Table, file: Path) -> tuple[Rows, npt.NDArray[np.bool_], int]:
    """QUOTE rows, which of them hold a price between steps, and how many prices are outside the book."""
    times = table.column("ts")
    if not pa.types.is_timestamp(times.type):
        raise DataError(f"the column is {times.type} and must be a timestamp", file=file, key="ts")
    rows = np.zeros(table.num_rows, QUOTE_ROW)
    rows["exch_ns"] = times.cast(pa.timestamp("ns", times.type.tz)).cast(pa.int64()).to_numpy()
    rows["local_ns"] = rows["exch_ns"]
    wrong = np.zeros(table.num_rows, np.bool_)
    outside = 0
    for name in ("bid", "ask"):
        price, finer = scaled(floats(table, name, file), PRICE_SCALE, NONE)
        out = (price != NONE) & ((price < 1) | (price >= PRICE_SCALE))
        outside += int(out.sum())
        wrong |= finer
        rows[f"{name}_price"] = np.where(out, NONE, price)
    rows["volume_micros"] = _volume(table, file)
    return rows, wrong, outside


def _volume(table: pa.Table, file: Path) -> IntArray:
    volume, finer = scaled(floats(table, "volume24hr", file), MONEY_SCALE, NONE)
    wrong = (volume < NONE) | finer
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        raise DataError("the volume is negative or finer than a micro-dollar", file=file, row=row)
    return volume


# --- tapes and the series -------------------------------------------------------------------------


def _tape(slug: str, rows: Rows, session: str, facts: _Facts, of_set: tuple[str, ...]) -> ImportedTape:
    bid, ask = rows["bid_price"], rows["ask_price"]
    two_sided = (bid != NONE) & (ask != NONE)
    crossed, locked = int((two_sided & (bid > ask)).sum()), int((two_sided & (bid == ask)).sum())
    repeated = int((np.diff(rows["exch_ns"]) == 0).sum())
    defects = list(of_set)
    if crossed:
        defects.append(f"{counted(crossed, 'quote')} with the bid above the ask, kept as recorded")
    if repeated:
        defects.append(f"{counted(repeated, 'quote')} with the time of the quote before")
    details: dict[str, Scalar] = {
        "two_sided": int(two_sided.sum()),
        "crossed": crossed,
        "locked": locked,
        "labelled": int(slug in facts.labels),
    }
    report = MarketReport(
        session=session,
        market=slug,
        kind="quotes",
        events=len(rows),
        rows=len(rows),
        defects=tuple(defects),
        details=details,
    )
    label = facts.labels.get(slug)
    question, category = facts.questions.get(slug, (slug, None))
    meta = TapeMeta(
        kind="quotes",
        venue="polymarket",
        ticker=slug,
        event_id=slug,
        title=f"{question} ({slug}, Polymarket US)",
        session=session,
        source_format=NAME,
        grids=(),
        min_size=0,
        lot=0,
        fee=FEE,
        nets_positions=False,
        reduce_in_place=False,
        outcome=label.outcome if label else None,
        outcome_source=SOURCES[label.source] if label else "",
        has_trades="none",
        quality={"category": category, "defects": len(defects), **details},
    )
    return ImportedTape(rows, meta, report)


def _set_defects(quotes: _Quotes, facts: _Facts, named: Sequence[str]) -> tuple[str, ...]:
    """What is wrong with the recording as a whole."""
    inferred = sum(facts.labels[slug].source == "convergence" for slug in named)
    unnamed = len(quotes.slugs) - len(named)
    guesses = f"{counted(inferred, 'outcome')} inferred from prices by the recorder (convergence)"
    counts = (
        (
            quotes.finer,
            f"{counted(quotes.finer, 'quote')} with a price between steps of 1/10,000 dollar, left out",
        ),
        (
            quotes.outside,
            f"{counted(quotes.outside, 'price')} at or beyond 0 and 1 dollar, taken as no bid or no ask",
        ),
        (unnamed, f"{unnamed:,} of {counted(len(quotes.slugs), 'market')} without an outcome"),
        (inferred, f"{guesses}: biased to clear endings"),
    )
    return (*facts.defects, *(sentence for count, sentence in counts if count))


def _series(quotes: _Quotes, facts: _Facts, named: Sequence[str], defects: tuple[str, ...]) -> ImportedSeries:
    details: dict[str, Scalar] = {
        "files": quotes.files,
        "labels": len(facts.labels),
        "labels_of_other_days": len(facts.labels) - len(named),
        "quotes_left_out": quotes.finer,
        "prices_outside": quotes.outside,
    }
    rows = [
        {
            "ticker": slug,
            "event_id": slug,
            "outcome": facts.labels[slug].outcome,
            "value_micros": MONEY_SCALE if facts.labels[slug].outcome == "yes" else 0,
            "source": facts.labels[slug].source,
        }
        for slug in named
    ]
    meta = SeriesMeta(
        kind="resolutions",
        venue="polymarket",
        name="resolutions",
        title="How Polymarket US markets ended",
        session=quotes.session,
        source_format=NAME,
        quality=details,
    )
    report = MarketReport(
        session=quotes.session,
        market="resolutions",
        kind="resolutions",
        events=len(rows),
        rows=len(rows),
        defects=defects,
        details=details,
    )
    return ImportedSeries(pa.Table.from_pylist(rows, schema=SCHEMAS["resolutions"]), meta, report)
