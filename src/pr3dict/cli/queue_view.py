"""The report on queue models as a table a class of markets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from pr3dict.cli.output import console, table

if TYPE_CHECKING:
    from pr3dict.runtime.queue_report import ClassResult, QueueReport, Row

CONTRACT = 1_000_000
LEFT_OUT = {
    "behind_own": "another order of ours stood ahead",
    "earlier_run": "an earlier process placed the order",
    "gap": "the book was unknown for a while since the order joined",
    "join_not_seen": "the order's joining is not in the recording",
    "no_tape": "the recording does not cover it",
    "not_accepted": "the venue's answer to the order was lost",
}


def show_queue(report: QueueReport) -> None:
    """Print every class with its models, what was left out and why, and which setting fits."""
    if not report.reads:
        console.print(
            "No venue has told any queue position here: paper trading and Kalshi do while orders rest."
        )
        return
    for found in report.classes:
        console.print(_table(found))
        console.print(f"{_name(found)}: {escape(found.hint)}", style="bold")
        console.print()
    compared = sum(each.observations for each in report.classes)
    console.print(
        f"{compared:,} figures of {report.reads:,} reads were compared. An error is what the model had ahead "
        "less what the venue said: above 0 fills come sooner than in a backtest.",
        style="dim",
    )
    for why, count in report.left_out.items():
        console.print(f"{count:,} figures left out: {LEFT_OUT[why]}", style="dim")


def _name(found: ClassResult) -> str:
    return escape(f"{found.where.venue} {found.where.series}, {found.where.band} prices")


def _table(found: ClassResult) -> object:
    title = f"{_name(found)}: {found.orders:,} orders, {found.observations:,} figures"
    view = table(title, "queue model", "mean error", "mean absolute error", "of the initial queue")
    for row in found.rows:
        style = "bold" if row is found.best else None
        share = "-" if row.relative_ppm is None else f"{row.relative_ppm / 10_000:.1f}%"
        mean, absolute = row.mean_error / CONTRACT, row.mean_absolute_error / CONTRACT
        view.add_row(_model(row), f"{mean:+,.2f}", f"{absolute:,.2f}", share, style=style)
    return view


def _model(row: Row) -> str:
    power = row.model.power
    return row.model.queue if power is None else f"{row.model.queue} {power:g}"
