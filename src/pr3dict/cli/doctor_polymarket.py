"""`pr3dict doctor --venue polymarket`: may this wallet trade from here, and is Polymarket fit for it?

One line a check. Nothing is changed at the venue but that a wallet without an API key gets one, unless the
round trip of an order is asked for. A region that Polymarket does not admit is reported; there is no way
around it here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from pr3dict.cli.doctor import Finding, State
from pr3dict.cli.doctor_venue import (
    BookEar,
    clock_finding,
    in_order,
    leftover_finding,
    markets_finding,
    runs_here,
    stream_finding,
    unanswered,
)
from pr3dict.cli.output import money
from pr3dict.domain.errors import DataError, UsageError, WorkError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.runtime.clock import EngineTime, SessionClock, SystemClock
from pr3dict.runtime.polymarket_access import PolymarketAccess, wallet_place
from pr3dict.runtime.polymarket_markets import find_markets
from pr3dict.runtime.venue_selection import Selection
from pr3dict.store.data_dir import DataDir
from pr3dict.venues.polymarket.book import TickChange
from pr3dict.venues.polymarket.budget import TIERS
from pr3dict.venues.polymarket.frames import Frame
from pr3dict.venues.polymarket.inventory import OperationBusyError, OperationUnknownError
from pr3dict.venues.polymarket.markets import Life
from pr3dict.venues.polymarket.models import Geoblock
from pr3dict.venues.polymarket.relayer import Door
from pr3dict.venues.polymarket.rest import AssetType, PolymarketRest, ReadFailedError
from pr3dict.venues.polymarket.sign import Exchange, WalletKind, exchange_of, parse_token_id
from pr3dict.venues.session import Clock

ANSWER_S: Final = 10.0
NEWS: Final = "https://status.polymarket.com"
SKEW_WARN_NS: Final = 2 * NS_PER_SECOND
SKEW_FAIL_NS: Final = 10 * NS_PER_SECOND
ORDER_STRUCT: Final = 2  # the version of the signed order that this program knows
ENOUGH_MICROS: Final = 1_000_000_000_000  # an allowance below it may run out under way
EXCHANGES: Final = {
    Exchange.STANDARD: "standard markets",
    Exchange.NEG_RISK: "neg-risk markets",
    Exchange.V3: "Protocol V2 markets",
}


class Patient(NamedTuple):
    """Who is examined: the way there, its clock, and what is to be traded."""

    access: PolymarketAccess
    rest: PolymarketRest
    clock: Clock
    place: DataDir
    lives: Sequence[Life]


async def examine_polymarket(
    access: PolymarketAccess,
    data_dir: DataDir,
    *,
    orders: bool = False,
    confirmed: bool = False,
    lives: Sequence[Life] = (),
    clock: Clock | None = None,
    why: str = "",
) -> list[Finding]:
    """All findings, in order; `why` there is no wallet in `access`.

    `lives` are the markets that shall be traded: their exchanges need approvals. `orders` sends one order of
    the smallest size through its whole life; at prod only when `confirmed`.

    Raises:
        UsageError: orders were asked for at prod without being confirmed.
    """
    if orders and access.env == "prod" and not confirmed:
        raise UsageError("--orders places an order with real money at prod; add --confirm live")
    clock = clock or SessionClock(EngineTime(SystemClock()))
    findings = [check_host(access)]
    nobody = replace(access, signer=None, key=None)
    http = nobody.http(clock, answer_s=ANSWER_S)
    try:
        public = Patient(nobody, PolymarketRest(http), clock, data_dir, lives)
        findings += await in_order(check_time(public), check_version(public), check_region(public))
        findings.append(check_wallet(access, why))
        if access.signer is None:
            return findings
        key = await find_key(access, clock)
        if isinstance(key, Finding):
            return [*findings, key]
        return [*findings, *await _private(key, data_dir, lives, clock, orders=orders)]
    finally:
        await http.close()


async def _private(
    access: PolymarketAccess, data_dir: DataDir, lives: Sequence[Life], clock: Clock, *, orders: bool
) -> list[Finding]:
    """What only the account's owner can ask."""
    http = access.http(clock, answer_s=ANSWER_S)
    try:
        patient = Patient(access, PolymarketRest(http), clock, data_dir, lives)
        findings = await check_key(patient)
        if findings[0].state == "fail":
            return findings
        findings += await in_order(
            check_deployment(patient),
            check_standing(patient),
            check_money(patient),
            check_tokens(patient),
            check_tier(patient),
            check_leftovers(patient),
            check_stream(patient),
        )
        if orders:
            from pr3dict.cli.doctor_polymarket_orders import round_trip

            findings += await round_trip(access, patient.rest, clock, lives)
        return findings
    finally:
        await http.close()


