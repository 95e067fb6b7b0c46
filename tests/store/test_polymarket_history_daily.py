"""Daily bars: a small set made here, its faults, and the facts of the real one."""

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pr3dict.domain.errors import DataError
from pr3dict.store.importers import import_recordings
from pr3dict.store.importers import polymarket_history_daily as daily
from pr3dict.store.series import check_series, read_series
from pr3dict.store.tape import check_tape, read_tape

DAY = 86_400
T0 = 1_700_000_000 // DAY * DAY


def month(second):
    return datetime.fromtimestamp(second, UTC).strftime("%Y/%m")


class Set:
    """A set of two markets: `m1` Yes/No with bars of both, won by No; `m2` of two teams, not resolved."""

    def __init__(self, folder):
        self.folder = folder
        self.outcomes = [
            ("y1", "m1", "Yes", 0.0, 1), ("n1", "m1", "No", 1.0, 0),
            ("a2", "m2", "Kings", 1.0, 0), ("b2", "m2", "Suns", 1.0, 1),
        ]  # fmt: skip
        self.bars = []
        self.resolutions = [("m1", "n1", T0 + 3 * DAY)]
        self.markets = [("m1", "Will it rain?")]
        self.months = {"outcomes": "2024/01", "markets": "2024/01"}
        self.bar("n1", T0 + DAY, 0.7, 0.9, 0.6, 0.8)
        self.bar("y1", T0 + DAY, 0.3, 0.4, 0.1, 0.2).bar("y1", T0 + 2 * DAY, 0.2, 0.2, 0.2, 0.2, late=60)
        self.bar("a2", T0 + 5 * DAY, 0.5, 0.5, 0.5, 0.5)

    def bar(self, instrument, end, *prices, late=0, volume=None, market=None):
        market = market or f"m{instrument[1]}"
        self.bars.append(
            (
                instrument,
                market,
                "1d",
                end,
                end + late,
                *prices,
                volume,
                json.dumps({"token_id": f"t{instrument}"}),
            )
        )
        return self

    def table(self, name, at, columns, rows, strings=()):
        columns_of = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = {
            c: pa.array(v, pa.string() if c in strings else None)
            for c, v in zip(columns, columns_of, strict=True)
        }
        path = self.folder / name / at / "part-0000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(arrays), path)
        path.with_name("_manifest.json").write_text(json.dumps({"total_row_count": len(rows), "files": []}))
        return path

    def write(self):
        by_month = {}
        for bar in self.bars:
            by_month.setdefault(month(bar[3]), []).append(bar)
        names = [*daily.BAR_COLUMNS]
        for at, rows in by_month.items():
            self.table("candles_1d", at, names, rows)
        columns = ["instrument_id", "market_id", "label", "payoff_on_resolve", "sort_order"]
        self.table("outcomes", self.months["outcomes"], columns, self.outcomes)
        columns = [
            "market_id",
            "winning_outcome_instrument_id",
            "resolved_at",
            "resolution_source",
            "external_ids",
        ]
        rows = [
            (m, w, at, "official", json.dumps({"condition_id": f"0x{m}"})) for m, w, at in self.resolutions
        ]
        if rows:
            self.table("resolutions", "2024/02", columns, rows)
        if self.markets:
            self.table("markets", self.months["markets"], ["market_id", "title"], self.markets)
        return self.folder


@pytest.fixture
def made(tmp_path):
    return Set(tmp_path / "set")


def read(made):
    return list(daily.read(made.write()))


def test_one_tape_a_market_holds_both_outcomes_in_yes_terms(made):
    first, second, series = read(made)
    rows = first.events
    assert rows["contract"].tolist() == [0, 1, 0]
    assert [rows[f"{name}_micros"].tolist() for name in ("open", "high", "low", "close")] == [
        [300_000, 300_000, 200_000],
        [400_000, 400_000, 200_000],
        [100_000, 100_000, 200_000],
        [200_000, 200_000, 200_000],
    ]
    assert rows["end_ns"].tolist() == [(T0 + DAY) * 10**9, (T0 + DAY) * 10**9, (T0 + 2 * DAY) * 10**9]
    assert (rows["end_ns"] - rows["start_ns"] == DAY * 10**9).all()
    assert (rows["released_ns"] - rows["end_ns"]).tolist() == [0, 0, 60 * 10**9]
    assert set(rows["volume_micros"].tolist()) == {-1}
    meta = first.meta
    assert (meta.ticker, meta.title, meta.contract_id) == ("m1", "Will it rain?", "ty1")
    assert (meta.outcome, meta.outcome_source, meta.expected_resolution_ns) == (
        "no",
        "official",
        (T0 + 3 * DAY) * 10**9,
    )
    assert meta.quality["condition_id"] == "0xm1"
    assert (second.meta.outcome, second.meta.expected_resolution_ns, second.meta.contract_id) == (
        None,
        None,
        "ta2",
    )
    assert second.meta.title.startswith("Kings rather than Suns")
    assert (
        series.table.to_pylist()[0] | {"outcome": "no", "value_micros": 0, "ticker": "m1"}
        == series.table.to_pylist()[0]
    )
    for tape in (first, second):
        check_tape(tape.events, tape.meta)
    check_series(series.table, series.meta)


def test_yes_is_the_label_yes_or_else_the_first_outcome(made):
    made.outcomes[2:] = [("a2", "m2", "Kings", 1.0, 1), ("b2", "m2", "Suns", 1.0, 0)]
    _, second, _ = read(made)
    assert second.events["contract"].tolist() == [1]
    assert (second.meta.quality["yes_label"], second.meta.contract_id) == ("Suns", "")


