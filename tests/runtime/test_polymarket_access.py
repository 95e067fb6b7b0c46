"""The way to Polymarket: hosts and wallets never mix, no text shows a secret, listing takes few requests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from polymarket_look import NOBODY, VenueClock, access_to, environment, with_standin

from pr3dict.domain.errors import ConfigError, WorkError
from pr3dict.domain.events import FeedUp
from pr3dict.domain.market import polymarket_grid
from pr3dict.runtime.logs import redact
from pr3dict.runtime.polymarket_access import polymarket_access, wallet_place
from pr3dict.runtime.polymarket_markets import find_markets
from pr3dict.runtime.venue_selection import Selection, renumber
from pr3dict.venues.polymarket.http import PROD
from pr3dict.venues.polymarket.rest import PolymarketRest, ReadFailedError
from pr3dict.venues.polymarket.sign import WalletKind
from standins.polymarket import small_catalog
from standins.polymarket.errors import RefusedError

KEY = "11" * 32
OTHER = "22" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"  # of KEY
FUNDER = "0x58CA52ebe0DadfdF531Cde7062e76746de4Db1eB"
LOCAL = "http://127.0.0.1:9"


def given(env: str = "PROD", key: str = KEY, **more: str) -> dict[str, str]:
    stem = f"PR3DICT_POLYMARKET_{env}_"
    return {f"{stem}WALLET_KEY": key, **NOBODY, **{f"{stem}{name}": text for name, text in more.items()}}


def in_folder(folder: Path, mode: int = 0o600, **texts: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for suffix, text in texts.items():
        file = folder / f"polymarket-prod.{suffix.replace('_', '-')}"
        file.write_text(f"{text}\n")
        file.chmod(mode)
    return {"PR3DICT_CONFIG_DIR": str(folder)}


# --- wallets and hosts --------------------------------------------------------------------------------


def test_a_plain_key_is_its_own_wallet():
    access = polymarket_access("prod", environment=given())
    assert access.urls.hosts == PROD and access.key is None
    assert (access.signer.kind, access.signer.maker) == (WalletKind.EOA, ADDRESS)
    assert access.account == f"polymarket prod {ADDRESS[:10]}"


@pytest.mark.parametrize(
    ("word", "kind", "signer"),
    [
        ("proxy", WalletKind.PROXY, ADDRESS),
        ("Safe", WalletKind.SAFE, ADDRESS),
        ("deposit", WalletKind.DEPOSIT, FUNDER),
        ("session", WalletKind.DEPOSIT, FUNDER),
    ],
)
def test_a_key_acts_for_the_wallet_that_is_named(tmp_path, word, kind, signer):
    for found in (
        given(WALLET_KIND=word, FUNDER=FUNDER),
        in_folder(tmp_path, wallet_key=KEY, wallet=f"{word} {FUNDER}"),
    ):
        wallet = polymarket_access("prod", environment=found).signer
        assert (wallet.kind, wallet.maker, wallet.signer) == (kind, FUNDER, signer)
        assert wallet.address == ADDRESS


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"FUNDER": FUNDER}, "say how the wallet signs"),
        ({"WALLET_KIND": "deposit"}, "the wallet's address is not set"),
        ({"WALLET_KIND": "metamask", "FUNDER": FUNDER}, "is no kind of wallet; use one of eoa"),
        ({"WALLET_KIND": "eoa", "FUNDER": FUNDER}, "is the key's own address"),
        ({"WALLET_KIND": "deposit", "FUNDER": FUNDER.swapcase()}, "is no address"),
        ({"WALLET_KIND": "deposit", "FUNDER": FUNDER[:-1]}, "is no address"),
        ({"API_KEY": "an-id"}, "an API key has three parts"),
    ],
)
def test_half_a_wallet_is_refused_with_what_is_missing(more, words):
    with pytest.raises(ConfigError, match=words):
        polymarket_access("prod", environment=given(**more))


def test_a_signers_socket_stands_for_the_key(tmp_path):
    socket = {"PR3DICT_POLYMARKET_PROD_SIGNER_SOCKET": str(tmp_path / "signer")}
    assert wallet_place("prod", NOBODY | socket) == f"the signer process behind {tmp_path / 'signer'}"
    with pytest.raises(ConfigError, match="WALLET_KEY and the signer's socket are both set"):
        polymarket_access("prod", environment=given() | socket)
    with pytest.raises(ConfigError, match="start `pr3dict signer` first"):
        polymarket_access("prod", environment=NOBODY | socket)


def test_a_wallets_file_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"polymarket-prod\.wallet: write the kind"):
        polymarket_access("prod", environment=in_folder(tmp_path, wallet_key=KEY, wallet="one two three"))


def test_another_environments_wallet_is_never_used():
    with pytest.raises(ConfigError, match="the key of local is never used for prod"):
        polymarket_access("prod", environment=given("LOCAL"))
    with pytest.raises(ConfigError, match="the key of prod is never used for local"):
        polymarket_access("local", url=LOCAL, environment=given("PROD"))
    nobody = polymarket_access("prod", environment=given("PROD", "broken"), key=False)
    assert nobody.signer is None and nobody.account == "polymarket prod without a wallet"


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ("prod", "https://clob.polymarket.com.evil.example"),
        ("prod", "https://clob-staging.polymarket.com"),
        ("prod", "http://clob.polymarket.com"),
        ("prod", LOCAL),
        ("prod", "https://clob.polymarket.com/other"),
        ("local", "http://10.0.0.1:8080"),
        ("local", "https://clob.polymarket.com"),
        ("local", "http://127.0.0.1:8080/gamma"),
        ("local", None),
        ("demo", None),
    ],
)
def test_an_address_of_anywhere_else_is_refused(env, url):
    with pytest.raises(ConfigError):
        polymarket_access(env, url=url, environment=given("PROD") | given("LOCAL"))


def test_a_stand_ins_other_addresses_follow_from_its_first():
    access = polymarket_access("local", url="http://[::1]:8080/", environment=given("LOCAL"))
    base = "http://[::1]:8080"
    assert access.urls.hosts == (
        base, f"{base}/gamma", base, base, "ws://[::1]:8080/ws/market", "ws://[::1]:8080/ws/user"
    )  # fmt: skip
    assert (access.urls.relayer, access.urls.rpc) == (f"{base}/relayer", f"{base}/rpc")
    assert polymarket_access("prod", url="https://clob.polymarket.com/", environment=given()).env == "prod"


def test_a_key_comes_from_the_config_folder_if_it_is_private(tmp_path):
    found = in_folder(tmp_path, wallet_key=KEY)
    assert polymarket_access("prod", environment=found).signer.address == ADDRESS
    assert (
        wallet_place("prod", found)
        == f"the file {tmp_path}/polymarket-prod.wallet-key (private to this user)"
    )
    with pytest.raises(ConfigError, match="chmod 600"):
        polymarket_access("prod", environment=in_folder(tmp_path, 0o644, wallet_key=KEY))
    wins = given(key=OTHER) | {"PR3DICT_CONFIG_DIR": str(tmp_path)}
    assert polymarket_access("prod", environment=wins).signer.address != ADDRESS
    half = found | {"PR3DICT_POLYMARKET_PROD_API_KEY": "an-id"}
    with pytest.raises(ConfigError, match="PR3DICT_POLYMARKET_PROD_WALLET_KEY: is not set"):
        polymarket_access("prod", environment=half)


def test_no_text_shows_a_secret():
    secret, passphrase = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "word" * 8
    found = given(API_KEY="0123-4567", API_SECRET=secret, API_PASSPHRASE=passphrase)
    access = polymarket_access("prod", environment=found)
    assert access.relayer_key is None and access.key.key == "0123-4567" and access.key.address == ADDRESS
    texts = [repr(access), str(access), access.account, wallet_place("prod", found)]
    for broken in (given(key=KEY[:-2]), given(API_KEY="x", API_SECRET="!", API_PASSPHRASE=passphrase)):
        with pytest.raises(ConfigError) as caught:
            polymarket_access("prod", environment=broken)
        texts.append(str(caught.value))
    assert not any(hidden in text for hidden in (KEY, KEY[:-2], secret, passphrase) for text in texts)


@with_standin(small_catalog(1))
async def test_the_api_key_is_the_wallets_own_and_never_shown(server):
    clock = VenueClock(server)
    made = await access_to(server, key=True).with_api_key(clock)
    again = await access_to(server, key=True).with_api_key(clock)
    assert made.key.parts() == again.key.parts() and made.key.address == server.address
    assert await again.with_api_key(clock) is again
    for part in made.key.parts()[1:]:
        assert part not in redact(f"the secret is {part}") and part not in repr(made)
    http = made.http(clock)
    try:
        assert await PolymarketRest(http).is_closed_only() is False
    finally:
        await http.close()
    with pytest.raises(ConfigError, match="no wallet for Polymarket's local"):
        await access_to(server).with_api_key(clock)


@with_standin(small_catalog(1))
async def test_a_venue_that_gives_no_key_says_so(server):
    for name in ("create_key", "derive_key"):
        server.rewrites[name] = refused(401)
    with pytest.raises(WorkError, match="gave no API key"):
        await access_to(server, key=True).with_api_key(VenueClock(server))


def refused(status: int):
    def answer(body):
        raise RefusedError(status, {"error": "no"})

    return answer


class Ear:
    def __init__(self) -> None:
        self.events = []

    def put_rows(self, rows) -> None:
        pass

    def push(self, event) -> None:
        self.events.append(event)


@with_standin(small_catalog(1))
async def test_the_accounts_channel_needs_an_api_key(server):
    clock, ear = VenueClock(server), Ear()
    with pytest.raises(ConfigError, match="the account's channel needs an API key"):
        access_to(server, key=True).streams(clock, ear, (), lambda *_: None, private=True)
    access = await access_to(server, key=True).with_api_key(clock)
    streams = access.streams(clock, ear, (), lambda *_: None, private=True)
    streams.start()
    try:
        for _ in range(400):
            if any(isinstance(event, FeedUp) for event in ear.events):
                break
            await clock.sleep(5_000_000)
        assert any(isinstance(event, FeedUp) for event in ear.events)
    finally:
        await streams.close()


# --- markets --------------------------------------------------------------------------------------------


async def found_at(server, selection: Selection, **options):
    """What is found, and how many requests it took."""
    http = access_to(server).http(VenueClock(server), answer_s=30)
    try:
        return await find_markets(PolymarketRest(http), selection, **options), http.requests
    finally:
        await http.close()


def slugs(server, found) -> list[str]:
    by_condition = {}
    for market in server.venue.markets:
        by_condition[market.spec.condition] = by_condition[market.spec.condition[:64]] = market.spec.slug
    return [by_condition[life.listing.ticker] for life in found.lives]


@with_standin(small_catalog(5))
async def test_markets_are_named_by_condition_slug_event_or_tag(server):
    specs = [market.spec for market in server.venue.markets]
    everything, _ = await found_at(server, Selection())
    assert sorted(slugs(server, everything)) == sorted(spec.slug for spec in specs)
    assert [life.listing.market for life in everything.lives] == list(range(5)) and not everything.left_out
    some, _ = await found_at(server, Selection((specs[4].condition, "plain-1", "plain-1"), ("field",)))
    assert sorted(slugs(server, some)) == ["field-2", "field-3", "plain-1", "second-4"]
    field = {life.listing.event_id for life in some.lives if life.listing.exclusive}
    assert len(field) == 1, "both markets of the field are one event, of which one ends YES"
    none, _ = await found_at(server, Selection(("0x" + "ab" * 32, "no-such"), ("nor-this",)))
    assert not none.lives and dict(none.left_out) == {
        "0x" + "ab" * 32: "Polymarket lists no open market of this name",
        "no-such": "Polymarket lists no open market of this name",
        "nor-this": "Polymarket lists no open event of this name",
    }


@with_standin(small_catalog(5))
async def test_the_order_api_has_the_last_word_on_terms(server):
    specs = {market.spec.slug: market.spec for market in server.venue.markets}
    found, _ = await found_at(server, Selection())
    lives = dict(zip(slugs(server, found), found.lives, strict=True))
    assert lives["plain-1"].tick == 10 and lives["plain-1"].listing.grids[0] == polymarket_grid(10)
    assert (lives["plain-1"].listing.taker_ppm, lives["field-2"].neg_risk) == (0, True)
    assert lives["second-4"].condition == specs["second-4"].condition

    def coarser(body):
        return body | {"mts": 0.1, "mos": 17}

    server.rewrites["clob_market"] = coarser
    other, _ = await found_at(server, Selection(("plain-0",)))
    assert (other.lives[0].tick, other.lives[0].listing.min_size) == (1_000, 17_000_000)
    cheap, requests = await found_at(server, Selection(), ask_orders=False)
    assert len(cheap.lives) == 5 and requests == 1


@with_standin(small_catalog(5))
async def test_what_cannot_be_followed_is_left_out_and_spoils_no_other(server):
    server.do("accept_orders", market="plain-0", accepting=False)
    server.do("resolve", market="plain-1", result="yes")

    def damage(body):
        for market in body["markets"]:
            if market["slug"] == "field-2":
                market["volume24hr"] = "many"
            if market["slug"] == "field-3":
                market["clobTokenIds"] = "[]"
        return body

    server.rewrites["gamma_markets"] = damage
    found, _ = await found_at(server, Selection())
    assert slugs(server, found) == ["second-4"]
    why = {name[:12]: text for name, text in found.left_out}
    names = {market.spec.slug: market.spec.condition[:12] for market in server.venue.markets}
    assert why["field-2"].startswith("can't be read") and "volume24hr" in why["field-2"]
    assert why[names["field-3"]] == "has no condition or no tokens yet"
    assert why[names["plain-0"]] == "takes no orders" and names["plain-1"] not in why
    named, _ = await found_at(server, Selection(("plain-0", "plain-1")))
    assert slugs(server, named) == ["plain-0"] and not named.lives[0].asking
    assert dict(named.left_out) == {"plain-1": "Polymarket lists no open market of this name"}


@with_standin(small_catalog(3))
async def test_a_market_that_the_order_api_does_not_know_yet_leaves_its_place(server):
    traded(server, {"plain-0": 30, "plain-1": 20, "field-2": 10})
    unknown = server.venue.markets[0].spec.condition

    def not_yet(body):
        if body["c"] == unknown:
            raise RefusedError(404, {"error": "market not found"})
        return body

    server.rewrites["clob_market"] = not_yet
    found, _ = await found_at(server, Selection(max_markets=1))
    assert slugs(server, found) == ["plain-1"]
    assert [why for _, why in found.left_out] == [
        "is not yet known to the order API",
        "trades less than the 1 markets that were asked for",
    ]


def traded(server, shares: dict[str, int]) -> None:
    for slug, size in shares.items():
        server.do("take", market=slug, taker="ask", price="0.4800", shares=size)


@with_standin(small_catalog(4))
async def test_the_most_traded_markets_are_kept(server):
    traded(server, {"plain-1": 10, "field-3": 20, "field-2": 5})
    found, _ = await found_at(server, Selection(max_markets=2))
    assert slugs(server, found) == ["field-3", "plain-1"] and len(found.left_out) == 2
    known = {life.listing.ticker for life in found.lives}
    more, _ = await found_at(server, Selection(max_markets=1), known=known)
    assert slugs(server, more) == ["field-2"]
    moved = renumber(found.lives, (7, 3))
    assert [life.listing.market for life in moved] == [7, 3]


@with_standin(small_catalog(250))
async def test_the_catalogue_is_read_as_far_as_it_is_needed(server):
    everything, requests = await found_at(server, Selection(), ask_orders=False)
    assert len(everything.lives) == 250 and requests == 3
    few, requests = await found_at(server, Selection(max_markets=10))
    assert len(few.lives) == 10 and requests == 1 + 10
    traded(server, {f"plain-{place}": 1 + place for place in (10, 120, 249)})  # not in the order asked for
    most, _ = await found_at(server, Selection(max_markets=3), ask_orders=False)
    assert slugs(server, most) == ["plain-249", "plain-120", "plain-10"]


@with_standin(small_catalog(3))
async def test_a_listing_is_patient_when_told_to_wait(server):
    class Quick(VenueClock):
        waits = 0

        async def sleep(self, span_ns: int) -> None:
            Quick.waits += 1

    server.rewrites["gamma_markets"] = server.rewrites["clob_market"] = sometimes()
    http = access_to(server).http(Quick(server), answer_s=30)
    try:
        found = await find_markets(PolymarketRest(http), Selection())
        assert len(found.lives) == 3 and Quick.waits >= 2
        server.rewrites["gamma_markets"] = refused(403)
        with pytest.raises(ReadFailedError):
            await find_markets(PolymarketRest(http), Selection())
    finally:
        await http.close()


def sometimes():
    asked = [0]

    def answer(body):
        asked[0] += 1
        if asked[0] % 2:
            raise RefusedError(429, {"error": "slow down"})
        return body

    return answer


def test_variables_of_a_stand_in_are_those_of_its_wallet():
    class Server:
        private_key = KEY

    assert polymarket_access("local", url=LOCAL, environment=environment(Server)).signer.address == ADDRESS
