"""A process that holds a wallet's key and signs for a trading process, within caps of its own.

It answers on a Unix socket of mode 0600, to processes of its own user only. The trading process never sees
the key, and whatever goes wrong in it, no order leaves that is larger, stranger or faster than the caps say.
They count from the start of this process: it should outlive the trading process, not start with it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from pr3dict.domain.errors import ConfigError, WorkError
from pr3dict.runtime.clock import Clock
from pr3dict.runtime.credentials import PRIVATE
from pr3dict.runtime.logs import no_core_dumps
from pr3dict.runtime.polymarket_access import polymarket_access, signer_variable
from pr3dict.venues.polymarket.sign import WalletKey
from pr3dict.venues.polymarket.signing import MAX_LINE, Caps, KeyHolder, NotSigned, encode_line

Log = structlog.typing.FilteringBoundLogger | structlog.stdlib.BoundLogger
NOWHERE: Final = "http://127.0.0.1:9"  # a key has no need of an address
MAX_PATH: Final = 100  # bytes; what every system takes for the address of a socket
MAX_CLIENTS: Final = 8


def wallet_key(env: str, environment: Mapping[str, str]) -> WalletKey:
    """The wallet's key from its usual places, whatever signer a trading process may be told of.

    Raises:
        ConfigError: there is none, or it can't be used.
    """
    own = {name: value for name, value in environment.items() if name != signer_variable(env)}
    url = NOWHERE if env == "local" else None
    signer = polymarket_access(env, url=url, environment=own).signer
    assert isinstance(signer, WalletKey), "without a socket and with a key there is no other"
    return signer


class SignerServer:
    """Answers until it is closed.

    Attributes:
        holder: the key and its caps, with the counts of what was signed and refused.
    """

    def __init__(self, key: WalletKey, caps: Caps, path: Path, clock: Clock, log: Log) -> None:
        self.holder = KeyHolder(key, caps)
        self.path = path
        self._clock = clock
        self._log = log
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Open the socket.

        Raises:
            ConfigError: the path is too long, taken by something else, or its folder is open to others.
            WorkError: another signer answers there.
        """
        _check_folder(self.path)
        _clear(self.path)
        no_core_dumps()
        before = os.umask(0o177)  # the socket is private from its first moment
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self.path), limit=MAX_LINE)
        except OSError as error:
            raise ConfigError(f"{self.path}: no socket can be made there ({error.strerror})") from None
        finally:
            os.umask(before)
        self.path.chmod(PRIVATE)

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                client.close()
            with suppress(FileNotFoundError):
                self.path.unlink()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS or not _is_ours(writer):
            self._log.warning("connection refused", connections=len(self._clients))
            writer.close()
            return
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                self._answer(line, writer)
                await writer.drain()
        except (ConnectionError, ValueError):  # it went away, or sent a line that is longer than any
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        reply = self.holder.answer(line, self._clock.monotonic_ns())
        if isinstance(reply, NotSigned):
            self._log.warning("refused", why=reply.why, refused=self.holder.refused)
        writer.write(encode_line(reply))


def _check_folder(path: Path) -> None:
    """The folder must be where nobody else can put another socket in this one's place."""
    if len(os.fsencode(path)) > MAX_PATH:
        raise ConfigError(f"{path}: is too long for a socket; name a shorter path, such as /run/user/...")
    try:
        found = path.parent.stat()
    except OSError as error:
        raise ConfigError(f"{path.parent}: no folder for the socket ({error.strerror}); make it") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.getuid(), 0):
        raise ConfigError(f"{path.parent}: is no folder of yours; name another one for the socket")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise ConfigError(f"{path.parent}: others may write there; run `chmod go-w {path.parent}`")


def _clear(path: Path) -> None:
    """Take away the socket of a signer that has ended.

    Raises:
        ConfigError: what lies there is no socket.
        WorkError: a signer answers there.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path}: is no socket; name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise WorkError(f"{path}: a signer answers there already; end it first")


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end is a process of this user, where the system says so (Linux)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True  # the socket's mode alone decides
    link = writer.get_extra_info("socket")
    _, user, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return int(user) == os.getuid()
