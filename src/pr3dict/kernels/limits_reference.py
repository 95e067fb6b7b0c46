"""The limits of a running replay worked out again, the slow way, from orders and positions alone.

`LimitsReference.check` is called between two steps of a replay. It adds up exposure, heat and equity from
the rows of orders and positions, tries every outcome of every event, and says in sentences what is not so.
Nothing that the replay keeps up to date is believed: those sums are what is compared. Money in micros.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pr3dict.kernels import dtypes as d
from pr3dict.kernels.reference import event_worst_loss
from pr3dict.kernels.world import World

Group = tuple[str, int]  # one event, or one market alone

DOLLAR = 10_000  # price units
MICRO = 1_000_000


class Standing(NamedTuple):
    """What one market stands for between two steps."""

    if_yes: int  # worst loss should it end YES
    if_no: int
    gain: int  # position at fair value less what it cost


class Step(NamedTuple):
    """The account between two steps."""

    heat: int
    equity: int
    orders: int  # orders sent so far
    fills: int  # at the exchange
    settled: int  # markets
    killed: bool


def worst_losses(market: d.Row, orders: d.Array) -> tuple[int, int]:
    """Loss of a MARKET row (if YES, if NO), rounded up: an order of ours fills where that costs something."""
    if market["status"] == d.SETTLED:
        return 0, 0
    worst = []
    for yes_pays in (True, False):
        pays = int(market["yes_contracts" if yes_pays else "no_contracts"])
        loss = Fraction(int(market["cost_micros"]) - pays)
        for order in orders[orders["state"] != d.FREE]:
            price, size = int(order["price"]), int(order["remaining"])
            is_bid = order["side"] == d.BID
            paid = Fraction((price if is_bid else DOLLAR - price) * size, DOLLAR)
            loss += max(Fraction(0), paid - (size if is_bid == yes_pays else 0))
        worst.append(math.ceil(loss))
    return worst[0], worst[1]


def position_faults(
    held: d.Row, params: d.Row, bids: list[tuple[int, int]], asks: list[tuple[int, int]], nets: bool
) -> list[str]:
    """Which position limit would break if every order of one side filled; orders are (leg, contracts)."""
    yes, no = int(held["yes_contracts"]), int(held["no_contracts"])
    target, most = int(params["target_inventory"]), int(params["max_inventory"])
    faults = []
    for name, sign, orders in (("bids", 1, bids), ("asks", -1, asks)):
        net = sign * (yes - no) + sum(size for _, size in orders)
        if net > most + sign * target and orders:
            faults.append(f"{name} take the position to {net}, max_inventory {most} from {sign * target}")
        if nets and net > int(params["max_position_size"]) and orders:
            faults.append(f"{name} take the position to {net}, over max_position_size")
    bought = sum(size for leg, size in (*bids, *asks) if leg == d.BUY_LEG)
    if not nets and bought and yes + no + bought > int(params["max_position_size"]):
        faults.append(f"{yes + no + bought} contracts held and bought, over max_position_size")
    return faults


class LimitsReference:
    """Watches one replay whose markets decide on events; `checked` counts the looks.

    A market is worked out again when one byte of its orders or position changed since the last look.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.checked = 0
        self.binding = 0  # steps in which an order took heat to 95% of its limit or more
        self.fullest = 0.0  # largest heat that an order led to, as a share of its limit
        numbers = world.markets["event"].tolist()
        self._group = [("alone", m) if event < 0 else ("event", event) for m, event in enumerate(numbers)]
        self._members: dict[Group, list[int]] = {}
        for m, group in enumerate(self._group):
            self._members.setdefault(group, []).append(m)
        self._standing = [Standing(0, 0, 0)] * len(numbers)
        self._loss = dict.fromkeys(self._members, 0)
        self._seen: list[npt.NDArray[np.int64]] = []
        self._last: Step | None = None

    def _changed(self) -> list[int]:
        """Markets of which something that they stand for is not as it was at the last look."""
        w = self.world
        names = ("yes_contracts", "no_contracts", "cost_micros", "fair_micros", "status")
        position = np.stack([w.markets[name].astype(np.int64) for name in names], axis=1)
        parts = (position, w.orders, w.exchange_orders)
        seen = [part.view(np.int64).reshape(len(position), -1) for part in parts]
        if not self._seen:
            self._seen = [part.copy() for part in seen]
            return list(range(len(position)))
        moved = np.zeros(len(position), np.bool_)
        for now, before in zip(seen, self._seen, strict=True):
            moved |= (now != before).any(axis=1)
        changed = np.flatnonzero(moved)
        for now, before in zip(seen, self._seen, strict=True):
            before[changed] = now[changed]
        found: list[int] = changed.tolist()
        return found

    def _stand(self, m: int) -> list[str]:
        """Work market `m` out again; returns the position limits that it could break."""
        w = self.world
        market, params = w.markets[m], w.params[m]
        if_yes, if_no = worst_losses(market, w.orders[m])
        value, fair = int(market["value_micros"]), int(market["fair_micros"])
        if fair >= 0:
            yes, no = int(market["yes_contracts"]), int(market["no_contracts"])
            value = (yes * fair + no * (MICRO - fair)) // MICRO
        self._standing[m] = Standing(if_yes, if_no, value - int(market["cost_micros"]))
        faults = []
        nets = market["nets_positions"] == 1
        for held, rows, is_open in (
            (market, w.orders[m], w.orders[m]["state"] != d.FREE),
            (w.holdings[m], w.exchange_orders[m], w.exchange_orders[m]["active"] == 1),
        ):
            sides: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
            for order in rows[is_open]:
                sides[int(order["side"])].append((int(order["leg"]), int(order["remaining"])))
            faults += position_faults(held, params, *sides, nets)
        return [f"market {m}: {fault}" for fault in faults]

    def check(self) -> list[str]:
        """What does not hold now, or did not since the last look; empty when all is well."""
        w, account = self.world, self.world.account[0]
        changed, gains = self._changed(), [one.gain for one in self._standing]
        faults = [fault for m in changed for fault in self._stand(m)]
        for group in {self._group[m] for m in changed}:
            rows = [self._standing[m] for m in self._members[group]]
            worst = event_worst_loss(
                [one.if_yes for one in rows], [one.if_no for one in rows], exhaustive=False
            )
            self._loss[group] = max(0, worst)
        step = Step(
            heat=sum(self._loss.values()),
            equity=int(account["local_cash_micros"])
            + sum(one.gain for one in self._standing)
            + int(w.markets["cost_micros"].sum()),
            orders=int(account["next_order_id"]),
            fills=int(w.clock[0]["fill_count"]),
            settled=int((w.markets["status"] == d.SETTLED).sum()),
            killed=bool(account["killed"]),
        )
        if step.heat != account["heat_micros"]:
            faults.append(f"heat is {step.heat}, the account says {account['heat_micros']}")
        equity = int(account["local_cash_micros"]) + int(account["value_micros"])
        if step.equity != equity:
            faults.append(f"equity is {step.equity}, the account says {equity}")
        if self._last is not None:
            gained = [self._standing[m].gain - gains[m] for m in changed]
            faults += self._since(self._last, step, gained)
        faults += self._loss_faults(step)
        self._last = step
        self.checked += 1
        return faults

    def _since(self, last: Step, now: Step, gained: list[int]) -> list[str]:
        """Orders that must not have been sent since then; `gained`: how each market's worth moved."""
        if now.orders == last.orders:
            return []
        if last.killed and now.killed:
            return [f"{now.orders - last.orders} orders sent after the daily loss limit was hit"]
        # Equity at the time of an order lies between both looks, market by market.
        best = last.equity + sum(max(0, gain) for gain in gained)
        best += max(0, now.equity - last.equity - sum(gained))
        limit = max(0, best) * int(self.world.rules[0]["max_heat_ppm"]) // MICRO
        if now.heat > last.heat and limit > 0 and now.settled == last.settled:
            self.fullest = max(self.fullest, now.heat / limit)
            self.binding += now.heat * 100 >= limit * 95
        # A fill rounds up once more than the order did; a settlement takes away what may have covered others.
        allowed = max(last.heat, limit) + now.fills - last.fills
        if now.heat > allowed and now.settled == last.settled:
            return [f"an order took heat to {now.heat}, allowed are {allowed}"]
        return []

    def _loss_faults(self, now: Step) -> list[str]:
        """Whether the day's loss is at the limit and orders are still let through."""
        limit = int(self.world.rules[0]["daily_loss_limit_micros"])
        lost = int(self.world.account[0]["day_start_equity_micros"]) - now.equity
        if 0 < limit <= lost and not now.killed:
            return [f"{lost} lost today, the limit is {limit}, and orders still pass"]
        return []
