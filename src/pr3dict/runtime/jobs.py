"""Independent pieces of work on several cores: threads, since compiled code lets other threads run.

Results do not depend on how many threads there are: the pieces share nothing that they write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

T = TypeVar("T")

Stop = Event
"""Set when the result of a job is no longer wanted; a long job looks at it now and then and returns."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(tasks: Sequence[Callable[[Stop], T]], jobs: int) -> list[T]:
    """The results of all tasks in their order, at most `jobs` of them at a time.

    The first error ends the others as soon as they look at their flag and is raised here, as is Ctrl-C.
    """
    stop = Stop()
    if jobs <= 1 or len(tasks) <= 1:
        return [task(stop) for task in tasks]
    with ThreadPoolExecutor(min(jobs, len(tasks))) as pool:
        futures = [pool.submit(task, stop) for task in tasks]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()  # those that wait for a thread
            stop.set()
        return [future.result() for future in futures]
