"""Polymarket's sections, and the decorator of their rows (`conformance/rows.py`)."""

from conformance.rows import Unused, row

__all__ = ["TITLES", "Unused", "row"]

TITLES = {
    1: "Hosts, contracts, protocols",
    2: "Keys and wallets",
    3: "Orders",
    4: "Market data",
    5: "One book of two tokens, inventory",
    6: "Fees, rebates, rewards",
    7: "Limits, restarts, geography",
    8: "Sports and short crypto markets",
    9: "Traps",
    11: "Official clients at the stand-in, faults of the venue",
}
