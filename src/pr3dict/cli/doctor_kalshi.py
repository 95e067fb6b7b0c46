"""`pr3dict doctor --venue kalshi`: may this key trade, and is Kalshi fit to be traded on? One line a check.

Costs about fifty tokens of reads. Nothing is changed at the venue, unless the round trip of an order is asked
for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp

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
from pr3dict.domain.errors import DataError, Pr3dictError, UsageError
from pr3dict.domain.units import NS_PER_HOUR, NS_PER_SECOND
from pr3dict.runtime.clock import EngineTime, SessionClock, SystemClock
from pr3dict.runtime.kalshi_access import (
    ALSO,
    KalshiAccess,
    Selection,
    find_markets,
    key_names,
    key_place,
)
from pr3dict.store.data_dir import DataDir
from pr3dict.venues.kalshi import models as m
from pr3dict.venues.kalshi.frames import Frame
from pr3dict.venues.kalshi.http import Query
from pr3dict.venues.kalshi.markets import Life
from pr3dict.venues.kalshi.rest import START_TRIES, KalshiRest, ReadFailedError
from pr3dict.venues.session import Clock

if TYPE_CHECKING:
    from pr3dict.venues.kalshi.account_models import ApiKey, ApiKeys

ANSWER_S: Final = 10.0
# Demo took stamps that were 5 s off and refused 30 s: the limit lies between (measured by others).
SKEW_WARN_NS: Final = 2 * NS_PER_SECOND
SKEW_FAIL_NS: Final = 5 * NS_PER_SECOND
WINDOW_WARN_NS: Final = 24 * NS_PER_HOUR
REGION_WARN_NS: Final = 7 * 24 * NS_PER_HOUR
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WRITES: Final = frozenset({"write", "write::trade"})

Check = Callable[[], Awaitable[list[Finding]]]


class Patient(NamedTuple):
    """Who is examined: the way there, its clock, and what is to be traded."""

    access: KalshiAccess
    rest: KalshiRest
    clock: Clock
    place: DataDir
    lives: Sequence[Life]


async def examine_kalshi(
    access: KalshiAccess,
    data_dir: DataDir,
    *,
    orders: bool = False,
    confirmed: bool = False,
    lives: Sequence[Life] = (),
    clock: Clock | None = None,
    subaccount: int | None = None,
) -> list[Finding]:
    """All findings, in order. `lives` are the markets that shall be traded: their shards need money.

    `orders` sends one order of the smallest size through its whole life; at prod only when `confirmed`.

    Raises:
        UsageError: orders were asked for at prod without being confirmed.
    """
    if orders and access.env == "prod" and not confirmed:
        raise UsageError("--orders places an order with real money at prod; add --confirm live")
    clock = clock or SessionClock(EngineTime(SystemClock()))
    http = access.http(clock, answer_s=ANSWER_S)
    rest = KalshiRest(http, subaccount=subaccount, tries=START_TRIES)
    patient = Patient(access, rest, clock, data_dir, lives)
    try:
        findings = [check_host(access)]
        findings += await in_order(check_time(patient), check_exchange(patient), check_schedule(patient))
        if access.signer is None:
            return [*findings, _no_key(access)]
        key = await check_key(patient)
        findings += key
        if key[0].state == "fail":
            return findings
        findings += await in_order(
            check_limits(patient),
            check_costs(patient),
            check_balances(patient),
            check_leftovers(patient),
            check_stream(patient),
        )
        if orders:
            from pr3dict.cli.doctor_orders import round_trip

            findings += await round_trip(access, patient.rest, clock, lives)
        return findings
    finally:
        await http.close()


async def examine_selected(
    access: KalshiAccess, data_dir: DataDir, selection: Selection | None, *, orders: bool
) -> list[Finding]:
    """`examine_kalshi` for the markets of a selection, and a finding about them; None: no market is named.

    Who asks for orders has confirmed them.
    """
    clock = SessionClock(EngineTime(SystemClock()))
    found: list[Finding] = []
    lives: tuple[Life, ...] = ()
    if selection is not None:
        http = access.http(clock, answer_s=ANSWER_S)
        try:
            markets = await find_markets(
                KalshiRest(http), selection, now_ns=clock.now_ns(), direct_member=False
            )
            lives = markets.lives
            found = [markets_finding(markets)]
        except (ReadFailedError, DataError) as error:
            found = _unanswered("markets", error)
        finally:
            await http.close()
    rest = await examine_kalshi(access, data_dir, orders=orders, confirmed=orders, lives=lives, clock=clock)
    return [*rest, *found]


def _unanswered(name: str, error: Exception) -> list[Finding]:
    """What failed to be read."""
    return unanswered(name, error, "https://status.kalshi.com", "the key lacks the scope for it")


def _no_key(access: KalshiAccess) -> Finding:
    names = " and ".join(key_names(access.env))
    return Finding("key", "fail", "none is set", f"set {names}; without one only public reads work")


# --- without the key --------------------------------------------------------------------------------------


def check_host(access: KalshiAccess) -> Finding:
    """Whose address it is: keys never leave their environment."""
    figures = {"env": access.env, "rest": access.rest_url, "stream": access.ws_url}
    text = f"{access.env} at {access.rest_url}"
    if access.env != "local":
        text += f", one of its {len(ALSO[access.env])} addresses"
    return Finding("host", "ok", f"{text}; the key of another environment is never sent there", "", figures)


async def check_time(patient: Patient) -> list[Finding]:
    """Our clock against the date of the venue's answers, which is cut to a second."""
    try:
        skew_ns, rough_ns = await _skew(patient)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        what = f"{patient.access.rest_url} did not answer ({type(error).__name__})"
        return [Finding("venue clock", "fail", what, "check the network and the address")]
    return [clock_finding("Kalshi", skew_ns, rough_ns, SKEW_WARN_NS, SKEW_FAIL_NS)]


