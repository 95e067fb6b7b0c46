"""The words of a command line that say at which venue, with which account and in which markets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pr3dict.domain.errors import UsageError

if TYPE_CHECKING:
    from pr3dict.runtime.kalshi_access import KalshiAccess
    from pr3dict.runtime.polymarket_access import PolymarketAccess
    from pr3dict.runtime.venue_selection import Selection

VENUES: Final = ("kalshi", "polymarket")
DEFAULT_ENV: Final = None  # the venue's own, of `DEFAULT_ENVS`
DEFAULT_ENVS: Final[Mapping[str, str]] = {"kalshi": "demo", "polymarket": "prod"}  # Polymarket has no demo

VenueOption = Annotated[str | None, typer.Option("--venue", metavar="VENUE", help=f"{' or '.join(VENUES)}.")]
EnvOption = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="ENV",
        help="prod, demo (Kalshi only), or local: a stand-in on this machine, with --url.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Another address of the venue, such as that of a stand-in."),
]
MarketOption = Annotated[
    list[str] | None,
    typer.Option(
        "--market",
        metavar="TICKER",
        help="A market (at Polymarket its condition id or slug); may be repeated.",
    ),
]
EventOption = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="TICKER", help="All markets of an event (at Polymarket its slug)."),
]
SeriesOption = Annotated[
    list[str] | None,
    typer.Option("--series", metavar="TICKER", help="All open markets of a series (at Polymarket of a tag)."),
]
MaxMarketsOption = Annotated[
    int, typer.Option("--max-markets", metavar="N", help="Only the N with the largest volume of 24 h.")
]


def check_venue(venue: str | None, known: Sequence[str] = VENUES) -> str:
    """The venue; raises `UsageError` for none, or one that can't be reached."""
    words = " or ".join(known)
    if venue is None:
        raise UsageError(f"--venue is missing; give --venue {words}")
    if venue not in known:
        raise UsageError(f"--venue: {venue!r} can't be reached; use {words}")
    return venue


def env_of(venue: str, env: str | None) -> str:
    """The environment: the one that was named, else the venue's own."""
    return DEFAULT_ENVS[venue] if env is None else env


def kalshi_of(venue: str | None, env: str | None, url: str | None, *, key: bool = True) -> KalshiAccess:
    """The way to Kalshi, with the secrets of this process's environment.

    Raises:
        UsageError: another venue than kalshi.
        ConfigError: no such environment, an address that is not of it, or no key that can be used.
    """
    from pr3dict.runtime.kalshi_access import kalshi_access

    return kalshi_access(
        env_of(check_venue(venue, ("kalshi",)), env), url=url, environment=os.environ, key=key
    )


def polymarket_of(env: str | None, url: str | None, *, key: bool = True) -> PolymarketAccess:
    """The way to Polymarket, with the secrets of this process's environment; raises as `kalshi_of`."""
    from pr3dict.runtime.polymarket_access import polymarket_access

    return polymarket_access(env_of("polymarket", env), url=url, environment=os.environ, key=key)


def access_of(
    venue: str | None, env: str | None, url: str | None, *, key: bool = True
) -> KalshiAccess | PolymarketAccess:
    """The way to the venue; raises as `kalshi_of`."""
    if check_venue(venue) == "polymarket":
        return polymarket_of(env, url, key=key)
    return kalshi_of(venue, env, url, key=key)


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
    from pr3dict.runtime.venue_selection import Selection

    for option, names in (("--market", markets), ("--event", events), ("--series", series)):
        if any(not name.strip() for name in names or ()):
            raise UsageError(f"{option}: a name is empty")
    if max_markets < 0:
        raise UsageError(f"--max-markets: {max_markets} is below 0; 0 means all")
    return Selection(tuple(markets or ()), tuple(events or ()), tuple(series or ()), max_markets)
