"""Runs side by side, and whether one earns more than another or the difference is noise.

A run is the JSON object that `pr3dict backtest --json` prints. Two runs over the same tapes are compared
block by block, a block being one event on one trading day: what the market did to both cancels, and what is
left is the difference between the runs. `bootstrap.swap_p_value` says how often chance carries it as far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import numpy as np

from pr3dict.analytics.bootstrap import RESAMPLES, Interval, intervals, paired_difference, swap_p_value
from pr3dict.domain.errors import DataError
from pr3dict.domain.units import format_dollars, parse_money, parse_quantity

MICRO = 1_000_000
MIN_BLOCKS = 8  # with fewer no resampling says anything
MIN_DIFFERING = 6  # fewer signs than that agree by chance too often: 2 / 2^5 > 0.05
LEVEL = 0.95  # of the intervals, both measures of a pair together
CALLED = 0.02  # a difference is called at this p-value, shared among the runs that are compared

NOISE = "noise"
DIFFERENCE = "difference"
TOO_FEW = "too few blocks"
NOT_COMPARED = "not comparable"

ASSUMPTIONS = (
    "version", "preset", "policy", "queue", "queue_power", "latency_ms", "fees_schedule", "cash",
    "trades", "synthetic",
)  # fmt: skip


class TapeId(msgspec.Struct, frozen=True):
    """Which recording a row of `per_market` is about."""

    venue: str
    ticker: str
    session: str
    first_ns: int
    last_ns: int


class RunBlock(msgspec.Struct, frozen=True):
    """One market on one trading day, decimal strings."""

    market: str
    session: str
    event: str
    day: str
    net: str
    contracts: str
    fills: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a backtest's JSON that a comparison reads."""

    version: str
    preset: str
    policy: str
    settings: dict[str, str]
    queue: str
    queue_power: float
    latency_ms: int
    fees_schedule: str
    cash: str
    trades: str
    synthetic: bool
    pnl: dict[str, str]
    fills: int
    contracts_filled: float
    spread_per_contract: str | None
    markouts: dict[str, str | None]
    two_sided_uptime: float | None
    max_drawdown: str
    per_market: list[TapeId]
    blocks: list[RunBlock]

    @property
    def net_micros(self) -> int:
        """Net profit."""
        return parse_money(self.pnl["net"], signed=True)

    @property
    def contracts(self) -> int:
        """Micro-contracts filled, exact."""
        return sum(parse_quantity(block.contracts) for block in self.blocks)

    @property
    def net_per_contract(self) -> float | None:
        """Dollars a contract."""
        return self.net_micros / self.contracts if self.contracts else None


