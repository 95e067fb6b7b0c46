"""Damaged frames through the streams: what entered is what the frame says, and a lost one costs its book."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fuzz import honest
from fuzz.damage import Sample, damage
from fuzz.honest import Lie
from fuzz.kalshi.world import CHANNELS, SIDS, TICKERS, World
from fuzz.rig import idle, touch_of
from pr3dict.domain import events as e
from pr3dict.domain.market import PriceGrid
from pr3dict.kernels import dtypes as d
from pr3dict.venues.kalshi.streams import StreamLost
from venues.kalshi import bodies

KINDS: Final = {
    "orderbook_delta": 36, "orderbook_snapshot": 9, "trade": 8, "ticker": 3, "fill": 11, "user_order": 13,
    "market_position": 2, "order_group_updates": 3, "market_lifecycle_v2": 8, "event_fee_update": 2,
    "subscribed": 1, "ok": 3, "error": 1,
}  # fmt: skip
CHANNEL_OF: Final = {
    "orderbook_delta": "orderbook_delta", "orderbook_snapshot": "orderbook_delta", "trade": "trade",
    "ticker": "ticker", "fill": "fill", "user_order": "user_orders", "market_position": "market_positions",
    "order_group_updates": "order_group_updates", "market_lifecycle_v2": "market_lifecycle_v2",
    "event_fee_update": "market_lifecycle_v2",
}  # fmt: skip
BOOK_TYPES: Final = ("orderbook_delta", "orderbook_snapshot")
LIFE: Final = (
    {"event_type": "determined", "result": "yes", "settlement_value": "1.0000",
     "determination_ts": 1795355999},
    {"event_type": "settled", "settlement_value": "0.3700", "settled_ts": 1795355999},
    {"event_type": "close_date_updated", "close_ts": 1795455184},
    {"event_type": "activated"}, {"event_type": "deactivated"},
    {"event_type": "created", "open_ts": 1795455184},
    {"event_type": "price_level_structure_updated",
     "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0010"}]},
    {"event_type": "price_level_structure_updated", "price_ranges": bodies.RANGES},
    {"event_type": "metadata_updated", "additional_metadata": {"settlement_floor_dollars": "0.0100"}},
)  # fmt: skip
SAMPLES: Final = [
    Sample(kind, {"type": kind, "id": 3, "sid": 4, "seq": 9, "sending_ts_ms": 1795355184001, "msg": msg})
    for kind, msg in {**bodies.FRAMES, **bodies.MARKET_FRAMES}.items()
] + [
    Sample(life, {"type": life, "sid": 1, "seq": 1, "msg": {"market_ticker": "KXA-1", **news}})
    for life in ("market_lifecycle_v2",)
    for news in LIFE
]  # fmt: skip
BY_KIND: Final = {sample.name: sample for sample in SAMPLES}
_NAMES, _WEIGHTS = list(KINDS), list(KINDS.values())


class Feed:
    """A connection, the books as its frames honestly tell them, and what was lost."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.true: dict[str, tuple[dict[int, int], dict[int, int]]] = {t: ({}, {}) for t in TICKERS}
        self.books: dict[str, tuple[dict[int, int], dict[int, int]]] = {t: ({}, {}) for t in TICKERS}
        self.settled: set[int] = set()
        self.case: dict[str, Any] = {}
        self.begin()

    def begin(self) -> None:
        """A connection with whole books."""
        self.world.connect()
        for ticker in TICKERS:
            self.world.sink.clear()
            self.world.hear(self._snapshot(ticker))
            self._take_rows(msgspec.json.encode({"type": "", "msg": {}}), trusted=ticker)

    # --- frames as the venue means them ------------------------------------------------------------

    def _framed(self, kind: str, msg: dict[str, Any]) -> dict[str, Any]:
        sid, seq = self.world.number(CHANNEL_OF[kind])
        return {"type": kind, "sid": sid, "seq": seq, "msg": msg}

    def _now_ms(self) -> int:
        return self.world.pace.now_ns() // 10**6

    def _snapshot(self, ticker: str) -> dict[str, Any]:
        rng = self.rng
        bids = {
            100 * rng.randrange(30, 46): 10**4 * rng.randrange(1, 10**5) for _ in range(rng.randrange(1, 4))
        }
        asks = {
            100 * rng.randrange(47, 60): 10**4 * rng.randrange(1, 10**5) for _ in range(rng.randrange(1, 4))
        }
        self.true[ticker] = (bids, asks)
        sides = [[[_dollars(p), _contracts(q)] for p, q in sorted(side.items())] for side in (bids, asks)]
        msg = {"market_ticker": ticker, "yes_dollars_fp": sides[0], "no_dollars_fp": sides[1]}
        return self._framed("orderbook_snapshot", msg)

    def _delta(self, ticker: str) -> dict[str, Any]:
        rng = self.rng
        side = rng.randrange(2)
        levels = self.true[ticker][side]
        prices = (30, 46) if side == 0 else (47, 60)
        price = rng.choice(list(levels)) if levels and rng.random() < 0.6 else 100 * rng.randrange(*prices)
        has = levels.get(price, 0)
        change = (
            rng.choice((-has, -(has // 2 // 10**4 * 10**4), 5_000_000))
            if has
            else 10**4 * rng.randrange(1, 10**5)
        )
        levels[price] = has + change
        if not levels[price]:
            del levels[price]
        msg = {
            "market_ticker": ticker, "price_dollars": _dollars(price), "delta_fp": _contracts(change),
            "side": ("yes", "no")[side], "ts_ms": self._now_ms(),
        }  # fmt: skip
        return self._framed("orderbook_delta", msg)

    def _frame(self, kind: str, ticker: str) -> dict[str, Any]:
        if kind == "orderbook_delta":
            return self._delta(ticker)
        if kind == "orderbook_snapshot":
            return self._snapshot(ticker)
        if kind == "market_lifecycle_v2":
            return self._framed(kind, {"market_ticker": ticker, **self.rng.choice(LIFE)})
        if kind == "ok":
            number = 10**6 + self.rng.randrange(9)
            self.world.streams._pings[number] = self.world.pace.now_ns()
            listed = [{"channel": channel, "sid": sid} for channel, sid in SIDS.items()]
            return {"type": "ok", "id": number, "sending_ts_ms": self._now_ms(), "msg": listed}
        msg = {**BY_KIND[kind].value()["msg"]}
        if kind == "subscribed":
            channel = self.rng.choice(CHANNELS)
            return {"type": kind, "id": 3, "msg": {"channel": channel, "sid": SIDS[channel]}}
        if kind == "error":
            return {"type": kind, "id": 3, "msg": msg}
        for name in ("market_ticker", "ticker"):
            if name in msg:
                msg[name] = ticker
        if "ts_ms" in msg:
            msg["ts_ms"] = self._now_ms()
        if kind == "fill":
            msg["trade_id"] = f"t-{self.rng.randrange(10**9)}"
        return self._framed(kind, msg)

    # --- one input ----------------------------------------------------------------------------------

    async def step(self) -> tuple[str, str]:
        """(damage, what became of the input); raises `Lie`, and then `case` is the input."""
        kind, ticker = self.rng.choices(_NAMES, _WEIGHTS)[0], self.rng.choice(TICKERS)
        value = self._frame(kind, ticker)
        hurt, raw = damage(self.rng, BY_KIND[kind], SAMPLES, value)
        self.case = {"kind": kind, "ticker": ticker, "raw": raw.decode("latin-1")}
        return hurt, await self.take(raw, kind, ticker)

    async def replay(self, case: Mapping[str, Any]) -> None:
        """One input that was kept."""
        self.world.number(CHANNEL_OF.get(case["kind"], "trade"))
        await self.take(case["raw"].encode("latin-1"), case["kind"], case["ticker"])

    async def take(self, raw: bytes, kind: str, ticker: str) -> str:
        """One input, where a frame of `kind` about `ticker` was meant; what became of it."""
        world, streams = self.world, self.world.streams
        world.sink.clear()
        before = {t: streams._decoder.is_synced(t) for t in TICKERS}
        known = dict(world.wire.orders._by_venue) if len(world.wire.orders._by_venue) < 64 else None
        refused, tasks = streams.malformed, len(world.wire._tasks)
        try:
            streams.hear(raw)
        except StreamLost:
            self._check(raw, known)
            self.begin()
            return "lost"
        if streams.malformed > refused and streams._unsaid == 0:
            raise Lie("a message was refused and will never be reported")
        self._check(raw, known)
        became = "accepted" if world.sink.rows or world.sink.events else "ignored"
        became = "refused" if streams.malformed > refused else became
        if kind in BOOK_TYPES and before[ticker] and not world.sink.rows and _is_unreadable(raw, ticker):
            self._lost_one(ticker)
        elif became == "refused" or kind in BOOK_TYPES:
            self._compare()
        for t in TICKERS:
            told = any(
                isinstance(x, e.BookInvalid) and x.market == world.wire.lives.rows[t]
                for x in world.sink.events
            )
            if before[t] and not streams._decoder.is_synced(t) and not told:
                raise Lie(f"the book of {t} was dropped without a word")
        if len(world.wire._tasks) != tasks:
            world.sink.clear()
            await idle()
        return became

    def _lost_one(self, ticker: str) -> None:
        """A book's frame could not be read: after the next good one nobody may believe that book."""
        other = TICKERS[1 - TICKERS.index(ticker)]
        good = msgspec.json.encode(self._delta(other))
        events, rows = list(self.world.sink.events), list(self.world.sink.rows)
        self.world.sink.clear()
        try:
            self.world.streams.hear(good)
        except StreamLost:
            self.begin()
            return
        self._check(good, None)
        if self.world.streams._decoder.is_synced(ticker):
            raise Lie(f"a frame of {ticker} was lost, and its book still counts as whole")
        self.world.sink.events[:0], self.world.sink.rows[:0] = events, rows
        self._compare()

    def _compare(self) -> None:
        decoder = self.world.streams._decoder
        for ticker in TICKERS:
            if decoder.is_synced(ticker) and decoder._books[ticker].sides != self.books[ticker]:
                raise Lie(
                    f"the book of {ticker} is {decoder._books[ticker].sides}, told was {self.books[ticker]}"
                )

    # --- what entered --------------------------------------------------------------------------------

    def _check(self, raw: bytes, known: dict[str, int] | None) -> None:
        for event in self.world.sink.events:
            if isinstance(event, e.Malformed | e.FeedUp | e.FeedDown):
                continue
            if isinstance(event, e.BookInvalid):
                if event.market not in range(len(TICKERS)):
                    raise Lie(f"no market has the row {event.market}")
                continue
            honest.any_reading(raw, lambda value, event=event: self._explain(event, value, known))
        self._take_rows(raw)

    def _take_rows(self, raw: bytes, trusted: str = "") -> None:
        for rows in self.world.sink.rows:
            if trusted:
                self.books[trusted] = (dict(self.true[trusted][0]), dict(self.true[trusted][1]))
            elif rows["kind"][0] in (d.LEVEL, d.SNAPSHOT, d.TRADE):
                honest.any_reading(raw, lambda value, rows=rows: self._explain_rows(rows, value))
            else:
                honest.any_reading(raw, lambda value, rows=rows: self._explain_life(rows, value))

    def _explain_rows(self, rows: d.Array, value: Any) -> None:
        said = book_frame(value)
        got = [(int(r["kind"]), int(r["side"]), int(r["price"]), int(r["qty"])) for r in rows]
        if said is None or {int(r["market"]) for r in rows} != {TICKERS.index(said[1])}:
            raise Lie(f"rows {got} of a frame that tells none")
        kind, ticker, stamp_ms, *what = said
        if stamp_ms is not None and int(rows["exch_ns"].max()) < honest.milliseconds(stamp_ms):
            raise Lie("an exchange time below what the frame says")
        if kind == "trade":
            if got != [(d.TRADE, *what)]:
                raise Lie(f"{got} is not the trade {what}")
            return
        book = self.books[ticker]
        if kind == "delta":
            side, price, change = what
            left = book[side].get(price, 0) + change
            if got != [(d.LEVEL, side, price, left)]:
                raise Lie(f"{got} is not {left} at {price}")
            book[side].pop(price, None)
            if left:
                book[side][price] = left
            return
        sides = tuple({price: size for price, size in side if size} for side in what)
        levels = [(d.SNAPSHOT, side, p, q) for side in (0, 1) for p, q in sorted(sides[side].items())]
        if got != (levels or [(d.SNAPSHOT, 0, 0, 0)]) or any(len(dict(s)) != len(s) for s in what):
            raise Lie(f"{got} is not the book {what}")
        self.books[ticker] = sides  # type: ignore[assignment]

    def _explain_life(self, rows: d.Array, value: Any) -> None:
        msg = value["msg"]
        row = TICKERS.index(msg["market_ticker"])
        for one in rows:
            aux = int(one["aux"])
            if int(one["market"]) != row:
                raise Lie("another market's row")
            if one["kind"] == d.CLOSE_TIME and aux != honest.MEANINGS["MomentS"](msg["close_ts"]):
                raise Lie(f"{aux} is not the close time that is stated")
            if one["kind"] == d.TICK:
                ranges = [{k: band[k] for k in ("start", "end", "step")} for band in msg["price_ranges"]]
                if self.world.wire.lives[TICKERS[row]].listing.grids[aux] != PriceGrid.from_price_ranges(
                    ranges
                ):
                    raise Lie("another grid than the one that is stated")

    def _explain(self, event: e.Control, value: Any, known: dict[str, int] | None) -> None:
        msg, kind = value.get("msg"), value["type"]
        match event:
            case e.Filled():
                _is(kind, "fill")
                _is(event.price, honest.price(msg["yes_price_dollars"]))
                _is(event.size, honest.size(msg["count_fp"]))
                _is(event.fee_micros - event.rebate_micros, honest.decimal(msg["fee_cost"], 6))
                _is(event.maker, not msg["is_taker"])
                _is(event.market, TICKERS.index(msg["market_ticker"]))
                _is((event.trade_id, event.venue_id), (msg["trade_id"], msg["order_id"]))
                _is(event.side, side_of(msg))
                if msg.get("ts_ms") is not None:
                    _is(event.exch_ns, honest.milliseconds(msg["ts_ms"]))
                _is_order(event.order_id, msg, known)
            case e.Accepted() | e.Closed() | e.Reduced():
                _is(kind, "user_order")
                _is(event.filled, honest.size(msg["fill_count_fp"]))
                if isinstance(event, e.Reduced):
                    _is(event.remaining, honest.size(msg["remaining_count_fp"]))
                wanted = {"resting": e.Accepted | e.Reduced, "executed": e.Closed, "canceled": e.Closed}
                _is(isinstance(event, wanted[msg["status"]]), True)
                _is_order(event.order_id, msg, known)
            case e.Halt():
                _is((kind, msg["order_group_id"]), ("order_group_updates", "g1"))
                _is(msg["event_type"] in ("triggered", "deleted"), True)
            case e.Settled():
                _is((kind, msg["event_type"]), ("market_lifecycle_v2", "settled"))
                _is(event.market, TICKERS.index(msg["market_ticker"]))
                _is(event.value_micros, 100 * honest.price(msg["settlement_value"]))
                self.settled.add(event.market)
            case e.FeesChanged():
                _is(kind, "event_fee_update")
            case e.FeedAlive() | e.ClockSkewed():
                _is(kind, "ok")
                venue_ns = value.get("sending_ts_ms")
                now_ns = self.world.pace.now_ns()
                venue_ns = now_ns if venue_ns is None else honest.milliseconds(venue_ns)
                got = event.venue_ns if isinstance(event, e.FeedAlive) else now_ns - event.skew_ns
                _is(abs(got - venue_ns) <= 10**9, True)
            case _:
                raise Lie(f"a frame made a {type(event).__name__}")

    # --- health --------------------------------------------------------------------------------------

    async def check_health(self) -> None:
        """Good messages are taken as ever, and the engine sees the books that were told."""
        world = self.world
        for sid, number in world.seqs.items():  # after a damaged number that ran ahead, ours would be repeats
            world.seqs[sid] = max(number, world.streams.sequences.last(sid) or 0)
        for ticker in TICKERS:
            for frame in (self._snapshot(ticker), self._delta(ticker), self._delta(ticker)):
                raw = msgspec.json.encode(frame)
                world.sink.clear()
                world.streams.hear(raw)
                self._check(raw, None)
                if not world.sink.rows:
                    raise Lie(f"a good {frame['type']} is no longer taken")
        self._compare()
        for ticker in TICKERS:
            if self.books[ticker] != self.true[ticker]:
                raise Lie(f"the book of {ticker} is {self.books[ticker]}, the venue's {self.true[ticker]}")
        world.fold()
        for row, ticker in enumerate(TICKERS):
            bids, asks = self.true[ticker]
            best = (max(bids, default=-1), min(asks, default=-1))
            if row not in self.settled and touch_of(world.engine.touch(row)) != best:
                raise Lie(f"the engine sees {world.engine.touch(row)} in {ticker}, the venue has {best}")


def book_frame(value: Any) -> tuple[Any, ...] | None:
    """(kind, ticker, time, ...) of market data; None: another message; raises `Lie` for what is neither."""
    if not isinstance(value, dict) or value.get("type") not in (*BOOK_TYPES, "trade", "ticker"):
        return None
    msg = value["msg"] if isinstance(value.get("msg"), dict) else {}
    for key in ("sid", "seq"):
        honest.integer(value.get(key, 0))
    ticker, stamp_ms = msg.get("market_ticker"), msg.get("ts_ms")
    if not isinstance(ticker, str):
        raise Lie("no ticker")
    if ticker not in TICKERS or value["type"] == "ticker":
        return None
    if stamp_ms is not None:
        honest.milliseconds(stamp_ms)
    if value["type"] == "orderbook_delta":
        side = {"yes": 0, "no": 1}.get(str(msg.get("side")), -1)
        if side < 0:
            raise Lie("no side")
        change = honest.decimal(msg.get("delta_fp"), 6)
        return "delta", ticker, stamp_ms, side, honest.resting_price(msg.get("price_dollars")), change
    if value["type"] == "trade":
        word = (
            msg.get("taker_outcome_side")
            if msg.get("taker_outcome_side") is not None
            else msg.get("taker_side")
        )
        price, size = honest.resting_price(msg.get("yes_price_dollars")), honest.size(msg.get("count_fp"))
        return "trade", ticker, stamp_ms, {"yes": 0, "no": 1}[word], price, size  # type: ignore[index]
    sides = []
    for name in ("yes_dollars_fp", "no_dollars_fp"):
        levels = msg.get(name) or []
        if not isinstance(levels, list):
            raise Lie("levels are no list")
        sides.append([_level(level) for level in levels])
        if len(dict(sides[-1])) != len(levels):
            raise Lie("a price stands twice")
    return "snapshot", ticker, stamp_ms, *sides


def _level(level: Any) -> tuple[int, int]:
    if not isinstance(level, list) or len(level) != 2:
        raise Lie(f"{level!r} is no level")
    return honest.resting_price(level[0]), honest.size(level[1])


def _names_another(value: Any, ticker: str) -> bool:
    """Whether a frame says that it is about another of our markets, whose book it then costs."""
    msg = value.get("msg")
    return isinstance(msg, dict) and msg.get("market_ticker") in [t for t in TICKERS if t != ticker]


def _is_unreadable(raw: bytes, ticker: str) -> bool:
    """Whether no reading of a frame tells anything, not even that it is about something else."""
    for value in honest.readings(raw):
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            continue
        if value["type"] not in BOOK_TYPES or _names_another(value, ticker):
            return False
        try:
            book_frame(value)
        except Lie:
            continue
        return False
    return True


def side_of(msg: Any) -> int:
    """BID or ASK by the words of a fill or an order."""
    if msg.get("book_side") in ("bid", "ask"):
        return int(msg["book_side"] == "ask")
    return {"yes": 0, "no": 1}[msg["outcome_side"]]


def _is(got: Any, said: Any) -> None:
    if got != said:
        raise Lie(f"{got!r} is not {said!r}")


def _is_order(order_id: int, msg: Any, known: dict[str, int] | None) -> None:
    text = msg.get("client_order_id") or ""
    number = text.removeprefix("test-")
    if text != number and number.isascii() and number.isdigit() and number[0] != "0" and int(number) >= 7:
        _is(order_id, int(number))
    elif order_id and known is not None:
        _is(order_id, known.get(msg["order_id"]))


def _dollars(price: int) -> str:
    return f"0.{price:04d}"


def _contracts(size: int) -> str:
    sign, size = ("-", -size) if size < 0 else ("", size)
    return f"{sign}{size // 10**6}.{size % 10**6 // 10**4:02d}"
