"""`pr3dict quote`: the requirement's worked examples as a user sees them, and one sentence for a bad flag."""

import json
from decimal import Decimal

import pytest

from pr3dict.cli.main import run


@pytest.fixture
def quote(capsys):
    """Run `pr3dict quote --json` with flags given as one text and return the object it prints."""

    def command(flags: str) -> dict:
        assert run(["quote", *flags.split(), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return command


@pytest.mark.parametrize(
    ("flags", "spread"),
    [
        ("--liquidity 20000 --hours 72 --net 5", "0.04"),
        ("--liquidity 6000 --hours 48 --net 0", "0.06"),
        ("--liquidity 15000 --hours 3 --net 0", "0.08"),
        ("--liquidity 12000 --hours 24 --net 25", "0.078"),
        ("--liquidity 6000 --hours 3 --net 25 --volatile", "0.12"),
    ],
)
def test_spread_table(quote, flags, spread):
    assert quote(f"--fair 0.50 {flags}")["spread"] == spread


@pytest.mark.parametrize(
    ("net", "skew", "bid", "ask"), [(25, "-0.02", "0.46", "0.5"), (-25, "0.02", "0.5", "0.54")]
)
def test_skew_alone(quote, net, skew, bid, ask):
    answer = quote(f"--fair 0.50 --liquidity 20000 --hours 72 --net {net} --set inventory_multiplier=1")
    assert answer["spread"] == "0.04"
    assert answer["unskewed"] == {"bid": "0.48", "ask": "0.52"}
    assert answer["skew"] == skew
    assert answer["skewed"] == {"bid": bid, "ask": ask}


def test_whole_pipeline_at_plus_25(quote):
    answer = quote("--fair 0.50 --liquidity 12000 --hours 24 --net 25")
    assert answer["skewed"] == {"bid": "0.441", "ask": "0.519"}
    assert (answer["bid"], answer["ask"], answer["bid_size"], answer["ask_size"]) == (
        None,
        "0.52",
        None,
        "10",
    )
    assert answer["state"] == "rebalancing"
    assert [term["name"] for term in answer["terms"]] == [
        "base_spread",
        "low_liquidity",
        "high_volatility",
        "time_to_close",
        "inventory",
        "markouts",
        "news",
        "clamp",
        "skew",
    ]
    assert answer["reasons"] == ["skewed", "rebalancing"]


@pytest.mark.parametrize(
    ("net", "state", "sides"),
    [
        (10, "normal", "bid ask"),
        (11, "skewed", "bid ask"),
        (20, "skewed", "bid ask"),
        (21, "rebalancing", "ask"),
        (50, "rebalancing", "ask"),
        (51, "forced_exit", "ask"),
        (-21, "rebalancing", "bid"),
        (-51, "forced_exit", "bid"),
    ],
)
def test_state_table(quote, net, state, sides):
    answer = quote(f"--fair 0.50 --liquidity 20000 --hours 100 --net {net}")
    assert answer["state"] == state
    assert " ".join(side for side in ("bid", "ask") if answer[side] is not None) == sides


@pytest.mark.parametrize(("net", "size"), [(6, "1"), (-8, "3")])
def test_a_position_too_large_so_near_resolution_is_forced_out(quote, net, size):
    answer = quote(f"--fair 0.50 --liquidity 20000 --hours 0.2 --net {net}")
    assert (answer["state"], answer["exit"]) == ("forced_exit", True)
    assert answer["ask_size" if net > 0 else "bid_size"] == size


def test_preset_file_and_set_in_their_order(quote, tmp_path):
    file = tmp_path / "mm.toml"
    file.write_text("[market_making]\nbase_spread = 0.05\nquote_size = 7\n")
    answer = quote(f"--fair 0.5 --preset conservative --config {file} --set quote_size=8")
    assert (answer["spread"], answer["bid_size"]) == ("0.05", "8")
    assert quote("--fair 0.5 --preset conservative")["spread"] == "0.06"


def test_tick_and_touch(quote):
    assert quote("--fair 0.5123 --tick 0.001")["bid"] == "0.492"
    answer = quote("--fair 0.50 --best-bid 0.40 --best-ask 0.47")
    assert answer["bid"] == "0.46"
    assert "bid_clamped_post_only" in answer["reasons"]


@pytest.mark.parametrize(("fair", "bid", "ask"), [("0.018", None, "0.04"), ("0.982", "0.96", None)])
def test_a_side_off_the_grid_is_not_quoted(quote, fair, bid, ask):
    answer = quote(f"--fair {fair}")
    assert (answer["bid"], answer["ask"]) == (bid, ask)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--fair 0", "fair 0 is outside (0, 1)"),
        ("--fair 1.2", "fair 1.2 is outside (0, 1)"),
        ("--fair nan", "fair nan is not a finite number"),
        ("--fair x", "fair 'x' is not a number"),
        ("--fair 0.5 --liquidity -1", "liquidity -1 is outside"),
        ("--fair 0.5 --hours -1", "hours -1 is outside"),
        ("--fair 0.5 --net inf", "net inf is not a finite number"),
        ("--fair 0.5 --tick 0.03", "tick 0.03 does not divide"),
        ("--fair 0.5 --best-bid 0.4", "one side of the book is missing"),
        ("--fair 0.5 --best-bid 0.6 --best-ask 0.4", "best bid 0.6 is not below best ask 0.4"),
        ("--fair 0.5 --preset agressive", "preset: there is no preset 'agressive'; did you mean aggressive?"),
        (
            "--fair 0.5 --set base_spreed=1",
            "--set base_spreed: there is no such setting; did you mean base_spread?",
        ),
        ("--fair 0.5 --set base_spread=nan", "--set base_spread: nan is not allowed"),
        ("--fair 0.5 --set min_spread=0.05", "--set min_spread: 0.05 is above base_spread 0.04"),
        ("--fair 0.5 --set base_spread", "--set 'base_spread' is not key=value"),
        ("--fair 0.5 --config no-such.toml", "no-such.toml: No such file or directory"),
        ("--fair 0.5 --nett 3", "No such option: --nett"),
        ("", "Missing option '--fair'"),
    ],
)
def test_a_bad_flag_is_one_sentence_and_code_2(capsys, flags, sentence):
    assert run(["quote", *flags.split(), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert sentence in printed.err
    assert printed.err.count("\n") == 1


def test_for_a_person_each_term_is_explained(capsys):
    assert run(["quote", "--fair", "0.50", "--liquidity", "12000", "--hours", "24", "--net", "25"]) == 0
    text = capsys.readouterr().out
    for words in (
        "x1.3",
        "0.078",
        "$0.441",
        "10 @ $0.52",
        "rebalancing",
        "times beyond inventory_skew_threshold",
    ):
        assert words in text


def test_json_numbers_are_exact_decimal_strings(quote):
    answer = quote("--fair 0.333333 --set base_spread=0.041235")
    assert Decimal(answer["skewed"]["bid"]) == Decimal("0.333333") - Decimal("0.020618")
    assert isinstance(answer["spread"], str)


REWARDED = "--fair 0.5 --reward-spread 0.045 --reward-min-size 20 --reward-day 5000 --reward-others 500"


def terms_of(answer):
    return {term["name"]: (term["value"], term["effect"]) for term in answer["terms"]}


def test_rewards_are_explained_term_by_term(quote):
    plain = quote(REWARDED)
    assert not any(name.startswith("reward") for name in terms_of(plain))
    answer = quote(f"{REWARDED} --set rewards=optimise --set min_spread=0.001")
    terms = terms_of(answer)
    assert (answer["bid"], answer["bid_size"]) == ("0.49", "20")
    assert terms["reward_bid"] == ("0.49", "+0.01")
    assert terms["reward_ask"] == ("0.51", "-0.01")
    edge, income = Decimal(terms["reward_edge"][0]), Decimal(terms["reward_income"][0])
    assert Decimal(terms["reward_edge"][1]) < 0 < Decimal(terms["reward_income"][1])
    # 20 contracts at 1 cent of 4.5: (3.5/4.5)^2 x 20 = 12.1 beside 500; $5,000 a day is $208.33 an hour
    assert income == pytest.approx(Decimal("4.92"), abs=Decimal("0.01"))
    # 60 fills of 10 (20 where it loses), exp(-0.8), and c = 0.02 - 0.0125 = 0.0075: a gain of 0.0025 each
    assert edge == pytest.approx(2 * 600 * Decimal("0.449329") * Decimal("0.0025"), abs=Decimal("0.001"))
    assert {"bid_moved_for_rewards", "ask_raised_for_rewards"} <= set(answer["reasons"])


@pytest.mark.parametrize("flags", ["--reward-spread 0", "--reward-spread 0.03 --reward-min-size x"])
def test_terms_that_no_market_has_are_refused(capsys, flags):
    assert run(["quote", "--fair", "0.5", *flags.split()]) == 2
    assert "reward" in capsys.readouterr().err
