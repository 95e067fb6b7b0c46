"""The manual is what the settings and the table of breakers say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pr3dict.cli.settings_reference import render
from pr3dict.risk.breaker_table import BREAKERS
from pr3dict.risk.gate import ABSURD
from pr3dict.risk.limits import RiskConfig

ROOT = Path(__file__).resolve().parents[2]
GATE = (ROOT / "src" / "pr3dict" / "risk" / "gate.py").read_text(encoding="utf-8")
MANUAL = (ROOT / "docs" / "risk.md").read_text(encoding="utf-8")


def test_the_page_of_settings_is_up_to_date():
    page = (ROOT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    assert page == render(), "run `make docs`"
    assert [key for key in RiskConfig.model_fields if f"| `{key}` |" not in page] == []


def section(name):
    match = re.search(rf"^### {name}\n(.*?)(?=^#|\Z)", MANUAL, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


@pytest.mark.parametrize("row", BREAKERS.values(), ids=lambda row: row.name)
def test_each_breaker_has_its_runbook(row):
    """A heading that its alert can point to, and its row as the table in the source has it."""
    assert f"\n{row.action.capitalize()}, {row.severity}" in f"\n{section(row.name)}".replace("\n\n", "\n")
    assert "What to do:" in section(row.name)
    for setting in filter(None, (row.threshold, row.window)):
        assert f"`{setting}`" in section(row.name)


def test_the_manual_knows_every_refusal_and_every_breaker_by_its_name():
    codes = set(re.findall(r'Refusal\(\s*"([a-z_]+)"', GATE)) | ABSURD
    codes |= set(re.findall(r'\("([a-z_]+)", (?:self\._|portfolio|facts)', GATE))
    assert {"killed", "market_loss", "heat", "rate_minute", "price_collar", "cash", "own_cross"} <= codes
    assert [code for code in sorted(codes) if f"| `{code}` |" not in MANUAL] == []
    assert set(re.findall(r"^### (\w+)$", MANUAL, re.MULTILINE)) >= set(BREAKERS)


def test_settings_that_the_manual_names_exist():
    gate = MANUAL.partition("## Breakers")[0]
    named = set(re.findall(r"`((?:max|min)_\w+|price_collar|refuse_crossing)`", gate))
    strategy = {"max_portfolio_heat", "max_inventory", "max_position_size", "max_order_size", "min_size"}
    assert named - set(RiskConfig.model_fields) - strategy == set()
