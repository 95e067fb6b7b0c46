"""What the engine itself does about each kind of event, as a table; evidence on orders is the account's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.units import format_price
from pr3dict.engine import holds as h
from pr3dict.engine.holds import EVERYWHERE
from pr3dict.engine.operations import Upkeep
from pr3dict.engine.recovery import cancel_leftovers
from pr3dict.kernels import live
from pr3dict.risk.breaker_table import DAILY_LOSS, latches

if TYPE_CHECKING:
    from pr3dict.engine.engine import Engine


# --- a process and its markets --------------------------------------------------------------------


def _started(engine: Engine, event: e.Started) -> None:
    engine.awaits_start = False
    engine.upkeep = Upkeep()
    account = engine.world.account[0]
    account.local_cash_micros = engine.account.cash_micros
    engine.world.rules["day_offset_ns"] = event.day_offset_ns
    if engine.started is None and account.day_end_ns == 0:
        account.day_start_equity_micros = engine.account.cash_micros
    engine.started = event


def _listed(engine: Engine, event: e.Listed) -> None:
    engine.brain.list_market(event)
    if event.venue not in engine.venues:
        engine.venues[event.venue] = None
        engine.set_hold(EVERYWHERE, event.venue, h.FEED_DOWN, on=True)
        engine.set_hold(EVERYWHERE, event.venue, h.UNRECONCILED, on=True)
    elif engine.config.reconcile_interval_ns and engine.account.is_reconciled(event.venue):
        engine.unconfirmed[event.market] = None  # what stands there is not known yet
        engine.set_hold(event.market, "", h.UNRECONCILED, on=True)
    engine.refresh_holds([event.market])


def _stopping(engine: Engine, event: e.Stopping) -> None:
    engine.set_hold(EVERYWHERE, "", h.STOPPING, on=True)
    engine.cancel_all(event.why)


def _latched(engine: Engine, event: e.Latched) -> None:
    engine.set_hold(EVERYWHERE, "", h.HALTED, on=True)
    engine.watch.say(engine, "halted", EVERYWHERE, f"the kill latch is set ({event.reason}): {event.text}")


def _log_failed(engine: Engine, event: e.LogFailed) -> None:
    engine.set_hold(EVERYWHERE, "", h.LOG_FAILED, on=True)
    engine.cancel_all(event.why)
    engine.watch.say(engine, "journal_failed", EVERYWHERE, event.why)


def _clock_jumped(engine: Engine, event: e.ClockJumped) -> None:
    """After a sleep nothing that was known counts: every book and every order is asked for again."""
    for venue in engine.venues:
        engine.feeds.forget(venue)
        engine.set_hold(EVERYWHERE, venue, h.UNRECONCILED, on=True)
    _distrust(engine, range(len(engine.listings)), ask=True)
    text = f"the process slept or its clock moved by {event.gap_ns / 1e9:.1f} s"
    engine.watch.happened(engine, "clock_jumped", EVERYWHERE, text)


# --- market data ----------------------------------------------------------------------------------


def _distrust(engine: Engine, markets: Sequence[int], *, ask: bool) -> None:
    """Hold markets until a whole snapshot of their book has come."""
    for market in markets:
        if market in engine.recovery.settled:  # nothing depends on its book
            continue
        if not engine.feeds.is_broken(market):
            engine.feeds.break_book(market, engine.world)
            engine.set_hold(market, "", h.BOOK_INVALID, on=True)
        if ask:
            engine.emit(c.Resubscribe(market=market))


def _markets_of(engine: Engine, venue: str) -> list[int]:
    return [listing.market for listing in engine.listings if listing.venue == venue]


def _feed_up(engine: Engine, event: e.FeedUp) -> None:
    engine.set_hold(EVERYWHERE, event.venue, h.UNRECONCILED, on=True)
    engine.set_hold(EVERYWHERE, event.venue, h.FEED_DOWN, on=False)
    cancel_leftovers(engine, event.venue)
    engine.watch.over(engine, f"feed_down_{event.venue}", EVERYWHERE)


def _feed_down(engine: Engine, event: e.FeedDown) -> None:
    engine.feeds.forget(event.venue)
    engine.set_hold(EVERYWHERE, event.venue, h.FEED_DOWN, on=True)
    engine.set_hold(EVERYWHERE, event.venue, h.UNRECONCILED, on=True)
    _distrust(engine, _markets_of(engine, event.venue), ask=False)
    text = f"the streams of {event.venue} are down: {event.why}"
    engine.watch.say(engine, f"feed_down_{event.venue}", EVERYWHERE, text)


def _feed_alive(engine: Engine, event: e.FeedAlive) -> None:
    engine.feeds.alive(event.venue, engine.now_ns, event.venue_ns)
    if engine.feeds.stale_from_ns(event.venue) > engine.now_ns:
        engine.set_hold(EVERYWHERE, event.venue, h.FEED_STALE, on=False)


def _book_invalid(engine: Engine, event: e.BookInvalid) -> None:
    _distrust(engine, [event.market], ask=True)


def _book_read(engine: Engine, event: e.BookRead) -> None:
    touch = engine.touch(event.market)
    if engine.feeds.is_broken(event.market) or not engine.feeds.disagrees(event, engine.world, touch):
        return
    engine.conclude(e.BookInvalid(market=event.market, why="differs"))
    ours = " / ".join(format_price(price) if price >= 0 else "none" for price in touch)
    engine.watch.happened(engine, "book_differs", event.market, f"our touch {ours} is not the venue's")


def _queue_read(engine: Engine, event: e.QueueRead) -> None:
    engine.queues.note(event, engine.account.orders.open)


def _venue_status(engine: Engine, event: e.VenueStatus) -> None:
    engine.set_hold(EVERYWHERE, event.venue, h.VENUE_NOT_OPEN, on=event.status != "open")


def _fees_changed(engine: Engine, event: e.FeesChanged) -> None:
    engine.brain.table.change_fees(event)
    text = f"the fee is now {event.taker_ppm} ppm of p(1-p) for takers, {event.maker_ppm} for makers"
    engine.watch.happened(engine, "fees_changed", event.market, text)


def _rewards_changed(engine: Engine, event: e.RewardsChanged) -> None:
    engine.brain.table.change_rewards(event)


def _settled(engine: Engine, event: e.Settled) -> None:
    if engine.world.stats[event.market].settled == 0:
        engine.settle_later(event)
    if engine.feeds.is_broken(event.market):  # no snapshot of it will come any more
        engine.feeds.over(event.market)
        engine.set_hold(event.market, "", h.BOOK_INVALID, on=False)


def _operations_up(engine: Engine, event: e.OperationsUp) -> None:
    engine.upkeep.up(engine, event)


def _operation_prepared(engine: Engine, event: e.OperationPrepared) -> None:
    engine.upkeep.prepared(engine, event)


def _operation_ended(engine: Engine, event: e.OperationEnded) -> None:
    engine.upkeep.ended(engine, event)


# --- people ---------------------------------------------------------------------------------------


def _halt(engine: Engine, event: e.Halt) -> None:
    engine.emit(c.SetLatch(reason="halt", text=f"{event.who}: {event.reason}"))
    engine.set_hold(EVERYWHERE, "", h.HALTED, on=True)
    engine.cancel_all("halt")
    engine.emit(c.Answer(command_id=event.command_id, ok=True, text="halted: everything is being cancelled"))


def _resume(engine: Engine, event: e.Resume) -> None:
    """A person takes responsibility: holds of people and breakers go, and the day's loss counts from here."""
    engine.set_hold(EVERYWHERE, "", h.HALTED, on=False)
    for market in range(len(engine.listings)):
        live.leave(engine.world, market, 0, 0)
        for why in (h.PAUSED, h.FLATTENING):
            engine.set_hold(market, "", why, on=False)
    engine.watch.rearm(engine)
    engine.emit(c.ClearLatch(who=event.who, reason=event.reason))
    engine.emit(c.Answer(command_id=event.command_id, ok=True, text="resumed"))


