from __future__ import annotations

import pytest

from pr3dict.domain import errors
from pr3dict.domain.errors import ConfigError, DataError, Pr3dictError, RiskStop, UsageError, WorkError


@pytest.mark.parametrize(
    ("kind", "code"), [(UsageError, 2), (ConfigError, 2), (DataError, 2), (WorkError, 1), (RiskStop, 3)]
)
def test_every_error_carries_its_exit_code(kind: type[Pr3dictError], code: int) -> None:
    assert issubclass(kind, Pr3dictError)
    assert kind("what happened").exit_code == code


def test_the_drawn_tree_names_every_class() -> None:
    assert errors.__doc__ is not None
    for name, member in vars(errors).items():
        if isinstance(member, type) and issubclass(member, Pr3dictError):
            assert name in errors.__doc__


def test_a_data_error_names_its_place_from_outside_in() -> None:
    error = DataError("price 2 is outside 0 to 1 dollar").at(file="a.csv").at(row=7, key="price")
    assert str(error) == "a.csv: row 7: price: price 2 is outside 0 to 1 dollar"
    assert (error.file, error.row, error.key) == ("a.csv", 7, "price")


def test_the_inner_place_wins() -> None:
    assert str(DataError("bad", row=3).at(file="a.csv", row=9)) == "a.csv: row 3: bad"


def test_a_config_error_names_its_key() -> None:
    assert str(ConfigError("0.05 is above base_spread 0.04", key="min_spread")).startswith("min_spread: ")
    assert str(ConfigError("no file given")) == "no file given"
