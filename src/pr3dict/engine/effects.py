"""What an event means to the rest of the engine: reports, commands, anomalies, markets to copy anew."""

from __future__ import annotations

from typing import Final, NamedTuple

from pr3dict.domain.commands import Action
from pr3dict.domain.events import Filled
from pr3dict.kernels import dtypes as d

WHY_CODES: Final = {name: code for code, name in enumerate(d.WHY_NAMES)}


class Report(NamedTuple):
    """What the brain is told about one of its orders: a MESSAGE row of kernels/dtypes, sizes as there."""

    kind: int  # d.ACK, REJECT, CANCELED, REDUCED, FILL_REPORT, CANCEL_REJECT
    order_id: int
    market: int
    size: int  # filled, left, or refused
    price: int
    side: int
    sell: bool
    fee_micros: int = 0
    rebate_micros: int = 0
    maker: bool = False
    why: int = d.WHY_NONE


def fill_report(fill: Filled) -> Report:
    """The report of a fill."""
    return Report(
        d.FILL_REPORT, fill.order_id, fill.market, fill.size, fill.price, fill.side, fill.sell,
        fill.fee_micros, fill.rebate_micros, fill.maker,
    )  # fmt: skip


class Anomaly(NamedTuple):
    """Evidence that should not exist; nothing is guessed from it, breakers and alerts decide.

    Codes: "overfill", "fill_after_close", "foreign_fill", "foreign_order", "fill_conflict", "final_conflict",
    "void_unknown", "late_fill", "position_drift", "cash_drift", "ghost_fill", "settlement_amended",
    "illegal_transition".
    """

    code: str
    market: int  # -1: none
    venue: str
    text: str


class Effects(NamedTuple):
    """What one event brought.

    `reports` come first; then position and cash of the `rebuilt` markets are copied from the account.
    """

    reports: tuple[Report, ...]
    commands: tuple[Action, ...]
    anomalies: tuple[Anomaly, ...]
    rebuilt: tuple[int, ...]


NOTHING: Final = Effects((), (), (), ())


class Outbox:
    """Collects the effects of one event while it is applied."""

    __slots__ = ("anomalies", "commands", "rebuilt", "reports")

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.commands: list[Action] = []
        self.anomalies: list[Anomaly] = []
        self.rebuilt: dict[int, None] = {}

    def alarm(self, code: str, market: int, venue: str, text: str) -> None:
        """Add an anomaly."""
        self.anomalies.append(Anomaly(code, market, venue, text))

    def take(self) -> Effects:
        """All that was collected; the box is empty afterwards."""
        if not (self.reports or self.commands or self.anomalies or self.rebuilt):
            return NOTHING
        effects = Effects(
            tuple(self.reports), tuple(self.commands), tuple(self.anomalies), tuple(self.rebuilt)
        )
        self.reports.clear()
        self.commands.clear()
        self.anomalies.clear()
        self.rebuilt.clear()
        return effects
