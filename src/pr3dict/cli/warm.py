"""`pr3dict warm`: compile every kernel into the disk cache and drop what older sources left there."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from pr3dict.cli.output import console, messages, print_json
from pr3dict.kernels.jit import cache_dir, used_folders
from pr3dict.kernels.warm import warm

KEEP_STALE_S = 24 * 3600  # another checkout may still be using a folder that young


def remove_stale(root: Path, used: set[Path], *, now_s: float) -> list[Path]:
    """Remove the folders below the cache `root` that are not `used` and were not written to for a day.

    Returns the folders that are gone. A folder that can't be removed is left: the cache is only a cache.
    """
    removed = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder in used or not folder.is_dir() or now_s - folder.stat().st_mtime < KEEP_STALE_S:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            removed.append(folder)
    return removed


def warm_command(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compile every kernel into the disk cache, so that no later command waits for it."""
    if not json_output:
        messages.print("Compiling the kernels (up to two minutes the first time)...")
    started_s = time.perf_counter()
    kernels = warm()
    elapsed_s = time.perf_counter() - started_s
    removed = remove_stale(cache_dir(), used_folders, now_s=time.time())
    compiled = sum(kernel.compiled for kernel in kernels)
    if json_output:
        print_json(
            {
                "kernels": len(kernels),
                "compiled": compiled,
                "loaded": sum(kernel.loaded for kernel in kernels),
                "elapsed_s": round(elapsed_s, 3),
                "cache": cache_dir(),
                "stale_removed": len(removed),
            }
        )
        return
    modules = Counter(kernel.name.partition(".")[0] for kernel in kernels if kernel.compiled)
    for module, functions in sorted(modules.items()):
        console.print(f"  {module}: {functions} compiled")
    state = f"{compiled} versions compiled" if compiled else "all from the cache"
    console.print(f"{len(kernels)} kernels ready in {elapsed_s:.1f} s, {state}")
    console.print(f"cache: {cache_dir()}", soft_wrap=True)
    if removed:
        console.print(f"removed {len(removed)} cache folders of older sources")
