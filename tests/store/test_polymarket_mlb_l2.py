"""The Polymarket importer on hand-made games with each defect, and on real ones against their facts."""

import csv
import gzip

import pytest

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.store import importers
from pr3dict.store.importers import polymarket_mlb_l2 as poly
from pr3dict.store.tape import check_tape, read_tape

HEADER = "market_slug,asset_id,market_id,event_type,price,side,size,hash,timestamp"
T0 = 1_750_000_000_000  # ms
MS = 1_000_000


class Game:
    """Collects CSV rows; tokens are "yes" and "no", times ms after T0."""

    def __init__(self):
        self.lines = [HEADER]
        self.count = 0

    def row(self, kind, token, price, side, size, at, digest=None):
        self.lines.append(
            f"mlb-a-b,{token},1,{kind},{price},{side},{size},{digest or f'h{self.count}'},{T0 + at}"
        )
        return self

    def book(self, token, bids, asks, at):
        self.count += 1
        for side, levels in (("ask", asks), ("bid", bids)):
            for price, size in levels.items():
                self.row("book", token, price, side, size, at)
        return self

    def change(self, token, price, side, size, at):
        self.count += 1
        return self.row("price_change", token, price, side, size, at)

    def write(self, folder):
        folder.mkdir(exist_ok=True, parents=True)
        path = folder / "20250617_mlb-a-b.csv.gz"
        path.write_bytes(gzip.compress("\n".join(self.lines).encode()))
        return path

    def read(self, folder):
        [tape] = poly.read(self.write(folder))
        check_tape(tape.events, tape.meta)
        return tape


BIDS, ASKS = {"0.40": "100.5", "0.39": "50"}, {"0.43": "70", "0.44": "20.0"}
NO_BIDS, NO_ASKS = {"0.57": "70", "0.56": "20.0"}, {"0.60": "100.5", "0.61": "50"}


def start():
    return Game().book("yes", BIDS, ASKS, 0).book("no", NO_BIDS, NO_ASKS, 0)


