"""Orders of Polymarket's exchange contracts: their digest, which is their id at the venue, and signatures.

Source: EIP-712 (typed data), ERC-7739 (nested signatures of contract wallets), the order struct of CTF
Exchange V2 and V3. What does not change from order to order, of wallet and exchange, is hashed once.

The digest is known before an order is sent, so an order whose answer was lost can be asked for by name.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple, Protocol

import coincurve
from Crypto.Hash import keccak

from pr3dict.domain.errors import ConfigError, DataError
from pr3dict.venues.polymarket.amounts import Side

CHAIN_ID: Final = 137  # Polygon
PROTOCOL: Final = "Polymarket CTF Exchange"
MAX_SALT: Final = 2**53  # exclusive: a JSON number keeps every bit below
ZERO_BYTES32: Final = "0x" + "00" * 32
_ORDER_TYPE: Final = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    b"uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_NESTED_TYPE: Final = (
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    b"address verifyingContract,bytes32 salt)" + _ORDER_TYPE
)
_AUTH_DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId)"
_AUTH_TYPE: Final = b"ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_AUTH_MESSAGE: Final = b"This message attests that I control the given wallet"
_SESSION_MAGIC: Final = bytes.fromhex("6492" * 16)
_KEY: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_V2_ID_MASK: Final = (2**64 - 1) << 40  # bits that are zero in an id of a Protocol V2 position


def keccak256(data: bytes) -> bytes:
    """Ethereum's hash."""
    return keccak.new(digest_bits=256, data=data).digest()


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


class WalletKind(enum.IntEnum):
    """How a wallet signs; the numbers are those of the order's `signatureType`."""

    EOA = 0
    PROXY = 1
    SAFE = 2
    DEPOSIT = 3


class Exchange(enum.Enum):
    """The contract that settles an order: its address and the version of its EIP-712 domain."""

    STANDARD = ("0xE111180000d2663C0091e4f400237545B87B996B", "2")
    NEG_RISK = ("0xe2222d279d744050d28e00520010520000310F59", "2")
    V3 = ("0xe3333700cA9d93003F00f0F71f8515005F6c00Aa", "3")

    def __init__(self, address: str, version: str) -> None:
        self.address = address
        self.version = version
        self.separator = keccak256(
            keccak256(_DOMAIN_TYPE)
            + keccak256(PROTOCOL.encode())
            + keccak256(version.encode())
            + _word(CHAIN_ID)
            + _word(int(address, 16))
        )


def is_position_id(token_id: int) -> bool:
    """Whether an asset is a Protocol V2 position, not an ERC-1155 token of the old conditional tokens."""
    return token_id & _V2_ID_MASK == 0


def exchange_of(token_id: int, *, neg_risk: bool) -> Exchange:
    """Which contract settles orders for an asset; the wrong one makes every signature invalid."""
    if is_position_id(token_id):
        return Exchange.V3
    return Exchange.NEG_RISK if neg_risk else Exchange.STANDARD


def parse_token_id(text: str) -> int:
    """An asset id from its decimal text; raises `DataError` for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 78) or (value := int(text)) >= 2**256:
        raise DataError(f"{text[:90]!r} is no asset id", key="token_id")
    return value


def checksum_address(raw: bytes) -> str:
    """20 bytes as text with the checksum in its capitals (EIP-55)."""
    plain = raw.hex()
    marks = keccak256(plain.encode()).hex()
    letters = (c.upper() if int(m, 16) > 7 else c for c, m in zip(plain, marks, strict=False))
    return "0x" + "".join(letters)


def parse_address(text: str, what: str) -> str:
    """An address with its checksum.

    Raises:
        ConfigError: it is no address, or its capitals contradict its checksum.
    """
    digits = text.removeprefix("0x")
    try:
        raw = bytes.fromhex(digits) if len(digits) == 40 and text != digits else b""
    except ValueError:
        raw = b""
    if len(raw) != 20:
        raise ConfigError("is no address: write 0x and 40 hexadecimal digits", key=what)
    right = checksum_address(raw)
    if digits not in (digits.lower(), digits.upper()) and text != right:
        raise ConfigError(f"{text} is mistyped: its capitals do not match its checksum", key=what)
    return right


class Order(NamedTuple):
    """What is signed of an order, less what belongs to the wallet. `timestamp_ms` in Unix milliseconds."""

    salt: int
    token_id: int
    maker_amount: int
    taker_amount: int
    side: Side
    timestamp_ms: int


class Signature(NamedTuple):
    """`digest` is the order's id at the venue, both as the venue writes them."""

    digest: str
    signature: str