async def _skew(patient: Patient) -> tuple[int, int]:
    """Our time less the venue's, and how far that may be off."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    url = f"{patient.access.rest_url}/exchange/status"
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        asked_ns = patient.clock.now_ns()
        async with session.get(url, allow_redirects=False) as answer:
            told = answer.headers.get("Date", "")
        now_ns = patient.clock.now_ns()
    venue_ns = round(parsedate_to_datetime(told).timestamp()) * NS_PER_SECOND + NS_PER_SECOND // 2
    return (asked_ns + now_ns) // 2 - venue_ns, (now_ns - asked_ns) // 2 + NS_PER_SECOND // 2


async def check_exchange(patient: Patient) -> list[Finding]:
    """Whether the exchange and the shards of our markets trade."""
    try:
        status = await patient.rest.status()
    except (ReadFailedError, DataError) as error:
        return _unanswered("exchange", error)
    shards = sorted({life.shard for life in patient.lives}) or [0]
    closed = [s for s in shards if not all(status.of_shard(s))]
    if not closed:
        return [Finding("exchange", "ok", f"trades on {_shards(shards)}", figures={"shards": shards})]
    resume = status.exchange_estimated_resume_time
    text = f"does not trade on {_shards(closed)}"
    text += "" if resume is None else f", expected back at {_at(int(resume))}"
    return [Finding("exchange", "warn", text, "nothing is quoted until it trades again", {"closed": closed})]


async def check_schedule(patient: Patient) -> list[Finding]:
    """Announced maintenance, and the hours of the week without trading."""
    try:
        schedule = await patient.rest.schedule()
    except (ReadFailedError, DataError) as error:
        return _unanswered("maintenance", error)
    now_ns = patient.clock.now_ns()
    windows = sorted((int(w.start_datetime), int(w.end_datetime)) for w in schedule.maintenance_windows)
    coming = [w for w in windows if w[1] > now_ns]
    weekly = _pauses(schedule, now_ns)
    text = (
        f"none announced; every week: {weekly}"
        if not coming
        else (f"announced {_at(coming[0][0])} to {_at(coming[0][1])}; every week: {weekly}")
    )
    soon = bool(coming) and coming[0][0] - now_ns < WINDOW_WARN_NS
    advice = "nothing is quoted then" if soon else ""
    figures = {"windows": [{"start_ns": a, "end_ns": b} for a, b in coming], "weekly": weekly}
    return [Finding("maintenance", "warn" if soon else "ok", text, advice, figures)]


def _pauses(schedule: m.Schedule, now_ns: int) -> str:
    """Hours of the week without trading, in New York's time."""
    hours = [h for h in schedule.standard_hours if int(h.start_time) <= now_ns < int(h.end_time)]
    if not hours:
        return "no hours are stated"
    pauses = []
    for day in DAYS:
        spans = sorted((h.open_time, _midnight(h.close_time)) for h in getattr(hours[0], day))
        at = "00:00"
        for begin, end in [*spans, ("24:00", "24:00")]:
            if begin > at:
                pauses.append(f"{day.capitalize()} {at}-{begin}")
            at = max(at, end)
    return f"closed {', '.join(pauses)} (New York)" if pauses else "always open"


