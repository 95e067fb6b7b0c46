"""The page's frame: nothing escapes from a text, nothing is fetched, only the known scripts may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from pr3dict.analytics.page import Cell, Chart, Section, legend, render, table, tag

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\"'&amp;"


class Seen(HTMLParser):
    """Tags, attributes and text of a page as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def page() -> str:
    chart = Chart("c", (("one", {"data": [HOSTILE]}), (HOSTILE, {"data": [1]})), HOSTILE)
    rows = [(Cell(HOSTILE, HOSTILE), "2"), ("b", Cell("3", 3.5, "gain"))]
    parts = (chart, legend(("line", "own", HOSTILE)), table(("A", HOSTILE), rows, label=HOSTILE, total=True))
    return render(HOSTILE, [tag("h1", HOSTILE)], [Section(HOSTILE, HOSTILE, parts)], [tag("footer", "end")])


def test_a_hostile_text_stays_text():
    seen = Seen(page())
    names = [name for name, _ in seen.tags]
    assert names.count("script") == 3
    assert "img" not in names
    assert not any(key.startswith("on") for _, attributes in seen.tags for key in attributes)
    assert seen.texts.count(HOSTILE) >= 6
    labels = [attributes["aria-label"] for _, attributes in seen.tags if "aria-label" in attributes]
    assert labels == [HOSTILE, HOSTILE]
    figures = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page(), re.DOTALL)
    assert json.loads(figures[1])["c"][0]["data"] == [HOSTILE]


@given(st.text(), st.text())
def test_any_text_comes_back_as_it_was(text, label):
    markup = tag("p", tag("b", text), aria_label=label)
    seen = Seen(markup)
    assert "".join(seen.texts).replace("\r", "\n") == text.replace("\r", "\n")
    assert [name for name, _ in seen.tags] == ["p", "b"]
    assert seen.tags[0][1]["aria-label"] == label


def test_only_the_scripts_of_the_page_may_run():
    whole = page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', whole)[1]
    scripts = re.findall(r"<script>(.*?)</script>", whole, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(hashes) == 2
    assert policy.startswith(
        "default-src 'none'; script-src " + " ".join(f"'sha256-{one}'" for one in hashes) + ";"
    )
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert "\r" not in whole


def test_nothing_is_fetched():
    whole = page()
    for name, attributes in Seen(whole).tags:
        assert name not in ("link", "iframe", "object", "embed", "img", "base", "a")
        assert not {"src", "href", "srcset", "action", "data", "poster"} & set(attributes)
    style = re.search(r"<style>(.*?)</style>", whole, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_cells_sort_by_their_number_and_the_sum_is_last():
    markup = table(
        ("A", "B"), [("x", Cell("$1,000", 1000)), ("all", "9")], label="t", total=True, style="sortable"
    )
    assert '<td data-sort="1000">$1,000</td>' in markup
    assert re.search(r'<tr class="total"><td class="words">all</td>', markup)
    assert markup.count("<tr>") == 2
    assert '<th scope="col" class="words">A</th>' in markup


def test_one_panel_needs_no_list():
    one = Chart("c", (("only", {}),), "words", 300)
    assert "<select" not in one.markup()
    assert 'data-height="300"' in one.markup()
    assert Chart("c", (("a", {}), ("b", {})), "words").markup().count("<option>") == 2
