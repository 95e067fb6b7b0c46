"""`pr3dict exchange` as a process: one ready line, loopback only, and the truth at its end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import pytest

from pr3dict.cli.exchange import exchange_command
from pr3dict.domain.commands import Place, ReadBalance
from pr3dict.domain.errors import UsageError
from pr3dict.domain.events import Accepted, BalanceRead
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import SystemPacer
from pr3dict.venues.simulated.client import ExchangeClient

RUN = "import typer; from pr3dict.cli.exchange import exchange_command as c; typer.run(c)"


async def trade(port):
    """Place one order that rests, and hear of it."""
    client = ExchangeClient(port, SystemPacer())
    markets = await client.connect()
    client.send(0, [Place(order_id=5, market=1, side=d.BID, price=100, size=3_000_000, tif=d.POST_ONLY)])
    client.send(0, [ReadBalance(venue="synthetic")])
    heard = []
    async with asyncio.timeout(20):
        while not any(isinstance(event, BalanceRead) for event in heard):
            heard += (await client.next(1 << 62)).events
    await client.close()
    return markets, heard


def test_it_serves_until_it_is_asked_to_end(tmp_path):
    truth = tmp_path / "truth.json"
    command = [sys.executable, "-c", RUN, "--markets", "2", "--speed", "10", "--truth", str(truth)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = json.loads(process.stdout.readline())
            assert (ready["host"], ready["markets"], ready["speed"]) == ("127.0.0.1", 2, 10.0)
            markets, heard = asyncio.run(trade(ready["port"]))
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert len(markets) == 2
    assert any(isinstance(event, Accepted) and event.order_id == 5 for event in heard)
    found = json.loads(truth.read_text())
    assert [(o["order_id"], o["market"], o["remaining"]) for o in found["open_orders"]] == [(5, 1, 3_000_000)]
    assert (found["cash_micros"], found["fills"], found["unexplained"]) == (10_000_000_000, [], [])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "give tapes, or --markets N"),
        ({"tapes": ["x"], "markets": 2}, "not both"),
        ({"markets": 2, "port": 70_000}, "--port: 70000 is outside"),
        ({"markets": 2, "speed": 0.0}, "--speed: 0 is not above 0"),
        ({"markets": 0}, "--markets: 0 is outside"),
        ({"markets": 2, "queue": "best"}, "--queue: there is no queue model 'best'"),
    ],
)
def test_what_makes_no_sense_is_refused(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        exchange_command(**given)
