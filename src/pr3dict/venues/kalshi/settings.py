"""What a user sets about Kalshi: the `[kalshi]` table of the config file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from pr3dict.strategies.settings import COUNT, DOLLARS, SECONDS, Rule, Settings, build_table, choice, number

TABLE: Final = "kalshi"


class KalshiConfig(Settings):
    """The account's terms and how requests are sent; money in dollars, times in seconds.

    Each field's unit and meaning stand in its description (and in docs/reference/config.md); `integer(key)`
    and the properties below give micros and ns.

    Raises:
        ConfigError: unknown key, value out of bounds or finer than counted.
    """

    # fmt: off
    sweep_loss: Decimal = number(
        "100", DOLLARS, "Kalshi", "",
        "What one sweep may cost at the very worst, when each contract loses a dollar: once more contracts "
        "of a shard than that trade within 15 s, Kalshi cancels our orders there and we halt; 0 is off.",
        high="1000000")
    direct_member: bool = choice(
        False, "Kalshi", "", "Whether balances are rounded to $0.0001 (direct members) instead of cents.",
        "true, false")
    subaccount: int = number(
        "0", COUNT, "Kalshi", "", "Subaccount that trades; 0 is the primary one.", low="0", high="63")
    place_wait_seconds: Decimal = number(
        "0.5", SECONDS, "Kalshi", "",
        "A new order that would wait longer than this for the request budget is not sent: a late quote is a "
        "wrong one.", low="0", high="60")
    batch_from: int = number(
        "4", COUNT, "Kalshi", "",
        "From so many new orders, or cancels, at one instant on, they go as one batch.",
        low="2", high="1000")
    queue_poll_seconds: Decimal = number(
        "5", SECONDS, "Kalshi", "",
        "How often our orders' places in their queues are asked for, where the request budget allows; 0 is "
        "never.", high="3600")
    listing_poll_seconds: Decimal = number(
        "60", SECONDS, "Kalshi", "",
        "How often a live process looks for markets of its selection that have opened meanwhile; it also "
        "hears of them at once. 0 is never: it trades those that were open at its start.", high="3600")
    # fmt: on

    def rules(self) -> Iterable[Rule]:
        """Every rule between settings, in the order in which they are checked."""
        loss = self.sweep_loss
        return (
            Rule(
                "sweep_loss",
                loss == 0 or loss >= 1,
                f"{loss} is less than one contract may lose; give 1 or more, or 0 for off",
            ),
        )

    @property
    def sweep_loss_micros(self) -> int:
        """What one sweep may cost, in micros; 0: no order group."""
        return self.integer("sweep_loss")

    @property
    def place_wait_ns(self) -> int:
        """Longest wait of a new order for the budget, in ns."""
        return self.integer("place_wait_seconds")

    @property
    def queue_poll_ns(self) -> int:
        """Time between two polls of queue positions, in ns; 0: none."""
        return self.integer("queue_poll_seconds")

    @property
    def listing_poll_ns(self) -> int:
        """Time between two looks for markets that have opened, in ns; 0: none."""
        return self.integer("listing_poll_seconds")


def build_kalshi(
    file_settings: Mapping[str, Any] | None = None,
    source: str = "config",
    single: Mapping[str, str] | None = None,
) -> KalshiConfig:
    """Put the `[kalshi]` settings together: the file's, then `single` ones of the command line.

    Raises:
        ConfigError: a setting is wrong; the sentence names `source` or `--set`, and the key.
    """
    return build_table(KalshiConfig, TABLE, file_settings, source, single)
