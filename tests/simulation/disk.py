"""A disk that may lose what it was not told to keep: the journal port of a simulated process.

Steps are framed with a checksum, appended, and durable only when a sync has ended. A power loss keeps any
subset of what was appended since and may tear the last of it; a killed process keeps all. Opening reads
frames up to the first one that is missing or torn, which is what a write-ahead log gives.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from random import Random

import msgspec

from pr3dict.domain.steps import Step
from simulation.world import MS, World

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Step)


class Disk:
    """The journal and the latch of one data directory."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random: Random = world.stream("disk")
        self.frames: list[bytes] = []  # durable
        self.latch: tuple[str, str] | None = None
        self.full_until_ns = 0
        self.broken = False
        self.slow_until_ns = 0
        self.slow_by_ns = 0
        self._pending: list[tuple[int, bytes]] = []
        self._syncing = False
        self._since_ns = 0
        self._epoch = 0
        self.durable_number = 0

    # --- the running process

    def append(self, step: Step, done: Callable[[int], None], failed: Callable[[str, str], None]) -> None:
        """Write one step; `done(number)` once it is durable, or `failed(why, kind)`."""
        if self.world.now_ns < self.full_until_ns and not self.world.healed:
            self.world.effect(64)
            failed("no space left on device", "full")
            return
        if self.broken:
            self.broken = False
            self.world.effect(65)
            failed("input/output error", "io")
            return
        data = _encoder.encode(step)
        self._pending.append((step.number, zlib.crc32(data).to_bytes(4, "big") + data))
        if not self._syncing:
            self._sync(done)

    def _sync(self, done: Callable[[int], None]) -> None:
        self._syncing = True
        now = self._since_ns = self.world.now_ns
        delay = self.random.randint(MS // 5, 2 * MS)
        if now < self.slow_until_ns and not self.world.healed:
            delay += self.slow_by_ns
            self.world.effect(66)
        self.world.after(delay, self._synced, self._epoch, len(self._pending), done)

    def _synced(self, epoch: int, count: int, done: Callable[[int], None]) -> None:
        if epoch != self._epoch:
            return  # that process is gone
        self._syncing = False
        batch, self._pending = self._pending[:count], self._pending[count:]
        self.frames += [frame for _, frame in batch]
        self.durable_number = batch[-1][0]
        if self._pending:
            self._sync(done)
        done(self.durable_number)

    def waiting_ns(self) -> int:
        """How long the journal has not confirmed what it was given."""
        return self.world.now_ns - self._since_ns if self._syncing else 0

    def slow(self, for_ns: int, by_ns: int) -> None:
        """Make each sync take `by_ns` longer for a while."""
        self.slow_until_ns = self.world.now_ns + for_ns
        self.slow_by_ns = by_ns

    # --- its death and the next life

    def crash(self, power: bool) -> bool:
        """The process dies, or the whole machine (`power`); returns whether anything written was lost."""
        self._epoch += 1
        self._syncing = False
        pending, self._pending = self._pending, []
        if not pending:
            return False
        if not power:  # the operating system still writes what it was given
            self.frames += [frame for _, frame in pending]
            self.durable_number = pending[-1][0]
            return False
        kept = [frame if self.random.random() < 0.5 else b"" for _, frame in pending]
        if kept[-1] and self.random.random() < 0.5:
            kept[-1] = kept[-1][: self.random.randrange(len(kept[-1]))]
        for (number, _), frame in zip(pending, kept, strict=True):
            if not _is_whole(frame):
                return True
            self.frames.append(frame)
            self.durable_number = number
        return False

    def steps(self, after: int = 0) -> Iterator[Step]:
        """The journaled steps with a number above `after`."""
        for frame in self.frames:
            assert _is_whole(frame)
            step = _decoder.decode(frame[4:])
            if step.number > after:
                yield step


def _is_whole(frame: bytes) -> bool:
    return len(frame) > 4 and int.from_bytes(frame[:4], "big") == zlib.crc32(frame[4:])
