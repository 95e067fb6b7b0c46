"""How far the simulated exchange's queue models are from the places in real queues that a venue told us.

The journal has the life of each order and what the venue said (`QueueRead`), the recordings have the market.
Each model is walked along the recording for each order (`runtime/queue_walk.py`) and compared at each figure:
its error is what it had ahead less what the venue said, 0 where the venue's figure lies within what it said
while the question was on its way. Positive is pessimistic: fills come sooner than the model has them.

Markets are classed by venue, series (the first word of the event's name, or of the ticker's) and the price of
the order: tails are below 10 cents and above 90, where queues are long and slow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.steps import Step
from pr3dict.domain.units import PPM_SCALE, PRICE_SCALE, format_contracts
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.queue_walk import (
    NEVER_NS,
    Estimate,
    Look,
    MarketWalk,
    Model,
    OwnChange,
    OwnLife,
    Walked,
)
from pr3dict.runtime.session_replay import END_FILE, run_starts
from pr3dict.runtime.spec import QUEUES
from pr3dict.store.data_dir import DataDir
from pr3dict.store.importers import recording
from pr3dict.store.journal import Journal
from pr3dict.store.recording import PATTERN, read_rows

POWERS: Final[dict[str, tuple[float, ...]]] = {  # of power 1 they are one model
    "power": (1.0, 2.0, 3.0), "power2": (2.0, 3.0), "power3": (2.0, 3.0),
}  # fmt: skip
MODELS: Final = tuple(
    Model(name, code, power) for name, code in QUEUES.items() for power in POWERS.get(name, (None,))
)
TAIL: Final = PRICE_SCALE // 10
FEW: Final = 30  # observations that a hint needs


class MarketClass(NamedTuple):
    """Markets that are judged together; `band` "middle" or "tail"."""

    venue: str
    series: str
    band: str


class Row(NamedTuple):
    """One model in one class. Errors are sums over `observations`, in micro-contracts.

    `initial` is the sum of what stood ahead when each observed order joined.
    """

    where: MarketClass
    model: Model
    observations: int
    error: int
    absolute_error: int
    initial: int

    @property
    def mean_error(self) -> int:
        """Bias, micro-contracts."""
        return round(self.error / self.observations)

    @property
    def mean_absolute_error(self) -> int:
        """Micro-contracts."""
        return round(self.absolute_error / self.observations)

    @property
    def relative_ppm(self) -> int | None:
        """Absolute error as a share of the initial queue; None where nothing stood ahead."""
        return round(self.absolute_error * PPM_SCALE / self.initial) if self.initial else None


@dataclass(frozen=True, slots=True)
class ClassResult:
    """All models in one class, in the order of `MODELS`."""

    where: MarketClass
    orders: int
    rows: tuple[Row, ...]

    @property
    def observations(self) -> int:
        """Figures of the venue that were compared."""
        return self.rows[0].observations

    @property
    def best(self) -> Row | None:
        """The model with the least absolute error; None where there are too few figures or all are alike."""
        if self.observations < FEW or len({row.absolute_error for row in self.rows}) == 1:
            return None
        return min(self.rows, key=lambda row: row.absolute_error)

    @property
    def hint(self) -> str:
        """Which setting to use, in words."""
        if self.best is not None:
            return f"use {self.best.model.option}"
        if self.observations < FEW:
            return f"fewer than {FEW} figures: no advice"
        return "all models are alike here"


@dataclass(frozen=True, slots=True)
class QueueReport:
    """Every class by name. `left_out` counts figures that were not compared, by reason."""

    classes: tuple[ClassResult, ...]
    reads: int
    left_out: Mapping[str, int]

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row a class and model."""
        return tuple(row for each in self.classes for row in each.rows)

    def to_json(self) -> dict[str, Any]:
        """Sizes are decimal strings of contracts, shares fractions."""
        return {
            "reads": self.reads,
            "observations": sum(each.observations for each in self.classes),
            "orders": sum(each.orders for each in self.classes),
            "left_out": dict(self.left_out),
            "classes": [_class_json(each) for each in self.classes],
        }


def _class_json(found: ClassResult) -> dict[str, Any]:
    best = found.best
    return {
        **found.where._asdict(),
        "orders": found.orders,
        "observations": found.observations,
        "mean_initial_queue": format_contracts(round(found.rows[0].initial / found.observations)),
        "best": None if best is None else _model_json(best.model),
        "hint": found.hint,
        "models": [
            {
                **_model_json(row.model),
                "mean_error": format_contracts(row.mean_error),
                "mean_absolute_error": format_contracts(row.mean_absolute_error),
                "relative_error": None if row.relative_ppm is None else row.relative_ppm / PPM_SCALE,
            }
            for row in found.rows
        ],
    }


