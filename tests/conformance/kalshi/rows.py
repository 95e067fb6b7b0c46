"""Kalshi's sections, and the decorator of their rows (`conformance/rows.py`)."""

from conformance.rows import Unused, row

__all__ = ["TITLES", "Unused", "row"]

TITLES = {
    1: "Hosts and signatures",
    2: "Prices, sizes, directions",
    3: "Market data over REST, lives of markets, shards",
    4: "Streams",
    5: "Orders, reads, order groups, errors",
    6: "Request budget",
    7: "Fees",
    8: "Programmes",
    10: "Positions and collateral",
    11: "Traps",
}