def _pause_market(engine: Engine, event: e.PauseMarket) -> None:
    if not _known(engine, event.command_id, event.market):
        return
    engine.set_hold(event.market, "", h.PAUSED, on=event.paused)
    if not event.paused:
        live.leave(engine.world, event.market, 0, 0)
        engine.set_hold(event.market, "", h.FLATTENING, on=False)
    done = "paused" if event.paused else "quoted again"
    text = f"{engine.listings[event.market].ticker} is {done}"
    engine.emit(c.Answer(command_id=event.command_id, ok=True, text=text))


def _flatten(engine: Engine, event: e.Flatten) -> None:
    if event.market != EVERYWHERE and not _known(engine, event.command_id, event.market):
        return
    if event.max_slippage_micros < 0:
        text = f"a slippage of {event.max_slippage_micros} micros is negative; give 0 or more"
        engine.emit(c.Answer(command_id=event.command_id, ok=False, text=text))
        return
    markets = range(len(engine.listings)) if event.market == EVERYWHERE else [event.market]
    for market in markets:
        live.leave(engine.world, market, 1, event.max_slippage_micros)
        engine.set_hold(market, "", h.FLATTENING, on=True)
    held = sum(engine.account.position(m).net_contracts != 0 for m in markets)
    text = f"selling what is held in {held} market{'' if held == 1 else 's'}; quoting stays off there"
    engine.emit(c.Answer(command_id=event.command_id, ok=True, text=text))


