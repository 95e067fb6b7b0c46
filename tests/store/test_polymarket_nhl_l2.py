"""The Polymarket hockey importer on hand-made recordings of each rule, and on the real one's facts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.store import importers
from pr3dict.store.importers import polymarket_nhl_l2 as nhl
from pr3dict.store.importers.polymarket_nhl_game import Print, read_scores
from pr3dict.store.series import check_series, is_series, read_series
from pr3dict.store.tape import check_tape, read_tape

T0 = 1_780_795_851_000  # ms
MS = 1_000_000
SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("ms", "UTC")),
        ("price", pa.float64()),
        ("size", pa.float64()),
        ("best_bid", pa.float64()),
        ("best_ask", pa.float64()),
        ("side", pa.dictionary(pa.int8(), pa.string())),
        ("event_type", pa.dictionary(pa.int8(), pa.string())),
        ("asset_id", pa.large_string()),
    ]
)
SCORE_HEADER = (
    "ts_ms,event_id,period,display_clock,home_team,home_score,away_team,away_score,"
    "home_score_delta,away_score_delta,game_state,event_type"
)


class Game:
    """Collects rows of tokens "A" (first) and "B" (its mirror), times in ms after T0, prices in cents."""

    def __init__(self):
        self.rows = []

    def row(self, at, token, kind, side, price, size, bid=0.0, ask=0.0):
        self.rows.append((T0 + at, price / 100, size, bid / 100, ask / 100, side, kind, token))
        return self

    def change(self, at, side, price, size, bid, ask, *, mirror=True, tokens="AB"):
        self.row(at, tokens[0], "PRICE_CHANGE", side, price, size, bid, ask)
        if mirror:
            other = {"BID": "ASK", "ASK": "BID"}[side]
            self.row(at, tokens[1], "PRICE_CHANGE", other, 100 - price, size, 100 - ask, 100 - bid)
        return self

    def trade(self, at, token, side, price, size):
        return self.row(at, token, "LAST_TRADE", side, price, size)

    def start(self):
        """A book of 40 x 100 and 43 x 70 with levels behind, whose touches become known at 2 ms."""
        self.change(0, "BID", 39, 50, 40, 43).change(0, "ASK", 44, 20, 40, 43)
        return self.change(1, "BID", 40, 100, 40, 43).change(2, "ASK", 43, 70, 40, 43)

    def write(self, folder, name="polymarket_20260607_0130.parquet", schema=SCHEMA):
        folder.mkdir(exist_ok=True, parents=True)
        columns = list(zip(*self.rows, strict=True)) or [[]] * len(schema)
        table = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
        pq.write_table(table, folder / name)
        return folder

    def read(self, folder):
        made = list(nhl.read(self.write(folder)))
        for one in made:
            if one.report.kind == "book":
                check_tape(one.events, one.meta)
            else:
                check_series(one.table, one.meta)
        return made

    def tape(self, folder):
        return self.read(folder)[0]


def rows(tape, *kinds):
    return [
        (int(e["exch_ns"]) // MS - T0, int(e["side"]), int(e["price"]), int(e["qty"]))
        for e in tape.events
        if e["kind"] in kinds
    ]


def kinds(tape):
    return tape.events["kind"].tolist()


# --- markets out of tokens ------------------------------------------------------------------------


def test_mirrored_tokens_are_one_market_and_its_changes_count_once(tmp_path):
    game = Game().start().change(10, "BID", 41, 5, 41, 43).change(20, "ASK", 43, 60.5, 41, 43)
    [tape] = game.read(tmp_path)
    assert rows(tape, d.LEVEL) == [(10, d.BID, 4_100, 5_000_000), (20, d.ASK, 4_300, 60_500_000)]
    assert (tape.meta.contract_id, tape.report.details["other_token"]) == ("A", "B")
    details = tape.report.details
    assert (details["price_changes"], details["mirrored"], details["unmirrored"]) == (12, 6, 0)
    assert (tape.report.rows, tape.report.deltas) == (12, 6)


def test_the_token_that_appears_first_is_yes_even_when_messages_begin_with_the_other(tmp_path):
    game = Game().start()
    game.change(10, "ASK", 59, 5, 57, 59, tokens="BA")  # B's ask at 59 is A's bid at 41
    tape = game.tape(tmp_path)
    assert rows(tape, d.LEVEL) == [(10, d.BID, 4_100, 5_000_000)]
    assert tape.meta.contract_id == "A"


def test_a_change_that_one_token_tells_is_kept_and_counted(tmp_path):
    game = Game()
    for at in range(20):  # enough that both tell for a proven pair
        game.change(at, "BID", 40, 100 + at, 40, 43).change(at, "ASK", 43, 70, 40, 43)
    game.change(30, "BID", 40, 7, 40, 43, mirror=False).change(40, "BID", 40, 7, 40, 43, mirror=False)
    tape = game.tape(tmp_path)
    assert rows(tape, d.LEVEL)[-2:] == [(30, d.BID, 4_000, 7_000_000), (40, d.BID, 4_000, 7_000_000)]
    assert tape.report.details["unmirrored"] == 2
    assert "2 level changes that only one of the two tokens tells" in tape.report.defects


def test_a_change_mirrors_one_change_only(tmp_path):
    game = Game()
    for at in range(20):
        game.change(at, "BID", 40, 100 + at, 40, 43).change(at, "ASK", 43, 70, 40, 43)
    again = game.change(30, "BID", 41, 5, 41, 43).rows[-1]  # the other token tells it once more
    game.rows.append(again)
    tape = game.tape(tmp_path)
    assert rows(tape, d.LEVEL)[-2:] == [(30, d.BID, 4_100, 5_000_000)] * 2
    assert tape.report.details["unmirrored"] == 1


def test_two_markets_are_two_tapes_and_a_lone_token_says_so(tmp_path):
    game = Game().start()
    game.change(3, "BID", 10, 5, 10, 20, tokens="CD").change(3, "ASK", 20, 5, 10, 20, tokens="CD")
    game.change(4, "BID", 70, 5, 70, 80, tokens="E", mirror=False)
    game.change(4, "ASK", 80, 5, 70, 80, tokens="E", mirror=False)
    tapes = game.read(tmp_path)
    assert [t.meta.contract_id for t in tapes] == ["A", "C", "E"]
    lonely = "no other token mirrors this one: the market's other token is missing"
    assert [lonely in t.report.defects for t in tapes] == [False, False, True]


def test_files_of_a_folder_are_one_recording_in_order_of_name(tmp_path):
    Game().start().write(tmp_path)
    Game().change(10, "BID", 40, 1, 40, 43).write(tmp_path, "polymarket_20260607_0145.parquet")
    [tape] = nhl.read(tmp_path)
    assert rows(tape, d.LEVEL) == [(10, d.BID, 4_000, 1_000_000)]
    assert tape.report.session == "20260607_0130"
    assert nhl.find([tmp_path, tmp_path]) == [tmp_path]
    alone = tmp_path / "polymarket_20260607_0130.parquet"
    [tape] = nhl.read(nhl.find([alone])[0])
    assert rows(tape, d.LEVEL) == []


# --- the book -------------------------------------------------------------------------------------


def test_the_tape_begins_when_both_touches_are_known(tmp_path):
    tape = Game().start().change(10, "BID", 41, 5, 41, 43).tape(tmp_path)
    assert rows(tape, d.SNAPSHOT) == [
        (2, d.BID, 3_900, 50_000_000),
        (2, d.BID, 4_000, 100_000_000),
        (2, d.ASK, 4_400, 20_000_000),
        (2, d.ASK, 4_300, 70_000_000),
    ]
    assert all(e["bits"] & d.SYNTHETIC for e in tape.events if e["kind"] == d.SNAPSHOT)
    assert "4 level changes until both touches were known, only learned from" in tape.report.defects
    with pytest.raises(DataError, match="the touch of token A never becomes known"):
        Game().change(0, "BID", 39, 50, 40, 43).tape(tmp_path)


def test_a_level_better_than_the_stated_touch_is_gone(tmp_path):
    tape = Game().start().change(10, "BID", 38, 5, 39, 43).tape(tmp_path)
    assert rows(tape, d.LEVEL) == [(10, d.BID, 3_800, 5_000_000), (10, d.BID, 4_000, 0)]
    assert (tape.events["bits"][-2:] & d.SYNTHETIC).tolist() == [0, d.SYNTHETIC]
    assert "1 level better than the stated touch, removed" in tape.report.defects
    details = tape.report.details
    assert (details["messages_checked"], details["messages_equal"]) == (2, 2)
    assert details["messages"] - details["messages_equal_untouched"] == 3, "two before the start, one stale"


def test_the_touch_is_that_after_all_changes_of_a_message(tmp_path):
    """Both rows state the touch after the message, so nothing is removed for the first one."""
    game = Game().start().change(10, "BID", 38, 5, 39, 43).change(10, "BID", 40, 0, 39, 43)
    tape = game.tape(tmp_path)
    assert rows(tape, d.LEVEL) == [(10, d.BID, 3_800, 5_000_000), (10, d.BID, 4_000, 0)]
    assert tape.report.details["stale_levels_removed"] == 0


def test_the_market_is_paused_while_a_touch_has_no_known_size(tmp_path):
    game = Game().start().change(10, "BID", 40, 0, 39.5, 43).change(20, "BID", 39.5, 9, 39.5, 43)
    tape = game.change(30, "BID", 30, 9, 39.5, 43).tape(tmp_path)
    status = [e for e in tape.events if e["kind"] == d.STATUS]
    assert [(int(e["exch_ns"]) // MS - T0, int(e["aux"]), int(e["bits"])) for e in status] == [
        (2, d.ACTIVE, 0),
        (10, d.PAUSED, d.SYNTHETIC),
        (20, d.ACTIVE, d.SYNTHETIC),
    ]
    assert "1 message with a touch of unknown size; the market is paused there" in tape.report.defects
    assert tape.report.details["messages_checked"] - tape.report.details["messages_equal"] == 1


def test_an_empty_side_is_a_known_touch(tmp_path):
    game = Game().start().change(10, "ASK", 44, 0, 40, 43).change(20, "ASK", 43, 0, 40, 100)
    tape = game.tape(tmp_path)
    assert tape.report.details["messages_checked"] == tape.report.details["messages_equal"]


def test_a_finer_price_is_a_tick_change_before_it(tmp_path):
    tape = Game().start().change(10, "BID", 40.1, 5, 40.1, 43).tape(tmp_path)
    assert [len(grid.prices()) for grid in tape.meta.grids] == [99, 999]
    [tick] = [i for i, e in enumerate(tape.events) if e["kind"] == d.TICK]
    assert (int(tape.events["aux"][tick]), int(tape.events["price"][tick + 1])) == (1, 4_010)
    fine = Game().change(0, "BID", 40.1, 5, 40.1, 43).change(1, "ASK", 43, 5, 40.1, 43).tape(tmp_path)
    assert [len(grid.prices()) for grid in fine.meta.grids] == [999]


# --- prints ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "side", "price", "size", "taker", "yes_price"),
    [
        ("A", "BID", 43, 10, d.BID, 4_300),  # bought YES
        ("B", "ASK", 57, 10, d.BID, 4_300),  # sold NO
        ("A", "ASK", 40, 10, d.ASK, 4_000),
        ("B", "BID", 60, 10, d.ASK, 4_000),
    ],
)
def test_a_print_stands_before_the_change_that_it_caused(
    tmp_path, token, side, price, size, taker, yes_price
):
    game = Game().start()
    if taker == d.BID:
        game.change(30, "ASK", 43, 60, 40, 43)
    else:
        game.change(30, "BID", 40, 90, 40, 43)
    tape = game.trade(51, token, side, price, size).tape(tmp_path)
    assert rows(tape, d.TRADE) == [(30, taker, yes_price, 10_000_000)]
    assert kinds(tape)[-2:] == [d.TRADE, d.LEVEL]
    assert int(tape.events["local_ns"][-2]) == (T0 + 51) * MS
    assert (tape.meta.has_trades, tape.report.trades, tape.report.trades_inferred) == ("recorded", 1, 0)
    assert tape.report.details["prints_matched_exactly"] == 1


def test_sizes_agree_to_a_hundredth_and_the_print_keeps_its_own(tmp_path):
    game = Game().start().change(30, "ASK", 43, 62.13, 40, 43).trade(50, "A", "BID", 43, 7.867923)
    assert rows(game.tape(tmp_path), d.TRADE) == [(30, d.BID, 4_300, 7_867_923)]


def test_a_sweep_is_split_over_the_levels_that_it_took(tmp_path):
    """One print of 80 at the average price: 70 at 43 and 10 of the 20 at 44."""
    game = Game().start().change(30, "ASK", 44, 10, 40, 44).change(30, "ASK", 43, 0, 40, 44)
    game.change(30, "ASK", 60, 0, 40, 44)
    tape = game.trade(50, "A", "BID", 43, 80.004).tape(tmp_path)
    assert rows(tape, d.TRADE, d.LEVEL) == [
        (30, d.BID, 4_400, 10_004_000),
        (30, d.ASK, 4_400, 10_000_000),
        (30, d.BID, 4_300, 70_000_000),
        (30, d.ASK, 4_300, 0),
        (30, d.ASK, 6_000, 0),
    ]
    assert (tape.report.details["prints"], tape.report.trades) == (1, 2)
    assert tape.report.details["prints_matched_as_sweep"] == 1


def test_a_print_may_explain_a_level_that_vanished_without_a_word(tmp_path):
    game = Game().start().change(30, "ASK", 60, 5, 40, 44).trade(50, "A", "BID", 43, 70)
    tape = game.tape(tmp_path)
    assert rows(tape, d.TRADE, d.LEVEL)[-2:] == [(30, d.BID, 4_300, 70_000_000), (30, d.ASK, 4_300, 0)]
    assert int(tape.events["bits"][-1]) == d.SYNTHETIC


def test_a_larger_decrease_holds_a_print_and_a_cancel(tmp_path):
    game = Game().start().change(30, "ASK", 43, 50, 40, 43).trade(50, "A", "BID", 43, 19)
    tape = game.tape(tmp_path)
    assert rows(tape, d.TRADE) == [(30, d.BID, 4_300, 19_000_000)]
    assert tape.report.details["prints_matched_in_larger_change"] == 1


def test_a_print_without_a_change_stays_at_its_own_time(tmp_path):
    game = Game().start().change(30, "ASK", 43, 60, 40, 43).change(250, "ASK", 43, 50, 40, 43)
    game.trade(240, "A", "BID", 43, 10)  # the change at 30 is too old, that at 250 comes later
    tape = game.tape(tmp_path)
    assert rows(tape, d.TRADE) == [(240, d.BID, 4_300, 10_000_000)]
    assert "1 print that no level change matches, left at its own time" in tape.report.defects


def test_prints_before_the_tape_are_left_out(tmp_path):
    game = Game().change(0, "BID", 40, 100, 40, 43).change(1, "BID", 40, 90, 40, 43)
    game.trade(1, "A", "BID", 43, 3).change(2, "ASK", 43, 70, 40, 43).trade(21, "A", "ASK", 40, 10)
    tape = game.change(40, "BID", 40, 91, 40, 43).tape(tmp_path)
    assert rows(tape, d.TRADE) == []
    assert "2 prints before that, left out" in tape.report.defects


def test_late_rows_are_sorted(tmp_path):
    game = Game().start().change(30, "ASK", 43, 60, 40, 43).change(90, "BID", 41, 9, 41, 43)
    tape = game.trade(50, "A", "BID", 43, 10).tape(tmp_path)  # arrives after the row of 90
    assert [row[0] for row in rows(tape, d.TRADE, d.LEVEL)] == [30, 30, 90]
    assert "1 row with a time before the row above, sorted" in tape.report.defects


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 9), st.sampled_from([4_300, 4_400])), max_size=12),
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 9), st.sampled_from([4_300, 4_400])), max_size=12),
)
def test_nothing_is_taken_twice_and_never_before_a_print(changes, prints):
    """Against the rules themselves: a part belongs to one print, is not later than it and not too old."""
    taken = {}
    for row, (at, size, price) in enumerate(changes):
        taken.setdefault((d.ASK, at), []).append(nhl.Taken(price, size * nhl.ROUNDING * 3, row))
    printed = sorted(Print(at, d.BID, price, size * nhl.ROUNDING * 3) for at, size, price in prints)
    matched, figures = nhl.match_prints(printed, taken)
    used = [part.row for parts in matched.values() for part in parts]
    assert len(used) == len(set(used))
    assert sum(figures.values()) == len(matched)
    for place, parts in matched.items():
        trade = printed[place]
        assert len({changes[part.row][0] for part in parts}) == 1
        assert 0 <= trade.now_ms - changes[parts[0].row][0] <= nhl.MOST_LAG_MS
        total = sum(part.size for part in parts)
        assert total >= trade.size - len(parts) * nhl.ROUNDING
    for place in set(range(len(printed))) - matched.keys():
        trade = printed[place]
        free = [
            row
            for row, (at, size, price) in enumerate(changes)
            if row not in used and price == trade.price and 0 <= trade.now_ms - at <= nhl.MOST_LAG_MS
        ]
        assert all(changes[row][1] * nhl.ROUNDING * 3 < trade.size for row in free), "a fit was left"


# --- the score ------------------------------------------------------------------------------------


def score(folder, *lines, name="espn_nhl_7.csv"):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_text("\n".join([SCORE_HEADER, *lines]) + "\n")
    return path


def poll(at_s, period, clock, home, away, event="7"):
    return f"{T0 + 1000 * at_s},{event},{period},{clock},VGK,{home},CAR,{away},0,0,in,heartbeat"


def test_the_score_becomes_a_series_a_team_and_no_news(tmp_path):
    score(tmp_path, poll(0, 2, "10:00", 0, 0), poll(60, 2, "9:30", 1, 0), poll(120, 2, "9:00", 1, 0))
    tape, home, away = Game().start().read(tmp_path)
    assert d.NEWS not in kinds(tape)
    assert home.table.column("value").to_pylist() == [0, 10**8, 10**8]
    assert away.table.column("value").to_pylist() == [0, 0, 0]
    assert home.table.column("exch_ns").to_pylist()[1] == (T0 + 60_000) * MS
    assert (home.report.market, away.report.market) == ("nhl-7-goals-VGK", "nhl-7-goals-CAR")
    assert tape.meta.event_id == "nhl-7"


def test_the_end_of_the_game_is_estimated_from_the_clock(tmp_path):
    # 60 s of game in 120 s; 9:00 of the second and a third period left at that pace, and one break.
    score(tmp_path, poll(0, 2, "10:00", 0, 0), poll(120, 2, "9:00", 1, 0))
    meta = Game().start().tape(tmp_path).meta
    assert meta.expected_resolution_ns == (T0 + 1000 * (120 + 2 * (540 + 1_200) + 1_080)) * MS
    assert "hindsight" in meta.times_source
    score(tmp_path, poll(0, 2, "10:00", 0, 0), poll(120, 2, "10:00", 1, 0))
    assert Game().start().tape(tmp_path).meta.expected_resolution_ns is None


def test_without_a_single_feed_the_resolution_is_unknown(tmp_path):
    tape = Game().start().tape(tmp_path / "none")
    assert (tape.meta.expected_resolution_ns, tape.meta.times_source) == (None, "")
    sentence = "no single score feed (espn_*.csv) beside it, so its time of resolution is not known"
    assert sentence in tape.report.defects
    for name in ("espn_a.csv", "espn_b.csv"):
        score(tmp_path / "two", poll(0, 2, "10:00", 0, 0), name=name)
    assert Game().start().tape(tmp_path / "two").meta.expected_resolution_ns is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (poll(9, 2, "ten", 0, 0), "row 3: time, period, clock and scores must be whole numbers"),
        (poll(9, 2, "9:00", "-1", 0), "row 3: time, period"),
        (poll(-9, 2, "9:00", 0, 0), "row 3: another game, or a time before the first row"),
        (poll(9, 2, "9:00", 0, 0, event="8"), "row 3: another game"),
    ],
)
def test_a_wrong_score_names_its_line(tmp_path, line, sentence):
    path = score(tmp_path, poll(0, 2, "10:00", 0, 0), line)
    with pytest.raises(DataError, match=sentence) as caught:
        read_scores(path)
    assert str(caught.value).startswith(str(path))


def test_broken_score_files_are_named(tmp_path):
    path = score(tmp_path)
    with pytest.raises(DataError, match=r"espn_nhl_7\.csv: holds no rows"):
        read_scores(path)
    path.write_text("ts_ms,period\n1,2\n")
    with pytest.raises(DataError, match="the column 'event_id' is missing"):
        read_scores(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not a CSV text"):
        read_scores(path)


# --- broken input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("price", float("nan"), "row 9: price: nan is not a finite number"),
        ("price", None, "row 9: price: the value is missing"),
        ("price", 0.40001, "row 9: price: 0.40001 is finer than 1/10,000"),
        ("price", 1.0, "row 9: price: outside 0 to 1 dollar"),
        ("size", -1.0, "row 9: size: -1.0 is negative"),
        ("size", float("inf"), "row 9: size: inf is not a finite number"),
        ("size", 1e12, "row 9: size: 1000000000000.0 is too large"),
        ("best_bid", 0.9, "row 9: best_bid: at or above best_ask"),
        ("best_ask", 1.2, "row 9: best_ask: above 1 dollar"),
        ("side", "LEFT", "row 9: side: 'LEFT' is none of BID, ASK"),
        ("event_type", "HELLO", "row 9: event_type: 'HELLO' is none of PRICE_CHANGE"),
        ("asset_id", None, "row 9: asset_id: the value is missing"),
        ("timestamp", -5, "row 9: timestamp: before 1970"),
    ],
)
def test_an_impossible_value_names_file_and_row(tmp_path, column, value, sentence):
    game = Game().start().change(10, "BID", 40, 5, 40, 43)
    cells = list(game.rows[8])
    cells[SCHEMA.names.index(column)] = value
    game.rows[8] = tuple(cells)
    path = game.write(tmp_path) / "polymarket_20260607_0130.parquet"
    with pytest.raises(DataError) as caught:
        list(nhl.read(tmp_path))
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_broken_files_are_named(tmp_path):
    path = Game().start().write(tmp_path) / "polymarket_20260607_0130.parquet"
    whole = path.read_bytes()
    for broken in (whole[:100], b"", b"hello"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"0130\.parquet: not a readable Parquet file"):
            list(nhl.read(tmp_path))
    Game().write(tmp_path)
    with pytest.raises(DataError, match="holds no rows"):
        list(nhl.read(tmp_path))
    for column, kind, sentence in (
        ("price", pa.string(), "the column is string and must be double"),
        ("timestamp", pa.int64(), "is int64"),
    ):
        schema = SCHEMA.set(SCHEMA.names.index(column), pa.field(column, kind))
        game = Game().start()
        game.rows = [
            tuple(str(c) if n == column == "price" else c for n, c in zip(SCHEMA.names, row, strict=True))
            for row in game.rows
        ]
        game.write(tmp_path, schema=schema)
        with pytest.raises(DataError, match=sentence):
            list(nhl.read(tmp_path))
    pq.write_table(pa.table({"price": [0.5]}), path)
    with pytest.raises(DataError, match="timestamp: the column is missing"):
        list(nhl.read(tmp_path))
    with pytest.raises(DataError, match="no polymarket-nhl-l2 recording here"):
        nhl.find([tmp_path / "espn_nhl_7.csv"])


# --- the real recording ---------------------------------------------------------------------------


def test_the_real_game_reproduces_its_facts(data_dir, tmp_path):
    folder = data_dir / "polymarket-nhl-l2-2026"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    written = importers.import_recordings(nhl.IMPORTER, [folder], tmp_path)
    report = importers.report_json(written)
    sums = report["details"]
    assert report["kinds"] == {"book": 6, "reference": 2}
    assert (sums["price_changes"], sums["prints"]) == (357_274, 838)
    assert report["rows"] == 358_112 + 45
    assert (sums["mirrored"], sums["unmirrored"], report["deltas"]) == (178_637, 0, 178_637)
    alone = sums["messages_after_600_s_equal_untouched"] / sums["messages_after_600_s"]
    assert alone == pytest.approx(0.49, abs=0.01), "what deltas alone make of the book"
    assert sums["messages_equal"] >= 0.9999 * sums["messages_checked"]
    assert sums["messages_checked"] >= 0.99 * sums["messages"]
    matched = [sums[key] for key in nhl.MATCHES]
    assert sum(matched) >= 0.99 * sums["prints"]
    assert matched[0] > 0.9 * sums["prints"]
    for path, one in written:
        if is_series(path):
            series = read_series(path)
            assert series.table.num_rows == 45
            changes = [b for a, b in zip(values(series), values(series)[1:], strict=False) if a != b]
            assert len(changes) == (2 if one.market.endswith("VGK") else 0)
        else:
            events, meta = read_tape(path)
            assert len(events) == one.events
            assert meta.outcome is None
            check_trades_stand_before_their_change(events)


def values(series):
    return series.table.column("value").to_pylist()


def check_trades_stand_before_their_change(events):
    """Every trade of these recordings is followed by a smaller level at its price within the instant."""
    traded = np.flatnonzero(events["kind"] == d.TRADE)
    level = np.flatnonzero(events["kind"] == d.LEVEL)
    assert len(traded) > 0
    before, after = events[traded], events[level[np.searchsorted(level, traded)]]
    assert np.array_equal(after["price"], before["price"])
    assert np.array_equal(after["side"], d.ASK - before["side"])
    assert np.array_equal(after["exch_ns"], before["exch_ns"])
