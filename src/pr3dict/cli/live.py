"""`pr3dict live`: real orders at a venue, with journal, limits and operator commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from pr3dict.cli.output import messages, print_json
from pr3dict.cli.paper import VIEW_S, Assignments, Config, Headless, Preset, Seconds, warm_engine
from pr3dict.cli.process import DataDirOption
from pr3dict.cli.venue_options import (
    DEFAULT_ENV,
    EnvOption,
    EventOption,
    MarketOption,
    MaxMarketsOption,
    SeriesOption,
    UrlOption,
    VenueOption,
    access_of,
    selection_of,
)
from pr3dict.domain.errors import UsageError, WorkError

if TYPE_CHECKING:
    from pr3dict.cli.doctor import Finding
    from pr3dict.runtime.live import LiveSpec

CONFIRMED: Final = "live"

Confirm = Annotated[
    str | None, typer.Option("--confirm", metavar="live", help="Say that prod trades with real money.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end; no live view.")]


def live_command(
    venue: VenueOption = None,
    env: EnvOption = DEFAULT_ENV,
    url: UrlOption = None,
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

    Needs a key of the environment and passes its doctor first; prod also needs `--confirm live`. Every order
    expires by itself, and Kalshi cancels everything when one sweep costs more than `kalshi.sweep_loss`.
    Ctrl-C stops it: cancel, confirm, close. Started again in the same data directory it goes on where it
    was. Exit code 3: the kill latch is set.
    """
    from pr3dict.cli.config import load_configs, load_kalshi
    from pr3dict.runtime.live import LiveSpec, at_venue
    from pr3dict.store.data_dir import DataDir

    if confirm not in (None, CONFIRMED):
        raise UsageError(f"--confirm: {confirm!r} confirms nothing; write --confirm {CONFIRMED}")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds: {seconds} is not above 0")
    selection = selection_of(market, event, series, max_markets)
    if env == "prod" and confirm is None:
        raise UsageError(f"prod trades with real money: add --confirm {CONFIRMED}, or use --env demo")
    given = assignments or []
    strategy, risk = load_configs(preset, config, given)
    spec = LiveSpec(
        access=access_of(venue, env, url),
        kalshi=load_kalshi(config, given),
        selection=selection,
        config=strategy,
        risk=at_venue(risk),
        data_dir=DataDir.of(data_dir),
        seconds=seconds,
        view_s=VIEW_S,
    )
    trade(spec, headless=headless, as_json=as_json)


def trade(spec: LiveSpec, *, headless: bool, as_json: bool) -> None:
    """Examine the venue, trade under the eyes of a person, and leave with the session's exit code.

    Raises:
        WorkError: the doctor found something that forbids it.
    """
    from dataclasses import replace

    from pr3dict.cli.session import Watcher, end, outcome_json, run_session, show_outcome

    with messages.status("Examining Kalshi and loading the brain (compiled once, up to two minutes)..."):
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
    """The cheap checks of `pr3dict doctor --venue kalshi`: nothing is changed at the venue."""
    from pr3dict.cli.doctor_kalshi import examine_kalshi
    from pr3dict.runtime.shell import in_loop

    place = spec.data_dir.create()
    return in_loop(examine_kalshi(spec.access, place, subaccount=spec.kalshi.subaccount))


def check_findings(findings: list[Finding]) -> None:
    """Say what the doctor warns of; raises `WorkError` for what it found broken."""
    for finding in findings:
        if finding.state == "warn":
            messages.print(f"[yellow]{finding.name}[/yellow]: {finding.text}", highlight=False)
    broken = [finding for finding in findings if finding.state == "fail"]
    if broken:
        told = "; ".join(f"{one.name}: {one.text} ({one.advice})" for one in broken)
        raise WorkError(f"the doctor forbids trading: {told}")
