"""`pr3dict paper --exchange`: what its address may be; tests/crash trades with it."""

from __future__ import annotations

import pytest

from pr3dict.cli.paper import paper_command, parse_address
from pr3dict.domain.errors import UsageError, WorkError


def test_an_address_is_a_host_and_a_port():
    assert parse_address("127.0.0.1:7070") == ("127.0.0.1", 7070)
    assert parse_address("localhost:1") == ("localhost", 1)
    assert parse_address("::1:65535") == ("::1", 65_535)


@pytest.mark.parametrize(
    "text", ["7070", ":7070", "host:", "host:0", "host:65536", "host:-1", "host:x", "h:٣"]
)
def test_anything_else_is_refused(text: str):
    with pytest.raises(UsageError, match="give HOST:PORT, for example"):
        parse_address(text)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "say what to trade"),
        ({"exchange": "h:1", "replay": ["x"]}, "say what to trade"),
        ({"exchange": "h:1", "tapes": ["x"]}, "say what to trade"),
        ({"exchange": "h:1", "report": "r.html"}, "--report: a report needs recordings"),
    ],
)
def test_options_that_contradict_are_refused(given, sentence, tmp_path):
    if "report" in given:
        given = given | {"report": tmp_path / given["report"]}
    with pytest.raises(UsageError, match=sentence):
        paper_command(**given)


def test_where_nobody_listens_it_says_so(tmp_path):
    with pytest.raises(
        WorkError, match=r"no exchange answers at 127\.0\.0\.1:1 .*; start `pr3dict exchange`"
    ):
        paper_command(exchange="127.0.0.1:1", data_dir=tmp_path / "data", headless=True)
