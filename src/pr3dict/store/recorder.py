"""Keeps the market data of a running process: rows into memory at once, segments to disk from a thread.

A crash loses what was not yet flushed and leaves every segment before it whole. A disk that is slower than
the feed makes `append` wait once two buffers are full; a disk that refuses makes the next call raise.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.kernels import dtypes as d
from pr3dict.store.recording import Note, segment_path, write_segment
from pr3dict.store.tape import TapeMeta

SEGMENT_ROWS: Final = 1 << 18
_WORDS: Final = d.EVENT.itemsize // 8


class Recorder:
    """One recording, in a folder of its own; called from one thread.

    Attributes:
        folder: where its segments are.
        rows: how many rows were appended.
        kept: how many of them are on the disk.
    """

    def __init__(self, folder: str | Path, *, segment_rows: int = SEGMENT_ROWS) -> None:
        self.folder = Path(folder)
        self.rows = 0
        self.kept = 0
        self._markets: dict[int, TapeMeta] = {}
        self._notes: list[Note] = []
        self._number = 0
        self._handed = 0  # rows given to the thread
        self._used = 0
        self._buffers = [np.zeros(segment_rows, d.EVENT) for _ in range(2)]
        self._words = [buffer.view(np.int64).reshape(-1, _WORDS) for buffer in self._buffers]
        self._turn = 0  # the buffer that fills
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._writing: Future[None] | None = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise WorkError(f"{self.folder}: can't be made ({error.strerror or error})") from error
        if segment_path(self.folder, 1).exists():
            raise WorkError(f"{self.folder}: holds a recording already; name another folder")

    def list(self, market: int, meta: TapeMeta) -> None:
        """Say which market row `market` is, before its first row; later: what is known better.

        Raises:
            WorkError: the row is another market.
        """
        known = self._markets.get(market)
        if known is not None and (known.venue, known.ticker) != (meta.venue, meta.ticker):
            raise WorkError(f"row {market} is {known.ticker}, it can't become {meta.ticker}")
        self._markets = {**self._markets, market: meta}  # the thread may be reading the old one

    def append(self, rows: d.Array) -> None:
        """Keep EVENT rows of any listed markets, in order of arrival.

        Raises:
            WorkError: the disk refused an earlier segment.
        """
        words: npt.NDArray[np.int64] = np.ascontiguousarray(rows).view(np.int64).reshape(-1, _WORDS)
        self.rows += len(words)
        while len(words) > len(self._words[0]) - self._used:
            room = len(self._words[0]) - self._used
            self._words[self._turn][self._used :] = words[:room]
            self._used += room
            words = words[room:]
            self._turn_over()
        self._words[self._turn][self._used : self._used + len(words)] = words
        self._used += len(words)

    def gap(self, market: int, now_ns: int, why: str) -> None:
        """From here on the market's book can't be trusted, until its next whole snapshot."""
        self._notes.append(Note(row=self.rows, market=market, kind="gap", now_ns=now_ns, why=why))

    def settle(self, market: int, now_ns: int, value_micros: int, *, refund: bool = False) -> None:
        """The market paid out; a later call amends it."""
        note = Note(
            row=self.rows,
            market=market,
            kind="settled",
            now_ns=now_ns,
            value_micros=value_micros,
            refund=refund,
        )
        self._notes.append(note)

    def flush(self, *, wait: bool = True) -> None:
        """Write what is in memory as a segment; without `wait` the thread does it in its time.

        Raises:
            WorkError: the disk refused.
        """
        if self._used or self._notes:
            self._turn_over()
        if wait:
            self._settle_up()

    def close(self) -> None:
        """Flush and end the thread. Raises `WorkError` where the disk refused."""
        try:
            self.flush()
        finally:
            self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _turn_over(self) -> None:
        """Hand the full buffer to the thread and fill the other."""
        self._settle_up()
        rows = self._buffers[self._turn][: self._used]
        unlisted = {int(n) for n in np.unique(rows["market"])} - self._markets.keys()
        if unlisted:
            raise WorkError(f"{self.folder}: rows of markets that were not listed: {sorted(unlisted)}")
        self._number += 1
        write = partial(
            write_segment,
            segment_path(self.folder, self._number),
            rows,
            first_row=self._handed,
            markets=self._markets,
            notes=self._notes,
        )
        self._writing = self._pool.submit(write)
        self._handed += self._used
        self._notes = []
        self._turn = 1 - self._turn
        self._used = 0

    def _settle_up(self) -> None:
        """Wait for the segment that is being written."""
        if self._writing is not None:
            try:
                self._writing.result()
            except DataError as error:
                raise WorkError(f"the recording stopped: {error}") from error
            self._writing = None
            self.kept = self._handed
