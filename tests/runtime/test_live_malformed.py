"""A venue that talks nonsense: a live process goes on, and `pr3dict status` says how often it did."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kalshi_exchange import Exchange, Session, agrees, quiet_catalog, run, verified

from pr3dict.cli import main


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Leases of accounts lie in a folder of the user: the tests have their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_what_can_not_be_read_is_counted_where_a_person_looks(tmp_path, capsys):
    async def story(exchange: Exchange) -> None:
        async with Session(exchange, tmp_path) as session:
            await session.quoting(2)
            exchange.faults(malformed_frame=0.3, malformed_answer=0.3)

            def counts() -> tuple[int, int]:
                if not session.data_dir.status.exists():
                    return 0, 0
                figures = json.loads(session.data_dir.status.read_bytes())["adapters"]["kalshi"]
                return figures["malformed"], figures["malformed_answers"]

            await session.until(lambda: min(counts()) >= 1, 40)
            exchange.faults(malformed_frame=0, malformed_answer=0)
            await asyncio.sleep(2)
            frames, answers = counts()
            assert main.run(["status", "--data-dir", str(session.data_dir.path), "--json"]) == 0
            told = json.loads(capsys.readouterr().out)["adapters"]["kalshi"]
            assert told["malformed"] >= frames and told["malformed_answers"] >= answers
            assert main.run(["status", "--data-dir", str(session.data_dir.path)]) == 0
            text = " ".join(capsys.readouterr().out.split())
            assert f"malformed {told['malformed']}" in text
            assert f"malformed answers {told['malformed_answers']}" in text
            await session.quoting(2)
            result = await session.stop()
        agrees(exchange, result.view)
        verified(session)

    with Exchange(quiet_catalog()) as exchange:
        run(story(exchange))
