"""Trade tapes of 15-minute markets: hand-made files with each defect, real ones against their facts."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.domain.errors import DataError
from pr3dict.kernels import dtypes as d
from pr3dict.store import importers
from pr3dict.store.importers import kalshi_15m_btc_eth_trades as trades
from pr3dict.store.tape import check_tape, read_tape

TICKER = "KXBTC15M-26APR271445-45"
CLOSE_NS = 1_777_315_500_000_000_000  # 2026-04-27T18:45:00Z
SECOND = 1_000_000_000


def stamp(micros):
    """The time `micros` after 18:40:00."""
    minutes, rest = divmod(micros, 60_000_000)
    return f"2026-04-27T18:{40 + minutes:02d}:{rest // 1_000_000:02d}.{rest % 1_000_000:06d}Z"


def trade(name, micros, side="yes", price=0.5, size="3.00", **changed):
    yes = f"{price:.4f}"
    raw = {
        "count_fp": size,
        "created_time": stamp(micros),
        "no_price_dollars": f"{1 - price:.4f}",
        "taker_side": side,
        "ticker": TICKER,
        "trade_id": name,
        "yes_price_dollars": yes,
    } | changed
    cells = [raw["ticker"], name, str((CLOSE_NS // SECOND - 300) + micros // 1_000_000), yes, size, side]
    return [*cells, json.dumps(raw)]


def write(folder, rows, *, ticker=TICKER, fact=None, header=trades.COLUMNS):
    (folder / "trades").mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path = folder / "trades" / f"{ticker}.csv.gz"
    path.write_bytes(gzip.compress(text.getvalue().encode()))
    if fact is not None:
        with (folder / "markets.csv").open("w", newline="") as file:
            csv.writer(file).writerows([trades.FACTS, fact])
    return path


def tape_of(folder, rows, **more):
    [tape] = trades.read(write(folder, rows, **more))
    check_tape(tape.events, tape.meta)
    return tape


def rows_of(tape, kind=d.TRADE):
    fields = ("exch_ns", "side", "price", "qty")
    rows = tape.events[tape.events["kind"] == kind]
    return [tuple(int(row[name]) for name in fields) for row in rows]


def test_a_trade_is_in_yes_terms_with_its_exact_time_and_size(tmp_path):
    tape = tape_of(
        tmp_path, [trade("a", 7, "yes", 0.999, "0.25"), trade("b", 1_000_001, "no", 0.31, "12.00")]
    )
    start = CLOSE_NS - 300 * SECOND
    assert rows_of(tape) == [
        (start + 7_000, d.BID, 9_990, 250_000),
        (start + 1_000_001_000, d.ASK, 3_100, 12_000_000),
    ]
    assert (tape.events["local_ns"] == tape.events["exch_ns"]).all(), "no receive time was recorded"
    assert not tape.events["bits"].any(), "nothing is inferred"
    assert tape.report.details["fractional"] == 1
    assert tape.report.details["micro_contracts"] == 12_250_000
    assert (tape.report.kind, tape.meta.kind, tape.meta.has_trades) == ("trades", "trades", "recorded")


@pytest.mark.parametrize(("outcome", "price", "value"), [("yes", 0.99, 1_000_000), ("no", 0.02, 0)])
def test_the_market_lives_from_open_to_settlement(tmp_path, outcome, price, value):
    fact = [TICKER, "1", "3.00", stamp(5), stamp(5), str(price), str(price), outcome]
    tape = tape_of(tmp_path, [trade("a", 5, price=price)], fact=fact)
    life = [(int(e["exch_ns"]) - CLOSE_NS, int(e["aux"])) for e in tape.events if e["kind"] == d.STATUS]
    assert life == [(-900 * SECOND, d.ACTIVE), (0, d.CLOSED)]
    assert rows_of(tape, d.SETTLE) == [(CLOSE_NS + SECOND, 0, 0, value)]
    assert tape.report.settled
    assert not tape.report.defects
    assert (tape.meta.outcome, "inferred from the last print" in tape.meta.outcome_source) == (outcome, True)
    assert (tape.meta.close_ns, tape.meta.open_ns) == (CLOSE_NS, CLOSE_NS - 900 * SECOND)


def test_without_a_fact_the_outcome_is_unknown(tmp_path):
    other = ["KXETH15M-26APR271445-45", "1", "3.00", stamp(5), stamp(5), "0.5", "0.5", "yes"]
    for fact, sentence in ((None, "no markets.csv"), (other, "does not name the market")):
        tape = tape_of(tmp_path / sentence[:4], [trade("a", 5)], fact=fact)
        assert (tape.meta.outcome, tape.meta.outcome_source, tape.report.settled) == (None, "", False)
        assert not rows_of(tape, d.SETTLE)
        assert [sentence in defect for defect in tape.report.defects] == [True]


@pytest.mark.parametrize(
    ("place", "word", "key"),
    [
        (1, "3", "n_trades"),
        (2, "6.01", "contracts"),
        (3, stamp(6), "first"),
        (4, stamp(8), "last"),
        (5, "0.5", "first_yes_price"),
        (6, "0.98", "last_yes_price"),
        (7, "no", "outcome_inferred"),
    ],
)
def test_what_markets_csv_says_otherwise_is_a_defect(tmp_path, place, word, key):
    rows = [trade("a", 5, price=0.4), trade("b", 7, price=0.99)]
    right = [TICKER, "2", "6.00", stamp(5), stamp(7), "0.4", "0.99", "yes"]
    assert not tape_of(tmp_path, rows, fact=right).report.defects
    wrong = [*right[:place], word, *right[place + 1 :]]
    assert tape_of(tmp_path, rows, fact=wrong).report.defects == (
        f"markets.csv says {key} {word}, the trades say otherwise",
    )


def test_a_repeated_trade_counts_once(tmp_path):
    again = trade("a", 5, price=0.7)
    tape = tape_of(tmp_path, [trade("a", 5), trade("b", 6), trade("a", 5), again])
    assert [row[2] for row in rows_of(tape)] == [5_000, 5_000]
    assert (tape.report.rows, tape.report.trades, tape.report.details["repeats"]) == (4, 2, 2)
    assert tape.report.defects[:2] == (
        "2 repeated trade_ids, left out",
        "1 repeat told another trade than the first, which was kept",
    )


def test_one_time_is_one_taker_from_the_best_price_to_the_worst(tmp_path):
    rows = [trade("a", 5, "no", 0.40), trade("b", 5, "no", 0.42), trade("c", 4, "yes", 0.46)]
    rows += [trade("d", 4, "yes", 0.45)]
    assert [row[2] for row in rows_of(tape_of(tmp_path, rows))] == [4_500, 4_600, 4_200, 4_000]


def test_trades_outside_the_market_s_life(tmp_path):
    tape = tape_of(tmp_path, [trade("a", 5), trade("b", 300_000_000), trade("c", 301_000_000)])
    assert (tape.report.trades, tape.report.rows) == (1, 3)
    assert "2 trades at or after the close, left out" in tape.report.defects
    early = trade("a", 0, created_time="2026-04-27T18:29:59.000000Z")
    early[2] = str(CLOSE_NS // SECOND - 901)
    tape = tape_of(tmp_path / "early", [early])
    assert "1 trade before the open that the ticker names, kept" in tape.report.defects
    assert int(tape.events["exch_ns"][0]) == CLOSE_NS - 901 * SECOND
    with pytest.raises(DataError, match="no trade before its close"):
        tape_of(tmp_path / "none", [trade("b", 300_000_000)])


@pytest.mark.parametrize(("cell", "word"), [(2, "1"), (2, "x"), (3, "0.51"), (4, "4.0"), (5, "no"), (1, "z")])
def test_columns_that_differ_from_the_object_are_a_defect(tmp_path, cell, word):
    row = trade("a", 5)
    row[cell] = word
    tape = tape_of(tmp_path, [row, trade("b", 6)])
    assert "1 row whose columns differ from raw_json, which was used" in tape.report.defects
    assert [row[2:] for row in rows_of(tape)] == [(5_000, 3_000_000)] * 2


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"yes_price_dollars": "nan"}, "price 'nan' is not a plain decimal number"),
        ({"yes_price_dollars": "0.6000"}, "make no dollar"),
        ({"yes_price_dollars": "1.0000", "no_price_dollars": "0.0000"}, "nobody can trade"),
        ({"yes_price_dollars": 0.5}, "raw_json is not a trade"),
        ({"count_fp": "0.00"}, "nobody can trade 0.00 contracts"),
        ({"count_fp": "-1.00"}, "is negative"),
        ({"count_fp": "many"}, "quantity 'many' is not a plain decimal number"),
        ({"created_time": "yesterday"}, "timestamp 'yesterday' is not ISO 8601"),
        ({"created_time": "2026-04-27T18:40:00"}, "is not ISO 8601 in UTC"),
        ({"taker_side": "buy"}, "raw_json is not a trade"),
        ({"ticker": "KXBTC15M-26APR271500-00"}, "a trade of KXBTC15M-26APR271500-00"),
    ],
)
def test_a_broken_trade_names_file_and_line(tmp_path, changed, sentence):
    path = write(tmp_path, [trade("a", 5), trade("b", 6, **changed)])
    with pytest.raises(DataError, match=rf"{TICKER}\.csv\.gz: row 3: .*{sentence}"):
        trades.read(path)


def test_broken_files_are_named(tmp_path):
    path = write(tmp_path, [trade("a", 5)])
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    with pytest.raises(DataError, match=rf"{TICKER}.*not a whole gzip file"):
        trades.read(path)
    with pytest.raises(DataError, match="row 1: the header is not ticker,trade_id"):
        trades.read(write(tmp_path, [], header=["ticker", *trades.COLUMNS[2:], "trade_id"]))
    with pytest.raises(DataError, match="holds no trades"):
        trades.read(write(tmp_path, []))
    with pytest.raises(DataError, match="not named after a 15-minute"):
        trades.read(write(tmp_path, [trade("a", 5)], ticker="KXSOL15M-26APR271445-45"))
    fact = [TICKER, "one", "3.00", stamp(5), stamp(5), "0.5", "0.5", "yes"]
    with pytest.raises(DataError, match=r"markets\.csv: row 2: quantity 'one'"):
        trades.read(write(tmp_path, [trade("a", 5)], fact=fact))
    fact = [TICKER, "1", "3.00", stamp(5), stamp(5), "0.5", "0.5", "maybe"]
    with pytest.raises(DataError, match=r"markets\.csv: row 2: outcome 'maybe'"):
        trades.read(write(tmp_path, [trade("a", 5)], fact=fact))


def test_sets_folders_and_files_are_found_once(tmp_path):
    first = write(tmp_path, [trade("a", 5)])
    second = write(tmp_path, [trade("a", 5)], ticker="KXETH15M-26APR271445-45")
    assert trades.find([tmp_path]) == trades.find([tmp_path / "trades"]) == [first, second]
    assert trades.find([second, tmp_path]) == [second, first]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no kalshi-15m-btc-eth-trades recording here"):
        trades.find([tmp_path / "empty"])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from(["yes", "no"]),
            st.integers(1, 999),
            st.integers(1, 10**7),
        ),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_any_file_becomes_its_distinct_trades_in_order(tmp_path_factory, made, random):
    rows = [
        trade(f"t{k}", time, side, price / 1000, f"{size / 100:.2f}")
        for k, (time, side, price, size) in enumerate(made)
    ]
    rows += random.choices(rows, k=3)
    random.shuffle(rows)
    tape = tape_of(tmp_path_factory.mktemp("any"), rows)
    start = CLOSE_NS - 300 * SECOND
    expected = [
        (start + time * 1_000, d.BID if side == "yes" else d.ASK, price * 10, size * 10_000)
        for time, side, price, size in made
    ]
    found = rows_of(tape)
    assert sorted(found) == sorted(expected)
    assert [row[0] for row in found] == sorted(row[0] for row in expected)
    assert tape.report.details["repeats"] == 3
    assert tape.report.details["micro_contracts"] == sum(row[3] for row in expected)


# --- real recordings ------------------------------------------------------------------------------


@pytest.fixture
def real(data_dir):
    folder = data_dir / trades.NAME
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    return folder


def test_the_set_holds_the_markets_of_its_table(real):
    with (real / "markets.csv").open() as file:
        facts = {row["market_ticker"]: row for row in csv.DictReader(file)}
    assert {path.name.removesuffix(".csv.gz") for path in trades.find([real])} == set(facts)
    assert len(facts) == 82
    assert sum(int(row["n_trades"]) for row in facts.values()) == 236_106
    assert [row["outcome_inferred"] for row in facts.values()].count("yes") == 48


def test_real_markets_reproduce_their_facts(real, tmp_path):
    """Every tenth file; the trades of all agree with markets.csv, as an import of the set shows."""
    with (real / "markets.csv").open() as file:
        facts = {row["market_ticker"]: row for row in csv.DictReader(file)}
    units = trades.find([real])[::10]
    for path, report in importers.import_recordings(trades.IMPORTER, units, tmp_path):
        fact = facts[report.market]
        assert report.defects == ()
        assert report.trades == report.rows == int(fact["n_trades"])
        assert report.details["micro_contracts"] == round(float(fact["contracts"]) * 1_000_000)
        events, meta = read_tape(path)
        assert meta.outcome == fact["outcome_inferred"]
        mine = events[events["kind"] == d.TRADE]
        prices = {int(row["price"]) for row in mine if row["exch_ns"] == mine["exch_ns"][-1]}
        assert round(float(fact["last_yes_price"]) * 10_000) in prices
        assert meta.open_ns <= mine["exch_ns"][0] < mine["exch_ns"][-1] < meta.close_ns
        assert set(mine["price"].tolist()) <= set(meta.grids[0].prices())


def test_the_taker_s_side_is_the_contract_that_it_bought(real):
    """After a taker of the other side the price of YES rises to a buyer of YES and falls to a buyer of NO."""
    [tape] = trades.read(trades.find([real])[0])
    mine = tape.events[tape.events["kind"] == d.TRADE]
    turns = mine["side"][1:] != mine["side"][:-1]
    move = (mine["price"][1:].astype(int) - mine["price"][:-1])[turns]
    bought_yes = mine["side"][1:][turns] == d.BID
    assert (move[bought_yes] > 0).mean() > 0.8
    assert (move[~bought_yes] < 0).mean() > 0.8
