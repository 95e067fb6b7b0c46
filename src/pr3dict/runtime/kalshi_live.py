"""Kalshi's part of a live process: its markets, its adapter, and the order groups that earlier runs left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pr3dict.domain.errors import UsageError
from pr3dict.domain.events import Listed
from pr3dict.domain.market import Venue
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.inbox import LiveSource
from pr3dict.runtime.kalshi_access import Found, KalshiAccess, Selection
from pr3dict.runtime.kalshi_lives import as_journaled, left_open
from pr3dict.runtime.kalshi_rolling import KalshiMarkets, KalshiRolling
from pr3dict.runtime.live_venue import ORDER_LIFE_S, Around, Log, Runs, chosen
from pr3dict.runtime.order_groups import GroupFile, KnownGroup
from pr3dict.runtime.rolling import RollingTerms, first_markets
from pr3dict.runtime.venue_selection import reasons, renumber
from pr3dict.venues.kalshi.adapter import AdapterTerms, KalshiWire, group_limit
from pr3dict.venues.kalshi.markets import Life
from pr3dict.venues.kalshi.rest import START_TRIES, KalshiRest
from pr3dict.venues.kalshi.settings import TABLE, KalshiConfig

CASH_TOLERANCE: Final = "0.01"  # what a scalar payout has below a cent is kept


@dataclass(frozen=True, slots=True, eq=False)
class KalshiLive:
    """What is traded at Kalshi, with which account."""

    access: KalshiAccess
    kalshi: KalshiConfig
    selection: Selection

    @property
    def name(self) -> Venue:
        """Kalshi."""
        return "kalshi"

    @property
    def account(self) -> str:
        """Environment and key."""
        return self.access.account

    @property
    def order_life_s(self) -> int:
        """As everywhere."""
        return ORDER_LIFE_S

    def limits(self, risk: RiskConfig) -> RiskConfig:
        """With the cent below which cash may differ from the sum of what Kalshi pays."""
        return risk if risk.cash_tolerance_micros else risk.with_changes(cash_tolerance=CASH_TOLERANCE)

    def start(self, around: Around) -> KalshiStart:
        """The beginning of a process."""
        return KalshiStart(self, around)


class KalshiStart:
    """Kalshi while a process starts (see `VenueStart`)."""

    def __init__(self, spec: KalshiLive, around: Around) -> None:
        self.name: Venue = "kalshi"
        self._spec = spec
        self._around = around
        self._http = spec.access.http(around.clock, answer_s=around.answer_s)
        self._rest = KalshiRest(self._http, subaccount=spec.kalshi.subaccount, tries=START_TRIES)
        kalshi = spec.kalshi
        self._rolling = RollingTerms(spec.selection, kalshi.listing_poll_ns, kalshi.direct_member)
        self._groups = Groups(GroupFile(around.data_dir.path), kalshi.subaccount)
        self._found: Found
        self._held: Mapping[str, int] = {}
        self._chosen: tuple[Life, ...] = ()
        self._lives: tuple[Life, ...] = ()
        self._runs: Runs = ()
        self._wire: KalshiWire

    async def look(self) -> int:
        """Read what Kalshi lists and what the account has; returns its cash in micros."""
        around, markets = self._around, KalshiMarkets(self._rest, self._rolling)
        self._found, self._held = await first_markets(markets, around.seconds, around.clock, around.log)
        return int((await self._rest.balance()).balance_dollars)

    def choose(self, engine: Engine) -> tuple[Listed, ...]:
        """The markets to trade."""
        log = self._around.log
        self._chosen = chosen(engine, self._found, self._held, self._spec.selection, log)
        return tuple(life.listing for life in self._chosen)

    async def plan(self, engine: Engine, rows: tuple[int, ...], runs: Runs) -> None:
        """Lives of the chosen markets, and of those in which something of ours stands."""
        self._runs = runs
        names = {life.listing.ticker for life in self._chosen}
        self._lives = (
            *as_journaled(engine, renumber(self._chosen, rows), self._found),
            *await left_open(engine, names, self._rest, self._around.log),
        )
        if not self._lives:
            raise UsageError(f"no market can be followed: {reasons(self._found)}")
        left_out = len(self._found.left_out)
        self._around.log.info(
            "markets", venue="kalshi", followed=len(self._lives), chosen=len(names), left_out=left_out
        )

    def tables(self) -> Mapping[str, Any]:
        """The `[kalshi]` settings."""
        return {TABLE: self._spec.kalshi.model_dump(mode="json")}

    def wire(self, source: LiveSource, known: Sequence[Listed]) -> KalshiWire:
        """The adapter, not connected yet."""
        clock, terms = self._around.clock, _terms(self._spec.kalshi, self._runs)
        wire = KalshiWire(self._http, None, source, clock, self._lives, terms, self._groups.keep)
        wire.lives.know({listed.ticker: listed.market for listed in known if listed.venue == "kalshi"})
        wire.streams = self._spec.access.streams(clock, source, wire.lives.rows, wire.hear, private=True)
        self._wire = wire
        return wire

    async def connect(self) -> None:
        """Arm the order groups, begin to follow, and delete the groups of earlier runs."""
        await self._wire.start()
        await self._groups.delete_old(self._wire, self._around.log)

    def rolling(self, engine: Engine, source: LiveSource, known: list[Listed]) -> KalshiRolling:
        """What keeps the markets up to date."""
        around = self._around
        return KalshiRolling(self._wire, engine, source, self._rolling, around.clock, around.log, known)

    async def close(self) -> None:
        """Give back the sockets."""
        await self._http.close()


def _terms(kalshi: KalshiConfig, runs: Runs) -> AdapterTerms:
    *earlier, (prefix, first_order) = runs
    return AdapterTerms(
        prefix=prefix,
        first_order=first_order,
        earlier=tuple(earlier),
        group_limit=group_limit(kalshi.sweep_loss_micros) if kalshi.sweep_loss_micros else 0,
        place_wait_ns=kalshi.place_wait_ns,
        batch_from=kalshi.batch_from,
        queue_poll_ns=kalshi.queue_poll_ns,
        subaccount=kalshi.subaccount,
    )


class Groups:
    """Our order groups on disk: those of this run, and those that earlier ones left behind."""

    def __init__(self, file: GroupFile, subaccount: int) -> None:
        self._file = file
        self._subaccount = subaccount
        self._old = list(file.read())
        self._new: tuple[KnownGroup, ...] = ()

    def keep(self, groups: Mapping[str, int]) -> None:
        """This run has these (id to shard) from now on."""
        self._new = tuple(KnownGroup(name, shard, self._subaccount) for name, shard in groups.items())
        self._file.write((*self._old, *self._new))

    async def delete_old(self, wire: KalshiWire, log: Log) -> None:
        """Delete what earlier runs left, orders included; what can't be deleted stays for the next run."""
        mine = [group for group in self._old if group.subaccount == self._subaccount]
        gone = await asyncio.gather(*(wire.delete_group(group.id, group.shard) for group in mine))
        for group, is_gone in zip(mine, gone, strict=True):
            if is_gone:
                self._old.remove(group)
            else:
                log.warning("order group of an earlier run not deleted", group=group.id)
        self._file.write((*self._old, *self._new))
