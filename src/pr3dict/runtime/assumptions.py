"""What stands on top of every result: the sentences that say under which assumptions it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pr3dict.domain.units import MONEY_SCALE, NS_PER_SECOND
from pr3dict.runtime.spec import OPTIMISTIC, PESSIMISTIC, POWERED, BacktestSpec
from pr3dict.runtime.tapeset import TapeSet, exclusive_groups, fee_name

NS_PER_MINUTE = 60 * NS_PER_SECOND
QUEUE_WORDS = {
    PESSIMISTIC: "every cancelled contract stood behind us, only trades move us up",
    "power": "a cancelled contract stood behind us with b^n / (b^n + f^n), f ahead, b behind",
    "power2": "a cancelled contract stood behind us with b^n / (b + f)^n, f ahead, b behind",
    "power3": "a cancelled contract stood behind us with 1 - (f / (f + b))^n, f ahead, b behind",
    "log": "a cancelled contract stood behind us with ln(1+b) / (ln(1+b) + ln(1+f)), f ahead, b behind",
    "log2": "a cancelled contract stood behind us with ln(1+b) / ln(1+b+f), f ahead, b behind",
    OPTIMISTIC: "every cancelled contract stood ahead of us",
}


def sentences(tapes: TapeSet, spec: BacktestSpec, unsettled: int) -> list[str]:
    """The assumptions of a backtest, data first; `unsettled` markets ended without a payout."""
    told = [*_data(tapes), *_exchange(tapes, spec)]
    if unsettled:
        told.append(
            f"{_some(tapes, unsettled)} end before a payout: what is held there is marked at the last "
            "two-sided mid, not sold."
        )
    return told


def _some(tapes: TapeSet, count: int) -> str:
    return "All tapes" if count == len(tapes.metas) else f"{count} of {len(tapes.metas)} tapes"


def _data(tapes: TapeSet) -> Iterator[str]:
    metas = tapes.metas
    synthetic = sum(meta.synthetic for meta in metas)
    if synthetic:
        yield f"{_some(tapes, synthetic)} are synthetic: generated flow, no evidence about real markets."
    inferred = sum(meta.has_trades == "inferred" for meta in metas)
    if inferred:
        yield (
            f"{_some(tapes, inferred)} hold inferred trades: the recording had none, they were worked out "
            "from volume and book changes, and every fill against them carries that doubt."
        )
    none = sum(meta.has_trades == "none" for meta in metas)
    if none:
        yield f"{_some(tapes, none)} hold no trades: there we fill only when the touch crosses our price."
    for source in dict.fromkeys(meta.times_source for meta in metas if meta.times_source):
        yield f"Close and resolution times: {source.rstrip('.')}."
    unknown = sum(meta.close_ns is None and meta.expected_resolution_ns is None for meta in metas)
    if unknown:
        yield f"{_some(tapes, unknown)} state no close or resolution time."


def _exchange(tapes: TapeSet, spec: BacktestSpec) -> Iterator[str]:
    power = f", n = {spec.queue_power:g}" if spec.queue in POWERED else ""
    yield f"Queue model {spec.queue}: {QUEUE_WORDS[spec.queue]}{power}."
    yield (
        f"Latency: {spec.latency_ms} ms each from exchange to us (market data), from us to exchange and back "
        "(orders and answers); recorders' own clocks are not used."
    )
    for meta in {fee_name(m, direct_member=spec.direct_member): m for m in tapes.metas}.values():
        source = f" ({meta.fee.source.rstrip('.')})" if meta.fee.source else ""
        yield f"Fees: {fee_name(meta, direct_member=spec.direct_member)}{source}."
    yield (
        "Our orders join behind the displayed size and take their volume out of the recorded takers; the "
        "recording does not react to us."
    )
    groups = Counter(event for event in exclusive_groups(tapes.metas) if event >= 0)
    shared = [count for count in groups.values() if count > 1]
    if shared:
        yield (
            f"{_some(tapes, sum(shared))} are outcomes of {len(shared)} exclusive events: at most one "
            "outcome of each ends YES, and its worst case is taken over them."
        )
    rules = spec.rules[0]
    if 0 < rules["max_markets"] < len(tapes.metas):
        minutes = rules["rotation_interval_ns"] / NS_PER_MINUTE
        yield (
            f"At most {rules['max_markets']} of {len(tapes.metas)} markets are quoted at once, the "
            f"best-scored that qualify, ranked every {minutes:g} min without looking "
            "ahead; the others are wound down."
        )
    cash = f"${spec.cash_micros / MONEY_SCALE:,.2f}"
    paying = sum(meta.ticker in spec.rewards or meta.rewards is not None for meta in tapes.metas)
    yield f"One account with {cash} trades all tapes{'' if paying else '; rewards are not scored'}."
    if paying:
        yield (
            f"{_some(tapes, paying)} pay liquidity rewards: expected ones, at the least share possible "
            "beside what else rests, and not in the equity curve."
        )
