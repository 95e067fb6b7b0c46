"""The manual page of the settings is what the settings say."""

from pathlib import Path

from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.reference import render

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "config.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8").startswith(render()), "run `make docs`"


def test_the_page_names_every_setting():
    page = render()
    assert [key for key in MarketMakingConfig.model_fields if f"| `{key}` |" not in page] == []
