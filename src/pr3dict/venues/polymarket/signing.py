"""A wallet's key behind a door: what is asked of it, what it refuses, and the signer that asks.

The process that holds the key judges each order by itself, from the amounts that it signs: size, price,
orders a minute, dollars an hour. It signs no other thing than orders, the proof of an address that API keys
are made with, and calls that turn dollars of its own wallet into pairs and back. A trading process that asks
for more is refused, whatever it believes.

Questions and answers are lines of JSON, one answer to each question, in order.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.domain.units import NS_PER_SECOND, PRICE_SCALE, format_contracts, format_dollars, format_price
from pr3dict.venues.polymarket.amounts import Side
from pr3dict.venues.polymarket.contracts import (
    SELECTORS,
    SPENDING,
    TARGETS,
    Batch,
    Call,
    Transaction,
    amount_of,
)
from pr3dict.venues.polymarket.sign import (
    Exchange,
    HasDigest,
    Order,
    Signature,
    Wallet,
    WalletKey,
    WalletKind,
    checksum_address,
    parse_token_id,
)

ANSWER_S: Final = 1.0  # that a trading process waits: it does nothing else meanwhile
MAX_LINE: Final = 1 << 16
MINUTE_NS: Final = 60 * NS_PER_SECOND
HOUR_NS: Final = 60 * MINUTE_NS
QUIET_NS: Final = 60 * NS_PER_SECOND  # a token without orders for so long has no price to compare with
AUTHS_A_MINUTE: Final = 20
_PRICE_MICROS: Final = 1_000_000


class SigningRefusedError(DataError):
    """Who holds the key does not sign this, or does not answer: nothing was signed."""


# --- what is asked ---------------------------------------------------------------------------------------


Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", forbid_unknown_fields=True):
    """Root of all questions."""


class Who(Ask, frozen=True, kw_only=True, tag=str.lower):
    """Whose key it is. Answered by `Mine`."""


class SignOrder(Ask, frozen=True, kw_only=True, tag=str.lower):
    """Sign an order; amounts and ids as decimal text. Answered by `Signed`."""

    salt: Count
    token_id: str
    maker_amount: Count
    taker_amount: Count
    side: Side
    timestamp_ms: Count
    exchange: str  # the name of an `Exchange`


class SignAuth(Ask, frozen=True, kw_only=True, tag=str.lower):
    """Prove to Polymarket whose address this is. Answered by `Signed`."""

    timestamp_s: Count
    nonce: Count


class CallText(msgspec.Struct, frozen=True):
    """A call of a contract; `data` in hexadecimal digits."""

    target: str
    data: str


class SignBatch(Ask, frozen=True, kw_only=True, tag=str.lower):
    """Sign a batch of the own deposit wallet. Answered by `Signed`."""

    nonce: Count
    deadline_s: Count
    calls: tuple[CallText, ...]


class SignTransaction(Ask, frozen=True, kw_only=True, tag=str.lower):
    """Sign a transaction of the own EOA. Answered by `Signed`."""

    nonce: Count
    gas_price: Count
    gas: Count
    call: CallText


Question = Who | SignOrder | SignAuth | SignBatch | SignTransaction


class Mine(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="mine"):
    """Whose key it is."""

    address: str
    maker: str
    kind: int
    session: bool


class Signed(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="signed"):
    """A signature, 0x and hexadecimal digits."""

    signature: str


class NotSigned(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="refused"):
    """Nothing was signed."""

    why: str


Reply = Mine | Signed | NotSigned
_encode: Final = msgspec.json.Encoder().encode
decode_question: Final[Callable[[bytes], Question]] = msgspec.json.Decoder(Question).decode
_decode_reply: Final[Callable[[bytes], Reply]] = msgspec.json.Decoder(Reply).decode


def encode_line(message: Question | Reply) -> bytes:
    """A message as it stands on the socket."""
    return _encode(message) + b"\n"


# --- what is refused -------------------------------------------------------------------------------------


class Caps(NamedTuple):
    """What a signer signs at most. Prices in 1/10,000 dollar of the token, sizes in micro-contracts."""

    max_size: int  # of one order, and of one split
    min_price: int = 1
    max_price: int = PRICE_SCALE - 1
    collar: int = 0  # furthest from the price signed before it of the same token; 0: any
    orders_a_minute: int = 600
    notional_an_hour: int = 0  # micros


class Guard:
    """Judges what is to be signed; what was signed counts, what was refused does not."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self._orders: deque[int] = deque()
        self._auths: deque[int] = deque()
        self._spent: deque[tuple[int, int]] = deque()
        self._spent_micros = 0
        self._prices: dict[str, tuple[int, int]] = {}  # tokens to (price, when)

    def order(self, ask: SignOrder, now_ns: int) -> str:
        """Why an order is not signed; "": it is, and counts."""
        dollars, size = (
            (ask.maker_amount, ask.taker_amount)
            if ask.side == "BUY"
            else (ask.taker_amount, ask.maker_amount)
        )
        if dollars <= 0 or size <= 0:
            return "its amounts are none"
        caps, price = self.caps, dollars * PRICE_SCALE // size
        if size > caps.max_size:
            return f"{format_contracts(size)} contracts are over {format_contracts(caps.max_size)}"
        if not caps.min_price <= price <= caps.max_price or dollars >= size:
            span = f"{format_price(caps.min_price)} to {format_price(caps.max_price)}"
            return f"a price of {format_dollars(dollars * _PRICE_MICROS // size)} is outside {span}"
        known, at_ns = self._prices.get(ask.token_id, (0, 0))
        if caps.collar and known and now_ns < at_ns + QUIET_NS and abs(price - known) > caps.collar:
            moved, most = format_price(abs(price - known)), format_price(caps.collar)
            return f"its price is {moved} from the one before it of that token, over {most}"
        if _rate(self._orders, now_ns, MINUTE_NS) >= caps.orders_a_minute:
            return f"{caps.orders_a_minute} orders were signed within a minute"
        why = self._spend(dollars, now_ns)
        if not why:
            self._orders.append(now_ns)
            self._prices[ask.token_id] = (price, now_ns)
        return why

    def auth(self, now_ns: int) -> str:
        """Why an address is not proven; "": it is, and counts."""
        if _rate(self._auths, now_ns, MINUTE_NS) >= AUTHS_A_MINUTE:
            return f"{AUTHS_A_MINUTE} proofs of the address were signed within a minute"
        self._auths.append(now_ns)
        return ""

    def calls(self, calls: tuple[Call, ...], now_ns: int) -> str:
        """Why calls of contracts are not signed; "": they are, and what they spend counts."""
        if not calls:
            return "there is no call in it"
        spent = 0
        for call in calls:
            if call.target not in TARGETS or call.data[:4] not in SELECTORS:
                return f"a call of {call.target} ({call.data[:4].hex()}) is no split, merge or redemption"
            if call.data[:4] in SPENDING:
                amount = amount_of(call)
                if amount > self.caps.max_size:
                    most = format_contracts(self.caps.max_size)
                    return f"a split of {format_contracts(amount)} pairs is over {most}"
                spent += amount
        return self._spend(spent, now_ns)

    def _spend(self, micros: int, now_ns: int) -> str:
        while self._spent and self._spent[0][0] <= now_ns - HOUR_NS:
            self._spent_micros -= self._spent.popleft()[1]
        most = self.caps.notional_an_hour
        if micros and self._spent_micros + micros > most:
            spent, wish = format_dollars(self._spent_micros), format_dollars(micros)
            return f"${wish} more would be over ${format_dollars(most)} an hour (${spent} so far)"
        if micros:
            self._spent.append((now_ns, micros))
            self._spent_micros += micros
        return ""


