"""One question answered at every provider of every GPU, from the shipped tables, with the age of every price.

    python benchmarks/price_matrix.py [--model Llama-3.2-1B] [--strategy lora] [--spot] [--runs 5] [--json]

Prints the table (USD of the whole run by GPU and provider, the price's age beside it) and the time that one answer takes in a
fresh process, interpreter and imports included: wall time, and processor time for machines that others use too. Leaves with 1
when the processor needs more than a second, or fewer than 10 providers (families: runpod-secure and runpod-community are one)
or 20 GPUs are covered.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LIMIT_SECONDS, PROVIDERS, GPUS = 1.0, 10, 20


def answer(model: str, strategy: str, spot: bool) -> list[dict]:
    """A record a cell: device, provider, dollars, age."""
    from planner.plan.asked import understand
    from planner.plan.everywhere import everywhere
    from planner.question import Question

    asked = understand(Question(model=model, samples=20_000, tokens_per_sample=512.0, strategy=[strategy], spot=spot))
    cells, _ = everywhere(asked, strategy)
    return [{"gpu": c.option.rented.spec.key, "provider": c.offer.provider, "fits": c.option.fits, "hours": c.option.run.gpu_hours.p50, "usd": c.bill.usd.as_dict(),
             "usd_per_gpu_hour": c.bill.usd_per_gpu_hour, "price_date": c.bill.price_date, "age_days": c.offer.age_days, "region": c.offer.region} for c in cells]


def covered(cells: list[dict]) -> tuple[int, int]:
    """(providers, GPUs) with an answer."""
    return len({c["provider"].partition("-")[0] for c in cells}), len({c["gpu"] for c in cells})


def table(cells: list[dict]) -> str:
    """Markdown: GPUs by the dollars of their cheapest provider, each provider with dollars and the price's age."""
    by_gpu: dict[str, list[dict]] = {}
    for cell in cells:
        by_gpu.setdefault(cell["gpu"], []).append(cell)
    lines = ["| GPU | hours | fits | providers: USD of the run (age of the price in days) |", "| --- | --- | --- | --- |"]
    for gpu, own in by_gpu.items():
        each = ", ".join(f"{c['provider']} {c['usd']['p50']:.2f} ({c['age_days']})" for c in own)
        lines.append(f"| {gpu} | {own[0]['hours']:.2f} | {'yes' if own[0]['fits'] else 'no'} | {each} |")
    return "\n".join(lines)


def fresh_seconds(arguments: list[str], runs: int) -> list[tuple[float, float]]:
    """(wall, processor) seconds of a fresh process that answers and prints nothing but JSON."""
    found = []
    for _ in range(runs):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, __file__, *arguments, "--json", "--runs", "0"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append((time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return found


def main() -> int:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # these three as the command line sets them
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(100_000, 20, 20)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="Llama-3.2-1B")
    parser.add_argument("--strategy", default="lora")
    parser.add_argument("--spot", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    cells = answer(given.model, given.strategy, given.spot)
    if given.json:
        print(json.dumps({"cells": cells}, indent=1))
    else:
        print(table(cells))
    if not given.runs:
        return 0
    times = fresh_seconds(["--model", given.model, "--strategy", given.strategy, *(["--spot"] if given.spot else [])], given.runs)
    wall, processor = ([one[i] for one in times] for i in (0, 1))
    providers, gpus = covered(cells)
    print(f"\n{providers} providers, {gpus} GPUs, {len(cells)} answers; a fresh process takes {statistics.median(wall):.2f} s (least {min(wall):.2f} s), "
          f"{statistics.median(processor):.2f} s of the processor, of {len(times)} runs", file=sys.stderr if given.json else sys.stdout)
    return int(statistics.median(processor) > LIMIT_SECONDS or not given.spot and (providers < PROVIDERS or gpus < GPUS))


if __name__ == "__main__":
    sys.exit(main())
