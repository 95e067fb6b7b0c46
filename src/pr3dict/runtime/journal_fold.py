"""One pass over a journal for reports: how each market stood, our resting orders, fills and counts.

Orders are folded by the engine's own account. What nobody saw is noted where it happened: from the last
step of one process to the start of the next, over a sleep, and from the last proof of life of a feed that
then went down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pr3dict.analytics.incentives import Own, OwnTurn
from pr3dict.analytics.programme import Trade
from pr3dict.analytics.rewards import TermsTurn
from pr3dict.analytics.uptime import Timeline, Unseen
from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.domain.errors import DataError
from pr3dict.domain.order import OrderState
from pr3dict.domain.steps import Step
from pr3dict.domain.units import notional_floor
from pr3dict.engine import holds as h
from pr3dict.engine.account import Account, OrderTerms
from pr3dict.engine.duty import touched_markets
from pr3dict.engine.holds import Holds
from pr3dict.engine.settings import order_terms
from pr3dict.engine.standing import (
    CLOSED,
    NO_ORDERS,
    NOT_RUNNING,
    ONE_SIDED,
    TOO_SMALL,
    TOO_WIDE,
    Standing,
    market_standing,
)
from pr3dict.engine.tracked import NEVER_NS
from pr3dict.kernels import dtypes as d
from pr3dict.risk.limits import RiskConfig
from pr3dict.risk.programme import ProgrammeConfig, series_of
from pr3dict.runtime.settings import read_settings
from pr3dict.store.journal import Journal
from pr3dict.store.journal_verify import fold
from pr3dict.strategies.decision import reason_names

# Reasons of a quote that keep a side away, the weightiest first; others only move or cut it.
PULLS: Final = (
    "daily_loss_limit", "flattening", "market_not_active", "news_pause", "volume_pause", "forced_exit",
    "forced_exit_near_resolution", "rebalancing", "no_book", "one_sided_book", "crossed_book",
    "portfolio_heat", "not_selected", "too_close_to_resolution", "too_far_from_resolution",
    "unknown_resolution_time", "low_liquidity", "narrow_spread", "bid_size_cut_inventory",
    "ask_size_cut_inventory", "bid_size_cut_gross", "ask_size_cut_gross", "size_cut_heat", "size_cut_cash",
    "bid_size_below_min", "ask_size_below_min", "bid_off_grid", "ask_off_grid", "order_rate_limited",
    "outside_price_band",
)  # fmt: skip
_OURS: Final = (NO_ORDERS, ONE_SIDED, TOO_SMALL, TOO_WIDE)


@dataclass(frozen=True, slots=True)
class Session:
    """One process: when it started, which version, on which account; `last_ns`: its last journaled step."""

    started_ns: int
    last_ns: int
    version: str
    account: str
    settings: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Orders of one market: placed, accepted, refused (or never sent), and cancels that left."""

    placed: int = 0
    accepted: int = 0
    refused: int = 0
    cancels: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """What a journal holds up to `last_ns`. Money in micros, sizes in micro-contracts, times in ns UTC."""

    sessions: tuple[Session, ...]
    listings: tuple[e.Listed, ...]
    timelines: dict[int, Timeline]  # by market, none without a programme
    own: dict[int, list[OwnTurn]]  # our resting orders by market, as far as they are proven
    trades: tuple[Trade, ...]  # in order of the venue's time
    counts: dict[int, Counts]
    account: Account
    first_ns: int
    last_ns: int
    rewards: dict[int, list[TermsTurn]]  # reward terms by market, from when they were told


def fold_journal(
    journal: Journal, config: ProgrammeConfig | None, until_ns: int = NEVER_NS, *, from_ns: int = 0
) -> Folded:
    """Fold the steps up to and with `until_ns`; without `config` nothing is said about standings.

    What is counted is counted from `from_ns` on.

    Raises:
        LogError: a step can't be read.
        DataError: no process has started by then.
    """
    run = _Run(config, from_ns)
    for step in journal.steps():
        if step.now_ns > until_ns:
            break
        run.take(step)
    if run.account is None:
        raise DataError("no process had started by then", file=journal.path)
    return run.result()


def terms_of(started: e.Started) -> OrderTerms:
    """The order terms of a process; those of the defaults where its settings are another version's."""
    try:
        return order_terms(read_settings(started.settings).risk)
    except DataError:
        return order_terms(RiskConfig())


class _Tally:
    """Counts of one market while they grow."""

    def __init__(self) -> None:
        self.placed = self.cancels = 0
        self.accepted: set[int] = set()  # orders: an answer and a notice may say the same
        self.refused: set[int] = set()
        self.turns: list[OwnTurn] = []


