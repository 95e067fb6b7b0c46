"""The journal: what went in comes out, nothing in between is ever accepted, every fault has its sentence."""

import importlib.util
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings

from pr3dict.domain.commands import Cancel, Place
from pr3dict.domain.events import Accepted, Filled
from pr3dict.domain.steps import Quoted, Step
from pr3dict.store import journal_schema
from pr3dict.store.journal import PAGE_STEPS, Journal, LogError, control_hash, load_step, store_step
from pr3dict.store.mark import Mark, MarkWriter, read_mark

SPEC = importlib.util.spec_from_file_location(
    "step_strategies", Path(__file__).with_name("step_strategies.py")
)
assert SPEC is not None and SPEC.loader is not None
strategies = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(strategies)
STEPS = strategies.STEPS

T0 = 1_778_717_700_000_000_000


def step(number: int, **parts) -> Step:
    place = Place(order_id=number, market=2, side=0, price=4_900, size=5_000_000, tif=0)
    filled = Filled(trade_id=f"t{number}", order_id=number, market=2, side=0, price=1, size=1, exch_ns=T0)
    inputs = (Accepted(order_id=number, venue_id="v"), filled)
    whole = {"inputs": inputs, "commands": (place,), "quotes": (Quoted(2, b"\x00\x01row"),), **parts}
    return Step(number=number, now_ns=T0 + number, **whole)


