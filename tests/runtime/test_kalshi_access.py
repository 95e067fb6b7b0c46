"""The way to Kalshi: hosts and keys never mix, no text shows a secret, and listing takes few requests."""

from __future__ import annotations

import asyncio
import random
import sys
import types
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kalshi_look import VenueClock, access_to, environment, with_standin

from pr3dict.domain.errors import ConfigError
from pr3dict.domain.market import MarketStatus
from pr3dict.runtime.kalshi_access import (
    Selection,
    find_markets,
    kalshi_access,
    key_place,
    read_catalogue,
    renumber,
)
from pr3dict.venues.kalshi.http import HOSTS
from pr3dict.venues.kalshi.rest import KalshiRest
from standins.kalshi import KalshiStandIn, new_key, small_catalog
from standins.kalshi.errors import RefusedError

KEY = new_key()
OTHER = new_key()


def given(env: str = "DEMO", key=KEY, **more: str) -> dict[str, str]:
    names = {
        f"PR3DICT_KALSHI_{env}_KEY_ID": key.id,
        f"PR3DICT_KALSHI_{env}_PRIVATE_KEY": key.pem.replace("\n", "\\n"),
    }
    return {"PR3DICT_CONFIG_DIR": "/nonexistent", **names, **more}


def in_folder(folder: Path, env: str = "demo", key=KEY, mode: int = 0o600) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name, text in ((f"kalshi-{env}.id", key.id + "\n"), (f"kalshi-{env}.pem", key.pem)):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    return {"PR3DICT_CONFIG_DIR": str(folder)}


# --- keys and hosts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("env", ["demo", "prod"])
def test_an_environment_has_its_own_hosts_and_key(env):
    both = given("DEMO", KEY) | given("PROD", OTHER)
    access = kalshi_access(env, environment=both)
    assert (access.rest_url, access.ws_url) == HOSTS[env]
    assert access.signer.key_id == {"demo": KEY, "prod": OTHER}[env].id
    assert access.account == f"kalshi {env} {access.signer.key_id[:8]}"


@pytest.mark.parametrize(("env", "set_for"), [("demo", "PROD"), ("prod", "DEMO"), ("local", "DEMO")])
def test_another_environments_key_is_never_used(env, set_for):
    url = "http://127.0.0.1:9" if env == "local" else None
    with pytest.raises(ConfigError, match=f"the key of {set_for.lower()} is never used for {env}"):
        kalshi_access(env, url=url, environment=given(set_for))
    assert kalshi_access(env, url=url, environment=given(set_for), key=False).signer is None


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ("demo", "https://external-api.kalshi.com/trade-api/v2"),
        ("prod", "https://demo-api.kalshi.co/trade-api/v2"),
        ("demo", "https://demo-api.kalshi.co.evil.example/trade-api/v2"),
        ("demo", "http://127.0.0.1:8080"),
        ("demo", "https://demo-api.kalshi.co/other"),
        ("demo", "https://demo-api.kalshi.co@evil.example/trade-api/v2"),
        ("local", "http://10.0.0.1:8080"),
        ("local", "https://external-api.kalshi.com"),
        ("local", "http://localhost.evil.example:8080"),
        ("local", "http://127.0.0.1:8080/elsewhere"),
        ("local", None),
        ("moon", None),
    ],
)
def test_an_address_of_anywhere_else_is_refused(env, url):
    everything = given("DEMO") | given("PROD") | given("LOCAL")
    with pytest.raises(ConfigError):
        kalshi_access(env, url=url, environment=everything)