def test_what_the_set_lacks_is_told(made):
    made.months["outcomes"] = "2024/03"
    made.bar("zz", T0 + DAY, 0.1, 0.1, 0.1, 0.1, market="m9").bar("y1", T0 + 4 * DAY, 0.1, 0.1, 0.1, 1 / 3)
    made.bars[-1] = (*made.bars[-1][:5], 1 / 3, 1 / 3, 1 / 3, 1 / 3, *made.bars[-1][9:])
    made.outcomes[0] = ("y1", "m1", "Yes", 1.0, 1)
    first, _, series = read(made)
    assert first.report.defects == ("1 bar after the resolution",)
    assert first.events["close_micros"][-1] == 333_333
    assert series.report.defects == (
        "the partition of markets for 2024/03 is absent, though outcomes has it",
        "1 market whose stated payoffs contradict the resolution, which is taken",
        "1 of 2 markets with bars without their title",
        "1 market with bars but without resolution",
        "1 bar of instruments not in outcomes, left out",
        "4 prices finer than a millionth of a dollar, rounded",
    )


def test_without_resolutions_the_first_tape_tells_what_the_set_lacks(made):
    made.resolutions = []
    first, second = read(made)
    assert "2 markets with bars but without resolution" in first.report.defects
    assert second.report.defects == ()


def swap(made, index, value):
    row = list(made.bars[0])
    row[index] = value
    made.bars[0] = tuple(row)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda m: swap(m, 2, "1h"), "bar_period: periods"),
        (lambda m: swap(m, 4, T0), "row 1: released_at: the bar is released before it ends"),
        (lambda m: swap(m, 5, float("nan")), "row 1: open: nan is no number"),
        (lambda m: swap(m, 5, None), r"row 1: open: the value is missing \(null\)"),
        (lambda m: swap(m, 1, "m2"), "row 1: market_id: the bar's market is not that of its outcome"),
        (lambda m: swap(m, 10, "{'token': 1}"), "external_ids: .* is not a JSON object"),
        (lambda m: m.outcomes.pop(), "outcomes: m2: 1 outcome; a binary market has two"),
        (
            lambda m: m.resolutions.append(m.resolutions[0]),
            "row 2: market_id: the market resolves a second time",
        ),
        (lambda m: m.resolutions.append(("m2", "y1", T0)), "resolutions: m2: the winner is no outcome"),
    ],
)
def test_a_faulty_cell_ends_the_import_and_is_named(made, damage, sentence):
    damage(made)
    with pytest.raises(DataError, match=sentence):
        read(made)


def test_a_price_outside_the_dollar_is_refused_when_the_tape_is_written(made, tmp_path):
    swap(made, 6, 1.5)
    with pytest.raises(DataError, match=r"m1\.parquet: row \d: the bar is outside \$0 to \$1"):
        import_recordings(daily.IMPORTER, [made.write()], tmp_path / "out")


def test_a_partition_with_fewer_rows_than_its_manifest_says_is_refused(made):
    folder = made.write()
    manifest = next(folder.glob("candles_1d/*/*/_manifest.json"))
    manifest.write_text('{"total_row_count": 99}')
    with pytest.raises(DataError, match="holds 4 rows, its manifest says 99"):
        list(daily.read(folder))


def test_truncated_files_missing_columns_and_other_folders_are_named(made, tmp_path):
    folder = made.write()
    file = next(folder.glob("outcomes/*/*/*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"part-0000\.parquet: not a readable Parquet file"):
        list(daily.read(folder))
    file.write_bytes(whole)
    pq.write_table(pq.read_table(file).drop_columns(["label"]), file)
    with pytest.raises(DataError, match=r"part-0000\.parquet: label: the column is missing"):
        list(daily.read(folder))
    with pytest.raises(DataError, match="no polymarket-history-daily set here"):
        daily.find([tmp_path])


def test_the_files_written_are_read_again(made, tmp_path):
    written = import_recordings(daily.IMPORTER, [made.write()], tmp_path / "out")
    assert [tape.path.name for tape in written] == [
        "1d__m1.parquet",
        "1d__m2.parquet",
        "1d__resolutions.parquet",
    ]
    assert read_tape(written[0].path).meta.kind == "bars"
    assert read_series(written[2].path).table.num_rows == 1


def test_the_real_set_has_the_facts_of_its_readme(data_dir):
    folder = data_dir / "polymarket-history-daily"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    *tapes, series = daily.read(folder)
    details = [tape.report.details for tape in tapes]
    assert len(tapes) == 7_791
    assert sum(len(tape.events) for tape in tapes) == 851_131
    assert sum(one["instruments"] for one in details) == 15_370
    assert sum(one["resolved"] for one in details) == 7_688
    assert series.table.num_rows == 7_788
    assert (series.report.details["markets_rows"], series.report.details["outcomes_rows"]) == (9_759, 15_796)
    assert "the partition of markets for 2026/05 is absent, though outcomes has it" in series.report.defects
    for tape in tapes[::100]:
        check_tape(tape.events, tape.meta)
    # Both outcomes tell the same price: YES and NO closes of one moment agree in nearly all bars.
    pairs = np.concatenate([t.events[np.isin(t.events["contract"], (0, 1))] for t in tapes[::20]])
    same = (np.diff(pairs["end_ns"]) == 0) & (np.diff(pairs["contract"]) == 1)
    apart = np.abs(np.diff(pairs["close_micros"]))[same]
    assert len(apart) > 1_000
    assert (apart == 0).mean() > 0.99
    # What was almost sure a day before the end came true far more often than not, so YES is the right side.
    sure = [
        (t.events["close_micros"][-1] > 500_000) == (t.meta.outcome == "yes") for t in tapes if t.meta.outcome
    ]
    assert np.mean(sure) > 0.75
