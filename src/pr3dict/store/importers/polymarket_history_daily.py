"""Daily bars, outcomes and resolutions of Polymarket markets: Parquet partitions by month and table.

One `bars` tape a market holds the bars of both outcomes in YES terms, one `resolutions` series how markets
ended. A bar is dated by its end and was known from `released_at` on. What each rule rests on is told in
docs/tapes.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND
from pr3dict.store.importers.columns import IntArray, codes, floats, integers, read_columns, scaled
from pr3dict.store.importers.common import (
    Imported,
    ImportedSeries,
    ImportedTape,
    Importer,
    MarketReport,
    counted,
    each_once,
)
from pr3dict.store.layouts import BAR_ROW, NONE, Rows
from pr3dict.store.series import SCHEMAS, SeriesMeta
from pr3dict.store.tape import Scalar, TapeFee, TapeMeta

NAME: Final = "polymarket-history-daily"
SESSION: Final = "1d"
DAY_NS: Final = 86_400 * NS_PER_SECOND
TABLES: Final = ("candles_1d", "outcomes", "resolutions", "markets")
PRICES: Final = ("open", "high", "low", "close")
FEE: Final = TapeFee(kind="none", source="Not told by the set; bars are not replayed.")
TIMES_SOURCE: Final = "expected_resolution_ns is when the market resolved, known only in hindsight."
CONDITION_KEYS: Final = ("condition_id", "polymarket_condition_id")
TOKEN_KEYS: Final = ("token_id", "polymarket_clob_token_id")


def find(paths: Sequence[Path]) -> list[Path]:
    """The set folders at `paths`, each once. Raises `DataError` for a path that is none."""
    missing = f"no {NAME} set here: expected a folder with candles_1d in it"
    return each_once(paths, lambda path: [path] if (path / "candles_1d").is_dir() else [], missing)


class _Manifest(msgspec.Struct, frozen=True):
    total_row_count: int


class _Partition(NamedTuple):
    month: str
    file: Path
    rows: int  # by its manifest; -1: it has none


class _Outcome(NamedTuple):
    instrument: str
    label: str
    order: int
    payoff: float


class _Resolution(NamedTuple):
    winner: str
    at_ns: int
    source: str
    condition: str


class _Facts(NamedTuple):
    """Everything but bars, by market id."""

    outcomes: dict[str, list[_Outcome]]  # two a market, YES first
    resolutions: dict[str, _Resolution]
    titles: dict[str, str]
    rows: dict[str, int]  # rows of each table
    defects: list[str]


class _Bars(NamedTuple):
    """All bars, ordered by market, end and contract."""

    rows: Rows
    market: IntArray  # number of the market, in the order of `names`
    names: list[str]
    tokens: dict[str, str]  # by instrument
    instruments: set[str]  # that have bars
    rounded: int
    unlisted: int  # bars of instruments that `outcomes` does not list: left out


def read(folder: Path) -> Iterator[Imported]:
    """One tape a market that has bars, by market id, then the series of resolutions.

    Raises:
        DataError: names file and row (from 1) of what is not as the format promises.
    """
    facts = _read_facts(folder)
    bars = _read_bars(folder, facts)
    if not len(bars.rows):
        raise DataError("holds no bar of a listed outcome", file=folder)
    of_set = _set_defects(bars, facts)
    starts = np.flatnonzero(np.diff(bars.market, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(bars.rows)], strict=True):
        market = bars.names[int(bars.market[start])]
        defects = of_set if start == 0 and not facts.resolutions else ()  # no series that could tell them
        yield _tape(market, bars.rows[start:end], bars, facts, defects)
    if facts.resolutions:
        yield _series(facts, of_set, {"bars_unlisted": bars.unlisted, "prices_rounded": bars.rounded})


IMPORTER: Final = Importer(NAME, "Polymarket daily bars, outcomes and resolutions by month", find, read)


# --- reading --------------------------------------------------------------------------------------


def _partitions(folder: Path, table: str) -> Iterator[_Partition]:
    for file in sorted(folder.glob(f"{table}/*/*/*.parquet")):
        manifest = file.with_name("_manifest.json")
        rows = -1
        if manifest.exists():
            try:
                rows = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).total_row_count
            except (OSError, msgspec.MsgspecError) as error:
                raise DataError(f"not a manifest ({error})", file=manifest) from error
        yield _Partition("/".join(file.parts[-3:-1]), file, rows)


def _tables(
    folder: Path, name: str, columns: Sequence[str], nullable: Sequence[str] = ()
) -> Iterator[tuple[Path, pa.Table]]:
    """The partitions of one table in order of time, each held to the row count of its manifest."""
    promised: dict[str, tuple[int, int]] = {}
    for month, file, rows in _partitions(folder, name):
        table = read_columns(file, columns, nullable=nullable)
        before = promised.get(month, (0, rows))[0]
        promised[month] = (before + table.num_rows, rows)
        yield file, table
    for month, (found, rows) in promised.items():
        if rows not in (-1, found):
            place = folder / name / month
            raise DataError(f"holds {found:,} rows, its manifest says {rows:,}; fetch it again", file=place)


def _records(table: pa.Table) -> Iterator[dict[str, Any]]:
    plain = [
        column.cast(pa.string()) if isinstance(column.type, pa.ExtensionType) else column
        for column in table.columns
    ]
    yield from pa.table(plain, names=table.column_names).to_pylist()


def _first_of(text: str, keys: Sequence[str], file: Path) -> str:
    """The first of `keys` that a JSON object of ids holds; empty where it holds none."""
    try:
        ids = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{text[:60]!r} is not a JSON object ({error})", file=file, key="external_ids"
        ) from error
    return str(next((ids[key] for key in keys if ids.get(key)), ""))


def _read_outcomes(folder: Path) -> tuple[dict[str, list[_Outcome]], int]:
    found: dict[str, list[_Outcome]] = {}
    rows = 0
    columns = ("instrument_id", "market_id", "label", "payoff_on_resolve", "sort_order")
    for _, table in _tables(folder, "outcomes", columns):
        rows += table.num_rows
        for row in _records(table):
            outcome = _Outcome(
                row["instrument_id"], row["label"], row["sort_order"], row["payoff_on_resolve"]
            )
            found.setdefault(row["market_id"], []).append(outcome)
    for market, outcomes in found.items():
        if len(outcomes) != 2:
            place = folder / "outcomes"
            raise DataError(
                f"{counted(len(outcomes), 'outcome')}; a binary market has two", file=place, key=market
            )
        outcomes.sort(key=lambda outcome: outcome.order)
        if (outcomes[0].label, outcomes[1].label) == ("No", "Yes"):
            outcomes.reverse()
    return found, rows


def _read_resolutions(folder: Path) -> dict[str, _Resolution]:
    found: dict[str, _Resolution] = {}
    columns = (
        "market_id", "winning_outcome_instrument_id", "resolution_source", "resolved_at", "external_ids",
    )  # fmt: skip
    for file, table in _tables(folder, "resolutions", columns):
        for number, row in enumerate(_records(table), 1):
            if row["market_id"] in found:
                raise DataError("the market resolves a second time", file=file, row=number, key="market_id")
            found[row["market_id"]] = _Resolution(
                row["winning_outcome_instrument_id"],
                row["resolved_at"] * NS_PER_SECOND,
                row["resolution_source"],
                _first_of(row["external_ids"], CONDITION_KEYS, file),
            )
    return found


def _read_facts(folder: Path) -> _Facts:
    outcomes, outcome_rows = _read_outcomes(folder)
    resolutions = _read_resolutions(folder)
    titles: dict[str, str] = {}
    market_rows = 0
    for _, table in _tables(folder, "markets", ("market_id", "title"), nullable=("title",)):
        market_rows += table.num_rows
        titles.update({row["market_id"]: row["title"] for row in _records(table) if row["title"]})
    for market, resolution in resolutions.items():
        if resolution.winner not in {outcome.instrument for outcome in outcomes.get(market, ())}:
            raise DataError("the winner is no outcome of its market", file=folder / "resolutions", key=market)
    defects = []
    months = {name: {part.month for part in _partitions(folder, name)} for name in TABLES}
    absent = sorted(months["outcomes"] - months["markets"])
    if absent:
        defects.append(f"the partition of markets for {', '.join(absent)} is absent, though outcomes has it")
    wrong = sum(
        any(o.payoff != (o.instrument == resolutions[market].winner) for o in pair)
        for market, pair in outcomes.items()
        if market in resolutions
    )
    if wrong:
        defects.append(
            f"{counted(wrong, 'market')} whose stated payoffs contradict the resolution, which is taken"
        )
    rows = {"outcomes_rows": outcome_rows, "markets_rows": market_rows, "resolutions_rows": len(resolutions)}
    return _Facts(outcomes, resolutions, titles, rows, defects)


BAR_COLUMNS: Final = (
    "instrument_id", "market_id", "bar_period", "observed_at", "released_at", *PRICES, "volume",
    "external_ids",
)  # fmt: skip


def _read_bars(folder: Path, facts: _Facts) -> _Bars:
    contract_of = {o.instrument: k for pair in facts.outcomes.values() for k, o in enumerate(pair)}
    market_of = {o.instrument: market for market, pair in facts.outcomes.items() for o in pair}
    instruments: dict[str, int] = {}
    tokens: dict[str, str] = {}
    numbers: list[IntArray] = []
    parts: list[Rows] = []
    rounded = 0
    for file, table in _tables(folder, "candles_1d", BAR_COLUMNS, nullable=("volume",)):
        number = codes(table, "instrument_id", instruments)
        rows, finer = _bar_rows(table, file)
        rounded += finer
        names = list(instruments)
        ids = table.column("external_ids").combine_chunks().cast(pa.string())
        for first in np.unique(number, return_index=True)[1]:
            name = names[int(number[first])]
            if name not in tokens:
                tokens[name] = _first_of(ids[int(first)].as_py(), TOKEN_KEYS, file)
        _check_markets(table, number, names, market_of, file)
        numbers.append(number)
        parts.append(rows)
    if not parts:
        raise DataError("holds no partition of candles_1d", file=folder)
    number, rows = np.concatenate(numbers), np.concatenate(parts)
    names = list(instruments)
    markets = sorted({market_of[name] for name in names if name in market_of})
    place = {market: k for k, market in enumerate(markets)}
    listed = np.array([name in market_of for name in names])[number]
    market = np.array([place[market_of[name]] if name in market_of else -1 for name in names])[number]
    rows["contract"] = np.array([contract_of.get(name, 0) for name in names])[number]
    order = np.lexsort((rows["contract"], rows["end_ns"], market))
    order = order[listed[order]]
    return _Bars(
        _in_yes_terms(rows[order]), market[order], markets, tokens, set(names), rounded, int((~listed).sum())
    )


def _bar_rows(table: pa.Table, file: Path) -> tuple[Rows, int]:
    """Bars as the file has them, prices of their own outcome, and how many prices had to be rounded."""
    periods = set(table.column("bar_period").unique().to_pylist())
    if periods - {"1d"}:
        raise DataError(
            f"periods {sorted(periods)}; only bars of a day are read", file=file, key="bar_period"
        )
    rows = np.zeros(table.num_rows, BAR_ROW)
    rows["end_ns"] = integers(table, "observed_at", file) * NS_PER_SECOND
    rows["start_ns"] = rows["end_ns"] - DAY_NS
    rows["released_ns"] = integers(table, "released_at", file) * NS_PER_SECOND
    early = rows["released_ns"] < rows["end_ns"]
    if early.any():
        row = int(np.argmax(early)) + 1
        raise DataError("the bar is released before it ends", file=file, row=row, key="released_at")
    rounded = 0
    for name in PRICES:
        rows[f"{name}_micros"], finer = scaled(floats(table, name, file), MONEY_SCALE, NONE)
        rounded += int(finer.sum())
    rows["volume_micros"], finer = scaled(floats(table, "volume", file), MONEY_SCALE, NONE)
    return rows, rounded + int(finer.sum())


def _check_markets(
    table: pa.Table, number: IntArray, names: list[str], market_of: dict[str, str], file: Path
) -> None:
    markets: dict[str, int] = {}
    of_row = codes(table, "market_id", markets)
    listed = np.array([markets.get(market_of.get(name, ""), -1) for name in names])[number]
    known = np.array([name in market_of for name in names])[number]
    wrong = known & (listed != of_row)
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        raise DataError("the bar's market is not that of its outcome", file=file, row=row, key="market_id")


def _in_yes_terms(rows: Rows) -> Rows:
    """Turn the bars of NO around: their high is the YES low."""
    no = rows["contract"] == 1
    old = rows[no]
    for name, mirror in (("open", "open"), ("close", "close"), ("high", "low"), ("low", "high")):
        rows[f"{name}_micros"][no] = MONEY_SCALE - old[f"{mirror}_micros"]
    return rows


# --- tapes and the series -------------------------------------------------------------------------


def _outcome(market: str, facts: _Facts) -> Any:
    """`yes`, `no` or None."""
    resolution = facts.resolutions.get(market)
    if resolution is None:
        return None
    return "yes" if resolution.winner == facts.outcomes[market][0].instrument else "no"


def _tape(market: str, rows: Rows, bars: _Bars, facts: _Facts, of_set: tuple[str, ...]) -> ImportedTape:
    yes, no = facts.outcomes[market]
    resolution = facts.resolutions.get(market)
    late = int((rows["end_ns"] > resolution.at_ns).sum()) if resolution else 0
    repeated = int(((np.diff(rows["end_ns"]) == 0) & (np.diff(rows["contract"]) == 0)).sum())
    flat = rows["high_micros"] == rows["low_micros"]
    defects = list(of_set)
    if late:
        defects.append(f"{counted(late, 'bar')} after the resolution")
    if repeated:
        defects.append(f"{counted(repeated, 'bar')} of an outcome that another bar of the same end repeats")
    details: dict[str, Scalar] = {
        "yes_token": bars.tokens.get(yes.instrument) or None,
        "instruments": sum(o.instrument in bars.instruments for o in (yes, no)),
        "yes_bars": int((rows["contract"] == 0).sum()),
        "no_bars": int((rows["contract"] == 1).sum()),
        "flat_bars": int(flat.sum()),
        "bars_after_resolution": late,
        "resolved": int(resolution is not None),
    }
    report = MarketReport(
        session=SESSION,
        market=market,
        kind="bars",
        events=len(rows),
        rows=len(rows),
        defects=tuple(defects),
        details=details,
    )
    about = "the set does not hold its question"
    meta = TapeMeta(
        kind="bars",
        venue="polymarket",
        ticker=market,
        event_id=market,
        title=facts.titles.get(market, f"{yes.label} rather than {no.label} ({about})"),
        session=SESSION,
        source_format=NAME,
        contract_id=bars.tokens.get(yes.instrument, ""),
        grids=(),
        min_size=0,
        lot=0,
        fee=FEE,
        nets_positions=False,
        reduce_in_place=False,
        expected_resolution_ns=resolution.at_ns if resolution else None,
        times_source=TIMES_SOURCE if resolution else "",
        outcome=_outcome(market, facts),
        outcome_source=resolution.source if resolution else "",
        has_trades="none",
        quality={
            "yes_label": yes.label,
            "no_label": no.label,
            "condition_id": (resolution.condition or None) if resolution else None,
            "defects": len(defects),
            **details,
        },
    )
    return ImportedTape(rows, meta, report)


def _set_defects(bars: _Bars, facts: _Facts) -> tuple[str, ...]:
    """What is wrong with the set as a whole."""
    with_bars = set(bars.names)
    untitled = len(with_bars - facts.titles.keys())
    unresolved, barless = with_bars - facts.resolutions.keys(), facts.resolutions.keys() - with_bars
    counts = (
        (untitled, f"{untitled:,} of {counted(len(with_bars), 'market')} with bars without their title"),
        (len(unresolved), f"{counted(len(unresolved), 'market')} with bars but without resolution"),
        (len(barless), f"{counted(len(barless), 'resolved market')} without bars"),
        (bars.unlisted, f"{counted(bars.unlisted, 'bar')} of instruments not in outcomes, left out"),
        (bars.rounded, f"{counted(bars.rounded, 'price')} finer than a millionth of a dollar, rounded"),
    )
    return (*facts.defects, *(sentence for count, sentence in counts if count))


def _series(facts: _Facts, defects: tuple[str, ...], figures: dict[str, int]) -> ImportedSeries:
    resolved = sorted(facts.resolutions)
    rows = []
    for market in resolved:
        outcome, resolution = _outcome(market, facts), facts.resolutions[market]
        rows.append(
            {
                "ticker": market,
                "event_id": market,
                "settled_ns": resolution.at_ns,
                "outcome": outcome,
                "value_micros": MONEY_SCALE if outcome == "yes" else 0,
                "source": resolution.source,
            }
        )
    details: dict[str, Scalar] = {**facts.rows, **figures}
    meta = SeriesMeta(
        kind="resolutions",
        venue="polymarket",
        name="resolutions",
        title="How Polymarket markets with daily bars ended",
        session=SESSION,
        source_format=NAME,
        quality=details,
    )
    report = MarketReport(
        session=SESSION,
        market="resolutions",
        kind="resolutions",
        events=len(rows),
        rows=len(rows),
        defects=defects,
        details=details,
    )
    return ImportedSeries(pa.Table.from_pylist(rows, schema=SCHEMAS["resolutions"]), meta, report)
