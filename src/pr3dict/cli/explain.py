"""`pr3dict explain`: every term of a market's quote, as it stands or as it stood at any past moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from pr3dict.cli.output import console, print_json, table
from pr3dict.cli.process import DataDirOption, JsonOption, find_market
from pr3dict.cli.screen import clock, contracts, price, span
from pr3dict.domain.errors import DataError, UsageError

if TYPE_CHECKING:
    from pr3dict.runtime.look_back import Moment
    from pr3dict.strategies.decision import Decision

NS: Final = 1_000_000_000
_TIME_OF_DAY: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,9})?)?")
_ADVICE: Final = "write 2026-09-01T12:30:00, 12:30:00 of the journal's last day, or ns since 1970, all UTC"


def explain_command(
    market: Annotated[
        str, typer.Argument(metavar="MARKET", help="Ticker of the market, or a part that only it has.")
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Moment in UTC: date and time, time of day, or ns."),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every term of a market's quote, the orders that stood and what held it back.

    Reads the journal, so it works for a running process, for one that has ended, and for any past moment.
    """
    from pr3dict.runtime.look_back import END_NS, look_back
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.journal import Journal

    place = DataDir.of(data_dir).existing()
    with Journal.read(place.journal) as journal:
        until_ns = END_NS if at is None else parse_moment(at, journal.last_ns)
        moment = look_back(journal, until_ns)
    answer, decision = explanation(moment, market)
    if as_json:
        print_json(answer)
    else:
        show(answer, decision)


def parse_moment(text: str, last_ns: int, option: str = "--at") -> int:
    """A moment as ns UTC; a time of day is of the day of `last_ns`.

    Raises:
        UsageError: it is no moment.
    """
    if text.isdigit() and len(text) >= 16:
        return int(text)
    of_day = _TIME_OF_DAY.fullmatch(text)
    try:
        if of_day is not None:
            hour, minute, second, fraction = of_day.groups()
            day = datetime.fromtimestamp(last_ns // NS, UTC)
            whole = day.replace(hour=int(hour), minute=int(minute), second=int(second or 0))
            return int(whole.timestamp()) * NS + round(float(fraction or 0) * NS)
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!r} is no moment ({error}); {_ADVICE}") from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return (found - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def explanation(moment: Moment, wanted: str) -> tuple[dict[str, Any], Decision]:
    """The decision with its terms, the market around it and what was in force; as JSON and by itself.

    Raises:
        UsageError: no market, or several, are meant.
        DataError: the market had not been decided by then.
    """
    from pr3dict.runtime.status import moment as iso
    from pr3dict.strategies.decision import as_dict, decision_of

    status = moment.status()
    market = find_market(status, wanted)
    quote = moment.quotes.get(market["market"])
    if quote is None:
        raise DataError(f"{market['ticker']} had not been decided by {iso(moment.at_ns)}")
    decision = decision_of(quote[0], moment.settings.market_making.to_params()[0])
    row = quote[0]
    left_ns = int(row["resolution_left_ns"])
    answer = {
        "at": iso(moment.at_ns),
        "ticker": market["ticker"],
        "title": market["title"],
        "status": market["status"],
        "decided": iso(int(row["now_ns"])),
        "age_s": round((moment.at_ns - int(row["now_ns"])) / NS, 3),
        "inputs": {
            "uncertainty": market["uncertainty"],
            "net_from_target": contracts_json(int(row["net_contracts"])),
            "liquidity": dollars_json(int(row["liquidity_micros"])),
            "volatility_per_root_hour": dollars_json(int(row["volatility_micros"])),
            "existing_spread": dollars_json(int(row["existing_spread_micros"])),
            "hours_to_resolution": None if left_ns < 0 else round(left_ns / (3600 * NS), 4),
        },
        "decision": as_dict(decision),
        "orders": [order for order in status["orders"] if order["ticker"] == market["ticker"]],
        "net_position": market["net_position"],
        "holds": market["holds"],
        "breakers": [b for b in status["breakers"] if b["ticker"] in (None, market["ticker"])],
        "latch": status["latch"],
        "version": status["version"],
    }
    return answer, decision


def dollars_json(micros: int) -> str | None:
    """Micros as a decimal string, None below 0."""
    from pr3dict.domain.units import format_dollars

    return None if micros < 0 else format_dollars(micros)


def contracts_json(size: int) -> str:
    """Micro-contracts as a decimal string."""
    from pr3dict.domain.units import format_contracts

    return format_contracts(size)


def show(answer: dict[str, Any], decision: Decision) -> None:
    """Print an explanation."""
    from pr3dict.cli.quote import show_decision

    console.print(f"[bold]{escape(answer['ticker'])}[/bold] {escape(answer['title'])}")
    console.print(
        f"at {clock(answer['at'])} UTC, decided {span(answer['age_s'])} before, market {answer['status']}\n",
        style="dim",
    )
    inputs = table("What was known", "", "")
    for name, value in answer["inputs"].items():
        inputs.add_row(name.replace("_", " "), "-" if value is None else str(value))
    console.print(inputs)
    console.print()
    show_decision(decision)
    console.print()
    orders = table("Orders that stood", "order", "side", "price", "remaining", "ahead", "state", left=2)
    orders.columns[-1].justify = "left"
    for order in answer["orders"]:
        cells = (str(order["order_id"]), order["side"], price(order["price"]), contracts(order["remaining"]))
        orders.add_row(*cells, contracts(order["queue_ahead"]), escape(order["state"]))
    console.print(orders if answer["orders"] else "No order stood.")
    console.print(f"\nnet      {contracts(answer['net_position'], sign=True)} contracts")
    console.print(f"holds    {escape(', '.join(answer['holds'])) or 'none'}")
    for breaker in answer["breakers"]:
        console.print(f"breaker  {escape(breaker['breaker'])}: {escape(breaker['text'])}")
    if answer["latch"] is not None:
        console.print(f"halted   {escape(answer['latch']['reason'])}: {escape(answer['latch']['text'])}")