def _rate(times: deque[int], now_ns: int, span_ns: int) -> int:
    """How many of `times` lie within the last `span_ns`; older ones go."""
    while times and times[0] <= now_ns - span_ns:
        times.popleft()
    return len(times)


class KeyHolder:
    """Answers questions with a wallet's key, within its caps."""

    def __init__(self, key: WalletKey, caps: Caps) -> None:
        self.guard = Guard(caps)
        self.signed = 0
        self.refused = 0
        self._key = key

    def who(self) -> Mine:
        """Whose key it is."""
        key = self._key
        return Mine(address=key.address, maker=key.maker, kind=int(key.kind), session=key.session)

    def answer(self, line: bytes, now_ns: int) -> Reply:
        """The answer to a line; one that is no question is refused."""
        try:
            reply = self._answer(decode_question(line), now_ns)
        except (msgspec.MsgspecError, UnicodeDecodeError, DataError) as error:
            reply = NotSigned(why=f"no question of a trading process: {error}"[:200])
        self.signed += isinstance(reply, Signed)
        self.refused += isinstance(reply, NotSigned)
        return reply

    def _answer(self, ask: Question, now_ns: int) -> Reply:
        key = self._key
        match ask:
            case Who():
                return self.who()
            case SignOrder():
                order, exchange = _order_of(ask), _exchange_of(ask.exchange)
                why = self.guard.order(ask, now_ns)
                return NotSigned(why=why) if why else Signed(signature=key.sign(order, exchange).signature)
            case SignAuth():
                why = self.guard.auth(now_ns)
                return (
                    NotSigned(why=why) if why else Signed(signature=key.sign_auth(ask.timestamp_s, ask.nonce))
                )
        contents = self._contents(ask)
        if contents is None:
            return NotSigned(why=f"a {key.kind.name.lower()} wallet signs no such thing")
        calls = contents.calls if isinstance(contents, Batch) else (contents.call,)
        why = self.guard.calls(calls, now_ns)
        return NotSigned(why=why) if why else Signed(signature="0x" + key.sign_contents(contents).hex())

    def _contents(self, ask: SignBatch | SignTransaction) -> Batch | Transaction | None:
        """What is to be signed, for the own wallet only; None: its kind does not sign that."""
        if isinstance(ask, SignBatch):
            calls = tuple(map(_call_of, ask.calls))
            batch = Batch(self._key.maker, ask.nonce, ask.deadline_s, calls)
            return batch if self._key.kind is WalletKind.DEPOSIT else None
        sent = Transaction(ask.nonce, ask.gas_price, ask.gas, _call_of(ask.call))
        return sent if self._key.kind is WalletKind.EOA else None


