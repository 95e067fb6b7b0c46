"""Recorded messages of the real venue played through our decoder, beside a slow reading of the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pr3dict.kernels import dtypes as d
from pr3dict.venues.polymarket.book import BookDecoder, BookSpec, Hash, Other
from pr3dict.venues.polymarket.book_frames import BookLost
from venues.polymarket.recorded import Sides, as_frame, in_yes, mlb_messages, replayed, sides_of

NOW_NS = 1_763_800_000_050_000_000
HOLE_NS = 60_000_000_000  # where a recorder said nothing for so long it was not there
Message = dict[str, Any]


def raw_frames(lines: Iterable[bytes]) -> list[Message]:
    """The messages of a raw capture, in order; what came over REST is a whole book, too."""
    found = []
    for line in lines:
        record = json.loads(line)
        if record["source"] == "polymarket_clob":
            parsed = json.loads(record["payload"])
            for one in parsed if isinstance(parsed, list) else [parsed]:
                one.setdefault("event_type", "book")
                found.append(one)
    return found


def _spec(market: int, condition: str, yes: str, no: str) -> BookSpec:
    return BookSpec(
        market=market, condition=condition, yes=yes, no=no, tick=100, min_size=5_000_000, neg_risk=False
    )


class Captured:
    """A decoder of all markets of a capture whose two tokens it names; counts what it made of it."""

    def __init__(self, frames: Sequence[Message]) -> None:
        pairs: dict[str, dict[str, None]] = {}
        for one in frames:
            assets = [x["asset_id"] for x in one.get("price_changes", ())] + [one.get("asset_id")]
            pairs.setdefault(one["market"], {}).update({asset: None for asset in assets if asset})
        self.out = np.zeros(20_480, d.EVENT)
        self.decoder = BookDecoder(self.out)
        self.books = self.changes = self.others = self.verified = 0
        self._ours: dict[int, Sides] = {}
        for place, (condition, pair) in enumerate(x for x in pairs.items() if len(x[1]) == 2):
            self.decoder.add(_spec(place, condition, *pair))

    @property
    def ignored(self) -> int:
        """Messages of tokens that are not followed."""
        return self.decoder.ignored

    def play(self, one: Message) -> None:
        """One message: the rows lead to the book, a book is what it says, and the stated hash is ours."""
        count, said = self.decoder.decode(json.dumps(one).encode(), NOW_NS)
        if isinstance(said, Other):
            self.others += 1
            return
        book = self.decoder.books[one["market"]]
        row = book.spec.market
        self._ours[row] = replayed(self.out, count, self._ours.get(row, ({}, {})))
        assert self._ours[row] == book.sides
        if one["event_type"] == "book":
            self.books += 1
            assert sides_of(one, is_no=one["asset_id"] == book.spec.no) == book.sides
        else:
            self.changes += one["event_type"] == "price_change"
        self.verified += self.decoder.verify(book) is Hash.MATCHES


def later_books(frames: Sequence[Message]) -> tuple[int, int, int]:
    """Of later books, before they are taken in: equal to ours, not so, of a later moment than ours."""
    found = Captured(frames)
    equal = differ = newer = 0
    told: set[str] = set()
    for one in frames:
        if one["event_type"] == "book":
            book, asset = found.decoder.books[one["market"]], one["asset_id"]
            same = sides_of(one, is_no=asset == book.spec.no) == book.sides
            if asset in told and int(one["timestamp"]) * 1_000_000 > book.exch_ns:
                newer += 1
            elif asset in told:
                equal, differ = equal + same, differ + (not same)
            told.add(asset)
        told |= {x["asset_id"] for x in one.get("price_changes", ())}
        found.play(one)
    return equal, differ, newer


class Game(NamedTuple):
    """What a recorded game was: `explained` later books are ours less what one trade took."""

    messages: int
    lost: int
    explained: int
    other: int


def mlb_game(path: Path) -> Game:
    """Play a game that was recorded when a trade was told by the book behind it, and by nothing else."""
    told = list(mlb_messages(path))
    yes, no = dict.fromkeys(asset for _, asset, _, _ in told)
    decoder = BookDecoder(np.zeros(20_480, d.EVENT))
    decoder.add(_spec(0, "0xg", yes, no))
    book = decoder.books["0xg"]
    messages = lost = explained = other = 0
    for kind, asset, ms, rows in told:
        gap_ns = ms * 1_000_000 - book.exch_ns
        if kind == "book" and book.synced and 0 < gap_ns < HOLE_NS:
            levels = {(s, round(float(p) * 10_000)): round(float(q) * 10**6) for s, p, q in rows}
            by_trade = _is_trade(book.sides, in_yes(levels, is_no=asset == no))
            explained, other = explained + by_trade, other + (not by_trade)
        try:
            decoder.decode(as_frame(kind, asset, ms, rows), NOW_NS)
            messages += 1
        except BookLost:
            lost += 1
    return Game(messages, lost, explained, other)


def _is_trade(ours: Sides, theirs: Sides) -> bool:
    """Whether a book follows from ours by one order that takes from the best on, and whose rest may rest."""
    changed = [
        {p for p in ours[side].keys() | theirs[side].keys() if ours[side].get(p) != theirs[side].get(p)}
        for side in (d.BID, d.ASK)
    ]
    for side in (d.BID, d.ASK):
        best_first = sorted(ours[side], reverse=side == d.BID)[: len(changed[side])]
        took = changed[side] == set(best_first) and all(
            theirs[side].get(p, 0) < ours[side][p] for p in best_first
        )
        whole = all(p not in theirs[side] for p in best_first[:-1])
        rest = changed[1 - side]
        rests = len(rest) == 1 and all(theirs[1 - side].get(p, 0) > ours[1 - side].get(p, 0) for p in rest)
        if best_first and took and whole and (not rest or rests):
            return True
    return not any(changed)
