"""The short account of a data directory: what is counted once, however often it was said."""

from __future__ import annotations

from pathlib import Path

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.steps import Step
from pr3dict.domain.units import BID, QTY_SCALE
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.account_report import read_account
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal

T0 = 1_795_355_180_000_000_000
LISTED = e.Listed(
    market=0,
    venue="kalshi",
    ticker="KXA-1",
    event_id="KXA",
    exclusive=False,
    title="A",
    grids=(kalshi_grid("linear_cent"),),
    min_size=QTY_SCALE,
    lot=QTY_SCALE,
    fee_kind="none",
    nets_positions=True,
    reduce_in_place=True,
)


def place(order_id: int) -> c.Place:
    return c.Place(order_id=order_id, market=0, side=BID, price=4_000, size=QTY_SCALE, tif=d.POST_ONLY)


def test_an_order_that_was_accepted_twice_is_one(tmp_path: Path) -> None:
    """The answer and the notice of the stream say the same, in either order."""
    told = e.Accepted(order_id=1, venue_id="a")
    refused = e.Refused(order_id=2, why="no_cash")
    started = e.Started(version="1", account="paper", settings="{}", cash_micros=10_000_000)
    steps = [
        Step(number=1, now_ns=T0, inputs=(started, LISTED)),
        Step(number=2, now_ns=T0 + 1, commands=(place(1), place(2))),
        Step(number=3, now_ns=T0 + 2, inputs=(e.Sent(order_id=1), told, e.Sent(order_id=2), refused)),
        Step(number=4, now_ns=T0 + 3, inputs=(told,)),
    ]
    home = DataDir(tmp_path)
    home.create()
    with Journal.open(home.journal) as journal:
        journal.append(steps)
    account = read_account(home).to_json()
    assert (account["orders"], account["accepted"], account["refused"]) == (2, 1, 1)
    assert account["markets"][0]["accepted"] == 1
