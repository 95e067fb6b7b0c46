"""No secret in any output: log files, console, tracebacks, pickles."""

import copy
import io
import json
import logging
import pickle
import resource
import stat
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.runtime import logs
from pr3dict.runtime.logs import LogFile, Secret, make_log, no_core_dumps, redact, redact_value

CANARY = "c4n4ry-Value/of+a=key"
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nabc==\n-----END RSA PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def _forget():
    known = set(logs._known)
    yield
    logs._known.clear()
    logs._known.update(known)


def test_a_secret_is_stars_wherever_it_is_shown():
    secret = Secret(CANARY)
    shown = [
        repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>5}", "a" + secret,
        "{}".format(secret),  # noqa: UP032 - one more way to show it
        json.dumps({"key": secret}), msgspec.json.encode({"key": str(secret)}).decode(), secret.upper(),
        repr([secret]), repr(pickle.loads(pickle.dumps(secret))), str(copy.deepcopy(secret)),
        pickle.dumps([secret]).decode("latin1"),
    ]  # fmt: skip
    assert all(CANARY not in text and CANARY.upper() not in text for text in shown)
    assert json.loads(json.dumps(secret)) == "***"
    assert secret.reveal() == CANARY


def test_secrets_are_equal_by_value():
    assert Secret("abcdefgh") == Secret("abcdefgh") != Secret("abcdefgi")
    assert Secret("abcdefgh") != "***" and len({Secret("abcdefgh"), Secret("abcdefgh")}) == 1


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (f"key {PEM} end", "MIIEow"),
        (f"cut off {PEM[:50]}", "MIIEow"),
        (f"hash 0x{HEX}.", HEX),
        (f"two {HEX}{HEX}", HEX[:16]),
        (f"token {JWT}", "eyJ"),
        ("KALSHI-ACCESS-SIGNATURE: abc/def+ghi==", "abc/def"),
        ("{'POLY_SIGNATURE': 'abcdef', 'a': 1}", "abcdef"),
        ('{"api_key":"topsecretvalue","x":1}', "topsecret"),
        ("Authorization: Bearer abc.def.ghi", "abc.def"),
        ("password=hunter2hunter2 next", "hunter2"),
    ],
)
def test_shapes_of_keys_are_removed(text, gone):
    assert gone not in redact(text) and "***" in redact(text)


def test_ordinary_text_stays():
    text = "order 17 of KXBTC15M rests at 0.4300; 0xdeadbeef, signature missing, cookies are fine"
    assert redact(text) == text


@given(
    before=st.text(max_size=30),
    value=st.text(string.ascii_letters + string.digits + "-_/+=", min_size=6, max_size=60),
    after=st.text(max_size=30),
)
def test_a_known_value_is_removed_from_any_text(before, value, after):
    Secret(value)
    assert value not in redact(f"{before}{value}{after}").replace("***", "\0")
    logs._known.discard(value)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(CANARY), st.binary(max_size=4), st.text(max_size=9)
)
KEYS = st.just("k") | st.just(CANARY)


@given(
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
        max_leaves=12,
    )
)
def test_any_value_of_a_line_is_json_without_the_secret(value):
    Secret(CANARY)
    assert CANARY not in json.dumps(redact_value(value))


def test_a_value_under_a_secret_name_is_removed():
    assert redact_value({"poly_passphrase": "short", "user": "me"}) == {
        "poly_passphrase": "***",
        "user": "me",
    }


def test_no_output_of_a_logger_holds_a_secret(tmp_path):
    secret = Secret(CANARY)
    console = io.StringIO()
    log = make_log(tmp_path / "logs", console=console)
    log.info(
        "started", key=secret, headers={"KALSHI-ACCESS-SIGNATURE": "abcdefghi"}, url=f"https://x/?k={CANARY}"
    )
    try:
        raise ValueError(f"bad key {secret.reveal()} {HEX}")  # noqa: TRY301 - it is logged with its trace
    except ValueError:
        log.exception("failed", seen=[PEM])
    written = (tmp_path / "logs" / "process.jsonl").read_text()
    for text in (written, console.getvalue()):
        assert "ValueError" in text and "started" in text
        assert not [part for part in (CANARY, HEX, "MIIEow", "abcdefghi") if part in text]
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["level"] for line in lines] == ["info", "error"]
    assert stat.S_IMODE((tmp_path / "logs" / "process.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700


def test_the_console_shows_its_level_and_the_file_everything(tmp_path):
    console = io.StringIO()
    log = make_log(tmp_path, console=console, level=logging.WARNING)
    log.debug("detail")
    log.warning("mind")
    assert "detail" not in console.getvalue() and "mind" in console.getvalue()
    assert len((tmp_path / "process.jsonl").read_text().splitlines()) == 2


def test_files_rotate_and_stay_within_their_bound(tmp_path):
    file = LogFile(tmp_path / "process.jsonl", rotate_bytes=100)
    for number in range(500):
        file.write(f"line {number:>20}")
    file.close()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == logs.KEPT_FILES
    assert all(path.stat().st_size <= 150 for path in tmp_path.iterdir())
    newest = (tmp_path / "process.jsonl.1").read_text()
    assert "line" in newest and file.lost_lines == 0


def test_a_disk_that_refuses_costs_lines_and_not_the_process(tmp_path):
    file = LogFile(tmp_path / "process.jsonl")
    file.close()
    file.write("lost")
    assert file.lost_lines == 1


def test_core_dumps_are_off():
    before = resource.getrlimit(resource.RLIMIT_CORE)
    no_core_dumps()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    assert before[0] >= 0 or before[0] == resource.RLIM_INFINITY
