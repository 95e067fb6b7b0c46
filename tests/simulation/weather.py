"""What befalls the world once a virtual second: cuts, pauses, crashes, storms, and people.

Each thing is one decision of its knob, asked for every second of the safety phase, so a tape of decisions
says when it happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from simulation import people
from simulation.flow import copy_for
from simulation.kalshi_weather import KalshiWeather
from simulation.polymarket_weather import PolymarketWeather
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.simulator import Simulation


class Weather:
    """Asks every knob that stands for an event in time."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.befalls = {
            "partition_market": self._cut_market,
            "partition_user": self._cut_user,
            "mute": self._mute,
            "slow": self._slow,
            "mute_market": self._mute_market,
            "malformed": self._malformed,
            "churn": self._churn,
            "copycat": self._copycat,
            "fair_jump": self._jump,
            "loss": self._loss,
            "tick": self._tick,
            "pause": self._pause,
            "reactivation": self._reactivation,
            "restart": self._restart,
            "limited": self._limited,
            "unauthorized": self._unauthorized,
            "wipe": self._wipe,
            "group": self._group,
            "settle": self._settle,
            "settle_unknown": self._settle_unknown,
            "money_moved": self._money,
            "rollback": self._rollback,
            "outage": self._outage,
            "foreign_fill": self._foreign_fill,
            "void_storm": self._void_storm,
            "crash": self._crash,
            "disk_full": self._disk_full,
            "disk_error": self._disk_error,
            "disk_slow": self._disk_slow,
            "sleep": self._sleep,
            "stall": self._stall,
            "absurd": self._absurd,
            "people": self._people,
        }
        if sim.kalshi is not None:
            self.befalls |= KalshiWeather(sim).befalls
        elif sim.polymarket is not None:
            self.befalls |= PolymarketWeather(sim).befalls

    def second(self) -> None:
        """One second of weather."""
        for knob, befall in self.befalls.items():
            if self.world.fires(knob):
                befall()

    def _amount(self, knob: str, low: int, high: int) -> int:
        return self.world.amount(knob, low, high)

    def _market(self, knob: str) -> int:
        return self._amount(knob, 0, 10**6) % self.sim.options.markets

    # --- links

    def _cut_market(self) -> None:
        self.sim.session.market_stream.cut(self._amount("partition_market", 1, 15) * SECOND)

    def _cut_user(self) -> None:
        self.sim.session.user_stream.cut(self._amount("partition_user", 1, 15) * SECOND)

    def _mute(self) -> None:
        stream = self.sim.session.market_stream
        stream.mute_until_ns = self.world.now_ns + self._amount("mute", 2, 20) * SECOND

    def _slow(self) -> None:
        stream = self.sim.session.market_stream
        stream.slow_until_ns = self.world.now_ns + self._amount("slow", 2, 8) * SECOND
        stream.slow_by_ns = self._amount("slow", 150, 500) * MS
        self.world.effect(41)

    def _mute_market(self) -> None:
        until = self.world.now_ns + self._amount("mute_market", 3, 20) * SECOND
        self.sim.session.muted[self._market("mute_market")] = until

    def _outage(self) -> None:
        self.sim.session.cut_all(self._amount("outage", 5, 40) * SECOND)
        if self.sim.venue.open_orders():
            self.world.effect(61)

    def _malformed(self) -> None:
        if self.sim.process is not None:
            count = self._amount("malformed", 1, 30)
            self.sim.process.put(e.Malformed(venue=self.sim.options.venue, count=count, why="unknown type"))
            self.world.effect(45)

    # --- market

    def _churn(self) -> None:
        flow = self.sim.flows[self._market("churn")]
        flow.churn_until_ns = self.world.now_ns + self._amount("churn", 1, 4) * SECOND
        self.world.effect(17)

    def _copycat(self) -> None:
        copy_for(self.sim.flows[self._market("copycat")])

    def _jump(self) -> None:
        market = self._market("fair_jump")
        self.sim.publish(market, self.sim.flows[market].jump(40))
        self.world.effect(77)

    def _loss(self) -> None:
        market = self._market("loss")
        net = self.sim.venue.net(market)
        self.sim.flows[market].pressed = -30 if net > 0 else 30
        if net:
            self.world.effect(78)

    # --- venue

    def _tick(self) -> None:
        market = self._market("tick")
        if any(order.market == market for order in self.sim.venue.open_orders()):
            self.world.effect(46)
        self.sim.change_tick(market)

    def _pause(self) -> None:
        market = self._market("pause")
        self.world.effect(51)
        for_ns = self._amount("pause", 1, 8) * SECOND
        if self._amount("pause", 0, 2) == 0:
            self.sim.pause_exchange(for_ns)
        else:
            self.sim.pause(market, for_ns, told=True)

    def _reactivation(self) -> None:
        market = self._market("reactivation")
        if self.sim.kalshi is not None:  # too short a pause to cancel anything in it
            self.sim.pause(market, self._amount("reactivation", 1, 60) * MS, told=False)
            return
        self.sim.pause(market, self._amount("reactivation", 1, 4) * SECOND, told=False)

    def _restart(self) -> None:
        self.sim.restart_venue(self._amount("restart", 1, 6) * SECOND)

    def _limited(self) -> None:
        self.sim.venue.faults.limited_until_ns = self.world.now_ns + self._amount("limited", 1, 8) * SECOND

    def _unauthorized(self) -> None:
        until = self.world.now_ns + self._amount("unauthorized", 2, 10) * SECOND
        self.sim.venue.faults.unauthorized_until_ns = until

    def _wipe(self) -> None:
        if self.sim.venue.cancel_everything(told=self._amount("wipe", 0, 1) == 0):
            self.world.effect(56)

    def _group(self) -> None:
        if self.sim.kalshi is not None:  # somebody pulls the switch by hand
            for group in [g for g in self.sim.kalshi.groups.values() if not g.fired]:
                self.world.effect(57)
                self.sim.kalshi.trigger(group)
            return
        self.sim.venue.faults.group_until_ns = self.world.now_ns + self._amount("group", 3, 15) * SECOND
        if self.sim.venue.cancel_everything(told=True):
            self.world.effect(57)

    def _settle(self) -> None:
        market = self._market("settle")
        if market == 0:
            return  # one market always stays, or there is nothing to be alive for
        word = ("one", "zero", "half", "amended", "amended", "refund")[self._amount("settle", 0, 5)]
        self.sim.settle(market, word, self._amount("settle", 1, 20) * SECOND)

    def _settle_unknown(self) -> None:
        process = self.sim.process
        if process is None:
            return
        for market in range(1, self.sim.options.markets):
            states = {order.state.value for order in process.engine.account.open_orders(market)}
            if states & {"unknown", "closing"}:
                self.world.effect(35)
                self.sim.settle(market, "one", SECOND)
                return

    def _money(self) -> None:
        amount = self._amount("money_moved", -80, 40) * 1_000_000
        self.sim.transfer(amount)
        self.world.effect(58)

    def _rollback(self) -> None:
        orders = self.sim.venue.open_orders()
        if orders:
            self.sim.venue.roll_back(orders[self._amount("rollback", 0, 10**6) % len(orders)])
            self.world.effect(60)

    def _foreign_fill(self) -> None:
        market = self._market("foreign_fill")
        side = (d.BID, d.ASK)[self._amount("foreign_fill", 0, 1)]
        if self.sim.foreign_trade(market, side, self._amount("foreign_fill", 1, 6)):
            self.world.effect(26)

    def _void_storm(self) -> None:
        until = self.world.now_ns + self._amount("void_storm", 10, 40) * SECOND
        self.sim.venue.faults.storm_until_ns = until

    # --- machine

    def _crash(self) -> None:
        self.sim.crash(power=self._amount("crash", 0, 1) == 1, down_ns=self._amount("crash", 200, 4_000) * MS)

    def _disk_full(self) -> None:
        self.sim.disk.full_until_ns = self.world.now_ns + self._amount("disk_full", 1, 6) * SECOND

    def _disk_error(self) -> None:
        self.sim.disk.broken = True

    def _disk_slow(self) -> None:
        self.sim.disk.slow(
            self._amount("disk_slow", 1, 5) * SECOND, self._amount("disk_slow", 200, 3_500) * MS
        )

    def _sleep(self) -> None:
        if self.sim.process is not None:
            self.sim.process.sleep(self._amount("sleep", 3, 25) * SECOND)
            self.world.effect(68)

    def _stall(self) -> None:
        if self.sim.process is not None:
            self.sim.process.sleep(self._amount("stall", 300, 1_800) * MS)

    def _absurd(self) -> None:
        if self.sim.process is not None:
            self.sim.try_absurd(self._amount("absurd", 0, 7))

    def _people(self) -> None:
        people.act(self.sim, self._amount("people", 0, 10**9))
