"""`pr3dict estimate`: revenue computed from stated assumptions, beside what a backtest measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from pr3dict.cli.output import console, decimal_string, money, print_json, table
from pr3dict.domain.errors import DataError, UsageError

NOTE = (
    "These are assumptions, not a forecast: fills, spread and losses are what you stated, and every fill is "
    "taken to earn the whole spread."
)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What an estimate rests on. Dollars; `adverse` and `inventory` are shares of gross revenue."""

    fills_per_scan: Decimal
    scans_per_hour: Decimal
    contract_value: Decimal
    spread: Decimal
    hours: Decimal
    fee_per_fill: Decimal
    adverse: Decimal
    inventory: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """Revenue over the assumed hours, exact. Everything but `fills_per_hour` is dollars or a share."""

    fills_per_hour: Decimal
    gross_per_hour: Decimal
    gross: Decimal
    fees: Decimal
    adverse_selection: Decimal
    inventory: Decimal
    net: Decimal
    breakeven_win_rate: Decimal


def estimate(a: Assumptions) -> Estimate:
    """Spread per fill is contract value x spread; fees are per fill; losses are shares of gross revenue."""
    fills_per_hour = a.fills_per_scan * a.scans_per_hour
    per_fill = a.contract_value * a.spread
    gross = fills_per_hour * a.hours * per_fill
    fees = fills_per_hour * a.hours * a.fee_per_fill
    adverse, inventory = gross * a.adverse, gross * a.inventory
    return Estimate(
        fills_per_hour=fills_per_hour,
        gross_per_hour=fills_per_hour * per_fill,
        gross=gross,
        fees=fees,
        adverse_selection=adverse,
        inventory=inventory,
        net=gross - fees - adverse - inventory,
        breakeven_win_rate=breakeven_win_rate(per_fill, a.contract_value - per_fill),
    )


def breakeven_win_rate(win: Decimal, loss: Decimal) -> Decimal:
    """Share of trades that must win so that winning `win` and losing `loss` cancel: loss / (win + loss)."""
    return loss / (win + loss) if win + loss else Decimal(0)


def expected_value(win_rate: Decimal, win: Decimal, loss: Decimal) -> Decimal:
    """Mean result of a trade that wins `win` with probability `win_rate` and loses `loss` otherwise."""
    return win_rate * win - (1 - win_rate) * loss


def read_measured(file: Path) -> dict[str, Decimal]:
    """The figures of a saved `backtest --json` output that an estimate can be held against.

    Raises:
        DataError: not a JSON object, or without the figures of a backtest.
    """
    try:
        run = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise DataError(f"{error.strerror or error}; check the path of --measured", file=file) from None
    except ValueError:
        raise DataError("not a JSON text; save the output of `backtest --json` there", file=file) from None
    pnl = run.get("pnl") if isinstance(run, dict) else None
    if not isinstance(pnl, dict):
        raise DataError("holds no `pnl`; save the output of `backtest --json` there", file=file)
    wanted: dict[str, Any] = {"fills": run.get("fills"), "contracts": run.get("contracts_filled")}
    wanted |= {"gross": pnl.get("gross_spread"), "fees": pnl.get("fees"), "net": pnl.get("net")}
    wanted |= {"adverse_selection": pnl.get("adverse_selection"), "inventory": pnl.get("inventory")}
    return {key: _measured_number(file, key, value) for key, value in wanted.items()}