class _Run:
    """One pass; mutable."""

    def __init__(self, config: ProgrammeConfig | None, from_ns: int) -> None:
        self.config = config
        self.from_ns = from_ns
        self.account: Account | None = None
        self.holds = Holds()
        self.listings: list[e.Listed] = []
        self.sessions: list[Session] = []
        self.timelines: dict[int, Timeline] = {}
        self.standings: dict[int, Standing] = {}
        self.tallies: dict[int, _Tally] = {}
        self.trades: dict[tuple[int, str], Trade] = {}
        self.voided: set[tuple[int, str]] = set()
        self.settled: set[int] = set()
        self.quotes: dict[int, bytes] = {}
        self.rewards: dict[int, list[TermsTurn]] = {}
        self.alive_ns: dict[str, int] = {}
        self.first_ns = self.last_ns = 0
        self.starts = False  # the step is the first of a process

    # --- a step -------------------------------------------------------------------------------------

    def take(self, step: Step) -> None:
        """One step of the journal."""
        now_ns = step.now_ns
        for event in step.inputs:
            if isinstance(event, e.Started):
                self._start(event, now_ns)
            elif isinstance(event, e.ClockJumped):
                self._unseen(event.awake_ns or self.last_ns)
        if self.account is None:
            return
        self._catch_up(now_ns)
        fold(self.account, step)
        for one in (*step.inputs, *step.derived):
            self._event(one, now_ns)
        self.starts = False
        for command in step.commands if now_ns >= self.from_ns else ():
            self._command(command)
        for quoted in step.quotes:
            self.quotes[quoted.market] = quoted.row
        self.last_ns = now_ns
        touched = touched_markets(step, self.account.market_of)
        known = range(len(self.listings))
        for m in known if touched is None else touched | {quoted.market for quoted in step.quotes}:
            if 0 <= m < len(self.listings):
                self._look(m, now_ns)

    def _start(self, event: e.Started, now_ns: int) -> None:
        terms = terms_of(event)
        if self.account is None:
            self.account = Account(terms)
            self.first_ns = self.last_ns = now_ns
        else:
            self._unseen(self.last_ns)
            if terms != self.account.terms:
                self.account = Account.decode(self.account.encode(), terms)
            self._end_session()
        self.alive_ns.clear()
        self.starts = True  # its holds are no news of the feed, and stand after its inputs in the journal
        self.sessions.append(Session(now_ns, now_ns, event.version, event.account, event.settings))

    def _end_session(self) -> None:
        last = self.sessions[-1]
        self.sessions[-1] = Session(last.started_ns, self.last_ns, last.version, last.account, last.settings)

    def _unseen(self, from_ns: int) -> None:
        """Nobody looked: what stood before proves nothing."""
        self._catch_up(from_ns)
        for m, timeline in self.timelines.items():
            if timeline.why != CLOSED:
                timeline.note(from_ns, NOT_RUNNING)
                self._turn(m, from_ns, ())
            self.standings[m] = Standing(timeline.why, NEVER_NS)

    def _catch_up(self, now_ns: int) -> None:
        """What time alone changed: orders that expired, markets that closed."""
        for m in self.standings:
            while self.standings[m].until_ns < now_ns:
                self._look(m, self.standings[m].until_ns)

    def _event(self, event: e.Control, now_ns: int) -> None:
        match event:
            case e.Listed():
                self._list(event, now_ns)
            case e.RewardsChanged():
                self.rewards.setdefault(event.market, []).append(TermsTurn(now_ns, event.rewards))
            case e.Held():
                self._hold(event, now_ns)
            case e.FeedAlive():
                known = self.alive_ns.get(event.venue, 0)
                self.alive_ns[event.venue] = max(known, min(now_ns, event.venue_ns))
            case e.Settled():
                self.settled.add(event.market)
            case e.Filled():
                self._fill(event)
            case e.FillsRead():
                for fill in event.fills:
                    self._fill(fill)
            case e.FillVoided():
                self.voided.add((event.market, event.trade_id))
            case e.Accepted() | e.Refused() | e.NotSent() if now_ns >= self.from_ns:
                assert self.account is not None
                tally = self.tallies.get(self.account.market_of(event.order_id))
                if tally is not None and isinstance(event, e.Accepted):
                    tally.accepted.add(event.order_id)
                elif tally is not None:
                    tally.refused.add(event.order_id)
            case _:
                pass

    def _list(self, event: e.Listed, now_ns: int) -> None:
        if event.market == len(self.listings):
            if event.rewards is not None:
                self.rewards[event.market] = [TermsTurn(now_ns, event.rewards)]
            self.listings.append(event)
            self.tallies[event.market] = _Tally()
            if self.config is not None:
                self.timelines[event.market] = Timeline()

    def _hold(self, event: e.Held, now_ns: int) -> None:
        self.holds.set(event.market, event.venue, event.why, on=event.on)
        if event.on and event.why in (h.FEED_DOWN, h.FEED_STALE) and not self.starts:
            alive_ns = self.alive_ns.pop(event.venue, now_ns)
            for listing in self.listings:
                timeline = self.timelines.get(listing.market)
                if listing.venue == event.venue and timeline and timeline.turns and alive_ns < now_ns:
                    timeline.unseen.append(Unseen(alive_ns, now_ns, event.why))

    def _fill(self, fill: e.Filled) -> None:
        if not 0 <= fill.market < len(self.listings):
            return
        ticker = self.listings[fill.market].ticker
        product = self.config.product_of(ticker) if self.config is not None else series_of(ticker)
        self.trades.setdefault(
            (fill.market, fill.trade_id),
            Trade(
                at_ns=fill.exch_ns,
                product=product,
                market=fill.market,
                size=fill.size,
                cash_micros=notional_floor(fill.price, fill.size),
                fee_micros=fill.fee_micros - fill.rebate_micros,
                maker=fill.maker,
            ),
        )

    def _command(self, command: c.Action) -> None:
        if isinstance(command, c.Place | c.Cancel) and command.market in self.tallies:
            tally = self.tallies[command.market]
            if isinstance(command, c.Place):
                tally.placed += 1
            else:
                tally.cancels += 1

    # --- standings ----------------------------------------------------------------------------------

    def _look(self, m: int, now_ns: int) -> None:
        """How a market stands now, with the reason that a person would name."""
        assert self.account is not None
        if self.config is None:
            return
        orders = self.account.open_orders(m)
        listing = self.listings[m]
        terms = self.config.terms_of(self.config.product_of(listing.ticker))
        found = market_standing(listing, self.holds, orders, terms, now_ns, settled=m in self.settled)
        self.standings[m] = found
        self.timelines[m].note(now_ns, self._reason(m, found.why))
        resting = tuple(
            Own(order.side, order.price, order.remaining)
            for order in orders
            if order.state is OrderState.LIVE and (order.expiry_ns == 0 or order.expiry_ns > now_ns)
        )
        self._turn(m, now_ns, resting)

    def _turn(self, m: int, now_ns: int, orders: tuple[Own, ...]) -> None:
        turns = self.tallies[m].turns
        if turns and turns[-1].at_ns == now_ns:
            turns.pop()
        if (turns[-1].orders if turns else ()) != orders:
            turns.append(OwnTurn(now_ns, orders))

    def _reason(self, m: int, why: str) -> str:
        """What keeps quotes away where orders are missing: a hold, or what the standing quote says."""
        if why not in _OURS:
            return why
        words = self.holds.words(m, self.listings[m].venue)
        if words:
            return words[0]
        row = self.quotes.get(m)
        if row is None or len(row) != d.QUOTE.itemsize:
            return why
        quote = np.frombuffer(row, d.QUOTE)[0]
        if quote["bid_size"][0] > 0 and quote["ask_size"][0] > 0:
            return why
        names = reason_names(int(quote["reasons"]))
        return next((name for name in PULLS if name in names), why)

    # --- the end ------------------------------------------------------------------------------------

    def result(self) -> Folded:
        """Everything that was found."""
        assert self.account is not None
        self._end_session()
        stand = [trade for key, trade in self.trades.items() if key not in self.voided]
        return Folded(
            sessions=tuple(self.sessions),
            listings=tuple(self.listings),
            timelines=self.timelines,
            own={m: tally.turns for m, tally in self.tallies.items()},
            trades=tuple(sorted(stand, key=lambda trade: (trade.at_ns, trade.market))),
            counts=dict(self._counts()),
            account=self.account,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            rewards=self.rewards,
        )

    def _counts(self) -> Iterator[tuple[int, Counts]]:
        for m, tally in self.tallies.items():
            yield m, Counts(tally.placed, len(tally.accepted), len(tally.refused), tally.cancels)


def rows_of(parts: Iterable[d.Array], market: int) -> d.Array:
    """The rows of one market from the segments of a recording, in order."""
    found = [part[part["market"] == market] for part in parts]
    return np.concatenate(found) if found else np.zeros(0, d.EVENT)