class OrderSigner(Protocol):
    """Who signs orders: a key in this process, or one behind a door of its own."""

    @property
    def address(self) -> str:
        """The address of the signing key, to which API keys belong."""

    @property
    def maker(self) -> str:
        """The wallet that holds money and tokens."""

    @property
    def signer(self) -> str:
        """What an order names as its signer."""

    @property
    def kind(self) -> WalletKind:
        """How the wallet signs."""

    def sign(self, order: Order, exchange: Exchange) -> Signature:
        """Digest and signature of an order."""

    def digest(self, order: Order, exchange: Exchange) -> str:
        """The digest alone."""

    def sign_auth(self, timestamp_s: int, nonce: int) -> str:
        """The signature that proves to Polymarket whose address this is."""


class HasDigest(Protocol):
    """What a contract or the chain wants signed (`venues/polymarket/contracts.py`)."""

    @property
    def digest(self) -> bytes:
        """The 32 bytes that are signed."""


class Wallet:
    """Whose orders they are, without the key: enough for an order's digest.

    An EOA is its own wallet; the other kinds name the wallet that the key acts for. With `session` the key is
    not the owner's but one that the owner of a deposit wallet authorised.
    """

    __slots__ = ("_head", "_middle", "_nested", "_session", "address", "kind", "maker", "signer")

    def __init__(self, address: str, kind: WalletKind, wallet: str = "", *, session: bool = False) -> None:
        """`address` is the signing key's; raises `ConfigError` where the wallet does not fit its kind."""
        self.address = address
        self.kind = kind
        self.maker = parse_address(wallet, "wallet") if wallet else self.address
        if (kind is WalletKind.EOA) != (self.maker == self.address):
            what = f"a wallet of kind {kind.name.lower()}"
            whose = "is the key's own address" if kind is WalletKind.EOA else "has an address of its own"
            raise ConfigError(f"{what} {whose}", key="wallet")
        if session and kind is not WalletKind.DEPOSIT:
            raise ConfigError("only a deposit wallet has session keys", key="wallet")
        self.signer = self.maker if kind is WalletKind.DEPOSIT else self.address
        maker, signer = _word(int(self.maker, 16)), _word(int(self.signer, 16))
        self._head = keccak256(_ORDER_TYPE)
        self._middle = maker + signer
        wallet_domain = keccak256(b"DepositWallet") + keccak256(b"1") + _word(CHAIN_ID) + signer + bytes(32)
        self._nested = (keccak256(_NESTED_TYPE), wallet_domain)
        self._session = _word(int(self.address, 16)) if session else b""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address}, {self.kind.name.lower()} {self.maker})"

    @property
    def session(self) -> bool:
        """Whether the key is a session key."""
        return bool(self._session)

    def _struct_hash(self, order: Order) -> bytes:
        return keccak256(
            self._head
            + _word(order.salt)
            + self._middle
            + _word(order.token_id)
            + _word(order.maker_amount)
            + _word(order.taker_amount)
            + _word(0 if order.side == "BUY" else 1)
            + _word(self.kind)
            + _word(order.timestamp_ms)
            + bytes(64)  # metadata and builder: none
        )

    def digest(self, order: Order, exchange: Exchange) -> str:
        """The order's id at the venue, without signing it."""
        return "0x" + keccak256(b"\x19\x01" + exchange.separator + self._struct_hash(order)).hex()


