import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pr3dict.kernels import dtypes as d
from pr3dict.kernels import jit
from pr3dict.kernels import warm as w
from pr3dict.kernels.snapshots import flatten_snapshots

DIGEST = """
import hashlib
from pr3dict.kernels.replay import run
from pr3dict.kernels.snapshots import flatten_snapshots
from pr3dict.kernels.warm import tiny_recording, tiny_world
from pr3dict.kernels.world import FIELDS
world, tape = tiny_world(), flatten_snapshots(tiny_recording())
assert run(world, tape, 1 << 20)
for name in FIELDS[1:]:  # all arrays; the first field holds the grids
    print(name, hashlib.sha256(getattr(world, name).tobytes()).hexdigest())
print("fills", world.stats[0].fills)
"""
COLD = """
from pr3dict.kernels.jit import used_folders
from pr3dict.kernels.warm import warm
print(*(f"{kernel.name}={kernel.compiled}" for kernel in warm()))
print(*sorted({path.name.split("-")[0] for folder in used_folders for path in folder.rglob("*.nbi")}))
"""


def run_python(script: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_tiny_market_lives_to_its_end_and_trades():
    world, tape = w.tiny_world(), flatten_snapshots(w.tiny_recording())
    assert w.run(world, tape, 1 << 20)
    stats = world.stats[0]
    assert stats.settled == 1
    assert stats.fills > 0
    assert stats.cancels > 0
    assert stats.events == len(tape)
    assert (tape["bits"] & d.SYNTHETIC).all()


def test_after_warm_nothing_is_left_to_compile():
    w.warm()
    compiled, on_disk = (set(line.split()) for line in run_python(COLD, NUMBA_DISABLE_JIT="0"))
    names = {word.partition("=")[0] for word in compiled}
    assert len(names) > 150
    assert names - on_disk == set()
    assert {word for word in compiled if not word.endswith("=0")} == set()


def test_plain_python_gives_the_same_bits():
    compiled, plain = (run_python(DIGEST, NUMBA_DISABLE_JIT=disabled) for disabled in ("0", "1"))
    assert compiled == plain
    assert int(compiled[-1].split()[1]) > 0


def test_the_tiny_recording_depends_on_its_seed_only():
    digest = [hashlib.sha256(w.tiny_recording(seed).tobytes()).hexdigest() for seed in (7, 7, 8)]
    assert digest[0] == digest[1]
    assert digest[1] != digest[2]
    assert (np.diff(w.tiny_recording()["exch_ns"]) >= 0).all()


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("from pr3dict.kernels import dtypes as d\n", {"dtypes"}),
        ("from pr3dict.kernels import book as bk, fees\n", {"book", "fees"}),
        ("from pr3dict.kernels import (\n    fees,\n    queue as q,\n)\nimport math\n", {"fees", "queue"}),
        ("    import pr3dict.kernels.fees\n", {"fees"}),
    ],
)
def test_the_cache_key_knows_every_way_to_import(source, modules):
    found = {name.removeprefix("pr3dict.kernels.") for name in jit._imported_modules(source)}
    assert found - {"pr3dict.kernels"} == modules


def test_every_kernel_that_reads_rows_is_keyed_by_their_layout():
    folder = Path(jit.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if re.search(r"import dtypes as d\b", path.read_text()):
            assert "pr3dict.kernels.dtypes" in jit._imported_modules(path.read_text()), path.name
