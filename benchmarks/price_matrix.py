"""One question answered at every provider of every GPU, from the shipped tables, with the age of
every price.

    python benchmarks/price_matrix.py [--model Llama-3.2-1B] [--strategy lora] [--gpus 1 | --counts]
    [--spot] [--runs 5] [--json]

Prints the table of ``planner choose --everywhere`` (USD of the whole run by GPU and provider, the
price's age beside it; every setting proven by a replay) and the time that the command takes in a
fresh process, interpreter and imports included: wall time, and processor time for machines that
others use too. ``--counts`` looks at 1, 2, 4 and 8 devices. Leaves with 1 when the processor needs
more than a second, or fewer than 10 providers (families: runpod-secure and runpod-community are
one) or 20 GPUs are covered.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_SECONDS, PROVIDERS, GPUS = 1.0, 10, 20


def arguments(given: argparse.Namespace) -> list[str]:
    """The command line of ``planner`` that is measured."""
    return [
        "choose",
        given.model,
        "--samples",
        "20000",
        "--tokens-per-sample",
        "512",
        "--strategy",
        given.strategy,
        "--everywhere",
        "--json",
        *([] if given.counts else ["--gpus", str(given.gpus)]),
        *(["--spot"] if given.spot else []),
    ]


def answer(command: list[str]) -> dict:
    return json.loads(
        subprocess.run(
            [sys.executable, "-m", "planner.cli.main", *command],
            check=True,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        ).stdout
    )


def covered(ways: list[dict]) -> tuple[int, int]:
    """(providers, GPUs) with an answer."""
    return len({way["provider"].partition("-")[0] for way in ways}), len(
        {way["gpu_key"] for way in ways}
    )


def table(ways: list[dict]) -> str:
    """Markdown: GPUs by the dollars of their cheapest provider, each provider with dollars and the
    price's age."""
    by_gpu: dict[str, list[dict]] = {}
    for way in ways:
        by_gpu.setdefault(way["gpu_key"], []).append(way)
    lines = [
        "| GPU | hours | providers: USD of the run (age of the price in days) |",
        "| --- | --- | --- |",
    ]
    for gpu, own in by_gpu.items():
        each = ", ".join(
            f"{way['provider']} {way['usd']['p50']:.2f} ({way['price_age_days']})" for way in own
        )
        lines.append(f"| {gpu} | {own[0]['wall_hours']['p50']:.2f} | {each} |")
    return "\n".join(lines)


def fresh_seconds(command: list[str], runs: int) -> list[tuple[float, float]]:
    """(wall, processor) seconds of a fresh process."""
    found = []
    for _ in range(runs):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        answer(command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(
            (
                time.perf_counter() - start,
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            )
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="Llama-3.2-1B")
    parser.add_argument("--strategy", default="lora")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--counts", action="store_true")
    parser.add_argument("--spot", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    command = arguments(given)
    ways = answer(command)["ways"]
    print(json.dumps(ways, indent=1) if given.json else table(ways))
    if not given.runs:
        return 0
    times = fresh_seconds(command, given.runs)
    wall, processor = ([one[i] for one in times] for i in (0, 1))
    providers, gpus = covered(ways)
    print(
        f"\n{providers} providers, {gpus} GPUs, {len(ways)} answers; a fresh process takes "
        f"{statistics.median(wall):.2f} s (least {min(wall):.2f} s), "
        f"{statistics.median(processor):.2f} s of the processor, of {len(times)} runs",
        file=sys.stderr if given.json else sys.stdout,
    )
    return int(
        statistics.median(processor) > LIMIT_SECONDS
        or not given.spot
        and (providers < PROVIDERS or gpus < GPUS)
    )


if __name__ == "__main__":
    sys.exit(main())
