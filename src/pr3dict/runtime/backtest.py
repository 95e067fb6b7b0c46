"""A backtest: recorded tapes through the compiled brain and the simulated exchange, and what came of it.

One account trades all tapes on one clock. The replay runs under the chosen queue model and, for the bracket
that every result carries, under the most pessimistic and the most optimistic one, at the same time where
there are cores. Nothing here reads a clock but to time the replay itself, so a result is the same each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pr3dict import __version__
from pr3dict.analytics.incentives import PeriodScore
from pr3dict.analytics.places import NO_PLACES, Places, places, unselected
from pr3dict.analytics.refusals import Witness
from pr3dict.analytics.report import AccountReport, account_report, contracts
from pr3dict.analytics.rewards import RewardScore, paid_micros
from pr3dict.domain.errors import WorkError
from pr3dict.domain.rewards import RewardTerms
from pr3dict.domain.units import format_dollars
from pr3dict.kernels import dtypes as d
from pr3dict.kernels import replay
from pr3dict.kernels.messages import ERROR_FILLS_FULL, ERRORS
from pr3dict.kernels.rewards import set_terms
from pr3dict.kernels.warm import tiny_world
from pr3dict.kernels.world import World, new_world
from pr3dict.runtime.assumptions import sentences
from pr3dict.runtime.incentive_watch import IncentiveWatch, RewardWatch
from pr3dict.runtime.jobs import Stop, run_jobs
from pr3dict.runtime.observer import Block, Observer
from pr3dict.runtime.spec import OPTIMISTIC, PESSIMISTIC, QUEUES, BacktestSpec
from pr3dict.runtime.tapeset import (
    TapeSet,
    fee_name,
    fee_rows,
    grid_rows,
    market_rows,
    trading_day_offset_ns,
)
from pr3dict.strategies.settings import changed_settings

LOOKS = 256  # at the keyboard, the progress bar and the standing quotes, spread over a replay
SHORTEST_CHUNK, LONGEST_CHUNK = 250, 5_000  # events between two looks
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
SHORT_SPAN_NS = 3600 * NS_PER_S

OnProgress = Callable[[str, float], None]  # (queue model, share done)


class Replay:
    """One run of tapes under one queue model, advanced a chunk at a time; `world` may be read in between."""

    def __init__(self, tapes: TapeSet, spec: BacktestSpec, queue: str, points: int = 0) -> None:
        """`points`: samples a market that the observer takes at most; 0: it only looks at day ends."""
        self.tapes = tapes
        self.points = points
        self.spec = spec
        self.queue = queue
        self.interval_ns = curve_interval_ns(tapes.span_ns)
        self.chunk = min(max(len(tapes.events) // LOOKS, SHORTEST_CHUNK), LONGEST_CHUNK)
        self._start(len(tapes.events) // 2 + 65_536)

    def _start(self, fill_capacity: int) -> None:
        self.world: World = _new_world(self, fill_capacity)
        self.witness = Witness(len(self.tapes.metas))
        self.observer = Observer(self.tapes, self.world, self.points)
        watched = self.spec.incentives if self.queue == self.spec.queue else ()
        self.incentives = IncentiveWatch(self.tapes, self.world, watched)
        self.rewards = RewardWatch(self.tapes, self.world, reward_terms(self.tapes, self.spec))
        self.elapsed_s = 0.0

    @property
    def share_done(self) -> float:
        """Share of the events that we have seen, 0 to 1."""
        return int(self.world.clock[0].local_event) / max(1, len(self.tapes.events))

    def advance(self, steps: int | None = None) -> bool:
        """Go on for `steps` events (by default a share of the tapes); True when the replay is over.

        Raises:
            WorkError: a bounded buffer of the replay overflowed.
        """
        over = self._go(int(self.world.clock[0].local_event) + (self.chunk if steps is None else steps))
        self.witness.look(self.world.quotes)
        error = int(self.world.account[0].error)
        if error == ERROR_FILLS_FULL:  # a replay is a function of its input: once more, with a longer list
            self._start(4 * len(self.world.fills))
            return False
        if error:
            raise WorkError(f"the replay stopped: {ERRORS[error]}; please report this with the tape")
        return bool(over)

    def _go(self, until: int) -> bool:
        """Go on to event `until`, with a halt wherever the observer looks; True when the replay is over."""
        clock, account = self.world.clock[0], self.world.account[0]
        over = False
        self._look()
        while not over and int(clock.local_event) < until and not int(account.error):
            stop = min(until, self.observer.next_event, self.incentives.next_event, self.rewards.next_event)
            steps = stop - int(clock.local_event)
            began_s = time.perf_counter()
            over = bool(replay.run(self.world, self.tapes.events, steps))
            self.elapsed_s += time.perf_counter() - began_s
            self._look()
        return over

    def _look(self) -> None:
        self.observer.look()
        self.incentives.look()
        self.rewards.look()

    def report(self) -> AccountReport:
        """Figures of a replay that is over, audited against the fold of its fills."""
        return account_report(
            self.world,
            self.tapes.names,
            start_micros=self.spec.cash_micros,
            curve_interval_ns=self.interval_ns,
            rewards_micros=paid_micros(self.rewards.scores()),
        )


def reward_terms(tapes: TapeSet, spec: BacktestSpec) -> dict[int, RewardTerms]:
    """Terms of the markets that pay liquidity rewards, by place among the tapes."""
    found = ((m, spec.rewards.get(meta.ticker, meta.rewards)) for m, meta in enumerate(tapes.metas))
    return {m: terms for m, terms in found if terms is not None}


def curve_interval_ns(span_ns: int) -> int:
    """Spacing of the equity curve: a minute, ten seconds where the tapes span an hour or less."""
    return (60 if span_ns > SHORT_SPAN_NS else 10) * NS_PER_S


def _new_world(run: Replay, fill_capacity: int) -> World:
    tapes, spec = run.tapes, run.spec
    grids, first_grids = grid_rows(tapes.metas)
    latency_ns = spec.latency_ms * NS_PER_MS
    rules = spec.rules.copy()
    rules["queue"] = QUEUES[run.queue]
    rules["queue_power"] = spec.queue_power
    rules["entry_ns"] = rules["response_ns"] = latency_ns
    rules["curve_interval_ns"] = run.interval_ns
    start_ns = tapes.start_ns
    markets = market_rows(tapes.metas)
    for m, terms in reward_terms(tapes, spec).items():
        set_terms(markets[m : m + 1], terms)
    rules["day_offset_ns"] = trading_day_offset_ns(tapes.metas[0].venue, start_ns)
    return new_world(
        grids,
        np.repeat(spec.params, len(tapes.metas)),
        fee_rows(tapes.metas, at_ns=start_ns, direct_member=spec.direct_member),
        markets,
        grid_of_market=first_grids,
        rules=rules,
        cash_micros=spec.cash_micros,
        fill_capacity=fill_capacity,
        curve_capacity=(tapes.span_ns + latency_ns) // run.interval_ns + 16,
    )


def compile_kernels() -> None:
    """Load the replay's machine code, or compile it the first time, so that it is not part of any timing."""
    replay.run(tiny_world(), np.zeros(0, d.EVENT), 1)


