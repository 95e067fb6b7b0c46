"""`pr3dict journal`: a sound journal agrees with itself in every way, each kind of damage is named."""

import json
import random
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pr3dict.cli import main
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import polymarket_grid
from pr3dict.domain.steps import Quoted, Step
from pr3dict.engine import recovery
from pr3dict.engine.account import Account
from pr3dict.engine.engine import Engine
from pr3dict.engine.settings import order_terms
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.listing import meta_of
from pr3dict.runtime.session_replay import session_name, write_end
from pr3dict.runtime.settings import settings_text
from pr3dict.store.data_dir import DataDir
from pr3dict.store.importers.common import events_of, snapshot_rows
from pr3dict.store.journal import Journal, control_hash
from pr3dict.store.journal_verify import fold, verify
from pr3dict.store.recorder import Recorder
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.market_making import MarketMakingStrategy

T0 = 1_778_717_700_000_000_000
CONTRACT = 1_000_000
TERMS = order_terms(RiskConfig())


def listed(market: int, *, nets: bool) -> e.Listed:
    return e.Listed(
        market=market,
        venue="kalshi" if nets else "polymarket",
        ticker=f"game-{market}",
        event_id="event",
        exclusive=False,
        title="A wins?",
        grids=(polymarket_grid(100),),
        min_size=CONTRACT,
        lot=1,
        fee_kind="none",
        nets_positions=nets,
        reduce_in_place=nets,
    )


def started(settings: str = "{}") -> e.Started:
    return e.Started(version="1", account="paper", settings=settings, cash_micros=10**9)


