"""Refused requests, in the three shapes of Kalshi's error bodies, and the one of a full bucket."""

from __future__ import annotations

from typing import Final

from standins.kalshi.values import Json

TOO_MANY: Final[Json] = {"error": "too many requests"}


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body

    @property
    def inner(self) -> Json:
        """What an item of a batch says of its error."""
        error = self.body.get("error", self.body)
        return error if isinstance(error, dict) else {"code": "error", "message": str(error)}


def refused(status: int, code: str, details: str = "", message: str = "") -> RefusedError:
    """The nested shape: orders and signatures."""
    error: Json = {"code": code, "message": message or code.replace("_", " "), "service": "exchange"}
    if details:
        error["details"] = details
    return RefusedError(status, {"error": error})


def undecodable(details: str) -> RefusedError:
    """The flat shape: a body that can't be read."""
    return RefusedError(400, {"code": "bad_request", "message": "bad request", "details": details})


def bad_parameter(text: str) -> RefusedError:
    """The bare shape: a query parameter that can't be used."""
    return RefusedError(400, {"msg": text})


def not_found(what: str = "not_found") -> RefusedError:
    """404."""
    return refused(404, what)