async def examine_selected(
    access: PolymarketAccess,
    data_dir: DataDir,
    selection: Selection | None,
    *,
    orders: bool,
    why: str = "",
) -> list[Finding]:
    """`examine_polymarket` for the markets of a selection, and a finding about them; None: none is named.

    Who asks for orders has confirmed them.
    """
    clock = SessionClock(EngineTime(SystemClock()))
    found: list[Finding] = []
    lives: tuple[Life, ...] = ()
    if selection is not None:
        http = access.http(clock, answer_s=ANSWER_S)
        try:
            markets = await find_markets(PolymarketRest(http), selection)
            lives, found = markets.lives, [markets_finding(markets)]
        except (ReadFailedError, DataError) as error:
            found = _unanswered("markets", error)
        finally:
            await http.close()
    rest = await examine_polymarket(
        access, data_dir, orders=orders, confirmed=orders, lives=lives, clock=clock, why=why
    )
    return [*rest, *found]


def _unanswered(name: str, error: Exception) -> list[Finding]:
    """What failed to be read."""
    return unanswered(name, error, NEWS, "the API key is not taken, or this region is not admitted")


# --- without a wallet -------------------------------------------------------------------------------------


def check_host(access: PolymarketAccess) -> Finding:
    """Whose address it is: wallets never leave their environment."""
    hosts = access.urls.hosts
    figures = {
        "env": access.env,
        "rest": hosts.clob,
        "stream": hosts.ws_market,
        "relayer": access.urls.relayer,
    }
    text = f"{access.env} at {hosts.clob}; the wallet of another environment is never used there"
    return Finding("host", "ok", text, "", figures)


async def check_time(patient: Patient) -> list[Finding]:
    """Our clock against the venue's, which shows whole seconds."""
    try:
        asked_ns = patient.clock.now_ns()
        venue_ns = await patient.rest.venue_time_ns() + NS_PER_SECOND // 2
        now_ns = patient.clock.now_ns()
    except (ReadFailedError, DataError) as error:
        what = f"{patient.access.urls.hosts.clob} did not tell the time ({error})"
        return [Finding("venue clock", "fail", what, "check the network and the address")]
    skew_ns, rough_ns = (asked_ns + now_ns) // 2 - venue_ns, (now_ns - asked_ns + NS_PER_SECOND) // 2
    return [clock_finding("Polymarket", skew_ns, rough_ns, SKEW_WARN_NS, SKEW_FAIL_NS)]


async def check_version(patient: Patient) -> list[Finding]:
    """Whether the venue takes the orders that this program signs."""
    try:
        version = await patient.rest.version()
    except (ReadFailedError, DataError) as error:
        return _unanswered("order version", error)
    if version == ORDER_STRUCT:
        return [Finding("order version", "ok", f"{version}", "", {"version": version})]
    text = f"the venue takes orders of version {version}; this program signs version {ORDER_STRUCT}"
    return [Finding("order version", "fail", text, "install a newer version", {"version": version})]


async def check_region(patient: Patient) -> list[Finding]:
    """Whether orders are taken from where this machine is: the order API says no, or the web site does."""
    site: Geoblock | None = None
    with suppress(ReadFailedError, DataError):  # the web site may fail without harm to trading
        site = await patient.rest.geoblock()
    where = "" if site is None else " ".join(word for word in (site.country, site.region) if word)
    said = "not known" if site is None else "blocked" if site.blocked else "open"
    place = f"here ({where})" if where else "here"
    advice = "trade only from where Polymarket admits you; this program does not work around it"
    try:
        blocked = await patient.rest.is_blocked()
    except (ReadFailedError, DataError) as error:
        return _unanswered("region", error)
    figures = {"orders": "blocked" if blocked else "open", "web_site": said, "country": where}
    if blocked:
        return [Finding("region", "fail", f"Polymarket takes no orders from {place}", advice, figures)]
    if said == "blocked":
        text = f"the web site is closed {place}, though the order API answers"
        return [Finding("region", "fail", text, advice, figures)]
    return [Finding("region", "ok", f"orders are taken from {place}; the web site is {said}", "", figures)]


