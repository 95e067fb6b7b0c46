"""What whoever tests can make happen at the venue: the same actions from Python, over HTTP and by chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pr3dict.kernels import dtypes as d
from standins.kalshi.state import MarketState
from standins.kalshi.values import LOT, MICRO, SECOND, Json, money_text, read_count, read_price

if TYPE_CHECKING:
    from standins.kalshi.server import KalshiStandIn


def _size(contracts: str | float) -> int:
    size = read_count(str(contracts))
    if size is None:
        raise ValueError(f"contracts {contracts!r}: at most 2 decimals")
    return size


def _units(price: str) -> int:
    units = read_price(price)
    if units is None:
        raise ValueError(f"price {price!r}: a dollar string of at most 4 decimals")
    return units


class Controls:
    """Actions by name: `do("pause_market", ticker="KXA-0-T0")`."""

    def __init__(self, server: KalshiStandIn) -> None:
        self.server = server
        self.venue = server.venue
        self.actions: dict[str, Callable[..., Any]] = {
            name: getattr(self, name)
            for name, kind in vars(Controls).items()
            if callable(kind) and not name.startswith("_") and name not in ("do", "hazard")
        }

    def do(self, action: str, **arguments: Any) -> Any:
        """Carry an action out now.

        Raises:
            ValueError: names what does not exist.
        """
        if action not in self.actions:
            raise ValueError(f"there is no action {action!r}; known: {', '.join(sorted(self.actions))}")
        self.server.catch_up()
        result = self.actions[action](**arguments)
        self.server.catch_up()
        self.venue.flush()
        return result

    def _market(self, ticker: str) -> MarketState:
        market = self.venue.by_ticker.get(ticker)
        if market is None:
            raise ValueError(f"there is no market {ticker!r}")
        return market

    # --- everybody else ---------------------------------------------------------------------------

    def level(self, ticker: str, side: str, price: str, contracts: str | float) -> None:
        """Others' size at a YES price becomes this; `side` bid or ask."""
        row = {"side": int(side == "ask"), "price": _units(price), "qty": _size(contracts)}
        self.venue.push_row(self._market(ticker), d.LEVEL, **row)

    def take(self, ticker: str, taker: str, price: str, contracts: str | float) -> None:
        """Somebody takes at one YES price (`taker` bid buys YES); others' size there shrinks by its part."""
        market, size, units = self._market(ticker), _size(contracts), _units(price)
        side = int(taker == "ask")
        before = len(self.venue.ledger.fills)
        self.venue.push_row(market, d.TRADE, side=side, price=units, qty=size)
        ours = sum(_size(row["count_fp"]) for row in self.venue.ledger.fills[before:])
        left = market.others[1 - side].get(units, 0) - max(0, size - ours)
        self.venue.push_row(market, d.LEVEL, side=1 - side, price=units, qty=max(0, left))

    # --- markets ----------------------------------------------------------------------------------

    def pause_market(self, ticker: str, seconds: float = 0.0) -> None:
        """active -> inactive; after `seconds` (0: never) it is activated again."""
        market = self._market(ticker)
        self.venue.pause_market(market)
        if seconds:
            self.venue.at(self._later(seconds), lambda: self.venue.activate_market(market))

    def activate_market(self, ticker: str) -> None:
        """inactive -> active, which cancels what rests."""
        self.venue.activate_market(self._market(ticker))

    def move_close(self, ticker: str, in_s: float) -> None:
        """The close is `in_s` from now."""
        self.venue.move_close(self._market(ticker), self._later(in_s))

    def create_market(self, ticker: str, open_in_s: float = 0.0, close_in_s: float = 1_800.0) -> None:
        """Announce a market that the catalogue lists far in the future; it can be read a moment later."""
        self.venue.create_market(self._market(ticker), self._later(open_in_s), self._later(close_in_s))

    def close_market(self, ticker: str) -> None:
        """The close is now."""
        market = self._market(ticker)
        market.close_ns = self.venue.now_ns
        self.venue.close_time(market)

    def determine(self, ticker: str, result: str = "yes", scalar_price: str = "0.5000") -> None:
        """The result is known; the payout follows after the market's timer."""
        self.venue.determine(self._market(ticker), result, _units(scalar_price))

    def dispute(self, ticker: str) -> None:
        """determined -> disputed."""
        self.venue.dispute(self._market(ticker))

    def amend_result(self, ticker: str, result: str, scalar_price: str = "0.5000") -> None:
        """Another result, before or after the payout."""
        self.venue.amend(self._market(ticker), result, _units(scalar_price))

    def finalize(self, ticker: str) -> None:
        """Pay out now."""
        self.venue.finalize(self._market(ticker))

    def change_grid(self, ticker: str, grid: int) -> None:
        """The price grid becomes the market's grid of this number."""
        self.venue.change_grid(self._market(ticker), grid)

    def raise_floor(self, ticker: str, price: str) -> None:
        """A settlement floor."""
        self.venue.raise_floor(self._market(ticker), _units(price))

    def event_fees(self, event: str, fee_type: str | None = None, multiplier: float | None = None) -> None:
        """Fee overrides of an event."""
        self.venue.change_fees(self.venue.events[event].series, event, fee_type, multiplier)

    def series_fees(self, series: str, fee_type: str | None = None, multiplier: float | None = None) -> None:
        """Fees of a series; nobody is told."""
        self.venue.change_fees(series, "", fee_type, multiplier)

    def waive_fees(self, ticker: str, seconds: float) -> None:
        """No fees for some time."""
        self.venue.waive_fees(self._market(ticker), self._later(seconds))

    # --- the exchange -----------------------------------------------------------------------------

    def _later(self, seconds: float) -> int:
        return self.venue.now_ns + int(seconds * SECOND)

    def pause_trading(self, seconds: float = 0.0) -> None:
        """No orders and changes, cancels go on; after `seconds` (0: never) all is as before."""
        self._pause(seconds, exchange=True)

    def pause_exchange(self, seconds: float = 0.0) -> None:
        """Nothing goes."""
        self._pause(seconds, exchange=False)

    def _pause(self, seconds: float, *, exchange: bool) -> None:
        resume = self._later(seconds) if seconds else 0
        self.venue.set_exchange(trading=False, exchange=exchange, resume_ns=resume)
        if seconds:
            self.venue.at(resume, self.resume)

    def resume(self) -> None:
        """Everything goes again."""
        self.venue.set_exchange(trading=True, exchange=True)

    def maintenance(self, seconds: float = 0.0) -> None:
        """Nothing goes and every connection is cut."""
        now = self.venue.now_ns
        self.server.public.windows.append((now, self._later(seconds)))
        self.disconnect()
        self.pause_exchange(seconds)

    def schedule_maintenance(self, in_s: float, seconds: float) -> None:
        """Announce maintenance, and carry it out when it is due."""
        start = self._later(in_s)
        self.server.public.windows.append((start, start + int(seconds * SECOND)))

        def begin() -> None:
            self.disconnect()
            self.pause_exchange(seconds)

        self.venue.at(start, begin)

    # --- the account ------------------------------------------------------------------------------

    def trigger_group(self, group: str) -> None:
        """As the client's own trigger."""
        self.venue.trigger(self.venue.groups[group])

    def cancel_by_hand(self, order: str) -> None:
        """A person cancels an order on the venue's page."""
        self.venue.cancel(self.venue.orders[order])

    def place_by_hand(self, ticker: str, side: str, price: str, contracts: str) -> Json:
        """A person places an order on the venue's page."""
        body = {
            "ticker": ticker, "side": side, "price": price, "count": contracts,
            "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross",
        }  # fmt: skip
        return self.server.desk.create(body)

    def deposit(self, dollars: float, shard: int = 0) -> None:
        """A person moves money in, or out where it is negative."""
        self.venue.deposit(shard, round(dollars * MICRO))

    def tier(self, name: str) -> None:
        """Another usage tier."""
        self.server.limits.set_tier(name, self.venue.now_ns)

    def region(self, expires_s: int | None) -> None:
        """When the location attestation ends (Unix seconds); null: there is none."""
        self.server.doorkeeper.region_expires_s = expires_s

    # --- connections ------------------------------------------------------------------------------

    def disconnect(self, stream: int = -1) -> None:
        """Cut one connection (-1: all) without a close frame."""
        for each in self._streams(stream):
            self.server.cut(each)

    def freeze(self, seconds: float, stream: int = -1) -> None:
        """One connection (-1: all) sends no frames for some time, and loses them; pings go on."""
        for each in self._streams(stream):
            each.frozen_until_ns = self._later(seconds)

    def end_subscription(self, code: int = 10, channel: str = "", stream: int = -1) -> None:
        """Terminal error 10 or 25 for a channel (empty: for all)."""
        for each in self._streams(stream):
            for sub in list(each.subs.values()):
                if channel in ("", sub.channel):
                    each.end(sub, code)

    def unknown_frame(self) -> None:
        """A frame of a type that nobody knows."""
        for each in self._streams(-1):
            each.put({"type": "weather", "sid": 1, "msg": {"sunny": True}})

    def _streams(self, place: int) -> list[Any]:
        streams = list(self.server.streams)
        return streams if place < 0 else streams[place : place + 1]

    # --- what is true -----------------------------------------------------------------------------

    def truth(self) -> Json:
        """Orders, fills, positions and cash as they are, whatever reads say; what does not agree."""
        venue = self.venue
        positions = {
            m.spec.ticker: venue.position(m) // LOT / 100 for m in venue.markets if venue.position(m)
        }
        return {
            "now_ns": venue.now_ns, "orders": [order.json() for order in venue.orders.values()],
            "open_orders": [o.json() for orders in venue.open_of for o in orders.values()],
            "fills": list(venue.ledger.fills), "positions": positions,
            "cash": {str(s): money_text(v) for s, v in venue.ledger.cash.items()},
            "settlements": [row for _, row in venue.ledger.settlements],
            "groups": [g.json() | {"triggered": g.triggered} for g in venue.groups.values()],
            "unexplained": venue.unexplained(), "fired": dict(venue.faults.fired),
            "requests": dict(self.server.requests), "throttled": self.server.limits.refused,
        }  # fmt: skip

    def hazard(self, name: str) -> None:
        """Let a hazard strike somewhere, by the seeded generator."""
        faults, venue = self.venue.faults, self.venue
        chance = faults.chance
        live = [m for m in venue.markets if m.status == "active"]
        streams = list(self.server.streams)
        seconds = faults.draw("freeze_s" if name == "freeze" else "pause_s")
        if name in ("pause_trading", "pause_exchange", "maintenance"):
            if venue.trading_active:
                self.actions[name](seconds)
        elif name in ("freeze", "disconnect", "channel_error", "overflow"):
            if streams:
                self._strike_stream(name, chance.randrange(len(streams)), seconds)
        elif name == "unknown_frame":
            self.unknown_frame()
        elif name == "trigger_group":
            groups = [g for g in venue.groups.values() if not g.triggered]
            if groups:
                venue.trigger(chance.choice(groups))
        elif live:
            self._strike_market(name, chance.choice(live), seconds)

    def _strike_stream(self, name: str, place: int, seconds: float) -> None:
        if name == "freeze":
            self.freeze(seconds, place)
        elif name == "disconnect":
            self.disconnect(place)
        else:
            subs = list(self._streams(place)[0].subs.values())
            if subs:
                channel = self.venue.faults.chance.choice(subs).channel
                self.end_subscription(10 if name == "channel_error" else 25, channel, place)

    def _strike_market(self, name: str, market: MarketState, seconds: float) -> None:
        chance, venue = self.venue.faults.chance, self.venue
        if name == "pause_market":
            self.pause_market(market.spec.ticker, seconds)
        elif name == "move_close":
            venue.move_close(
                market, max(market.close_ns + chance.randrange(-600, 601) * SECOND, venue.now_ns + SECOND)
            )
        elif name == "change_grid":
            venue.change_grid(market, chance.randrange(len(market.spec.grids)))
        elif name == "fee_update":
            multiplier = chance.choice((0.5, 1.0, 2.0))
            venue.change_fees(venue.events[market.spec.event].series, market.spec.event, None, multiplier)
