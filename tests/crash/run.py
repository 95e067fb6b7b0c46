"""`make crash`: many random kills and every named point, two sessions at a time, one line at the end."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parent))
from kills import Session, Tally, point_kills, random_kills
from rig import Exchange, Zygote

from pr3dict.store.crash_points import crash_points

SESSION_KILLS = 25
SESSION_POINTS = 4
WORKERS = 2

Job = Callable[[Zygote], Tally]


def random_job(folder: Path, kills: int, seed: int) -> Job:
    def run(zygote: Zygote) -> Tally:
        with Exchange(folder, seed) as exchange:
            return random_kills(Session(zygote, exchange, folder), kills, seed)

    return run


def points_job(folder: Path, points: tuple[str, ...], times: int, seed: int) -> Job:
    def run(zygote: Zygote) -> Tally:
        with Exchange(folder, seed) as exchange:
            session = Session(zygote, exchange, folder)
            for point in points:
                point_kills(session, point, times)
            return session.finish()

    return run


def jobs(folder: Path, kills: int, times: int, seed: int, chosen: list[str]) -> list[Job]:
    made: list[Job] = []
    for first in range(0, kills, SESSION_KILLS):
        number = seed + len(made)
        made.append(random_job(folder / f"kills-{number}", min(SESSION_KILLS, kills - first), number))
    points = [name for name in crash_points() if not chosen or name in chosen]
    for first in range(0, len(points) if times else 0, SESSION_POINTS):
        some = tuple(points[first : first + SESSION_POINTS])
        number = seed + len(made)
        made.append(points_job(folder / f"points-{number}", some, times, number))
    return made


def run_all(made: list[Job], folder: Path) -> Tally:
    """Every job, `WORKERS` at a time, each worker with a zygote of its own."""
    zygotes: SimpleQueue[Zygote] = SimpleQueue()
    for number in range(WORKERS):
        zygotes.put(Zygote(folder / f"state-{number}"))
    total = Tally()

    def run(job: Job) -> None:
        zygote = zygotes.get()
        try:
            tally = job(zygote)
        except Exception as error:  # noqa: BLE001 - the other sessions go on, and the sentence counts
            zygotes.put(Zygote(folder / f"state-{time.monotonic_ns()}"))
            tally = Tally(wrong=[f"a session broke off: {error!r}"])
        else:
            zygotes.put(zygote)
        total.add(tally)
        for what in tally.wrong:
            print(f"VIOLATION {what}", flush=True)
        print(f"... {total.kills} kills, {total.fills} fills, {len(total.wrong)} violations", flush=True)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run, made))
    while not zygotes.empty():
        zygotes.get().close()
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="random kills")
    parser.add_argument("--times", type=int, default=20, help="kills at each named point; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--point", action="append", default=[], help="only this point; may be repeated")
    parser.add_argument("--dir", type=Path, help="keep everything here; by default it is removed")
    given = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pr3dict-crash-", ignore_cleanup_errors=True) as temporary:
        folder = given.dir or Path(temporary)
        total = run_all(jobs(folder, given.kills, given.times, given.seed, given.point), folder)
    missed = {name: count for name, count in total.passes.items() if count < given.times}
    print(
        json.dumps({
            "kills": total.kills,
            "starts": total.starts,
            "sessions": total.sessions,
            "halted_starts": total.halted,
            "points": len(total.passes),
            "points_missed": missed,
            "fills_compared": total.fills,
            "orders_compared": total.orders,
            "settled": total.settled,
            "start_to_quoting_s_p50": round(statistics.median(total.seconds_to_quoting or [-1]), 3),
            "violations": len(total.wrong),
            "seconds": round(time.monotonic() - began_s, 1),
        })
    )  # fmt: skip
    return 1 if total.wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