# --- the wallet -------------------------------------------------------------------------------------------


def check_wallet(access: PolymarketAccess, why: str) -> Finding:
    """Which wallet it is and how it signs, or why there is none."""
    signer = access.signer
    if signer is None:
        advice = "without one only public reads work; docs/venues/polymarket.md tells about wallets"
        return Finding("wallet", "fail", why or "none is set", advice)
    kind = signer.kind
    figures = {"kind": kind.name.lower(), "maker": signer.maker, "key_address": signer.address}
    text = f"{kind.name.lower()} {signer.maker}, with {wallet_place(access.env, os.environ)}"
    if kind is WalletKind.EOA and access.env == "prod":
        advice = "Polymarket takes orders of an EOA only if it is on its list; others need a deposit wallet"
        return Finding("wallet", "warn", text, advice, figures)
    return Finding("wallet", "ok", text, "", figures)


async def find_key(access: PolymarketAccess, clock: Clock) -> PolymarketAccess | Finding:
    """The access with its API key, or why there is none."""
    try:
        return await access.with_api_key(clock)
    except (WorkError, DataError) as error:
        advice = "is it the key of this wallet, and is this clock right? A deposit wallet must be deployed"
        return Finding("API key", "fail", str(error), advice)


async def check_key(patient: Patient) -> list[Finding]:
    """Whether Polymarket takes the API key, and how many the address has."""
    key = patient.access.key
    assert key is not None
    try:
        ids = await patient.rest.api_keys()
    except (ReadFailedError, DataError) as error:
        advice = "derive it anew: leave PR3DICT_POLYMARKET_..._API_KEY unset"
        return [Finding("API key", "fail", f"{key.key[:4]}...: {error}", advice)]
    figures = {"keys": len(ids)}
    if key.key not in ids:
        text = f"{key.key[:4]}... is taken, but not among the {len(ids)} of {key.address}"
        return [Finding("API key", "warn", text, "is it another wallet's?", figures)]
    text = f"{key.key[:4]}... is taken; {key.address} has {len(ids)}"
    return [Finding("API key", "ok", text, "", figures)]


async def check_deployment(patient: Patient) -> list[Finding]:
    """Whether the chain knows the wallet; a deposit wallet that is not deployed can't trade."""
    signer = patient.access.signer
    assert signer is not None
    if signer.kind is not WalletKind.DEPOSIT:
        return [Finding("deployment", "ok", f"a wallet of kind {signer.kind.name.lower()} needs none")]
    door = Door(patient.access.urls.relayer, {}, ANSWER_S)
    try:
        found = await door.ask("GET", "/deployed", query={"address": signer.maker, "type": "WALLET"})
    except (OperationBusyError, OperationUnknownError) as error:
        text = f"the relayer does not tell ({error})"
        return [Finding("deployment", "warn", text, "try again; merges need the relayer")]
    finally:
        await door.close()
    if found.get("deployed") is True:
        return [Finding("deployment", "ok", f"{signer.maker} is deployed")]
    text = f"{signer.maker} is not deployed: its orders are refused"
    return [Finding("deployment", "fail", text, "make a first deposit at polymarket.com, which deploys it")]


async def check_standing(patient: Patient) -> list[Finding]:
    """Whether the account may open positions."""
    try:
        closed_only = await patient.rest.is_closed_only()
    except (ReadFailedError, DataError) as error:
        return _unanswered("standing", error)
    if closed_only:
        text = "the account may only close positions, so nothing can be quoted"
        return [Finding("standing", "fail", text, "ask Polymarket why", {"closed_only": True})]
    return [Finding("standing", "ok", "may open positions", "", {"closed_only": False})]


# --- money and approvals ----------------------------------------------------------------------------------


async def check_money(patient: Patient) -> list[Finding]:
    """PUSD on the chain, and what each exchange may take of it."""
    try:
        found = await patient.rest.balance()
    except (ReadFailedError, DataError) as error:
        return _unanswered("balance", error)
    micros = int(found.balance)
    state: State = "ok" if micros else "warn"
    advice = "" if micros else "no order can be covered: deposit"
    allowed = _by_exchange(found.allowances)
    return [
        Finding("balance", state, f"{money(micros)} of pUSD", advice, {"micros": micros}),
        _allowance("allowances", allowed, _needed(patient.lives), "pUSD", ENOUGH_MICROS),
    ]


