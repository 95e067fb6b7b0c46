"""What a venue adapter does, without bytes: numbered streams, reconnects, requests and their answers.

A gap makes a book invalid until its next snapshot, silence breaks a connection, a new connection brings whole
books. Nothing is deduplicated here: repeated and contradicting evidence is the engine's to sort out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pr3dict.domain import commands as c
from pr3dict.domain import events as e
from pr3dict.kernels import dtypes as d
from simulation.flow import Row, row
from simulation.network import DEAD_AFTER_NS, RECONNECT_NS, Stream
from simulation.reads import Reads
from simulation.requests import Requests
from simulation.world import MS, SECOND

if TYPE_CHECKING:
    from simulation.simulator import Simulation

PING_NS = SECOND
RETRY_SNAPSHOT_NS = 2 * SECOND
SKEW_EVERY = 3  # pings between two measurements of the clock's skew
POLL_EVERY = 10  # and between two looks at what the venue's pages say
MOST_SIZE = 10**15  # micro-contracts: more is nonsense


class Session:
    """Both streams and the requests of one process; made anew for each process."""

    tells_sent = False  # whether the adapter itself says that an order left

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.world = sim.world
        self.market_stream = Stream(sim.world, "market", self._on_market)
        self.user_stream = Stream(sim.world, "user", self._on_user)
        self.requests = Requests(sim)
        self.reads = Reads(sim)
        self.is_up = False
        self.pings = 0
        self.cut_until_ns = 0
        self.muted: dict[int, int] = {}
        n = sim.options.markets
        self.sent_seq = [0] * n  # by the venue
        self.expected: list[int | None] = [None] * n  # by us; None: waits for a snapshot
        self.asked_ns = [0] * n
        self.early: list[list[tuple[int, list[Row]]]] = [[] for _ in range(n)]
        self.totals: list[tuple[dict[int, int], dict[int, int]]] = [({}, {}) for _ in range(n)]
        self.settled: dict[int, e.Settled] = {}
        self.shown: dict[tuple[int, int, int], int] = {}  # own size in the feed at (market, side, price)

    # --- connecting

    def start(self) -> None:
        """A new process connects."""
        self.is_up = False
        self.market_stream.reset()
        self.user_stream.reset()
        self.world.after(50 * MS, self._connect, self.sim.life)
        self.world.after(PING_NS, self._ping, self.sim.life)

    def _is_mine(self, life: int) -> bool:
        return life == self.sim.life and self.sim.process is not None

    def _reachable(self) -> bool:
        now = self.world.now_ns
        return now >= max(self.market_stream.cut_until_ns, self.user_stream.cut_until_ns, self.cut_until_ns)

    def _connect(self, life: int) -> None:
        if not self._is_mine(life) or self.is_up:
            return
        if not self._reachable():
            self.world.after(RECONNECT_NS, self._connect, life)
            return
        self.is_up = True
        self.market_stream.reset()
        self.user_stream.reset()
        self.to_process(e.FeedUp(venue=self.sim.options.venue))
        for market in range(self.sim.options.markets):
            self.expected[market] = None
            self._ask_snapshot(market)
        self.tell_state()

    def tell_state(self) -> None:
        """What an adapter reads from the venue's pages."""
        self.to_process(e.VenueStatus(venue=self.sim.options.venue, status=self.sim.venue_status))
        for settled in self.settled.values():
            self.to_process(settled)

    def _ping(self, life: int) -> None:
        """Once a second: is the venue there, and what does its clock say?"""
        if not self._is_mine(life):
            return
        self.world.after(PING_NS, self._ping, life)
        self.pings += 1
        if not self.is_up:
            return
        if not self._reachable():
            cut = max(self.market_stream.cut_until_ns, self.user_stream.cut_until_ns, self.cut_until_ns)
            if cut - self.world.now_ns > DEAD_AFTER_NS or self.world.stream("network/ping").random() < 0.3:
                self._break("connection lost")
            return
        rtt = self.world.stream("network/ping").randint(4 * MS, 40 * MS)
        self.world.after(rtt, self._pong, life, self.world.now_ns + rtt // 2)

    def _pong(self, life: int, venue_ns: int) -> None:
        process = self.sim.process
        if not self._is_mine(life) or process is None or not self.is_up:
            return
        venue = self.sim.options.venue
        skew = process.time_now() - venue_ns
        self.to_process(e.FeedAlive(venue=venue, venue_ns=venue_ns))
        if self.pings % POLL_EVERY == 0:  # notices may have been lost
            self.tell_state()
        if self.pings % SKEW_EVERY == 0:
            self.to_process(e.ClockSkewed(venue=venue, skew_ns=skew))

    def _break(self, why: str) -> None:
        """The streams are gone: what was on its way is lost."""
        if not self.is_up:
            return
        self.is_up = False
        self.market_stream.reset()
        self.user_stream.reset()
        self.to_process(e.FeedDown(venue=self.sim.options.venue, why=why))
        self.world.after(RECONNECT_NS, self._connect, self.sim.life)

    def deliver(self, command: e.Resume | e.Flatten) -> None:
        """A person's command that lifts a halt."""
        self.to_process(command)

    def ended(self) -> None:
        """The process is dead."""

    def cut_all(self, for_ns: int) -> None:
        """The venue cannot be reached at all."""
        self.cut_until_ns = self.world.now_ns + for_ns
        self.market_stream.cut(for_ns)
        self.user_stream.cut(for_ns)

    def heal(self) -> None:
        """All faults of the network end."""
        self.cut_until_ns = 0
        self.muted.clear()
        self.market_stream.heal()
        self.user_stream.heal()
        if self.market_stream.is_behind:
            self._break("too far behind")

    def to_process(self, event: e.Control) -> None:
        """Hand an event to the process that lives now."""
        if self.sim.process is not None:
            self.sim.process.put(event)

    # --- the venue sends

    def publish(self, market: int, rows: list[Row]) -> None:
        """Rows of one market go out as one numbered message."""
        if not rows:
            return
        rows = self._with_own(market, rows)
        self.sent_seq[market] += 1
        if self.world.now_ns < self.muted.get(market, 0):
            return
        if self.world.fires("trade_noise"):
            rows = self._noisy(rows)
        seq = self.sent_seq[market]
        if self.world.fires("book_nonsense"):
            rows = [*rows, self._nonsense(market)]
        if self.world.fires("sequence"):
            what = self.world.amount("sequence", 0, 2)
            self.world.effect(38)
            if what == 0:
                return  # lost
            if what == 1:
                self.market_stream.send(("rows", market, seq, rows))
            else:
                seq = max(seq - 3, 1)  # a jump back
        self.market_stream.send(("rows", market, seq, rows))

    def _noisy(self, rows: list[Row]) -> list[Row]:
        what = self.world.amount("trade_noise", 0, 2)
        noisy: list[Row] = []
        for entry in rows:
            if entry[6] == d.TRADE:
                self.world.effect(50)
                if what == 0:
                    continue
                if what == 1:
                    noisy.append(entry)
                else:
                    entry = (*entry[:7], 1 - entry[7], entry[8])
            noisy.append(entry)
        return noisy

    def _nonsense(self, market: int) -> Row:
        now = self.world.now_ns
        what = self.world.amount("book_nonsense", 0, 2)
        if what == 0:
            return row(now, market, d.LEVEL, d.BID, 5_000, -5)
        if what == 1:
            return row(now, market, d.LEVEL, d.BID, 5_000, 10**18)
        return row(now, market, d.LEVEL, d.BID, 9_800, 1_000_000)

    def publish_own(self) -> None:
        """Where the feed shows our own orders: their sizes changed."""
        if not self.sim.own_in_feed:
            return
        sizes: dict[tuple[int, int, int], int] = {}
        for order in self.sim.venue.open_orders():
            key = (order.market, order.side, order.price)
            sizes[key] = sizes.get(key, 0) + order.remaining
        changed = [key for key in {**self.shown, **sizes} if self.shown.get(key, 0) != sizes.get(key, 0)]
        self.shown = sizes
        now = self.world.now_ns
        for market, side, price in changed:
            self.world.effect(47)
            others = self.sim.flows[market].book[side].get(price, 0)
            self.publish(market, [row(now, market, d.LEVEL, side, price, others)])

    def _with_own(self, market: int, rows: list[Row]) -> list[Row]:
        if not self.shown:
            return rows
        return [
            (r[0], r[1], r[2] + self.shown.get((market, r[7], r[4]), 0), *r[3:]) if r[6] == d.LEVEL else r
            for r in rows
        ]

    def snapshot_rows(self, market: int) -> list[Row]:
        """Status, grid and whole book of a market as the venue has them now."""
        now = self.world.now_ns
        flow = self.sim.flows[market]
        sides = [dict(levels) for levels in flow.book]
        for (m, side, price), size in self.shown.items():
            if m == market:
                sides[side][price] = sides[side].get(price, 0) + size
        levels = [(s, p, q) for s in (d.BID, d.ASK) for p, q in sorted(sides[s].items())]
        head = [
            row(now, market, d.STATUS, aux=self.sim.status_of(market)),
            row(now, market, d.TICK, aux=self.sim.grid_of(market)),
        ]
        if not levels:
            return [*head, row(now, market, d.SNAPSHOT, d.BID, 0, 0, bits=d.SNAP_FIRST | d.SNAP_LAST)]
        rows = [row(now, market, d.SNAPSHOT, s, p, q) for s, p, q in levels]
        rows[0] = (*rows[0][:8], d.SNAP_FIRST)
        rows[-1] = (*rows[-1][:8], rows[-1][8] | d.SNAP_LAST)
        return [*head, *rows]

    def publish_settlement(self, event: e.Settled) -> None:
        """A market has paid; told again at every new connection."""
        self.settled[event.market] = event
        self.market_stream.send(("event", event))

    def publish_event(self, event: e.Control) -> None:
        """A notice of the venue on the market stream."""
        self.market_stream.send(("event", event))

    def publish_user(self, event: e.Control) -> None:
        """Evidence about our account."""
        world = self.world
        if isinstance(event, e.Filled):
            if event.trade_id in self.sim.venue.faults.to_void and world.fires("void_alone"):
                world.effect(28)
                return
            if event.final is False and world.fires("final_conflict"):
                self._contradict(event)
            if world.fires("fill_both_routes"):
                world.effect(21)
                self.user_stream.send(event, late_ns=world.amount("fill_both_routes", 500, 5_000) * MS)
                self.reads.soon()
                return
            if world.fires("fill_shuffled"):
                world.effect(23)
                self.user_stream.send(event, late_ns=world.amount("fill_shuffled", 50, 900) * MS)
                return
        self.user_stream.send(event, overtakes=world.fires("fill_shuffled"))

    def _contradict(self, fill: e.Filled) -> None:
        self.world.effect(30)
        final = e.FillFinal(market=fill.market, trade_id=fill.trade_id)
        void = e.FillVoided(market=fill.market, trade_id=fill.trade_id, why="conflicting")
        if fill.trade_id in self.sim.venue.faults.to_void:
            return  # it will truly fail: nothing to contradict
        self.user_stream.send(final, late_ns=5 * SECOND)
        self.user_stream.send(void, late_ns=6 * SECOND)

    # --- we receive

    def _on_user(self, event: e.Control) -> None:
        if self.is_up:
            self.to_process(event)

    def _on_market(self, message: Any) -> None:
        process = self.sim.process
        if process is None or not self.is_up:
            return
        if message[0] == "event":
            self.to_process(message[1])
            return
        kind, market, seq, rows = message
        if kind == "snapshot":
            self._on_snapshot(market, seq, rows)
            return
        expected = self.expected[market]
        if expected is None:
            self.early[market] = [*self.early[market][-20:], (seq, rows)]
            return
        if seq != expected:
            self._invalid(market, "gap")
            return
        if any(r[2] < 0 or r[2] > MOST_SIZE for r in rows if r[6] == d.LEVEL):
            self.world.effect(43)
            self._invalid(market, "negative_size")
            return
        if self._crosses(market, rows):
            self.world.effect(43)
            self._invalid(market, "crossed")
            return
        self.expected[market] = seq + 1
        process.put_rows(rows)

    def _crosses(self, market: int, rows: list[Row]) -> bool:
        """Keep the running totals that an adapter keeps; whether they cross after this message."""
        sides = self.totals[market]
        for r in rows:
            if r[6] == d.SNAPSHOT and r[8] & d.SNAP_FIRST:
                sides[0].clear()
                sides[1].clear()
            if r[6] in (d.LEVEL, d.SNAPSHOT):
                if r[2] > 0:
                    sides[r[7]][r[4]] = r[2]
                else:
                    sides[r[7]].pop(r[4], None)
            elif r[6] == d.TICK:
                step = self.sim.ticks[r[3]]
                for levels in sides:
                    for price in [p for p in levels if p % step]:
                        del levels[price]
        bids, asks = sides
        return bool(bids and asks) and max(bids) >= min(asks)

    def _invalid(self, market: int, why: str) -> None:
        self.expected[market] = None
        self.early[market] = []
        self.to_process(e.BookInvalid(market=market, why=why))

    def _on_snapshot(self, market: int, seq: int, rows: list[Row]) -> None:
        process = self.sim.process
        if process is None or self.expected[market] is not None:
            return
        process.put_rows(rows)
        self._crosses(market, rows)
        self.expected[market] = seq + 1
        early, self.early[market] = self.early[market], []
        for number, later in early:
            if number > seq and self.expected[market] is not None:
                if number <= seq + 1:
                    self.world.effect(39)
                self._on_market(("rows", market, number, later))

    def resubscribe(self, market: int) -> None:
        """The engine wants a whole book."""
        self.expected[market] = None
        self._ask_snapshot(market)

    def _ask_snapshot(self, market: int) -> None:
        now = self.world.now_ns
        self.asked_ns[market] = now
        self.world.after(20 * MS, self._send_snapshot, self.sim.life, market)
        self.world.after(RETRY_SNAPSHOT_NS, self._retry_snapshot, self.sim.life, market, now)

    def _send_snapshot(self, life: int, market: int) -> None:
        if not self._is_mine(life):
            return
        message = ("snapshot", market, self.sent_seq[market], self.snapshot_rows(market))
        late = 0
        if self.world.fires("snapshot_old"):  # changes that come after it arrive before it
            late = self.world.amount("snapshot_old", 50, 1_500) * MS
        if self.world.now_ns >= self.muted.get(market, 0):
            self.market_stream.send(message, late_ns=late)

    def _retry_snapshot(self, life: int, market: int, asked_ns: int) -> None:
        waits = self.expected[market] is None and self.asked_ns[market] == asked_ns
        if self._is_mine(life) and self.is_up and waits:
            self._ask_snapshot(market)

    # --- the engine sends

    def send(self, actions: list[c.Action]) -> None:
        """Commands leave the process."""
        if any(isinstance(action, c.Place) for action in actions):
            self.requests.new_batch([a for a in actions if isinstance(a, c.Place)])
        for action in actions:
            if isinstance(action, c.Resubscribe):
                if self.is_up:
                    self.resubscribe(action.market)
            elif isinstance(action, c.Place):
                self.requests.place(action)
            elif isinstance(action, c.Cancel | c.Reduce | c.Renew):
                self.requests.change(action)
            elif isinstance(action, c.CancelAll):
                self.requests.cancel_all(action)
            else:
                self.reads.ask(action)