@pytest.mark.parametrize(
    ("env", "url", "rest", "stream"),
    [
        (
            "demo",
            "https://demo-api.kalshi.co",
            "https://demo-api.kalshi.co/trade-api/v2",
            "wss://demo-api.kalshi.co/trade-api/ws/v2",
        ),
        (
            "prod",
            "https://api.elections.kalshi.com/trade-api/v2/",
            "https://api.elections.kalshi.com/trade-api/v2",
            "wss://api.elections.kalshi.com/trade-api/ws/v2",
        ),
        (
            "prod",
            "https://external-api.kalshi.com",
            HOSTS["prod"][0],
            HOSTS["prod"][1],
        ),
        (
            "local",
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/trade-api/v2",
            "ws://127.0.0.1:8080/trade-api/ws/v2",
        ),
        (
            "local",
            "http://[::1]:8080/trade-api/v2",
            "http://[::1]:8080/trade-api/v2",
            "ws://[::1]:8080/trade-api/ws/v2",
        ),
    ],
)
def test_other_addresses_of_the_environment_are_known(env, url, rest, stream):
    access = kalshi_access(env, url=url, environment=given(env.upper()))
    assert (access.rest_url, access.ws_url) == (rest, stream)


def test_a_key_comes_from_the_config_folder_if_it_is_private(tmp_path):
    found = in_folder(tmp_path / "config")
    assert kalshi_access("demo", environment=found).signer.key_id == KEY.id
    assert "private to this user" in key_place("demo", found)
    for mode in (0o644, 0o640, 0o660):
        with pytest.raises(ConfigError, match="chmod 600"):
            kalshi_access("demo", environment=in_folder(tmp_path / "config", mode=mode), key=False)
    in_folder(tmp_path / "config")
    (tmp_path / "config" / "kalshi-demo.id").unlink()
    with pytest.raises(ConfigError, match=r"kalshi-demo\.id"):
        kalshi_access("demo", environment=found)


def test_variables_win_over_the_folder_and_are_never_mixed_with_it(tmp_path):
    folder = in_folder(tmp_path / "config", key=OTHER)
    assert kalshi_access("demo", environment=given() | folder).signer.key_id == KEY.id
    half = {"PR3DICT_KALSHI_DEMO_KEY_ID": KEY.id} | folder
    with pytest.raises(ConfigError, match="PR3DICT_KALSHI_DEMO_PRIVATE_KEY: is not set"):
        kalshi_access("demo", environment=half)


def keyring(monkeypatch, entries, error: str = "") -> None:
    """A library `keyring` with these entries of service pr3dict, or one that fails."""
    errors = types.ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})
    errors.NoKeyringError = type("NoKeyringError", (errors.KeyringError,), {})
    library = types.ModuleType("keyring")

    def get_password(service: str, name: str) -> str | None:
        if error:
            raise getattr(errors, error)("locked")
        return entries.get(name) if service == "pr3dict" else None

    library.get_password = get_password
    monkeypatch.setitem(sys.modules, "keyring", library)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)


def test_a_key_comes_from_the_system_keyring(monkeypatch):
    nowhere = {"PR3DICT_CONFIG_DIR": "/nonexistent"}
    keyring(monkeypatch, {"kalshi-demo-key-id": KEY.id, "kalshi-demo-private-key": KEY.pem})
    assert kalshi_access("demo", environment=nowhere).signer.key_id == KEY.id
    assert key_place("demo", nowhere) == "the system keyring"
    with pytest.raises(ConfigError, match="no key for Kalshi's prod"):
        kalshi_access("prod", environment=nowhere)
    keyring(monkeypatch, {"kalshi-demo-key-id": KEY.id})
    with pytest.raises(ConfigError, match="no entry 'kalshi-demo-private-key'"):
        kalshi_access("demo", environment=nowhere)
    keyring(monkeypatch, {}, "KeyringError")
    with pytest.raises(ConfigError, match="did not answer"):
        kalshi_access("demo", environment=nowhere, key=False)
    keyring(monkeypatch, {}, "NoKeyringError")
    assert kalshi_access("demo", environment=nowhere, key=False).signer is None


def test_no_text_shows_the_key(tmp_path):
    access = kalshi_access("demo", environment=given())
    body = KEY.pem.splitlines()[1]
    texts = [repr(access), str(access), access.account, key_place("demo", given())]
    for broken in (
        given() | {"PR3DICT_KALSHI_DEMO_PRIVATE_KEY": KEY.pem[:-40]},
        given() | {"PR3DICT_KALSHI_DEMO_KEY_ID": f"{KEY.pem}"},
    ):
        with pytest.raises(ConfigError) as caught:
            kalshi_access("demo", environment=broken)
        texts.append(str(caught.value))
    assert all(body not in text and KEY.id not in text for text in texts)


