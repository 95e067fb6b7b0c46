"""Comparisons: noise is called noise, a planted difference is found, and what can't be compared is said."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest

from pr3dict.analytics import comparison as c
from pr3dict.domain.errors import DataError

PLANTED = Decimal("0.002")  # dollars a contract


def run_of(blocks, *, shift: Decimal = Decimal(0), **changes) -> c.Run:
    """A run with blocks (event, day, net, contracts) in dollars and contracts."""
    rows = [
        {
            "market": event,
            "session": "s",
            "event": event,
            "day": day,
            "net": f"{Decimal(f'{net:.6f}') + round(shift * Decimal(f'{size:.2f}'), 6):f}",
            "contracts": f"{size:.2f}",
            "fills": 1,
        }
        for event, day, net, size in blocks
    ]
    text = {
        "version": "1", "preset": "default", "policy": "pr3dict", "settings": {}, "queue": "power3",
        "queue_power": 3.0, "latency_ms": 50, "fees_schedule": "none", "cash": "10000.00",
        "trades": "recorded", "synthetic": False,
        "pnl": {"net": str(sum(Decimal(row["net"]) for row in rows))}, "fills": len(rows),
        "contracts_filled": float(sum(Decimal(row["contracts"]) for row in rows)),
        "spread_per_contract": "0.01",
        "markouts": {"1s": "-0.01", "300s": None}, "two_sided_uptime": 0.5, "max_drawdown": "12.00",
        "per_market": [
            {"venue": "kalshi", "ticker": t, "session": "s", "first_ns": 1, "last_ns": 2}
            for t in dict.fromkeys(row["market"] for row in rows)
        ],
        "blocks": rows, **changes,
    }  # fmt: skip
    return c.read_run(json.dumps(text).encode(), "run.json")


def pair(seed: int, n: int, *, luck: float, shift: Decimal = Decimal(0)) -> tuple[c.Run, c.Run]:
    """Two runs of one policy over heavy-tailed markets; the second earns `shift` a contract more."""
    rng = np.random.default_rng(seed)
    size = np.round(300 * np.exp(rng.normal(0, 1, n)), 2)
    market = 3 * rng.standard_t(2, n)
    own = luck * np.sqrt(size)[:, None] * rng.standard_t(2, (n, 2))
    other = np.round(size * np.exp(rng.normal(0, 0.02, n)), 2)
    names = [(f"E{k // 2}", f"2026-05-{1 + k % 2:02d}") for k in range(n)]
    first = run_of([(*key, net, s) for key, net, s in zip(names, market + own[:, 0], size, strict=True)])
    second = [(*key, net, s) for key, net, s in zip(names, market + own[:, 1], other, strict=True)]
    return first, run_of(second, shift=shift)


def verdict(first: c.Run, second: c.Run) -> c.Comparison:
    return c.compare(["A", "B"], [first, second], np.random.default_rng(1), resamples=999)[0]


@pytest.mark.parametrize("n", [12, 45])
def test_two_runs_of_one_policy_are_noise_in_at_least_94_of_100(n):
    found = [verdict(*pair(seed, n, luck=0.05)) for seed in range(100)]
    assert sum(one.verdict == c.NOISE for one in found) >= 94
    assert {one.blocks for one in found} == {n}


def test_a_planted_difference_of_a_fifth_of_a_cent_is_found():
    found = [verdict(*pair(seed, 45, luck=0.005, shift=PLANTED)) for seed in range(100)]
    assert sum(one.verdict == c.DIFFERENCE and one.net.estimate > 0 for one in found) >= 90
    covered = sum(one.per_contract.low <= float(PLANTED) <= one.per_contract.high for one in found)
    assert covered >= 90
    assert all(one.sentence.startswith("B earns more") for one in found if one.verdict == c.DIFFERENCE)


def test_the_difference_is_that_of_the_runs_and_turns_its_sign():
    first, second = pair(3, 30, luck=0.05, shift=PLANTED)
    there, back = verdict(first, second), verdict(second, first)
    assert there.net.estimate == pytest.approx((second.net_micros - first.net_micros) / 1e6)
    assert there.per_contract.estimate == pytest.approx(second.net_per_contract - first.net_per_contract)
    assert (there.net.low, there.net.high) == pytest.approx((-back.net.high, -back.net.low))
    assert there.p_value == pytest.approx(back.p_value, abs=0.02)


def test_the_same_run_twice_is_noise_with_nothing_between():
    first, _ = pair(1, 20, luck=0.1)
    same = verdict(first, first)
    assert (same.verdict, same.p_value) == (c.NOISE, 1.0)
    assert "the same in each of 20 blocks" in same.sentence


def test_too_few_blocks_are_said_to_be_too_few():
    few = verdict(*pair(1, c.MIN_BLOCKS - 1, luck=0.01, shift=Decimal(1)))
    assert few.verdict == c.TOO_FEW
    assert "7 (events on a trading day)" in few.sentence
    assert few.net is None


def test_a_lead_in_a_few_blocks_only_is_noise():
    first, _ = pair(1, 20, luck=0.1)
    rows = [
        (b.event, b.day, float(b.net) + (9 if k < 5 else 0), float(b.contracts))
        for k, b in enumerate(first.blocks)
    ]
    found = verdict(first, run_of(rows))
    assert found.verdict == c.NOISE
    assert "5 of 20 blocks only" in found.sentence


def test_markets_of_one_event_share_a_block_and_idle_blocks_do_not_count():
    rows = [("E", "2026-05-01", 1.0, 10.0), ("E", "2026-05-01", 2.0, 5.0), ("E", "2026-05-02", 0.0, 0.0)]
    blocks, missing = c.paired_blocks(run_of(rows), run_of(rows[1:]))
    assert blocks == [[3_000_000, 15_000_000, 2_000_000, 5_000_000]]
    assert missing == (0, 0)


def test_missing_blocks_count_as_nothing_and_are_said():
    first, second = pair(2, 20, luck=0.05)
    kept = [
        (b.event, b.day, float(b.net), float(b.contracts)) for b in second.blocks if b != second.blocks[7]
    ]
    found = verdict(first, run_of(kept))
    assert found.blocks == 20
    assert found.notes == ("1 blocks of A are missing in B: counted there as no contract and no profit.",)


def test_other_tapes_are_not_compared():
    first, second = pair(2, 20, luck=0.05)
    cut = [(b.event, b.day, float(b.net), float(b.contracts)) for b in second.blocks if b.event != "E3"]
    found = verdict(first, run_of(cut))
    assert found.verdict == c.NOT_COMPARED
    assert "A replays 1 tapes that B does not" in found.sentence
    assert found.to_json()["net"] is None


def test_more_runs_raise_the_bar():
    first, second = pair(2, 30, luck=0.05)
    for names in (2, 5):
        runs = [first, *[second] * (names - 1)]
        found = c.compare([str(k) for k in range(names)], runs, np.random.default_rng(1))
        assert [one.name for one in found] == [str(k) for k in range(1, names)]
    near = c.Interval(9.0, 1.0, 17.0), c.Interval(0.01, 0.0, 0.02)
    assert c._judge("A", "B", *near, 0.02, c.CALLED)[0] == c.DIFFERENCE
    verdict_of_four, sentence = c._judge("A", "B", *near, 0.02, c.CALLED / 4)
    assert verdict_of_four == c.NOISE
    assert "a difference is called at p <= 0.005 only, here p = 0.020" in sentence


@pytest.mark.parametrize(
    ("net", "each", "p_value", "lead", "rest"),
    [
        (
            (-9.0, -17.0, -1.0), (0.0, -0.01, 0.01), 0.01,
            "B earns less than A by $9.00 (95% interval $1.00 to $17.00), p = 0.010; ",
            "a contract 0.00c (95% interval -1.00c to 1.00c, noise).",
        ),
        (
            (-9.0, -17.0, 1.0), (0.002, 0.001, 0.003), 0.0002,
            "B earns more a contract than A by 0.20c (95% interval 0.10c to 0.30c), p < 0.001; ",
            "in total -$9.00 (95% interval -$17.00 to $1.00, noise).",
        ),
        (
            (9.0, -1.0, 19.0), (0.002, -0.001, 0.005), 0.018,
            "B earns more than A by $9.00 (95% interval -$1.00 to $19.00), p = 0.018; ",
            "a contract 0.20c (95% interval -0.10c to 0.50c, noise).",
        ),
        (
            (9.0, -1.0, 19.0), (0.002, -0.001, 0.005), 0.3,
            "noise: B less A is $9.00 (95% interval -$1.00 to $19.00), ",
            "0.20c (95% interval -0.10c to 0.50c) a contract.",
        ),
    ],
)  # fmt: skip
def test_sentences_say_what_differs(net, each, p_value, lead, rest):
    found = c._judge("A", "B", c.Interval(*net), c.Interval(*each), p_value, c.CALLED)
    assert found == (c.NOISE if lead.startswith("noise") else c.DIFFERENCE, lead + rest)


def test_what_differs_between_runs_is_listed():
    rows = [("E", "2026-05-01", 1.0, 10.0)]
    one, other = run_of(rows), run_of(rows, latency_ms=80, settings={"base_spread": "0.03"})
    assert c.differing([one, other]) == {"latency_ms": ["50", "80"], "base_spread": ["default", "0.03"]}
    assert c.differing([one, one]) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not the JSON of a backtest"),
        (b"[1]", "not the JSON of a backtest"),
        (b'{"version": "1"}', "not the JSON of a backtest"),
        (b"\xff\xfe", "not the JSON of a backtest"),
    ],
)
def test_another_file_is_refused(text, words):
    with pytest.raises(DataError, match=words) as caught:
        c.read_run(text, "x.json")
    assert str(caught.value).startswith("x.json: ")


def test_blocks_that_do_not_add_up_are_refused():
    with pytest.raises(DataError, match=r"add up to \$1\.00 and its net is \$2\.00"):
        run_of([("E", "2026-05-01", 1.0, 10.0)], pnl={"net": "2.00"})
    with pytest.raises(DataError, match=r"run\.json: .*not a plain decimal"):
        run_of([("E", "2026-05-01", 1.0, 10.0)], pnl={"net": "lots"})
