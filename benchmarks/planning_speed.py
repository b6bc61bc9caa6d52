"""How fast an answer comes, and in how much memory.

    python benchmarks/planning_speed.py [--runs 5] [--only shipped] [--json]

1. ``shipped``: the whole process, from a shell, of a question answered from a shipped trace, every
   strategy on one GPU. ``rented``: the same over every GPU that can be rented. ``classes_…``:
   shipped models with a number of classes that nobody has traced, with an empty cache. None of them
   imports torch, transformers or pandas. ``calibrated``: ``shipped`` on a device profile of full
   size (``stand_in_profile.py``), run in turns with it; the limit is what the profile may add.
2. ``never_seen…``: a 32-layer decoder of odd sizes, a new one each time, with an empty cache: one
   strategy, and all of them. ``llama_405b…``, ``mixture…``: configurations of 126 layers, and of 61
   layers with experts, with an empty cache.
3. ``grid``: 100,000 points (batch, length, GPU) of one traced model: memory and time of each.

Modules are byte-compiled once, as an installer does. Each case runs once unwatched by the clock,
for its imports and for the memory of all of its processes, then ``--runs`` times (a slow one three
times). Leaves with 1 when a limit of time (of the median), of memory or of imports is broken; the
limits are of wall time, processor time stands beside it for machines that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.speed.cases import CASES, MEMORY_LIMIT_BYTES, ON, RENTED, SHIPPED, Case  # noqa: E402
from benchmarks.speed.processes import Process, command, measure, watch  # noqa: E402
from planner.report.views.accuracy import machine  # noqa: E402

BY_NAME = {case.name: case for case in CASES}
LIMITS = {name: case.limit_seconds for name, case in BY_NAME.items()}
LIMITS |= {"calibrated": 0.05, "grid": 2.0}
SLOW_RUNS = 3


@dataclass(frozen=True)
class Timing:
    """Wall seconds of a whole process (median, fastest, slowest of ``runs``), the median of its
    user seconds, the most bytes that it and its children held, which heavy libraries it imported
    (None: nobody looked; ``light``: none may be), and how it ended."""

    name: str
    seconds: float
    user_seconds: float
    fastest_seconds: float
    slowest_seconds: float
    runs: int
    peak_rss_bytes: int
    limit_seconds: float | None
    exit_code: int
    detail: str = ""
    heavy: tuple[str, ...] | None = None
    light: bool = False

    @property
    def holds(self) -> bool:
        return not self.broken

    @property
    def broken(self) -> list[str]:
        """What does not hold, in a word each."""
        return [
            word
            for word, fails in (
                ("failed", self.exit_code != 0),
                ("time", self.limit_seconds is not None and not self.seconds < self.limit_seconds),
                ("memory", self.peak_rss_bytes >= MEMORY_LIMIT_BYTES),
                ("imports", self.light and bool(self.heavy)),
            )
            if fails
        ]


def timing(name: str, results: list[Process]) -> Timing:
    seconds, worst = [r.seconds for r in results], max(results, key=lambda r: abs(r.exit_code))
    return Timing(
        name,
        statistics.median(seconds),
        statistics.median(r.user_seconds for r in results),
        min(seconds),
        max(seconds),
        len(results),
        max(r.peak_rss_bytes for r in results),
        LIMITS[name],
        worst.exit_code,
        worst.complaint if worst.exit_code else "",
    )


def timed(case: Case, environment: dict[str, str], runs: int) -> Timing:
    """A case: one process watched for imports and memory, which warms the file cache too, then
    ``runs`` timed ones. Where it asks for a configuration, that and the cache are new each time."""
    watched, results = None, []
    for run in range(runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            asked = case.asked(Path(folder), time.time_ns() + run)
            fresh = {**environment, "PLANNER_CACHE": str(Path(folder) / "cache")}
            if watched is None:
                watched = watch(asked, fresh)
            else:
                results.append(measure(command(*asked), fresh))
    assert watched is not None
    found = timing(case.name, results)
    return replace(
        found,
        peak_rss_bytes=max(found.peak_rss_bytes, watched.peak_bytes),
        heavy=watched.heavy,
        light=case.light,
        detail="; ".join(part for part in (case.says, found.detail) if part),
    )


def added_by_a_profile(environment: dict[str, str], runs: int) -> Timing:
    """What reading and using a device profile adds to the answer: the median of the differences of
    neighbouring processes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stand_in.json"
        script = str(ROOT / "benchmarks" / "stand_in_profile.py")
        making = [sys.executable, script, ON[1], str(file)]
        subprocess.run(making, check=True, stdout=subprocess.DEVNULL)
        plain, profiled = command(*SHIPPED), command(*RENTED, "--gpu", str(file))
        for warming in (plain, profiled):
            measure(warming, environment)
        pairs = [(measure(plain, environment), measure(profiled, environment)) for _ in range(runs)]
        size = file.stat().st_size
    added = [after.seconds - before.seconds for before, after in pairs]
    usual = timing("calibrated", [after for _, after in pairs])
    return replace(
        usual,
        seconds=statistics.median(added),
        user_seconds=statistics.median(a.user_seconds - b.user_seconds for b, a in pairs),
        fastest_seconds=min(added),
        slowest_seconds=max(added),
        detail=f"added by a profile of {size / 1e3:.0f} kB; {usual.detail}".strip("; "),
    )


