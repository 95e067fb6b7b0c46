"""The lives of the stand-in's markets: opening, pausing, closing, results, payouts, grids, fees, pauses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pr3dict.domain.fees import KalshiFeeChange, kalshi_schedule
from pr3dict.kernels import dtypes as d
from pr3dict.venues.simulated import interventions
from standins.kalshi.catalog import Catalog, ranges_of
from standins.kalshi.faults import FaultBox
from standins.kalshi.matching import Matching
from standins.kalshi.state import MarketState, Note
from standins.kalshi.values import MICRO, MS, SECOND, Json, money4_text, price_text

CANCELS_FOLLOW_CLOSE_NS: Final = 300 * MS
CREATED_BEFORE_FOUND_NS: Final = SECOND  # a market can't be read for a moment after it was announced


class Venue(Matching):
    """One account at the exchange: matching, and what moves markets and the exchange as a whole."""

    def __init__(
        self, catalog: Catalog, *, start_ns: int, cash_micros: dict[int, int], faults: FaultBox,
        direct_member: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            catalog, start_ns=start_ns, cash_micros=cash_micros, faults=faults, direct_member=direct_member
        )
        self._begin()

    def _begin(self) -> None:
        self.exchange.advance(self.now_ns)
        for market in self.markets:
            self.set_fees(market)
            self.at(market.close_ns, partial(self.close_time, market))
            if market.visible_ns > self.now_ns:
                self.at(market.visible_ns, partial(self._tell_created, market))
            if market.open_ns > self.now_ns:
                self._set_status(market, "initialized", d.INITIALIZED)
                self.at(market.open_ns, partial(self._open, market))
            else:
                market.status = "active"
        for change in self.catalog.fee_changes:
            at = self.start_ns + int(change.in_s * SECOND)
            action = partial(
                self.change_fees, change.series, change.event, change.fee_type, change.multiplier
            )
            self.at(at, action)
        self._refreeze()
        self.catch_up(self.now_ns)

    def tell_life(self, market: MarketState, kind: str, **more: Any) -> None:
        """A frame of the lifecycle channel."""
        market.updated_ns = self.now_ns
        body: Json = {"event_type": kind, "market_ticker": market.spec.ticker, **more}
        self.note(Note("market_lifecycle_v2", "market_lifecycle_v2", market.place, body))

    def _set_status(self, market: MarketState, status: str, code: int) -> None:
        market.status = status
        self.push_row(market, d.STATUS, aux=code)
        self._refreeze()

    def _refreeze(self) -> None:
        """Where nothing trades the recording waits; where trading begins again, the book catches up."""
        for market in self.markets:
            frozen = not (self.trading_active and market.status == "active")
            if self._frozen[market.place] and not frozen:
                waiting, market.waiting = market.waiting, {}
                self._frozen[market.place] = False
                for (side, price), size in waiting.items():
                    self.push_row(market, d.LEVEL, side=side, price=price, qty=size)
            self._frozen[market.place] = frozen

    # --- from listing to close --------------------------------------------------------------------

    def _tell_created(self, market: MarketState) -> None:
        market.visible_ns = self.now_ns + CREATED_BEFORE_FOUND_NS
        self.tell_life(
            market, "created", open_ts=market.open_ns // SECOND, close_ts=market.close_ns // SECOND,
            exchange_index=market.spec.exchange_index,
            price_level_structure=market.spec.labels[market.grid],
            price_ranges=ranges_of(market.spec.grids[market.grid]),
            additional_metadata={
                "event_ticker": market.spec.event, "title": market.spec.title,
                "yes_sub_title": market.spec.title, "can_close_early": market.spec.can_close_early,
            },
        )  # fmt: skip

    def create_market(self, market: MarketState, open_ns: int, close_ns: int) -> None:
        """Announce a market that was to be listed later."""
        market.open_ns, market.close_ns = open_ns, close_ns
        self._tell_created(market)
        self.at(open_ns, lambda: self._open(market))
        self.at(close_ns, lambda: self.close_time(market))

    def _open(self, market: MarketState) -> None:
        """No frame says so."""
        if market.status == "initialized":
            self._set_status(market, "active", d.ACTIVE)

    def pause_market(self, market: MarketState) -> None:
        """active -> inactive; orders that asked for it are cancelled."""
        if market.status != "active":
            return
        self._cancel_pausing(market)
        self._set_status(market, "inactive", d.PAUSED)
        self.tell_life(market, "deactivated", is_deactivated=True)

    def activate_market(self, market: MarketState) -> None:
        """inactive -> active, which cancels what rests."""
        if market.status != "inactive":
            return
        self._mute = self.faults.hits("wipe_silently")
        self._set_status(market, "active", d.ACTIVE)
        self._mute = False
        self.tell_life(market, "activated", is_deactivated=False)

    def _cancel_pausing(self, market: MarketState) -> None:
        for order in list(self.open_of[market.place].values()):
            if order.cancel_on_pause:
                self.cancel(order, "HaltCancel")

    def move_close(self, market: MarketState, close_ns: int) -> None:
        """Trading ends at another time."""
        if market.is_over:
            return
        market.close_ns = max(close_ns, self.now_ns)
        self.tell_life(market, "close_date_updated", close_ts=market.close_ns // SECOND)
        self.at(market.close_ns, lambda: self.close_time(market))

    def close_time(self, market: MarketState) -> None:
        """active -> closed without a frame; the cancels follow a moment later."""
        if market.is_over or market.close_ns > self.now_ns:
            return
        market.previous = (market.best()[0], market.best()[2], market.last_price)
        market.status = "closed"
        market.updated_ns = self.now_ns
        self._refreeze()
        self.at(self.now_ns + CANCELS_FOLLOW_CLOSE_NS, lambda: self.push_row(market, d.STATUS, aux=d.CLOSED))
        after_ns = int(market.spec.determine_after_s * SECOND)
        self.at(self.now_ns + after_ns, lambda: self._determine_closed(market))

    def _determine_closed(self, market: MarketState) -> None:
        if market.status == "closed":
            self.determine(market, market.spec.result, market.spec.scalar_price)

    # --- results ----------------------------------------------------------------------------------

    def determine(self, market: MarketState, result: str, scalar_price: int = 5_000) -> None:
        """The result is known: yes, no, scalar or void; the payout follows after the settlement timer."""
        if market.status in ("finalized", "initialized"):
            return
        if not market.is_over:
            market.close_ns = self.now_ns
            self.close_time(market)
        if market.status == "closed":
            self.push_row(market, d.STATUS, aux=d.DETERMINED)
            market.status = "determined"
        market.result = result
        market.value = {"yes": MICRO, "no": 0, "scalar": scalar_price * 100}.get(result, -1)
        market.expiration_value = result
        market.determined_ns = self.now_ns
        body: Json = {"result": result, "determination_ts": self.now_ns // SECOND}
        if market.value >= 0:
            body["settlement_value"] = money4_text(market.value)
        self.tell_life(market, "determined", **body)
        if market.status != "disputed":
            due_ns = self.now_ns + market.spec.settlement_timer_s * SECOND
            self.at(due_ns, lambda: self.finalize(market, due_ns))

    def dispute(self, market: MarketState) -> None:
        """determined -> disputed: nothing is paid until it is amended."""
        if market.status == "determined":
            market.status, market.updated_ns = "disputed", self.now_ns

    def amend(self, market: MarketState, result: str, scalar_price: int = 5_000) -> None:
        """Another result: before the payout (amended, the timer starts again) or after it (paid again)."""
        if market.status == "finalized":
            market.result = result
            market.value = {"yes": MICRO, "no": 0}.get(result, scalar_price * 100)
            value = market.value
            interventions.amend_settlement(self.exchange, self.now_ns, market.place, value)
            self.ledger.amend(self.now_ns, market, value)
            self._tell_payout(market)
        elif market.status in ("determined", "disputed", "amended"):
            market.status = "amended"
            self.determine(market, result, scalar_price)

    def finalize(self, market: MarketState, due_ns: int = 0) -> None:
        """Pay out. `due_ns`: only if no later determination has moved it."""
        timer_ns = market.spec.settlement_timer_s * SECOND
        moved = due_ns and market.determined_ns + timer_ns != due_ns
        if market.status not in ("determined", "amended") or moved:
            return
        refund = market.value < 0
        value = 0 if refund else market.value
        self.push_row(market, d.SETTLE, qty=value, bits=d.REFUND if refund else 0)
        before = sum(self.ledger.cash.values())
        self.ledger.settle(self.now_ns, market, value, refund=refund)
        paid = sum(self.ledger.cash.values()) - before
        kept = self.exchange.paid[market.place][2] - paid
        if 0 < kept < 10_000 and not refund:  # less than a cent of a scalar payout
            interventions.transfer(self.exchange, self.now_ns, "kalshi", -kept)
        market.status, market.settled_ns = "finalized", self.now_ns
        self.tell_life(market, "settled", settled_ts=self.now_ns // SECOND)
        self._tell_payout(market)

    def _tell_payout(self, market: MarketState) -> None:
        self.ledger.note(self.now_ns, market)
        if market.place in self.ledger.positions:
            told = self.ledger.told(market)
            self.note(Note("market_positions", "market_position", market.place, told))

    # --- grids, floors, fees ----------------------------------------------------------------------

    def change_grid(self, market: MarketState, grid: int) -> None:
        """Another price grid of the market's list."""
        if grid == market.grid or market.is_over:
            return
        market.grid = grid
        self.push_row(market, d.TICK, aux=grid)
        prices = set(market.spec.grids[grid].prices())
        for side in (d.BID, d.ASK):
            for price in [p for p in market.others[side] if p not in prices]:
                del market.others[side][price]
                self.refresh(self.now_ns, market, side, price)
        self.tell_life(
            market, "price_level_structure_updated", price_level_structure=market.spec.labels[grid],
            price_ranges=ranges_of(market.spec.grids[grid]),
        )  # fmt: skip

    def raise_floor(self, market: MarketState, price: int) -> None:
        """A settlement floor: orders at or below it are cancelled, new ones below it refused."""
        market.floor = price
        for order in list(self.open_of[market.place].values()):
            if order.price <= price:
                self.cancel(order, "SettlementBoundsCancel")
        self.tell_life(
            market, "metadata_updated",
            additional_metadata={
                "settlement_bounds_type": "floor", "settlement_floor_dollars": price_text(price),
            },
        )  # fmt: skip

    def set_fees(self, market: MarketState) -> None:
        """Let the matching engine charge what series, event and waiver say now."""
        series = self.events[market.spec.event].series
        fee_type, multiplier = self.series_fees[series]
        over_type, over_multiplier = self.event_fees[market.spec.event]
        chosen = KalshiFeeChange(
            fee_type=over_type if over_type is not None else fee_type,
            multiplier_ppm=round(
                (over_multiplier if over_multiplier is not None else multiplier) * 1_000_000
            ),
        )
        schedule = kalshi_schedule(
            (chosen,), direct_member=self._direct, waived_until_ns=market.fee_waiver_ns or None
        )
        terms = schedule.at(self.now_ns)
        row = self.exchange.world.fees[market.place]
        row.kind = d.FEE_KALSHI
        row.taker_ppm, row.maker_ppm = terms.taker_ppm, terms.maker_ppm
        row.trade_unit_micros, row.unit_micros = terms.trade_fee_unit_micros, terms.balance_unit_micros
        row.rebate_unit_micros = terms.rebate_unit_micros

    def waive_fees(self, market: MarketState, until_ns: int) -> None:
        """No fees in a market for some time."""
        market.fee_waiver_ns = until_ns
        self.set_fees(market)
        self.at(until_ns, lambda: self.set_fees(market))

    def change_fees(self, series: str, event: str, fee_type: str | None, multiplier: float | None) -> None:
        """Fees of an event (or, without one, of a series) change now; an event's change is told."""
        if event:
            self.event_fees[event] = (fee_type, multiplier)
            body: Json = {
                "event_ticker": event, "fee_type_override": fee_type, "fee_multiplier_override": multiplier,
            }  # fmt: skip
            self.note(Note("market_lifecycle_v2", "event_fee_update", -1, body))
        else:
            old_type, old_multiplier = self.series_fees[series]
            self.series_fees[series] = (
                old_type if fee_type is None else fee_type,
                old_multiplier if multiplier is None else multiplier,
            )
        for market in self.markets:
            if market.spec.event == event or (not event and self.events[market.spec.event].series == series):
                self.set_fees(market)

    # --- the whole exchange -----------------------------------------------------------------------

    def set_exchange(self, *, trading: bool, exchange: bool, resume_ns: int = 0) -> None:
        """Trading paused: no new orders, no changes; exchange paused: no cancels either. Orders survive."""
        was_trading = self.trading_active
        self.trading_active, self.exchange_active = trading and exchange, exchange
        self.resume_ns = 0 if self.trading_active else resume_ns
        if was_trading and not self.trading_active:
            for market in self.markets:
                self._cancel_pausing(market)
        self._refreeze()

    def for_a_while(self, start: Callable[[], None], end: Callable[[], None], seconds: float) -> None:
        """Do one thing now and another some venue seconds later."""
        start()
        self.at(self.now_ns + int(seconds * SECOND), end)

    def transfer(self, source: int, target: int, amount_micros: int) -> bool:
        """Move cash between shards."""
        if not 0 < amount_micros <= self.free_cash(source) or target not in self.ledger.cash:
            return False
        self.ledger.cash[source] -= amount_micros
        self.ledger.cash[target] += amount_micros
        self.ledger.note(self.now_ns)
        return True

    def deposit(self, shard: int, amount_micros: int) -> None:
        """A person moves money in, or out where it is negative."""
        interventions.transfer(self.exchange, self.now_ns, "kalshi", amount_micros)
        self.ledger.cash[shard] += amount_micros
        self.ledger.note(self.now_ns)

    def unexplained(self) -> list[str]:
        """Where the account's books differ from the simulated exchange's; empty: they agree."""
        found = list(self.exchange.unexplained)
        if sum(self.ledger.cash.values()) != self.exchange.cash_micros:
            found.append(f"cash {sum(self.ledger.cash.values())}, exchange {self.exchange.cash_micros}")
        for market in self.markets:
            held = self.exchange.world.holdings[market.place]
            size = int(held.yes_contracts) - int(held.no_contracts)
            if size != self.position(market):
                found.append(f"{market.spec.ticker} {self.position(market)}, exchange {size}")
        rests = {order.key for orders in self.open_of for order in orders.values()}
        if rests != set(self.exchange.truth.open):
            found.append(f"resting {sorted(rests)}, exchange {sorted(self.exchange.truth.open)}")
        return found