def test_the_stream_needs_a_key():
    access = kalshi_access("demo", environment={"PR3DICT_CONFIG_DIR": "/nonexistent"}, key=False)
    with pytest.raises(ConfigError, match="stream needs a key; set PR3DICT_KALSHI_DEMO_KEY_ID"):
        access.streams(VenueClock(None), None, {}, lambda *_: None, private=False)


# --- markets --------------------------------------------------------------------------------------------


async def found_at(server, selection: Selection, **options):
    """What is found, and how many requests it took."""
    clock = VenueClock(server)
    http = access_to(server, key=False).http(clock, answer_s=30)
    try:
        rest = KalshiRest(http)
        options = {"now_ns": clock.now_ns(), "direct_member": True, **options}
        return await find_markets(rest, selection, **options), http.requests
    finally:
        await http.close()


def tickers(found) -> list[str]:
    return [life.listing.ticker for life in found.lives]


@with_standin(small_catalog(6))
async def test_what_is_known_is_passed_over_and_takes_no_place(server):
    names = sorted(market.spec.ticker for market in server.venue.markets)
    found, _ = await found_at(server, Selection(max_markets=2), known=set(names[:3]))
    assert tickers(found) == names[3:5]
    assert [ticker for ticker, _ in found.left_out] == names[5:]


@with_standin(small_catalog(6))
async def test_markets_are_named_by_ticker_event_or_series(server):
    names = [market.spec.ticker for market in server.venue.markets]
    events = [market.spec.event for market in server.venue.markets]
    everything, _ = await found_at(server, Selection())
    assert sorted(tickers(everything)) == sorted(names) and not everything.left_out
    assert [life.listing.market for life in everything.lives] == list(range(6))
    assert {life.listing.ticker: life.shard for life in everything.lives} == {
        market.spec.ticker: market.spec.exchange_index for market in server.venue.markets
    }
    some, _ = await found_at(server, Selection((names[5], names[5]), (events[3],), ("KXA",)))
    assert sorted(tickers(some)) == sorted({names[5], names[3], names[0], names[2], names[4]})
    none, _ = await found_at(server, Selection(("NO-SUCH",), ("NOR-THIS",), ("NOR-THAT",)))
    assert not none.lives and dict(none.left_out) == {
        "NO-SUCH": "Kalshi knows no such market",
        "NOR-THIS": "Kalshi knows no such event",
        "NOR-THAT": "the series has no open event",
    }


@with_standin(small_catalog(5))
async def test_a_paused_market_is_kept_only_where_its_ticker_is_named(server):
    first, second, third = (market.spec for market in server.venue.markets[:3])
    server.do("pause_market", ticker=first.ticker)
    server.do("close_market", ticker=second.ticker)
    everything, _ = await found_at(server, Selection(events=(first.event, second.event, third.event)))
    assert tickers(everything) == [third.ticker]
    assert dict(everything.left_out) == {
        first.ticker: "is inactive, not active",
        second.ticker: "is closed, not active",
    }
    named, _ = await found_at(server, Selection((first.ticker, second.ticker)))
    assert [(life.listing.ticker, life.status) for life in named.lives] == [
        (first.ticker, MarketStatus.PAUSED)
    ]
    assert dict(named.left_out) == {second.ticker: "is closed, not active"}


