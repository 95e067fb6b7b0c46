"""One request as its handler sees it: path, query, body and as of when reads speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from standins.kalshi.errors import bad_parameter, not_found
from standins.kalshi.values import SECOND, Json, page


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `as_of_ns` is now, less what the account's index lags."""

    path: Mapping[str, str]
    query: Any  # a multidict of strings
    body: Json
    now_ns: int
    as_of_ns: int

    def text(self, name: str, default: str = "") -> str:
        """A parameter as it stands."""
        return str(self.query.get(name, default))

    def words(self, name: str, most: int = 0) -> list[str]:
        """A parameter of words between commas, or repeated."""
        found = [word for value in self.query.getall(name, []) for word in value.split(",") if word]
        if most and len(found) > most:
            raise bad_parameter(f"{name}: at most {most}")
        return found

    def whole(self, name: str) -> int | None:
        """A parameter that is a whole number; None: it was not given."""
        text = self.query.get(name)
        if text is None or text == "":
            return None
        try:
            return int(text)
        except ValueError:
            raise bad_parameter(f"{name}: must be an integer") from None

    def limit(self, most: int = 1_000, default: int = 100) -> int:
        """How many entries a page has."""
        found = self.whole("limit")
        if found is None:
            return default
        if not 1 <= found <= most:
            raise bad_parameter(f"limit: must be between 1 and {most}")
        return found

    def page(self, name: str, entries: list[Any], most: int = 1_000, cursor: str = "cursor") -> Json:
        """A page of entries."""
        shown, after = page(entries, self.limit(most), self.text("cursor"))
        return {name: shown, cursor: after}

    def within(self, at_ns: int, low: str = "min_ts", high: str = "max_ts") -> bool:
        """Whether a time lies inside what two parameters ask for."""
        first, last = self.whole(low), self.whole(high)
        return (first is None or at_ns >= first * SECOND) and (last is None or at_ns < (last + 1) * SECOND)

    def primary_only(self) -> None:
        """The account has no subaccount but its primary one."""
        if (self.whole("subaccount") or 0) != 0:
            raise not_found("user_not_found")
