"""A backtest as one HTML page for the person whose money it is: verdict, assumptions, then every figure.

docs/backtesting.md defines the figures; here they are only put in order and into words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pr3dict import __version__
from pr3dict.analytics import figures as fig
from pr3dict.analytics.bootstrap import Interval, intervals, ratio_of_sums
from pr3dict.analytics.comparison import MIN_BLOCKS
from pr3dict.analytics.figures import CAUSES, Figure
from pr3dict.analytics.markout_curve import MarkoutPoint, markout_points
from pr3dict.analytics.page import Cell, Chart, Html, Section, html, legend, lines, render, table, tag
from pr3dict.analytics.report import AccountReport
from pr3dict.analytics.series import Clock
from pr3dict.analytics.spreads import Spreads, spreads_of, steps_ns
from pr3dict.analytics.words import (
    DASH,
    MICRO,
    cents,
    count,
    moment,
    money,
    per_contract,
    percent,
    size,
    tint,
    typeset,
)
from pr3dict.runtime.backtest import BacktestResult
from pr3dict.store.importers.common import counted
from pr3dict.strategies.settings import changed_settings

PANELS = 12  # markets whose prices are drawn
REASONS = 2  # that a market was not quoted
MARKS = 1_500  # fills of a market that are drawn
SEED = 1976  # of the bootstrap: the same result gives the same page


@dataclass(frozen=True, slots=True)
class Context:
    """What all sections look at."""

    result: BacktestResult
    title: str
    command: str
    clock: Clock
    rng: np.random.Generator

    @property
    def total(self) -> AccountReport:
        """The account under the chosen queue model."""
        return self.result.report

    @property
    def contracts(self) -> int:
        """Micro-contracts filled."""
        return self.total.total.count("contracts_filled")


def report_page(result: BacktestResult, *, title: str, command: str) -> str:
    """The page. `command` is the line that the user typed; the same result gives the same page."""
    tapes = result.tapes
    clock = Clock.of(zip(tapes.first_ns, tapes.last_ns, strict=True))
    context = Context(result, title, command, clock, np.random.default_rng(SEED))
    sections = (
        assumptions(context),
        ladder(context),
        equity(context),
        prices(context),
        inventory(context),
        spread_section(context),
        markouts(context),
        queues(context),
        markets(context),
        settings(context),
    )
    foot = tag(
        "footer",
        f"Every figure is defined in docs/backtesting.md. Made by PR3DICT {__version__}; nothing on this "
        "page was loaded from elsewhere.",
    )
    return render(title, list(head(context)), sections, [foot])


# --- the top ----------------------------------------------------------------------------------------------


def head(c: Context) -> Iterator[Html]:
    """Title, verdict, what makes the result doubtful, and the figures that matter most."""
    r, total = c.result, c.total.total
    net, metas = total.pnl.net_micros, r.tapes.metas
    hours = c.clock.total_ns / 3.6e12
    done = "Earned" if net > 0 else "Lost" if net < 0 else "Came out even at"
    low, high = sorted((r.pessimistic.net_micros, r.optimistic.net_micros, net))[::2]
    yield tag("h1", c.title)
    yield tag(
        "p",
        f"{done} ",
        tag("strong", money(abs(net), sign=False)),
        f" on {money(r.spec.cash_micros, sign=False)} in {hours:,.1f} hours of tape from "
        f"{counted(len(metas), 'market')}, ",
        tag("span", f"{money(low)} to {money(high)}", class_="keep"),
        f" over the queue models: {count(total.count('fills'))} fills, "
        f"quotes on both sides {percent(total.two_sided_uptime)} of the time.",
        class_="lead",
    )
    yield from flags(c)
    yield tag("dl", lines(tiles(c)), class_="tiles")


def flags(c: Context) -> Iterator[Html]:
    """What the reader must not overlook."""
    metas = c.result.tapes.metas
    if any(meta.synthetic for meta in metas):
        yield flag(
            "Generated data", "These markets were generated. Nothing here is evidence about real markets."
        )
    inferred = sum(meta.has_trades == "inferred" for meta in metas)
    if inferred:
        of = "The" if inferred == len(metas) else f"{inferred} of {len(metas)}"
        yield flag(
            "Inferred trades",
            f"{of} recordings held no trades: they were worked out from volume and book changes, and every "
            "fill against them carries that doubt.",
        )
    none = sum(meta.has_trades == "none" for meta in metas)
    if none:
        yield flag(
            "No trades", f"{none} of {len(metas)} recordings hold no trades: fills there are a lower bound."
        )


def flag(title: str, words: str) -> Html:
    """A box that catches the eye."""
    return tag("p", tag("strong", title), words, class_="flag")


def tiles(c: Context) -> Iterator[Html]:
    """The figures that matter most."""
    r, total = c.result, c.total.total
    net, drawdown = total.pnl.net_micros, c.total.max_drawdown_micros
    interval = net_interval(c)
    each = (
        "" if interval is None else f", 95% {cents(interval.low * MICRO)} to {cents(interval.high * MICRO)}"
    )
    low, high = r.pessimistic.net_micros, r.optimistic.net_micros
    spread = total.to_json()["average_spread"]
    yield tile("Net profit", money(net), f"{100 * net / r.spec.cash_micros:+.2f}% of the cash",
               style=tint(net), wide=True)  # fmt: skip
    yield tile("Pessimistic to optimistic queue", f"{money(low)} to {money(high)}",
               f"{count(r.pessimistic.fills)} to {count(r.optimistic.fills)} fills", wide=True)  # fmt: skip
    yield tile("Net a contract", cents(per_contract(net, c.contracts)),
               f"{size(c.contracts)} contracts{each}")  # fmt: skip
    yield tile("Fills", count(total.count("fills")), f"of {count(total.count('orders'))} orders")
    wide = DASH if spread is None else f"{float(str(spread)) * 100:.2f}\u00a2"
    yield tile("Two-sided uptime", percent(total.two_sided_uptime), f"average spread {wide}")
    yield tile("Largest drawdown", money(drawdown, sign=False),
               f"worst case at risk {money(c.total.max_heat_micros, sign=False)}")  # fmt: skip


def tile(name: str, figure: str, below: str, *, style: str = "", wide: bool = False) -> Html:
    """One figure with its name above and its context below."""
    return tag(
        "div",
        tag("dt", name),
        tag(
            "dd",
            tag("div", figure, class_=f"figure {style}".strip()),
            tag("div", typeset(below), class_="sub"),
        ),
        class_="tile wide" if wide else "tile",
    )


def net_interval(c: Context) -> Interval | None:
    """Net a contract in dollars with its 95% interval over (event, day); None with too few of them."""
    sums: dict[tuple[str, str], list[int]] = {}
    for block in c.result.blocks:
        row = sums.setdefault((c.result.tapes.metas[block.market].event_id, block.day), [0, 0])
        row[0] += block.net_micros
        row[1] += block.contracts
    rows = [row for row in sums.values() if row[1]]
    if len(rows) < MIN_BLOCKS:
        return None
    found = intervals(np.array(rows, np.float64) / MICRO, ratio_of_sums, c.rng)[0]
    return found if np.isfinite(found.low) else None


# --- sections ---------------------------------------------------------------------------------------------


def assumptions(c: Context) -> Section:
    """Every assumption behind the result."""
    told = tag("ol", lines(tag("li", sentence) for sentence in c.result.assumptions), class_="assumptions")
    return Section("What this rests on", "The result holds under these assumptions and no others.", (told,))


def ladder(c: Context) -> Section:
    """Profit by cause."""
    pnl = c.total.total.pnl
    rows = [
        (words, Cell(money(getattr(pnl, part)), style=tint(getattr(pnl, part))),
         cents(per_contract(getattr(pnl, part), c.contracts)))
        for part, words in CAUSES.items()
    ]  # fmt: skip
    net = pnl.net_micros
    rows.append(("Net", Cell(money(net), style=tint(net)), cents(per_contract(net, c.contracts))))
    chart = Chart(
        "ladder", (("", fig.waterfall(pnl)),),
        "Waterfall of profit by cause, in dollars; the table below holds its numbers.", 420,
    )  # fmt: skip
    return Section(
        "Profit and loss by cause",
        "Captured against the mid, what the market took back within a minute, what holding did after that, "
        "and costs.",
        (
            chart,
            table(
                ("Cause", "Dollars", "A contract"), rows, label="Profit by cause", total=True, style="narrow"
            ),
        ),
    )


def equity(c: Context) -> Section:
    """The equity curve and its drawdown."""
    r, curve = c.result, c.result.curve
    begin, end = r.tapes.start_ns, max(r.tapes.last_ns)
    times = np.concatenate(
        ([begin], curve["exch_ns"], [max(end, int(curve["exch_ns"][-1]) if len(curve) else end)])
    )
    values = np.concatenate(
        ([c.total.equity_start_micros], curve["equity_micros"], [c.total.equity_end_micros])
    )
    words = (
        f"Equity from {money(c.total.equity_start_micros, sign=False)} to "
        f"{money(c.total.equity_end_micros, sign=False)}, largest drawdown "
        f"{money(c.total.max_drawdown_micros, sign=False)}."
    )
    ratio = c.total.sharpe.ratio
    chart = Chart("equity", (("", fig.equity(c.clock, times, values.astype(np.int64))),), words, 400)
    note = (
        f"UTC. At most {fig.POINTS:,} points, with every stretch's highest and lowest kept."
        + " Time without a recording is left out; dotted lines mark it." * (len(c.clock.begins_ns) > 1)
        + f" Sharpe ratio {DASH if ratio is None else typeset(f'{ratio:+.2f}')}: {c.total.sharpe.basis}."
    )
    return Section("Equity and drawdown", words, (chart, tag("p", note, class_="note")))


def prices(c: Context) -> Section:
    """Price, quotes and fills of the markets with the most fills."""
    r = c.result
    fills_of = np.bincount(r.fills["market"], minlength=len(r.tapes.metas))
    sampled = np.bincount(r.samples["market"], minlength=len(r.tapes.metas))
    busiest = [m for m in np.argsort(-fills_of, kind="stable").tolist() if fills_of[m] and sampled[m]][
        :PANELS
    ]
    if not busiest:
        return Section("Price, quotes and fills", "No market was filled, so none is drawn.", ())
    panels = tuple((panel_name(c, m, int(fills_of[m])), panel(c, m)) for m in busiest)
    filled = int((fills_of > 0).sum())
    shown = (
        f"The {len(busiest)} of {filled} markets with the most fills; {filled - len(busiest)} are not drawn."
    )
    intro = shown if filled > len(busiest) else "Every market with a fill."
    alternative = "Best bid and ask, our quotes and fills, and our position over time, one market at a time."
    key = legend(
        ("band", "band", "bid to ask"), ("line", "mid", "mid"), ("line", "bid", "our bid"),
        ("line", "ask", "our ask"), ("up", "bid", "bought"), ("down", "ask", "sold"),
        ("open", "muted", "hollow: as taker"),
        ("line", "own", "position (below)"),
    )  # fmt: skip
    most = max(int(fills_of[m]) for m in busiest)
    note = f"UTC. Quotes are sampled at fixed times, at most {r.points:,} a market; fills stand at their own."
    if most > MARKS:
        note += f" Where a market had more than {MARKS:,} fills, every nth of them is drawn."
    return Section(
        "Price, our quotes and our fills",
        intro,
        (Chart("price", panels, alternative, 480), key, tag("p", note, class_="note")),
    )


def panel_name(c: Context, m: int, fills: int) -> str:
    """A market in the list of panels."""
    pnl = c.total.markets[m].figures.pnl.net_micros
    return f"{c.result.tapes.names[m]} \u00b7 {count(fills)} fills \u00b7 {money(pnl)}"


def panel(c: Context, m: int) -> Figure:
    """The drawing of one market."""
    samples = c.result.samples[c.result.samples["market"] == m]
    fills = c.result.fills[c.result.fills["market"] == m]
    fills = fills[:: -(-len(fills) // MARKS)] if len(fills) > MARKS else fills
    return fig.price(samples, fills, int(steps_ns(samples)[0]) if len(samples) > 1 else 10**9)


def inventory(c: Context) -> Section:
    """What was held over time."""
    figures, ends_ns = c.total.total, np.array(c.result.tapes.last_ns, np.int64)
    chart = Chart(
        "inventory", (("", fig.inventory(c.clock, c.result.fills, ends_ns)),),
        f"Contracts held over time; at most {size(figures.max_inventory)} in one market.", 320,
    )  # fmt: skip
    key = legend(("band", "band", "all markets together"), ("line", "ask", "the fullest market"))
    intro = (
        f"At most {size(figures.max_inventory)} contracts net in one market, above the rebalance threshold "
        f"{percent(figures.rebalancing_share)} of the time, "
        f"{counted(figures.count('forced_exits'), 'forced exit')}."
    )
    note = "Absolute net contracts, UTC. A position counts until its recording ends."
    return Section("Inventory", intro, (chart, key, tag("p", note, class_="note")))


def spread_section(c: Context) -> Section:
    """How wide we quoted where the market stood."""
    found = spreads_of(c.result.samples)
    if found is None:
        return Section("Spread quoted", "We never stood on both sides of a two-sided book.", ())
    intro = (
        f"While we and the market stood on both sides, we quoted {found.own_mean / 100:.2f}\u00a2 wide on "
        f"average and the market {found.market_mean / 100:.2f}\u00a2. Our quotes were better than the touch "
        f"{percent(found.inside)} of the time, at it {percent(found.at_touch)}, behind it "
        f"{percent(found.behind)}."
    )
    chart = Chart("spreads", (("", fig.spreads(found)),), intro, 320)
    key = legend(("box", "mid", "market, own quotes left out"), ("box", "own", "ours"))
    return Section("Spread quoted against the market", intro, (chart, key, spread_table(found)))


def spread_table(found: Spreads) -> Html:
    """The bars of the chart as numbers, without the rows where both are zero."""
    rows = [
        (label, percent(market), percent(own))
        for label, market, own in zip(found.labels, found.market, found.own, strict=True)
        if market or own
    ]
    return table(
        ("Spread, cents", "Market", "Ours"), rows, label="Share of time at each spread", style="narrow"
    )


def markouts(c: Context) -> Section:
    """The markout curve."""
    points = markout_points(c.result.fills, c.rng)
    words = "Worth of a fill against the mid at the fill and after it; the table holds the numbers."
    chart = Chart("markouts", (("", fig.markout_curve([("@own", points)])),), words, 340)
    rows = [
        (p.horizon, cents(None if p.estimate is None else p.estimate * MICRO), interval_text(p),
         size(p.contracts), count(p.blocks))
        for p in points
    ]  # fmt: skip
    heads = ("After", "Cents a contract", "95% interval", "Contracts", "Blocks")
    return Section(
        "What fills were worth as time went on",
        "A fill's price against the mid at the fill and later, in our favour when positive. A curve that "
        "falls below zero is flow that knew more than we did.",
        (
            chart,
            table(heads, rows, label="Markouts", style="narrow"),
            tag("p", "Bars are 95% intervals: blocks of one market and a quarter of an hour are drawn again "
                "as a whole. Without fees.", class_="note"),
        ),
    )  # fmt: skip


def interval_text(point: MarkoutPoint) -> str:
    """`-0.31c to +0.02c`, or why there is none."""
    if point.low is None or point.high is None:
        return "too few blocks" if point.contracts else DASH
    return f"{cents(point.low * MICRO)} to {cents(point.high * MICRO)}"


def queues(c: Context) -> Section:
    """The same backtest under three assumptions of our place in the queue."""
    r = c.result
    runs = [("pessimistic", r.pessimistic.queue, r.pessimistic.report, "@pessimistic")]
    if r.spec.queue not in (r.pessimistic.queue, r.optimistic.queue):
        runs.append(("chosen", r.spec.queue, r.report, "@own"))
    runs.append(("optimistic", r.optimistic.queue, r.optimistic.report, "@optimistic"))
    curves = [(colour, captured_and_markouts(report)) for _, _, report, colour in runs]
    heads = (
        "Queue model",
        "Fills",
        "Contracts",
        "Captured",
        "1 s",
        "10 s",
        "1 min",
        "5 min",
        "Net a contract",
        "Net",
    )
    rows = []
    for role, model, report, _ in runs:
        total = report.total
        filled, net = total.count("contracts_filled"), total.pnl.net_micros
        mine = " (chosen)" if model == r.spec.queue and role != "chosen" else ""
        row: list[str | Cell] = [
            f"{role}: {model}{mine}",
            count(total.count("fills")),
            size(filled),
            cents(per_contract(total.pnl.gross_spread, filled)),
            *(cents(m.realised) for m in total.markouts),
            cents(per_contract(net, filled)),
            Cell(money(net), style=tint(net)),
        ]
        rows.append(row)
    key = legend(*(("line", colour[1:], f"{role} ({model})") for role, model, _, colour in runs))
    chart = Chart("queues", (("", fig.markout_curve(curves)),),
                  "Markouts under each queue assumption; the table holds the numbers.", 320)  # fmt: skip
    return Section(
        "Fill quality by place in the queue",
        "Nobody outside the exchange knows where in the queue an order stands. The truth lies between the "
        "ends; profit need not lie between theirs.",
        (chart, key, table(heads, rows, label="Fill quality by queue assumption")),
    )


def captured_and_markouts(report: AccountReport) -> tuple[MarkoutPoint, ...]:
    """Points of a curve from figures that are summed already."""
    total = report.total
    filled = total.count("contracts_filled")
    first = per_contract(total.pnl.gross_spread, filled)
    values = [("at fill", filled, first), *(
        (name, m.contracts, m.realised)
        for name, m in zip(("1 s", "10 s", "1 min", "5 min"), total.markouts, strict=True)
    )]  # fmt: skip
    return tuple(
        MarkoutPoint(name, contracts, 0, None if value is None else float(value) / MICRO)
        for name, contracts, value in values
    )


def markets(c: Context) -> Section:
    """One row a market."""
    heads = (
        "Market", "Outcome", "Fills", "Contracts", "Captured", "Adverse", "Net", "Net a contract",
        "Two-sided", "Spread", "Largest position",
    )  # fmt: skip
    rows = [market_row(c, m) for m in range(len(c.result.tapes.metas))]
    listed = table(heads, rows, label="Markets", words=2, style="sortable markets")
    unquoted = [(m, why) for m, why in enumerate(c.result.not_quoted) if why]
    parts: list[Html | Chart] = [listed]
    if unquoted:
        reasons = [(market_name(c, m), Cell(main_reasons(why), style="wrap")) for m, why in unquoted]
        parts += [
            tag("h3", f"Not quoted: {len(unquoted)} of {len(rows)} markets"),
            table(
                ("Market", "Why, the most frequent reason first"),
                reasons,
                label="Markets not quoted",
                words=2,
                style="reasons",
            ),
        ]
    return Section("Markets", "Choose a heading to sort by it.", tuple(parts))


def main_reasons(why: Sequence[str]) -> str:
    """The most frequent reasons, and how many more there are."""
    rest = len(why) - REASONS
    more = f" And {rest} more in the JSON." if rest > 0 else ""
    return "; ".join(why[:REASONS]) + "." + more


def market_name(c: Context, m: int) -> Cell:
    """A ticker, above its session where it was recorded more than once."""
    meta, name = c.result.tapes.metas[m], c.result.tapes.names[m]
    again = [] if name == meta.ticker else [tag("small", meta.session)]
    return Cell(Html(html(meta.ticker) + "".join(again)), name, "market")


def market_row(c: Context, m: int) -> Sequence[str | Cell]:
    """A market's figures."""
    meta, market = c.result.tapes.metas[m], c.total.markets[m]
    f = market.figures
    filled, pnl = f.count("contracts_filled"), f.pnl
    each = per_contract(pnl.net_micros, filled)
    spread = f.counts["quoted_spread_sum"] / f.counts["two_sided_ns"] if f.counts["two_sided_ns"] else None
    uptime = f.two_sided_uptime
    return (
        market_name(c, m),
        meta.outcome or ("settled" if market.books.valuation.settled else "open"),
        Cell(count(f.count("fills")), f.count("fills")),
        Cell(size(filled), filled),
        Cell(money(pnl.gross_spread), pnl.gross_spread),
        Cell(money(pnl.adverse_selection), pnl.adverse_selection),
        Cell(money(pnl.net_micros), pnl.net_micros, tint(pnl.net_micros)),
        Cell(cents(each), float(each) if each is not None else -1e18),
        Cell(percent(uptime), -1.0 if uptime is None else uptime),
        Cell(DASH if spread is None else f"{spread / 10_000:.2f}\u00a2", -1.0 if spread is None else spread),
        Cell(size(f.max_inventory), f.max_inventory),
    )