def grid(environment: dict[str, str], runs: int) -> Timing:
    """The grid's points in processes of its own."""
    line, results, detail = [sys.executable, __file__, "--grid-here"], [], ""
    for _ in range(runs):
        run = subprocess.run(
            line, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
        )
        if run.returncode:
            complaint = (run.stderr.strip().splitlines() or [""])[-1]
            results.append(Process(float("nan"), float("nan"), 0, run.returncode, complaint))
            break
        said = json.loads(run.stdout)
        detail = said["detail"]
        results.append(
            Process(said["seconds"], said["user_seconds"], said["peak_rss_bytes"], 0, "")
        )
    found = timing("grid", results)
    return replace(found, detail=found.detail or detail)


def every(names: tuple[str, ...], runs: int) -> list[Timing]:
    """The timings asked for."""
    few = min(runs, SLOW_RUNS)
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return [_one(name, environment, runs, few) for name in names]


def _one(name: str, environment: dict[str, str], runs: int, few: int) -> Timing:
    if name == "calibrated":
        return added_by_a_profile(environment, runs)
    if name == "grid":
        return grid(environment, few)
    case = BY_NAME[name]
    return timed(case, environment, runs if case.light else few)


HEAD = ("case", "seconds", "best", "of", "user", "limit", "torch", "peak MB", "", "")


def table(timings: list[Timing]) -> str:
    """A line a case, columns under one another."""
    lines = [HEAD, *(_cells(t) for t in timings)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < i < 8 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(t: Timing) -> tuple[str, ...]:
    return (
        t.name,
        f"{t.seconds:.3f}",
        f"{t.fastest_seconds:.3f}",
        str(t.runs),
        f"{t.user_seconds:.3f}",
        "none" if t.limit_seconds is None else f"{t.limit_seconds:g}",
        "?" if t.heavy is None else "yes" if "torch" in t.heavy else "no",
        f"{t.peak_rss_bytes / 1e6:.0f}",
        "holds" if t.holds else f"BROKEN: {', '.join(t.broken)}",
        t.detail,
    )


def print_table(timings: list[Timing]) -> None:
    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"median and best wall seconds; limit of memory {MEMORY_LIMIT_BYTES / 1e6:.0f} MB")
    print(table(timings))
    heavy = sorted({library for t in timings if t.light for library in t.heavy or ()})
    print(f"heavy libraries imported where none may be: {', '.join(heavy) or 'none'}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=tuple(LIMITS), action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--grid-here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.grid_here:
        from benchmarks.speed.grid import grid_points

        print(json.dumps(grid_points()))
        return 0
    timings = every(tuple(args.only or LIMITS), args.runs)
    if args.json:
        found = [{**asdict(t), "holds": t.holds, "broken": t.broken} for t in timings]
        print(json.dumps({"machine": machine(), "timings": found}, indent=1))
    else:
        print_table(timings)
    return int(not all(t.holds for t in timings))


if __name__ == "__main__":
    sys.exit(main())
