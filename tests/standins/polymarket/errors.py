"""Refused requests."""

from __future__ import annotations

from collections.abc import Mapping

from standins.polymarket.values import Json


class RefusedError(Exception):
    """A request that is answered with an error. Status 0: with nothing at all."""

    def __init__(self, status: int, body: Json | str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


def refused(status: int, text: str, headers: Mapping[str, str] | None = None) -> RefusedError:
    """The usual shape."""
    return RefusedError(status, {"error": text}, headers)


class OrderError(Exception):
    """An order that is not taken: what one leg of a batch says, or a single order's 400."""
