"""Damaged frames of both channels: what entered is what the frame says, and a lost one costs its book."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fuzz import honest
from fuzz.damage import Sample, damage
from fuzz.honest import Lie
from fuzz.polymarket import ours, told
from fuzz.polymarket.told import BOOK_KINDS, Sides, Told
from fuzz.polymarket.world import CONDITIONS, OWNER, TOKENS, WALLET, World, lives
from fuzz.rig import idle, touch_of
from pr3dict.domain import events as e
from pr3dict.domain.market import polymarket_grid
from pr3dict.domain.units import format_contracts
from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.book import decimal_text
from pr3dict.venues.polymarket.link import StreamLost

KINDS: Final = {
    "price_change": 36, "book": 10, "last_trade_price": 8, "tick_size_change": 4, "best_bid_ask": 3,
    "market_resolved": 1, "new_market": 1, "array": 6, "order": 13, "trade": 18,
}  # fmt: skip
MARKS: Final = (b"{", b"[", b'"')  # of what is meant as JSON
USER: Final = ("order", "trade")
STATES: Final = ("MATCHED", "MINED", "CONFIRMED", "RETRYING", "FAILED", "MATCHED_NOT_BROADCASTED")
ORDER_STATES: Final = ("LIVE", "MATCHED", "CANCELED", "ORDER_STATUS_LIVE", "CANCELED_MARKET_RESOLVED", "")
QUIET: Final = e.Malformed | e.FeedUp | e.FeedDown | e.FeedAlive
_NAMES, _WEIGHTS = list(KINDS), list(KINDS.values())
_BROKEN: Final = (Lie, KeyError, TypeError, AttributeError, IndexError, ValueError)


class Feed:
    """Connections, the books as their frames honestly tell them, and what was lost."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.true: list[Sides] = [({}, {}), ({}, {})]  # at the venue
        self.ticks = [life.tick for life in lives()]
        self.told = tuple(Told(tick=tick) for tick in self.ticks)  # by frames
        self.rows: list[Sides] = [({}, {}), ({}, {})]  # by what entered
        self.filled: set[str] = set()
        self.settled: set[int] = set()
        self.trade_ids: list[str] = []
        self.case: dict[str, Any] = {}
        self.samples = [
            Sample(kind, self._frame(kind, row)) for kind in KINDS for row in (0, 1) for _ in range(3)
        ]
        self.by_kind = {sample.name: sample for sample in self.samples}
        self.begin()

    def begin(self) -> None:
        """Connections with whole books."""
        self.world.connect()
        self.told = tuple(book._replace(synced=False) for book in self.told)
        for row in (0, 1):
            self.world.sink.clear()
            raw = msgspec.json.encode([self._book(row, is_no) for is_no in (False, True)])
            self.world.hear(raw, user=False)
            self._check_market(raw)

    # --- frames as the venue means them ------------------------------------------------------------

    def _stamp(self) -> str:
        self.world.pace.clock.pass_ns(1_000_000)
        return str(self.world.pace.now_ns() // 10**6)

    def _levels(self, row: int, *, is_no: bool) -> dict[str, list[dict[str, str]]]:
        sides = reversed(self.true[row]) if is_no else self.true[row]
        return {
            name: [
                {"price": decimal_text(10_000 - p if is_no else p), "size": format_contracts(q)}
                for p, q in sorted(side.items())
            ]
            for name, side in zip(("bids", "asks"), sides, strict=True)
        }

    def _book(self, row: int, is_no: bool = False) -> dict[str, Any]:
        rng = self.rng
        if not is_no:
            self.true[row] = tuple(  # type: ignore[assignment]
                {
                    100 * rng.randrange(*span): 10**4 * rng.randrange(1, 10**5)
                    for _ in range(rng.randrange(1, 4))
                }
                for span in ((30, 46), (47, 60))
            )
        return {
            "event_type": "book", "market": CONDITIONS[row], "asset_id": TOKENS[row][is_no],
            "timestamp": self._stamp(), "hash": "h", **self._levels(row, is_no=is_no),
            "tick_size": decimal_text(self.ticks[row]), "last_trade_price": "",
        }  # fmt: skip

    def _touch(self, row: int, *, is_no: bool) -> dict[str, str]:
        bid, ask = max(self.true[row][0], default=0), min(self.true[row][1], default=10_000)
        bid, ask = (10_000 - ask, 10_000 - bid) if is_no else (bid, ask)
        return {"best_bid": decimal_text(bid), "best_ask": decimal_text(ask)}

    def _changes(self, row: int) -> dict[str, Any]:
        rng, said = self.rng, []
        done: set[int] = set()
        for _ in range(rng.choice((1, 1, 2, 3))):
            side = rng.randrange(2)
            levels = self.true[row][side]
            price = 100 * rng.randrange(*((30, 46), (47, 60))[side])
            if levels and rng.random() < 0.5:
                price = rng.choice(list(levels))
            if price in done:
                continue
            done.add(price)
            size = rng.choice((0, 10**4 * rng.randrange(1, 10**5), 5_000_000))
            levels.pop(price, None)
            if size:
                levels[price] = size
            told_by = rng.choice(((False, True), (False,), (True,)))
            said += [self._change(row, side, price, size, is_no=is_no) for is_no in told_by]
        return {
            "event_type": "price_change", "market": CONDITIONS[row], "timestamp": self._stamp(),
            "price_changes": said,
        }  # fmt: skip

    def _change(self, row: int, side: int, price: int, size: int, *, is_no: bool) -> dict[str, str]:
        return {
            "asset_id": TOKENS[row][is_no], "price": decimal_text(10_000 - price if is_no else price),
            "size": format_contracts(size), "side": ("BUY", "SELL")[side ^ is_no], "hash": "h",
            **self._touch(row, is_no=is_no),
        }  # fmt: skip

    def _frame(self, kind: str, row: int) -> Any:
        rng, token = self.rng, TOKENS[row][self.rng.randrange(2)]
        head = {"event_type": kind, "market": CONDITIONS[row], "asset_id": token, "timestamp": self._stamp()}
        match kind:
            case "price_change":
                return self._changes(row)
            case "book":
                return self._book(row)
            case "last_trade_price":
                return {**head, "price": "0.46", "size": "12.5", "side": rng.choice(("BUY", "SELL"))}
            case "tick_size_change":
                self.ticks[row] = rng.choice((100, 10, 1, 1_000))
                return {**head, "old_tick_size": "0.01", "new_tick_size": decimal_text(self.ticks[row])}
            case "best_bid_ask":
                return {**head, **self._touch(row, is_no=token == TOKENS[row][1]), "spread": "0.02"}
            case "market_resolved":
                return {**head, "assets_ids": list(TOKENS[row]), "winning_asset_id": token}
            case "new_market":
                return {**head, "slug": "x", "assets_ids": ["1", "2"]}
            case "array":
                return [self._changes(row), self._changes(1 - row), self._frame("last_trade_price", row)]
            case "order":
                return self._order(row)
        return self._trade(row)

    def _own(self, row: int) -> tuple[str, Any]:
        return self.rng.choice([(k, place) for k, place in self.world.digests.items() if place.market == row])

    def _order(self, row: int) -> dict[str, Any]:
        rng, (digest, place) = self.rng, self._own(row)
        unit = rng.choice((1, 1, 10**6))
        matched = rng.choice((0, 2_500_000, place.size))
        return {
            "event_type": "order", "id": digest, "market": CONDITIONS[row], "asset_id": TOKENS[row][0],
            "side": "BUY", "price": "0.44", "original_size": format_contracts(place.size * unit),
            "size_matched": format_contracts(matched * unit), "type": rng.choice(("PLACEMENT", "UPDATE")),
            "status": rng.choice(ORDER_STATES), "order_type": "GTD", "owner": OWNER,
            "timestamp": self._stamp(),
        }  # fmt: skip

    def _trade(self, row: int) -> dict[str, Any]:
        rng, (digest, place) = self.rng, self._own(row)
        if not self.trade_ids or rng.random() < 0.4:
            self.trade_ids = [*self.trade_ids[-8:], f"t-{rng.randrange(10**12)}"]
        stranger = "0x" + f"{rng.randrange(16**64):064x}" if rng.random() < 0.1 else ""
        takes, is_no = rng.random() < 0.3, place.side == d.ASK
        maker = {
            "order_id": "0x" + "77" * 32 if takes else stranger or digest, "asset_id": TOKENS[row][is_no],
            "side": "SELL" if takes else "BUY", "matched_amount": "2.5", "price": "0.44",
            "owner": "somebody" if takes else OWNER, "maker_address": "0x0" if takes else WALLET.maker,
        }  # fmt: skip
        return {
            "event_type": "trade", "id": rng.choice(self.trade_ids),
            "taker_order_id": digest if takes else "0x" + "66" * 32, "market": CONDITIONS[row],
            "asset_id": TOKENS[row][is_no if takes else rng.randrange(2)], "side": "BUY" if takes else "SELL",
            "size": "2.5", "price": "0.44", "status": rng.choice(STATES), "maker_orders": [maker],
            "match_time": self._stamp()[:-3], "owner": OWNER if takes else "somebody",
            "trader_side": "TAKER" if takes else "MAKER",
        }  # fmt: skip

    # --- one input ----------------------------------------------------------------------------------

    async def step(self) -> tuple[str, str]:
        """(damage, what became of the input); raises `Lie`, and then `case` is the input."""
        kind, row = self.rng.choices(_NAMES, _WEIGHTS)[0], self.rng.randrange(2)
        value = self._frame(kind, row)
        hurt, raw = damage(self.rng, self.by_kind[kind], self.samples, value)
        self.case = {"kind": kind, "raw": raw.decode("latin-1")}
        return hurt, await self.take(raw, kind)

    async def replay(self, case: Mapping[str, Any]) -> None:
        """One input that was kept."""
        await self.take(case["raw"].encode("latin-1"), case["kind"])

    async def take(self, raw: bytes, kind: str) -> str:
        """One input, where a frame of `kind` was meant; what became of it."""
        world, streams = self.world, self.world.streams
        check = self._check_user if kind in USER else self._check_market
        world.sink.clear()
        refused, tasks = streams.malformed, len(world.wire._tasks)
        before = [self._is_synced(row) for row in (0, 1)]
        try:
            world.hear(raw, user=kind in USER)
        except StreamLost:
            if kind not in USER:
                world.connect()  # which ends every book
            check(raw)
            self.begin()
            return "lost"
        if streams.malformed > refused and streams._unsaid == 0:
            raise Lie("a message was refused and will never be reported")
        became = "accepted" if world.sink.rows or world.sink.events else "ignored"
        became = "refused" if streams.malformed > refused else became
        check(raw)
        if kind in USER:
            self._check_complete(raw)
        elif kind in (*BOOK_KINDS, "array") and all(before) and all(map(self._is_synced, (0, 1))):
            self._check_readable(raw)
        for row in (0, 1):
            told_so = any(isinstance(x, e.BookInvalid) and x.market == row for x in world.sink.events)
            if before[row] and not self._is_synced(row) and not told_so:
                raise Lie(f"the book of {row} was dropped without a word")
        if len(world.wire._tasks) != tasks:
            await idle()
            self._note_fills()
        return became

    def _check_readable(self, raw: bytes) -> None:
        """What can't be read costs a book."""
        is_word = not any(mark in raw for mark in MARKS)  # of the venue's, which is no JSON by design
        if not is_word and not any(_reads(value, self.told) for value in honest.readings(raw)):
            raise Lie("a frame was lost, and every book still counts as whole")

    def _is_synced(self, row: int) -> bool:
        return self.world.streams.decoder.books[CONDITIONS[row]].synced

    # --- books ---------------------------------------------------------------------------------------

    def _check_market(self, raw: bytes) -> None:
        """One reading of the frame explains books, trades, grids and ends."""
        lie = Lie("no JSON, and yet something entered")
        for value in honest.readings(raw) or [[]]:
            everything = told.messages(value)
            for messages in (everything, [msg for msg in everything if not self._costs(msg)]):
                try:
                    fresh = self._explain(messages)
                except _BROKEN as error:
                    lie = error if isinstance(error, Lie) else Lie(f"{type(error).__name__}: {error}")
                    continue
                self._take_rows()
                self.told = fresh
                return
        raise lie

    def _costs(self, msg: Any) -> bool:
        """Whether a message names a market whose book is lost: then perhaps nothing of it was taken."""
        said = str(msg)
        lost = [row for row in (0, 1) if not self._is_synced(row)]
        return any(name in said for row in lost for name in (CONDITIONS[row], *TOKENS[row]))

    def _explain(self, messages: list[Any]) -> tuple[Told, ...]:
        books, trades, ends, steps = self.told, [], [], [self.told]
        for msg in messages:
            try:
                books, trade = told.after(books, msg)
                ends += [end for end in (told.resolved(msg),) if end is not None]
            except _BROKEN:
                continue
            trades += [] if trade is None else [trade]
            steps.append(books)
        self._explain_events(ends)
        self._explain_rows(trades, {(row, book.tick) for step in steps for row, book in enumerate(step)})
        return tuple(self._agreed(row, [step[row] for step in steps]) for row in range(len(books)))

    def _agreed(self, row: int, steps: list[Told]) -> Told:
        """Our book is the one that was told, where it counts as whole; what was lost stopped on the way."""
        book, fresh = self.world.streams.decoder.books[CONDITIONS[row]], steps[-1]
        if (book.exch_ns, book.tick) not in [(x.exch_ns, y.tick) for x in steps for y in steps]:
            raise Lie(f"time and tick of {row} are {book.exch_ns}, {book.tick}; told were {fresh}")
        if book.synced and (not fresh.synced or book.sides != fresh.sides):
            raise Lie(f"the book of {row} is {book.sides}, told was {fresh}")
        return fresh._replace(synced=book.synced, exch_ns=book.exch_ns, tick=book.tick)

    def _explain_events(self, ends: list[tuple[int, int]]) -> None:
        for event in self.world.sink.events:
            if isinstance(event, e.BookInvalid):
                if event.market not in (0, 1):
                    raise Lie(f"no market has the row {event.market}")
            elif isinstance(event, e.Settled):
                if (event.market, event.value_micros) not in ends or event.refund:
                    raise Lie(f"{event} of a frame that says {ends}")
                self.settled.add(event.market)
            elif not isinstance(event, QUIET):
                raise Lie(f"a frame of the market channel made a {type(event).__name__}")

    def _explain_rows(self, trades: list[told.Trade], ticks: set[tuple[int, int]]) -> None:
        left = iter(trades)
        for rows in self.world.sink.rows:
            for (market, kind, side, price, size, _), row in zip(told.row_steps(rows), rows, strict=True):
                if kind == d.TRADE and told.Trade(market, side, price, size) not in left:
                    raise Lie(f"the trade {market, side, price, size} is none of {trades}")
                if kind == d.TICK:
                    grid = lives()[market].listing.grids[int(row["aux"])]
                    if grid not in [polymarket_grid(tick) for m, tick in ticks if m == market]:
                        raise Lie("another grid than the one that is stated")
                if kind not in (d.TRADE, d.TICK, d.LEVEL, d.SNAPSHOT, d.STATUS):
                    raise Lie(f"a frame made a row of kind {kind}")

    def _take_rows(self) -> None:
        """What entered adds up to the books that we show."""
        for rows in self.world.sink.rows:
            for market, kind, side, price, size, bits in told.row_steps(rows):
                if kind not in (d.SNAPSHOT, d.LEVEL):
                    continue
                if kind == d.SNAPSHOT and bits & d.SNAP_FIRST:
                    self.rows[market] = ({}, {})
                self.rows[market][side].pop(price, None)
                if size:
                    self.rows[market][side][price] = size
        for row, condition in enumerate(CONDITIONS):
            book = self.world.streams.decoder.books[condition]
            if book.synced and book.sides != self.rows[row]:
                raise Lie(f"the rows of {row} make {self.rows[row]}, the book is {book.sides}")

    # --- the account ---------------------------------------------------------------------------------

    def _check_user(self, raw: bytes) -> None:
        if self.world.sink.rows:
            raise Lie("a frame about us made rows")
        events = [x for x in self.world.sink.events if not isinstance(x, QUIET)]
        self._note_fills()
        if events:
            honest.any_reading(raw, lambda value: self._explain_user(events, told.messages(value)))

    def _explain_user(self, events: list[e.Control], messages: list[Any]) -> None:
        for event in events:
            lie: Exception = Lie("no message says so")
            for msg in messages:
                try:
                    ours.explain(event, msg, self.world.digests)
                    break
                except _BROKEN as error:
                    lie = error
            else:
                raise lie

    def _note_fills(self) -> None:
        """A fill is told once."""
        for event in self.world.sink.events:
            if isinstance(event, e.Filled):
                key = f"{event.market}/{event.trade_id}"
                if key in self.filled:
                    raise Lie(f"the fill {event.trade_id} was told twice")
                self.filled.add(key)
        self.world.sink.clear()

    def _check_complete(self, raw: bytes) -> None:
        """What was not lost was taken: every fill of ours is known, or its order is looked up."""
        lie = Lie("a frame about us that can't be read was ignored")
        if not any(mark in raw for mark in MARKS):
            return
        for value in honest.readings(raw):
            try:
                for msg in told.messages(value):
                    self._is_taken(msg)
            except _BROKEN as error:
                lie = error if isinstance(error, Lie) else Lie(f"{type(error).__name__}: {error}")
            else:
                return
        raise lie

    def _is_taken(self, msg: Any) -> None:
        if not isinstance(msg, dict) or not isinstance(msg.get("event_type"), str) or not msg["event_type"]:
            raise Lie("no message")
        if msg["event_type"] == "order":
            ours.read_order(msg, self.world.digests)
        if msg["event_type"] != "trade":
            return
        fills = ours.read_fills(msg, self.world.digests)
        if any(fill.order_id == 0 for fill in fills.values()):
            return  # looked up
        for name, fill in fills.items():
            if not self.world.wire.settling.is_known(fill.market, name):
                raise Lie(f"the fill {name} was told and is not known")

    # --- health --------------------------------------------------------------------------------------

    async def check_health(self) -> None:
        """Good messages are taken as ever, and the engine sees the books that were told."""
        world = self.world
        if any(book.exch_ns > world.pace.now_ns() for book in self.told):
            for book in world.streams.decoder.books.values():  # a damaged time that ran ahead
                book.exch_ns = 0
            self.told = tuple(book._replace(exch_ns=0) for book in self.told)
        self.begin()
        for row in (0, 1):
            for _ in range(3):
                raw = msgspec.json.encode(self._changes(row))
                world.sink.clear()
                world.hear(raw, user=False)
                self._check_market(raw)
            if not self._is_synced(row) or self.told[row].sides != self.true[row]:
                raise Lie(f"the book of {row} is {self.told[row]}, the venue's {self.true[row]}")
        world.sink.clear()
        order = self._order(0) | {"status": "LIVE", "size_matched": "0", "original_size": "10"}
        world.hear(msgspec.json.encode(order), user=True)
        if not any(isinstance(x, e.Accepted) for x in world.sink.events):
            raise Lie("a good message about an order is no longer taken")
        world.fold()
        for row in (0, 1):
            best = (max(self.true[row][0], default=-1), min(self.true[row][1], default=-1))
            if row not in self.settled and touch_of(world.engine.touch(row)) != best:
                raise Lie(f"the engine sees {world.engine.touch(row)} in {row}, the venue has {best}")


def _reads(value: Any, books: tuple[Told, ...]) -> bool:
    try:
        for msg in told.messages(value):
            books, _ = told.after(books, msg)
    except _BROKEN:
        return False
    return True
