"""A recipe's README: what was planned, how it is run and held against the plan, and what has to be
known before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner import units
from planner.recipe.expressible import DISTILLED, is_vision
from planner.recipe.launching.files import command, launch_files
from planner.recipe.optimizers import needs_bitsandbytes
from planner.recipe.planned import Planned
from planner.recipe.text_settings import every
from planner.today import today
from planner.version import __version__


def readme(planned: Planned) -> str:
    values, run = planned.values, command(planned)
    title = f"{planned.problem.facts.name}, {planned.strategy.replace('_', ' ')}"
    lines = [
        f"# {title}",
        "",
        *(f"- {line}" for line in said(planned)),
        "",
        "## The plan",
        "",
        f"By planner {__version__} on {today().isoformat()}, for {values['gpus']} × {values['gpu']}"
        f"{_provider(values)}. Ranges are the 10th to the 90th percentile.",
        "",
        "| | planned |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in _figures(planned)),
        "",
        "`config.yaml` has every setting as planned, `plan.json` the whole plan.",
        "",
        "## The data, as the plan read it",
        "",
        *(f"- {line.text}" for line in planned.problem.first_lines if line.topic == "data"),
        "",
        "## Run it",
        "",
        "```bash",
        "pip install -r requirements.txt",
        run,
        f"{run} --max-usd 20   # stops, with a checkpoint, before 20 dollars are spent",
        "```",
        "",
        *_started(planned),
        "While it runs it says what is spent, and what the run will have cost at its end, beside "
        "the plan. When it is over it is recorded; its estimate beside what was measured:",
        "",
        "```bash",
        "planner runs",
        "planner validate",
        "planner correct   # what the runs of this device teach the next plan",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _started(planned: Planned) -> list[str]:
    """The other ways to start it."""
    ways = {
        "launch/accelerate.yaml": "accelerate launch --config_file launch/accelerate.yaml train.py",
        "launch/slurm.sbatch": "sbatch launch/slurm.sbatch",
        "launch/skypilot.yaml": "python launch/skypilot_task.py   # by SkyPilot",
        "launch/dstack.yml": "dstack apply -f launch/dstack.yml",
    }
    files = launch_files(planned)
    found = [way for name, way in ways.items() if name in files]
    if not found:
        return []
    return [
        "On a cluster or a rented machine, with the plan's devices and its cautious time:",
        "",
        "```bash",
        *found,
        "```",
        "",
    ]


def said(planned: Planned) -> list[str]:
    """What has to be known before it is run, the gravest first."""
    values, question = planned.values, planned.question
    lines: list[str] = []
    if not values["fits"]:
        lines.append(f"**The plan does not fit on {values['gpu']}**: it will run out of memory.")
    lines += _not_run(planned)
    lines += [line.text for line in planned.problem.first_lines if line.warning]
    if planned.recipe.objective in ("grpo", "rloo"):
        lines.append(
            "The reward is yours: train.py --reward package.module:function, which TRL calls with "
            "completions; without it the script refuses to start."
        )
    lines += _evaluated(planned)
    if not planned.data.whole:
        lines.append(
            f"The plan read {planned.data.sampled:,} of about {planned.data.samples:,} records; "
            "the script reads all of them."
        )
    if is_vision(planned):
        lines.append(
            f"The plan counts the time around a step as {_trainer(planned)} takes it; this script "
            "is a plain loop with the same step."
        )
    if planned.recipe.task == "text_classification" and planned.recipe.lora_rank:
        lines.append("PEFT trains the new head beside the adapters; the plan counts these alone.")
    if question.prepared or question.preparation_workers:
        lines.append("The script prepares its data itself, in one process, whatever was planned.")
    if question.spot:
        lines.append("The plan is on spot: after an interruption go on with --resume.")
    lines.append("The learning rate and its schedule are not planned: config.yaml has a default.")
    return list(dict.fromkeys(lines))


def _not_run(planned: Planned) -> list[str]:
    """What is written by TRL's and bitsandbytes' documentation, and was tried on no machine."""
    recipe, lines = planned.recipe, []
    if recipe.objective not in (None, DISTILLED):
        lines.append(
            "This script is written for TRL as of huggingface/trl@f2cd577. Tiny runs of its kind "
            "were made with that version by hand; the tests run none."
        )
    if recipe.strategy == "qlora" or recipe.load_in or needs_bitsandbytes(recipe.optimizer):
        lines.append("What bitsandbytes does in this script has been tested in no run.")
    return lines


def _trainer(planned: Planned) -> str:
    library = planned.option.facts.library
    return "timm's train.py" if library == "timm" else "torchvision's references"


def _evaluated(planned: Planned) -> list[str]:
    run = planned.option.run
    if not run.evaluations or run.evaluated is None:
        return []
    lines = [
        f"{run.evaluated.samples:,} records are held out to be evaluated on; the others are gone "
        f"through until the plan's {run.steps:,} steps are made."
    ]
    made = run.steps // every(run.steps, run.evaluations)
    if made != round(run.evaluations):
        lines.append(
            f"It evaluates {made:,} times, the plan {run.evaluations:g} times: a Trainer evaluates "
            "after a whole number of steps."
        )
    return lines


def _provider(values: Mapping[str, Any]) -> str:
    price = (values.get("cost") or {}).get("usd_per_gpu_hour")
    if price is None:
        return ", without a price"
    return (
        f" at {units.format_usd_per_unit(price)} a GPU-hour ({values.get('provider') or 'given'})"
    )


def _figures(planned: Planned) -> list[tuple[str, str]]:
    values, setting = planned.values, planned.option.setting
    step, memory, cost = values["step"], values["memory"], values.get("cost")
    hours = {name: units.SECONDS_PER_HOUR * v for name, v in values["run"]["wall_hours"].items()}
    found = [
        ("steps", f"{planned.steps:,} of {setting.step.samples:,} samples"),
        ("a step", _range(step["seconds"], units.format_seconds)),
        ("time", _range(hours, units.format_seconds)),
        ("memory used", _range(memory["device_used_bytes"], units.format_bytes)),
        ("memory there", units.format_bytes(memory["device_total_bytes"])),
    ]
    if cost is not None:
        found.append(("cost", _range(cost["usd"], units.format_usd)))
    return found


def _range(figure: Mapping[str, float], words: Any) -> str:
    return f"{words(figure['p50'])} ({words(figure['p10'])} to {words(figure['p90'])})"
