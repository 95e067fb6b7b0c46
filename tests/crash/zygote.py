"""A process that has everything loaded and forks one life of `pr3dict` after the other, as fast as that goes.

Lines of JSON on stdin. `{"argv": [...], "log": FILE}` forks a child that runs the command line as the
`pr3dict` script does; with `crash_at` "name:n" it dies at a crash point, with `kill_ms` after that time, with
`file_bytes` no file may grow beyond. Its process id is the answer, and a second answer when it ended.
Meanwhile `{"signal": N}` is passed on: from here, where nobody else can have the child's id.
"""

import json
import os
import select
import signal
import sys
import time
from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit

from pr3dict.cli import main as program
from pr3dict.runtime.brain_loader import load_brain
from pr3dict.store import crash_points


class Lines:
    """Lines of stdin, without a buffer that `select` does not see."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self) -> bytes:
        """The next line; empty at the end."""
        while b"\n" not in self._rest:
            more = os.read(0, 65_536)
            if not more:
                return b""
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def preload() -> None:
    import pyarrow.parquet  # noqa: F401

    import pr3dict.cli.doctor_kalshi
    import pr3dict.cli.halt
    import pr3dict.cli.live
    import pr3dict.cli.paper
    import pr3dict.cli.session
    import pr3dict.runtime.live
    import pr3dict.runtime.remote
    import pr3dict.runtime.status  # noqa: F401

    load_brain()


def live(order: dict) -> None:
    """The child: never returns."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if order.get("file_bytes"):
            setrlimit(RLIMIT_FSIZE, (order["file_bytes"], RLIM_INFINITY))
        crash_points._left.update(crash_points.parse(order.get("crash_at", "")))
        sys.argv = ["pr3dict", *order["argv"]]
        try:
            program.main()
        except SystemExit as end:
            code = int(end.code or 0)
        except KeyboardInterrupt:  # asked to end before the program looks out for that
            code = 130
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def say(answer: dict) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def watch(pid: int, kill_ms: float | None, lines: Lines) -> int:
    """Wait for the end of a child, killing or signalling it on the way; its exit code."""
    handle = os.pidfd_open(pid)
    due_s = None if kill_ms is None else time.monotonic() + kill_ms / 1000
    try:
        while True:
            left_s = None if due_s is None else max(0.0, due_s - time.monotonic())
            ready, _, _ = select.select([handle, 0], [], [], left_s)
            if handle in ready:
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if 0 in ready:
                line = lines.read()
                os.kill(pid, json.loads(line)["signal"] if line else signal.SIGKILL)
            elif due_s is not None and time.monotonic() >= due_s:
                os.kill(pid, signal.SIGKILL)
                due_s = None
    finally:
        os.close(handle)


def serve() -> None:
    preload()
    say({"ready": True})
    lines = Lines()
    while line := lines.read():
        order = json.loads(line)
        if "argv" not in order:  # a signal for a child that has ended by itself
            continue
        began_s = time.monotonic()
        pid = os.fork()
        if not pid:
            live(order)
        say({"pid": pid})
        code = watch(pid, order.get("kill_ms"), lines)
        say({"code": code, "seconds": time.monotonic() - began_s})


if __name__ == "__main__":
    serve()