def _order_of(ask: SignOrder) -> Order:
    token_id = parse_token_id(ask.token_id)
    return Order(ask.salt, token_id, ask.maker_amount, ask.taker_amount, ask.side, ask.timestamp_ms)


def _exchange_of(name: str) -> Exchange:
    try:
        return Exchange[name]
    except KeyError:
        raise DataError(f"{name[:40]!r} is no exchange", key="exchange") from None


def _call_of(text: CallText) -> Call:
    try:
        target = checksum_address(bytes.fromhex(text.target.removeprefix("0x")))
        return Call(target, bytes.fromhex(text.data))
    except ValueError:
        raise DataError("is no call of a contract", key="calls") from None


def _text_of(call: Call) -> CallText:
    return CallText(call.target, call.data.hex())


# --- who asks --------------------------------------------------------------------------------------------


class Link:
    """One connection to a signer, made when it is needed and given up when it fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Give back the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, question: Question) -> Reply:
        """The answer; raises `SigningRefusedError` where there is none in time."""
        try:
            line = self._exchange(encode_line(question))
            return _decode_reply(line)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.close()  # what is still on its way answers nobody
            why = f"{error.strerror or 'no answer in time'}" if isinstance(error, OSError) else "no answer"
            raise SigningRefusedError(f"the signer process does not answer ({why})") from None

    def _exchange(self, line: bytes) -> bytes:
        link = self._socket
        if link is None:
            link = self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.settimeout(ANSWER_S)
            link.connect(str(self.path))
        link.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            part = link.recv(MAX_LINE)
            if not part or len(answer) + len(part) > MAX_LINE:
                raise ConnectionResetError(None, "it closed the connection")
            answer += part
        return answer


class RemoteSigner(Wallet):
    """A `sign.OrderSigner` and `relayer.ChainSigner` whose key is in another process, behind a socket.

    An order's digest needs no key and is computed here. While a question is asked nothing else is done: an
    answer takes a fraction of a millisecond, and a signer that is stuck a second.
    """

    __slots__ = ("_link",)

    def __init__(self, path: Path) -> None:
        """The signer behind the socket `path`.

        Raises:
            ConfigError: nobody answers there.
        """
        self._link = Link(path)
        try:
            mine = self._link.ask(Who())
        except SigningRefusedError as error:
            raise ConfigError(f"{path}: {error.message}; start `pr3dict signer` first") from None
        if not isinstance(mine, Mine):
            raise ConfigError(f"{path}: no signer answers there")
        super().__init__(mine.address, WalletKind(mine.kind), mine.maker, session=mine.session)

    def close(self) -> None:
        """Give back the socket."""
        self._link.close()

    def sign(self, order: Order, exchange: Exchange) -> Signature:
        """Digest and signature of an order; raises `SigningRefusedError`."""
        asked = SignOrder(
            salt=order.salt,
            token_id=str(order.token_id),
            maker_amount=order.maker_amount,
            taker_amount=order.taker_amount,
            side=order.side,
            timestamp_ms=order.timestamp_ms,
            exchange=exchange.name,
        )
        return Signature(self.digest(order, exchange), self._ask(asked))

    def sign_auth(self, timestamp_s: int, nonce: int) -> str:
        """The proof of the address; raises `SigningRefusedError`."""
        return self._ask(SignAuth(timestamp_s=timestamp_s, nonce=nonce))

    def sign_contents(self, contents: HasDigest) -> bytes:
        """The signature of a `Batch` or `Transaction`; raises `SigningRefusedError`."""
        match contents:
            case Batch(_, nonce, deadline_s, calls):
                asked: Question = SignBatch(
                    nonce=nonce, deadline_s=deadline_s, calls=tuple(map(_text_of, calls))
                )
            case Transaction(nonce, gas_price, gas, call):
                asked = SignTransaction(nonce=nonce, gas_price=gas_price, gas=gas, call=_text_of(call))
            case _:
                raise SigningRefusedError(f"a {type(contents).__name__} is nothing that a signer signs")
        return bytes.fromhex(self._ask(asked).removeprefix("0x"))

    def _ask(self, question: Question) -> str:
        answer = self._link.ask(question)
        if isinstance(answer, Signed):
            return answer.signature
        why = answer.why if isinstance(answer, NotSigned) else "its answer fits no question"
        raise SigningRefusedError(f"the signer refuses: {why}")