def steps(first: int, last: int) -> list[Step]:
    return [step(number) for number in range(first, last + 1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.db"


def kind_of(action) -> str:
    with pytest.raises(LogError) as caught:
        action()
    sentence = str(caught.value)
    assert "control.db" in sentence
    assert len(sentence) > 30
    return caught.value.kind


# --- what comes back ------------------------------------------------------------------------------


@given(made=STEPS)
@settings(max_examples=40)
def test_any_steps_come_back_as_they_were(made):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.db"
        with Journal.open(path) as journal:
            journal.append(made[:2])
            for one in made[2:]:
                journal.append([one])
            assert list(journal.steps()) == made
        with Journal.open(path) as journal:
            assert list(journal.steps()) == made
            assert (journal.last_number, journal.last_ns) == (made[-1].number, made[-1].now_ns)
        with Journal.read(path) as reader:
            assert list(reader.steps(after=1)) == made[1:]


@given(made=STEPS)
def test_a_step_is_its_rows(made):
    for one in made:
        stored = store_step(bytes(32), one)
        assert load_step(stored) == one
        assert len(stored.chain) == 32


def test_sql_finds_rows_by_their_columns(path: Path):
    with Journal.open(path) as journal:
        journal.append([step(1), step(2)])
    rows = sqlite3.connect(path).execute(
        "SELECT step, position, source, kind, market, order_id, trade_id FROM events WHERE order_id = 2"
    )
    assert rows.fetchall() == [
        (2, 0, "input", "accepted", None, 2, None),
        (2, 1, "input", "filled", 2, 2, "t2"),
        (2, 2, "command", "place", 2, 2, None),
    ]


@given(made=STEPS)
@settings(max_examples=20)
def test_inputs_of_some_kinds_are_those_of_all_steps(made):
    kinds = {"filled", "fills_read", "accepted"}
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "control.db") as journal:
        journal.append(made)
        for after in (0, made[len(made) // 2].number if made else 0):
            wanted = [
                event
                for one in made
                if one.number > after
                for event in one.inputs
                if event.__struct_config__.tag in kinds
            ]
            assert journal.inputs(tuple(kinds), after) == wanted


def test_an_input_that_is_none_is_refused(path: Path):
    with Journal.open(path) as journal:
        journal.append(steps(1, 3))
    with sqlite3.connect(path) as base:
        base.execute("UPDATE events SET body = '{}' WHERE kind = 'filled' AND step = 2")
    with Journal.open(path) as journal:
        assert kind_of(lambda: journal.inputs(("filled",))) == "corrupt"
        assert len(journal.inputs(("filled",), after=2)) == 1


def test_many_pages_in_order(path: Path):
    count = 2 * PAGE_STEPS + 3
    cancel = (Cancel(order_id=1, market=0),)
    with Journal.open(path) as journal:
        journal.append([Step(number=n, now_ns=7, commands=cancel) for n in range(1, count + 1)])
        assert [one.number for one in journal.steps(after=5)] == list(range(6, count + 1))


def test_the_file_has_the_promised_settings(path: Path):
    with Journal.open(path) as journal:
        ask = journal._connection.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert ask("PRAGMA foreign_keys").fetchone() == (1,)
        assert ask("PRAGMA trusted_schema").fetchone() == (0,)
        assert ask("PRAGMA application_id").fetchone() == (journal_schema.APPLICATION_ID,)
        assert ask("PRAGMA user_version").fetchone() == (journal_schema.SCHEMA_VERSION,)
        strict = ask("SELECT name FROM pragma_table_list WHERE schema='main' AND NOT strict AND type='table'")
        assert [name for (name,) in strict if not name.startswith("sqlite_")] == []
        assert path.stat().st_mode & 0o777 == 0o600
        wal = path.with_name("control.db-wal")
        assert wal.stat().st_mode & 0o777 == 0o600


# --- what is refused ------------------------------------------------------------------------------


def test_a_gap_a_repeat_and_a_step_back_change_nothing(path: Path):
    with Journal.open(path) as journal:
        journal.append(steps(1, 2))
        assert kind_of(lambda: journal.append([step(4)])) == "order"
        assert kind_of(lambda: journal.append([step(2)])) == "order"
        assert kind_of(lambda: journal.append([step(3), step(5)])) == "order"
        back = msgspec.structs.replace(step(3), now_ns=T0)
        assert kind_of(lambda: journal.append([back])) == "order"
        journal.append([])
        journal.append([step(3)])
        assert list(journal.steps()) == steps(1, 3)


def test_a_value_that_fits_no_column_leaves_nothing_behind(path: Path):
    huge = step(1, commands=(Cancel(order_id=2**70, market=0),))
    with Journal.open(path) as journal:
        with pytest.raises(OverflowError):
            journal.append([huge])
        journal.append([step(1)])
        assert list(journal.steps()) == [step(1)]


def test_a_missing_file_and_one_that_is_none(path: Path):
    assert kind_of(lambda: Journal.open(path, create=False)) == "missing"
    assert kind_of(lambda: Journal.read(path)) == "missing"
    assert not path.exists()
    path.mkdir()
    assert kind_of(lambda: Journal.open(path)) == "missing"
    assert kind_of(lambda: Journal.open(path / "no" / "control.db")) == "io"


def test_other_files_are_refused(path: Path):
    path.write_bytes(b"anything but a database, and long enough to have a header" * 40)
    assert kind_of(lambda: Journal.open(path)) == "foreign"
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.close()
    assert kind_of(lambda: Journal.open(path)) == "foreign"
    assert kind_of(lambda: Journal.read(path)) == "foreign"


def test_a_newer_version_is_refused_and_an_empty_file_is_new(path: Path):
    path.touch()
    assert kind_of(lambda: Journal.read(path)) == "version"
    with Journal.open(path) as journal:
        journal.append([step(1)])
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 2")
    raw.close()
    for action in (lambda: Journal.open(path), lambda: Journal.read(path)):
        with pytest.raises(LogError, match="newer version") as caught:
            action()
        assert caught.value.kind == "version"


def test_an_older_version_is_brought_up_to_date_in_one_transaction(path: Path, monkeypatch):
    with Journal.open(path) as journal:
        journal.append([step(1)])

    def add_column(connection):
        connection.execute("ALTER TABLE checkpoints ADD COLUMN note TEXT")

    monkeypatch.setattr(journal_schema, "SCHEMA_VERSION", 2)
    monkeypatch.setattr("pr3dict.store.journal.SCHEMA_VERSION", 2)
    monkeypatch.setitem(journal_schema.MIGRATIONS, 1, add_column)
    with pytest.raises(LogError, match="older version"):
        Journal.read(path)
    with Journal.open(path) as journal:
        assert list(journal.steps()) == [step(1)]
        columns = journal._connection.execute("SELECT name FROM pragma_table_info('checkpoints')")
        assert ("note",) in columns.fetchall()
    Journal.read(path).close()


def test_a_reader_can_not_write(path: Path):
    with Journal.open(path) as journal:
        journal.append([step(1)])
        with Journal.read(path) as reader:
            assert kind_of(lambda: reader.append([step(2)])) == "read_only"
            with pytest.raises(sqlite3.OperationalError):
                reader._connection.execute("DELETE FROM steps")


def test_a_closed_journal_says_so(path: Path):
    journal = Journal.open(path)
    journal.close()
    journal.close()
    assert kind_of(lambda: journal.append([step(1)])) == "closed"
    assert kind_of(lambda: list(journal.steps())) == "closed"


# --- faults of the disk ---------------------------------------------------------------------------


def test_a_full_disk_keeps_what_was_durable(path: Path):
    journal = Journal.open(path)
    journal.append([step(1)])
    journal._connection.execute("PRAGMA max_page_count = 30")
    done = 1
    kind = ""
    while not kind:
        try:
            journal.append([step(done + 1)])
            done += 1
        except LogError as error:
            kind = error.kind
    assert kind == "full"
    assert kind_of(lambda: journal.append([step(done + 1)])) == "closed"  # never used again
    with Journal.open(path) as again:
        assert list(again.steps()) == steps(1, done)
        again.append([step(done + 1)])


LIMITED = """
import resource, signal, sys
from pr3dict.domain.commands import Cancel
from pr3dict.domain.steps import Step
from pr3dict.store.journal import Journal, LogError
journal = Journal.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
number = 0
try:
    while True:
        journal.append([Step(number=number + 1, now_ns=1, commands=(Cancel(order_id=1, market=0),))])
        number += 1
except LogError as error:
    print(number, error.kind)
"""


def test_a_write_that_the_system_refuses_is_an_error_of_the_disk(path: Path):
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    durable, kind = done.stdout.split()
    assert kind in ("io", "full")
    with Journal.open(path) as journal:
        assert int(durable) <= journal.last_number <= int(durable) + 1
        assert len(list(journal.steps())) == journal.last_number > 3


def test_another_writer_is_refused(path: Path, monkeypatch):
    monkeypatch.setattr(journal_schema, "BUSY_TIMEOUT_MS", 20)
    with Journal.open(path) as journal:
        journal.append([step(1)])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert kind_of(lambda: journal.append([step(2)])) == "busy"
        other.execute("ROLLBACK")
        other.close()
    with Journal.open(path) as journal:
        assert list(journal.steps()) == [step(1)]


def test_of_two_writers_the_second_fails_and_harms_nothing(path: Path):
    with Journal.open(path) as first, Journal.open(path) as second:
        first.append([step(1), step(2)])
        assert kind_of(lambda: second.append([step(1, commands=())])) == "busy"
        first.append([step(3)])
        assert list(first.steps()) == steps(1, 3)


def test_the_folder_is_gone(path: Path):
    with Journal.open(path) as journal:
        journal.append([step(1)])
        shutil.rmtree(path.parent)
        with pytest.raises(LogError):
            journal.save_snapshot(1, b"state")


def damaged(path: Path, change) -> Path:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(bytes(content))
    return path


@pytest.fixture
def long_journal(path: Path) -> Path:
    with Journal.open(path) as journal:
        for first in range(1, 601, 50):
            journal.append(steps(first, first + 49))
    return path


@pytest.mark.parametrize("lost", [1, 4096, 40_000])
def test_a_truncated_file_is_refused(long_journal: Path, lost: int):
    damaged(long_journal, lambda content: content.__delitem__(slice(len(content) - lost, None)))
    assert kind_of(lambda: Journal.open(long_journal)) == "corrupt"


@pytest.mark.parametrize("page", [1, 3, 7, 20])
def test_a_flipped_page_is_refused(long_journal: Path, page: int):
    def flip(content):
        for place in range(page * 4096, page * 4096 + 40):
            content[place] ^= 0xFF

    damaged(long_journal, flip)
    assert kind_of(lambda: Journal.open(long_journal)) == "corrupt"


def test_no_damaged_byte_is_taken_for_truth(path: Path):
    with Journal.open(path) as journal:
        journal.append(steps(1, 60))
    whole = path.read_bytes()
    noticed = 0
    for place in range(17, len(whole), len(whole) // 150):
        content = bytearray(whole)
        content[place] ^= 0x5A
        path.write_bytes(bytes(content))
        try:
            with Journal.open(path) as journal:
                assert list(journal.steps()) == steps(1, 60), place
        except LogError:
            noticed += 1
    assert noticed > 50  # the rest is unused space


def test_a_deleted_wal_is_noticed(path: Path, tmp_path: Path):
    journal = Journal.open(path)
    journal.append(steps(1, 5))
    journal.checkpoint()
    journal.append(steps(6, 8))
    for name in ("control.db", "control.mark"):  # as a crash leaves them, without the -wal
        (tmp_path / "copy").mkdir(exist_ok=True)
        shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    journal.close()
    with pytest.raises(LogError, match="ends with step 5, but step 8 was durable"):
        Journal.open(tmp_path / "copy" / "control.db")


def test_an_older_copy_in_its_place_is_noticed(path: Path, tmp_path: Path):
    with Journal.open(path) as journal:
        journal.append(steps(1, 3))
    shutil.copy(path, tmp_path / "old")
    with Journal.open(path) as journal:
        journal.append(steps(4, 6))
    shutil.copy(tmp_path / "old", path)
    with pytest.raises(LogError, match="step 6 was durable"):
        Journal.open(path)
    path.with_suffix(".mark").unlink()  # with a person's word for it, it goes on
    with Journal.open(path) as journal:
        other = msgspec.structs.replace(step(4), commands=())
        journal.append([other, step(5), step(6), step(7)])
        mark = read_mark(path.with_suffix(".mark"))
        assert mark == Mark(7, journal.chain_at(7))


def test_another_history_is_noticed(path: Path, tmp_path: Path):
    for folder, first in (("a", step(1)), ("b", step(1, commands=()))):
        (tmp_path / folder).mkdir()
        with Journal.open(tmp_path / folder / "control.db") as journal:
            journal.append([first])
    shutil.copy(tmp_path / "b" / "control.mark", tmp_path / "a" / "control.mark")
    with pytest.raises(LogError, match="another step 1"):
        Journal.open(tmp_path / "a" / "control.db")


def test_a_torn_mark_says_nothing(path: Path):
    with Journal.open(path) as journal:
        journal.append([step(1)])
    mark = path.with_suffix(".mark")
    content = bytearray(mark.read_bytes())
    content[3] ^= 1
    mark.write_bytes(bytes(content))
    assert read_mark(mark) is None
    Journal.open(path).close()
    writer = MarkWriter(path.parent / "no" / "such")
    writer.write(Mark(1, bytes(32)))
    writer.close()
    assert read_mark(path.parent / "no" / "such") is None


# --- readers beside the writer --------------------------------------------------------------------


def test_readers_see_whole_steps_and_hold_nobody_up(path: Path):
    found, wrong, stop = [], [], threading.Event()

    def look():
        with Journal.read(path) as reader:
            while not stop.is_set():
                numbers = [one.number for one in reader.steps()]
                if numbers != list(range(1, len(numbers) + 1)):
                    wrong.append(numbers)
                found.append(len(numbers))

    with Journal.open(path) as journal:
        journal.append([step(1)])
        reader = threading.Thread(target=look)
        reader.start()
        for first in range(2, 600, 3):
            journal.append(steps(first, first + 2))
        stop.set()
        reader.join()
        assert list(journal.steps()) == steps(1, journal.last_number)
    assert wrong == []
    assert found == sorted(found)
    assert len(set(found)) > 2


def test_a_generator_in_the_middle_lets_the_writer_go_on(path: Path):
    with Journal.open(path) as journal, Journal.read(path) as reader:
        journal.append(steps(1, 3))
        walk = reader.steps()
        next(walk)
        journal.append([step(4)])
        journal.checkpoint()
        reader.refresh()
        assert reader.last_number == 4
        assert [one.number for one in walk] == [2, 3]


# --- checkpoints and snapshots --------------------------------------------------------------------


def test_noted_hashes(path: Path):
    with Journal.open(path) as journal:
        journal.append(steps(1, 3))
        journal.note_checkpoint(2, control_hash(b"state"))
        journal.note_checkpoint(2, control_hash(b"state"))
        assert kind_of(lambda: journal.note_checkpoint(4, "x")) == "order"
        assert journal.checkpoints() == {2: control_hash(b"state")}
        assert kind_of(lambda: journal.note_checkpoint(2, control_hash(b"other"))) == "order"
        journal.append([step(4)])


def test_three_snapshots_are_kept_and_a_damaged_one_is_passed_over(path: Path):
    with Journal.open(path) as journal:
        assert journal.latest_snapshot() is None
        journal.append(steps(1, 9))
        for number in (2, 4, 6, 8):
            journal.save_snapshot(number, b"state %d" % number)
        files = sorted(journal.snapshots.folder.iterdir())
        assert [file.name for file in files] == [f"{n:012d}.snapshot" for n in (4, 6, 8)]
        assert journal.latest_snapshot()[::2] == (8, b"state 8")
        damaged(files[2], lambda content: content.__setitem__(-1, content[-1] ^ 1))
        assert journal.latest_snapshot()[::2] == (6, b"state 6")
        assert "wrong checksum" in journal.snapshots.defects[0]
        damaged(files[1], lambda content: content.__delitem__(slice(5, None)))
        assert journal.latest_snapshot()[::2] == (4, b"state 4")
        assert kind_of(lambda: journal.save_snapshot(10, b"")) == "order"


def test_a_snapshot_of_another_journal_is_passed_over(path: Path, tmp_path: Path):
    with Journal.open(path) as journal:
        journal.append(steps(1, 3))
        journal.save_snapshot(3, b"mine")
    other = tmp_path / "other"
    other.mkdir()
    with Journal.open(other / "control.db") as journal:
        journal.append([step(n, commands=()) for n in (1, 2, 3, 4)])
        shutil.copytree(tmp_path / "snapshots", other / "snapshots")
        assert journal.latest_snapshot() is None
        assert "not of this journal" in journal.snapshots.defects[0]


def test_a_snapshot_that_can_not_be_written_harms_nothing(path: Path):
    with Journal.open(path) as journal:
        journal.append([step(1)])
        journal.snapshots.folder.write_text("in the way")
        with pytest.raises(LogError, match="no snapshot written"):
            journal.save_snapshot(1, b"")
        journal.append([step(2)])


def test_an_altered_row_is_named(path: Path):
    with Journal.open(path) as journal:
        journal.append(steps(1, 3))
    raw = sqlite3.connect(path)
    raw.execute('UPDATE events SET body = \'{"kind":"accepted"}\' WHERE step = 2 AND position = 0')
    raw.commit()
    raw.close()
    with Journal.open(path) as journal, pytest.raises(LogError, match="step 2 was altered") as caught:
        list(journal.steps())
    assert caught.value.kind == "corrupt"
