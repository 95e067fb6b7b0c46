"""What whoever tests can make happen at the venue: the same actions from Python, over HTTP and by chance."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from standins.polymarket.crypto import checksum
from standins.polymarket.limits import TIERS
from standins.polymarket.state import Account, MarketState
from standins.polymarket.values import DOLLAR, MICRO, SECOND, Json
from standins.polymarket.venue import CANCEL_ONLY, OPEN, POST_ONLY

if TYPE_CHECKING:
    from standins.polymarket.server import PolymarketStandIn

SIDES = {"bid": 0, "ask": 1}


def _fate(market: MarketState) -> Json:
    """What a market is and, once it is resolved, what a share of each token pays in micro-dollars."""
    pays = list(market.payouts()) if market.status == "resolved" else None
    return {
        "condition": market.spec.condition, "tokens": list(market.tokens), "pays": pays,
        "fee_ppm": market.fee_rate_ppm,
    }  # fmt: skip


def _units(text: str | float, scale: int) -> int:
    found = Decimal(str(text)) * scale
    if found != int(found):
        raise ValueError(f"{text!r} is finer than 1/{scale}")
    return int(found)


class Controls:
    """Actions by name: `do("resolve", market="plain-0", result="no")`. Prices are those of YES."""

    def __init__(self, server: PolymarketStandIn) -> None:
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

    def _market(self, name: str) -> MarketState:
        """By slug, condition or asset."""
        for market in self.venue.markets:
            if name in (market.spec.slug, market.spec.condition, *market.tokens):
                return market
        raise ValueError(f"there is no market {name!r}")

    def _account(self, wallet: str) -> Account:
        if not wallet:
            return self.server.account
        found = self.venue.accounts.get(checksum(wallet))
        if found is None:
            raise ValueError(f"there is no wallet {wallet!r}")
        return found

    # --- everybody else ---------------------------------------------------------------------------

    def level(self, market: str, side: str, price: str | float, shares: str | float) -> None:
        """Others' size at a YES price becomes this; `side` bid or ask."""
        found, units = self._market(market), _units(price, DOLLAR)
        size = _units(shares, MICRO)
        found.recorded[SIDES[side]][units] = found.book.others(SIDES[side], units)
        found.traded[SIDES[side]].pop(units, None)
        self.venue.crowd_level(found, SIDES[side], units, size)

    def take(self, market: str, taker: str, price: str | float, shares: str | float) -> None:
        """Somebody takes up to a YES price (`taker` bid buys YES or sells NO)."""
        found = self._market(market)
        self.venue.crowd_trade(found, SIDES[taker], _units(price, DOLLAR), _units(shares, MICRO))
        found.traded[0].clear()
        found.traded[1].clear()
        for side in (0, 1):  # what is left of others is what is recorded from now on
            for at in found.recorded[side]:
                found.recorded[side][at] = found.book.others(side, at)

    # --- markets ----------------------------------------------------------------------------------

    def change_tick(self, market: str, tick: str | float) -> None:
        """Another tick."""
        self.venue.change_tick(self._market(market), _units(tick, DOLLAR))

    def resolve(self, market: str, result: str = "yes") -> None:
        """yes, no or void."""
        if result not in ("yes", "no", "void"):
            raise ValueError(f"result {result!r}: yes, no or void")
        self.venue.resolve(self._market(market), result)

    def propose(self, market: str, status: str | None = "proposed") -> None:
        """`umaResolutionStatus`: proposed, disputed, or null again."""
        self._market(market).uma = status

    def accept_orders(self, market: str, accepting: bool) -> None:
        """Whether new orders are taken."""
        self._market(market).accepting = accepting

    def clear_book(self, market: str) -> None:
        """Everybody's orders end, as when a game starts."""
        self.venue.clear_book(self._market(market))

    def move_start(self, market: str, in_s: float, *, by: str = "") -> None:
        """A game starts so many seconds from now; `by`: only the book or only the catalogue knows."""
        found, at_ns = self._market(market), self.venue.now_ns + round(in_s * SECOND)
        if by != "catalogue":
            self.venue.start_game(found, at_ns)
        if by != "book":
            found.listed_start_ns = at_ns

    def reward_size(self, market: str, shares: int) -> None:
        """The least size that earns."""
        self._market(market).rewards_min_size = shares

    # --- the exchange -----------------------------------------------------------------------------

    def restart(self, seconds: float = 10.0, post_only_s: float = 120.0, loses: float = 0.0) -> None:
        """425, then post-only; `loses` is the share of resting orders that are gone untold."""
        self.venue.restart(seconds, post_only_s, loses)

    def post_only(self, seconds: float) -> None:
        """Only post-only orders and cancels."""
        self.venue.restrict(POST_ONLY, seconds)

    def cancel_only(self, seconds: float) -> None:
        """Only cancels."""
        self.venue.restrict(CANCEL_ONLY, seconds)

    def open_up(self) -> None:
        """Everything goes again."""
        self.venue.mode = OPEN

    # --- accounts ---------------------------------------------------------------------------------

    def deposit(self, dollars: float, wallet: str = "") -> None:
        """Money in, or out where it is negative: what it no longer pays for is cancelled."""
        self.venue.move_money(self._account(wallet), round(dollars * MICRO))

    def split(self, market: str, shares: str | float, wallet: str = "") -> None:
        """A person splits on the web site."""
        account, found = self._account(wallet), self._market(market)
        why = self.venue.ledger.split(self.venue.now_ns, account.wallet, found, _units(shares, MICRO))
        if why:
            raise ValueError(why)
        self.venue.sweep()

    def approve(self, approved: bool = True, wallet: str = "") -> None:
        """All approvals, or none."""
        account = self._account(wallet)
        account.spenders.clear()
        account.operators.clear()
        if approved:
            account.approve_all()

    def account_flags(self, wallet: str = "", **flags: bool) -> None:
        """`allowed`, `closed_only`, `banned`, `deployed`."""
        account = self._account(wallet)
        for name, value in flags.items():
            if name not in ("allowed", "closed_only", "banned", "deployed"):
                raise ValueError(f"there is no flag {name!r}")
            setattr(account, name, value)

    def cancel_by_hand(self, order: str) -> None:
        """A person cancels an order on the web site."""
        self.venue.cancel(self.venue.orders[order])

    def tier(self, name: str) -> None:
        """Another tier."""
        self.server.limits.set_tier(name)

    def tiers(self) -> list[str]:
        """The names of the tiers."""
        return list(TIERS)

    def arm(self, fault: str, times: int = 1) -> None:
        """A hook strikes the next times that it is asked."""
        self.venue.faults.arm(fault, times)

    # --- connections ------------------------------------------------------------------------------

    def disconnect(self, stream: int = -1) -> None:
        """Cut one connection (-1: all) without a close frame."""
        for each in self._streams(stream):
            self.server.cut(each)

    def freeze(self, seconds: float, stream: int = -1) -> None:
        """One connection (-1: all) sends no frames for some time, and loses them; PING is answered."""
        for each in self._streams(stream):
            each.frozen_until_ns = self.venue.now_ns + int(seconds * 1e9)

    def unknown_frame(self) -> None:
        """A frame of a type that nobody knows."""
        for each in self._streams(-1):
            each.put([{"event_type": "weather", "market": "0x00", "sunny": True}])

    def _streams(self, place: int) -> list[Any]:
        streams = list(self.server.streams)
        return streams if place < 0 else streams[place : place + 1]

    # --- what is true -----------------------------------------------------------------------------

    def truth(self) -> Json:
        """Orders, trades and balances as they are, whatever reads say; what does not agree."""
        venue = self.venue
        return {
            "now_ns": venue.now_ns, "mode": venue.mode,
            "orders": [order.json() | {"salt": order.salt} for order in venue.orders.values()],
            "open_orders": [order.json() for order in venue.open.values()],
            "trades": [trade.json("TAKER" if trade.taker else "MAKER") for trade in venue.trades.values()],
            "fees": {trade.id: str(trade.fee) for trade in venue.trades.values()},
            "markets": [_fate(market) for market in venue.markets],
            "balances": venue.ledger.truth(), "paid": list(venue.rewards.paid),
            "transactions": [tx.json() for tx in self.server.relayer.transactions.values()],
            "unexplained": venue.unexplained(), "fired": dict(venue.faults.fired),
            "requests": dict(self.server.requests), "throttled": self.server.limits.refused,
        }  # fmt: skip

    def hazard(self, name: str) -> None:
        """Let a hazard strike somewhere, by the seeded generator."""
        faults, venue = self.venue.faults, self.venue
        chance = faults.chance
        live = [m for m in venue.markets if m.status == "active"]
        streams = list(self.server.streams)
        if name in ("freeze", "disconnect"):
            if streams:
                place = chance.randrange(len(streams))
                self.freeze(faults.draw("freeze_s"), place) if name == "freeze" else self.disconnect(place)
        elif name == "unknown_frame":
            self.unknown_frame()
        elif name in ("restart", "cancel_only"):
            if venue.mode == OPEN and name == "restart":
                self.restart(faults.draw("restart_s"), faults.draw("post_only_s"))
            elif venue.mode == OPEN:
                self.cancel_only(faults.draw("restart_s"))
        elif live:
            self._strike_market(name, chance.choice(live))

    def _strike_market(self, name: str, market: MarketState) -> None:
        chance = self.venue.faults.chance
        if name == "change_tick":
            self.venue.change_tick(market, chance.choice(market.spec.ticks))
        elif name == "clear_book":
            self.venue.clear_book(market)
        elif name == "reward_size":
            market.rewards_min_size = chance.choice((20, 50, 100, 200))