def _midnight(close: str) -> str:
    return "24:00" if close in ("00:00", "23:59") else close


# --- with the key -----------------------------------------------------------------------------------------


async def check_key(patient: Patient) -> list[Finding]:
    """Whether Kalshi takes the key, what it may do, and where its owner may trade."""
    signer = patient.access.signer
    assert signer is not None
    place = key_place(patient.access.env, os.environ)
    known = f"{signer.algorithm} key {signer.key_id[:8]}"
    try:
        keys = await patient.rest.api_keys()
    except ReadFailedError as error:
        if error.status == 403:
            text = f"{known} from {place}; Kalshi takes it but does not show its scopes"
            return [Finding("key", "warn", text, "make sure that it may trade (write::trade)")]
        advice = f"is it a key of {patient.access.env}, and is this clock right?"
        return [Finding("key", "fail", f"{known} from {place}: {error}", advice)]
    except DataError as error:
        return _unanswered("key", error)
    ours = [key for key in keys.api_keys if key.api_key_id == signer.key_id]
    found = Finding(
        "key", "ok", f"{known} from {place}; Kalshi takes it", "", {"algorithm": signer.algorithm}
    )
    return [found, *_scopes(ours[0] if ours else None), _region(keys, patient.clock.now_ns())]


def _scopes(key: ApiKey | None) -> Iterable[Finding]:
    if key is None or key.scopes is None:
        yield Finding(
            "scopes", "warn", "Kalshi does not tell them", "make sure that the key may trade (write::trade)"
        )
        return
    scopes = sorted(key.scopes)
    text, figures = ", ".join(scopes) or "none", {"scopes": scopes}
    if not WRITES & set(scopes):
        advice = "make a key with the scope write::trade, or only look"
        yield Finding("scopes", "fail", f"{text}: no order can be sent", advice, figures)
    elif "read" not in scopes:
        advice = "make a key that also has the scope read"
        yield Finding("scopes", "fail", f"{text}: orders and fills can't be read", advice, figures)
    else:
        yield Finding("scopes", "ok", text, "", figures)
    if key.subaccount is None:
        yield Finding("subaccount", "ok", "the key is not restricted to one")
    else:
        text = f"the key is restricted to subaccount {key.subaccount}"
        state: State = "ok" if key.subaccount == 0 else "warn"
        advice = "" if state == "ok" else f"set subaccount = {key.subaccount} in [kalshi]"
        yield Finding("subaccount", state, text, advice, {"subaccount": key.subaccount})


def _region(keys: ApiKeys, now_ns: int) -> Finding:
    """The attested location, without which some categories can't be traded."""
    what = "sports, elections and entertainment"
    advice = "attest your location on Kalshi's website"
    until_s = keys.api_key_region_expiration_ts
    if until_s is None:
        return Finding("region", "warn", f"never attested: {what} can't be traded", advice)
    until_ns = until_s * NS_PER_SECOND
    figures = {"expires_ns": until_ns}
    if until_ns <= now_ns:
        text = f"the attestation expired at {_at(until_ns)}: {what} can't be traded"
        return Finding("region", "warn", text, advice, figures)
    text = f"attested until {_at(until_ns)}"
    if until_ns - now_ns < REGION_WARN_NS:
        return Finding("region", "warn", text, f"renew it on Kalshi's website, else {what} stop", figures)
    return Finding("region", "ok", text, "", figures)


