"""What the commands share that look at, or act on, a trading process through its data directory."""

from __future__ import annotations

import difflib
import getpass
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pr3dict.domain.errors import DataError, UsageError, WorkError

if TYPE_CHECKING:
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.lease import Holder
    from pr3dict.store.mailbox import MailAnswer, Operator

ANSWER_TIMEOUT_S = 10.0
MIN_TIMEOUT_S, MAX_TIMEOUT_S = 0.1, 3600.0

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder of the process; by default the user's data folder."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait for the process's answer.")
]


class Seen(NamedTuple):
    """A data directory from outside: who runs there (None: nobody) and what the process last said."""

    data_dir: DataDir
    holder: Holder | None
    status: dict[str, Any] | None
    age_s: float | None  # of the status


def look(path: Path | None) -> Seen:
    """See who runs in a data directory and what it last wrote.

    Raises:
        DataError: there is no data directory, or its status is damaged.
    """
    from pr3dict.store.data_dir import DataDir
    from pr3dict.store.lease import holder_of

    data_dir = DataDir.of(path).existing()
    holder = holder_of(data_dir.lease)
    status = read_status(data_dir.status)
    age_s = None if status is None else max(0.0, time.time() - status["written_ns"] / 1e9)
    return Seen(data_dir, holder, status, age_s)


def read_status(path: Path) -> dict[str, Any] | None:
    """The status that a process wrote; None where none did.

    Raises:
        DataError: it can't be read or is no status.
    """
    import msgspec

    from pr3dict.runtime.status import STATUS_FORMAT

    try:
        found = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(
            f"the status can't be read ({error}); the process writes it anew", file=path
        ) from None
    if not isinstance(found, dict) or found.get("format") != STATUS_FORMAT:
        raise DataError("the status is of another version of pr3dict; start the process again", file=path)
    return found


def operator() -> str:
    """Who gives a command: user and machine, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def check_reason(reason: str) -> str:
    """A reason that a person gave; raises `UsageError` for an empty one."""
    if not reason.strip():
        raise UsageError("--reason: say why; it is kept in the journal")
    return reason.strip()


def check_timeout(seconds: float) -> float:
    """A time to wait; raises `UsageError` for one that nobody means."""
    if not MIN_TIMEOUT_S <= seconds <= MAX_TIMEOUT_S:
        raise UsageError(f"--timeout: {seconds} is outside {MIN_TIMEOUT_S} to {MAX_TIMEOUT_S:.0f} seconds")
    return seconds


def ask(data_dir: DataDir, command: Operator, timeout_s: float) -> MailAnswer:
    """Post a command to the running process and return its answer.

    Raises:
        WorkError: no answer came in time (the command still stands), or the process refused.
    """
    from pr3dict.store.mailbox import Mailbox

    mailbox = Mailbox(data_dir.mailbox)
    command_id = mailbox.post(command)
    answer = mailbox.wait_for_answer(command_id, timeout_s)
    if answer is None:
        raise WorkError(
            f"no answer within {timeout_s:g} s; the command stands and is carried out when the process takes "
            "it (`pr3dict status` shows whether it is alive)"
        )
    if not answer.ok:
        raise WorkError(f"the process refused: {answer.text}")
    return answer


def not_running(data_dir: DataDir, consequence: str) -> str:
    """The sentence for a command that needs a process."""
    return f"no process runs in {data_dir.path}; {consequence}"


def find_market(status: Mapping[str, Any], wanted: str) -> dict[str, Any]:
    """The market of a status that `wanted` names: its ticker, its number, or a part that only one has.

    Raises:
        UsageError: none or several fit.
    """
    markets: list[dict[str, Any]] = status["markets"]
    exact = [m for m in markets if m["ticker"] == wanted or str(m["market"]) == wanted]
    parts = [m for m in markets if wanted.lower() in m["ticker"].lower()]
    found = exact or parts
    if len(found) == 1:
        return found[0]
    tickers = [m["ticker"] for m in found or markets]
    if found:
        named = ", ".join(tickers[:5])
        raise UsageError(f"{wanted!r} fits {len(found)} markets ({named}); name one of them in full")
    close = difflib.get_close_matches(wanted, tickers, n=3, cutoff=0.5) or tickers[:5]
    raise UsageError(f"there is no market {wanted!r}; there are {', '.join(close) or 'none at all'}")
