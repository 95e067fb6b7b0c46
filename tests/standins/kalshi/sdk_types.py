"""The official SDK's declared types, and whether a JSON value is of one: what a faithful answer must be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_INTERFACE = re.compile(r"export interface (\w+) \{(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"^    '(\w+)'(\??): (.*?);$", re.MULTILINE | re.DOTALL)
_ENUM = re.compile(r"export declare const (\w+): \{(.*?)\n\};", re.DOTALL)
_VALUE = re.compile(r'readonly \w+: "([^"]*)";')


class SdkTypes:
    """All interfaces and enumerations below a package's `dist/models`."""

    def __init__(self, models: Path) -> None:
        self.interfaces: dict[str, dict[str, tuple[bool, str]]] = {}
        self.enums: dict[str, set[str]] = {}
        for path in sorted(models.glob("*.d.ts")):
            text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
            for name, body in _INTERFACE.findall(text):
                self.interfaces[name] = {f: (q == "?", t.strip()) for f, q, t in _FIELD.findall(body)}
            for name, body in _ENUM.findall(text):
                self.enums[name] = set(_VALUE.findall(body))

    def faults(self, value: Any, kind: str, path: str = "$") -> list[str]:
        """Where a value is not of a type; empty: it is."""
        if kind.endswith(" | null"):
            return [] if value is None else self.faults(value, kind.removesuffix(" | null"), path)
        if kind in ("object", "any") or kind.startswith("{"):
            return []
        if kind.startswith("Array<"):
            if not isinstance(value, list):
                return [f"{path} is {value!r}, no list"]
            inner = kind.removeprefix("Array<").removesuffix(">")
            return [
                fault for k, each in enumerate(value) for fault in self.faults(each, inner, f"{path}[{k}]")
            ]
        if kind in self.interfaces:
            return self._of_interface(value, kind, path)
        if kind in self.enums:
            return [] if value in self.enums[kind] else [f"{path} is {value!r}, no {kind}"]
        plain: dict[str, Any] = {"string": str, "number": (int, float), "boolean": bool}
        if kind not in plain:
            return [f"{path}: the SDK's type {kind} is not understood"]
        right = isinstance(value, plain[kind]) and (kind == "boolean" or not isinstance(value, bool))
        return [] if right else [f"{path} is {value!r}, no {kind}"]

    def _of_interface(self, value: Any, kind: str, path: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{path} is {value!r}, no {kind}"]
        found = []
        for field, (optional, inner) in self.interfaces[kind].items():
            if field in value:
                found += self.faults(value[field], inner, f"{path}.{field}")
            elif not optional:
                found.append(f"{path}.{field} is missing")
        return found
