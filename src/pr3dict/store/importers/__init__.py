"""Recordings of other programs to tapes and series: one file a format, all listed here."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pr3dict.domain.errors import UsageError
from pr3dict.store.importers.common import Importer, MarketReport
from pr3dict.store.importers.run import WrittenTape, import_recordings, write_imported
from pr3dict.store.layouts import LAYOUTS

__all__ = [
    "ALIASES",
    "FORMATS",
    "WrittenTape",
    "defects_of",
    "get_importer",
    "import_recordings",
    "report_json",
    "share",
    "summed_details",
    "write_imported",
]

FORMATS: Final[tuple[str, ...]] = (
    "kalshi-ws",
    "polymarket-ws",
    "pmxt",
    "kalshi-kxbtc15m-l2",
    "kalshi-15m-btc-eth-trades",
    "kalshi-kxhighny-bbo",
    "kalshi-kxbtc15m-settlements",
    "polymarket-nhl-l2",
    "polymarket-mlb-l2",
    "polymarket-btc15m-book5",
    "polymarket-btc5m-resolved",
    "polymarket-history-daily",
    "polymarketus-quotes",
    "kalshi-polymarket-pairs",
    "raw-ws-samples",
    "recording",
)
"""Names of all formats; the module of each is its name with underscores."""

ALIASES: Final = {"kalshi-kxbtc15m-l2-a": "kalshi-kxbtc15m-l2", "kalshi-kxbtc15m-l2-b": "kalshi-kxbtc15m-l2"}


def get_importer(name: str) -> Importer:
    """The importer of a format. Raises `UsageError` that lists the known ones."""
    chosen = ALIASES.get(name, name)
    if chosen not in FORMATS:
        raise UsageError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    module = importlib.import_module(f"{__name__}.{chosen.replace('-', '_')}")
    importer: Importer = module.IMPORTER
    return importer


def report_json(written: Sequence[WrittenTape]) -> dict[str, object]:
    """The report of an import as one JSON object; see docs/tapes.md for its keys."""
    reports = [tape.report for tape in written]
    volume = sum(r.volume or 0 for r in reports)
    explained = sum(r.volume_explained or 0 for r in reports)
    return {
        "tapes": [str(tape.path) for tape in written],
        "events": sum(r.events for r in reports),
        "snapshots": sum(r.snapshots for r in reports),
        "deltas": sum(r.deltas for r in reports),
        "trades": sum(r.trades for r in reports),
        "trades_inferred": sum(r.trades_inferred for r in reports),
        "volume_explained": share(explained, volume),
        "markets": len({r.market for r in reports if r.kind in LAYOUTS}),
        "settled": sum(r.settled for r in reports),
        "snapshots_checked": sum(r.snapshots_checked for r in reports),
        "snapshots_equal": sum(r.snapshots_equal for r in reports),
        "defects": defects_of(written),
        "kinds": dict(Counter(r.kind for r in reports)),
        "rows": sum(r.rows for r in reports),
        "details": summed_details(reports),
        "per_tape": [_tape_json(tape) for tape in written],
    }


def summed_details(reports: Sequence[MarketReport]) -> dict[str, int]:
    """The sums of whole-number details over an import."""
    sums: Counter[str] = Counter()
    for report in reports:
        sums.update({k: v for k, v in report.details.items() if type(v) is int})
    return dict(sums)


def defects_of(written: Sequence[WrittenTape]) -> list[str]:
    """Every defect as a sentence that begins with its session and market; last, those between recordings."""
    defects = [
        f"{t.report.session}, {t.report.market}: {defect}" for t in written for defect in t.report.defects
    ]
    names: dict[str, set[str]] = {}
    for tape in written:
        token = tape.report.details.get("yes_token")
        if token is not None:
            names.setdefault(str(token), set()).add(tape.report.market)
    for token, markets in names.items():
        if len(markets) > 1:
            listed = " and ".join(sorted(markets))
            defects.append(f"{listed} are recordings of one market (token {token}): one name must be wrong")
    return defects


def share(part: int, whole: int) -> float | None:
    """`part / whole` to six places; None when there is no whole."""
    return round(part / whole, 6) if whole else None


def _tape_json(tape: WrittenTape) -> dict[str, object]:
    r = tape.report
    return {
        "tape": str(tape.path),
        "session": r.session,
        "market": r.market,
        "kind": r.kind,
        "events": r.events,
        "rows": r.rows,
        "snapshots": r.snapshots,
        "deltas": r.deltas,
        "trades": r.trades,
        "trades_inferred": r.trades_inferred,
        "volume_explained": share(r.volume_explained or 0, r.volume or 0),
        "settled": r.settled,
        "snapshots_checked": r.snapshots_checked,
        "snapshots_equal": r.snapshots_equal,
        **r.details,
        "defects": list(r.defects),
    }