class Session:
    """A made-up but possible life: orders that fill, trades that are told twice, void or settle."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.steps: list[Step] = []
        self.trades: list[e.Filled] = []
        self.settled: set[int] = set()
        self.add((started(), listed(0, nets=True), listed(1, nets=False), listed(2, nets=False)))
        for order_id in range(1, 30):
            self.order(order_id)

    def add(self, inputs=(), commands=(), quotes=()) -> None:
        number = len(self.steps) + 1
        step = Step(
            number=number,
            now_ns=T0 + number * 10**6,
            inputs=tuple(inputs),
            commands=tuple(commands),
            quotes=tuple(quotes),
        )
        self.steps.append(step)

    def order(self, order_id: int) -> None:
        market = self.random.randrange(3)
        if market in self.settled:
            return
        side = self.random.randrange(2)
        terms = {"order_id": order_id, "market": market, "side": side, "price": 5_000, "size": 10 * CONTRACT}
        quote = np.zeros(1, d.QUOTE)
        quote["fair_micros"] = 500_000 + order_id
        self.add(commands=[c.Place(**terms, tif=d.POST_ONLY)], quotes=[Quoted(market, quote.tobytes())])
        self.add([e.Sent(order_id=order_id), e.Accepted(order_id=order_id, venue_id=f"v{order_id}")])
        size = self.random.choice([10, 3]) * CONTRACT
        final = market == 0 or self.random.random() < 0.5
        fill = e.Filled(
            trade_id=f"t{order_id}",
            **{**terms, "size": size},
            exch_ns=T0,
            final=final,
            venue_id=f"v{order_id}",
        )
        self.trades.append(fill)
        self.add([fill])
        if not final:
            told = {"market": market, "trade_id": fill.trade_id}
            void = self.random.random() < 0.5
            self.add([e.FillVoided(**told, why="failed") if void else e.FillFinal(**told)])
        self.add([e.Closed(order_id=order_id, why="none", filled=size)])
        if self.random.random() < 0.2:
            told = tuple(t for t in self.trades if t.market == market and t.final)
            venue = "kalshi" if market == 0 else "polymarket"
            now_ns = T0 + len(self.steps) * 10**6
            self.add([e.FillsRead(venue=venue, asked_ns=now_ns, as_of_ns=now_ns, since_ns=0, fills=told)])
        if order_id == 20:
            self.settled.add(2)
            self.add([e.Settled(market=2, value_micros=1_000_000)])


def snapshot_of(step: Step, account: Account) -> bytes:
    return msgspec.msgpack.encode(
        recovery.Snapshot(
            version=recovery.SNAPSHOT_VERSION,
            number=step.number,
            now_ns=step.now_ns,
            started=None,
            listings=(),
            account=account.encode(),
            breakers=b"",
            gate=b"",
            holds=(),
            opening_micros=0,
            day_end_ns=0,
            day_start_micros=0,
            killed=False,
            marks_micros={},
            leaving_micros={},
            settled={},
        )
    )


def live(folder: Path, steps, *, snapshot_at: int = 40) -> DataDir:
    """What a process would have written: every step, a noted hash now and then, one snapshot."""
    place = DataDir(folder).create()
    account = Account(TERMS)
    with Journal.open(place.journal) as journal:
        for step in steps:
            journal.append([step])
            fold(account, step)
            if step.number % 20 == 0:
                journal.note_checkpoint(step.number, control_hash(account.encode()))
            if step.number == snapshot_at:
                journal.save_snapshot(step.number, snapshot_of(step, account))
    return place


def run(place: DataDir, *words: str, capsys) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main.run(["journal", *words, "--data-dir", str(place.path)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("seed", range(4))
def test_a_sound_journal_agrees_with_itself(tmp_path: Path, capsys, seed: int):
    made = Session(seed).steps
    place = live(tmp_path / "data", made)
    code, out, err = run(place, "verify", "--json", capsys=capsys)
    answer = json.loads(out)
    assert (code, err, answer["ok"], answer["difference"]) == (0, "", True, None)
    compared = {check["name"]: check["compared"] for check in answer["checks"]}
    assert answer["steps"] == compared["numbers, times and hash chain"] == len(made)
    rows = answer["inputs"] + answer["derived"] + answer["commands"]
    assert compared["columns agree with their bodies"] == rows
    assert rows == sum(len(s.inputs) + len(s.commands) for s in made)
    assert compared["noted hashes of the account"] == len(made) // 20
    assert compared["account from the latest snapshot"] == 2
    assert compared["positions from raw fills"] == 3
    code, out, err = run(place, "verify", capsys=capsys)
    assert code == 0
    assert f"{len(made)} steps of 1 processes" in out


def test_a_journal_that_is_being_written_can_be_verified(tmp_path: Path, capsys):
    made = Session(1).steps
    place = live(tmp_path / "data", made[:30])
    with Journal.open(place.journal) as journal:
        journal.append(made[30:40])
        assert run(place, "verify", capsys=capsys)[0] == 0
        journal.append(made[40:])
    assert run(place, "verify", capsys=capsys)[0] == 0


def tamper(place: DataDir, *statements: str) -> None:
    raw = sqlite3.connect(place.journal)
    for statement in statements:
        assert raw.execute(statement).rowcount
    raw.commit()
    raw.close()


DAMAGE = [
    ("UPDATE events SET body = replace(body, '5000', '5100') WHERE step = 4", "hash chain: step 4"),
    ("UPDATE events SET market = 7 WHERE step = 4 AND kind = 'filled'", "hash chain: step 4"),
    ("DELETE FROM events WHERE step = 6", "hash chain: step 6"),
    ("UPDATE steps SET now_ns = 5 WHERE number = 9", "step 9 goes back in time"),
    ("DELETE FROM steps WHERE number = 12", "step 13 follows step 11"),
    ("UPDATE steps SET chain = zeroblob(32) WHERE number = 3", "step 3"),
    ("UPDATE checkpoints SET state_hash = 'x' WHERE number = 40", "step 40 folds to another account"),
    ("DELETE FROM quotes WHERE step = 2", "hash chain: step 2"),
]


@pytest.mark.parametrize(("statement", "said"), DAMAGE, ids=[said for _, said in DAMAGE])
def test_each_kind_of_damage_is_named(tmp_path: Path, capsys, statement: str, said: str):
    place = live(tmp_path / "data", Session(2).steps)
    tamper(place, statement)
    code, out, err = run(place, "verify", "--json", capsys=capsys)
    assert code == 1
    assert said in err
    assert json.loads(out)["ok"] is False


def test_a_whole_chain_over_a_wrong_column_is_still_found(tmp_path: Path, capsys, monkeypatch):
    def wrong(source, item):
        columns = real(source, item)
        return columns._replace(market=9) if columns.kind == "closed" else columns

    real = __import__("pr3dict.store.journal", fromlist=["x"]).columns_of
    monkeypatch.setattr("pr3dict.store.journal.columns_of", wrong)
    place = live(tmp_path / "data", Session(3).steps)
    monkeypatch.undo()
    code, _, err = run(place, "verify", capsys=capsys)
    assert code == 1
    assert "columns and body disagree" in err


def test_a_wrong_snapshot_and_a_wrong_account_are_found(tmp_path: Path, capsys, monkeypatch):
    made = Session(5).steps
    place = live(tmp_path / "data", made, snapshot_at=0)
    other = Account(TERMS)
    for step in made[:39]:
        fold(other, step)
    with Journal.open(place.journal) as journal:
        journal.save_snapshot(40, snapshot_of(made[39], other))
        file = next(journal.snapshots.folder.glob("*.snapshot"))
    code, _, err = run(place, "verify", capsys=capsys)
    assert code == 1
    assert "account from the latest snapshot: after step 40" in err
    file.write_bytes(file.read_bytes()[:-1])
    assert "wrong checksum" in run(place, "verify", capsys=capsys)[2]
    file.unlink()
    position = Account.position

    def off_by_one(account, market):
        held = position(account, market)
        return msgspec.structs.replace(held, yes_contracts=held.yes_contracts + 1)

    monkeypatch.setattr(Account, "position", off_by_one)
    code, _, err = run(place, "verify", capsys=capsys)
    assert code == 1
    assert "positions from raw fills: game-0 is" in err


def test_lost_steps_are_found_by_the_mark(tmp_path: Path, capsys):
    place = live(tmp_path / "data", Session(6).steps)
    mark = place.journal.with_suffix(".mark").read_bytes()
    tamper(place, *(f"DELETE FROM {t} WHERE {k} > 50" for t, k in (("events", "step"), ("steps", "number"))))
    place.journal.with_suffix(".mark").write_bytes(mark)
    code, _, err = run(place, "verify", capsys=capsys)
    assert code == 1
    assert "ends with step 50" in err


def test_other_settings_from_a_restart_on(tmp_path: Path, capsys):
    made = Session(7).steps[:25]
    place = live(tmp_path / "data", made, snapshot_at=20)
    settings = json.dumps({"risk": {"answer_timeout_seconds": "9"}})
    with Journal.open(place.journal) as journal:
        again = Step(number=26, now_ns=made[-1].now_ns, inputs=(started(settings),))
        journal.append([again])
        journal.note_checkpoint(26, "hash of an account with other timers")
    code, out, _ = run(place, "verify", "--json", capsys=capsys)
    answer = json.loads(out)
    compared = {check["name"]: check["compared"] for check in answer["checks"]}
    assert (code, answer["starts"]) == (0, 2)
    assert compared["noted hashes of the account"] == 1
    assert compared["account from the latest snapshot"] == 2


def test_without_a_journal(tmp_path: Path, capsys):
    code, _, err = run(DataDir(tmp_path / "none"), "verify", capsys=capsys)
    assert code == 2
    assert "no such data directory" in err
    place = DataDir(tmp_path / "data").create()
    place.journal.write_bytes(b"x" * 5_000)
    code, _, err = run(place, "verify", capsys=capsys)
    assert code == 1
    assert "not a journal" in err


# --- replay ---------------------------------------------------------------------------------------


def ran(place: DataDir, alerts=()) -> Engine:
    """A run of two instants; `alerts` are put into its journal though the engine never gave them."""
    config, risk = MarketMakingConfig(), RiskConfig()
    engine = Engine(risk)
    engine.register_strategy(MarketMakingStrategy(config=config))
    rows = events_of(snapshot_rows(T0 + 5, T0 + 5, [(0, 4_800, 10**8), (1, 5_200, 10**8)]))
    with Journal.open(place.journal) as journal:
        first = engine.step(T0, rows[:0], (started(settings_text(config, risk)), listed(0, nets=True)))
        last = engine.step(T0 + 5, rows, ())
        first = msgspec.structs.replace(first, commands=(*first.commands, *alerts))
        journal.append([step for step in (first, last) if not step.is_empty])
    with Recorder(place.tapes / session_name(place.tapes, 1)) as recorder:
        recorder.list(0, meta_of(listed(0, nets=True), "s", synthetic=True))
        recorder.append(rows)
    write_end(recorder.folder, engine)
    return engine


def test_a_run_is_replayed_from_its_recording(tmp_path: Path, capsys):
    place = DataDir(tmp_path / "data").create()
    engine = ran(place)
    code, out, err = run(place, "replay", "--json", capsys=capsys)
    answer = json.loads(out)
    assert (code, err, answer["ok"]) == (0, "", True)
    assert (answer["rows"], answer["steps"], answer["state_hash"]) == (2, engine.number, engine.state_hash())
    code, out, _ = run(place, "replay", "--first", "1", capsys=capsys)
    assert code == 0
    assert "2 rows of market data agree" in " ".join(out.split())
    code, _, err = run(place, "replay", "--first", "2", capsys=capsys)
    assert code == 2
    assert "no run began with step 2" in err


def test_what_the_engine_never_did_is_found_by_replay(tmp_path: Path, capsys):
    place = DataDir(tmp_path / "data").create()
    ran(place, [c.Alert(name="made_up", severity="low", text="the engine never said so")])
    code, out, err = run(place, "replay", capsys=capsys)
    assert code == 1
    assert "step 1: commands were" in err
    assert "agree" not in out


# --- export ---------------------------------------------------------------------------------------


def test_export_holds_everything(tmp_path: Path, capsys):
    made = Session(8).steps
    place = live(tmp_path / "data", made)
    code, out, _ = run(place, "export", capsys=capsys)
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["number"] for line in lines] == [step.number for step in made]
    for line, step in zip(lines, made, strict=True):
        assert (line["now_ns"], line["rows"]) == (step.now_ns, step.rows)
        assert msgspec.convert(line["inputs"], list[e.Control]) == list(step.inputs)
        assert msgspec.convert(line["commands"], list[c.Action]) == list(step.commands)
        assert line["derived"] == []
        fairs = [int(np.frombuffer(q.row, d.QUOTE)[0]["fair_micros"]) for q in step.quotes]
        assert [quote["fair_micros"] for quote in line["quotes"]] == fairs


def test_export_of_the_tail_to_a_file(tmp_path: Path, capsys):
    place = live(tmp_path / "data", Session(9).steps[:12])
    out = tmp_path / "out.jsonl"
    code, said, _ = run(place, "export", "--after", "10", "--out", str(out), capsys=capsys)
    assert (code, said) == (0, "")
    assert [json.loads(line)["number"] for line in out.read_text().splitlines()] == [11, 12]
    code, _, err = run(place, "export", "--out", str(tmp_path / "no" / "x"), capsys=capsys)
    assert code == 2
    assert "--out" in err


def test_a_quote_of_another_version_is_shown_in_hex(tmp_path: Path, capsys):
    place = live(tmp_path / "data", [Step(number=1, now_ns=T0, quotes=(Quoted(3, b"\x01\xff"),))])
    _, out, _ = run(place, "export", capsys=capsys)
    assert json.loads(out)["quotes"] == [{"market": 3, "row": "01ff"}]


def test_verify_takes_what_it_is_given(tmp_path: Path):
    place = live(tmp_path / "data", Session(10).steps)
    with Journal.read(place.journal) as journal:
        found = verify(journal, lambda _: TERMS)
    assert found.difference is None
    assert found.chain == journal_chain(place)


def journal_chain(place: DataDir) -> str:
    row = sqlite3.connect(place.journal).execute("SELECT hex(chain) FROM steps ORDER BY number DESC LIMIT 1")
    return row.fetchone()[0].lower()
