"""One self-contained HTML page: sections of text, tables and charts put into the page's template.

Nothing in it asks for anything outside: plotly.js is inside where there is a chart, the content security
policy forbids every request, and only the two scripts whose hashes it names may run. Whatever comes from a
tape is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from plotly.offline import get_plotlyjs

from pr3dict.analytics.figures import Figure

SHAPES: Mapping[str, str] = {
    "line": '<path d="M0 6h18" stroke="{0}" stroke-width="2.5"/>',
    "band": '<path d="M0 1h18v10H0z" fill="{0}"/>',
    "up": '<path d="M9 1l5.5 10h-11z" fill="{0}"/>',
    "down": '<path d="M9 11l5.5-10h-11z" fill="{0}"/>',
    "open": '<path d="M9 1.5l5 9H4z" fill="none" stroke="{0}" stroke-width="1.8"/>',
    "box": '<path d="M3 0h12v12H3z" fill="{0}"/>',
}


class Html(str):
    """Text that is markup already; everything else is escaped when it is put into a page."""

    __slots__ = ()


def html(text: str) -> Html:
    """`text` as it is if it is markup, escaped if it is not."""
    return text if isinstance(text, Html) else Html(escape(text, quote=True))


def tag(name: str, *inside: str, **attributes: str) -> Html:
    """An element; `class_` is written `class`, `data_x` `data-x`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{given}>{''.join(html(part) for part in inside)}</{name}>")


def lines(parts: Iterable[str]) -> Html:
    """Parts below each other."""
    return Html("\n".join(html(part) for part in parts))


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that sorts by a number or a text other than what it shows, or that looks different."""

    text: str
    sort: float | str | None = None
    style: str = ""


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    label: str,
    words: int = 1,
    style: str = "",
    total: bool = False,
) -> Html:
    """A table that scrolls by itself; the first `words` columns hold words, the last row may be a `total`."""
    head = lines(tag("th", text, scope="col", **_words(k < words)) for k, text in enumerate(heads))
    body = [tag("tr", lines(_cell(cell, k < words) for k, cell in enumerate(row))) for row in rows]
    if total and body:
        body[-1] = Html(body[-1].replace("<tr>", '<tr class="total">', 1))
    inside = tag("table", tag("thead", tag("tr", head)), tag("tbody", lines(body)), class_=style)
    return tag("div", inside, class_="scroll", tabindex="0", role="region", aria_label=label)


def _words(is_words: bool, style: str = "") -> dict[str, str]:
    classes = " ".join(filter(None, ("words" if is_words else "", style)))
    return {"class_": classes} if classes else {}


def _cell(cell: str | Cell, is_words: bool) -> Html:
    if not isinstance(cell, Cell):
        return tag("td", cell, **_words(is_words))
    sort = {} if cell.sort is None else {"data_sort": str(cell.sort)}
    return tag("td", cell.text, **_words(is_words, cell.style), **sort)


def legend(*entries: tuple[str, str, str]) -> Html:
    """What the marks of a chart mean: (shape, colour, words)."""
    return tag(
        "ul",
        lines(
            tag(
                "li", Html(f'<svg aria-hidden="true">{SHAPES[shape].format(f"var(--{colour})")}</svg>'), words
            )
            for shape, colour, words in entries
        ),
        class_="legend",
    )


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with a text that stands for it; several `panels` (name, figure) are chosen from a list."""

    name: str
    panels: tuple[tuple[str, Figure], ...]
    alternative: str
    height: int = 380

    def markup(self) -> Html:
        """The box that the page's script draws into, under the list of panels if there are several."""
        box = tag(
            "div", class_="chart", id=self.name, role="img", aria_label=self.alternative,
            data_height=str(self.height), style=f"min-height:{self.height}px",
        )  # fmt: skip
        if len(self.panels) == 1:
            return box
        options = lines(tag("option", name) for name, _ in self.panels)
        chosen = tag("p", self.panels[0][0], class_="chosen", id=f"{self.name}-chosen")
        choose = tag("label", "Market", tag("select", options, data_chart=self.name), class_="choose")
        return lines((choose, chosen, box))


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter: heading, a sentence on what it shows, then parts in order."""

    title: str
    intro: str
    parts: tuple[Html | Chart, ...]

    def markup(self) -> Html:
        """The section as HTML."""
        inside = [part.markup() if isinstance(part, Chart) else part for part in self.parts]
        top = [tag("h2", self.title), *([tag("p", self.intro, class_="intro")] if self.intro else [])]
        charts = sum(isinstance(part, Chart) for part in self.parts[:1])  # on paper it stays with its heading
        return tag(
            "section", tag("div", lines([*top, *inside[:charts]]), class_="together"), *inside[charts:]
        )


def render(title: str, head: Sequence[Html], sections: Sequence[Section], foot: Sequence[Html]) -> str:
    """The page: `head` above the sections, `foot` below."""
    charts = [part for section in sections for part in section.parts if isinstance(part, Chart)]
    figures = {chart.name: [figure for _, figure in chart.panels] for chart in charts}
    parts = {name: _part(f"page.{name}") for name in ("html", "css", "js")}
    plotly = get_plotlyjs() if charts else ""
    data = json.dumps(figures, separators=(",", ":"), allow_nan=False)
    return Template(parts["html"]).substitute(
        title=html(title),
        policy=_policy(plotly, parts["js"]),
        style=parts["css"],
        body=lines([*head, *(section.markup() for section in sections), *foot]),
        figures=data.replace("<", "\\u003c"),  # no text of a tape can close the element
        plotly=plotly,
        script=parts["js"],
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Nothing may be fetched, and only these scripts run. Plotly sets styles of its own."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {allowed}; {rest}"
