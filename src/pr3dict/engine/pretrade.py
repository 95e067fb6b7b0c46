"""What the gate needs to know of a market, gathered from the account and the brain, order by order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pr3dict.domain.commands import Place
from pr3dict.domain.order import OrderState
from pr3dict.domain.units import BID, PPM_SCALE, PRICE_SCALE, ceil_div
from pr3dict.engine.brain_port import Message
from pr3dict.kernels import dtypes as d
from pr3dict.risk.exposure import EventLoss, Exposure, FillExposure, OrderExposure, losses
from pr3dict.risk.gate import Gate, MarketFacts, Portfolio, Refusal, Wish
from pr3dict.risk.limits import RiskConfig

if TYPE_CHECKING:
    from pr3dict.engine.engine import Engine

_RESTING = (d.POST_ONLY, d.LIMIT)


class LossBook:
    """The worst case of every market, event and of all, brought up to date one market at a time."""

    def __init__(self) -> None:
        self._losses: dict[int, tuple[int, int]] = {}
        self._members: dict[int, dict[int, None]] = {}  # event to its markets
        self._joined: dict[int, int] = {}  # event (or -1 - market where it stands alone) to its worst loss
        self._total = 0

    def set(self, market: int, event: int, if_yes: int, if_no: int) -> None:
        """Market `market` of exclusive event `event` (-1: none) loses this in micros, by outcome."""
        self._losses[market] = (if_yes, if_no)
        key = event if event >= 0 else -1 - market
        self._members.setdefault(key, {})[market] = None
        joined = self._gather(key).joined(0, 0)
        self._total += joined - self._joined.get(key, 0)
        self._joined[key] = joined

    def siblings(self, market: int, event: int) -> EventLoss:
        """The other markets of the same event."""
        return self._gather(event, without=market) if event >= 0 else EventLoss()

    def others_micros(self, market: int, event: int) -> int:
        """Worst loss of everything but this market's event."""
        return self._total - self._joined.get(event if event >= 0 else -1 - market, 0)

    @property
    def total_micros(self) -> int:
        """Worst loss of everything."""
        return self._total

    def _gather(self, key: int, without: int = -1) -> EventLoss:
        none = swing = 0
        for market in self._members.get(key, ()):
            if market != without:
                if_yes, if_no = self._losses[market]
                none += if_no
                swing = max(swing, if_yes - if_no)
        return EventLoss(none, swing)