def rows(tape, kind):
    return [
        (int(e["exch_ns"]) // MS - T0, int(e["side"]), int(e["price"]), int(e["qty"]))
        for e in tape.events
        if e["kind"] == kind
    ]


def test_the_first_token_is_yes_and_sizes_are_absolute(tmp_path):
    game = start().change("yes", "0.41", "bid", "5", 10).change("no", "0.59", "ask", "5", 10)
    tape = game.change("yes", "0.41", "BUY", "0.0", 20).change("yes", "0.44", "SELL", "21", 20).read(tmp_path)
    assert rows(tape, d.SNAPSHOT) == [
        (0, d.BID, 4_000, 100_500_000),
        (0, d.BID, 3_900, 50_000_000),
        (0, d.ASK, 4_300, 70_000_000),
        (0, d.ASK, 4_400, 20_000_000),
    ]
    assert rows(tape, d.LEVEL) == [
        (10, d.BID, 4_100, 5_000_000),
        (20, d.BID, 4_100, 0),
        (20, d.ASK, 4_400, 21_000_000),
    ]
    assert tape.meta.contract_id == "yes"
    assert (tape.meta.ticker, tape.report.deltas, tape.report.snapshots) == ("mlb-a-b", 3, 1)
    assert (tape.report.volume, tape.report.volume_explained) == (None, None)


def test_the_other_token_checks_the_book(tmp_path):
    good = start().change("yes", "0.41", "bid", "5", 10).book("no", NO_BIDS, {**NO_ASKS, "0.59": "5"}, 10)
    assert good.read(tmp_path).report.details["mirror_equal"] == 2
    bad = start().book("no", NO_BIDS, {**NO_ASKS, "0.59": "5"}, 10)
    tape = bad.read(tmp_path)
    assert (tape.report.details["mirror_checked"], tape.report.details["mirror_equal"]) == (2, 1)
    assert "1 snapshot of the other token that the replayed book does not mirror" in tape.report.defects


@pytest.mark.parametrize(
    ("bids", "asks", "trades"),
    [
        (BIDS, {"0.43": "60", "0.44": "20"}, [(10, d.BID, 4_300, 10_000_000)]),
        (BIDS, {"0.44": "15"}, [(10, d.BID, 4_300, 70_000_000), (10, d.BID, 4_400, 5_000_000)]),
        ({"0.40": "100", "0.39": "50"}, ASKS, [(10, d.ASK, 4_000, 500_000)]),
        ({"0.39": "50", "0.35": "7"}, ASKS, [(10, d.ASK, 4_000, 100_500_000)]),
        ({"0.40": "100", "0.39": "50"}, {"0.43": "60", "0.44": "20"}, []),  # both sides: unclear
        (BIDS, {"0.43": "70", "0.44": "10"}, []),  # not the touch
        ({"0.39": "1", "0.38": "1", "0.37": "1", "0.36": "1", "0.35": "1"}, ASKS, []),  # another book
    ],
)
def test_a_snapshot_tells_the_trade_before_it(tmp_path, bids, asks, trades):
    tape = start().book("yes", bids, asks, 10).read(tmp_path)
    assert rows(tape, d.TRADE) == trades
    assert all(e["bits"] == d.INFERRED for e in tape.events if e["kind"] == d.TRADE)
    assert tape.report.trades == tape.report.trades_inferred == len(trades)
    kinds = tape.events["kind"].tolist()
    assert kinds[5 : 5 + len(trades)] == [d.TRADE] * len(trades), "right before the snapshot"
    assert (tape.report.snapshots_checked, tape.report.snapshots_equal) == (
        1,
        int(bool(trades) and "0.35" not in bids),
    )


def test_what_changed_during_an_outage_is_no_trade(tmp_path):
    tape = start().book("yes", BIDS, {"0.43": "60", "0.44": "20"}, 60_001).read(tmp_path)
    assert rows(tape, d.TRADE) == []
    assert "1 silence of more than 60 s (longest 60 s): recorder outages" in tape.report.defects
    assert rows(start().book("yes", BIDS, {"0.43": "60", "0.44": "20"}, 60_000).read(tmp_path), d.TRADE)


def test_a_finer_price_is_a_tick_change_before_it(tmp_path):
    tape = start().change("yes", "0.405", "bid", "5", 10).read(tmp_path)
    assert [len(grid.prices()) for grid in tape.meta.grids] == [99, 999]
    [tick] = [i for i, e in enumerate(tape.events) if e["kind"] == d.TICK]
    assert tape.events["aux"][tick] == 1
    assert tape.events["price"][tick + 1] == 4_050
    fine = Game().book("yes", {"0.405": "1"}, {"0.5": "1"}, 0).read(tmp_path)
    assert [len(grid.prices()) for grid in fine.meta.grids] == [999]


def test_a_crossed_book_loses_its_older_level(tmp_path):
    tape = start().change("yes", "0.43", "bid", "5", 10).change("yes", "0.30", "bid", "5", 20).read(tmp_path)
    assert "1 instant with a crossed book; the older level was removed" in tape.report.defects
    repair = [e for e in tape.events if e["bits"] & d.SYNTHETIC]
    assert [(int(e["side"]), int(e["price"]), int(e["qty"])) for e in repair] == [(d.ASK, 4_300, 0)]


def test_time_never_runs_backwards_on_a_tape(tmp_path):
    tape = start().change("yes", "0.41", "bid", "5", 10).change("yes", "0.38", "bid", "5", 4).read(tmp_path)
    assert [row[0] for row in rows(tape, d.LEVEL)] == [10, 10]
    assert "1 message with a time before the one above, moved up to it" in tape.report.defects


def test_changes_before_the_first_snapshot_are_left_out(tmp_path):
    game = Game().change("yes", "0.41", "bid", "5", 0)
    tape = game.book("yes", BIDS, ASKS, 1).read(tmp_path)
    assert "1 level change before the first snapshot, left out" in tape.report.defects
    assert rows(tape, d.LEVEL) == []


def test_the_resolution_is_estimated_and_the_outcome_never(tmp_path):
    hour = 3_600_000 * MS
    open_game = start().change("yes", "0.41", "bid", "5", 10).read(tmp_path).meta
    assert open_game.expected_resolution_ns == (T0 + 10) * MS + hour
    over = (
        Game()
        .book("yes", {"0.97": "1"}, {"0.99": "1"}, 0)
        .change("yes", "0.96", "bid", "5", 10)
        .read(tmp_path)
        .meta
    )
    assert over.expected_resolution_ns == (T0 + 10) * MS
    lost = Game().book("yes", {}, {"0.03": "1"}, 5).read(tmp_path).meta
    assert lost.expected_resolution_ns == (T0 + 5) * MS
    for meta in (open_game, over, lost):
        assert meta.outcome is None
        assert "hindsight" in meta.times_source
        assert (meta.nets_positions, meta.reduce_in_place, meta.min_size) == (False, False, 5_000_000)
        assert (meta.fee.kind, meta.fee.taker_ppm) == ("none", 0)


# --- broken input ---------------------------------------------------------------------------------


def test_a_malformed_row_is_left_out_and_reported(tmp_path):
    game = start()
    game.lines += ["mlb-a-b,yes,1,price_change", ""]
    tape = game.change("yes", "0.41", "bid", "5", 10).read(tmp_path)
    assert "2 malformed rows left out (first: row 10)" in tape.report.defects
    assert len(rows(tape, d.LEVEL)) == 1


@pytest.mark.parametrize(
    ("price", "side", "size", "sentence"),
    [
        ("nan", "bid", "5", "price 'nan' is not a plain decimal number"),
        ("0.40", "bid", "NaN", "quantity 'NaN' is not a plain decimal number"),
        ("0.40", "bid", "-5", "quantity -5 is negative"),
        ("1.2", "bid", "5", "price 1.2 is outside 0 to 1 dollar"),
        ("0", "bid", "5", "price: a level at 0 is outside the book"),
        ("0.40", "left", "5", "side: side 'left' is none of bid"),
        ("0.40", "bid", "", "quantity '' is not a plain decimal number"),
    ],
)
def test_an_impossible_value_names_file_and_row(tmp_path, price, side, size, sentence):
    path = start().change("yes", price, side, size, 10).write(tmp_path)
    with pytest.raises(DataError) as caught:
        poly.read(path)
    assert str(caught.value).startswith(f"{path}: row 10: {sentence}")


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("event_type", "hello", "unknown event type"),
        ("timestamp", "17", "not a time in ms"),
        ("market_slug", "x", "two markets"),
    ],
)
def test_other_impossible_cells(tmp_path, column, value, sentence):
    game = start().change("yes", "0.41", "bid", "5", 10)
    cells = game.lines[-1].split(",")
    cells[HEADER.split(",").index(column)] = value
    game.lines[-1] = ",".join(cells)
    with pytest.raises(DataError, match=rf"20250617_mlb-a-b\.csv\.gz: .*{sentence}"):
        poly.read(game.write(tmp_path))


