"""A trading process on the terminal, drawn from its status (`runtime/status.py`): live, or asked for once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pr3dict.cli.output import money, table
from pr3dict.domain.units import PRICE_SCALE, format_price

Status = Mapping[str, Any]

WIDE = 110  # columns of a terminal from which on more is shown
NAME_WIDTH, WIDE_NAME_WIDTH = 16, 26
STATE_WIDTH = 15  # of a narrow terminal
FILLS_SHOWN = 5
FIXED_LINES = 8  # title, money, headings, the cursor
GAPS = 4  # blank lines
DASH = "-"
# How a live process of an environment looks; any other one counts as real money.
BADGES: Mapping[str, tuple[str, str]] = {
    "prod": ("bold white on red", "LIVE PROD, REAL MONEY"),
    "demo": ("bold black on yellow", "LIVE DEMO"),
    "local": ("bold black on cyan", "LIVE LOCAL STAND-IN"),
}


def short_names(tickers: Sequence[str], width: int) -> list[str]:
    """Tickers in `width` characters: leading words that all share are dropped first, then a middle is cut."""
    words = [ticker.split("-") for ticker in tickers]
    while (
        any(len("-".join(word)) > width for word in words)
        and min(map(len, words)) > 1
        and len(words) > 1
        and len({word[0] for word in words}) == 1
    ):
        words = [word[1:] for word in words]
    return [_cut("-".join(word), width) for word in words]


def market_names(markets: Sequence[Status], width: int) -> list[str]:
    """Short names of markets: their tickers, or their titles where a ticker is a hash that says nothing."""
    names = [
        market["title"] if market["ticker"].startswith("0x") and market["title"] else market["ticker"]
        for market in markets
    ]
    twice = {name for name, count in Counter(names).items() if count > 1}
    return short_names(
        [
            f"{name} {market['ticker'][-4:]}" if name in twice else name
            for name, market in zip(names, markets, strict=True)
        ],
        width,
    )


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}\u2026{text[-tail:]}"


def signed(amount: str | None) -> str:
    """Dollars with their sign, green for a gain and red for a loss."""
    if amount is None:
        return DASH
    value = Decimal(amount)
    words = money(value, sign=True)
    colour = "" if words == "$0.00" else "green" if value > 0 else "red"
    return f"[{colour}]{words}[/{colour}]" if colour else words


def price(text: str | None, places: int | None = None) -> str:
    """A price in dollars: exact with two places at least, or rounded to `places`."""
    if text is None:
        return DASH
    return format_price(int(Decimal(text) * PRICE_SCALE)) if places is None else f"{Decimal(text):.{places}f}"


def contracts(text: str | None, *, sign: bool = False) -> str:
    """Contracts without trailing zeros, rounded to cents of a contract."""
    if text is None:
        return DASH
    return f"{Decimal(text):{'+' if sign else ''},.2f}".rstrip("0").rstrip(".")


def quoted(size: str | None, at: str | None) -> str:
    """Our quote on one side: "10@0.49"."""
    return DASH if at is None else f"{contracts(size)}@{price(at)}"


def queue(status: Status, market: Status) -> str:
    """Contracts ahead of our best bid and our best ask, "120/35"; "-" where the venue has not said."""
    sides = []
    for side in ("bid", "ask"):
        said = [
            Decimal(order["queue_ahead"])
            for order in status["orders"]
            if (order["ticker"], order["side"], order["price"]) == (market["ticker"], side, market[side])
            and order["queue_ahead"] is not None
        ]
        sides.append(f"{min(said):,.0f}" if said else DASH)
    return DASH if sides == [DASH, DASH] else "/".join(sides)


def span(seconds: float | None) -> str:
    """A stretch of time for a person: "0.4 s", "12 s", "3 min", "5.2 h"."""
    if seconds is None:
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def clock(moment: str | None) -> str:
    """An ISO 8601 moment to the second, UTC."""
    return DASH if moment is None else moment[:19].replace("T", " ")


def _share(part: str | None, whole: str | None) -> str:
    if part is None or whole is None or not Decimal(whole):
        return ""
    return f" ({100 * Decimal(part) / Decimal(whole):.0f}%)"


def header(status: Status) -> Table:
    """Money and limits, four figures a line."""
    pnl, rates, journal = status["pnl"], status["rates"], status["journal"]
    view = Table.grid(padding=(0, 3))
    view.add_row(
        f"equity [bold]{_dollars(status['equity'])}[/bold]",
        f"cash {_dollars(status['cash'])}",
        f"P&L [bold]{signed(pnl['total'])}[/bold]",
        f"today {signed(pnl['day'])}",
    )
    view.add_row(
        f"heat {_dollars(status['heat'])}{_share(status['heat'], status['heat_limit'])}",
        f"of {_dollars(status['heat_limit'])}",
        f"daily loss {_dollars(status['daily_loss'])}"
        f"{_share(status['daily_loss'], status['daily_loss_limit'])}",
        f"of {_dollars(status['daily_loss_limit'])}",
    )
    view.add_row(
        f"orders {len(status['orders'])}",
        f"fills {status['fill_count']:,}",
        f"journal {journal['steps']:,} steps",
        DASH if rates["messages_per_s"] is None else f"{rates['messages_per_s']:,.0f} messages/s",
    )
    return view


def _dollars(amount: str | None) -> str:
    return DASH if amount is None else money(Decimal(amount))


def market_table(status: Status, width: int) -> Table:
    """One row a market; a wide terminal also shows the book, ages and reasons."""
    wide = width >= WIDE
    columns = ["market", "fair", "our bid", "our ask"]
    columns += ["ahead", "best bid", "best ask", "age"] if wide else []
    columns += ["net", "fills", "P&L", "state"]
    view = table("", *columns)
    view.title = None
    for column in view.columns:
        column.no_wrap = True
    view.columns[-1].justify = "left"
    view.columns[-1].max_width = STATE_WIDTH if not wide else None
    markets = status["markets"]
    names = market_names(markets, WIDE_NAME_WIDTH if wide else NAME_WIDTH)
    for name, market in zip(names, markets, strict=True):
        cells = [
            escape(name),
            price(market["fair"], 3),
            quoted(market["bid_size"], market["bid"]),
            quoted(market["ask_size"], market["ask"]),
        ]
        if wide:
            cells += [queue(status, market), price(market["best_bid"]), price(market["best_ask"])]
            cells.append(span(market["quote_age_s"]))
        cells += [
            contracts(market["net_position"], sign=True),
            f"{market['fills']:,}",
            signed(market["pnl"]),
            escape(condition(market)),
        ]
        view.add_row(*cells, style=None if market["status"] in ("active", "post_only") else "dim")
    past = status.get("past", {})
    if past.get("markets"):
        cells = [f"{past['markets']:,} more", *[""] * (len(columns) - 4)]
        view.add_row(*cells, f"{past['fills']:,}", signed(past["pnl"]), "paid", style="dim")
    return view


def condition(market: Status) -> str:
    """Why a market is not quoted as usual, else its inventory state."""
    if market["settled"] is not None:
        return "refunded" if market["settled"] == "refund" else f"paid {price(market['settled'])}"
    if market["status"] != "active":
        return str(market["status"])
    if market["holds"]:
        return str(market["holds"][0]).replace("_", " ")
    if market["bid"] is None and market["ask"] is None and market["reasons"]:
        return str(market["reasons"][0]).replace("_", " ")
    return str(market["state"]).replace("_", " ")


def fill_table(status: Status, count: int) -> Table:
    """The last fills, newest first, always `count` rows high so that a live view does not jump."""
    view = table("Last fills", "time", "market", "side", "contracts", "price", "fee", "", left=3)
    view.columns[-1].justify = "left"
    view.columns[-1].no_wrap = True
    shown = list(reversed(status["fills"][-count:]))
    markets = status["markets"]
    tickers = [market["ticker"] for market in markets]
    names = dict(zip(tickers, market_names(markets, WIDE_NAME_WIDTH), strict=True))
    for fill in shown:
        name = names.get(fill["ticker"], fill["ticker"])
        view.add_row(
            clock(fill["time"])[11:],
            escape(name),
            "bought" if fill["side"] == "bid" else "sold",
            contracts(fill["size"]),
            price(fill["price"]),
            money(Decimal(fill["fee"]), 4) if Decimal(fill["fee"]) else DASH,
            " ".join(("maker" if fill["maker"] else "taker", *([] if fill["final"] else ["provisional"]))),
        )
    for _ in range(count - len(shown)):
        view.add_row(*[""] * 7)
    return view


def warnings(status: Status) -> list[str]:
    """What an operator must not overlook, one sentence each, as markup; nothing is said twice."""
    said: dict[str, str] = {}
    latch = status["latch"]
    if latch is not None:
        said[latch["text"]] = (
            f"[bold red]HALTED[/bold red] ({escape(latch['reason'])}): {escape(latch['text'])}; "
            "`pr3dict resume --reason ...` lifts it"
        )
    for breaker in status["breakers"]:
        where = escape(breaker["ticker"] or "all markets")
        words = f"[red]breaker {escape(breaker['breaker'])}[/red] ({where}): {escape(breaker['text'])}"
        said.setdefault(breaker["text"] or words, words)
    for alert in status["alerts"]:
        words = f"[yellow]{escape(alert['severity'] or 'alert')}[/yellow] {escape(told(alert))}"
        said.setdefault(alert["text"] if alert["ticker"] is None and alert["text"] else words, words)
    return list(said.values())


def told(alert: Status) -> str:
    """An alert in words: its market, then what is wrong."""
    place = f"{alert['ticker']}: " if alert["ticker"] else ""
    return place + (alert["text"] or str(alert["name"]).replace("_", " "))


def title(status: Status) -> str:
    """What runs, the time of its market, and how many times as fast as ours that passes."""
    up = "" if status["uptime_s"] is None else f", up {span(status['uptime_s'])}"
    pace = status["rates"].get("pace")
    up += f", x{pace:,.0f}" if pace is not None and pace >= 2 else ""
    who = f"{badge(status)}, account {escape(status['account'])}"
    return f"{who}, {clock(status['now'])} UTC{up}"


def badge(status: Status) -> str:
    """What runs, so that nobody takes one for another: real money is white on red; markup."""
    if status["mode"] == "paper" and status.get("env") is not None:
        data = escape(status["account"].removeprefix("paper "))
        return f"[bold black on green] PR3DICT PAPER ON LIVE DATA OF {data.upper()} [/bold black on green]"
    if status["mode"] != "live":
        return f"[bold]PR3DICT {escape(status['mode'])}[/bold]"
    env = str(status.get("env") or "")
    style, words = BADGES.get(env, ("bold white on red", f"LIVE {env.upper()}"))
    return f"[{style}] PR3DICT {escape(words)} [/{style}]"


def simulated(status: Status) -> list[str]:
    """How fills come about where the market data are live and they are not; markup."""
    how = status.get("simulation")
    if how is None:
        return []
    power = "" if how["queue_power"] is None else f" (n = {how['queue_power']:g})"
    latency = f"latency {how['latency_ms']} ms each way"
    words = f"Fills are simulated: queue model {escape(how['queue'])}{power}, {latency}."
    return [f"{words} No order leaves this machine."]


def adapter_lines(status: Status) -> list[str]:
    """What the adapter of each venue counts, a line each; markup."""
    return [
        f"[dim]{escape(venue)}[/dim] "
        + "  ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in figures.items())
        for venue, figures in status.get("adapters", {}).items()
    ]


def screen(
    status: Status, width: int, notes: Sequence[str] = (), height: int | None = None
) -> RenderableType:
    """The whole view of a process, for a terminal of `width` columns; `notes` stand below the title.

    Where `height` lines are not enough, blank lines go and fewer fills are shown.
    """
    told = [*warnings(status), *adapter_lines(status)]
    notes = [*simulated(status), *notes]
    rows = len(status["markets"]) + bool(status.get("past", {}).get("markets"))
    lines = FIXED_LINES + rows + sum(len(note) // width + 1 for note in notes) + len(told)
    gap: list[RenderableType] = [""] if height is None or height >= lines + GAPS + FILLS_SHOWN else []
    fills = FILLS_SHOWN if height is None else min(max(height - lines - GAPS * len(gap), 0), FILLS_SHOWN)
    parts: list[RenderableType] = [Text.from_markup(title(status))]
    parts += [Text.from_markup(note, style="dim") for note in notes]
    parts += [*gap, header(status), *gap, market_table(status, width)]
    parts += [*gap, fill_table(status, fills)] if fills else []
    parts += [*gap, *[Text.from_markup(line) for line in told]] if told else []
    return Group(*parts)
