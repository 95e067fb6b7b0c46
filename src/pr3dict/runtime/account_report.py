"""A short account of a data directory, from its journal alone: orders, fills, volume, fees, profit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pr3dict.analytics.programme import Volume
from pr3dict.domain.units import format_contracts, format_dollars
from pr3dict.engine.tracked import NEVER_NS
from pr3dict.runtime.journal_fold import Counts, Folded, fold_journal
from pr3dict.runtime.look_back import look_back
from pr3dict.runtime.status import moment
from pr3dict.store.data_dir import DataDir
from pr3dict.store.journal import Journal


@dataclass(frozen=True, slots=True)
class MarketAccount:
    """One market: orders, what was traded, what is held (micro-contracts, YES less NO)."""

    ticker: str
    counts: Counts
    volume: Volume
    net_contracts: int
    pnl_micros: int  # since the journal began; the position at its last known fair value

    def to_json(self) -> dict[str, Any]:
        """Exact decimal strings."""
        return {
            "ticker": self.ticker,
            "orders": self.counts.placed,
            "accepted": self.counts.accepted,
            "refused": self.counts.refused,
            "cancels": self.counts.cancels,
            **self.volume.to_json(),
            "net_position": format_contracts(self.net_contracts),
            "pnl": format_dollars(self.pnl_micros),
        }


@dataclass(frozen=True, slots=True, eq=False)
class AccountSummary:
    """All processes of a data directory; money in micros."""

    folded: Folded
    from_ns: int
    opening_micros: int
    cash_micros: int
    equity_micros: int
    markets: tuple[MarketAccount, ...]

    @property
    def volume(self) -> Volume:
        """Everything that was traded."""
        total = Volume()
        for trade in self.folded.trades:
            if trade.at_ns >= self.from_ns:
                total = total.plus(trade)
        return total

    @property
    def fees_micros(self) -> int:
        """Fees less rebates of all fills since the journal began."""
        return sum(trade.fee_micros for trade in self.folded.trades)

    def to_json(self) -> dict[str, Any]:
        """One JSON object. `pnl` is since the journal began, whatever `from` says."""
        pnl = self.equity_micros - self.opening_micros
        counts = [market.counts for market in self.markets]
        return {
            "from": moment(max(self.from_ns, self.folded.first_ns)),
            "until": moment(self.folded.last_ns),
            "sessions": [
                {
                    "started": moment(one.started_ns),
                    "last": moment(one.last_ns),
                    "version": one.version,
                    "account": one.account,
                }
                for one in self.folded.sessions
            ],
            "orders": sum(one.placed for one in counts),
            "accepted": sum(one.accepted for one in counts),
            "refused": sum(one.refused for one in counts),
            "cancels": sum(one.cancels for one in counts),
            **self.volume.to_json(),
            "opening_cash": format_dollars(self.opening_micros),
            "cash": format_dollars(self.cash_micros),
            "equity": format_dollars(self.equity_micros),
            "pnl": {
                "total": format_dollars(pnl),
                "trading": format_dollars(pnl + self.fees_micros),
                "fees": format_dollars(-self.fees_micros),
            },
            "markets": [market.to_json() for market in self.markets],
        }


def read_account(
    data_dir: DataDir, *, from_ns: int | None = None, to_ns: int | None = None
) -> AccountSummary:
    """Fold the journal of a data directory; orders and fills are counted from `from_ns` on.

    Raises:
        DataError: no process has started by then.
        LogError: the journal can't be read.
    """
    until_ns = NEVER_NS if to_ns is None else to_ns
    with Journal.read(data_dir.journal) as journal:
        folded = fold_journal(journal, None, until_ns, from_ns=from_ns or 0)
        view = look_back(journal, until_ns).view
    traded: dict[int, Volume] = {}
    for trade in folded.trades:
        if trade.at_ns >= (from_ns or 0):
            traded[trade.market] = traded.get(trade.market, Volume()).plus(trade)
    markets = tuple(
        MarketAccount(
            ticker=market.ticker,
            counts=folded.counts[market.market],
            volume=traded.get(market.market, Volume()),
            net_contracts=market.net_contracts,
            pnl_micros=market.pnl_micros,
        )
        for market in view.markets
    )
    return AccountSummary(
        folded=folded,
        from_ns=from_ns or 0,
        opening_micros=view.start_micros,
        cash_micros=view.cash_micros,
        equity_micros=view.equity_micros,
        markets=markets,
    )