def _model_json(model: Model) -> dict[str, Any]:
    return {"queue": model.queue, "queue_power": model.power}


def read_queue_report(data_dir: DataDir) -> QueueReport:
    """Compare all that a data directory has.

    Raises:
        DataError: no process has run here, or a recording can't be read.
        LogError: the journal can't be read.
    """
    listings: dict[int, e.Listed] = {}
    walked: list[Walked] = []
    reads = strangers = 0
    with Journal.read(data_dir.existing().journal) as journal:
        starts = run_starts(journal)
        for first, after in zip(starts, [*starts[1:], journal.last_number + 1], strict=True):
            run = Run(listings)
            for step in journal.steps(after=first - 1):
                if step.number >= after:
                    break
                run.take(step)
            reads += run.reads
            strangers += run.strangers
            walked += _walk_run(run, _recording(data_dir.tapes, first))
    report = report_of(walked, listings, reads)
    return replace(report, left_out={**report.left_out, "earlier_run": strangers}) if strangers else report


# --- the journal ------------------------------------------------------------------------------------


class Run:
    """The orders of one process, from its steps in order; `listings` is filled on the way."""

    def __init__(self, listings: dict[int, e.Listed]) -> None:
        self.listings = listings
        self.lives: dict[int, OwnLife] = {}
        self.reads = 0
        self.strangers = 0  # figures of orders that an earlier process placed
        self._ahead: dict[str, dict[int, int]] = {}  # a venue's newest figures
        self._fills: set[tuple[int, str]] = set()

    def take(self, step: Step) -> None:
        """One step."""
        for event in (*step.inputs, *step.derived):
            self._hear(step.now_ns, event)
        for command in step.commands:
            self._command(step.now_ns, command)

    def _command(self, now_ns: int, command: c.Action) -> None:
        match command:
            case c.Place(order_id=order_id):
                life = OwnLife(order_id, command.market, command.side, command.price, command.size, now_ns)
                life.expiry_ns = command.expiry_ns or NEVER_NS
                self.lives[order_id] = life
            case c.Cancel(order_id=order_id) if order_id in self.lives:
                _may_end(self.lives[order_id], now_ns)
            case c.Reduce(order_id=order_id) if order_id in self.lives:
                self.lives[order_id].changed_ns = now_ns
            case c.CancelAll(venue=venue):
                for life in self.lives.values():
                    if self.listings[life.market].venue == venue:
                        _may_end(life, now_ns)
            case _:
                pass

    def _hear(self, now_ns: int, event: e.Control) -> None:
        match event:
            case e.Listed():
                self.listings[event.market] = event
            case e.FillsRead():
                for fill in event.fills:
                    self._fill(now_ns, fill)
            case e.Filled():
                self._fill(now_ns, event)
            case e.QueueRead():
                self._look(event)
            case (
                e.Sent()
                | e.Accepted()
                | e.Renewed()
                | e.Reduced()
                | e.NotSent()
                | e.Refused()
                | e.Closed()
                | e.Presumed()
            ) if event.order_id in self.lives:
                self._order(now_ns, self.lives[event.order_id], event)
            case _:
                pass

    def _order(self, now_ns: int, life: OwnLife, event: e.Control) -> None:
        match event:
            case e.Sent():
                life.sent_ns = now_ns
            case e.Accepted():
                life.accepted_ns = life.accepted_ns or now_ns
            case e.Renewed():
                life.expiry_ns = max(life.expiry_ns, event.expiry_ns)
            case e.Reduced():
                _left(life, now_ns, life.remaining - event.remaining)
            case e.Closed():
                still = life.size - life.taken_out - event.filled
                _left(life, now_ns, life.remaining if event.filled < 0 else still)
                _gone(life, now_ns)
            case _:
                _gone(life, now_ns)

    def _fill(self, now_ns: int, fill: e.Filled) -> None:
        life = self.lives.get(fill.order_id)
        if life is None or (fill.market, fill.trade_id) in self._fills:
            return
        self._fills.add((fill.market, fill.trade_id))
        life.remaining -= fill.size
        life.changes.append(OwnChange(fill.exch_ns, fill.exch_ns, fill.size))
        if life.remaining <= 0:
            _may_end(life, fill.exch_ns)
            _gone(life, now_ns)

    def _look(self, event: e.QueueRead) -> None:
        """The figures of all orders that rest: those named, and those that were named before."""
        self.reads += 1
        ahead = self._ahead.setdefault(event.venue, {})
        ahead |= {place.order_id: place.ahead for place in event.positions}
        for order_id in list(ahead):
            life = self.lives.get(order_id)
            if life is None:
                self.strangers += 1
            elif life.gone_ns < NEVER_NS:
                del ahead[order_id]
            elif event.as_of_ns < min(life.until_ns, life.expiry_ns):
                life.looks.append(Look(event.asked_ns, event.as_of_ns, ahead[order_id]))


