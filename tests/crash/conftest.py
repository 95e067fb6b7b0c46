"""One zygote for all crash tests: loading the program takes longer than most lives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from rig import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    with Zygote(tmp_path_factory.mktemp("state")) as found:
        yield found
