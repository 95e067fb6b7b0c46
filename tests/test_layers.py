"""The layers of the house, held by import-linter, and the proof that it would notice a break."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())",
    ]
    # `-c` puts the working folder first on the path, so the copy's sources are the ones that are read.
    return subprocess.run(
        command, cwd=folder / "src", capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def house(tmp_path: Path, repo_root: Path) -> Path:
    """A copy of the sources with the contracts beside them."""
    shutil.copytree(repo_root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repo_root / "pyproject.toml", tmp_path / "src" / "pyproject.toml")
    return tmp_path


def test_every_contract_is_kept(house: Path):
    done = lint(house)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("domain/units.py", "import pr3dict.kernels.dtypes", "imports go down the layers only"),
        ("kernels/dtypes.py", "import pr3dict.strategies", "imports go down the layers only"),
        ("runtime/__init__.py", "import pr3dict.cli.output", "imports go down the layers only"),
        ("venues/wire.py", "import pr3dict.store", "imports go down the layers only"),
        ("venues/kalshi/__init__.py", "import pr3dict.venues.polymarket", "venues never import each other"),
        ("domain/units.py", "import numpy", "the domain needs the standard library and msgspec only"),
        ("kernels/dtypes.py", "import time", "no clock, randomness, network or thread in the brain"),
        ("analytics/__init__.py", "import rich", "tapes are read in store, screens are written in cli"),
    ],
)
def test_a_break_is_noticed(house: Path, file: str, line: str, contract: str):
    path = house / "src" / "pr3dict" / file
    path.write_text(path.read_text() + f"\n{line}\n")
    done = lint(house)
    assert done.returncode == 1, done.stdout
    assert f"{contract} BROKEN" in done.stdout


def test_every_room_has_its_layer(repo_root: Path):
    contracts = tomllib.loads((repo_root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "layers")["layers"]
    apart = next(contract for contract in contracts if contract["id"] == "venues")["modules"]
    venues = (repo_root / "src" / "pr3dict" / "venues").glob("*/__init__.py")
    assert set(apart) == {f"pr3dict.venues.{path.parent.name}" for path in venues}
    named = {room.strip() for layer in layers for room in layer.split(":")}
    rooms = {path.parent.name for path in (repo_root / "src" / "pr3dict").glob("*/__init__.py")}
    assert named == rooms
