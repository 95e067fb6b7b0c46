"""`pr3dict scan --venue`: live markets, shown as recorded ones are, with their fees and programmes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.markup import escape

from pr3dict.cli.output import console, decimal_string, dollars, messages, money, print_json, table
from pr3dict.cli.scan import LiveWords, answer_json, show_ranking
from pr3dict.cli.venue_options import access_of, selection_of
from pr3dict.domain.units import PRICE_SCALE

if TYPE_CHECKING:
    from pr3dict.runtime.venue_scan import Incentive, LiveScan, LiveScanSpec, Terms
    from pr3dict.strategies.config import MarketMakingConfig
    from pr3dict.strategies.selection import Candidate, Ranking

MOST_ROWS = 40  # of a table for a person; `--json` is always complete
MICRO = 1_000_000
NAMES = {"kalshi": "Kalshi", "polymarket": "Polymarket"}


def scan_venue(words: LiveWords, config: MarketMakingConfig, *, as_json: bool) -> None:
    """Scan and show; with a key where one is set, else what is public.

    Raises:
        ConfigError: a key that is set can't be used, or the address is not of the environment.
    """
    from pr3dict.runtime.venue_scan import LiveScanSpec
    from pr3dict.strategies.selection import Ranking, ranking

    access = access_of(words.venue, words.env, words.url, key=False)
    selection = selection_of(words.markets, words.events, words.series, words.max_markets)
    with messages.status(f"asking {NAMES[access.venue]}") as status:
        spec = LiveScanSpec(
            access,
            selection,
            config,
            watch_s=words.watch_s,
            candidates=words.candidates,
            on_stage=lambda text: status.update(escape(text)),
        )
        seen = asyncio.run(_scan(spec))
    found = ranking(one.candidate for one in seen.judged)
    if as_json:
        print_json(live_json(seen, found, access.account))
        return
    waiting = [one for one in found.unscored if one.name not in seen.watched]
    watched = [one for one in found.unscored if one.name in seen.watched]
    shown = (found.ranked, watched, found.rejected[:MOST_ROWS])
    show_ranking(Ranking(*(_labelled(group, seen.labels) for group in shown)))
    _show_rest(seen, found, len(waiting), account=access.account)


def _labelled(group: Iterable[Candidate], labels: Mapping[str, str]) -> tuple[Candidate, ...]:
    """The same markets under the names that a person knows them by."""
    return tuple(replace(one, name=labels[one.name]) for one in group)


async def _scan(spec: LiveScanSpec) -> LiveScan:
    from pr3dict.runtime.clock import EngineTime, SessionClock, SystemClock
    from pr3dict.runtime.venue_scan import scan_live

    return await scan_live(spec, SessionClock(EngineTime(SystemClock())))


def live_json(seen: LiveScan, found: Ranking, account: str) -> dict[str, object]:
    """As the scan of tapes, with what only a venue tells."""

    def more(name: str) -> dict[str, object]:
        label = seen.labels[name]
        return {"label": label, "watched": name in seen.watched, **terms_json(seen.terms[name])}

    return answer_json(seen.judged, found, None, more) | {
        "account": account,
        "watched_s": round(seen.watched_s, 3),
        "notes": list(seen.notes),
        "left_out": [{"ticker": ticker, "why": why} for ticker, why in seen.left_out],
    }


def terms_json(terms: Terms) -> dict[str, object]:
    """Fees and programmes of a market."""
    return {
        "fee": terms.fee,
        "maker_fee_ppm": terms.maker_ppm,
        "fee_changes": list(terms.fee_moves),
        "contracts_24h": None if terms.volume_24h is None else terms.volume_24h / MICRO,
        "dollars_24h": None if terms.dollars_24h is None else decimal_string(dollars(terms.dollars_24h)),
        "programmes": [
            {
                "kind": one.kind,
                "reward": decimal_string(dollars(one.reward_micros)),
                "reward_per_hour": decimal_string(dollars(one.micros_an_hour)),
                "start_ns": one.start_ns,
                "end_ns": one.end_ns,
                "target_contracts": None if one.target is None else one.target / MICRO,
                "discount": None if one.discount_ppm is None else one.discount_ppm / MICRO,
                "max_spread": None if one.max_spread is None else one.max_spread / PRICE_SCALE,
            }
            for one in terms.incentives
        ],
    }


def _show_rest(seen: LiveScan, found: Ranking, waiting: int, *, account: str) -> None:
    """Fees and programmes of what may be quoted, and what was not seen."""
    fit = [one.name for one in (*found.ranked, *found.unscored) if one.name in seen.watched]
    if fit:
        view = table("Fees and programmes", "market", "fee", "programmes", "24 h", left=3)
        for name in fit[:MOST_ROWS]:
            terms = seen.terms[name]
            fee = "; ".join([terms.fee, *(f"then {text}" for text in terms.fee_moves)])
            view.add_row(
                escape(seen.labels[name]), escape(fee), _programmes(terms.incentives), _volume(terms)
            )
        console.print(view)
        console.print()
    if len(found.rejected) > MOST_ROWS:
        console.print(f"... and {len(found.rejected) - MOST_ROWS:,} more were rejected (all with --json)")
    if waiting:
        console.print(f"{waiting:,} markets qualify by their listing and were not watched; see --candidates")
    if seen.left_out:
        ticker, why = seen.left_out[0]
        text = f"{len(seen.left_out):,} were left out, such as {ticker}: {why}"
        console.print(text, markup=False)
    for note in seen.notes:
        console.print(note, markup=False)
    text = f"{account}: {len(seen.judged):,} markets listed, {len(seen.watched):,} watched"
    messages.print(f"{text} for {seen.watched_s:,.0f} s", style="dim", markup=False)


def _volume(terms: Terms) -> str:
    """Contracts of a day, or dollars where the venue states those."""
    if terms.volume_24h is not None:
        return f"{terms.volume_24h / MICRO:,.0f}"
    return "-" if terms.dollars_24h is None else f"${terms.dollars_24h / MICRO:,.0f}"


def _programmes(incentives: tuple[Incentive, ...]) -> str:
    """What all makers of a market share, by the hour."""
    return ", ".join(f"{one.kind} {money(one.micros_an_hour)}/h" for one in incentives) or "-"