def settings(c: Context) -> Section:
    """What was set, and how to get this page again."""
    spec, tapes = c.result.spec, c.result.tapes
    changed = changed_settings(spec.config)
    rows = [(key, unit, value, default) for key, value, default, unit in changed]
    heads = ("Setting", "Unit", "Here", "Default")
    shown = (
        table(heads, rows, label="Settings that differ", words=2, style="narrow")
        if rows
        else tag("p", "Every setting is the default.")
    )
    facts = {
        "Version": __version__,
        "Command": tag("code", c.command),
        "Recorded": f"{moment(tapes.start_ns)} to {moment(max(tapes.last_ns))} UTC",
        "Events": count(len(tapes.events)),
        "Preset, policy": f"{spec.preset}, {spec.policy}",
        "Queue model": spec.queue,
        "Latency": f"{spec.latency_ms} ms each way",
        "Fees": c.result.fees_schedule,
        "Cash": f"{money(spec.cash_micros, sign=False)}",
        "Tape volume": f"{size(c.total.total.count('traded_contracts'))} contracts, "
        f"{size(c.total.total.count('inferred_contracts'))} of them inferred",
    }
    listed = tag(
        "dl", lines(Html(tag("dt", key) + tag("dd", value)) for key, value in facts.items()), class_="facts"
    )
    parts = (tag("h3", "Settings that differ from the default"), shown, tag("h3", "This run"), listed)
    return Section("Settings", "", parts)
