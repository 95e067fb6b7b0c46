"""What the Kalshi importers share: strict CSV rows, wall clocks, and the close that a ticker's name tells."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from pr3dict.domain.errors import DataError
from pr3dict.domain.units import NS_PER_SECOND
from pr3dict.store.importers.common import Timestamps, read_gzip

WINDOW_NS: Final = 900 * NS_PER_SECOND  # the life of a 15-minute market
EASTERN: Final = ZoneInfo("America/New_York")
_MONTHS: Final = {name: number for number, name in enumerate(
    ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
)}  # fmt: skip
_WINDOW_TICKER: Final = re.compile(r"KX[A-Z]+15M-(\d\d)([A-Z]{3})(\d\d)(\d\d)(\d\d)-(\d\d)", re.ASCII)


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row of a CSV file, plain or gzip, with the line on which it ends (the header is line 1).

    Raises:
        DataError: names the file and, where one is at fault, the line: not readable, no whole gzip, not
            UTF-8, another header than `columns`, another number of cells, a quote that is never closed.
    """
    try:
        body = read_gzip(path) if path.suffix == ".gz" else path.read_bytes()
        text = body.decode("utf-8")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", file=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text ({error.reason} at byte {error.start})", file=path) from error
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = next(reader, [])
        if header != list(columns):
            raise DataError(f"the header is not {','.join(columns)}", file=path, row=1)
        for cells in reader:
            if len(cells) != len(columns):
                sentence = f"{len(cells)} cells where the header has {len(columns)}"
                raise DataError(sentence, file=path, row=reader.line_num)
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"not CSV ({error})", file=path, row=reader.line_num) from error


def named_day(text: str) -> date | None:
    """The day of a ticker's `26MAY13`; None where the text names no day."""
    match = re.fullmatch(r"(\d\d)([A-Z]{3})(\d\d)", text, re.ASCII)
    if match is None or match[2] not in _MONTHS:
        return None
    try:
        return date(2000 + int(match[1]), _MONTHS[match[2]], int(match[3]))
    except ValueError:
        return None


def wall_ns(moment: datetime, zone: ZoneInfo) -> int | None:
    """Ns UTC of a whole second on the clocks of a zone; None where they show it twice or never."""
    first, second = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        return None
    return int(first.astimezone(UTC).timestamp()) * NS_PER_SECOND


def named_close_ns(ticker: str) -> int | None:
    """When a 15-minute market closes, told by its ticker: `KXBTC15M-26MAY132030-30` at 20:30 in New York.

    None for a ticker of another form, one whose last part is not the minute, and for the hour that New York's
    clocks show twice. That the name tells the close was checked with 2,701 recorded settlements, none of
    which came before it, half of them within 12 seconds.
    """
    match = _WINDOW_TICKER.fullmatch(ticker)
    day = named_day("".join(match.group(1, 2, 3))) if match else None
    if match is None or day is None or match[5] != match[6]:
        return None
    hour, minute = int(match[4]), int(match[5])
    if hour > 23 or minute > 59:
        return None
    return wall_ns(datetime.combine(day, time(hour, minute)), EASTERN)


def offset_ns(parse_time: Timestamps, text: str) -> int:
    """Ns UTC of an ISO 8601 text that ends in `+00:00` or `Z`. Raises `DataError` for any other."""
    return parse_time(text[:-6] + "Z" if text.endswith("+00:00") else text)
