"""What calls of contracts do to a wallet, and the node that answers questions about it (JSON-RPC)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from standins.polymarket.crypto import (
    ADDRESSES,
    CHAIN_ID,
    address_in,
    array_of,
    checksum,
    keccak,
    recover,
    selector,
    word,
    words_of,
)
from standins.polymarket.state import Account, Leg, MarketState
from standins.polymarket.values import PUSD, SECOND, Json, fixed_uuid
from standins.polymarket.venue import Venue

_NAMES: Final = {checksum(address): name for name, address in ADDRESSES.items()}
_CONDITIONAL: Final = ("conditional", "positions", "old_neg_risk_adapter")
_ADAPTERS: Final = {"adapter": "standard", "neg_risk_adapter": "neg_risk", "router": "v3"}
REVERTED: Final = 3


class Call(NamedTuple):
    """One call of a contract."""

    target: str
    value: int
    data: bytes


class Chain:
    """Executes calls and answers `eth_*`."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.receipts: dict[str, bool] = {}
        self.pending: dict[str, int] = {}  # transactions of EOAs that are not mined, by sender
        self._calls: dict[bytes, Callable[[Account, str, bytes], str]] = {
            selector("splitPosition(address,bytes32,bytes32,uint256[],uint256)"): self._split,
            selector("mergePositions(address,bytes32,bytes32,uint256[],uint256)"): self._merge,
            selector("redeemPositions(address,bytes32,bytes32,uint256[])"): self._redeem,
            selector("split(bytes31,uint256)"): self._router_split,
            selector("merge(bytes31,uint256)"): self._router_merge,
            selector("redeem(bytes31,uint256,uint256)"): self._router_redeem,
            selector("convertPositions(bytes32,uint256,uint256)"): self._convert,
            selector("approve(address,uint256)"): self._approve,
            selector("setApprovalForAll(address,bool)"): self._approve_all,
            selector("transfer(address,uint256)"): self._transfer,
        }
        self._views: dict[bytes, Callable[[str, bytes], list[int]]] = {
            selector("balanceOf(address)"): self._cash,
            selector("balanceOf(address,uint256)"): self._balance,
            selector("balanceOfBatch(address[],uint256[])"): self._balances,
            selector("allowance(address,address)"): self._allowance,
            selector("isApprovedForAll(address,address)"): self._is_approved,
        }

    # --- calls ------------------------------------------------------------------------------------

    def execute(self, account: Account, calls: Sequence[Call]) -> str:
        """Carry calls out in order, the first ones even if a later one fails; returns why it did."""
        for call in calls:
            action = self._calls.get(call.data[:4])
            if action is None:
                return "execution reverted: unknown call"
            try:
                why = action(account, _NAMES.get(call.target, ""), call.data)
            except (ValueError, IndexError):
                return "execution reverted: bad calldata"
            if why:
                return f"execution reverted: {why}"
        self.venue.sweep()
        return ""

    def _condition(self, target: str, condition: str, *, pays: bool, account: Account) -> MarketState | None:
        """The market of a condition, if this contract handles it and may use what the wallet has."""
        market = self.venue.by_condition.get(condition)
        if market is None or _ADAPTERS.get(target) != market.exchange:
            return None
        address = ADDRESSES[target]
        allowed = account.spenders.get(address, 0) > 0 if pays else address in account.operators
        return market if allowed else None

    def _plain(self, account: Account, target: str, data: bytes, *, pays: bool) -> tuple[MarketState, int]:
        words = words_of(data)
        if address_in(words[0]) != ADDRESSES["collateral"] or array_of(words, 3) != [1, 2]:
            raise ValueError("not the collateral or not the two outcomes")
        found = self._condition(target, "0x" + word(words[2]).hex(), pays=pays, account=account)
        if found is None:
            raise ValueError("no such condition here")
        return found, words[4] if len(words) > 4 else 0

    def _split(self, account: Account, target: str, data: bytes) -> str:
        market, amount = self._plain(account, target, data, pays=True)
        return self.venue.ledger.split(self.venue.now_ns, account.wallet, market, amount)

    def _merge(self, account: Account, target: str, data: bytes) -> str:
        market, amount = self._plain(account, target, data, pays=False)
        return self.venue.ledger.merge(self.venue.now_ns, account.wallet, market, amount)

    def _redeem(self, account: Account, target: str, data: bytes) -> str:
        market, _ = self._plain(account, target, data, pays=False)
        return self.venue.ledger.redeem(self.venue.now_ns, account.wallet, market)

    def _routed(self, account: Account, target: str, data: bytes, *, pays: bool) -> tuple[MarketState, int]:
        words = words_of(data)
        found = self._condition(target, "0x" + word(words[0]).hex(), pays=pays, account=account)
        if found is None:
            raise ValueError("no such condition here")
        return found, words[-1]

    def _router_split(self, account: Account, target: str, data: bytes) -> str:
        market, amount = self._routed(account, target, data, pays=True)
        return self.venue.ledger.split(self.venue.now_ns, account.wallet, market, amount)

    def _router_merge(self, account: Account, target: str, data: bytes) -> str:
        market, amount = self._routed(account, target, data, pays=False)
        return self.venue.ledger.merge(self.venue.now_ns, account.wallet, market, amount)

    def _router_redeem(self, account: Account, target: str, data: bytes) -> str:
        market, amount = self._routed(account, target, data, pays=False)
        amounts = (amount, 0) if words_of(data)[1] == 0 else (0, amount)
        return self.venue.ledger.redeem(self.venue.now_ns, account.wallet, market, amounts)

    def _convert(self, account: Account, target: str, data: bytes) -> str:
        words = words_of(data)
        event = "0x" + word(words[0]).hex()
        markets = [m for m in self.venue.markets if m.neg_risk and m.event.neg_risk_id == event]
        if target not in ("neg_risk_adapter", "old_neg_risk_adapter") or not markets:
            return "MarketNotPrepared"
        return self.venue.ledger.convert(self.venue.now_ns, account.wallet, markets, words[1], words[2])

    def _approve(self, account: Account, target: str, data: bytes) -> str:
        words = words_of(data)
        if target == "collateral":
            account.spenders[address_in(words[0])] = words[1]
        return ""

    def _approve_all(self, account: Account, target: str, data: bytes) -> str:
        words = words_of(data)
        if target in _CONDITIONAL:
            change = account.operators.add if words[1] else account.operators.discard
            change(address_in(words[0]))
        return ""

    def _transfer(self, account: Account, target: str, data: bytes) -> str:
        words = words_of(data)
        ledger = self.venue.ledger
        if target != "collateral" or ledger.balances[account.wallet][PUSD] < words[1]:
            return "ERC20: transfer amount exceeds balance"
        legs = [Leg(account.wallet, PUSD, -words[1]), Leg(address_in(words[0]), PUSD, words[1])]
        ledger.apply(self.venue.now_ns, legs)
        return ""

    # --- views ------------------------------------------------------------------------------------

    def _cash(self, target: str, data: bytes) -> list[int]:
        held = self.venue.ledger.balances[address_in(words_of(data)[0])]
        return [held[PUSD] if target == "collateral" else 0]

    def _balance(self, target: str, data: bytes) -> list[int]:
        words = words_of(data)
        return [self._held(target, words[0], words[1])]

    def _held(self, target: str, owner: int, asset: int) -> int:
        if target not in _CONDITIONAL:
            return 0
        return self.venue.ledger.balances[address_in(owner)][str(asset)]

    def _balances(self, target: str, data: bytes) -> list[int]:
        words = words_of(data)
        owners, assets = array_of(words, 0), array_of(words, 1)
        held = [self._held(target, owner, asset) for owner, asset in zip(owners, assets, strict=True)]
        return [32, len(held), *held]

    def _allowance(self, _target: str, data: bytes) -> list[int]:
        owner, spender = (address_in(value) for value in words_of(data)[:2])
        account = self.venue.accounts.get(owner)
        return [account.spenders.get(spender, 0) if account else 0]

    def _is_approved(self, _target: str, data: bytes) -> list[int]:
        owner, operator = (address_in(value) for value in words_of(data)[:2])
        account = self.venue.accounts.get(owner)
        return [int(account is not None and operator in account.operators)]

    # --- JSON-RPC ---------------------------------------------------------------------------------

    def rpc(self, request: Any) -> Any:
        """Answer one request, or a list of them."""
        if isinstance(request, list):
            return [self.rpc(each) for each in request]
        if not isinstance(request, dict):
            return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "invalid request"}}
        answer: Json = {"jsonrpc": "2.0", "id": request.get("id")}
        given = request.get("params")
        params = given if isinstance(given, list) else []
        try:
            return answer | {"result": self._rpc(str(request.get("method")), params)}
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            return answer | {"error": {"code": REVERTED, "message": f"execution reverted: {error}"}}

    def _rpc(self, method: str, params: list[Any]) -> Any:
        now_s = self.venue.now_ns // SECOND
        if method == "eth_getBlockByNumber":
            return {"number": hex(now_s // 2), "timestamp": hex(now_s)}
        if method == "eth_call":
            data = bytes.fromhex(params[0]["data"].removeprefix("0x"))
            view = self._views[data[:4]]
            values = view(_NAMES.get(checksum(params[0]["to"]), ""), data)
            return "0x" + b"".join(map(word, values)).hex()
        if method == "eth_getTransactionCount":
            account = self.venue.accounts.get(checksum(params[0]))
            waiting = 0 if params[1:] == ["latest"] else self.pending.get(checksum(params[0]), 0)
            return hex((account.nonce if account else 0) + waiting)
        if method == "eth_sendRawTransaction":
            return self._send(bytes.fromhex(params[0].removeprefix("0x")))
        if method == "eth_getTransactionReceipt":
            done = self.receipts.get(params[0])
            return None if done is None else {"transactionHash": params[0], "status": hex(done)}
        plain = {
            "eth_chainId": hex(CHAIN_ID), "eth_blockNumber": hex(now_s // 2), "eth_gasPrice": hex(30 * 10**9),
            "eth_estimateGas": hex(200_000),
        }  # fmt: skip
        return plain[method]

    def _send(self, raw: bytes) -> str:
        """A signed transaction of an EOA, with the chain's id in its v (EIP-155)."""
        fields, rest = _rlp(raw)
        if rest or not isinstance(fields, list) or len(fields) != 9:
            raise ValueError("no legacy transaction")
        nonce, _price, _gas, target, value, data, v, r, s = fields
        parity = int.from_bytes(v, "big") - 35 - 2 * CHAIN_ID
        signed = keccak(_rlp_list([*fields[:6], _plain_bytes(CHAIN_ID), b"", b""]))
        sender = recover(signed, r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([parity + 27]))
        account = self.venue.accounts.get(sender)
        if account is None or account.kind != 0:
            raise ValueError("insufficient funds for gas * price + value")
        if int.from_bytes(nonce, "big") != account.nonce + self.pending.get(sender, 0):
            raise ValueError("nonce too low")
        call = Call(checksum(target), int.from_bytes(value, "big"), data)
        tx = "0x" + keccak(raw).hex()
        self.pending[sender] = self.pending.get(sender, 0) + 1
        self.venue.after(self.venue.faults.draw("relayer_s"), lambda: self._mined(account, call, tx))
        return tx

    def _mined(self, account: Account, call: Call, tx: str) -> None:
        self.pending[account.wallet] -= 1
        account.nonce += 1
        failed = self.venue.faults.hits("relayer_failed")
        self.receipts[tx] = not failed and not self.execute(account, [call])


def relayer_key(owner: str) -> str:
    """The relayer API key of an owner."""
    return fixed_uuid("relayer", checksum(owner))


def _rlp(raw: bytes) -> tuple[Any, bytes]:
    """One item of RLP and what follows it."""
    if not raw:
        raise ValueError("RLP ends early")
    first = raw[0]
    if first < 0x80:
        return raw[:1], raw[1:]
    is_list = first >= 0xC0
    base = 0xC0 if is_list else 0x80
    start, length = 1, first - base
    if length > 55:
        start = 1 + length - 55
        length = int.from_bytes(raw[1:start], "big")
    body, rest = raw[start : start + length], raw[start + length :]
    if len(body) != length:
        raise ValueError("RLP ends early")
    if not is_list:
        return body, rest
    items = []
    while body:
        item, body = _rlp(body)
        items.append(item)
    return items, rest


def _rlp_list(items: Sequence[bytes]) -> bytes:
    """A list of byte strings in RLP."""
    body = b"".join(each if len(each) == 1 and each[0] < 0x80 else _head(0x80, each) for each in items)
    return _head(0xC0, body)


def _head(base: int, body: bytes) -> bytes:
    if len(body) < 56:
        return bytes([base + len(body)]) + body
    length = _plain_bytes(len(body))
    return bytes([base + 55 + len(length)]) + length + body


def _plain_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
