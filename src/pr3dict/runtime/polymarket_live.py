"""Polymarket's part of a live process: its markets, its adapter, and what earlier runs left in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pr3dict.domain.errors import ConfigError, UsageError
from pr3dict.domain.events import Filled, Listed
from pr3dict.domain.market import Venue
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.engine.engine import Engine
from pr3dict.risk.limits import RiskConfig
from pr3dict.runtime.inbox import LiveSource
from pr3dict.runtime.live_venue import Around, Runs, chosen
from pr3dict.runtime.polymarket_access import PolymarketAccess
from pr3dict.runtime.polymarket_lives import PolymarketMarkets, as_journaled, earlier_orders, left_open
from pr3dict.runtime.polymarket_markets import Found
from pr3dict.runtime.rolling import Rolling, RollingTerms, first_markets
from pr3dict.runtime.venue_selection import Selection, patiently, reasons, renumber
from pr3dict.venues.polymarket.adapter import AdapterTerms, PolymarketWire
from pr3dict.venues.polymarket.http import PolymarketHttp
from pr3dict.venues.polymarket.inventory import MergeTerms, OperationPort
from pr3dict.venues.polymarket.markets import Life
from pr3dict.venues.polymarket.own_orders import Known
from pr3dict.venues.polymarket.rest import PolymarketRest
from pr3dict.venues.polymarket.settings import TABLE, PolymarketConfig

# Polymarket knows no shorter life of an order than two minutes; a minute more leaves room for a late arrival.
ORDER_LIFE_S: Final = 180


@dataclass(frozen=True, slots=True, eq=False)
class PolymarketLive:
    """What is traded at Polymarket, with which wallet."""

    access: PolymarketAccess
    polymarket: PolymarketConfig
    selection: Selection

    @property
    def name(self) -> Venue:
        """Polymarket."""
        return "polymarket"

    @property
    def account(self) -> str:
        """Environment and wallet."""
        return self.access.account

    @property
    def order_life_s(self) -> int:
        """The shortest that there is."""
        return ORDER_LIFE_S

    def limits(self, risk: RiskConfig) -> RiskConfig:
        """The same, if its orders live as long as the venue wants them to; raises `ConfigError` if not."""
        if risk.order_life_ns < ORDER_LIFE_S * NS_PER_SECOND:
            what = (
                f"{risk.order_life_seconds:g} s is shorter than an order at Polymarket can live; give "
                f"{ORDER_LIFE_S} or more (when this process dies, its heartbeats end all orders sooner)"
            )
            raise ConfigError(what, key="risk.order_life_seconds")
        return risk

    def start(self, around: Around) -> PolymarketStart:
        """The beginning of a process."""
        return PolymarketStart(self, around)


class PolymarketStart:
    """Polymarket while a process starts (see `VenueStart`)."""

    def __init__(self, spec: PolymarketLive, around: Around) -> None:
        self.name: Venue = "polymarket"
        self._spec = spec
        self._around = around
        self._access = spec.access
        self._terms = RollingTerms(spec.selection, spec.polymarket.listing_poll_ns)
        self._http: PolymarketHttp | None = None
        self._rest: PolymarketRest
        self._found: Found
        self._held: Mapping[str, int] = {}
        self._chosen: tuple[Life, ...] = ()
        self._lives: tuple[Life, ...] = ()
        self._runs: Runs = ()
        self._earlier: tuple[Known, ...] = ()
        self._unsettled: tuple[Filled, ...] = ()
        self._wire: PolymarketWire

    async def look(self) -> int:
        """Read what Polymarket lists and what the wallet has; returns its cash in micros."""
        around = self._around
        self._access = await self._spec.access.with_api_key(around.clock)
        self._http = self._access.http(around.clock, answer_s=around.answer_s)
        self._rest = PolymarketRest(self._http)
        markets = PolymarketMarkets(self._rest, self._terms)
        self._found, self._held = await first_markets(markets, around.seconds, around.clock, around.log)
        return int((await patiently(self._rest.balance, around.clock)).balance)

    def choose(self, engine: Engine) -> tuple[Listed, ...]:
        """The markets to trade."""
        log = self._around.log
        self._chosen = chosen(engine, self._found, self._held, self._spec.selection, log)
        return tuple(life.listing for life in self._chosen)

    async def plan(self, engine: Engine, rows: tuple[int, ...], runs: Runs) -> None:
        """Lives of the chosen markets, and of those in which something of ours stands."""
        self._runs, self._earlier = runs, earlier_orders(engine)
        self._unsettled = tuple(
            fill
            for listing in engine.listings
            if listing.venue == self.name
            for fill in engine.account.ledgers[listing.market].provisional.values()
        )
        names = {life.listing.ticker for life in self._chosen}
        self._lives = (
            *as_journaled(engine, renumber(self._chosen, rows)),
            *await left_open(engine, names, self._rest, self._around.log),
        )
        if not self._lives:
            raise UsageError(f"no market can be followed: {reasons(self._found)}")
        left_out = len(self._found.left_out)
        self._around.log.info(
            "markets", venue=self.name, followed=len(self._lives), chosen=len(names), left_out=left_out
        )

    def tables(self) -> Mapping[str, Any]:
        """The `[polymarket]` settings."""
        return {TABLE: self._spec.polymarket.model_dump(mode="json")}

    def wire(self, source: LiveSource, known: Sequence[Listed]) -> PolymarketWire:  # noqa: ARG002 - a `VenueStart`
        """The adapter, not connected yet."""
        assert self._http is not None, "look comes first"
        clock, polymarket = self._around.clock, self._spec.polymarket
        *earlier_runs, (prefix, first_order) = self._runs
        terms = AdapterTerms(
            prefix=prefix,
            first_order=first_order,
            runs=tuple(earlier_runs),
            earlier=self._earlier,
            unsettled=self._unsettled,
            place_wait_ns=polymarket.place_wait_ns,
            batch_from=polymarket.batch_from,
            in_play=polymarket.in_play,
            merges=MergeTerms(threshold=polymarket.merge_pairs) if polymarket.merge_pairs else None,
        )
        wire = PolymarketWire(self._http, None, source, clock, self._lives, terms, self._port())
        specs = [life.spec for life in wire.lives.all()]
        wire.streams = self._access.streams(clock, source, specs, wire.hear, private=True)
        self._wire = wire
        return wire

    def _port(self) -> OperationPort | None:
        """Who carries operations on tokens out; without one pairs stay pairs, which is said."""
        if not self._spec.polymarket.merge_pairs:
            return None
        try:
            return self._access.operations(self._around.clock)
        except ConfigError as error:
            self._around.log.warning("pairs are not merged, nor payouts redeemed", why=str(error))
            return None

    async def connect(self) -> None:
        """Begin to beat and to follow."""
        await self._wire.start()

    def rolling(self, engine: Engine, source: LiveSource, known: list[Listed]) -> Rolling[Life]:
        """What keeps the markets up to date."""
        around, markets = self._around, PolymarketMarkets(self._rest, self._terms)
        return Rolling(self._wire, markets, engine, source, around.clock, around.log, known)

    async def close(self) -> None:
        """Give back the sockets."""
        if self._http is not None:
            await self._http.close()