async def check_tokens(patient: Patient) -> list[Finding]:
    """Whether the exchanges may move the tokens that are held, asked of one market for each exchange."""
    asked = {_exchange(life): life for life in reversed(patient.lives)}
    allowed: dict[Exchange, int] = {}
    try:
        for exchange, life in asked.items():
            kind: AssetType = "CONDITIONAL-V2" if exchange is Exchange.V3 else "CONDITIONAL"
            found = await patient.rest.balance(kind, life.yes)
            allowed[exchange] = _by_exchange(found.allowances).get(exchange, 0)
    except (ReadFailedError, DataError) as error:
        return _unanswered("token approvals", error)
    if not allowed:
        return [Finding("token approvals", "ok", "not asked: name markets with --market or --event")]
    return [_allowance("token approvals", allowed, set(allowed), "tokens", 1)]


def _exchange(life: Life) -> Exchange:
    return exchange_of(parse_token_id(life.yes), neg_risk=life.neg_risk)


def _needed(lives: Sequence[Life]) -> set[Exchange]:
    """The exchanges of these markets; none named: that of standard markets."""
    return {_exchange(life) for life in lives} or {Exchange.STANDARD}


def _by_exchange(allowances: Mapping[str, int] | None) -> dict[Exchange, int]:
    """What each exchange may take; spenders are named by address, in whichever capitals."""
    known = {name.lower(): int(value) for name, value in (allowances or {}).items()}
    return {exchange: known.get(exchange.address.lower(), 0) for exchange in EXCHANGES}


def _allowance(
    name: str, allowed: dict[Exchange, int], needed: set[Exchange], what: str, enough: int
) -> Finding:
    lacking = [exchange for exchange in EXCHANGES if allowed.get(exchange, enough) < enough]
    figures = {exchange.name.lower(): str(value) for exchange, value in allowed.items()}
    if not lacking:
        where = ", ".join(EXCHANGES[exchange] for exchange in allowed)
        return Finding(name, "ok", f"the exchanges of {where} may take {what}", "", figures)
    where = ", ".join(EXCHANGES[exchange] for exchange in lacking)
    state: State = "fail" if needed & set(lacking) else "warn"
    advice = "approve it: trade once at polymarket.com, or run its SDK's setup_trading_approvals()"
    return Finding(name, state, f"the exchange of {where} may not take {what}", advice, figures)


# --- limits, leftovers, streams ---------------------------------------------------------------------------


async def check_tier(patient: Patient) -> list[Finding]:
    """The signer's tier, and what it allows."""
    try:
        name = await patient.rest.rate_limit_tier()
    except (ReadFailedError, DataError) as error:
        return _unanswered("limits", error)
    tier = TIERS.get(name.lower())
    if tier is None:
        text = f"tier {name} is not known here; the limits of standard are kept"
        return [Finding("limits", "warn", text, "nothing is lost but speed", {"tier": name})]
    text = (
        f"tier {name.lower()}: {tier.orders} orders/s up to {tier.orders_burst}, "
        f"{tier.cancels} cancels/s up to {tier.cancels_burst}"
    )
    return [Finding("limits", "ok", text, "", {"tier": name.lower(), **tier._asdict()})]


async def check_leftovers(patient: Patient) -> list[Finding]:
    """Orders that rest, from whomever."""
    try:
        resting = await patient.rest.open_orders()
    except (ReadFailedError, DataError) as error:
        return _unanswered("open orders", error)
    advice = "a start in the same data directory takes its own up; cancel the others at polymarket.com"
    return [leftover_finding("open orders", len(resting), runs_here(patient.place), advice)]


async def check_stream(patient: Patient) -> list[Finding]:
    """Connect both channels, subscribe, wait for one whole book."""
    lives = patient.lives[:1]
    if not lives:
        try:
            found = await find_markets(patient.rest, Selection(max_markets=1), ask_orders=False)
            lives = found.lives
        except (ReadFailedError, DataError) as error:
            return _unanswered("stream", error)
    ear = BookEar()
    specs = [life.spec for life in lives]
    streams = patient.access.streams(patient.clock, ear, specs, _ignore, private=True)
    name = lives[0].listing.title if lives else ""
    return [await stream_finding(streams, ear, patient.access.urls.hosts.ws_user, name)]


def _ignore(_frame: Frame | TickChange, _now_ns: int) -> None:
    """What the markets do says nothing that a check needs."""
