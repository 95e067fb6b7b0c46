"""The mailbox: commands in their order, each answered once, none lost and none invented."""

import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain.errors import WorkError
from pr3dict.domain.events import Flatten, Halt, PauseMarket, Resume
from pr3dict.store.mailbox import ANSWERS_KEPT, MailAnswer, Mailbox

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
COMMANDS = st.one_of(
    st.builds(Halt, command_id=TEXT, who=TEXT, reason=TEXT),
    st.builds(Resume, command_id=TEXT, who=TEXT, reason=TEXT),
    st.builds(PauseMarket, command_id=TEXT, who=TEXT, market=st.integers(0, 9), paused=st.booleans()),
    st.builds(
        Flatten, command_id=TEXT, who=TEXT, market=st.integers(-1, 9), max_slippage_micros=st.integers(0, 9)
    ),
)


def halt(reason: str = "test") -> Halt:
    return Halt(command_id="", who="me", reason=reason)


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mailbox")


@given(commands=st.lists(COMMANDS, max_size=6), taken=st.integers(0, 6))
@settings(max_examples=25)
def test_commands_come_in_the_order_of_their_posts(tmp_path_factory, commands, taken):
    folder = tmp_path_factory.mktemp("mailbox")
    ids = [Mailbox(folder).post(command) for command in commands]  # each from a process of its own
    wanted = [
        msgspec.structs.replace(command, command_id=command_id)
        for command, command_id in zip(commands, ids, strict=True)
    ]
    mailbox = Mailbox(folder)
    assert list(mailbox.take()) == wanted
    assert mailbox.take() == ()
    for command_id in ids[:taken]:
        mailbox.answer(command_id, ok=True, text="done")
    assert list(Mailbox(folder).take()) == wanted[taken:]  # the next process takes what has no answer
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == ids


def test_a_poster_waits_for_the_answer(mailbox: Mailbox):
    answers = []

    def serve():
        served = Mailbox(mailbox.folder)
        while not answers:
            for command in served.take():
                served.answer(command.command_id, ok=False, text=command.reason)
            time.sleep(0.005)

    server = threading.Thread(target=serve)
    server.start()
    command_id = mailbox.post(halt("why"))
    answers.append(mailbox.wait_for_answer(command_id, timeout_s=10))
    server.join()
    assert answers == [MailAnswer(command_id=command_id, ok=False, text="why")]


def test_without_an_answer_the_command_stands(mailbox: Mailbox):
    command_id = mailbox.post(halt())
    assert mailbox.wait_for_answer(command_id, timeout_s=0.05) is None
    assert [command.command_id for command in mailbox.take()] == [command_id]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"kind":"explode"}', b'{"kind":"halt"}', b'{"kind":"filled","who":"x"}']
)
def test_what_is_not_understood_is_set_aside_and_answered(mailbox: Mailbox, content: bytes):
    first = mailbox.post(halt("first"))
    bad = mailbox.post(halt("bad"))
    last = mailbox.post(halt("last"))
    (mailbox.folder / "posts" / f"{bad}.json").write_bytes(content)
    assert [command.command_id for command in mailbox.take()] == [first, last]
    assert "set aside" in mailbox.defects[0]
    assert (mailbox.folder / "aside" / f"{bad}.json").read_bytes() == content
    assert mailbox.wait_for_answer(bad, timeout_s=0).ok is False
    assert mailbox.take() == ()
    assert len(mailbox.defects) == 1


def test_a_file_that_a_person_put_there_by_hand(mailbox: Mailbox):
    body = '{"kind":"halt","command_id":"","who":"me","reason":"x"}'
    (mailbox.folder / "posts" / "stop.json").write_text(body)
    (mailbox.folder / "posts" / "notes.txt").write_text("not ours")
    (command,) = mailbox.take()
    assert command == Halt(command_id="stop", who="me", reason="x")
    mailbox.answer("stop", ok=True, text="")
    assert Mailbox(mailbox.folder).take() == ()


def test_many_posters_at_once_lose_nothing(mailbox: Mailbox):
    ids = []

    def post():
        ids.extend(mailbox.post(halt(str(n))) for n in range(5))

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 30
    assert {command.command_id for command in mailbox.take()} == set(ids)


def test_ids_go_on_after_everything_was_answered(mailbox: Mailbox):
    first = mailbox.post(halt())
    mailbox.take()
    mailbox.answer(first, ok=True, text="")
    assert mailbox.post(halt()) > first


def test_old_answers_are_dropped(mailbox: Mailbox):
    for n in range(ANSWERS_KEPT + 5):
        (mailbox.folder / "answers" / f"{n:012d}-1-0.json").write_bytes(b"{}")
    mailbox.answer("000000009999-1-0", ok=True, text="")
    left = sorted(path.name for path in (mailbox.folder / "answers").iterdir())
    assert len(left) == ANSWERS_KEPT
    assert left[-1] == "000000009999-1-0.json"


def test_a_disk_that_refuses_is_said(mailbox: Mailbox, tmp_path: Path):
    command_id = mailbox.post(halt())
    (tmp_path / "mailbox").rename(tmp_path / "moved")
    with pytest.raises(WorkError, match="can't be answered"):
        mailbox.answer(command_id, ok=True, text="")
    assert [c.command_id for c in Mailbox(tmp_path / "moved").take()] == [command_id]


def test_looking_into_an_empty_one_is_cheap(mailbox: Mailbox):
    start = time.perf_counter()
    for _ in range(1_000):
        assert mailbox.take() == ()
    assert (time.perf_counter() - start) / 1_000 < 0.002
    assert list((mailbox.folder / "posts").iterdir()) == []
