"""What is true at the stand-in of Polymarket, in the words of `tests/crash/audit.py`.

Pairs of YES and NO count as a dollar, and so does what was won and not redeemed: so cash is the same whether
pairs are merged or not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from live.truth import MICRO, Told, TrueOrder, micros
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import ASK, BID
from pr3dict.store.journal import Journal
from pr3dict.venues.simulated.wire import Truth
from standins.polymarket.crypto import checksum, keccak
from standins.polymarket.state import fee_of
from standins.polymarket.values import PUSD

DOLLAR: Final = 10_000
SALTS: Final = 2**53
WALLET: Final = checksum("0x" + "d3" * 20)  # a deposit wallet, for whose pairs there is a relayer


class Leg(NamedTuple):
    """What an order or fill is in YES terms."""

    market: int
    side: int
    sell: bool
    price: int


def salt_of(prefix: str, order_id: int) -> int:
    """The salt of an order of ours."""
    return int.from_bytes(keccak(f"{prefix}-{order_id}".encode())[:8], "big") % SALTS


def salts_in(journal: Path) -> dict[int, int]:
    """Our order id behind each salt that a journaled intent can have."""
    found: dict[int, int] = {}
    prefix = ""
    with Journal.read(journal) as read:
        for step in read.steps():
            for event in step.inputs:
                if isinstance(event, e.Started):
                    prefix = json.loads(event.settings)["prefixes"][-1][0]
            for command in step.commands:
                if isinstance(command, c.Place):
                    found[salt_of(prefix, command.order_id)] = command.order_id
    return found


class Teller:
    """Reads one body of `GET /admin/truth`."""

    def __init__(self, body: Mapping[str, Any], rows: Mapping[str, int], salts: Mapping[int, int]) -> None:
        self.body = body
        self.rows = {_condition(ticker): row for ticker, row in rows.items()}
        self.wrong: list[str] = []
        self.numbers: dict[str, int] = {}  # our ids by digest
        self.tokens = {
            token: (self.row(market["condition"]), is_no == 1)
            for market in body["markets"]
            for is_no, token in enumerate(market["tokens"])
        }
        self.rates = {market["condition"]: market["fee_ppm"] for market in body["markets"]}
        for order in body["orders"]:
            number = salts.get(order["salt"], -1 - len(self.numbers))
            if number < 0:
                self.wrong.append(f"order {order['id']} at the exchange is not ours")
            if number in self.numbers.values():
                self.wrong.append(f"order {number} is there twice")
            self.numbers[order["id"]] = number

    def row(self, condition: str) -> int:
        """The engine's row; -1: it knows no such market."""
        return self.rows.get(_condition(condition), -1)

    def leg(self, asset: str, action: str, price: str) -> Leg:
        """In YES terms."""
        row, is_no = self.tokens[asset]
        units = micros(price) // 100
        side = BID if (action == "BUY") != is_no else ASK
        return Leg(row, side, action == "SELL", DOLLAR - units if is_no else units)

    # --- orders and fills -------------------------------------------------------------------------

    def orders(self) -> tuple[TrueOrder, ...]:
        """All that were ever taken."""
        return tuple(
            TrueOrder(
                self.numbers[order["id"]], *self.leg(order["asset_id"], order["side"], order["price"]),
                micros(order["original_size"]),
            )
            for order in self.body["orders"]
        )  # fmt: skip

    def open_orders(self) -> tuple[e.VenueOrder, ...]:
        """Those that rest."""
        found = []
        for order in self.body["open_orders"]:
            leg = self.leg(order["asset_id"], order["side"], order["price"])
            filled = micros(order["size_matched"])
            found.append(
                e.VenueOrder(
                    order_id=self.numbers[order["id"]], venue_id=order["id"], market=leg.market,
                    side=leg.side, sell=leg.sell, price=leg.price,
                    remaining=micros(order["original_size"]) - filled, filled=filled,
                )
            )  # fmt: skip
        return tuple(found)

    def fills(self) -> tuple[tuple[e.Filled, ...], frozenset[str]]:
        """(every fill of ours, the names of those that failed)."""
        found, failed = [], set()
        for trade in self.body["trades"]:
            for row in trade["maker_orders"]:
                mine = [
                    *([self._took(trade, row)] if trade["taker_order_id"] in self.numbers else []),
                    *([self._made(trade, row)] if row["order_id"] in self.numbers else []),
                ]
                found += mine
                if trade["status"] == "TRADE_STATUS_FAILED":
                    failed |= {fill.trade_id for fill in mine}
        return tuple(found), frozenset(failed)

    def _made(self, trade: Mapping[str, Any], row: Mapping[str, Any]) -> e.Filled:
        """A resting order of ours was taken; makers pay nothing."""
        name, leg = row["order_id"], self.leg(row["asset_id"], row["side"], row["price"])
        return self._filled(trade, row, f"{trade['id']}/{name}", name, leg, fee_micros=0)

    def _took(self, trade: Mapping[str, Any], row: Mapping[str, Any]) -> e.Filled:
        """We took a resting order, at its price."""
        taker, price = trade["taker_order_id"], row["price"]
        if row["asset_id"] != trade["asset_id"]:
            price = str(1 - Decimal(price))
        leg = self.leg(trade["asset_id"], trade["side"], price)
        fee = fee_of(micros(row["matched_amount"]), leg.price, self.rates[trade["market"]])
        name = f"{trade['id']}/{taker}/{row['order_id']}"
        return self._filled(trade, row, name, taker, leg, fee_micros=fee)

    def _filled(
        self, trade: Mapping[str, Any], row: Mapping[str, Any], name: str, digest: str, leg: Leg,
        *, fee_micros: int,
    ) -> e.Filled:  # fmt: skip
        return e.Filled(
            trade_id=name, order_id=self.numbers[digest], market=leg.market, side=leg.side, sell=leg.sell,
            price=leg.price, size=micros(row["matched_amount"]), fee_micros=fee_micros,
            maker=digest == row["order_id"], exch_ns=int(trade["match_time"]) * 10**9, venue_id=digest,
        )  # fmt: skip

    # --- money --------------------------------------------------------------------------------------

    def held(self) -> tuple[int, tuple[e.VenuePosition, ...]]:
        """(cash, what is held in markets that have not paid), trades on their way to the chain included."""
        held = self._balances()
        cash, positions = held.get(PUSD, 0), []
        for market in self.body["markets"]:
            yes, no = (held.get(token, 0) for token in market["tokens"])
            if market["pays"] is not None:
                cash += (yes * market["pays"][0] + no * market["pays"][1]) // MICRO
                continue
            cash += min(yes, no)
            if yes or no:
                row = self.row(market["condition"])
                positions.append(e.VenuePosition(market=row, yes_contracts=yes, no_contracts=no))
        return cash, tuple(positions)

    def _balances(self) -> dict[str, int]:
        held = {asset: micros(text) for asset, text in self.body["balances"].get(WALLET, {}).items()}
        for trade in self.body["trades"]:
            if trade["status"] in ("TRADE_STATUS_CONFIRMED", "TRADE_STATUS_FAILED"):
                continue
            for row in trade["maker_orders"]:
                if row["order_id"] in self.numbers:
                    self._move(held, self._made(trade, row), row["asset_id"])
                if trade["taker_order_id"] in self.numbers:
                    self._move(held, self._took(trade, row), trade["asset_id"])
        return held

    @staticmethod
    def _move(held: dict[str, int], fill: e.Filled, asset: str) -> None:
        """What a fill brings in once it is on the chain."""
        of_no = (fill.side == BID) == fill.sell
        price = DOLLAR - fill.price if of_no else fill.price
        size = -fill.size if fill.sell else fill.size
        held[asset] = held.get(asset, 0) + size
        held[PUSD] = held.get(PUSD, 0) - price * size // DOLLAR - fill.fee_micros

    def settled(self) -> tuple[e.Settled, ...]:
        """What each resolved market pays."""
        return tuple(
            e.Settled(market=self.row(market["condition"]), value_micros=market["pays"][0])
            for market in self.body["markets"]
            if market["pays"] is not None and self.row(market["condition"]) >= 0
        )


def _condition(text: str) -> str:
    """As the order API names it: Protocol V2's ids are shorter in the catalogue."""
    return "0x" + text.removeprefix("0x").ljust(64, "0")


def told(body: Mapping[str, Any], rows: Mapping[str, int], salts: Mapping[int, int]) -> Told:
    """The body of `GET /admin/truth`; `rows`: the engine's row of each ticker."""
    teller = Teller(body, rows, salts)
    fills, failed = teller.fills()
    cash_micros, positions = teller.held()
    truth = Truth(
        now_ns=body["now_ns"], cash_micros=cash_micros, positions=positions,
        open_orders=teller.open_orders(), fills=fills, orders=len(teller.numbers),
        unexplained=tuple(body["unexplained"]), settled=teller.settled(),
        order_ids=tuple(teller.numbers.values()),
    )  # fmt: skip
    return Told(truth, teller.wrong, teller.orders(), failed)