def _measured_number(file: Path, key: str, value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        number = Decimal("nan")
    if not number.is_finite() or isinstance(value, bool):
        raise DataError(f"{value} is no number; save `backtest --json` there again", file=file, key=key)
    return number


def estimate_command(
    fills_per_scan: Annotated[
        str | None, typer.Option(help="Fills a scan [default: 40, or quotes x fill rate].")
    ] = None,
    quotes_per_scan: Annotated[
        str | None, typer.Option(help="Quotes standing at a scan; give it with --fill-rate.")
    ] = None,
    fill_rate: Annotated[str | None, typer.Option(help="Share of quotes filled at a scan, 0 to 1.")] = None,
    scans_per_hour: Annotated[str, typer.Option(help="Scans an hour.")] = "120",
    contract_value: Annotated[str, typer.Option(help="Value of a contract in dollars.")] = "0.50",
    spread: Annotated[str, typer.Option(help="Spread earned a fill, as a share of that value.")] = "0.04",
    hours: Annotated[str, typer.Option(help="Hours traded.")] = "8",
    fee_per_fill: Annotated[str, typer.Option(help="Fee of a fill in dollars.")] = "0.01",
    adverse: Annotated[str, typer.Option(help="Share of gross lost to adverse selection.")] = "0.10",
    inventory: Annotated[str, typer.Option(help="Share of gross lost on inventory.")] = "0.05",
    measured: Annotated[
        Path | None, typer.Option(help="Saved output of `backtest --json`: shown beside the estimate.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute revenue from stated assumptions."""
    assumptions = Assumptions(
        fills_per_scan=_fills_per_scan(fills_per_scan, quotes_per_scan, fill_rate),
        scans_per_hour=_figure("--scans-per-hour", scans_per_hour),
        contract_value=_figure("--contract-value", contract_value, most=1),
        spread=_figure("--spread", spread, most=1),
        hours=_figure("--hours", hours),
        fee_per_fill=_figure("--fee-per-fill", fee_per_fill),
        adverse=_figure("--adverse", adverse, most=1),
        inventory=_figure("--inventory", inventory, most=1),
    )
    result = estimate(assumptions)
    found = read_measured(measured) if measured is not None else None
    if as_json:
        print_json(_answer(assumptions, result, found))
    else:
        _show(assumptions, result, found)


def _figure(flag: str, text: str, most: int = 10**9) -> Decimal:
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise UsageError(f"{flag} {text!r} is not a number; write for example 0.5") from None
    if not (value.is_finite() and 0 <= value <= most):
        raise UsageError(f"{flag} {text} is outside 0 to {most}; give a figure inside")
    return value


def _fills_per_scan(fills: str | None, quotes: str | None, rate: str | None) -> Decimal:
    if (quotes is None) != (rate is None):
        raise UsageError("--quotes-per-scan and --fill-rate go together; give both or neither")
    if quotes is None or rate is None:
        return _figure("--fills-per-scan", "40" if fills is None else fills)
    if fills is not None:
        raise UsageError("--fills-per-scan is quotes x fill rate already; give it or those two")
    return _figure("--quotes-per-scan", quotes) * _figure("--fill-rate", rate, most=1)


def _cents(amount: Decimal) -> str:
    """Dollars with at least two places, exact beyond: "768.00", "0.0125"."""
    text = decimal_string(amount)
    whole, _, places = text.partition(".")
    return f"{whole}.{places.ljust(2, '0')}"


def _answer(a: Assumptions, e: Estimate, found: dict[str, Decimal] | None) -> dict[str, object]:
    fills = e.fills_per_hour
    return {
        "fills_per_hour": int(fills) if fills == int(fills) else fills,
        "gross_per_hour": _cents(e.gross_per_hour),
        "gross": _cents(e.gross),
        "fees": _cents(e.fees),
        "adverse_selection": _cents(e.adverse_selection),
        "inventory": _cents(e.inventory),
        "net": _cents(e.net),
        "breakeven_win_rate": round(e.breakeven_win_rate, 6),
        "assumptions": {name: getattr(a, name) for name in Assumptions.__slots__},
        "note": NOTE,
        "measured": found,
    }


def _show(a: Assumptions, e: Estimate, found: dict[str, Decimal] | None) -> None:
    hours = decimal_string(a.hours)
    columns = ["", "assumed", *(["measured", "measured a fill"] if found else [])]
    rows = table(f"Estimate for {hours} h", *columns)

    def add(name: str, assumed: str, key: str = "") -> None:
        cells = [name, assumed]
        if found:
            figure = found.get(key)
            cells.append("" if figure is None else str(figure) if key == "fills" else money(figure))
            per_fill = figure / found["fills"] if figure is not None and found["fills"] else None
            cells.append("" if per_fill is None or key == "fills" else money(per_fill, 4))
        rows.add_row(*cells)

    add("fills an hour", decimal_string(e.fills_per_hour))
    add("fills", decimal_string(e.fills_per_hour * a.hours), "fills")
    add("gross an hour", money(e.gross_per_hour))
    add("gross", money(e.gross), "gross")
    add("fees", money(-e.fees), "fees")
    add("adverse selection", money(-e.adverse_selection), "adverse_selection")
    add("inventory", money(-e.inventory), "inventory")
    add("net", money(e.net), "net")
    console.print(rows)
    console.print(f"\n{NOTE}", style="yellow")
    win = a.contract_value * a.spread
    console.print(
        f"A fill earns {money(win, 4)}; a contract held into a losing resolution costs "
        f"{money(a.contract_value - win, 4)}: {e.breakeven_win_rate:.1%} must win to break even."
    )
