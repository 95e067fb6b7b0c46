"""`pr3dict live` as processes on a Kalshi stand-in, which tests start, ask and kill."""

from __future__ import annotations

from pathlib import Path

import live_process
from kalshi_exchange import Exchange
from live_process import PROGRAM, QUICK

__all__ = ["PROGRAM", "QUICK", "Machine"]


class Machine(live_process.Machine):
    """A stand-in, and processes that know its key."""

    def __init__(self, exchange: Exchange, home: Path) -> None:
        super().__init__({"kalshi": exchange}, home)
        self.exchange = exchange
