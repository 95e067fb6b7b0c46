"""A backtest's result as a person reads it: assumptions first, then money by cause, then the details."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pr3dict.analytics.incentives import PeriodScore
from pr3dict.analytics.rewards import RewardScore, paid_micros
from pr3dict.cli.output import console, dollars, money, table
from pr3dict.domain.ledger import Attribution
from pr3dict.domain.units import format_contracts
from pr3dict.runtime.backtest import BacktestResult

CAUSES = {
    "gross_spread": "spread captured (against the mid)",
    "adverse_selection": "adverse selection (mid's move in the first minute)",
    "inventory": "inventory (mid's move after that)",
    "resolution": "resolution (payout against the last mid)",
    "fees": "fees",
    "rebates": "rebates",
    "rewards": "rewards",
}
MICRO = 1_000_000


def percent(share: float | None) -> str:
    """0.9876 as "98.8%", None as a dash."""
    return "-" if share is None else f"{100 * share:.1f}%"


def cents(micros: Fraction | None) -> str:
    """Micros a contract as signed cents with two places."""
    return "-" if micros is None else f"{float(micros) / 10_000:+.2f}c"


def ladder(pnl: Attribution) -> Table:
    """Profit by cause, its parts above their sum."""
    view = table("Profit and loss", "cause", "dollars")
    for part, words in CAUSES.items():
        view.add_row(words, money(getattr(pnl, part), 4, sign=True))
    view.add_row("[bold]net[/bold]", f"[bold]{money(pnl.net_micros, 4, sign=True)}[/bold]")
    return view


def bracket(result: BacktestResult) -> Table:
    """Net and fills under the chosen queue model and under both ends."""
    view = table("Where we stand in the queue", "model", "net", "fills")
    low, high = result.pessimistic, result.optimistic
    view.add_row(f"pessimistic ({low.queue})", money(low.net_micros, sign=True), f"{low.fills:,}")
    if result.spec.queue not in (low.queue, high.queue):
        total = result.report.total
        view.add_row(
            f"chosen ({result.spec.queue})",
            money(total.pnl.net_micros, sign=True),
            f"{total.count('fills'):,}",
        )
    view.add_row(f"optimistic ({high.queue})", money(high.net_micros, sign=True), f"{high.fills:,}")
    return view


def activity(result: BacktestResult) -> Table:
    """Quoting and risk figures of the account."""
    report = result.report
    figures = report.total.to_json()
    c = report.total.count
    spread = figures["average_spread"]
    rows = {
        "equity": f"{money(report.equity_start_micros)} to {money(report.equity_end_micros)}",
        "maximum drawdown": money(report.max_drawdown_micros),
        "Sharpe ratio": "-" if report.sharpe.ratio is None else f"{report.sharpe.ratio:.2f}",
        "decisions, orders, cancels": f"{c('decisions'):,}, {c('orders'):,}, {c('cancels'):,}",
        "fills": f"{c('fills'):,} ({format_contracts(c('contracts_filled'))} contracts)",
        "orders with a fill": percent(report.total.fill_rate),
        "two-sided uptime": percent(report.total.two_sided_uptime),
        "average spread quoted": "-" if spread is None else f"${spread}",
        "largest inventory of a market": f"{format_contracts(report.total.max_inventory)} contracts",
        "time rebalancing": percent(report.total.rebalancing_share),
        "forced exits": f"{c('forced_exits'):,} ({c('exit_alerts'):,} not absorbed)",
        "daily loss limit hit": f"{report.daily_loss_hits:,} times",
    }
    view = table("Account", "", "")
    for words, figure in rows.items():
        view.add_row(words, figure)
    return view


def markout_table(result: BacktestResult) -> Table:
    """What fills were worth at each horizon, cents a contract."""
    view = table("Markouts, a contract", "after", "captured", "impact", "markout", "contracts")
    for found in result.report.total.markouts:
        against = None if found.impact is None else -found.impact
        view.add_row(
            found.horizon,
            cents(found.captured),
            cents(against),
            cents(found.realised),
            format_contracts(found.contracts),
        )
    return view


def market_table(result: BacktestResult) -> Table:
    """One row a market, narrow enough for a terminal of 80 columns; `--json` holds every figure."""
    columns = ("market", "outcome", "fills", "contracts", "captured", "adverse", "net")
    view = table("Markets", *columns, left=2)
    for meta, name, market in zip(result.tapes.metas, result.tapes.names, result.report.markets, strict=True):
        figures, pnl = market.figures, market.figures.pnl
        view.add_row(
            escape(name),
            meta.outcome or "-",
            f"{figures.count('fills'):,}",
            f"{figures.count('contracts_filled') / MICRO:,.0f}",
            money(pnl.gross_spread, sign=True),
            money(pnl.adverse_selection, sign=True),
            money(pnl.net_micros, sign=True),
        )
    return view


def incentive_table(scores: Iterable[PeriodScore]) -> Table:
    """What own orders scored, and what that would pay; it is not in the profit above."""
    heads = ("snapshots", "void", "unseen", "scored", "share", "pool", "reward")
    view = table("Liquidity incentives, own orders (beside the profit)", "market", *heads)
    for score in scores:
        counts = (f"{one:,}" for one in (score.valid, score.void, score.unseen, score.quoted))
        pool, paid = money(score.terms.reward), money(dollars(score.reward_micros))
        view.add_row(escape(score.terms.ticker), *counts, f"{float(score.share):.4%}", pool, paid)
    return view


def reward_table(scores: Sequence[RewardScore]) -> Table:
    """What own orders scored for liquidity rewards; what is paid is in the profit."""
    heads = ("samples", "unseen", "in band", "scored", "share", "pool a day", "earned", "paid")
    view = table("Liquidity rewards, own orders", "market", *heads)
    paid = paid_micros(scores)
    for score in scores:
        counts = (f"{one:,}" for one in (len(score.samples), score.unseen, score.in_band, score.scored))
        pool = "-" if score.terms is None else money(dollars(score.terms.day_micros))
        share = "-" if score.share is None else f"{score.share:.4%}"
        earned = money(dollars(score.earned_micros))
        view.add_row(escape(score.ticker), *counts, share, pool, earned, money(dollars(paid[score.ticker])))
    return view


def bullets(sentences: Iterable[str]) -> Table:
    """Sentences below each other, wrapped with a hanging indent."""
    view = Table.grid(padding=(0, 1))
    for sentence in sentences:
        view.add_row(" -", escape(sentence))
    return view


def show(result: BacktestResult, title: str, to: Console = console) -> None:
    """Print a result."""
    spec = result.spec
    to.print(
        f"[bold]{escape(title)}[/bold]: {len(result.tapes.metas)} markets, "
        f"{len(result.tapes.events):,} events, preset {escape(spec.preset)}, policy {escape(spec.policy)}"
    )
    to.print(bullets(result.assumptions), style="dim")
    views = [ladder(result.report.total.pnl), bracket(result), activity(result), markout_table(result)]
    if result.incentives:
        views.append(incentive_table(result.incentives))
    if result.rewards:
        views.append(reward_table(result.rewards))
    for view in [*views, market_table(result)]:
        to.print()
        to.print(view)
    for name, why in zip(result.tapes.names, result.not_quoted, strict=True):
        if why:
            to.print(f"\n{escape(name)} was not quoted:")
            to.print(bullets(why))
    to.print(f"\nSharpe ratio: {escape(result.report.sharpe.basis)}.", style="dim")
    to.print(
        f"{len(result.tapes.events):,} events replayed in {result.elapsed_s:.2f} s "
        f"({result.events_per_s:,.0f} a second).",
        style="dim",
    )
