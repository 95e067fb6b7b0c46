"""The relayer: signed batches of deposit wallets, one at a time each, carried out after a while."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from standins.polymarket.asking import Ask
from standins.polymarket.chain import Call, Chain, relayer_key
from standins.polymarket.crypto import ADDRESSES, batch_digest, checksum, raw, recover
from standins.polymarket.errors import RefusedError, refused
from standins.polymarket.state import Account
from standins.polymarket.values import SECOND, Json, new_hash, new_uuid, read_whole
from standins.polymarket.venue import Venue

SUBMITS_A_MINUTE: Final = 25
DONE: Final = ("STATE_CONFIRMED", "STATE_FAILED", "STATE_INVALID")
WORKING: Final = "wallet busy: the wallet already has an active action"


@dataclass(slots=True)
class Transaction:
    """A batch on its way."""

    id: str
    account: Account
    calls: list[Call]
    metadata: str
    state: str = "STATE_NEW"
    hash: str = ""
    error: str | None = None

    def json(self) -> Json:
        """As its owner polls it."""
        return {
            "transaction_id": self.id, "state": self.state, "transaction_hash": self.hash,
            "error_msg": self.error, "metadata": self.metadata,
        }  # fmt: skip


class Relayer:
    """Takes transactions and carries them out."""

    def __init__(self, venue: Venue, chain: Chain) -> None:
        self.venue = venue
        self.chain = chain
        self.transactions: dict[str, Transaction] = {}
        self._submitted: dict[str, deque[int]] = {}

    # --- requests ---------------------------------------------------------------------------------

    def deployed(self, ask: Ask) -> Json:
        """`GET /deployed`."""
        account = self.venue.accounts.get(_address(ask.text("address")))
        return {"deployed": account is not None and account.deployed}

    def params(self, ask: Ask) -> Json:
        """`GET /v1/account/transactions/params`: the nonce of an owner's wallet."""
        owner = self._owner(ask)
        if ask.text("type") != "WALLET" or _address(ask.text("address")) != owner:
            raise refused(400, "unsupported transaction type or address")
        return {"address": owner, "nonce": str(self._account(owner).nonce)}

    def transaction(self, ask: Ask) -> Json:
        """`GET /v1/account/transactions/{id}`."""
        owner = self._owner(ask)
        found = self.transactions.get(ask.path["transaction_id"])
        if found is None or found.account.owner != owner:
            raise refused(404, "transaction not found")
        return found.json()

    def submit(self, ask: Ask) -> Json:
        """`POST /submit`."""
        owner = self._owner(ask)
        self._throttle(ask.now_ns, owner)
        body = ask.fields()
        if _address(body.get("from")) != owner:
            raise refused(400, "from is not the owner of the API key")
        account = self._account(owner)
        if self.venue.faults.hits("relayer_busy") or self._active(account):
            raise refused(400, WORKING)
        if body.get("type") == "WALLET-CREATE":
            calls: list[Call] = []
        elif body.get("type") == "WALLET":
            calls = self._batch(account, body)
        else:
            raise refused(400, "unsupported transaction type")
        made = Transaction(
            new_uuid(self.venue.faults.chance), account, calls, str(body.get("metadata") or "")
        )
        self.transactions[made.id] = made
        seconds = self.venue.faults.draw("relayer_s")
        self.venue.after(seconds / 2, lambda: self._execute(made))
        self.venue.after(seconds, lambda: self._confirm(made))
        return {"transactionID": made.id, "state": made.state, "transactionHash": ""}

    def _owner(self, ask: Ask) -> str:
        owner = _address(ask.headers.get("RELAYER_API_KEY_ADDRESS"))
        if not owner or ask.headers.get("RELAYER_API_KEY") != relayer_key(owner):
            raise refused(401, "invalid authorization")
        return owner

    def _account(self, owner: str) -> Account:
        account = self.venue.account_of(owner, 3)
        if account is None:
            raise refused(400, "no wallet of this owner")
        return account

    def _throttle(self, now_ns: int, owner: str) -> None:
        times = self._submitted.setdefault(owner, deque())
        while times and times[0] <= now_ns - 60 * SECOND:
            times.popleft()
        if len(times) >= SUBMITS_A_MINUTE:
            raise RefusedError(429, {"error": "rate limit exceeded"}, {"Retry-After": "60"})
        times.append(now_ns)

    def _active(self, account: Account) -> bool:
        mine = (t for t in self.transactions.values() if t.account is account)
        return any(t.state not in DONE for t in mine)

    def _batch(self, account: Account, body: Json) -> list[Call]:
        """The calls of a batch, once its owner's signature over them holds."""
        given = body.get("depositWalletParams")
        nonce = read_whole(body.get("nonce"))
        if not isinstance(given, dict) or nonce is None or body.get("to") != ADDRESSES["wallet_factory"]:
            raise refused(400, "invalid batch")
        deadline = read_whole(given.get("deadline"))
        try:
            calls = [_call(each) for each in given["calls"]]
            signature = raw(str(body.get("signature")), 65)
            digest = batch_digest(account.wallet, nonce, deadline or 0, calls)
            signer = recover(digest, signature)
        except Exception as error:  # the signature library has errors of its own
            raise refused(400, "invalid signature") from error
        if signer != account.owner or _address(given.get("depositWallet")) != account.wallet:
            raise refused(400, "invalid signature")
        if nonce != account.nonce:
            raise refused(400, f"batch nonce {nonce} does not match on-chain nonce {account.nonce}")
        if not calls or not account.deployed or (deadline or 0) * SECOND < self.venue.now_ns:
            raise refused(400, "the batch is empty or too late, or its wallet is not deployed")
        return calls

    # --- what becomes of them ---------------------------------------------------------------------

    def _execute(self, made: Transaction) -> None:
        """On the chain; from here on balances are others."""
        made.hash = new_hash(self.venue.faults.chance)
        if self.venue.faults.hits("relayer_failed"):
            made.state, made.error = "STATE_FAILED", "execution reverted"
            return
        if not made.calls:
            made.account.deployed = True
        why = self.chain.execute(made.account, made.calls)
        if made.calls and not why:
            made.account.nonce += 1  # a transaction that is reverted leaves the nonce as it was
        made.state, made.error = ("STATE_FAILED", why) if why else ("STATE_MINED", None)

    @staticmethod
    def _confirm(made: Transaction) -> None:
        if made.state == "STATE_MINED":
            made.state = "STATE_CONFIRMED"


def _call(given: Any) -> Call:
    """One call of a batch; anything else raises."""
    value = read_whole(given["value"])
    if value is None:
        raise ValueError("a value is no number")
    return Call(checksum(given["target"]), value, bytes.fromhex(given["data"].removeprefix("0x")))


def _address(given: Any) -> str:
    """A checksummed address; empty: it is none."""
    try:
        return checksum(given) if isinstance(given, str) else ""
    except ValueError:
        return ""
