"""What every class of settings shares: units, bounds, durations as text, and one clear sentence for an error.

A class of settings is frozen and checked as a whole: a value out of bounds, a number finer than the program
counts in, an unknown key or two settings that contradict each other end in one `ConfigError` that names the
key. Settings are `Decimal`s in the units below; `integer` gives what the program counts in.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from pr3dict.domain.errors import ConfigError
from pr3dict.domain.units import MONEY_SCALE, NS_PER_HOUR, NS_PER_SECOND, PPM_SCALE, QTY_SCALE


class Unit(NamedTuple):
    """How a setting is written and counted: its name, integers per unit, and its usual bounds."""

    name: str
    scale: int
    low: str
    high: str


PRICE = Unit("$ of a $1 contract", MONEY_SCALE, "0", "1")
DOLLARS = Unit("$", MONEY_SCALE, "0", "1000000000")
ROOT_HOUR = Unit("$ per square-root hour", MONEY_SCALE, "0", "1")
HOURS = Unit("hours", NS_PER_HOUR, "0", "1000000")
MINUTES = Unit("minutes", 60 * NS_PER_SECOND, "0", "1000000")
SECONDS = Unit("seconds", NS_PER_SECOND, "0", "1000000")
FACTOR = Unit("factor", PPM_SCALE, "0.1", "10")
SHARE = Unit("share", PPM_SCALE, "0", "1")
CONTRACTS = Unit("contracts", QTY_SCALE, "0", "1000000")
FILL_RATE = Unit("fills an hour", PPM_SCALE, "0", "10000")
DECAY = Unit("per $", PPM_SCALE, "1", "1000")
COUNT_RATE = Unit("a second", PPM_SCALE, "0.1", "1000")
COUNT = Unit("count", 1, "1", "1000000")
TIMES = (HOURS.name, MINUTES.name, SECONDS.name)

_SECONDS_OF_SUFFIX = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)")


class Rule(NamedTuple):
    """A rule between settings: the key to change, whether it holds, the sentence if not."""

    key: str
    holds: bool
    sentence: str


def _facts(unit: str, scale: int, section: str, param: str, allowed: str) -> dict[str, Any]:
    return {"unit": unit, "scale": scale, "section": section, "param": param, "range": allowed}


def number(
    default: str,
    unit: Unit,
    section: str,
    param: str,
    meaning: str,
    *,
    low: str | None = None,
    high: str | None = None,
) -> Any:
    """A number with its unit: `param` is the PARAMS field it becomes, empty for what no market row holds."""
    low, high = low or unit.low, high or unit.high
    return Field(
        int(default) if unit is COUNT else Decimal(default),
        ge=Decimal(low),
        le=Decimal(high),
        description=meaning,
        json_schema_extra=_facts(unit.name, unit.scale, section, param, f"{low} to {high}"),
    )


def choice(default: Any, section: str, param: str, meaning: str, allowed: str) -> Any:
    """One of a few words: `allowed` names them, `param` is as in `number`."""
    return Field(default, description=meaning, json_schema_extra=_facts("", 0, section, param, allowed))


class Settings(BaseModel):
    """Base of all classes of settings; see the module's docstring.

    Hours, minutes and seconds also take a text with a suffix: "90s", "5m", "36h", "7d".

    Raises:
        ConfigError: unknown key, value out of bounds or finer than counted, or settings that contradict.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **settings: Any) -> None:
        """Check and keep `settings`; those not given take their defaults."""
        for key in settings:
            if key not in type(self).model_fields:
                raise ConfigError(self.unknown_key(key), key=key)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise self._first_error(error) from None

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        """Turn a duration text into the field's unit; refuse a truth value where a number belongs."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError
        match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or _extra(field)["unit"] not in TIMES:
            return value
        return Decimal(match[1]) * _SECONDS_OF_SUFFIX[match[2]] * NS_PER_SECOND / int(_extra(field)["scale"])

    @field_validator("*", mode="after")
    @classmethod
    def _countable(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what would have to be rounded: only times are rounded, to the nanosecond."""
        extra = cls.facts(str(info.field_name))
        is_time = extra["unit"] in TIMES
        if isinstance(value, Decimal) and not is_time and value * extra["scale"] % 1 != 0:
            raise ConfigError(
                f"{value} is finer than 0.000001, which is all that is counted; round it", key=info.field_name
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for rule in self.rules():
            if not rule.holds:
                raise ConfigError(rule.sentence, key=rule.key)
        return self

    def rules(self) -> Iterable[Rule]:
        """Every rule between settings, in the order in which they are checked."""
        return ()

    def ordered(self, small: str, large: str) -> Rule:
        """The rule that one setting is not above another."""
        low, high = getattr(self, small), getattr(self, large)
        return Rule(small, low <= high, f"{low} is above {large} {high}; lower {small} or raise {large}")

    def with_changes(self, **changes: Any) -> Self:
        """The same settings with some replaced, checked again as a whole."""
        return type(self)(**(self.model_dump() | changes))

    def integer(self, key: str) -> int:
        """A numeric setting as the program counts it (micros, ns, ppm, micro-contracts or a plain count)."""
        return round(Decimal(getattr(self, key)) * int(self.facts(key)["scale"]))

    @classmethod
    def facts(cls, key: str) -> dict[str, Any]:
        """What is known of a setting: `unit`, `scale`, `section`, `param`, `range`."""
        return _extra(cls.model_fields[key])

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """The sentence for a key that no setting has, with the nearest name."""
        near = difflib.get_close_matches(key, cls.model_fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "see docs/reference/config.md for the names"
        return f"there is no such setting; {hint}"

    @classmethod
    def _first_error(cls, error: ValidationError) -> ConfigError:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        facts = cls.facts(key)
        if not facts["scale"]:
            expected = f"one of {facts['range']}"
        else:
            kind = "a whole number" if cls.model_fields[key].annotation is int else "a number"
            expected = f"{kind} from {facts['range']} ({facts['unit']})"
        return ConfigError(f"{first['input']!s:.60} is not allowed; give {expected}", key=key)


def _extra(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict)
    return dict(field.json_schema_extra)


SettingsT = TypeVar("SettingsT", bound=Settings)


def build_table(
    kind: type[SettingsT],
    table: str,
    file_settings: Mapping[str, Any] | None,
    source: str,
    single: Mapping[str, str] | None,
) -> SettingsT:
    """Put the settings of a table together: the file's, then `single` ones of the command line.

    Raises:
        ConfigError: a setting is wrong; the sentence names `source` or `--set`, and the key.
    """
    places = dict.fromkeys(file_settings or {}, f"{source}: {table}.")
    places |= dict.fromkeys(single or {}, f"--set {table}.")
    try:
        return kind(**{**(file_settings or {}), **(single or {})})
    except ConfigError as error:
        if error.key not in places:
            raise
        sentence = str(error).removeprefix(f"{error.key}: ")
        raise ConfigError(sentence, key=f"{places[error.key]}{error.key}") from None


def changed_settings(config: Settings) -> list[tuple[str, str, str, str]]:
    """Settings that are not the default, in their order: (key, value, default, unit), all of them text."""
    return [
        (key, plain_value(getattr(config, key)), plain_value(field.default), str(_extra(field)["unit"]))
        for key, field in type(config).model_fields.items()
        if getattr(config, key) != field.default
    ]


def plain_value(value: object) -> str:
    """A setting's value as a person writes it, to the eighth place: `0.04`, `true`, `order_flow`."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, tuple):
        return ", ".join(plain_value(one) for one in value or ())
    if not isinstance(value, Decimal):
        return str(value)
    exponent = value.as_tuple().exponent
    long = isinstance(exponent, int) and exponent < -8
    return f"{value:.8f}".rstrip("0").rstrip(".") if long else f"{value:f}"
