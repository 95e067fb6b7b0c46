"""Each benchmark runs at a tiny size and ends in one JSON line with the keys that others read."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def last_line(repo_root: Path, script: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark and parse the last line that it prints."""
    done = subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.skipif(
    importlib.util.find_spec("hftbacktest") is None,
    reason="hftbacktest is not installed: it is an extra of the benchmarks (pip install pr3dict[bench])",
)
def test_replay_beside_hftbacktest(repo_root: Path) -> None:
    result = last_line(
        repo_root,
        "replay_vs_hftbacktest.py",
        *("--events", "40000", "--repeats", "1", "--book", "roi_vector", "--events-per-second", "20", "60"),
    )
    assert result.pop("events_per_second") == "20"
    assert result.pop("ratio_by_pace").keys() == {"20", "60"}
    assert set(result) == {"events", "ours_events_per_s", "hftbacktest_events_per_s", "ratio", "models"}
    assert 20_000 < result["events"] < 80_000 and set(result["models"]) == {"risk_averse", "power3"}
    for model in result["models"].values():
        assert result["ratio"] <= model["ratio"]
        assert model["ours_fills"] > 0 and model["hftbacktest_fills"] > 0
        assert model["fills_ratio"] == round(model["ours_fills"] / model["hftbacktest_fills"], 4)
        assert abs(model["ours_final_position"]) <= model["ours_traded"]
        assert abs(model["hftbacktest_final_position"]) <= model["hftbacktest_traded"]
        assert 0 <= model["position_diff_share_of_volume"] <= 1


def test_many_markets(repo_root: Path) -> None:
    result = last_line(repo_root, "many_markets.py", "--markets", "20", "--check", "240")
    assert (result["markets"], result["exclusive_events"], result["violations"]) == (20, 1, 0)
    assert 200 < result["events_checked"] < 300
    assert result["fills"] > 0 and result["peak_rss_bytes"] > 0
    parts = [result[name] for name in ("generate_s", "merge_s", "replay_s")]
    assert min(parts) >= 0 and sum(parts) == pytest.approx(result["total_s"], abs=0.1)


def test_comparison_intervals(repo_root: Path) -> None:
    result = last_line(repo_root, "comparison_intervals.py", "--blocks", "12", "--samples", "10")
    assert set(result) == {"samples", "planted_dollars_a_contract", "by_blocks"}
    methods = {f"{name}_noise_percent" for name in ("compare", "printed", "percentile", "bca", "studentised")}
    assert set(result["by_blocks"]["12"]) == methods | {"planted_found_percent"}
    assert all(0 <= share <= 100 for share in result["by_blocks"]["12"].values())


def test_tick_to_quote(repo_root: Path, data_dir: Path) -> None:
    result = last_line(repo_root, "tick_to_quote.py", "--data", str(data_dir), "--messages", "3000")
    assert set(result) == {"p50_us", "p99_us", "messages", "kalshi", "polymarket"}
    assert result["messages"] == result["kalshi"]["messages"] + result["polymarket"]["messages"] == 5_400
    for venue in ("kalshi", "polymarket"):
        assert 0 < result[venue]["p50_us"] <= result[venue]["p99_us"]
        assert result[venue]["decisions"] > 0 and result[venue]["orders"] > 0


def test_kalshi(repo_root: Path, tmp_path: Path) -> None:
    tiny = ("--orders", "30", "--seconds", "1.5", "--data", str(tmp_path))
    result = last_line(repo_root, "kalshi.py", *tiny)
    assert result["decision"] is None  # without recordings
    for kind in ("rsa_2048", "ed25519"):
        assert 0 < result["send"][kind]["p50_us"] <= result["send"][kind]["p99_us"]
    pacing = result["pacing"]
    assert pacing["requotes"] == 150 == pacing["placed"] + pacing["held_back"]
    assert pacing["rate_limited"] == pacing["refused"] == 0
    assert 0 < pacing["placed"] < 150 and pacing["cancelled"] <= pacing["placed"] + 1


def test_polymarket(repo_root: Path, tmp_path: Path) -> None:
    tiny = ("--orders", "20", "--seconds", "0.5", "--data", str(tmp_path))
    result = last_line(repo_root, "polymarket.py", *tiny)
    assert set(result) == {"decision", "order", "pacing"} and result["decision"] is None
    assert set(result["order"]) == {"orders", "eoa", "deposit_wallet", "session_key"}
    assert 0 < result["order"]["eoa"]["p50_us"] <= result["order"]["deposit_wallet"]["p99_us"]
    pacing = result["pacing"]
    assert pacing["requotes"] == 10 and pacing["placed"] + pacing["held_back"] == 20
    assert pacing["rate_limited"] == pacing["lost"] == pacing["refused"] == 0


def test_tick_to_quote_says_where_recordings_are_missed(repo_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(repo_root / "benchmarks" / "tick_to_quote.py"),
            "--data",
            str(tmp_path / "none"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and "no recordings at" in done.stderr and "Traceback" not in done.stderr


def test_engine(repo_root: Path, data_dir: Path) -> None:
    tiny = ("--messages", "20000", "--burst", "20000", "--hours", "0.05", "--data", str(data_dir))
    result = last_line(repo_root, "engine.py", *tiny)
    assert result["feed"] == 20_000 and result["markets"] >= 1
    assert result["throughput"]["messages"] == 20_000 and result["throughput"]["messages_per_s"] > 0
    assert result["burst"]["messages"] == 95_000 and result["burst"]["books_right"]
    assert result["burst"]["caught_up_after_s"] > 0 and result["memory"]["mib_last"] > 0
    for name in ("throughput", "burst", "memory"):
        assert result[name]["exit_code"] == 0 and result[name]["dropped_rows"] == 0
        assert result[name]["steps"] > 0 and result[name]["orders"] > 0


def test_restart(repo_root: Path) -> None:
    result = last_line(repo_root, "restart.py", "--events", "30000", "--restarts", "1")
    assert 29_000 < result["events"] <= 30_000 and result["snapshots"] == 1
    assert result["restarts"] == 1 and result["folded_p50"] > 0
    assert 0 < result["to_quoting_s_p50"] <= result["to_quoting_s_max"] < 120
