"""The words of a command line that say at which venue, with which account and in which markets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pr3dict.domain.errors import UsageError

if TYPE_CHECKING:
    from pr3dict.runtime.kalshi_access import KalshiAccess, Selection

DEFAULT_ENV = "demo"

VenueOption = Annotated[str | None, typer.Option("--venue", metavar="VENUE", help="kalshi.")]
EnvOption = Annotated[
    str,
    typer.Option(
        "--env", metavar="ENV", help="demo, prod, or local: a stand-in on this machine, with --url."
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Another address of the venue, such as that of a stand-in."),
]
MarketOption = Annotated[
    list[str] | None, typer.Option("--market", metavar="TICKER", help="A market; may be repeated.")
]
EventOption = Annotated[
    list[str] | None, typer.Option("--event", metavar="TICKER", help="All markets of an event.")
]
SeriesOption = Annotated[
    list[str] | None, typer.Option("--series", metavar="TICKER", help="All open markets of a series.")
]
MaxMarketsOption = Annotated[
    int, typer.Option("--max-markets", metavar="N", help="Only the N with the largest volume of 24 h.")
]


def check_venue(venue: str | None) -> None:
    """Raises `UsageError` for a venue that this version does not reach."""
    if venue is None:
        raise UsageError("--venue is missing; give --venue kalshi")
    if venue != "kalshi":
        raise UsageError(f"--venue: {venue!r} can't be reached; use kalshi")


def access_of(venue: str | None, env: str, url: str | None, *, key: bool = True) -> KalshiAccess:
    """The way to the venue, with the secrets of this process's environment.

    Raises:
        UsageError: another venue than kalshi.
        ConfigError: no such environment, an address that is not of it, or no key that can be used.
    """
    from pr3dict.runtime.kalshi_access import kalshi_access

    check_venue(venue)
    return kalshi_access(env, url=url, environment=os.environ, key=key)


def selection_of(
    markets: list[str] | None = None,
    events: list[str] | None = None,
    series: list[str] | None = None,
    max_markets: int = 0,
) -> Selection:
    """The markets that a command line names.

    Raises:
        UsageError: an empty name, or a number of markets below 0.
    """
    from pr3dict.runtime.kalshi_access import Selection

    for option, names in (("--market", markets), ("--event", events), ("--series", series)):
        if any(not name.strip() for name in names or ()):
            raise UsageError(f"{option}: a name is empty")
    if max_markets < 0:
        raise UsageError(f"--max-markets: {max_markets} is below 0; 0 means all")
    return Selection(tuple(markets or ()), tuple(events or ()), tuple(series or ()), max_markets)
