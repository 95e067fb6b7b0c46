"""The import benchmark at a tiny size: the keys of its line, and that the hour it generates is consistent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_import_pmxt(repo_root: Path, tmp_path: Path) -> None:
    script = repo_root / "benchmarks" / "import_pmxt.py"
    kept = tmp_path / "hour.parquet"
    done = subprocess.run(
        [sys.executable, str(script), "--megabytes", "0.3", "--markets", "12", "--file", str(kept)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {
        *(
            "rows",
            "file_bytes",
            "rows_per_s",
            "rows_per_cpu_s",
            "tapes",
            "elapsed_s",
            "cpu_s",
            "peak_rss_bytes",
        ),
        *("events", "trades", "markets", "snapshots_checked", "snapshots_equal"),
        *("mirror_checked", "mirror_equal"),
    }
    assert result["file_bytes"] == kept.stat().st_size
    assert result["rows"] > 5_000 and result["tapes"] == result["markets"] == 12
    assert result["snapshots_checked"] == result["snapshots_equal"] > 0
    assert result["mirror_checked"] == result["mirror_equal"] > 0
    assert result["trades"] > 0
    assert abs(result["rows"] / result["elapsed_s"] - result["rows_per_s"]) <= 1
    assert 50_000_000 < result["peak_rss_bytes"] < 1 << 30