def _may_end(life: OwnLife, now_ns: int) -> None:
    life.until_ns = min(life.until_ns, now_ns)
    life.changed_ns = now_ns


def _gone(life: OwnLife, now_ns: int) -> None:
    life.until_ns = min(life.until_ns, now_ns)
    life.gone_ns = min(life.gone_ns, now_ns)


def _left(life: OwnLife, now_ns: int, size: int) -> None:
    """`size` left the book without a trade, by our wish or the venue's."""
    if size > 0:
        life.changes.append(OwnChange(now_ns, life.changed_ns or now_ns, size))
        life.taken_out += size
        life.remaining -= size


# --- the recordings ---------------------------------------------------------------------------------


def _walk_run(run: Run, folder: Path | None) -> Iterator[Walked]:
    """Every order of a run that the venue spoke of."""
    by_market: dict[int, list[OwnLife]] = {}
    for life in run.lives.values():
        by_market.setdefault(life.market, []).append(life)
    wanted = {market for market, lives in by_market.items() if any(life.looks for life in lives)}
    rows = {(run.listings[market].venue, run.listings[market].ticker): market for market in wanted}
    if folder is not None and wanted:
        end_ns = NEVER_NS if (folder / END_FILE).exists() else _last_ns(folder)
        for tape in recording.read(folder):
            market = rows.get((tape.meta.venue, tape.meta.ticker))
            if market is None:
                continue
            wanted.remove(market)
            shows_own = run.listings[market].book_includes_own
            lives = by_market[market]
            walk = MarketWalk(cast("d.Array", tape.events), lives, shows_own=shows_own, end_ns=end_ns)
            yield from (walk.walk(life, MODELS) for life in lives if life.looks)
    for market in wanted:
        for life in by_market[market]:
            yield Walked(life, 0, (), {"no_tape": len(life.looks)})


def _recording(tapes: Path, first: int) -> Path | None:
    """The recording of the run that began with step `first`; None: it kept no rows."""
    found = [folder for folder in sorted(tapes.glob(f"{first:012d}-*")) if any(folder.glob(PATTERN))]
    return found[-1] if found else None


def _last_ns(folder: Path) -> int:
    return max((int(rows["exch_ns"].max()) for rows in read_rows(folder) if len(rows)), default=0)


# --- the figures ------------------------------------------------------------------------------------


def class_of(listing: e.Listed, price: int) -> MarketClass:
    """Where an order at `price` in a market belongs."""
    series = (listing.event_id or listing.ticker).partition("-")[0]
    band = "middle" if TAIL <= price <= PRICE_SCALE - TAIL else "tail"
    return MarketClass(listing.venue, series, band)


def errors(estimate: Estimate) -> list[int]:
    """Each model's error in micro-contracts: the distance of the venue's figure from what it said."""
    ahead = estimate.look.ahead
    return [
        int(least) - ahead if least > ahead else min(int(most) - ahead, 0)
        for least, most in zip(estimate.least, estimate.most, strict=True)
    ]


def report_of(walked: Iterable[Walked], listings: Mapping[int, e.Listed], reads: int) -> QueueReport:
    """Add up."""
    left_out: Counter[str] = Counter()
    groups: dict[MarketClass, list[Walked]] = {}
    for each in walked:
        left_out.update(each.left_out)
        if each.estimates:
            life = each.life
            groups.setdefault(class_of(listings[life.market], life.price), []).append(each)
    classes = tuple(_class_result(where, groups[where]) for where in sorted(groups))
    return QueueReport(classes=classes, reads=reads, left_out=dict(sorted(left_out.items())))


def _class_result(where: MarketClass, walked: Sequence[Walked]) -> ClassResult:
    found = [errors(estimate) for each in walked for estimate in each.estimates]
    initial = sum(each.initial * len(each.estimates) for each in walked)
    rows = tuple(
        Row(where, model, len(found), sum(of_model), sum(map(abs, of_model)), initial)
        for model, of_model in zip(MODELS, zip(*found, strict=True), strict=True)
    )
    return ClassResult(where, len(walked), rows)
