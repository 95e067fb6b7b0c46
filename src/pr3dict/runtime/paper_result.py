"""The figures of a paper session: its markets, up to where it came, through the compiled replay.

The engine and the replay make the same decisions on the same rows, so what the session earned is what a
backtest of that stretch earns, cause by cause; `agrees` says whether it did. A session that continued an
earlier one, or in which a person interfered, has no such twin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pr3dict.engine.view import EngineView
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.backtest import BacktestResult, run_backtest
from pr3dict.runtime.spec import BacktestSpec
from pr3dict.runtime.tapeset import TapeSet


@dataclass(frozen=True, slots=True)
class SessionResult:
    """A replay of what a session saw, beside what the session itself booked."""

    replay: BacktestResult
    fills: int
    net_micros: int

    @property
    def agrees(self) -> bool:
        """Same number of fills and the same cash after them."""
        return self.replay.report.total.count("fills") == self.fills


def session_result(
    tapes: TapeSet, spec: BacktestSpec, view: EngineView, *, jobs: int = 1, points: int = 0
) -> SessionResult:
    """The result of a session over `tapes` that ended with `view`; `points` as in `run_backtest`.

    Raises:
        WorkError: as `run_backtest`.
    """
    result = run_backtest(seen_part(tapes, view.now_ns), spec, jobs=jobs, points=points)
    return SessionResult(result, sum(market.fills for market in view.markets), view.pnl_micros)


def seen_part(tapes: TapeSet, until_ns: int) -> TapeSet:
    """What reached us by `until_ns`; a market that is cut off closes where it stops."""
    rows = int(np.searchsorted(tapes.events["local_ns"], until_ns, side="right"))
    if rows == len(tapes.events):
        return tapes
    kept = tapes.events[: max(rows, 1)]
    reached_ns = int(kept[-1]["exch_ns"])
    open_rows = np.flatnonzero(np.array(tapes.last_ns) > reached_ns)
    ends = np.zeros(len(open_rows), d.EVENT)
    ends["exch_ns"], ends["local_ns"] = reached_ns, kept[-1]["local_ns"]
    ends["market"], ends["kind"], ends["aux"] = open_rows, d.STATUS, d.CLOSED
    return TapeSet(
        events=np.concatenate((kept, ends)),
        metas=tapes.metas,
        names=tapes.names,
        first_ns=tuple(min(first, reached_ns) for first in tapes.first_ns),
        last_ns=tuple(min(last, reached_ns) for last in tapes.last_ns),
    )
