"""The small venue and the bodies for the tests beside them; asyncio tests run by `asyncio.run`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    """A helper beside the tests, loaded once."""
    full = f"polymarket_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).parent / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def small() -> ModuleType:
    """The small venue's module."""
    return load("small_venue")


@pytest.fixture(scope="session")
def bodies() -> ModuleType:
    """The bodies' module."""
    return load("bodies")


@pytest.fixture(scope="session")
def trading_of() -> ModuleType:
    """Sessions of the adapter at the stand-in."""
    return load("trading")


TESTS = str(Path(__file__).resolve().parents[2])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)  # so that `standins.*` is found, as beside its own tests
