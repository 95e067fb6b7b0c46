"""The reward periods that Kalshi states now, for the markets of a journal, as the terms of a report."""

from __future__ import annotations

from collections.abc import Collection

from pr3dict.domain.errors import WorkError
from pr3dict.domain.events import Listed
from pr3dict.risk.programme import ProgrammeConfig
from pr3dict.runtime.kalshi_access import KalshiAccess
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal
from pr3dict.venues.kalshi.incentives import find_incentives
from pr3dict.venues.kalshi.rest import KalshiRest
from pr3dict.venues.session import Clock


def journaled_tickers(data_dir: DataDir) -> tuple[str, ...]:
    """Every market that processes of a data directory listed; raises `LogError` for a damaged journal."""
    with Journal.read(data_dir.journal) as journal:
        listed = (event for event in journal.inputs(("listed",)) if isinstance(event, Listed))
        return tuple(dict.fromkeys(event.ticker for event in listed))


async def stated_terms(access: KalshiAccess, tickers: Collection[str], clock: Clock) -> ProgrammeConfig:
    """Ask the venue for the periods that run now.

    Raises:
        WorkError: it gave no usable answer, or no period runs in any of these markets.
    """
    http = access.http(clock)
    try:
        found = await find_incentives(KalshiRest(http), tickers)
    finally:
        await http.close()
    if not found:
        raise WorkError("Kalshi states no running liquidity incentive for the markets of this data directory")
    return ProgrammeConfig(income="incentives", incentives=found)
