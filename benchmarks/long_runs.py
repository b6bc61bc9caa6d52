"""What failures take of trainings on many devices, beside what their operators published.

    python benchmarks/long_runs.py [--write docs/long_runs.md]

Every system is played event by event (``planner/cost/reliability``) with the rate of failures that
the other systems teach, and with its own; how soon failures are noticed and machines replaced are
the priors of ``profiles/priors/run.csv``. Checkpoints are written by all machines of eight devices
at once, as often as published, else at Young's and Daly's best interval. The same command prints
the same page: the seed is fixed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner.cli.writing import write  # noqa: E402
from planner.cost.reliability.failures import (  # noqa: E402
    System,
    failures_per_device_hour,
    systems,
)
from planner.cost.reliability.simulation import (  # noqa: E402
    Goodput,
    Machines,
    Work,
    simulated,
)
from planner.cost.spot import daly_interval  # noqa: E402
from planner.figures import Estimate  # noqa: E402
from planner.uncertainty.spread import overhead  # noqa: E402
from planner.units import HOURS_PER_DAY, SECONDS_PER_HOUR  # noqa: E402

OUT = ROOT / "docs" / "long_runs.md"
DEVICES_A_MACHINE = 8  # of every system of the table
HEAD = """# Long runs on many devices: failures, restarts, goodput

Written by `python benchmarks/long_runs.py --write docs/long_runs.md`; every number comes out of it,
none is edited by hand.

Goodput: undisturbed work over the time between start and end. "Others' rate": how often devices
fail is what the other systems teach, so that nothing of a row predicts itself; "own rate": as that
system counted. Either with the planner's own times to notice a failure, to replace a machine and to
start again (`profiles/priors/run.csv`), and a Latin hypercube of their ranges.

"""


def rate_without(system: System) -> Estimate:
    """Failures of a device in an hour, of all other systems."""
    return failures_per_device_hour([one for one in systems() if one.name != system.name])


def goodput(system: System, rate: Estimate) -> Goodput | None:
    """A run of the system's length; None where no size of a checkpoint is published."""
    if system.checkpoint_bytes is None:
        return None
    machines = system.devices // DEVICES_A_MACHINE
    write_rate = overhead("write_bytes_per_second").p50
    save = system.checkpoint_bytes / machines / write_rate / SECONDS_PER_HOUR
    between = 1 / (rate.p50 * system.devices)
    every = system.checkpoint_minutes
    interval = every / 60 if every else daly_interval(save, between)
    read = system.checkpoint_bytes / machines / overhead("read_bytes_per_second").p50
    start = sum(
        overhead(name).p50
        for name in ("import_seconds", "device_start_seconds", "machine_start_seconds")
    )
    restart = (start + read) / SECONDS_PER_HOUR
    if system.restart_minutes is not None:
        restart = system.restart_minutes / 60
    days = system.work_days or system.days * (system.effective_share or 1.0)
    return simulated(
        Work(days * HOURS_PER_DAY, interval, save, restart),
        Machines(
            count=system.devices,
            failures_per_machine_hour=rate,
            detect_hours=overhead("detect_failure_seconds").scale(1 / SECONDS_PER_HOUR),
            replace_hours=overhead("replace_machine_seconds").scale(1 / SECONDS_PER_HOUR),
            hardware_share=overhead("failures_of_hardware_share").p50,
        ),
    )


def page() -> str:
    every = failures_per_device_hour()
    lines = [
        "## How often",
        "",
        "| system | GPU | devices | days | failures | an hour of a device | source |",
        "| --- | --- | --: | --: | --: | --: | --- |",
    ]
    lines += [
        f"| {one.name} | {one.gpu} | {one.devices:,} | {one.days:g} | {one.failures:,.0f} | "
        f"{one.failures_per_device_hour:.2g} | {one.source} |"
        for one in systems()
    ]
    lines += [
        "",
        f"What a question takes: {every.p50:.2g} an hour of a device ({every.p10:.2g} to "
        f"{every.p90:.2g}), the median and the tenths of the systems: one failure in "
        f"{1 / (every.p50 * DEVICES_A_MACHINE * HOURS_PER_DAY):,.0f} days of a machine of eight.",
        "",
        "## What they take",
        "",
        "| system | published | others' rate (p10 to p90) | own rate | failures, published | "
        "by others' rate | most is lost to |",
        "| --- | --: | --- | --: | --: | --: | --- |",
    ]
    for system in systems():
        lines += _row(system)
    lines += ["", *(f"- {one.name}: {one.note}." for one in systems() if one.checkpoint_bytes)]
    return HEAD + "\n".join(lines) + "\n"


def _row(system: System) -> list[str]:
    others = goodput(system, rate_without(system))
    own = goodput(system, Estimate.exact(system.failures_per_device_hour))
    if others is None or own is None:
        return []
    extra = others.extra_hours
    low, high = (
        others.work_hours / (others.work_hours + value) for value in (extra.p90, extra.p10)
    )
    share = system.effective_share
    published = "" if share is None else f"{system.bound} {share:.0%}"
    most = max(others.parts_hours, key=lambda name: others.parts_hours[name])
    return [
        f"| {system.name} | {published} | {others.share:.1%} ({low:.1%} to {high:.1%}) | "
        f"{own.share:.1%} | {system.failures:,.0f} | {others.failures:,.0f} | "
        f"{most.replace('_', ' ')} |"
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    options = parser.parse_args(arguments)
    made = page()
    if options.write:
        write(options.write, made)
    else:
        print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
