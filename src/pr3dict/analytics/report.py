"""A finished replay as figures: one `Figures` a market and one for the account, and their JSON form.

Definitions of every figure are in docs/backtesting.md. Money is integer micros until `to_json`, which writes
money and prices as decimal strings of dollars, counts and ratios as numbers, what has no meaning as null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import msgspec
import numpy as np

from pr3dict.analytics.attribution import Books, books_of
from pr3dict.analytics.markouts import Markout, markouts
from pr3dict.analytics.metrics import Sharpe, max_drawdown, per_hour, share, sharpe
from pr3dict.domain.ledger import Attribution
from pr3dict.domain.units import format_dollars
from pr3dict.kernels import dtypes as d
from pr3dict.kernels.world import World

MICRO = 1_000_000
SUMMED = (
    "events", "decisions", "orders", "cancels", "rejects", "fills", "orders_filled", "contracts_filled",
    "forced_exits", "exit_alerts", "volume_pauses", "quotable_ns", "two_sided_ns", "quoted_spread_sum",
    "rebalancing_ns", "skew_sum", "observed_ns", "traded_contracts", "inferred_contracts",
)  # fmt: skip
COUNTED = ("events", "decisions", "orders", "cancels", "rejects", "fills")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a replay did in one market, or in all of them together."""

    counts: dict[str, float]  # the fields SUMMED of MARKET_STATS
    max_inventory: int  # largest |net| of any one market, micro-contracts
    pnl: Attribution
    markouts: tuple[Markout, ...]

    def count(self, name: str) -> int:
        """A whole figure of `counts`."""
        return int(self.counts[name])

    @property
    def fill_rate(self) -> float | None:
        """Orders with at least one fill over orders placed."""
        return share(self.counts["orders_filled"], self.counts["orders"])

    @property
    def two_sided_uptime(self) -> float | None:
        """Time with a live bid and a live ask of ours over time with a two-sided book in an active market."""
        return share(self.counts["two_sided_ns"], self.counts["quotable_ns"])

    @property
    def rebalancing_share(self) -> float | None:
        """Time with more than `rebalance_threshold` contracts over time observed."""
        return share(self.counts["rebalancing_ns"], self.counts["observed_ns"])

    def to_json(self) -> dict[str, object]:
        """Figures that a market and the account share, in a fixed order."""
        c = self.counts
        spread = share(c["quoted_spread_sum"], c["two_sided_ns"])
        return {
            **{name: self.count(name) for name in COUNTED},
            "contracts_filled": contracts(self.count("contracts_filled")),
            "pnl": pnl_json(self.pnl),
            "fill_rate": self.fill_rate,
            "two_sided_uptime": self.two_sided_uptime,
            "average_spread": None if spread is None else format_dollars(round(spread)),
            "max_inventory": contracts(self.max_inventory),
            "average_inventory": share(c["skew_sum"] / MICRO, c["observed_ns"]),
            "rebalancing_share": self.rebalancing_share,
            "requotes_per_hour": per_hour(self.count("orders"), self.count("quotable_ns")),
            "spread_per_contract": per_contract(
                Fraction(self.pnl.gross_spread * MICRO, self.count("contracts_filled"))
                if self.count("contracts_filled")
                else None
            ),
            "forced_exits": self.count("forced_exits"),
            "exit_alerts": self.count("exit_alerts"),
            "volume_pauses": self.count("volume_pauses"),
            "markouts": {m.horizon: per_contract(m.realised) for m in self.markouts},
            "tape_contracts": contracts(self.count("traded_contracts")),
            "tape_contracts_inferred": contracts(self.count("inferred_contracts")),
        }


@dataclass(frozen=True, slots=True)
class MarketReport:
    """One market's figures, its books and how often each reason stood in a decision."""

    ticker: str
    figures: Figures
    books: Books
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class AccountReport:
    """All markets on one account; `equity_end_micros - equity_start_micros` equals `total.pnl.net`."""

    total: Figures
    markets: tuple[MarketReport, ...]
    equity_start_micros: int
    equity_end_micros: int
    max_drawdown_micros: int
    sharpe: Sharpe
    daily_loss_hits: int
    max_heat_micros: int


