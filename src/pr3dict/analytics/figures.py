"""Charts of a backtest as plain plotly figures: dictionaries of numbers, ready for JSON.

A colour is a name with an `@` in front; the page gives it the value of the reader's theme. Legends and titles
are the page's too, so a figure holds data and axes only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pr3dict.analytics.markout_curve import MarkoutPoint
from pr3dict.analytics.series import Clock, IntArray, holdings, peaks
from pr3dict.analytics.spreads import Spreads
from pr3dict.analytics.words import MICRO, money
from pr3dict.domain.ledger import Attribution
from pr3dict.kernels import dtypes as d

Figure = dict[str, Any]

NS_PER_MS = 1_000_000
POINTS = 1_500  # of a line at most
TICKS = 5
CAUSES: Mapping[str, str] = {
    "gross_spread": "Spread captured",
    "adverse_selection": "Adverse selection",
    "inventory": "Inventory",
    "resolution": "Resolution",
    "fees": "Fees",
    "rebates": "Rebates",
    "rewards": "Rewards",
}


def _axis(**more: Any) -> dict[str, Any]:
    return {
        "gridcolor": "@grid",
        "linecolor": "@rule",
        "zeroline": False,
        "automargin": True,
        "tickfont": {"color": "@muted", "size": 12},
        **more,
    }


def _layout(**more: Any) -> dict[str, Any]:
    return {
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "@font", "size": 12, "color": "@ink"},
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@rule", "font": {"color": "@ink"}},
        "showlegend": False,
        **more,
    }


LONG_NS = 20 * 86_400 * 10**9  # from here on the time of day says nothing


def _rounded(values: npt.ArrayLike, digits: int = 6) -> list[float]:
    found: list[float] = np.round(np.asarray(values, np.float64), digits).tolist()
    return found


def _price(values: npt.NDArray[np.int32]) -> list[float | None]:
    """Prices in 1/10,000 dollar as dollars, -1 as a gap."""
    return [None if value < 0 else value / 10_000 for value in values.tolist()]


def _moment(at_ns: int, form: str) -> str:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime(form)


def waterfall(pnl: Attribution) -> Figure:
    """Profit by cause down to the net, dollars; each figure stands below its cause, so nothing overlaps."""
    values = [getattr(pnl, part) for part in CAUSES]
    steps = [*zip(CAUSES.values(), values, strict=True), ("Net", pnl.net_micros)]
    labels = [f"{words}<br>{money(micros)}" for words, micros in steps]
    trace = {
        "type": "waterfall",
        "orientation": "h",
        "y": labels,
        "x": _rounded(np.array([*values, pnl.net_micros]) / MICRO),
        "measure": ["relative"] * len(values) + ["total"],
        "hovertemplate": "%{y}<extra></extra>",
        "connector": {"line": {"color": "@rule", "width": 1}},
        "increasing": {"marker": {"color": "@gain"}},
        "decreasing": {"marker": {"color": "@loss"}},
        "totals": {"marker": {"color": "@total"}},
    }
    reach = np.concatenate(([0], np.cumsum(values))) / MICRO
    room = max(float(reach.max() - reach.min()), 0.01) * 0.05
    return {
        "data": [trace],
        "layout": _layout(
            xaxis=_axis(
                tickformat="$,~f",
                nticks=5,
                tickangle=0,
                zeroline=True,
                zerolinecolor="@muted",
                range=[float(reach.min()) - room, float(reach.max()) + room],
            ),
            yaxis=_axis(
                autorange="reversed", gridcolor="rgba(0,0,0,0)", tickfont={"color": "@ink", "size": 13}
            ),
        ),
    }


def _clock_axis(clock: Clock) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Axis over recorded time with a date at even steps, and a line where something was left out."""
    total = clock.total_ns / 3.6e12
    places = [total * k / TICKS for k in range(TICKS + 1)]
    years = {_moment(clock.at_ns(place), "%Y") for place in (0, total)}
    form = "%H:%M<br>%d %b" if len(years) == 1 else "%d %b<br>%Y"
    if clock.total_ns >= LONG_NS:
        form = "%d %b<br>%Y"
    axis = _axis(
        tickvals=_rounded(places),
        ticktext=[_moment(clock.at_ns(place), form) for place in places],
        range=[0, round(total, 6)],
    )
    breaks = clock.before_ns[1:] / 3.6e12 if len(clock.before_ns) <= 40 else np.zeros(0)
    lines = [
        {
            "type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1,
            "layer": "below", "line": {"color": "@rule", "width": 1, "dash": "dot"},
        }
        for x in _rounded(breaks)
    ]  # fmt: skip
    return axis, lines


def _moments(times: IntArray) -> list[str]:
    return [_moment(at, "%Y-%m-%d %H:%M:%S") for at in times.tolist()]


