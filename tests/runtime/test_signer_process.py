"""A key in a process of its own: it signs what a wallet signs, within its caps, for its own user alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1]))
from pr3dict.cli.main import run
from pr3dict.domain.commands import Place
from pr3dict.domain.errors import ConfigError, WorkError
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.clock import SystemClock
from pr3dict.runtime.polymarket_access import polymarket_access
from pr3dict.runtime.signer_process import SignerServer
from pr3dict.venues.polymarket.contracts import (
    COLLATERAL,
    Batch,
    Call,
    OperationRequest,
    Transaction,
    calls_of,
)
from pr3dict.venues.polymarket.inventory import OperationBusyError, Stage
from pr3dict.venues.polymarket.orders import PolymarketOrders
from pr3dict.venues.polymarket.outcomes import Verdict
from pr3dict.venues.polymarket.requests import Requests, Terms
from pr3dict.venues.polymarket.sign import Exchange, Order, WalletKey, WalletKind, checksum_address
from pr3dict.venues.polymarket.signing import (
    AUTHS_A_MINUTE,
    HOUR_NS,
    MINUTE_NS,
    QUIET_NS,
    Caps,
    Guard,
    KeyHolder,
    NotSigned,
    RemoteSigner,
    SigningRefusedError,
    SignOrder,
)
from standins.polymarket import PRIVATE_KEY, PolymarketStandIn, small_catalog

KEY = PRIVATE_KEY
WALLET = checksum_address(b"\x5a" * 20)
TOKEN = 71321045679252212594626385532706912750332728571942532289631379312455583992563
CONTRACT = 1_000_000
CAPS = Caps(max_size=100 * CONTRACT, orders_a_minute=50, notional_an_hour=1_000 * CONTRACT)
REPO = Path(__file__).parents[2]


def order(size=10, price=0.5, side="BUY", token=TOKEN):
    tokens, dollars = round(size * CONTRACT), round(size * price * CONTRACT)
    maker, taker = (dollars, tokens) if side == "BUY" else (tokens, dollars)
    return Order(123, token, maker, taker, side, 1_790_000_000_000)


def request(operation="merge", size=5):
    return OperationRequest(
        operation, "0x" + "ab" * 32, str(TOKEN), str(TOKEN), False, size * CONTRACT, size * CONTRACT
    )


class Running:
    """A signer that answers in a thread, so that the asking side may block as it does in earnest."""

    def __init__(self, path: Path, kind=WalletKind.EOA, caps=CAPS, *, session=False) -> None:
        self.path = path
        self.key = WalletKey(KEY, kind, "" if kind is WalletKind.EOA else WALLET, session=session)
        self.server = SignerServer(self.key, caps, path, SystemClock(), structlog.get_logger())
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.do(self.server.start())
        return self

    def __exit__(self, *_):
        self.do(self.server.close())
        self.do(asyncio.sleep(0.02))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "signer"


@pytest.mark.parametrize(
    ("kind", "session"),
    [
        (WalletKind.EOA, False),
        (WalletKind.SAFE, False),
        (WalletKind.DEPOSIT, False),
        (WalletKind.DEPOSIT, True),
    ],
    ids=["eoa", "safe", "deposit", "session"],
)
def test_signatures_are_those_of_the_key(path, kind, session):
    with Running(path, kind, session=session) as running:
        remote, key = RemoteSigner(path), running.key
        assert (remote.address, remote.maker, remote.signer, remote.kind, remote.session) == (
            key.address, key.maker, key.signer, key.kind, session,
        )  # fmt: skip
        for exchange in Exchange:
            assert remote.sign(order(), exchange) == key.sign(order(), exchange)
            assert remote.digest(order(side="SELL"), exchange) == key.digest(order(side="SELL"), exchange)
        assert remote.sign_auth(1_790_000_000, 3) == key.sign_auth(1_790_000_000, 3)
        batch = Batch(key.maker, 4, 1_790_000_000, calls_of(request()))
        sent = Transaction(4, 30 * 10**9, 200_000, calls_of(request())[0])
        wanted = {WalletKind.EOA: sent, WalletKind.DEPOSIT: batch}.get(kind)
        for contents in (batch, sent):
            if contents is wanted:
                assert remote.sign_contents(contents) == key.sign_contents(contents)
            else:
                with pytest.raises(SigningRefusedError, match="signs no such thing"):
                    remote.sign_contents(contents)
        remote.close()


def test_the_socket_is_private_and_gone_afterwards(path):
    with Running(path) as running:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(WorkError, match="answers there already"):
            running.do(SignerServer(running.key, CAPS, path, SystemClock(), structlog.get_logger()).start())
    assert not path.exists()


def test_a_socket_that_a_dead_signer_left_is_taken_and_a_file_is_not(path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with Running(path):
        RemoteSigner(path).close()
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is no socket"), Running(path):
        pass
    assert path.read_text() == "mine"


def test_a_folder_where_others_may_write_is_refused(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write there"), Running(folder / "signer"):
        pass
    with pytest.raises(ConfigError, match="too long"), Running(tmp_path / ("x" * 120)):
        pass
    with pytest.raises(ConfigError, match="no folder"), Running(tmp_path / "none" / "signer"):
        pass


def test_nobody_there_is_said_and_never_waited_for(path):
    with pytest.raises(ConfigError, match="start `pr3dict signer` first"):
        RemoteSigner(path)
    with Running(path):
        remote = RemoteSigner(path)
    with pytest.raises(SigningRefusedError, match="does not answer"):
        remote.sign(order(), Exchange.STANDARD)
    with Running(path) as again:  # it comes back, and the same signer finds it
        assert remote.sign(order(), Exchange.STANDARD) == again.key.sign(order(), Exchange.STANDARD)
    remote.close()


def test_a_signer_that_is_stuck_is_given_up(path, monkeypatch):
    monkeypatch.setattr("pr3dict.venues.polymarket.signing.ANSWER_S", 0.1)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(ConfigError, match="does not answer"):
            RemoteSigner(path)


def test_beyond_the_caps_it_refuses_and_says_why(path):
    with Running(path, WalletKind.DEPOSIT) as running:
        remote = RemoteSigner(path)
        with pytest.raises(SigningRefusedError, match="contracts are over 100"):
            remote.sign(order(size=100.01), Exchange.STANDARD)
        transfer = Call(COLLATERAL, bytes.fromhex("a9059cbb") + bytes(64))
        with pytest.raises(SigningRefusedError, match="no split, merge or redemption"):
            remote.sign_contents(Batch(WALLET, 1, 2, (*calls_of(request()), transfer)))
        with pytest.raises(SigningRefusedError, match="over 100"):
            remote.sign_contents(Batch(WALLET, 1, 2, calls_of(request("split", 101))))
        assert (running.server.holder.signed, running.server.holder.refused) == (0, 3)
        remote.close()


class VenueClock:
    """The stand-in's time."""

    def __init__(self, server) -> None:
        self.now_ns = server.now_ns

    async def sleep(self, span_ns: int) -> None:
        await asyncio.sleep(span_ns / 1e9)


