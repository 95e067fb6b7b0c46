import json
import os
import time

import pytest

from pr3dict.cli import warm
from pr3dict.cli.main import run
from pr3dict.kernels.jit import used_folders

NOW_S = 1_800_000_000.0
DAY_S = 24 * 3600


@pytest.fixture
def cache(tmp_path):
    def folder(name: str, age_s: float):
        path = tmp_path / name
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "kernel.nbi").write_text("code")
        os.utime(path, (NOW_S - age_s, NOW_S - age_s))
        return path

    used = folder("book-1", 90 * DAY_S)
    old = folder("book-2", 2 * DAY_S)
    folder("book-3", DAY_S / 2)
    (tmp_path / "a file").write_text("not ours")
    return tmp_path, used, old


def test_only_unused_folders_older_than_a_day_go(cache):
    root, used, old = cache
    assert warm.remove_stale(root, {used}, now_s=NOW_S) == [old]
    assert sorted(path.name for path in root.iterdir()) == ["a file", "book-1", "book-3"]
    assert warm.remove_stale(root, {used}, now_s=NOW_S) == []


def test_no_cache_is_nothing_to_remove(tmp_path):
    assert warm.remove_stale(tmp_path / "missing", set(), now_s=NOW_S) == []


def test_warm_says_what_it_did_and_where(capsys):
    started = time.perf_counter()
    assert run(["warm", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["kernels"] > 150
    assert 0 < answer["elapsed_s"] <= time.perf_counter() - started
    assert {folder.parent for folder in used_folders} == {warm.cache_dir()}
    assert answer["cache"] == str(warm.cache_dir())
    assert run(["warm"]) == 0
    printed = capsys.readouterr()
    assert f"{answer['kernels']} kernels ready" in printed.out
    assert "Compiling" in printed.err