def read_run(text: bytes, file: str) -> Run:
    """The run that a JSON text holds.

    Raises:
        DataError: names `file`: no JSON object of a backtest, or blocks that do not add up to its net profit.
    """
    try:
        run = msgspec.json.decode(text, type=Run)
        added = sum(parse_money(block.net, signed=True) for block in run.blocks)
        net = run.net_micros
        sizes = [parse_quantity(block.contracts) for block in run.blocks]
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError) as error:
        raise DataError(
            f"not the JSON of a backtest ({error}); write one with `pr3dict backtest TAPE... --out {file}`",
            file=file,
        ) from None
    except DataError as error:
        raise error.at(file=file) from None
    if added != net or not sizes:
        raise DataError(
            f"its blocks add up to ${format_dollars(added)} and its net is ${format_dollars(net)}: the file "
            "was changed, run the backtest again",
            file=file,
        )
    return run


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run against the first. `net` in dollars, `per_contract` in dollars a contract, other less first."""

    name: str
    against: str
    verdict: str
    sentence: str
    notes: tuple[str, ...] = ()
    blocks: int = 0
    p_value: float | None = None
    net: Interval | None = None
    per_contract: Interval | None = None

    def to_json(self) -> dict[str, object]:
        """Dollars as numbers rounded to a micro, per contract in cents."""
        return {
            "run": self.name,
            "against": self.against,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "notes": list(self.notes),
            "blocks": self.blocks,
            "p_value": self.p_value,
            "net": _interval_json(self.net, 1.0),
            "net_per_contract_cents": _interval_json(self.per_contract, 100.0),
        }


def _interval_json(interval: Interval | None, scale: float) -> dict[str, float | None] | None:
    if interval is None:
        return None
    values = (("difference", interval.estimate), ("low", interval.low), ("high", interval.high))
    return {key: round(value * scale, 6) if np.isfinite(value) else None for key, value in values}


def paired_blocks(first: Run, other: Run) -> tuple[list[list[int]], tuple[int, int]]:
    """Blocks in which one of two runs traded, and how many of all blocks only one of them has.

    A block is (net micros, micro-contracts) of the first and of the other run on one event and trading day.
    """
    rows: dict[tuple[str, str], list[int]] = {}
    seen: list[set[tuple[str, str]]] = [set(), set()]
    for place, run in enumerate((first, other)):
        for block in run.blocks:
            key = block.event, block.day
            row = rows.setdefault(key, [0, 0, 0, 0])
            row[2 * place] += parse_money(block.net, signed=True)
            row[2 * place + 1] += parse_quantity(block.contracts)
            seen[place].add(key)
    traded = [row for _, row in sorted(rows.items()) if row[1] or row[3]]
    return traded, (len(seen[0] - seen[1]), len(seen[1] - seen[0]))


def compare(
    names: Sequence[str], runs: Sequence[Run], rng: np.random.Generator, *, resamples: int = RESAMPLES
) -> tuple[Comparison, ...]:
    """Every other run against the first; `names` are how the sentences call them."""
    return tuple(
        _against(names[0], runs[0], name, run, rng, CALLED / (len(runs) - 1), resamples)
        for name, run in zip(names[1:], runs[1:], strict=True)
    )


def _against(
    first_name: str, first: Run, name: str, run: Run, rng: np.random.Generator, called: float, resamples: int
) -> Comparison:
    refused = _different_tapes(first_name, first, name, run)
    if refused:
        return Comparison(name, first_name, NOT_COMPARED, refused)
    rows, only = paired_blocks(first, run)
    notes = tuple(
        f"{count} blocks of {of} are missing in {other}: counted there as no contract and no profit."
        for count, of, other in zip(only, (first_name, name), (name, first_name), strict=True)
        if count
    )
    n, differing = len(rows), sum(row[:2] != row[2:] for row in rows)
    if n and not differing:
        words = f"noise: {name} and {first_name} earned the same in each of {n} blocks."
        zero = Interval(0.0, 0.0, 0.0)
        return Comparison(name, first_name, NOISE, words, notes, n, 1.0, zero, zero)
    if n < MIN_BLOCKS:
        words = (
            f"too few blocks to tell: {n} (events on a trading day) in which one of them traded, at least "
            f"{MIN_BLOCKS} are needed; backtest more recordings."
        )
        return Comparison(name, first_name, TOO_FEW, words, notes, n)
    if differing < MIN_DIFFERING:
        words = f"noise: {name} differs from {first_name} in {differing} of {n} blocks only."
        return Comparison(name, first_name, NOISE, words, notes, n)
    blocks = np.array(rows, np.float64) / MICRO
    net, each = intervals(blocks, paired_difference, rng, level=LEVEL, resamples=resamples)
    p_value = swap_p_value(blocks, rng, resamples=resamples)
    verdict, sentence = _judge(first_name, name, net, each, p_value, called)
    return Comparison(name, first_name, verdict, sentence, notes, n, p_value, net, each)


def _different_tapes(first_name: str, first: Run, name: str, run: Run) -> str | None:
    mine, theirs = set(first.per_market), set(run.per_market)
    if mine == theirs:
        return None
    return (
        f"not comparable: {first_name} replays {len(mine - theirs)} tapes that {name} does not, and {name} "
        f"{len(theirs - mine)} that {first_name} does not; a difference would be the markets', so backtest "
        "both on the same tapes."
    )


def dollars(value: float) -> str:
    """`-$1,234.50` with two places; "unbounded" for an infinite one."""
    if not np.isfinite(value):
        return "unbounded"
    text = f"${abs(value):,.2f}"
    return f"-{text}" if value < 0 and text.strip("$0.,") else text


def cents(value: float) -> str:
    """Dollars a contract as cents with two places: `-0.21c`."""
    return f"{100 * value + 0.0:.2f}c" if np.isfinite(value) else "unbounded"


def _judge(
    first: str, name: str, net: Interval, each: Interval, p_value: float, called: float
) -> tuple[str, str]:
    """Verdict and sentence; what is called leads with the measure whose interval is clear of zero."""
    total, unit = _clear(net), _clear(each)
    chance = f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"
    if p_value > called:
        but = f"; a difference is called at p <= {called:.3g} only, here {chance}" if total or unit else ""
        return NOISE, (
            f"noise: {name} less {first} is {_with_range(net, dollars)}, "
            f"{_with_range(each, cents)} a contract{but}."
        )
    if total or not unit:
        lead, show, of, rest = net, dollars, "", f"a contract {_with_range(each, cents, noise=not unit)}"
    else:
        lead, show, of, rest = each, cents, " a contract", f"in total {_with_range(net, dollars, noise=True)}"
    more = "more" if lead.estimate > 0 else "less"
    size = lead if lead.estimate > 0 else Interval(-lead.estimate, -lead.high, -lead.low)
    return DIFFERENCE, f"{name} earns {more}{of} than {first} by {_with_range(size, show)}, {chance}; {rest}."


def _clear(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


def _with_range(interval: Interval, show: Callable[[float], str], *, noise: bool = False) -> str:
    """`$3.00 (95% interval $1.00 to $5.00)`."""
    word = ", noise" if noise else ""
    return f"{show(interval.estimate)} (95% interval {show(interval.low)} to {show(interval.high)}{word})"


def differing(runs: Sequence[Run]) -> Mapping[str, list[str]]:
    """Assumptions and settings in which the runs are not all alike, as text, one value a run."""
    told = {key: [_text(getattr(run, key)) for run in runs] for key in ASSUMPTIONS}
    for setting in dict.fromkeys(key for run in runs for key in run.settings):
        told[setting] = [run.settings.get(setting, "default") for run in runs]
    return {key: values for key, values in told.items() if len(set(values)) > 1}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value)