def test_a_trading_process_without_a_key_gets_an_api_key_places_and_splits(path):
    caps = CAPS._replace(notional_an_hour=60 * CONTRACT)

    async def trade():
        async with PolymarketStandIn(small_catalog(1), faults={"relayer_s": [0.05, 0.1]}) as server:
            clock = VenueClock(server)
            where = {"PR3DICT_POLYMARKET_LOCAL_SIGNER_SOCKET": str(path)}
            access = polymarket_access("local", url=server.url, environment=where)
            access = await access.with_api_key(clock)
            http = access.http(clock)
            market = server.venue.markets[0]
            terms = Terms(market.spec.condition, *market.tokens, 100, False)
            maker = Requests(access.signer, access.key.key, lambda _row: terms, "tests")
            place = Place(order_id=1, market=0, side=d.BID, price=4_000, size=10 * CONTRACT, tif=d.POST_ONLY)
            built = maker.create(place, clock.now_ns())
            answer = await PolymarketOrders(http).post(built)
            assert answer.outcome.verdict is Verdict.ACCEPTED and built.digest in server.venue.open
            with pytest.raises(SigningRefusedError, match="contracts are over 100"):
                maker.create(replace(place, order_id=2, size=101 * CONTRACT), clock.now_ns())
            port = access.operations(clock)
            sizes = (50 * CONTRACT, 50 * CONTRACT)
            wanted = OperationRequest("split", market.spec.condition, *market.tokens, False, *sizes)
            name = await port.prepare(wanted)
            tx = await port.submit(wanted, name)
            looks = [(await port.stage(wanted, name, tx), await asyncio.sleep(0.02))[0] for _ in range(20)]
            assert looks[-1].stage is Stage.CONFIRMED
            with pytest.raises(OperationBusyError, match="an hour"):  # 4 and 50 dollars were signed
                await port.prepare(wanted)
            await port.close()
            await http.close()
            access.signer.close()

    with Running(path, caps=caps):
        asyncio.run(asyncio.wait_for(trade(), 20))


