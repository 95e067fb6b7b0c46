"""What a user sets about Polymarket: the `[polymarket]` table of the config file."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from pr3dict.strategies.settings import CONTRACTS, COUNT, SECONDS, Settings, build_table, choice, number

TABLE: Final = "polymarket"


class PolymarketConfig(Settings):
    """The account's terms and how requests are sent; sizes in contracts, times in seconds.

    Each field's unit and meaning stand in its description (and in docs/reference/config.md); `integer(key)`
    and the properties below give micro-contracts and ns.

    Raises:
        ConfigError: unknown key, value out of bounds or finer than counted.
    """

    # fmt: off
    place_wait_seconds: Decimal = number(
        "0.5", SECONDS, "Polymarket", "",
        "A new order that would wait longer than this for the request budget is not sent: a late quote is a "
        "wrong one.", low="0", high="60")
    batch_from: int = number(
        "2", COUNT, "Polymarket", "",
        "From so many new orders, or cancels, at one instant on, they go as one batch.",
        low="2", high="1000")
    in_play: bool = choice(
        False, "Polymarket", "",
        "Whether a game's market is quoted again after its start, which empties the book.", "true, false")
    merge_threshold: Decimal = number(
        "100", CONTRACTS, "Polymarket", "",
        "Once so many pairs of YES and NO of a market are final, they are merged back to cash, where the "
        "wallet has a way to do it; 0 is never.", low="0")
    listing_poll_seconds: Decimal = number(
        "60", SECONDS, "Polymarket", "",
        "How often a live process looks for markets of its selection that have opened meanwhile. 0 is never: "
        "it trades those that were open at its start.", high="3600")
    # fmt: on

    @property
    def place_wait_ns(self) -> int:
        """Longest wait of a new order for the budget, in ns."""
        return self.integer("place_wait_seconds")

    @property
    def merge_pairs(self) -> int:
        """Pairs from which on they are merged, in micro-contracts; 0: never."""
        return self.integer("merge_threshold")

    @property
    def listing_poll_ns(self) -> int:
        """Time between two looks for markets that have opened, in ns; 0: none."""
        return self.integer("listing_poll_seconds")


def build_polymarket(
    file_settings: Mapping[str, Any] | None = None,
    source: str = "config",
    single: Mapping[str, str] | None = None,
) -> PolymarketConfig:
    """Put the `[polymarket]` settings together: the file's, then `single` ones of the command line.

    Raises:
        ConfigError: a setting is wrong; the sentence names `source` or `--set`, and the key.
    """
    return build_table(PolymarketConfig, TABLE, file_settings, source, single)
