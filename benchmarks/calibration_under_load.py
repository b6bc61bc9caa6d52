"""What other programs do to a calibration: the processor is calibrated beside busy processes, with
and without a reference operation that tells when it was disturbed, and a few steps are planned
with what came out.

    python benchmarks/calibration_under_load.py [--seconds 40] [--busy 0 --busy 2 --busy 4]
        [--only encoder-full] [--profiles FOLDER]

The first calibration should have the machine for itself: the others' steps are set beside its.
Nothing is trained. Profiles that are in FOLDER already are not made again. Busy processes run for
as long as a calibration and end with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.local_cases import PROCESSOR_RUNS  # noqa: E402
from planner.devices import profile as profiles  # noqa: E402
from planner.devices.measured import measured_spec  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.plan.inputs.hardware import with_basis  # noqa: E402
from planner.plan.steps.point import evaluate  # noqa: E402
from planner.validate.architectures import resolvable  # noqa: E402
from planner.validate.judge import recipe_of_case  # noqa: E402

USUAL = ("decoder-full", "encoder-full", "resnet-full", "vit-full")
#: A process that takes a core for so many seconds and no longer.
BUSY = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    sum(i * i for i in range(1000))
"""
CALIBRATED = """
import sys
from dataclasses import replace
from pathlib import Path
from planner.calibrate.operations.backends import backend
from planner.calibrate.session import Plan, measure
from planner.calibrate.tools import real_tools
tools = real_tools()
if sys.argv[3] == "unwatched":
    tools = replace(tools, reference=None)
measure(backend("cpu"), Path(sys.argv[1]), Plan(seconds=float(sys.argv[2])), using=tools)
"""


@dataclass(frozen=True)
class Answered:
    """A step's seconds with their range, and what they stand on."""

    p10: float
    p50: float
    p90: float
    basis: str


@contextlib.contextmanager
def busy(count: int, seconds: float) -> Iterator[None]:
    """So many processes beside, for ``seconds`` at most."""
    command = [sys.executable, "-c", BUSY, str(seconds)]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def calibrated(path: Path, count: int, seconds: float, watched: bool) -> str | None:
    """A calibration beside ``count`` busy processes; why there is no profile, None otherwise."""
    how = "watched" if watched else "unwatched"
    with busy(count, 3 * seconds + 60):
        done = subprocess.run(
            [sys.executable, "-c", CALIBRATED, str(path), str(seconds), how],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def answered(path: Path, names: Sequence[str], folder: Path, basis: str | None) -> list[Answered]:
    """Each run's step on the processor with this profile; ``basis``: another than the profile's
    own."""
    spec = measured_spec(profiles.load(path))
    spec = spec if basis is None else with_basis(spec, basis)
    found: list[Answered] = []
    for case in (run for run in PROCESSOR_RUNS if run.id in names):
        facts = resolve(
            resolvable(case.model, case.architecture, folder), task=case.task, offline=True
        )
        made = evaluate(
            facts,
            recipe_of_case(case, facts.image_size),
            spec,
            micro_batch=case.micro_batch,
            sequence_length=case.sequence_length,
            target_length=case.target_length,
        )
        each = made.step_seconds
        found.append(Answered(each.p10, each.p50, each.p90, made.basis))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=40.0, help="of each calibration")
    parser.add_argument("--busy", type=int, action="append", help="processes beside; repeatable")
    parser.add_argument("--only", action="append", metavar="RUN", help="runs; repeatable")
    parser.add_argument("--profiles", type=Path, help="folder that keeps the profiles")
    flags = parser.parse_args()
    names = [run.id for run in PROCESSOR_RUNS if run.id in (flags.only or USUAL)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.profiles or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        truth: list[Answered] = []
        for count in flags.busy or (0, 2, 4):
            for watched in (True, False):
                path = folder / f"busy-{count}-{'watched' if watched else 'unwatched'}.json"
                failed = None if path.exists() else calibrated(path, count, flags.seconds, watched)
                truth = shown(path, count, watched, failed, names, Path(temporary), truth)
    return 0


def shown(
    path: Path,
    count: int,
    watched: bool,
    failed: str | None,
    names: Sequence[str],
    folder: Path,
    truth: list[Answered],
) -> list[Answered]:
    """Print a calibration's steps beside those of the first one; what the next are set beside."""
    title = f"{count} busy, {'with' if watched else 'without'} a reference"
    if failed is not None:
        print(f"{title}: no profile: {failed}", flush=True)
        return truth
    load = profiles.load(path).load
    print(f"{title}: load {json.dumps(_few(load))}", flush=True)
    made = answered(path, names, folder, None)
    truth = truth or made
    forced = answered(path, names, folder, "calibrated") if made[0].basis != "calibrated" else made
    for name, quiet, one, measured in zip(names, truth, made, forced):
        inside = one.p10 <= quiet.p50 <= one.p90
        print(
            f"  {name:16} {1e3 * one.p50:9.1f} ms ({1e3 * one.p10:.1f} to {1e3 * one.p90:.1f}), "
            f"{one.basis}: {one.p50 / quiet.p50 - 1:+.0%} against quiet, "
            f"{'within' if inside else 'OUTSIDE'} its range"
            + (
                f"; its curves alone {measured.p50 / quiet.p50 - 1:+.0%}"
                if measured is not one
                else ""
            ),
            flush=True,
        )
    return truth


def _few(load: object) -> dict[str, float] | None:
    return (
        None if load is None else {k: getattr(load, k) for k in ("share", "slowdown", "doubt_log")}
    )


if __name__ == "__main__":
    raise SystemExit(main())