# --- caps ------------------------------------------------------------------------------------------------


def ask(size=10 * CONTRACT, price=5_000, side="BUY", token="7") -> SignOrder:
    dollars = size * price // 10_000
    maker, taker = (dollars, size) if side == "BUY" else (size, dollars)
    return SignOrder(
        salt=1, token_id=token, maker_amount=maker, taker_amount=taker, side=side, timestamp_ms=1,
        exchange="STANDARD",
    )  # fmt: skip


def test_orders_a_minute():
    guard = Guard(CAPS._replace(orders_a_minute=3))
    assert [guard.order(ask(), now) for now in (0, 1, 2)] == ["", "", ""]
    assert "3 orders were signed" in guard.order(ask(), MINUTE_NS - 1)
    assert guard.order(ask(), MINUTE_NS) == ""


def test_dollars_an_hour_count_orders_and_splits():
    guard = Guard(CAPS._replace(notional_an_hour=100 * CONTRACT))
    assert guard.order(ask(100 * CONTRACT, 4_000), 0) == ""  # 40 dollars
    assert guard.calls(calls_of(request("split", 50)), 1) == ""
    assert guard.calls(calls_of(request("merge", 90)), 2) == ""  # brings dollars
    assert "an hour" in guard.order(ask(30 * CONTRACT, 4_000), 3)
    assert guard.order(ask(25 * CONTRACT, 4_000), 4) == ""
    assert "an hour" in guard.calls(calls_of(request("split", 1)), 5)
    assert guard.calls(calls_of(request("split", 40)), HOUR_NS) == ""


def test_the_collar_follows_what_was_signed_and_lets_go_after_a_quiet_minute():
    guard = Guard(CAPS._replace(collar=500))
    assert guard.order(ask(price=5_000), 0) == ""
    assert guard.order(ask(price=5_500), 1) == ""
    assert guard.order(ask(price=6_000, side="SELL"), 2) == ""
    assert "from the one before it" in guard.order(ask(price=5_400), 3)
    assert guard.order(ask(price=1_000, token="8"), 4) == ""  # another token
    assert guard.order(ask(price=5_400), 2 + QUIET_NS) == ""


@pytest.mark.parametrize("price", [0, 1, 99, 9_901, 10_000, 12_000])
def test_a_price_outside_the_range_is_refused(price):
    guard = Guard(CAPS._replace(min_price=100, max_price=9_900))
    for side in ("BUY", "SELL"):
        assert guard.order(ask(price=price, side=side), 0) != ""
    assert guard.order(ask(price=100), 0) == "" == guard.order(ask(price=9_900), 0)