@dataclass(frozen=True, slots=True)
class Bracket:
    """The same backtest under one end of the queue models."""

    queue: str
    report: AccountReport

    @property
    def net_micros(self) -> int:
        """Net profit."""
        return self.report.total.pnl.net_micros

    @property
    def fills(self) -> int:
        """Fills of all markets."""
        return self.report.total.count("fills")

    def to_json(self) -> dict[str, object]:
        """`net` as a decimal string, `fills`, and the model's name."""
        return {"net": format_dollars(self.net_micros), "fills": self.fills, "queue": self.queue}


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a backtest found. `not_quoted` holds, for each market without an order, why.

    `fills` are FILL rows and `curve` CURVE rows under the chosen queue model, `samples` SAMPLE rows (none
    unless asked for).
    """

    tapes: TapeSet
    spec: BacktestSpec
    report: AccountReport
    not_quoted: tuple[tuple[str, ...], ...]
    places: tuple[Places, ...]  # empty where every market had one all the time
    pessimistic: Bracket
    optimistic: Bracket
    assumptions: tuple[str, ...]
    elapsed_s: float
    blocks: tuple[Block, ...]
    fills: d.Array
    curve: d.Array
    samples: d.Array
    points: int
    incentives: tuple[PeriodScore, ...] = ()
    rewards: tuple[RewardScore, ...] = ()

    @property
    def fees_schedule(self) -> str:
        """The fee schedules in use, in words."""
        names = {fee_name(meta, direct_member=self.spec.direct_member): None for meta in self.tapes.metas}
        return "; ".join(names)

    @property
    def trades(self) -> str:
        """Where the tapes' trades come from: recorded, inferred, none, or mixed."""
        kinds = {meta.has_trades for meta in self.tapes.metas}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def events_per_s(self) -> float:
        """Speed of the replay under the chosen queue model."""
        return round(len(self.tapes.events) / self.elapsed_s) if self.elapsed_s > 0 else 0.0

    def to_json(self) -> dict[str, object]:
        """One JSON object; the same for the same input but for `elapsed_s` and `events_per_s`."""
        report, spec, paid = self.report, self.spec, paid_micros(self.rewards)
        return {
            "version": __version__,
            "preset": spec.preset,
            "policy": spec.policy,
            "settings": {key: value for key, value, _, _ in changed_settings(spec.config)},
            "queue": spec.queue,
            "queue_power": spec.queue_power,
            "latency_ms": spec.latency_ms,
            "fees_schedule": self.fees_schedule,
            "cash": format_dollars(spec.cash_micros),
            "trades": self.trades,
            "synthetic": any(meta.synthetic for meta in self.tapes.metas),
            "assumptions": list(self.assumptions),
            "markets": len(self.tapes.metas),
            **report.total.to_json(),
            "equity_start": format_dollars(report.equity_start_micros),
            "equity_end": format_dollars(report.equity_end_micros),
            "max_drawdown": format_dollars(report.max_drawdown_micros),
            "sharpe": report.sharpe.ratio,
            "sharpe_basis": report.sharpe.basis,
            "daily_loss_limit_hits": report.daily_loss_hits,
            "max_heat": format_dollars(report.max_heat_micros),
            "pessimistic": self.pessimistic.to_json(),
            "optimistic": self.optimistic.to_json(),
            "incentives": [score.to_json() for score in self.incentives],
            "rewards": [
                score.to_json() | {"paid": format_dollars(paid[score.ticker])} for score in self.rewards
            ],
            "per_market": [self._market_json(m) for m in range(len(self.tapes.metas))],
            "blocks": [block.to_json(self.tapes.metas[block.market]) for block in self.blocks],
            "elapsed_s": round(self.elapsed_s, 6),
            "events_per_s": self.events_per_s,
        }

    def _market_json(self, m: int) -> dict[str, object]:
        meta, market = self.tapes.metas[m], self.report.markets[m]
        valuation = market.books.valuation
        return {
            "ticker": meta.ticker,
            "session": meta.session,
            "title": meta.title,
            "venue": meta.venue,
            "event": meta.event_id,
            "first_ns": self.tapes.first_ns[m],
            "last_ns": self.tapes.last_ns[m],
            "outcome": meta.outcome,
            "settled": valuation.settled,
            "mark": format_dollars(valuation.mark_micros) if valuation.mark_micros >= 0 else None,
            "net_position": contracts(market.books.net_contracts),
            "trades": meta.has_trades,
            **market.figures.to_json(),
            "reasons": market.reasons,
            "not_quoted_because": list(self.not_quoted[m]),
            **(self.places[m].to_json() if self.places else NO_PLACES),
        }