@with_standin(small_catalog(5))
async def test_markets_that_cannot_be_traded_are_left_out_and_spoil_no_other(server):
    names = [market.spec.ticker for market in server.venue.markets]

    def damage(body):
        markets = {m["ticker"]: (e, m) for e in body["events"] for m in e.get("markets", ())}
        markets[names[0]][1]["market_type"] = "scalar"
        event, market = markets[names[1]]
        event.pop("exchange_index"), market.pop("exchange_index", None)
        markets[names[2]][1]["price_ranges"] = None
        markets[names[3]][1]["yes_bid_dollars"] = 0.45
        return body

    server.rewrites["events"] = damage
    found, _ = await found_at(server, Selection())
    assert tickers(found) == [names[4]]
    why = dict(found.left_out)
    assert why[names[0]] == "is a scalar market; only binary ones are traded"
    assert "exchange_index" in why[names[1]]
    assert why[names[2]].startswith("can't be read") and "price_ranges" in why[names[2]]
    assert why[names[3]].startswith("can't be read") and "yes_bid_dollars" in why[names[3]]


@with_standin(small_catalog(4))
async def test_the_most_traded_markets_are_kept(server):
    names = [market.spec.ticker for market in server.venue.markets]
    for count, name in enumerate(names):
        server.do("take", ticker=name, taker="ask", price="0.4800", contracts=10 + 5 * count)
    found, _ = await found_at(server, Selection(max_markets=2))
    assert tickers(found) == [names[3], names[2]]
    assert {ticker for ticker, _ in found.left_out} == {names[0], names[1]}
    moved = renumber(found.lives, (7, 3))
    assert [(life.listing.market, life.listing.ticker) for life in moved] == [(7, names[3]), (3, names[2])]


@with_standin(small_catalog(4))
async def test_scheduled_fees_are_told_and_hold_when_they_are_due(server):
    clock = VenueClock(server)
    found, _ = await found_at(server, Selection())
    mine = {life.listing.ticker: life.listing for life in found.lives}
    a, b = (next(name for name in mine if name.startswith(series)) for series in ("KXA", "KXB"))
    assert (mine[a].taker_ppm, mine[a].maker_ppm) == (70_000, 0)
    assert (mine[b].taker_ppm, mine[b].maker_ppm) == (70_000, 17_500)
    assert all(text.startswith("quadratic_with_maker_fees times 0.5 from ") for _, text in found.fee_moves)
    assert {ticker[:3] for ticker, _ in found.fee_moves} == {"KXA"}
    later, _ = await found_at(server, Selection(), now_ns=clock.now_ns() + 2 * 86_400 * 10**9)
    due = {life.listing.ticker: life.listing for life in later.lives}[a]
    assert (due.taker_ppm, due.maker_ppm) == (35_000, 8_750) and not later.fee_moves


@with_standin(small_catalog(450))
async def test_hundreds_of_markets_take_a_handful_of_requests(server):
    everything, requests = await found_at(server, Selection())
    assert len(everything.lives) == 450 and requests <= 8
    names = tuple(market.spec.ticker for market in server.venue.markets)
    named, requests = await found_at(server, Selection(names))
    assert len(named.lives) == 450 and requests <= 14


@with_standin(small_catalog(3), tier="basic")
async def test_a_listing_is_patient_when_told_to_wait(server):
    dice = random.Random(7)

    def refuse(body):
        if dice.random() < 0.5:
            raise RefusedError(dice.choice((429, 503)), {"error": "too many requests"})
        return body

    for name in ("events", "series", "series_fee_changes"):
        server.rewrites[name] = refuse

    class Quick(VenueClock):
        waits = 0

        async def sleep(self, span_ns: int) -> None:
            Quick.waits += 1
            await asyncio.sleep(0)

    clock = Quick(server)
    http = access_to(server, key=False).http(clock, answer_s=30)
    try:
        catalogue = await read_catalogue(KalshiRest(http), Selection())
    finally:
        await http.close()
    assert len(catalogue.markets) == 3 and Quick.waits > 0


def test_a_key_at_the_wrong_venue_is_refused_there():
    async def go():
        async with KalshiStandIn(small_catalog(1), tier="prestige") as server:
            wrong = environment(server) | {"PR3DICT_KALSHI_LOCAL_KEY_ID": OTHER.id}
            access = kalshi_access("local", url=server.url, environment=wrong)
            http = access.http(VenueClock(server))
            try:
                with pytest.raises(Exception, match="GET /account/limits"):
                    await KalshiRest(http).limits()
            finally:
                await http.close()

    asyncio.run(go())