def test_broken_files_are_named(tmp_path):
    path = start().write(tmp_path)
    whole = path.read_bytes()
    for broken in (whole[:50], b"hello", whole[:40] + b"\xff" + whole[41:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"mlb-a-b\.csv\.gz: not a whole gzip file"):
            poly.read(path)
    for text, sentence in (
        (HEADER.replace(",size", ""), "the column 'size' is missing"),
        ("", "the column 'market_slug' is missing"),
        (HEADER, "holds no rows"),
    ):
        path.write_bytes(gzip.compress(text.encode()))
        with pytest.raises(DataError, match=sentence):
            poly.read(path)
    path.write_bytes(gzip.compress(HEADER.encode() + b"\n\xff\xfe"))
    with pytest.raises(DataError, match="not a CSV text"):
        poly.read(path)
    third = start().change("maybe", "0.41", "bid", "5", 10)
    with pytest.raises(DataError, match="holds 3 tokens"):
        poly.read(third.write(tmp_path))
    with pytest.raises(DataError, match="no `book` row of its first token"):
        poly.read(Game().change("yes", "0.41", "bid", "5", 10).write(tmp_path))
    with pytest.raises(DataError, match="no polymarket-mlb-l2 recording here"):
        poly.find([tmp_path / "20250617"])


# --- real recordings ------------------------------------------------------------------------------


def test_real_games_reproduce_their_facts(data_dir, tmp_path):
    folder = data_dir / "polymarket-mlb-l2-2025"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    with (folder / "games.csv").open() as file:
        facts = {row["file"].removesuffix(".csv.gz"): row for row in csv.DictReader(file)}
    written = importers.import_recordings(poly.IMPORTER, [folder], tmp_path)
    assert {report.session for _, report in written} == set(facts)
    for path, report in written:
        fact = facts[report.session]
        assert report.details["rows"] == int(fact["rows"])
        assert 2 * report.deltas == int(fact["price_changes"])
        assert report.snapshots + report.details["mirror_checked"] in range(
            int(fact["book_snapshots"]) - 2, int(fact["book_snapshots"]) + 1
        )
        assert report.details["mirror_equal"] >= 0.94 * report.details["mirror_checked"]
        assert report.trades_inferred > 0
        events, meta = read_tape(path)
        assert len(events) == report.events
        assert meta.outcome is None
    assert any("recordings of one market" in defect for defect in importers.defects_of(written))
