"""Two tokens' rows as one YES book, held to a slow one of dictionaries."""

import json
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.kernels import archive
from pr3dict.kernels import dtypes as d
from pr3dict.store.importers.common import event_row, events_of

MS = 1_000_000
T0 = 1_767_225_600_000 * MS
BOTH = d.SNAP_FIRST | d.SNAP_LAST


def row(ms, kind, *, side=0, price=0, qty=0, aux=0, bits=0, token=0):
    made = events_of([event_row(T0 + ms * MS, T0, kind, side=side, price=price, qty=qty, aux=aux, bits=bits)])
    made["market"] = token
    return made


def snapshot(ms, levels, token=0):
    if not levels:
        return row(ms, d.SNAPSHOT, bits=BOTH, token=token)
    parts = [row(ms, d.SNAPSHOT, side=s, price=p, qty=q, token=token) for s, p, q in levels]
    parts[0]["bits"] |= d.SNAP_FIRST
    parts[-1]["bits"] |= d.SNAP_LAST
    return np.concatenate(parts)


level = st.tuples(st.integers(0, 1), st.sampled_from((4000, 4100, 4200)), st.integers(0, 3))
book = st.lists(level.map(lambda at: (*at[:2], at[2] + 1)), max_size=4, unique_by=lambda at: at[:2])
token = st.integers(0, 1)
message = st.one_of(
    st.tuples(st.just("level"), level, token),
    st.tuples(st.just("level"), level, token),
    st.tuples(st.just("book"), book, token),
    st.tuples(st.just("trade"), level, token),
    st.tuples(st.just("tick"), st.sampled_from((10, 100)), token),
)
messages = st.lists(st.tuples(st.sampled_from((0, 0, 1, 60)), message), min_size=1, max_size=40)


def built(steps):
    parts, ms = [], 0
    for wait, (kind, what, of) in steps:
        ms += wait
        if kind == "book":
            parts.append(snapshot(ms, what, of))
        elif kind == "tick":
            parts.append(row(ms, d.TICK, aux=what, token=of))
        else:
            side, price, qty = what
            code = d.LEVEL if kind == "level" else d.TRADE
            parts.append(row(ms, code, side=side, price=price, qty=qty + (kind == "trade"), token=of))
    return np.concatenate(parts).view(d.EVENT)


def slow(events, source):
    """(rows as lists, figures, trades with a cause) of the obvious way."""
    books, known, kept, figures = ({}, {}), [False, False], [], [0] * archive.FIGURES
    tick, i, stirred = None, 0, False
    groups = []
    while i < len(events):
        end = i + 1
        if events[i]["kind"] == d.SNAPSHOT:
            while not events[end - 1]["bits"] & d.SNAP_LAST:
                end += 1
        groups.append(events[i:end])
        i = end
    for k, group in enumerate(groups):
        first, of = group[0], int(group[0]["market"])
        keep, taken = True, 0
        if first["kind"] == d.SNAPSHOT:
            fresh = {(int(r["side"]), int(r["price"])): int(r["qty"]) for r in group if r["price"]}
            keep = of == source
            if keep:
                figures[archive.SNAPSHOTS] += 1
                figures[archive.CHECKED] += known[of]
                figures[archive.EQUAL] += known[of] and fresh == books[of]
            books[of].clear()
            books[of].update(fresh)
            known[of] = stirred = True
        elif first["kind"] == d.LEVEL:
            keep = of == source
            figures[archive.DELTAS] += keep
            at = (int(first["side"]), int(first["price"]))
            if known[of]:
                taken = max(books[of].pop(at, 0) - int(first["qty"]), 0)
                if first["qty"]:
                    books[of][at] = int(first["qty"])
                stirred = True
            else:
                figures[archive.EARLY] += keep
                keep = False
        elif first["kind"] == d.TICK:
            keep, tick = tick != first["aux"], first["aux"]
        if keep:
            kept += [[r.copy(), taken if len(group) == 1 else 0] for r in group]
        last = k + 1 == len(groups) or groups[k + 1][0]["exch_ns"] != first["exch_ns"]
        if last and stirred:
            if all(known):
                figures[archive.MIRROR_CHECKED] += 1
                figures[archive.MIRROR_EQUAL] += books[0] == books[1]
            stirred = False
    return kept, figures


