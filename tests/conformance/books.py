"""The engine's account beside an adapter: what our books say after all that the adapter said."""

from __future__ import annotations

from typing import Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.engine.account import Account
from pr3dict.engine.tracked import OrderTerms


class Books:
    """The engine's account, which hears all that the adapter says and notes all that is sent."""

    def __init__(self, server: Any, ear: Any, wire: Any, cash_micros: int, **terms: Any) -> None:
        self.account = Account(OrderTerms(**terms))
        self._server, self._ear, self._wire, self._heard = server, ear, wire, len(ear.events)
        now_ns = server.now_ns()
        started = e.Started(version="", account="", settings="", cash_micros=cash_micros)
        self.account.apply(now_ns, started)
        for row in wire.lives.by_row:
            self.account.apply(now_ns, wire.lives.of_row(row).listing)

    def send(self, *commands: c.Action) -> None:
        """Note and send."""
        for command in commands:
            self.account.commanded(self._server.now_ns(), command)
        self._wire.send(self._server.now_ns(), list(commands))

    def state(self, order_id: int) -> str:
        """How an order stands after all that was said; "" where it is not open."""
        self.hear()
        order = self.account.order(order_id)
        return "" if order is None else order.state.value

    def hear(self) -> None:
        """Take in what is new."""
        while self._heard < len(self._ear.events):
            event = self._ear.events[self._heard]
            self._heard += 1
            self.account.apply(self._server.now_ns(), event)
