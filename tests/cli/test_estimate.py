"""`pr3dict estimate`: the requirement's revenue model, in figures that add up exactly."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pr3dict.cli.estimate import Assumptions, breakeven_win_rate, estimate, expected_value
from pr3dict.cli.main import run

EXPECTED = {
    "fills_per_hour": 4800,
    "gross_per_hour": "96.00",
    "gross": "768.00",
    "fees": "384.00",
    "adverse_selection": "76.80",
    "inventory": "38.40",
    "net": "268.80",
}


@pytest.fixture
def answer(capsys):
    def command(flags: str = "") -> dict:
        assert run(["estimate", *flags.split(), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return command


@pytest.mark.parametrize(
    "flags", ["", "--quotes-per-scan 200 --fill-rate 0.2", "--fills-per-scan 40 --hours 8"]
)
def test_the_requirement_s_example(answer, flags):
    printed = answer(flags)
    assert {key: printed[key] for key in EXPECTED} == EXPECTED
    assert "assumptions" in printed["note"]
    assert printed["measured"] is None


def test_every_assumption_changes_the_answer(answer):
    before = answer()
    for flag in (
        "--fills-per-scan 41",
        "--scans-per-hour 121",
        "--contract-value 0.51",
        "--spread 0.05",
        "--hours 9",
        "--fee-per-fill 0.02",
        "--adverse 0.2",
        "--inventory 0.06",
    ):
        assert answer(flag)["net"] != before["net"], flag


def test_winning_often_is_not_earning():
    win, loss = Decimal("0.02"), Decimal("0.48")
    assert breakeven_win_rate(win, loss) == Decimal("0.96")
    assert expected_value(Decimal("0.95"), win, loss) == Decimal("-0.005")


def test_break_even_follows_from_the_assumptions(answer):
    assert answer()["breakeven_win_rate"] == "0.96"


FIGURES = st.decimals(min_value=0, max_value=1000, places=2)
SHARES = st.decimals(min_value=0, max_value=1, places=3)


@given(FIGURES, FIGURES, SHARES, SHARES, FIGURES, FIGURES, SHARES, SHARES)
def test_parts_add_up_exactly(fills, scans, value, spread, hours, fee, adverse, inventory):
    result = estimate(Assumptions(fills, scans, value, spread, hours, fee, adverse, inventory))
    assert result.gross - result.fees - result.adverse_selection - result.inventory == result.net
    assert result.gross_per_hour * hours == result.gross
    assert 0 <= result.breakeven_win_rate <= 1


RUN = {
    "fills": 12,
    "contracts_filled": "120",
    "pnl": {
        "net": "3.50",
        "gross_spread": "6.10",
        "inventory": "-1.00",
        "adverse_selection": "-1.20",
        "fees": "-0.40",
    },
}


def test_measured_figures_stand_beside(answer, capsys, tmp_path):
    file = tmp_path / "run.json"
    file.write_text(json.dumps(RUN))
    measured = answer(f"--measured {file}")["measured"]
    assert measured == {
        "fills": "12",
        "contracts": "120",
        "gross": "6.1",
        "fees": "-0.4",
        "net": "3.5",
        "adverse_selection": "-1.2",
        "inventory": "-1",
    }
    assert run(["estimate", "--measured", str(file)]) == 0
    text = capsys.readouterr().out
    for words in ("measured", "$268.80", "$3.50", "$0.2917", "assumptions"):
        assert words in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No such file or directory"),
        ("{", "not a JSON text"),
        ("[]", "holds no `pnl`"),
        ('{"pnl": 3}', "holds no `pnl`"),
        (json.dumps(RUN | {"fills": None}), "fills: None is no number"),
        (json.dumps(RUN | {"pnl": RUN["pnl"] | {"net": "NaN"}}), "net: NaN is no number"),
    ],
)
def test_a_measured_file_that_is_none_is_named(capsys, tmp_path, content, sentence):
    file = tmp_path / "run.json"
    if content is not None:
        file.write_text(content)
    assert run(["estimate", "--json", "--measured", str(file)]) == 2
    error = capsys.readouterr().err
    assert str(file) in error
    assert sentence in error


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--hours nan", "--hours nan is outside 0 to"),
        ("--hours -1", "--hours -1 is outside 0 to"),
        ("--adverse 1.5", "--adverse 1.5 is outside 0 to 1"),
        ("--spread x", "--spread 'x' is not a number"),
        ("--fill-rate 0.2", "--quotes-per-scan and --fill-rate go together"),
        ("--fills-per-scan 3 --quotes-per-scan 9 --fill-rate 0.2", "--fills-per-scan is quotes x fill rate"),
    ],
)
def test_a_bad_flag_is_one_sentence_and_code_2(capsys, flags, sentence):
    assert run(["estimate", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