def per_contract(micros: Fraction | None) -> str | None:
    """Micros a contract as dollars, rounded to a micro half to even; None stays None."""
    return None if micros is None else format_dollars(round(micros))


def contracts(micro_contracts: int) -> int | float:
    """Contracts as a JSON number: whole where it is whole, else exact to the sixth place."""
    whole, rest = divmod(micro_contracts, MICRO)
    return whole if rest == 0 else micro_contracts / MICRO


def pnl_json(pnl: Attribution) -> dict[str, str]:
    """The ladder of profit by cause; what was paid is negative and the parts add up to `net`."""
    parts = (
        "gross_spread", "inventory", "adverse_selection", "fees", "rebates", "rewards", "resolution",
    )  # fmt: skip
    ladder = {"net": format_dollars(pnl.net_micros)}
    return ladder | {part: format_dollars(getattr(pnl, part)) for part in parts}


def _figures(fills: d.Array, stats: d.Array, pnl: Attribution) -> Figures:
    """Figures of the markets whose FILL and MARKET_STATS rows these are."""
    rows = np.atleast_1d(stats)
    return Figures(
        counts={name: rows[name].sum().item() for name in SUMMED},
        max_inventory=int(rows["max_inventory"].max(initial=0)),
        pnl=pnl,
        markouts=markouts(fills),
    )


def _by_market(fills: d.Array, markets: int) -> list[d.Array]:
    """The FILL rows of each market, in order of time."""
    order = np.argsort(fills["market"], kind="stable")
    ends = np.searchsorted(fills["market"][order], np.arange(1, markets))
    return np.split(fills[order], ends)


def _reasons(stats: d.Array) -> dict[str, int]:
    counts = zip(d.REASON_NAMES, stats["reason_counts"].tolist(), strict=True)
    return {name: count for name, count in counts if count}


def _rewarded(book: Books, rewards: int) -> Books:
    return replace(book, attribution=msgspec.structs.replace(book.attribution, rewards=rewards))


def account_report(
    world: World,
    tickers: Sequence[str],
    *,
    start_micros: int,
    curve_interval_ns: int,
    rewards_micros: Mapping[str, int] | None = None,
) -> AccountReport:
    """Everything that a finished replay says; `tickers` name its markets and must differ.

    `rewards_micros` is what liquidity rewards are expected to pay, by ticker: a cause of its own, on top of
    what the replay's cash and curve hold.

    Raises:
        WorkError: the exchange's books and the fold over its fills differ.
    """
    books, equity_end = books_of(world, tickers, start_micros)
    if rewards_micros:
        books = tuple(
            _rewarded(book, rewards_micros.get(ticker, 0))
            for ticker, book in zip(tickers, books, strict=True)
        )
        equity_end += sum(book.attribution.rewards for book in books)
    fills = world.fills[: int(world.clock[0].fill_count)]
    markets = tuple(
        MarketReport(
            ticker=ticker,
            figures=_figures(mine, world.stats[m : m + 1], book.attribution),
            books=book,
            reasons=_reasons(world.stats[m]),
        )
        for m, (ticker, book, mine) in enumerate(
            zip(tickers, books, _by_market(fills, len(tickers)), strict=True)
        )
    )
    curve = world.curve[: int(world.clock[0].curve_count)]
    equity = np.concatenate(([start_micros], curve["equity_micros"], [equity_end])).astype(np.int64)
    return AccountReport(
        total=_figures(fills, world.stats, sum((book.attribution for book in books), Attribution())),
        markets=markets,
        equity_start_micros=start_micros,
        equity_end_micros=equity_end,
        max_drawdown_micros=max_drawdown(equity),
        sharpe=sharpe(curve["exch_ns"], curve["equity_micros"], curve_interval_ns),
        daily_loss_hits=int(world.account[0].kills),
        max_heat_micros=int(world.account[0].max_heat_micros),
    )
