"""Figures of a market-maker programme: an hour's budget of absence, when it runs out, a month's terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pr3dict.analytics.uptime import HourUptime
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND, format_contracts, format_dollars
from pr3dict.risk.programme import ProgrammeConfig


@dataclass(frozen=True, slots=True)
class Forecast:
    """When an hour that is not over will be lost, ns UTC; -1: it will not.

    `if_absent_ns`: if the quotes stayed away from now on; `at_this_rate_ns`: if absence went on at the hour's
    share so far.
    """

    now_ns: int
    left_ns: int
    if_absent_ns: int
    at_this_rate_ns: int


def forecast(hour: HourUptime) -> Forecast:
    """The breach forecast of an hour of which only a part is known.

    With x of the time elapsed absent and L left, the budget lasts L / x more at the same rate.
    """
    end_ns = hour.hour_ns + NS_PER_HOUR
    now_ns = end_ns - hour.ahead_ns
    left_ns = hour.left_ns
    if left_ns < 0:
        return Forecast(now_ns, left_ns, now_ns, now_ns)
    away_ns = now_ns + left_ns + 1
    elapsed_ns = hour.quoted_ns + hour.absent_ns
    rate_ns = -1
    if hour.absent_ns:
        rate_ns = now_ns + left_ns * elapsed_ns // hour.absent_ns + 1
    return Forecast(
        now_ns, left_ns, away_ns if away_ns < end_ns else -1, rate_ns if 0 <= rate_ns < end_ns else -1
    )


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill of ours: when the venue says it was, in which product and market, and what it moved."""

    at_ns: int
    product: str
    market: int
    size: int  # micro-contracts
    cash_micros: int  # price times size in YES terms
    fee_micros: int  # less rebates
    maker: bool


@dataclass(frozen=True, slots=True)
class Volume:
    """What was traded in a span."""

    fills: int = 0
    contracts: int = 0
    maker_contracts: int = 0
    cash_micros: int = 0
    fee_micros: int = 0

    def plus(self, trade: Trade) -> Volume:
        """One trade more."""
        return Volume(
            self.fills + 1,
            self.contracts + trade.size,
            self.maker_contracts + (trade.size if trade.maker else 0),
            self.cash_micros + trade.cash_micros,
            self.fee_micros + trade.fee_micros,
        )

    def to_json(self) -> dict[str, object]:
        """Exact decimal strings."""
        return {
            "fills": self.fills,
            "contracts": format_contracts(self.contracts),
            "maker_contracts": format_contracts(self.maker_contracts),
            "volume": format_dollars(self.cash_micros),
            "fees": format_dollars(self.fee_micros),
        }


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month (UTC) against the programme's monthly terms."""

    name: str
    volume: Volume
    markets: int  # quoted two-sided at any time in it
    hours: int  # with a duty, that are over
    kept: int  # of these
    enough_volume: bool
    enough_markets: bool

    def to_json(self) -> dict[str, object]:
        """The month as JSON."""
        return {
            "month": self.name,
            "volume": self.volume.to_json(),
            "markets": self.markets,
            "hours": self.hours,
            "hours_kept": self.kept,
            "enough_volume": self.enough_volume,
            "enough_markets": self.enough_markets,
        }


def month_of(now_ns: int) -> str:
    """The calendar month of a time, such as `2026-05`."""
    return datetime.fromtimestamp(now_ns // NS_PER_SECOND, UTC).strftime("%Y-%m")


def volumes(config: ProgrammeConfig, trades: Iterable[Trade]) -> dict[tuple[str, int], Volume]:
    """What was traded by product and start of the programme's clock hour."""
    found: dict[tuple[str, int], Volume] = {}
    for trade in trades:
        key = (trade.product, config.hour_start_ns(trade.at_ns))
        found[key] = found.get(key, Volume()).plus(trade)
    return found


def months(
    config: ProgrammeConfig,
    hours: Iterable[HourUptime],
    trades: Iterable[Trade],
    markets: Mapping[str, int],
) -> list[Month]:
    """Each month with an hour or a trade; `markets` are the markets quoted in each."""
    kept: dict[str, list[bool]] = {}
    traded: dict[str, Volume] = {}
    for hour in hours:
        known = kept.setdefault(month_of(hour.hour_ns), [])
        if hour.is_over and hour.is_due:
            known.append(not hour.is_breached)
    for trade in trades:
        name = month_of(trade.at_ns)
        traded[name] = traded.get(name, Volume()).plus(trade)
    return [
        Month(
            name=name,
            volume=traded.get(name, Volume()),
            markets=markets.get(name, 0),
            hours=len(kept.get(name, [])),
            kept=sum(kept.get(name, [])),
            enough_volume=traded.get(name, Volume()).contracts >= config.integer("min_monthly_volume"),
            enough_markets=markets.get(name, 0) >= config.min_monthly_markets,
        )
        for name in sorted(kept.keys() | traded.keys())
    ]
