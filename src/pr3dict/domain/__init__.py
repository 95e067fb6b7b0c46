"""The words of the trade: exact, frozen values; the standard library and msgspec only."""