def slow_places(kept):
    """The rows with each trade before the change that caused it; how many have one."""
    places, caused = {}, 0
    for i, (trade, _) in enumerate(kept):
        if trade["kind"] != d.TRADE:
            continue
        near = [
            k
            for k in range(i - 1, -1, -1)
            if kept[k][1] > 0
            and trade["exch_ns"] - kept[k][0]["exch_ns"] <= archive.PRINT_NS
            and kept[k][0]["price"] == trade["price"]
            and kept[k][0]["side"] == 1 - trade["side"]
        ]
        exact = [k for k in near if kept[k][1] == trade["qty"]]
        if exact:
            kept[exact[0]][1] = 0
            near = exact[:1]
        else:
            size, used = int(trade["qty"]), []
            for k in near:
                if size:
                    part = min(size, kept[k][1])
                    kept[k][1] -= part
                    size -= part
                    used.append(k)
            near = used
        caused += bool(near)
        place = (
            near[-1] if near else min(k for k in range(i + 1) if kept[k][0]["exch_ns"] == trade["exch_ns"])
        )
        places.setdefault(place, []).append(i)
    order = []
    for k in range(len(kept)):
        order += [(i, kept[k][0]["exch_ns"]) for i in places.get(k, [])]
        if kept[k][0]["kind"] != d.TRADE:
            order.append((k, kept[k][0]["exch_ns"]))
    rows = []
    for i, exch_ns in order:
        made = kept[i][0].copy()
        made["exch_ns"], made["market"] = exch_ns, 0
        rows.append(made)
    return rows, caused


@given(messages, token)
def test_it_is_what_slow_books_make(steps, source):
    events = built(steps)
    kept, figures = slow(events, source)
    rows, caused = slow_places(kept)
    made = archive.assemble_market(events.copy(), source)
    assert made.figures.tolist() == figures
    assert made.caused == caused
    assert [tuple(r) for r in made.rows[1:]] == [tuple(r) for r in rows]
    if rows:
        assert made.rows[0]["kind"] == d.STATUS and made.rows[0]["aux"] == d.ACTIVE
    assert (np.diff(made.rows["exch_ns"]) >= 0).all()


def test_a_print_moves_to_the_change_that_it_tells_of():
    ask = {"side": d.ASK, "price": 4200}
    events = np.concatenate(
        [
            snapshot(0, [(d.ASK, 4200, 50)]),
            row(10, d.LEVEL, qty=38, **ask),
            row(15, d.LEVEL, qty=30, **ask),
            row(31, d.TRADE, side=d.BID, price=4200, qty=12),
        ]
    )
    made = archive.assemble_market(events, 0)
    assert made.rows["kind"].tolist() == [d.STATUS, d.SNAPSHOT, d.TRADE, d.LEVEL, d.LEVEL]
    assert made.rows["exch_ns"][2] == T0 + 10 * MS
    assert made.caused == 1


# --- the texts of books -----------------------------------------------------------------------------


def parsed(*sides: str):
    """[(price, size)] of each side by the compiled parser; None where it calls one not plain."""
    text = np.frombuffer("".join(sides).encode(), np.uint8).copy()
    ends = np.cumsum([0, *(len(side.encode()) for side in sides)])
    counts = np.zeros(len(sides), np.int64)
    price, size = np.zeros((2, len(text) // 9 + 1), np.int64)
    levels = archive.parse_levels(text, ends, price, size, counts)
    if levels == archive.NOT_PLAIN:
        return None
    assert levels == counts.sum()
    pairs = list(zip(price[:levels].tolist(), size[:levels].tolist(), strict=True))
    return [pairs[sum(counts[:k]) : sum(counts[: k + 1])] for k in range(len(sides))]


def strict(side: str):
    """The same by `json` and `Decimal`; None where it is no list of prices and sizes that fit."""
    try:
        pairs = [(Decimal(p) * 10_000, Decimal(q) * 10**6) for p, q in json.loads(side)]
    except (ValueError, TypeError, ArithmeticError):
        return None
    whole = all(each == int(each) and each >= 0 for pair in pairs for each in pair)
    return [(int(p), int(q)) for p, q in pairs] if whole and all(p <= 10_000 for p, _ in pairs) else None


levels_text = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 10**15), st.integers(0, 3)).map(
        lambda at: [
            str(Decimal(at[0]) / 10_000) + "0" * at[2] * (at[0] % 10_000 > 0),
            f"{Decimal(at[1]) / 10**6:f}",
        ]
    ),
    max_size=5,
).map(lambda pairs: json.dumps(pairs, separators=(",", ":")))


@given(st.lists(levels_text, min_size=1, max_size=4))
def test_plain_books_are_parsed_exactly(sides):
    assert parsed(*sides) == [strict(side) for side in sides]


@given(
    levels_text, st.integers(0, 60), st.sampled_from('[]",.0-eE 9x'), st.sampled_from(("cut", "put", "swap"))
)
def test_a_broken_book_is_never_misread(side, at, byte, how):
    at = min(at, len(side))
    rest = side[at:] if how == "put" else side[at + 1 :]
    broken = side[:at] + (byte if how != "cut" else "") + rest
    found = parsed(broken)
    assert found is None or found == [strict(broken)], broken