def _keep_pairs(engine: Engine, event: e.KeepPairs) -> None:
    if _known(engine, event.command_id, event.market):
        ok, text = engine.upkeep.keep(engine, event)
        engine.emit(c.Answer(command_id=event.command_id, ok=ok, text=text))


def _known(engine: Engine, command_id: str, market: int) -> bool:
    if 0 <= market < len(engine.listings):
        return True
    text = f"no market has the number {market}; `pr3dict status` lists them"
    engine.emit(c.Answer(command_id=command_id, ok=False, text=text))
    return False


# --- breakers -------------------------------------------------------------------------------------


def _tripped(engine: Engine, event: e.Tripped) -> None:
    if event.until_ns == 0 and latches(event.breaker):
        engine.emit(c.SetLatch(reason=event.breaker, text=event.text))
        if event.breaker != DAILY_LOSS:  # which the brain holds itself, and may re-arm at the day's start
            engine.set_hold(EVERYWHERE, "", h.HALTED, on=True)
        engine.cancel_all(event.breaker)
    engine.set_hold(event.market, "", h.BREAKER + event.breaker, on=True)
    engine.watch.say(engine, event.breaker, event.market, event.text)


def _released(engine: Engine, event: e.Released) -> None:
    engine.set_hold(event.market, "", h.BREAKER + event.breaker, on=False)
    engine.watch.over(engine, event.breaker, event.market)


Handler = Callable[["Engine", Any], None]

HANDLERS: dict[type, Handler] = {
    e.Started: _started,
    e.Listed: _listed,
    e.FeesChanged: _fees_changed,
    e.RewardsChanged: _rewards_changed,
    e.Stopping: _stopping,
    e.Latched: _latched,
    e.LogFailed: _log_failed,
    e.ClockJumped: _clock_jumped,
    e.FeedUp: _feed_up,
    e.FeedDown: _feed_down,
    e.FeedAlive: _feed_alive,
    e.BookInvalid: _book_invalid,
    e.BookRead: _book_read,
    e.QueueRead: _queue_read,
    e.VenueStatus: _venue_status,
    e.Settled: _settled,
    e.OperationsUp: _operations_up,
    e.OperationPrepared: _operation_prepared,
    e.OperationEnded: _operation_ended,
    e.Halt: _halt,
    e.Resume: _resume,
    e.PauseMarket: _pause_market,
    e.Flatten: _flatten,
    e.KeepPairs: _keep_pairs,
    e.Tripped: _tripped,
    e.Released: _released,
}