def equity(clock: Clock, times_ns: IntArray, equity_micros: IntArray) -> Figure:
    """Equity above, its fall from the last peak below, dollars over recorded time."""
    fall = equity_micros - np.maximum.accumulate(equity_micros)
    recorded = np.flatnonzero(clock.recorded(times_ns))
    kept = recorded[np.union1d(*(peaks(series[recorded], POINTS // 2) for series in (equity_micros, fall)))]
    kept = np.union1d(kept, [0, len(times_ns) - 1])
    axis, lines = _clock_axis(clock)
    shared = {"x": _rounded(clock.hours(times_ns[kept])), "type": "scatter", "mode": "lines"}
    when = _moments(times_ns[kept])
    return {
        "data": [
            {
                **shared,
                "y": _rounded(equity_micros[kept] / MICRO),
                "text": when,
                "line": {"color": "@own", "width": 2},
                "hovertemplate": "%{text}<br>equity %{y:$,.2f}<extra></extra>",
            },
            {
                **shared,
                "y": _rounded(fall[kept] / MICRO),
                "text": when,
                "yaxis": "y2",
                "fill": "tozeroy",
                "fillcolor": "@lossfill",
                "line": {"color": "@loss", "width": 1},
                "hovertemplate": "%{text}<br>drawdown %{y:$,.2f}<extra></extra>",
            },
        ],
        "layout": _layout(
            shapes=lines,
            xaxis={**axis, "anchor": "y2"},
            yaxis=_axis(domain=[0.36, 1], tickformat="$,~f", nticks=6, title=_title("equity")),
            yaxis2=_axis(
                domain=[0, 0.28], tickformat="$,~f", nticks=4, rangemode="tozero", title=_title("drawdown")
            ),
        ),
    }


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12, "color": "@muted"}, "standoff": 8}


def _marks(fills: d.Array, *, side: int, maker: bool) -> Figure:
    """Markers of the fills of one side, filled where we were the maker."""
    mine = fills[(fills["side"] == side) & (fills["maker"] == maker)]
    bought = side == d.BID
    colour = "@bid" if bought else "@ask"
    verb, role = "bought" if bought else "sold", "maker" if maker else "taker"
    words = f"{verb} %{{customdata[0]}} at %{{y:$.4~f}} as {role}"
    shape = "triangle-up" if bought else "triangle-down"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": (mine["exch_ns"] // NS_PER_MS).tolist(),
        "y": _rounded(mine["price"] / 10_000),
        "customdata": np.column_stack((mine["qty"] / MICRO, mine["net_contracts"] / MICRO)).round(6).tolist(),
        "marker": {
            "symbol": shape if maker else f"{shape}-open",
            "size": 9 if maker else 12,
            "color": colour,
            "line": {"color": "@paper" if maker else colour, "width": 1 if maker else 2},
        },
        "hovertemplate": "%{x|%H:%M:%S}<br>" + words + "<br>position after: %{customdata[1]}<extra></extra>",
    }


def price(samples: d.Array, fills: d.Array, step_ns: int) -> Figure:
    """One market: the book's touch, our quotes and fills above, our position below.

    `samples` are evenly spaced SAMPLE rows of the market, `fills` its FILL rows. An empty side of the book is
    drawn at the edge of the price range.
    """
    bid, ask = samples["bid_price"], samples["ask_price"]
    both, none = (bid >= 0) & (ask >= 0), (bid < 0) & (ask < 0)
    low = np.where(none, -1, np.maximum(bid, 0))
    high = np.where(none, -1, np.where(ask < 0, 10_000, ask))
    line = {
        "type": "scatter",
        "mode": "lines",
        "x0": int(samples["at_ns"][0]) // NS_PER_MS if len(samples) else 0,
        "dx": step_ns // NS_PER_MS,
    }
    step: dict[str, Any] = {"shape": "hv", "width": 0}
    skip = {**line, "hoverinfo": "skip"}
    traces: list[Figure] = [
        {**skip, "y": _price(low), "line": step},
        {**skip, "y": _price(high), "line": step, "fill": "tonexty", "fillcolor": "@band"},
        {
            **line,
            "y": [
                (b + a) / 20_000 if ok else None
                for b, a, ok in zip(bid.tolist(), ask.tolist(), both, strict=True)
            ],
            "line": {"color": "@mid", "width": 1, "shape": "hv"},
            "hovertemplate": "mid %{y:$.4~f}<extra></extra>",
        },
    ]
    for name, colour in (("bid", "@bid"), ("ask", "@ask")):
        traces.append(
            {
                **line,
                "y": _price(samples[f"own_{name}_price"]),
                "line": {"color": colour, "width": 1.5, "shape": "hv"},
                "hovertemplate": f"our {name} %{{y:$.4~f}}<extra></extra>",
            }
        )
    for side in (d.BID, d.ASK):
        for maker in (True, False):
            marks = _marks(fills, side=side, maker=maker)
            traces += [marks] if marks["x"] else []
    traces.append(_position(samples, fills))
    shown = np.concatenate(
        [bid[both], ask[both], fills["price"], *(samples[f"own_{s}_price"] for s in ("bid", "ask"))]
    )
    shown = shown[shown >= 0]
    ends = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 10_000.0)
    room = max(0.04 * (ends[1] - ends[0]), 50.0)
    span = [max(ends[0] - room, -100.0) / 10_000, min(ends[1] + room, 10_100.0) / 10_000]
    form = "$.2f" if span[1] - span[0] >= 0.05 else "$.3f"
    return {
        "data": traces,
        "layout": _layout(
            hovermode="closest",
            xaxis=_axis(type="date", anchor="y2", tickangle=0),
            yaxis=_axis(domain=[0.32, 1], tickformat=form, range=span, title=_title("YES price")),
            yaxis2=_axis(
                domain=[0, 0.24], nticks=4, zeroline=True, zerolinecolor="@muted", title=_title("position")
            ),
        ),
    }


