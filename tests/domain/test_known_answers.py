"""Cases worked out elsewhere, read from `known_answers.json` beside the recordings; skipped where absent."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from pr3dict.domain import fees, market, units
from pr3dict.domain.inventory import Inventory
from pr3dict.domain.ledger import effective_realized_impact
from pr3dict.domain.units import ASK, BID, NoPrice, YesPrice

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("PR3DICT_DATA", ROOT.parent / "shared" / "data")).parent


def case(name: str) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Inputs, expected values and tolerance of a case."""
    path = FOLDER / "known_answers.json"
    if not path.is_file():
        pytest.skip(f"no known answers at {path}: set PR3DICT_DATA to the recordings' folder beside them")
    found = next(entry for entry in json.loads(path.read_text()) if entry["id"] == name)
    return found["inputs"], found["expected"], found["tolerance"]


def micros(dollars: float) -> int:
    return round(dollars * 10**6)


def price(dollars: float) -> int:
    return units.parse_price(f"{dollars:.4f}")


def test_fee_02_kalshi_maker_fee_to_the_cent() -> None:
    given, expected, _ = case("FEE-02")
    change = fees.KalshiFeeChange(fee_type="quadratic_with_maker_fees", multiplier_ppm=10**6)
    terms = fees.kalshi_schedule([change]).at(0)
    assert terms.maker_ppm == micros(given["rate"])
    for contracts, p, fee in zip(given["contracts"], given["price"], expected["fee"], strict=True):
        size = contracts * units.QTY_SCALE
        fill = fees.charge(terms, price=price(p), size=size, revenue_micros=0, maker=True)
        assert fill.fee_micros == micros(fee)


def test_fee_04_polymarket_curve() -> None:
    given, expected, _ = case("FEE-04")
    size = given["contracts"] * units.QTY_SCALE
    for rate, p, fee in zip(given["category_rate"], given["price"], expected["fee"], strict=True):
        terms = fees.polymarket_terms(micros(rate), 250_000)
        assert fees.charge(
            terms, price=price(p), size=size, revenue_micros=0, maker=False
        ).fee_micros == micros(fee)
        assert fees.charge(terms, price=price(p), size=size, revenue_micros=0, maker=True).fee_micros == 0


@pytest.mark.parametrize("ns", [fees.KALSHI_CENTICENT_NS, fees.KALSHI_MICRO_NS])
@pytest.mark.parametrize(("direct", "key"), [(True, "direct_member_debit"), (False, "non_direct_debit")])
def test_fee_11_debit_of_both_kinds_of_account(ns: int, direct: bool, key: str) -> None:
    given, expected, _ = case("FEE-11")
    change = fees.KalshiFeeChange(fee_type="quadratic", multiplier_ppm=10**6)
    terms = fees.kalshi_schedule([change], direct_member=direct).at(ns)
    size = given["C"] * units.QTY_SCALE
    paid = units.notional_ceil(price(given["P"]), size)
    fill = fees.charge(terms, price=price(given["P"]), size=size, revenue_micros=-paid, maker=False)
    assert paid + fill.fee_micros == micros(expected[key])


def test_fv_02_mid_of_a_book_of_bids() -> None:
    given, expected, _ = case("FV-02")
    yes_bid = YesPrice(price(given["yes_bid"]))
    yes_ask = NoPrice(price(given["no_bid"])).complement()
    assert yes_ask == YesPrice(price(expected["yes_ask"]))
    assert units.mid_micros(yes_bid.units, yes_ask.units) == micros(expected["mid"])


def test_bin_16_outcomes_of_a_mixed_position() -> None:
    given, expected, _ = case("BIN-16")
    held = (
        Inventory()
        .fill(BID, price(given["yes_cost"]), given["yes_qty"] * units.QTY_SCALE, nets=False)
        .fill(ASK, price(1 - given["no_cost"]), given["no_qty"] * units.QTY_SCALE, nets=False)
    )
    assert held.pnl_if_yes_micros == micros(expected["pnl_if_yes"])
    assert held.pnl_if_no_micros == micros(expected["pnl_if_no"])
    assert held.worst_case_micros == micros(expected["worst"])
    assert held.net_position == micros(expected["net"])
    assert held.pairs == micros(expected["matched_pairs"])
    assert held.pair_pnl_micros == micros(expected["riskless_pair_pnl"])


def test_bin_21_rounding_to_the_grid() -> None:
    given, expected, _ = case("BIN-21")
    grid = market.polymarket_grid(price(given["tick"]))
    for (bid, ask), (want_bid, want_ask) in zip(given["raw"], expected["quotes"], strict=True):
        rounded = market.round_quote(grid, micros(bid), micros(ask))
        assert rounded == tuple(None if want is None else price(want) for want in (want_bid, want_ask))


def test_ad_02_huang_stoll_decomposition() -> None:
    given, expected, tolerance = case("AD-02")
    halves = effective_realized_impact(
        (t["d"], micros(t["price"]), micros(t["mid0"]), micros(t["mid_h"]), micros(t["size"]))
        for t in given["trades"]
    )
    measured = {
        "effective_half": halves.effective,
        "realized_half": halves.realized,
        "impact": halves.impact,
    }
    for key, value in measured.items():
        assert abs(value / 10**6 - Fraction(expected[key])) <= tolerance
