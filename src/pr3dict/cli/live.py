"""`pr3dict live`: real orders at one or more venues, with journal, limits and operator commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pr3dict.cli.output import messages, print_json
from pr3dict.cli.paper import VIEW_S, Assignments, Config, Headless, Preset, Seconds, warm_engine
from pr3dict.cli.process import DataDirOption
from pr3dict.cli.venue_options import (
    VENUES,
    EventOption,
    MarketOption,
    MaxMarketsOption,
    SeriesOption,
    check_venue,
    env_of,
    kalshi_of,
    polymarket_of,
    selection_of,
)
from pr3dict.domain.errors import UsageError, WorkError

if TYPE_CHECKING:
    from pr3dict.cli.doctor import Finding
    from pr3dict.runtime.live import LiveSpec
    from pr3dict.runtime.live_venue import LiveVenue
    from pr3dict.runtime.venue_selection import Selection

CONFIRMED: Final = "live"

VenuesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--venue", metavar="VENUE", help=f"{' or '.join(VENUES)}; given twice, one process trades both."
    ),
]
EnvsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="ENV",
        help="prod, demo (Kalshi only), or local: a stand-in on this machine, with --url. With two venues "
        "VENUE=ENV, and so for each of the following words.",
    ),
]
UrlsOption = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="URL", help="Another address of the venue, such as that of a stand-in."),
]
Confirm = Annotated[
    str | None, typer.Option("--confirm", metavar="live", help="Say that prod trades with real money.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end; no live view.")]


def live_command(
    venue: VenuesOption = None,
    env: EnvsOption = None,
    url: UrlsOption = None,
    market: MarketOption = None,
    event: EventOption = None,
    series: SeriesOption = None,
    max_markets: MaxMarketsOption = 0,
    confirm: Confirm = None,
    preset: Preset = None,
    config: Config = None,
    assignments: Assignments = None,
    seconds: Seconds = None,
    headless: Headless = False,
    data_dir: DataDirOption = None,
    as_json: AsJson = False,
) -> None:
    """Trade with real orders: quotes both sides of the chosen markets until Ctrl-C.

    Needs a key of each venue's environment and passes its doctor first; prod also needs `--confirm live`.
    Every order expires by itself. Kalshi cancels everything when one sweep costs more than
    `kalshi.sweep_loss`, Polymarket as soon as this process is silent for ten seconds. Two venues are traded
    under one set of limits: when one of them goes away, what may have happened there counts at its worst, and
    the other is quoted on. Ctrl-C stops it: cancel, confirm, close. Started again in the same data directory
    it goes on where it was. Exit code 3: the kill latch is set.
    """
    from pr3dict.cli.config import load_configs
    from pr3dict.runtime.live import LiveSpec, at_venues, check_venues
    from pr3dict.store.data_dir import DataDir

    if confirm not in (None, CONFIRMED):
        raise UsageError(f"--confirm: {confirm!r} confirms nothing; write --confirm {CONFIRMED}")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds: {seconds} is not above 0")
    names = _venues(venue)
    envs = {name: env_of(name, one) for name, one in one_each("--env", env, names).items()}
    urls = one_each("--url", url, names)
    markets, events, tags = (
        of_each(option, words, names)
        for option, words in (("--market", market), ("--event", event), ("--series", series))
    )
    selections = {name: selection_of(markets[name], events[name], tags[name], max_markets) for name in names}
    if confirm is None and "prod" in envs.values():
        other = "demo" if names == ["kalshi"] else "local"
        raise UsageError(f"prod trades with real money: add --confirm {CONFIRMED}, or use --env {other}")
    given = assignments or []
    strategy, risk = load_configs(preset, config, given)
    venues = tuple(
        _live_venue(name, envs[name], urls[name], selections[name], config, given) for name in names
    )
    check_venues(venues)
    spec = LiveSpec(
        venues=venues,
        config=strategy,
        risk=at_venues(risk, venues),
        data_dir=DataDir.of(data_dir),
        seconds=seconds,
        view_s=VIEW_S,
    )
    trade(spec, headless=headless, as_json=as_json)


def _venues(given: Sequence[str] | None) -> list[str]:
    """The venues of a command line; raises `UsageError` for none, one unknown, or one that comes twice."""
    names = [check_venue(one) for one in given or (None,)]
    if len(set(names)) < len(names):
        raise UsageError(f"--venue: {names[0]} is named twice")
    return names


def of_each(
    option: str, given: Sequence[str] | None, venues: Sequence[str]
) -> Mapping[str, list[str] | None]:
    """The words of an option for each venue: `VENUE=word`, or a word alone where there is one venue.

    Raises:
        UsageError: a word is nobody's.
    """
    found: dict[str, list[str] | None] = dict.fromkeys(venues)
    for text in given or ():
        name, mark, word = text.partition("=")
        if not mark or name not in VENUES:
            name, word = venues[0], text
            if len(venues) > 1:
                raise UsageError(f"{option}: {text!r} is for which venue? write {venues[0]}={text}")
        elif name not in venues:
            raise UsageError(f"{option}: {text!r} is for a venue that is not traded; add --venue {name}")
        found[name] = [*(found[name] or ()), word]
    return found


def one_each(option: str, given: Sequence[str] | None, venues: Sequence[str]) -> Mapping[str, str | None]:
    """As `of_each` for an option of which each venue has one; a word alone holds for none but one venue."""
    found = of_each(option, given, venues)
    for name, words in found.items():
        if words is not None and len(words) > 1:
            raise UsageError(f"{option}: {name} has two of them, {words[0]!r} and {words[1]!r}")
    return {name: None if words is None else words[0] for name, words in found.items()}


def _live_venue(
    name: str, env: str, url: str | None, selection: Selection, config: Path | None, given: Sequence[str]
) -> LiveVenue:
    """One venue with its account and settings; raises `ConfigError` where they can't be used."""
    from pr3dict.cli.config import load_kalshi, load_polymarket

    if name == "polymarket":
        from pr3dict.runtime.polymarket_live import PolymarketLive

        return PolymarketLive(polymarket_of(env, url), load_polymarket(config, given), selection)
    from pr3dict.runtime.kalshi_live import KalshiLive

    return KalshiLive(kalshi_of(name, env, url), load_kalshi(config, given), selection)