def _position(samples: d.Array, fills: d.Array) -> Figure:
    """Net contracts after each fill, from the market's first sample to its last."""
    times = (fills["exch_ns"] // NS_PER_MS).tolist()
    held = _rounded(fills["net_contracts"] / MICRO)
    if len(samples):
        first, last = (int(samples["at_ns"][k]) // NS_PER_MS for k in (0, -1))
        times = [min([first, *times[:1]]), *times, max([last, *times[-1:]])]
        held = [0.0, *held, held[-1] if held else 0.0]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": times,
        "y": held,
        "yaxis": "y2",
        "fill": "tozeroy",
        "fillcolor": "@ownfill",
        "line": {"color": "@own", "width": 1.5, "shape": "hv"},
        "hovertemplate": "%{x|%H:%M:%S}<br>position %{y}<extra></extra>",
    }


def inventory(clock: Clock, fills: d.Array, ends_ns: IntArray) -> Figure:
    """Contracts held in all markets together and in the fullest one, over recorded time."""
    times, total, largest = holdings(fills, ends_ns)
    start = np.array([clock.begins_ns[0]])
    times = np.concatenate((start, times))
    axis, lines = _clock_axis(clock)
    traces = []
    curves = [(total, "@own", "all markets"), (largest, "@ask", "fullest market")]
    for values, colour, words in curves:
        series = np.concatenate(([0], values))
        kept = peaks(series, POINTS)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": _rounded(clock.hours(times[kept])),
                "y": _rounded(series[kept] / MICRO),
                "text": _moments(times[kept]),
                "line": {"color": colour, "width": 0 if colour == "@own" else 1, "shape": "hv"},
                **({"fill": "tozeroy", "fillcolor": "@band"} if colour == "@own" else {}),
                "hovertemplate": f"%{{text}}<br>{words}: %{{y}} contracts<extra></extra>",
            }
        )
    return {
        "data": traces,
        "layout": _layout(
            shapes=lines,
            xaxis=axis,
            yaxis=_axis(rangemode="tozero", nticks=6, title=_title("contracts held")),
        ),
    }


def spreads(found: Spreads) -> Figure:
    """Share of the time that we quoted both sides at each spread: the market's and ours."""
    return {
        "data": [
            {
                "type": "bar",
                "x": list(found.labels),
                "y": _rounded(np.array(shares) * 100, 3),
                "marker": {"color": colour},
                "hovertemplate": f"{words} %{{x}}: %{{y:.1f}}% of the time<extra></extra>",
            }
            for shares, colour, words in ((found.market, "@mid", "market"), (found.own, "@own", "ours"))
        ],
        "layout": _layout(
            barmode="group",
            bargap=0.25,
            xaxis=_axis(type="category", tickangle=0, title=_title("spread, cents")),
            yaxis=_axis(ticksuffix="%", nticks=6, rangemode="tozero", title=_title("share of time")),
        ),
    }


def markout_curve(curves: Sequence[tuple[str, Sequence[MarkoutPoint]]]) -> Figure:
    """Worth of a fill against the mid as time goes on, cents a contract, with 95% intervals where known.

    Each curve is (colour, points); every curve has the same horizons.
    """
    traces = []
    for colour, points in curves:
        trace: Figure = {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [point.horizon for point in points],
            "y": [_cents(point.estimate) for point in points],
            "line": {"color": colour, "width": 2},
            "marker": {"color": colour, "size": 8},
            "hovertemplate": "%{x}: %{y:.2f} cents<extra></extra>",
        }
        if any(point.low is not None for point in points):
            trace["error_y"] = {
                "type": "data",
                "symmetric": False,
                "array": [_reach(point.estimate, point.high) for point in points],
                "arrayminus": [_reach(point.low, point.estimate) for point in points],
                "color": colour,
                "thickness": 1.5,
                "width": 5,
            }
        traces.append(trace)
    return {
        "data": traces,
        "layout": _layout(
            xaxis=_axis(type="category", tickangle=0),
            yaxis=_axis(
                rangemode="tozero",
                zeroline=True,
                zerolinecolor="@muted",
                nticks=7,
                title=_title("cents a contract"),
            ),
        ),
    }


def _cents(dollars: float | None) -> float | None:
    return None if dollars is None else round(100 * dollars, 4)


def _reach(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else round(100 * (high - low), 4)
