"""Files of fitted regimes: their numbers, what they were fitted on, and how near they came.

A file is TOML with one table a preset: the fields of `synthetic.Regime`, `sessions` (what it was fitted on),
`parts` (what part of its market's life each tape showed, in seconds), and two tables by statistic: `recorded`
(figure and standard error of its position) and `generated`.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from pr3dict.domain.errors import DataError, UsageError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.runtime.calibration import Part
from pr3dict.runtime.resemblance import ROWS, Measured
from pr3dict.runtime.synthetic import PRESETS_FILE, Regime, regime_of


@dataclass(frozen=True, slots=True)
class Preset:
    """A fitted regime with its source."""

    regime: Regime
    sessions: tuple[str, ...]
    parts: tuple[Part, ...]
    recorded: Measured
    errors: Measured
    generated: Measured


def _seconds(ns: int) -> float:
    return ns / NS_PER_SECOND


def _part(life_s: float, begin_s: float, end_s: float, known_close: bool) -> Part:
    life_ns, begin_ns, end_ns = (round(seconds * NS_PER_SECOND) for seconds in (life_s, begin_s, end_s))
    return Part(life_ns, begin_ns, end_ns, known_close)


def _figure(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "nan"


def preset_toml(preset: Preset) -> str:
    """One preset as a table of a file."""
    r = preset.regime
    lines = [f"[{json.dumps(r.name)}]"]
    fields = [key for key in Regime.__struct_fields__ if key != "name"]
    lines += [f"{key} = {json.dumps(getattr(r, key), ensure_ascii=False)}" for key in fields]
    lines.append("sessions = [")
    lines += [f"    {json.dumps(one)}," for one in preset.sessions]
    lines += ["]", "parts = [  # life, begin, end (seconds from the open), whether the close was known"]
    for part in preset.parts:
        times = (_seconds(part.life_ns), _seconds(part.begin_ns), _seconds(part.end_ns))
        lines.append(f"    [{times[0]}, {times[1]}, {times[2]}, {json.dumps(part.known_close)}],")
    lines += ["]", "", f"[{json.dumps(r.name)}.recorded]  # figure, standard error of its position"]
    for row in ROWS:
        lines.append(f"{row.key} = [{_figure(preset.recorded[row.key])}, {_figure(preset.errors[row.key])}]")
    lines += ["", f"[{json.dumps(r.name)}.generated]"]
    lines += [f"{row.key} = {_figure(preset.generated[row.key])}" for row in ROWS]
    return "\n".join(lines) + "\n"


class _Table(msgspec.Struct, frozen=True):
    sessions: tuple[str, ...]
    parts: tuple[tuple[float, float, float, bool], ...]
    recorded: dict[str, tuple[float, float]]
    generated: dict[str, float]


def _preset_of(name: str, table: Mapping[str, Any]) -> Preset:
    try:
        rest = msgspec.convert(dict(table), _Table)
        return Preset(
            regime=regime_of(name, table),
            sessions=rest.sessions,
            parts=tuple(_part(*times) for times in rest.parts),
            recorded={row.key: rest.recorded[row.key][0] for row in ROWS},
            errors={row.key: rest.recorded[row.key][1] for row in ROWS},
            generated={row.key: rest.generated[row.key] for row in ROWS},
        )
    except msgspec.ValidationError as error:
        raise DataError(f"no valid preset ({error}); write it again with `--out`", key=name) from error
    except KeyError as error:
        raise DataError(f"the preset lacks the statistic {error}", key=name) from None


def read_presets(path: Path | None = None) -> tuple[Preset, ...]:
    """The presets of a file; of the file that comes with the program where none is given.

    Raises:
        DataError: there is no such file, or it is not one of presets.
    """
    try:
        source = files("pr3dict.runtime").joinpath(PRESETS_FILE) if path is None else path
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror})", file=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"no TOML file of presets ({error})", file=path) from error
    try:
        return tuple(_preset_of(name, table) for name, table in tables.items())
    except DataError as error:
        raise error.at(file=path) from None


def find_preset(name_or_file: str) -> Preset:
    """A preset that comes with the program by its name, or the first one of a file.

    Raises:
        UsageError: there is no preset and no file of that name.
        DataError: the file is not one of presets.
    """
    known = read_presets()
    for preset in known:
        if preset.regime.name == name_or_file:
            return preset
    path = Path(name_or_file)
    if path.suffix != ".toml":
        names = ", ".join(one.regime.name for one in known)
        raise UsageError(f"unknown preset {name_or_file!r}; choose one of {names}, or name a .toml file")
    found = read_presets(path)
    if not found:
        raise DataError("the file holds no preset", file=path)
    return found[0]
