"""The loop on a tiny model and this machine's processor: a plan, the run of its recipe, the record,
and what validate says.

    python benchmarks/recipe_loop.py          # prints docs/recipe_loop.md
    python benchmarks/recipe_loop.py --write

The model is a Llama of random weights, made here; every figure stands as the commands gave it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "recipe")]

import tiny  # noqa: E402

from planner import units  # noqa: E402
from planner.devices.processors import local_processor  # noqa: E402
from planner.ledger.store import Ledger  # noqa: E402
from planner.today import today  # noqa: E402

PAGE = ROOT / "docs" / "recipe_loop.md"
QUESTION = ("--gpu", "cpu", "--strategy", "lora", "--price", "0.5")
MORE = ("--micro-batch", "8", "--global-batch", "16", "--epochs", "3")
RECORDS = 640


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--write", action="store_true", help="into docs/recipe_loop.md")
    write = given.parse_args().write
    with tempfile.TemporaryDirectory() as folder:
        text = page(Path(folder))
    if write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)


def page(folder: Path) -> str:
    tiny.llama(folder / "model")
    tiny.chats(folder / "chats.jsonl", RECORDS)
    question = ("model", "chats.jsonl", *QUESTION, *MORE)
    said = planner(folder, "recipe", *question, "-o", "train")
    begun = time.perf_counter()
    run = python(folder, "train/train.py", "--ledger", "runs.sqlite")
    wall_seconds = time.perf_counter() - begun
    judged = json.loads(planner(folder, "validate", "--ledger", "runs.sqlite", "--json"))
    with Ledger(folder / "runs.sqlite", create=False) as book:
        (record,) = book.records()
    plan = json.loads((folder / "train" / "plan.json").read_text(encoding="utf-8"))
    total = plan["option"]["model"]["total_params"]
    return (
        "\n".join(
            [
                "# Plan, run, record, validate",
                "",
                f"Made by `benchmarks/recipe_loop.py` on {today().isoformat()}, on {machine()}. A "
                f"Llama of {total:,} random weights, {RECORDS} short chats, on one thread. "
                f"{load()}",
                "",
                "```",
                f"planner recipe {' '.join(question)} -o train",
                *said.splitlines(),
                "",
                "python train/train.py --ledger runs.sqlite",
                *[line for line in run.splitlines() if not line.startswith("{")],
                "",
                "planner validate --ledger runs.sqlite",
                "```",
                "",
                "| | planned (10 % to 90 %) | measured | off |",
                "| --- | --- | --- | --- |",
                *rows(plan["option"], record, wall_seconds),
                "",
                *verdict(judged),
            ]
        )
        + "\n"
    )


def rows(option: Mapping[str, Any], record: Any, wall_seconds: float) -> list[str]:
    """``wall_seconds``: of the whole program, as a plan's hours are."""
    measured, estimate = record.measurement, record.estimate
    trained = {
        "steps": (option["run"]["steps"], measured["steps"]),
        "weights that train": (
            option["model"]["trainable_params"],
            record.setup["trainable_params"],
        ),
        "samples of a step": (
            option["training"]["global_batch_size"],
            record.setup["micro_batch"] * record.setup["accumulation"],
        ),
    }
    figures = {
        "a step": (estimate["step_seconds"], measured["step_seconds"], 1.0),
        "the whole run, from the program's start to its end": (
            option["run"]["wall_hours"],
            units.hours(wall_seconds),
            units.SECONDS_PER_HOUR,
        ),
    }
    return [
        *(
            f"| {name} | {plan:,} | {real:,} | {plan - real:+,} |"
            for name, (plan, real) in trained.items()
        ),
        *(_row(name, *values) for name, values in figures.items()),
    ]


def _row(name: str, plan: Mapping[str, float], real: float, scale: float) -> str:
    words = {key: units.format_seconds(scale * value) for key, value in plan.items()}
    off = plan["p50"] / real - 1
    inside = "inside" if plan["p10"] <= real <= plan["p90"] else "outside"
    return (
        f"| {name} | {words['p50']} ({words['p10']} to {words['p90']}) | "
        f"{units.format_seconds(scale * real)} | {off:+.0%}, {inside} the range |"
    )


def verdict(judged: Mapping[str, Any]) -> list[str]:
    """Of validate's own account."""
    lines = [
        "What `planner validate` says of it (hours from the first batch on):",
        "",
        "| quantity | error | covered |",
    ]
    lines.append("| --- | --- | --- |")
    for row in judged["accounts"]["plain"]["all"]:
        share = row.get("coverage")
        covered = "" if share is None else f"{share:.0%}"
        lines.append(f"| {row['quantity']} | {row['median']:.0%} | {covered} |")
    return lines


def machine() -> str:
    return f"{local_processor()['name']} with {os.cpu_count()} cores ({platform.system()})"


def load() -> str:
    """A plan is of a machine that does nothing else."""
    running, cores = os.getloadavg()[0], os.cpu_count() or 1
    if running < 2 * cores:
        return "The machine did nothing else."
    return (
        f"**The machine was in use by other programs**, {running:.0f} runnable processes on "
        f"{cores} cores: the plan is of a machine that does nothing else, and what was measured is "
        "not."
    )


def planner(folder: Path, *words: str) -> str:
    return python(folder, "-m", "planner.cli.main", *words)


def python(folder: Path, *words: str) -> str:
    # of a model so small two threads wait for each other longer than they work
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=folder, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