def _run(
    tapes: TapeSet, spec: BacktestSpec, queue: str, on_progress: OnProgress | None, points: int, stop: Stop
) -> Replay:
    run = Replay(tapes, spec, queue, points if queue == spec.queue else 0)
    while not stop.is_set() and not run.advance():
        if on_progress is not None:
            on_progress(queue, run.share_done)
    if on_progress is not None:
        on_progress(queue, 1.0)
    return run


def _run_queues(
    tapes: TapeSet,
    spec: BacktestSpec,
    queues: Sequence[str],
    on_progress: OnProgress | None,
    jobs: int,
    points: int = 0,
) -> list[Replay]:
    """Whole replays of the same tapes under several queue models; `points` are of the chosen one."""
    return run_jobs([partial(_run, tapes, spec, queue, on_progress, points) for queue in queues], jobs)


def _why_not_quoted(run: Replay, m: int) -> tuple[str, ...]:
    """Why market `m` saw no order of ours; empty when it did."""
    return unselected(run.world, m) or tuple(run.witness.sentences(m, run.world))


def finish(
    run: Replay,
    on_progress: OnProgress | None = None,
    *,
    jobs: int = 1,
    ends: Sequence[Replay] = (),
) -> BacktestResult:
    """The result of a replay that is over; runs what its bracket needs and is not among `ends`."""
    report = run.report()
    reports = {run.queue: report, **{end.queue: end.report() for end in ends}}
    missing = [queue for queue in (PESSIMISTIC, OPTIMISTIC) if queue not in reports]
    for end in _run_queues(run.tapes, run.spec, missing, on_progress, jobs):
        reports[end.queue] = end.report()
    why = [_why_not_quoted(run, m) for m in range(len(run.tapes.metas))]
    unsettled = sum(not market.books.valuation.settled for market in report.markets)
    return BacktestResult(
        tapes=run.tapes,
        spec=run.spec,
        report=report,
        not_quoted=tuple(why),
        places=places(run.world),
        pessimistic=Bracket(PESSIMISTIC, reports[PESSIMISTIC]),
        optimistic=Bracket(OPTIMISTIC, reports[OPTIMISTIC]),
        assumptions=tuple(sentences(run.tapes, run.spec, unsettled)),
        elapsed_s=run.elapsed_s,
        blocks=run.observer.blocks(report),
        fills=run.world.fills[: int(run.world.clock[0].fill_count)].copy(),
        curve=run.world.curve[: int(run.world.clock[0].curve_count)].copy(),
        samples=run.observer.samples,
        points=run.points,
        incentives=run.incentives.scores(),
        rewards=run.rewards.scores(),
    )


def run_backtest(
    tapes: TapeSet,
    spec: BacktestSpec,
    on_progress: OnProgress | None = None,
    *,
    jobs: int = 1,
    points: int = 0,
) -> BacktestResult:
    """Replay `tapes` under `spec`; `on_progress` hears the queue model and the share done, from its thread.

    Up to `jobs` of the queue models run at a time; the result is the same for any number.

    `points` is how many samples of a market are kept at most, for a report to draw.

    Raises:
        WorkError: a buffer of the replay overflowed, or the exchange's books and its fills differ.
    """
    compile_kernels()
    queues = list(dict.fromkeys((spec.queue, PESSIMISTIC, OPTIMISTIC)))
    run, *ends = _run_queues(tapes, spec, queues, on_progress, jobs, points)
    return finish(run, ends=ends)
