"""What the system charges a training step on a processor for memory that is given back and taken
anew: page faults.

    python benchmarks/page_faults.py [--only decoder-full --only resnet-full] [--steps 5]

A step whose freed memory goes back to the system (glibc's malloc trims its heap) touches fresh
pages in the next one. No single operation shows this, so a sum of timed operations is too low by
it. Unix only; reads getrusage around real steps.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.local_cases import PROCESSOR_RUNS  # noqa: E402
from planner.measure.real_step import RealStep  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.validate.architectures import resolvable  # noqa: E402
from planner.validate.judge import recipe_of_case  # noqa: E402

USUAL = ("decoder-full", "encoder-full", "resnet-full", "mobilenet-full", "convnext-full")
WARM_UP = 3


def charged(case, folder: Path, steps: int) -> tuple[float, float, float]:
    """(milliseconds of a step, page faults of a step, milliseconds of it that the system took)."""
    facts = resolve(resolvable(case.model, case.architecture, folder), task=case.task, offline=True)
    step = RealStep(
        facts,
        recipe_of_case(case, facts.image_size),
        "cpu",
        micro_batch=case.micro_batch,
        sequence_length=case.sequence_length,
        target_length=case.target_length,
    )
    for _ in range(WARM_UP):
        step()
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(steps):
        step()
    after, seconds = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - start
    return (
        1e3 * seconds / steps,
        (after.ru_minflt - before.ru_minflt) / steps,
        1e3 * (after.ru_stime - before.ru_stime) / steps,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[case.id for case in PROCESSOR_RUNS if case.task != "audio_classification"],
    )
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    print("| run | step ms | page faults a step | system ms a step |\n| --- | --: | --: | --: |")
    with tempfile.TemporaryDirectory() as folder:
        for case in PROCESSOR_RUNS:
            if case.id in (args.only or USUAL):
                step, faults, system = charged(case, Path(folder), args.steps)
                print(f"| {case.id} | {step:.0f} | {faults:,.0f} | {system:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
