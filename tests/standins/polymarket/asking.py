"""One request as its handler sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standins.polymarket.auth import ApiKey
from standins.polymarket.errors import RefusedError, refused
from standins.polymarket.values import read_whole


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `as_of_ns` is now, less what the account's index lags; `key` of a public one is None."""

    path: Mapping[str, str]
    query: Any  # a multidict of strings
    body: Any
    now_ns: int
    as_of_ns: int
    key: ApiKey | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """Whose request it is."""
        return self.signer.owner

    @property
    def signer(self) -> ApiKey:
        """Whose key signed it."""
        if self.key is None:
            raise RefusedError(500, "a private handler without a key")
        return self.key

    def text(self, name: str, default: str = "") -> str:
        """A parameter as it stands."""
        return str(self.query.get(name, default))

    def whole(self, name: str, default: int) -> int:
        """A parameter that is a whole number."""
        given = self.query.get(name)
        if given in (None, ""):
            return default
        found = read_whole(given)
        if found is None:
            raise refused(400, f"invalid {name}")
        return found

    def fields(self) -> dict[str, Any]:
        """The body, which must be an object."""
        if not isinstance(self.body, dict):
            raise refused(400, "Invalid order payload")
        return self.body

    def items(self, most: int) -> list[Any]:
        """The body, which must be a list of at most so many."""
        if not isinstance(self.body, list):
            raise refused(400, "Invalid order payload")
        if len(self.body) > most:
            raise refused(400, f"Too many orders in payload: {len(self.body)}, max allowed: {most}")
        return self.body
