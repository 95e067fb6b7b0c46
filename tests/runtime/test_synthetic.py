"""The ten regimes make tapes that can be written, read back, and mostly be quoted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from pr3dict.domain.errors import UsageError
from pr3dict.kernels import dtypes as d
from pr3dict.runtime.synthetic import FEED_LATENCY_NS, REGIMES, market_tape, regime, synthetic_market
from pr3dict.store.tape import check_tape, read_tape, write_tape

NAMES = [one.name for one in REGIMES]


def touch_samples(events: d.Array, samples: int) -> tuple[list[int], list[float]]:
    """Spread (price units) and dollars within 10 cents of mid, sampled evenly over the open market."""
    book: tuple[dict[int, int], dict[int, int]] = ({}, {})
    at = np.linspace(events[0]["exch_ns"], events[-2]["exch_ns"], samples + 2)[1:-1]
    spreads, dollars, k = [], [], 0
    for row in events.tolist():
        while k < samples and row[0] > at[k]:
            k += 1
            bids = [p for p, size in book[0].items() if size]
            asks = [p for p, size in book[1].items() if size]
            if not bids or not asks:
                continue
            mid = (max(bids) + min(asks)) / 2
            spreads.append(min(asks) - max(bids))
            near_bids = sum(p * book[0][p] for p in bids if mid - p <= 1_000)
            near_asks = sum((10_000 - p) * book[1][p] for p in asks if p - mid <= 1_000)
            dollars.append((near_bids + near_asks) / 1e10)
        if row[6] in (d.LEVEL, d.SNAPSHOT):
            book[row[7]][row[4]] = row[2]
    return spreads, dollars


@pytest.mark.parametrize("name", NAMES)
def test_regime_is_a_valid_tape_that_says_it_is_synthetic(name: str, tmp_path: Path) -> None:
    events, meta = synthetic_market(3, name)
    check_tape(events, meta)
    assert meta.synthetic and meta.venue == "synthetic" and np.all(events["bits"] & d.SYNTHETIC)
    assert np.all(events["local_ns"] - events["exch_ns"] == FEED_LATENCY_NS)
    assert meta.outcome == ("yes" if events[-1]["qty"] else "no")
    assert events[-2]["exch_ns"] == meta.close_ns
    path = tmp_path / "tape.parquet"
    write_tape(path, events, meta)
    back = read_tape(path)
    assert back.meta == meta and back.events.tobytes() == events.tobytes()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("short_dated", "few_makers")])
def test_default_filters_find_most_regimes_quotable(name: str) -> None:
    """At least 2 cents of spread and $5,000 within 10 cents of mid, most of the time (spec 2)."""
    events, _ = synthetic_market(1, name)
    spreads, dollars = touch_samples(events, 60)
    assert np.mean([s >= 200 and usd >= 5_000 for s, usd in zip(spreads, dollars, strict=True)]) > 0.5


def test_ten_names_and_what_they_promise() -> None:
    assert len(set(NAMES)) == len(REGIMES) == 10
    assert regime("short_dated").hours == 0.25
    assert {synthetic_market(seed, "trending_yes").meta.outcome for seed in range(3)} == {"yes"}
    assert {synthetic_market(seed, "trending_no").meta.outcome for seed in range(3)} == {"no"}


def test_seed_and_regime_decide_the_bytes() -> None:
    assert synthetic_market(1, "calm").events.tobytes() == synthetic_market(1, "calm").events.tobytes()
    assert synthetic_market(1, "calm").events.tobytes() != synthetic_market(2, "calm").events.tobytes()


def test_unknown_regime_and_negative_seed_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown regime 'stormy'.*calm"):
        synthetic_market(1, "stormy")
    with pytest.raises(UsageError, match="seed -1 is negative"):
        synthetic_market(-1, "calm")


# What only fitted regimes use, and the value that turns it off.
FITTED_ONLY = {
    "rung_slope": 0.0,
    "rung_curve": 0.0,
    "rung_hump": 0.0,
    "rung_first": 0.0,
    "rung_trim": 0.0,
    "noise_thrift": 0.0,
    "depth_sigma": 0.0,
    "depth_leave": 0.0,
    "depth_inside": 0.0,
    "depth_follow": 0.0,
    "pull": 0.0,
    "news_tail": 0.0,
    "alert": 0.0,
    "herding": 0.0,
    "retreat_rate": 0.0,
}


def test_regimes_chosen_by_hand_stay_as_they_were() -> None:
    """What was added for fitted ones is off in them, and off means that the other numbers change nothing."""
    for one in REGIMES:
        assert {key: getattr(one, key) for key in FITTED_ONLY} == FITTED_ONLY
    short = msgspec.structs.replace(regime("short_dated"), hours=0.02)
    idle = msgspec.structs.replace(
        short, rung_hump_at=5.0, herd_memory=9.0, retreat_cents=9.0, retreat_seconds=0.1
    )
    assert market_tape(4, idle).events.tobytes() == market_tape(4, short).events.tobytes()
    off = msgspec.structs.replace(short, news_rate=900.0, rung_slope=-0.2)
    for key in FITTED_ONLY:
        value = {"retreat_rate": 900.0, "rung_curve": 0.05, "rung_slope": 0.1}.get(key, 0.5)
        on = msgspec.structs.replace(off, **{key: value})
        assert market_tape(4, on).events.tobytes() != market_tape(4, off).events.tobytes(), key
