"""The one door to numba: `njit` with a disk cache that knows which sources a kernel was compiled from.

numba's cache notices an edit of the file that holds a function, not of other files that it calls. So each
module's machine code lives in a folder named by a hash of its source and of every source that it imports,
directly or not: an edit recompiles just what depends on it. With NUMBA_DISABLE_JIT=1 the same functions run
as plain Python and must give the same answers.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import platformdirs

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE_ROOT = Path(__file__).parents[2]
_FROM = re.compile(r"^\s*from\s+(pr3dict[\w.]*)\s+import\s+(?:\(([^)]*)\)|([\w, ]*))", re.MULTILINE)
_IMPORT = re.compile(r"^\s*import\s+(pr3dict[\w.]*)", re.MULTILINE)

used_folders: set[Path] = set()  # cache folders of the kernels imported by this process


def cache_dir() -> Path:
    """Folder that holds one cache folder a kernel module."""
    root = os.environ.get("PR3DICT_CACHE_DIR") or platformdirs.user_cache_dir("pr3dict")
    return Path(root) / "kernels"


def _source_path(module: str) -> Path | None:
    base = _PACKAGE_ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported_modules(source: str) -> set[str]:
    modules = set(_IMPORT.findall(source))
    for package, several, one_line in _FROM.findall(source):
        modules.add(package)
        names = (name.split() for name in f"{several},{one_line}".split(","))
        modules.update(f"{package}.{words[0]}" for words in names if words)  # `a as b` is module a
    return modules


@functools.cache
def _source(module: str) -> tuple[bytes, frozenset[str]] | None:
    """A module's source, and the modules of this package that it imports; None: it is none of ours."""
    path = _source_path(module)
    if path is None:
        return None
    source = path.read_bytes()
    return source, frozenset(_imported_modules(source.decode()))


@functools.cache
def _module_hash(module: str) -> str:
    """Hash of the sources of `module` and of everything of this package that it imports."""
    digest = hashlib.sha256()
    waiting, seen = [module], {module}
    while waiting:
        found = _source(waiting.pop())
        if found is not None:
            waiting += found[1] - seen
            seen |= found[1]
    for name in sorted(seen):
        found = _source(name)
        if found is not None:
            digest.update(name.encode())
            digest.update(found[0])
    return digest.hexdigest()[:16]


def _choose_folder(function: Callable[..., Any]) -> None:
    """Point numba's cache at the folder of the function's module."""
    module = function.__module__
    if module.startswith("pr3dict."):
        name, digest = module.rpartition(".")[2], _module_hash(module)
    else:  # a script's own strategy: what it calls is below the replay
        name = Path(sys.modules[module].__file__ or module).stem
        digest = _module_hash("pr3dict.kernels.replay")
    folder = cache_dir() / f"{name}-{digest}"
    used_folders.add(folder)
    numba.config.CACHE_DIR = str(folder)


def njit(function: F) -> F:
    """Compile `function` on first call and keep the machine code on disk.

    While it runs, other Python threads may run too: two calls must not write to the same arrays.
    """
    _choose_folder(function)
    compiled: F = numba.njit(cache=True, nogil=True)(function)
    return compiled


def kernel(function: F) -> F:
    """`njit` without reference counts, for code that allocates nothing: all of a replay's inner loop.

    Counting references to the arrays that it touches took nearly half of a replay's time. Arrays are kept
    alive by whoever calls in from Python.
    """
    _choose_folder(function)
    compiled: F = numba.njit(cache=True, _nrt=False)(function)
    return compiled