class WalletKey(Wallet):
    """The key of a wallet. It is shown by its address, never copied, stored or written anywhere."""

    __slots__ = ("_key",)

    def __init__(
        self, key: str, kind: WalletKind = WalletKind.EOA, wallet: str = "", *, session: bool = False
    ) -> None:
        """`key` is a private key of 64 hexadecimal digits, with or without 0x.

        Raises:
            ConfigError: it is none, or the wallet does not fit its kind; the key is not part of the sentence.
        """
        self._key = _read_key(key)
        public = self._key.public_key.format(compressed=False)
        super().__init__(checksum_address(keccak256(public[1:])[12:]), kind, wallet, session=session)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a wallet's key is never copied or stored")

    def sign(self, order: Order, exchange: Exchange) -> Signature:
        """Digest and signature of an order."""
        contents = self._struct_hash(order)
        digest = keccak256(b"\x19\x01" + exchange.separator + contents)
        if self.kind is not WalletKind.DEPOSIT:
            return Signature("0x" + digest.hex(), "0x" + self._sign(digest).hex())
        head, wallet_domain = self._nested
        nested = keccak256(head + contents + wallet_domain)
        inner = self._sign(keccak256(b"\x19\x01" + exchange.separator + nested))
        trailer = exchange.separator + contents + _ORDER_TYPE + len(_ORDER_TYPE).to_bytes(2, "big")
        return Signature("0x" + digest.hex(), "0x" + self._wrap(inner + trailer).hex())

    def sign_auth(self, timestamp_s: int, nonce: int) -> str:
        """The signature of `ClobAuth`: this key controls its address."""
        domain = keccak256(
            keccak256(_AUTH_DOMAIN_TYPE) + keccak256(b"ClobAuthDomain") + keccak256(b"1") + _word(CHAIN_ID)
        )
        body = keccak256(
            keccak256(_AUTH_TYPE)
            + _word(int(self.address, 16))
            + keccak256(str(timestamp_s).encode())
            + _word(nonce)
            + keccak256(_AUTH_MESSAGE)
        )
        return "0x" + self._sign(keccak256(b"\x19\x01" + domain + body)).hex()

    def sign_contents(self, contents: HasDigest) -> bytes:
        """The signature of a batch or a transaction, as who checks it wants it."""
        return self._wrap(self._sign(contents.digest))

    def _sign(self, digest: bytes) -> bytes:
        """r, s and v (27 or 28); deterministic (RFC 6979), s in the lower half."""
        raw = self._key.sign_recoverable(digest, hasher=None)
        return raw[:64] + bytes((raw[64] + 27,))

    def _wrap(self, signature: bytes) -> bytes:
        """A session key says who it is around its signature."""
        if not self._session:
            return signature
        padding = bytes(-len(signature) % 32)
        body = self._session + bytes(32) + _word(96) + _word(len(signature)) + signature + padding
        return body + _SESSION_MAGIC


def recover_address(digest: bytes, signature: bytes) -> str:
    """Whose key made a signature of 65 bytes; raises `DataError` for one that nobody made."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise DataError("a signature has 65 bytes and ends in 27 or 28", key="signature")
    raw = signature[:64] + bytes((signature[64] - 27,))
    try:
        public = coincurve.PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except ValueError:
        raise DataError("nobody can have made this signature", key="signature") from None
    return checksum_address(keccak256(public.format(compressed=False)[1:])[12:])


def _read_key(text: str) -> coincurve.PrivateKey:
    found = _KEY.fullmatch(text.strip())
    try:
        return coincurve.PrivateKey(bytes.fromhex(found[1] if found else ""))
    except ValueError:
        raise ConfigError(
            "the wallet's key is no private key: export it anew, 64 hexadecimal digits", key="wallet_key"
        ) from None
