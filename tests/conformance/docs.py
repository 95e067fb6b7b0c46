"""`make docs`: the numbered list of a venue's page, docs/venues/<venue>.md, from its rows."""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path

from conformance.rows import HERE, rows_of, titles_of, unused_of, venues

BEGIN, END = "<!-- rows: made by `make docs` -->", "<!-- rows: end -->"
DEMO = " *(demo)*"


def page_of(venue: str) -> Path:
    """The venue's page."""
    return HERE.parents[1] / "docs" / "venues" / f"{venue}.md"


def render(venue: str) -> str:
    """The list as it stands in the page."""
    titles, found = titles_of(venue), rows_of(venue)
    lines = [BEGIN, f"`make conformance VENUE={venue}` runs one test for each row."]
    if any(row.demo for row in found):
        lines = [
            BEGIN,
            f"`make conformance VENUE={venue}` runs one test for each row, `ENV=demo` beside it those with",
            f"{DEMO.strip()} against the demo account.",
        ]
    for section, rows in groupby(found, key=lambda row: row.key[0]):
        lines += ["", f"### {section}. {titles[section]}", ""]
        lines += [f"- {row.number} {row.text}{DEMO if row.demo else ''}" for row in rows]
    unused = unused_of(venue)
    if unused:
        lines += ["", "### Not used", ""]
        lines += [f"- {one.what}: {one.why}." for one in unused]
    return "\n".join([*lines, "", END])


def replaced(text: str, block: str) -> str:
    """The page with its list replaced; raises `ValueError` where it has no place for one."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the rows: write {BEGIN} and {END} into it")
    return head + block + tail


def main() -> None:
    """Write the lists of all venues, or of one."""
    parser = argparse.ArgumentParser(prog="python -m conformance.docs", description=__doc__)
    parser.add_argument("--venue", choices=venues())
    given = parser.parse_args()
    for venue in [given.venue] if given.venue else venues():
        page = page_of(venue)
        page.write_text(replaced(page.read_text(encoding="utf-8"), render(venue)), encoding="utf-8")


if __name__ == "__main__":
    main()