def test_proofs_of_the_address_are_few():
    guard = Guard(CAPS)
    assert all(guard.auth(0) == "" for _ in range(AUTHS_A_MINUTE))
    assert guard.auth(1) != "" and guard.auth(MINUTE_NS) == ""


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40) | st.integers(0, 5_000), st.integers(1, 150), st.integers(1, 9_999),
            st.sampled_from(["BUY", "SELL", "split"]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_no_window_ever_holds_more_than_the_caps(asks):
    """Against the slow reference: every window that ends with something signed, summed anew."""
    caps = Caps(60 * CONTRACT, orders_a_minute=4, notional_an_hour=120 * CONTRACT)
    guard, now, signed = Guard(caps), 0, []
    for pause_s, size, price, what in asks:
        now += pause_s * 1_000_000_000
        if what == "split":
            dollars = size * CONTRACT
            why = guard.calls(calls_of(request("split", size)), now)
        else:
            dollars = size * CONTRACT * price // 10_000
            why = guard.order(ask(size * CONTRACT, price, what), now)
        window = [(at, d, k) for at, d, k in signed if at > now - HOUR_NS] + [(now, dollars, what)]
        minute = [k for at, _, k in window if at > now - MINUTE_NS and k != "split"]
        fits = (
            size <= 60
            and sum(d for _, d, _ in window) <= caps.notional_an_hour
            and (what == "split" or len(minute) <= caps.orders_a_minute)
        )
        assert (why == "") == fits, why
        if not why:
            signed.append((now, dollars, what))


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_what_is_no_question_is_refused(line):
    holder = KeyHolder(WalletKey(KEY), CAPS)
    assert isinstance(holder.answer(line, 0), NotSigned) and holder.signed == 0


@pytest.mark.parametrize(
    "change",
    [
        {"token_id": "x"}, {"token_id": "9" * 90}, {"exchange": "NYSE"}, {"side": "HOLD"}, {"salt": 2**300},
        {"maker_amount": -1}, {"maker_amount": 0}, {"taker_amount": 0}, {"maker_amount": 1.5}, {"more": 1},
    ],
)  # fmt: skip
def test_a_question_with_something_odd_in_it_is_refused(change):
    good = {
        "ask": "signorder", "salt": 1, "token_id": "7", "maker_amount": 4_000_000, "taker_amount": 10_000_000,
        "side": "BUY", "timestamp_ms": 1, "exchange": "STANDARD",
    }  # fmt: skip
    holder = KeyHolder(WalletKey(KEY), CAPS)
    assert not isinstance(holder.answer(json.dumps(good).encode(), 0), NotSigned)
    assert isinstance(holder.answer(json.dumps({**good, **change}).encode(), 0), NotSigned)


# --- the command -------------------------------------------------------------------------------------------


def command(path, *more, key=KEY):
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PR3DICT_POLYMARKET")},
        "PR3DICT_POLYMARKET_PROD_WALLET_KEY": key,
        "PYTHONPATH": str(REPO / "src"),
    }
    words = ["-m", "pr3dict.cli.main", "signer", "--socket", str(path), *more]
    return subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_command_signs_until_it_is_ended_and_never_shows_the_key(path):
    caps = ("--max-size", "50", "--notional-per-hour", "1000", "--price-collar", "0.1", "--json")
    process = command(path, *caps)
    try:
        ready = json.loads(process.stdout.readline())
        assert ready["address"] == WalletKey(KEY).address and ready["socket"] == str(path)
        remote = RemoteSigner(path)
        assert remote.sign(order(), Exchange.STANDARD) == WalletKey(KEY).sign(order(), Exchange.STANDARD)
        with pytest.raises(SigningRefusedError, match="51 contracts are over 50"):
            remote.sign(order(size=51), Exchange.STANDARD)
        remote.close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0 and json.loads(out) == {"signed": 1, "refused": 1}
    assert "over 50" in err and "11" * 32 not in out + err
    assert not path.exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--max-size", "0", "--notional-per-hour", "5"), "must be above 0"),
        (("--max-size", "x", "--notional-per-hour", "5"), "--max-size"),
        (("--max-size", "5", "--notional-per-hour", "5", "--price-range", "0.9"), "--price-range"),
        (("--max-size", "5", "--notional-per-hour", "5", "--env", "demo"), "--env"),
    ],
)
def test_caps_that_allow_nothing_are_refused(path, more, why, monkeypatch, capsys):
    monkeypatch.setenv("PR3DICT_POLYMARKET_PROD_WALLET_KEY", KEY)
    assert run(["signer", "--socket", str(path), *more]) == 2
    assert why in capsys.readouterr().err


def test_without_a_key_there_is_nothing_to_sign_with(path, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PR3DICT_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("PR3DICT_POLYMARKET_PROD_WALLET_KEY", raising=False)
    assert run(["signer", "--socket", str(path), "--max-size", "5", "--notional-per-hour", "5"]) == 2
    assert "no wallet for Polymarket's prod" in capsys.readouterr().err
