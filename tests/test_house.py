"""The style of the house as tests: what ruff and mypy can't say, each rule with its exceptions by name."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "pr3dict"
TESTS = ROOT / "tests"

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
MAY_BE_LONGER = {"kernels/dtypes.py": 700}  # one table of every row, field by field

# Below these rooms nothing reads a clock, draws a number, prints or opens a file.
PURE_ROOMS = ("domain", "kernels", "strategies", "risk", "engine", "analytics", "venues")
MAY_TOUCH_DISK = {
    "kernels/jit.py",  # names the compile cache by a hash of the kernel sources
    "analytics/page.py",  # its template and style sheet are files of the package
}
IMPURE_CALLS = {
    "breakpoint", "input", "open", "print",
    "read_bytes", "read_text", "write_bytes", "write_text", "mkdir", "unlink",
    "now", "utcnow", "today", "time_ns", "perf_counter", "monotonic",
    "default_rng", "randint", "random", "shuffle", "urandom", "uuid4",
}  # fmt: skip
MAY_CATCH_ALL = {
    "cli/main.py",  # the outermost door: an unexpected error becomes one sentence
    "runtime/shell.py",  # closing: a failure is logged and changes the exit code, the rest closes too
    "runtime/writer.py",  # whatever ends the journal's thread is told to the loop, which ends the process
}

MAY_THAW = {
    "kernels/exchange_reference.py",  # the slow reference keeps its state in plain objects on purpose
    "runtime/recovery.py",  # what a start finds is filled in phase by phase
}

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".cfg", ""}


def modules(folder: Path = SOURCE) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix() if path.is_relative_to(SOURCE) else str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def called_name(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def long_functions(module: ast.Module) -> list[str]:
    return [
        f"{f.name} ({f.end_lineno - f.lineno + 1} lines)"
        for f in functions(module)
        if f.end_lineno is not None and f.end_lineno - f.lineno + 1 > MAX_FUNCTION_LINES
    ]


def impure_calls(module: ast.Module) -> list[str]:
    return [
        f"{called_name(node)} in line {node.lineno}"
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and called_name(node) in IMPURE_CALLS
    ]


def broad_excepts(module: ast.Module) -> list[int]:
    def is_broad(kind: ast.expr | None) -> bool:
        if kind is None:
            return True
        names = kind.elts if isinstance(kind, ast.Tuple) else [kind]
        return any(isinstance(n, ast.Name) and n.id in ("Exception", "BaseException") for n in names)

    def passes_on(handler: ast.ExceptHandler) -> bool:
        last = handler.body[-1]
        return isinstance(last, ast.Raise) and last.exc is None  # it only tidied up

    handlers = [n for n in ast.walk(module) if isinstance(n, ast.ExceptHandler)]
    return [n.lineno for n in handlers if is_broad(n.type) and not passes_on(n)]


def _keyword(call: ast.expr, key: str) -> bool:
    return isinstance(call, ast.Call) and any(
        k.arg == key and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords
    )


def thawed_values(module: ast.Module) -> list[str]:
    """Public dataclasses and structs that can be changed after they are made."""
    found = []
    for node in ast.walk(module):
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if ast.unparse(target).endswith("dataclass") and not _keyword(decorator, "frozen"):
                found.append(node.name)
        frozen_struct = any(
            k.arg == "frozen" and isinstance(k.value, ast.Constant) and k.value.value for k in node.keywords
        )
        if any(ast.unparse(base).endswith("Struct") for base in node.bases) and not frozen_struct:
            found.append(node.name)
    return found


def asserts(test: ast.AST) -> bool:
    """Whether a test can fail by itself: an assertion, an expected error, or a helper that checks."""
    for node in ast.walk(test):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call) and re.match(
            r"(raises|warns|_?check|_?assert|_?expect)", called_name(node)
        ):
            return True
    return False


def texts() -> list[Path]:
    tracked = [ROOT / top for top in ("src", "tests", "docs", "benchmarks", ".ci")]
    inside = [path for folder in tracked if folder.is_dir() for path in folder.rglob("*")]
    return sorted(
        path
        for path in [*inside, *ROOT.iterdir()]
        if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
    )


@pytest.mark.parametrize("path", modules(), ids=name)
def test_a_source_file_keeps_to_the_house(path: Path):
    module = tree(path)
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAY_BE_LONGER.get(name(path), MAX_FILE_LINES), f"{lines} lines: make two files of it"
    assert long_functions(module) == []
    if name(path) not in MAY_THAW:
        assert thawed_values(module) == []
    assert ast.get_docstring(module), "say in one sentence what the file is for"
    if name(path) not in MAY_CATCH_ALL:
        assert broad_excepts(module) == []
    if name(path).startswith(PURE_ROOMS) and name(path) not in MAY_TOUCH_DISK:
        assert impure_calls(module) == []


@pytest.mark.parametrize("path", [p for p in modules(TESTS) if p.name.startswith("test_")], ids=name)
def test_every_test_can_fail(path: Path):
    empty = [f.name for f in functions(tree(path)) if f.name.startswith("test_") and not asserts(f)]
    assert empty == []


def test_no_text_hides_characters_or_a_machine():
    for path in texts():
        text = path.read_text(encoding="utf-8")
        assert INVISIBLE.search(text.removeprefix("\ufeff") if path == Path(__file__) else text) is None, path
        if path != Path(__file__):
            assert re.search(r"(?<![\w.])/(work|home|root|Users)/\w", text) is None, (
                f"{path} names a machine's folder"
            )


def test_the_package_is_typed():
    assert (SOURCE / "py.typed").is_file()


def test_help_loads_no_heavy_library():
    script = "import sys; from pr3dict.cli.main import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert loaded & {"numba", "numpy", "polars", "pyarrow", "pydantic", "asyncio"} == set()


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (long_functions, "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
        (impure_calls, "import time\nx = time.time_ns()"),
        (impure_calls, "print(1)"),
        (impure_calls, "import numpy as np\nnp.random.default_rng()"),
        (broad_excepts, "try:\n    x = 1\nexcept Exception:\n    pass"),
        (broad_excepts, "try:\n    x = 1\nexcept:\n    pass"),
        (broad_excepts, "try:\n    x = 1\nexcept (ValueError, BaseException):\n    pass"),
        (thawed_values, "@dataclass\nclass A: pass"),
        (thawed_values, "@dataclasses.dataclass(slots=True)\nclass A: pass"),
        (thawed_values, "class A(msgspec.Struct, tag=True): pass"),
    ],
)
def test_the_rules_see_what_they_forbid(check, bad):
    assert check(ast.parse(bad))
    assert (
        check(ast.parse("@dataclass(frozen=True)\nclass A:\n    def f(self):\n        return sorted([1])"))
        == []
    )


def test_an_empty_test_is_seen():
    assert not asserts(ast.parse("def test_x():\n    f()"))
    assert asserts(ast.parse("def test_x():\n    with pytest.raises(ValueError):\n        f()"))