def trade(spec: LiveSpec, *, headless: bool, as_json: bool) -> None:
    """Examine the venues, trade under the eyes of a person, and leave with the session's exit code.

    Raises:
        WorkError: the doctor found something that forbids it.
    """
    from dataclasses import replace

    from pr3dict.cli.session import Watcher, end, outcome_json, run_session, show_outcome

    names = " and ".join(venue.name.capitalize() for venue in spec.venues)
    with messages.status(f"Examining {names} and loading the brain (compiled once, up to two minutes)..."):
        check_findings(examine(spec))
        warm_engine()
    quiet = as_json and not headless
    notes = [f"Orders expire after {spec.risk.order_life_seconds:g} s. Ctrl-C: cancel, confirm, close."]
    watcher = Watcher(spec.data_dir, mode="live", notes=notes, headless=headless, quiet=quiet)
    shown = replace(spec, on_view=watcher, on_figures=watcher.take_figures)
    outcome = run_session(shown, watcher, draw=False)
    if as_json:
        print_json(outcome_json(outcome, None))
    else:
        show_outcome(outcome, "Live session", None)
    end(outcome)


def examine(spec: LiveSpec) -> list[Finding]:
    """The cheap checks of `pr3dict doctor` for each venue: nothing is changed there."""
    from pr3dict.cli.doctor_kalshi import examine_kalshi
    from pr3dict.cli.doctor_polymarket import examine_polymarket
    from pr3dict.runtime.kalshi_live import KalshiLive
    from pr3dict.runtime.polymarket_live import PolymarketLive
    from pr3dict.runtime.shell import in_loop

    place = spec.data_dir.create()
    found: list[Finding] = []
    for venue in spec.venues:
        if isinstance(venue, KalshiLive):
            subaccount = venue.kalshi.subaccount
            found += in_loop(examine_kalshi(venue.access, place, subaccount=subaccount))
        elif isinstance(venue, PolymarketLive):
            found += in_loop(examine_polymarket(venue.access, place))
    return found


def check_findings(findings: list[Finding]) -> None:
    """Say what the doctor warns of; raises `WorkError` for what it found broken."""
    for finding in findings:
        if finding.state == "warn":
            messages.print(f"[yellow]{finding.name}[/yellow]: {finding.text}", highlight=False)
    broken = [finding for finding in findings if finding.state == "fail"]
    if broken:
        told = "; ".join(f"{one.name}: {one.text} ({one.advice})" for one in broken)
        raise WorkError(f"the doctor forbids trading: {told}")