async def check_limits(patient: Patient) -> list[Finding]:
    """Tier and token buckets."""
    try:
        limits = await patient.rest.limits()
    except (ReadFailedError, DataError) as error:
        return _unanswered("limits", error)
    read, write = limits.read, limits.write
    text = (
        f"tier {limits.usage_tier}: reads {read.refill_rate:,} tokens/s up to {read.bucket_capacity:,}, "
        f"writes {write.refill_rate:,} up to {write.bucket_capacity:,}"
    )
    figures = {
        "tier": limits.usage_tier,
        "read_per_s": int(read.refill_rate),
        "write_per_s": int(write.refill_rate),
    }
    return [Finding("limits", "ok", text, "", figures)]


async def check_costs(patient: Patient) -> list[Finding]:
    """Tokens of each call; what differs from the usual."""
    try:
        costs = await patient.rest.endpoint_costs()
    except (ReadFailedError, DataError) as error:
        return _unanswered("costs", error)
    other = {
        f"{c.method} {c.path}": int(c.cost) for c in costs.endpoint_costs if c.cost != costs.default_cost
    }
    text = f"{costs.default_cost} tokens a call, {len(other)} calls cost otherwise"
    return [Finding("costs", "ok", text, "", {"default": int(costs.default_cost), "others": other})]


async def check_balances(patient: Patient) -> list[Finding]:
    """Money by shard: an order is covered by its own shard's balance alone."""
    try:
        balance = await patient.rest.balance()
    except (ReadFailedError, DataError) as error:
        return _unanswered("balance", error)
    shards = {int(s.exchange_index): int(s.balance) for s in balance.balance_breakdown or ()}
    if not shards:
        shards = {0: int(balance.balance_dollars)}
    needed = sorted({life.shard for life in patient.lives})
    empty = [shard for shard in needed if shards.get(shard, 0) <= 0]
    text = ", ".join(f"shard {shard}: {money(micros)}" for shard, micros in sorted(shards.items()))
    figures = {"micros": {str(shard): micros for shard, micros in shards.items()}, "empty": empty}
    if empty:
        advice = "move money there (Kalshi: intra-exchange transfer) before trading"
        return [
            Finding("balance", "warn", f"{text}; none for the markets of {_shards(empty)}", advice, figures)
        ]
    if not any(shards.values()):
        return [Finding("balance", "warn", text, "no order can be covered", figures)]
    return [Finding("balance", "ok", text, "", figures)]


async def check_leftovers(patient: Patient) -> list[Finding]:
    """Orders that rest and order groups that stand, from whomever."""
    try:
        resting, groups = await asyncio.gather(
            patient.rest.orders(status="resting"), patient.rest.order_groups()
        )
    except (ReadFailedError, DataError) as error:
        return _unanswered("open orders", error)
    runs = runs_here(patient.place)
    orders = "a start in the same data directory takes its own up; cancel the others at Kalshi"
    unused = "a start makes its own; delete what nobody uses any more"
    return [
        leftover_finding("open orders", len(resting), runs, orders),
        leftover_finding("order groups", len(groups), runs, unused),
    ]


async def check_stream(patient: Patient) -> list[Finding]:
    """Connect, subscribe to everything that trading needs, wait for one whole book."""
    try:
        ticker = patient.lives[0].listing.ticker if patient.lives else await _any_market(patient.rest)
    except (ReadFailedError, DataError) as error:
        return _unanswered("stream", error)
    ear = BookEar()
    markets = {ticker: 0} if ticker else {}
    streams = patient.access.streams(patient.clock, ear, markets, _ignore, private=True)
    return [await stream_finding(streams, ear, patient.access.ws_url, ticker)]


def _ignore(_frame: Frame, _now_ns: int) -> None:
    """Frames about the account say nothing that a check needs."""


async def _any_market(rest: KalshiRest) -> str:
    query: Query = {"status": "open", "limit": 1, "mve_filter": "exclude"}
    page = await rest.get(m.Markets, "/markets", public=True, query=query)
    return page.markets[0].ticker if page.markets else ""


# --- words ------------------------------------------------------------------------------------------------


def _shards(shards: Sequence[int]) -> str:
    return f"shard{'' if len(shards) == 1 else 's'} {', '.join(map(str, shards))}"


def _at(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // NS_PER_SECOND, UTC):%Y-%m-%d %H:%M} UTC"


def key_finding(error: Pr3dictError) -> Finding:
    """Why there is no access at all."""
    return Finding("key", "fail", str(error), "docs/venues/kalshi.md tells about keys")