class Pretrade:
    """Puts each new order of the brain before the gate, with the pessimistic reading of the account."""

    def __init__(self, config: RiskConfig) -> None:
        self.gate = Gate(config)
        self.book = LossBook()
        self._sure = LossBook()  # the same without orders that may be gone in a moment
        self._life_ns = config.order_life_ns
        self._dirty: dict[int, None] = {}

    def changed(self, market: int) -> None:
        """Orders or position of a market changed: its worst case is worked out again when needed."""
        self._dirty[market] = None

    def total_loss_micros(self, engine: Engine) -> int:
        """Worst loss of everything that is open, every doubt read against us."""
        self._refresh(engine)
        return self.book.total_micros

    def judge(self, engine: Engine, now_ns: int, message: Message) -> Place | Refusal:
        """The order as it may leave, or why not."""
        self._refresh(engine)
        m, exposure = message.market, exposure_of(engine, message.market)
        expiry_ns = now_ns + self._life_ns if self._life_ns and message.tif in _RESTING else 0
        wish = Wish(
            order_id=message.order_id,
            market=m,
            side=message.side,
            sell=message.sell and _is_sure(exposure, message),
            price=message.price,
            size=message.size,
            tif=message.tif,
            expiry_ns=expiry_ns,
        )
        verdict = self.gate.approve(
            now_ns,
            wish,
            _facts(engine, now_ns, m),
            exposure,
            self._portfolio(engine, message),
        )
        self.changed(m)
        return verdict

    def _refresh(self, engine: Engine) -> None:
        for market in self._dirty:
            event = int(engine.world.markets[market].event)
            # What a settled market won or lost is cash by now: it covers nothing that is still open.
            is_settled = int(engine.world.stats["settled"][market]) > 0
            exposure = Exposure() if is_settled else exposure_of(engine, market)
            self.book.set(market, event, *losses(exposure))
            self._sure.set(market, event, *losses(exposure.without_doubtful()))
        self._dirty.clear()

    def _portfolio(self, engine: Engine, message: Message) -> Portfolio:
        w, m = engine.world, message.market
        account, event = w.account[0], int(w.markets[m].event)
        leaving = bool(w.markets[m].leaving) and bool(w.quotes[m].exit)  # a person said so
        equity = int(account.local_cash_micros) + int(account.value_micros)
        unit = message.price if message.side == BID else PRICE_SCALE - message.price
        own = 0 if message.sell else ceil_div(unit * message.size, PRICE_SCALE)  # the brain counts it already
        return Portfolio(
            killed=bool(account.killed) and not leaving,
            halted=engine.is_halted and not leaving,
            cash_micros=engine.account.cash_micros,
            locked_micros=int(account.locked_micros) - own,
            siblings=self.book.siblings(m, event),
            others_loss_micros=self.book.others_micros(m, event),
            sure_siblings=self._sure.siblings(m, event),
            sure_others_micros=self._sure.others_micros(m, event),
            heat_limit_micros=max(0, equity) // PPM_SCALE * int(w.rules[0].max_heat_ppm),
        )


def _is_sure(exposure: Exposure, message: Message) -> bool:
    """Whether what the order would sell is surely held: a venue sells nothing of a trade that it may void.

    Otherwise the order buys the other contract, which comes to the same.
    """
    if not exposure.provisional:
        return True
    held = exposure.no_contracts if message.side == BID else exposure.yes_contracts
    unsure = sum(f.size for f in exposure.provisional if f.side != message.side and not f.sell)
    promised = sum(o.remaining for o in exposure.orders if o.side == message.side and o.sell)
    return held - unsure - promised >= message.size


def exposure_of(engine: Engine, market: int) -> Exposure:
    """What a market holds and what is open in it, as the account knows it."""
    held = engine.account.position(market)
    return Exposure(
        yes_contracts=held.yes_contracts,
        no_contracts=held.no_contracts,
        cost_micros=held.cost_micros,
        orders=tuple(
            OrderExposure(
                order.side, order.sell, order.price, order.remaining, order.state is OrderState.LIVE
            )
            for order in engine.account.open_orders(market)
        ),
        provisional=tuple(
            FillExposure(fill.side, fill.sell, fill.price, fill.size, fill.fee_micros)
            for fill in held.provisional
        ),
    )


def _facts(engine: Engine, now_ns: int, m: int) -> MarketFacts:
    w = engine.world
    market, book, params = w.markets[m], w.books[m], w.params[m]
    current_ns = max(int(book.event_ns), engine.feeds.alive_ns(engine.listings[m].venue))
    bid, ask = engine.touch(m)
    only_exits = market.hold == d.HOLD_QUOTES and w.quotes[m].exit == 0
    return MarketFacts(
        status=int(market.status),
        min_size=int(market.min_size),
        lot=int(market.lot),
        on_grid=partial(_on_grid, w.grids.level_of_price[int(book.grid)]),
        fair_micros=int(market.fair_micros),
        book_age_ns=now_ns - current_ns,
        held=bool(market.hold == d.HOLD_ALL or only_exits),
        price_band_micros=int(params.price_band_micros),
        nets_positions=bool(market.nets_positions),
        best_bid=bid,
        best_ask=ask,
        max_order_size=int(params.max_order_size),
    )


def _on_grid(level_of_price: d.Array, price: int) -> bool:
    return bool(level_of_price[price] >= 0)
