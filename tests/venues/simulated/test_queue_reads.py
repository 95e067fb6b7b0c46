"""Queue positions of the simulated exchange reach a paper process, and change nothing of what it does."""

from __future__ import annotations

import msgspec
import numpy as np
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.market import kalshi_grid
from pr3dict.domain.units import ASK, BID
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime import paper
from pr3dict.runtime.paper_result import seen_part
from pr3dict.runtime.session_replay import replay_session
from pr3dict.runtime.spec import make_spec
from pr3dict.runtime.synthetic import synthetic_market
from pr3dict.runtime.tapeset import merge
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.strategies.presets import build_config
from pr3dict.venues.simulated import reads
from pr3dict.venues.simulated.exchange import SimulatedExchange
from pr3dict.venues.simulated.link import Link

SECOND = 1_000_000_000
CONTRACT = 1_000_000
END_NS = 98 * SECOND + 5
PRICE = {BID: 4500, ASK: 5500}


def exchange_with(size):
    """One market with `size` contracts of others at 0.45 and at 0.55."""
    listing = e.Listed(
        market=0, venue="kalshi", ticker="T", event_id="E", exclusive=False, title="t",
        grids=(kalshi_grid("linear_cent"),), min_size=CONTRACT, lot=CONTRACT, fee_kind="none",
        nets_positions=True, reduce_in_place=True,
    )  # fmt: skip
    rows = np.zeros(2, d.EVENT)
    rows["exch_ns"], rows["local_ns"], rows["kind"], rows["qty"] = 1, 1, d.LEVEL, size * CONTRACT
    rows["side"], rows["price"] = (BID, ASK), (PRICE[BID], PRICE[ASK])
    end = rows[:1].copy()
    end["exch_ns"] = end["local_ns"] = END_NS
    return SimulatedExchange([listing], np.concatenate((rows, end)), np.zeros(1, d.RULES), 10**12), rows, end


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.sampled_from([BID, ASK]), st.integers(1, 9), st.booleans()), max_size=8),
)
def test_own_orders_stand_ahead_in_order_of_arrival(size, orders):
    exchange, _, _ = exchange_with(size)
    exchange.advance(1)
    resting = {BID: [], ASK: []}
    wanted = {}
    for number, (side, contracts, stays) in enumerate(orders, 1):
        exchange.advance(number + 1)
        place = c.Place(
            order_id=number,
            market=0,
            side=side,
            price=PRICE[side],
            size=contracts * CONTRACT,
            tif=d.POST_ONLY,
        )
        exchange.place(number + 1, place)
        resting[side].append((number, contracts))
        if not stays:
            exchange.cancel(number + 1, c.Cancel(order_id=number, market=0))
            resting[side].pop()
    for queue in resting.values():
        ahead = size
        for number, contracts in queue:
            wanted[number] = ahead * CONTRACT
            ahead += contracts
    assert reads.queues(exchange, "kalshi") == wanted
    assert reads.queues(exchange, "polymarket") == {}


def test_a_link_tells_new_figures_only_and_nothing_without_orders():
    exchange, rows, end = exchange_with(20)
    link = Link(
        exchange,
        np.concatenate((rows, end)),
        entry_ns=10,
        response_ns=10,
        alive_ns=SECOND,
        queue_ns=2 * SECOND,
    )
    place = c.Place(order_id=1, market=0, side=BID, price=4500, size=CONTRACT, tif=d.POST_ONLY)
    told = []
    while (now_ns := link.next_ns(9 * SECOND)) < 9 * SECOND:
        _, events = link.take(now_ns)
        told += [(now_ns, event) for event in events if isinstance(event, e.QueueRead)]
        if now_ns == 2 * SECOND + 1:
            link.send(now_ns, [place])
    assert [at_ns for at_ns, _ in told] == [k * SECOND + 21 for k in (4, 6, 8)]
    assert [event.positions for _, event in told] == [(e.QueueAhead(1, 20 * CONTRACT),), (), ()]
    assert all((event.as_of_ns, event.asked_ns) == (at - 10, at - 20) for at, event in told)
    while (now_ns := link.next_ns(200 * SECOND)) < 200 * SECOND:
        link.take(now_ns)
        assert now_ns <= END_NS  # the end of the recording waits for no poll
    assert link.is_over


def test_a_paper_session_does_the_same_with_and_without(tmp_path, monkeypatch):
    tapes = merge([synthetic_market(1, "few_makers")], latency_ns=50_000_000)
    tapes = seen_part(tapes, tapes.start_ns + 3600 * SECOND)
    spec = make_spec(build_config("default"), preset="default", cash_micros=10**10, queue="log")
    kept = {}
    for name, every_ns in (("with", paper.QUEUE_POLL_NS), ("without", 0)):
        monkeypatch.setattr(paper, "QUEUE_POLL_NS", every_ns)
        data_dir = DataDir.of(tmp_path / name).create()
        given_spec = paper.PaperSpec(tapes=tapes, spec=spec, risk=RiskConfig(), data_dir=data_dir, speed=None)
        result = paper.run_paper(given_spec, structlog.get_logger())
        assert result.exit_code == 0 and replay_session(data_dir).difference is None
        with Journal.read(data_dir.journal) as journal:
            steps = list(journal.steps())
        reads_seen = [x for step in steps for x in step.inputs if isinstance(x, e.QueueRead)]
        assert bool(reads_seen) == bool(every_ns)
        bare = [
            msgspec.structs.replace(
                step, number=0, inputs=tuple(x for x in step.inputs if not isinstance(x, e.QueueRead))
            )
            for step in steps
        ]
        kept[name] = [step for step in bare if not step.is_empty], result.state_hash
    for one, other in zip(*(steps for steps, _ in kept.values()), strict=True):
        assert one == other
    assert kept["with"][1] == kept["without"][1]
