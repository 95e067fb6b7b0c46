"""The documents are held to the program: files that they name exist, what the program has is described."""

import re
from pathlib import Path

import pytest

from pr3dict.cli.main import COMMANDS
from pr3dict.cli.reference import render
from pr3dict.strategies.config import MarketMakingConfig
from pr3dict.strategies.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "pr3dict"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*(\.(py|md|toml|yaml|txt)|/)|(\.ci/run)")
WRITTEN_AT_RUN_TIME = {".venv/"}


def prose(text: str) -> str:
    return FENCE.sub("", text)


def named_files(text: str) -> list[str]:
    """Files and folders in backticks; what stands in code blocks is the reader's, not ours."""
    return [name for name in CODE.findall(prose(text)) if FILE.fullmatch(name)]


def exists(name: str, beside: Path) -> bool:
    if name in WRITTEN_AT_RUN_TIME or any((home / name).exists() for home in (ROOT, SOURCE, beside)):
        return True
    return "/" not in name and any(SOURCE.rglob(name))  # a document about one room says `errors.py`


def missing_files(text: str, beside: Path) -> list[str]:
    return [name for name in named_files(text) if not exists(name, beside)]


def broken_links(text: str, beside: Path) -> list[str]:
    targets = (target.partition("#")[0] for target in LINK.findall(text) if "://" not in target)
    return [target for target in targets if target and not (beside / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_names_exists(document: Path):
    text = document.read_text(encoding="utf-8")
    assert missing_files(text, document.parent) == []
    assert broken_links(text, document.parent) == []


def test_a_stale_name_is_seen():
    assert missing_files("see `kernels/replay.py`, `kernels/no_such.py` and `no_room/`", ROOT) == [
        "kernels/no_such.py",
        "no_room/",
    ]
    assert missing_files("```\n`tapes/x.md`\n```", ROOT) == []
    assert broken_links("[a](README.md) [b](https://semver.org) [c](docs/no.md#x)", ROOT) == ["docs/no.md"]


def test_the_tour_passes_every_kernel():
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    kernels = {f"kernels/{path.name}" for path in (ROOT / "src/pr3dict/kernels").glob("*.py")}
    helpers = {"kernels/__init__.py", "kernels/flow_rng.py"}
    assert kernels - helpers - set(named_files(tour)) == set()


def test_the_command_reference_is_the_program():
    written = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written == render(), "run `make docs`"


def test_every_command_has_a_chapter_and_stands_in_the_changelog():
    reference = render()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for entry in COMMANDS:
        assert f"\n## pr3dict {entry.name}\n" in reference
        assert f"`pr3dict {entry.name}`" in changelog


def test_every_setting_and_preset_is_described():
    manual = (ROOT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `(\w+)` \|", manual, re.MULTILINE))
    assert set(MarketMakingConfig.model_fields) - described == set()
    assert [name for name in PRESETS if not re.search(rf"\b{name}\b", manual)] == []


def test_every_target_of_the_makefile_that_is_named_exists():
    targets = set(
        re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert targets >= {"setup", "demo", "test", "check", "bench"}
    for document in DOCUMENTS:
        code = " ; ".join([*CODE.findall(document.read_text()), *FENCE.findall(document.read_text())])
        assert set(re.findall(r"\bmake ([a-z-]+)", code)) - targets == set(), document
