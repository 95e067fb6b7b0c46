"""An `Account` at rest."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pr3dict.domain.errors import DataError
from pr3dict.engine.fills import LedgerState
from pr3dict.engine.operations import OperationsState
from pr3dict.engine.reconcile import ReadsState

VERSION: Final = 1


class AccountState(msgspec.Struct, frozen=True, array_like=True):
    """An `Account` whose wallets never did an operation."""

    version: int
    cash_micros: int
    opening_micros: int
    next_order_id: int
    started_ns: int
    began_ns: int
    ledgers: tuple[LedgerState, ...]
    reads: tuple[ReadsState, ...]
    transfers: tuple[str, ...]
    open: list[list[Any]]
    closed: list[list[Any]]


class WithOperations(AccountState, frozen=True, array_like=True):
    """Without operations the bytes are those of accounts that never heard of any."""

    operations: OperationsState | None = None


_DECODER: Final = msgspec.msgpack.Decoder(WithOperations)


def encode_state(operations: OperationsState | None, **fields: Any) -> bytes:
    """The bytes of an account; `fields` are those of `AccountState` without the version."""
    state = AccountState(version=VERSION, **fields)
    if operations is not None:
        state = WithOperations(version=VERSION, **fields, operations=operations)
    return msgspec.msgpack.encode(state)


def decode_state(blob: bytes) -> WithOperations:
    """What `encode_state` wrote; raises `DataError` for anything else."""
    try:
        state = _DECODER.decode(blob)
    except msgspec.MsgspecError as error:
        raise DataError(f"the snapshot of the account can't be read: {error}") from error
    if state.version != VERSION:
        raise DataError(f"the snapshot of the account has version {state.version}, not {VERSION}")
    return state
