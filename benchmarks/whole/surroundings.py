"""What a report says of the run around its steps, as fields of the question: a function a subject,
listed in ``SUBJECTS``. Each reads the report's words and adds to ``asked.fields``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.whole import facts
from benchmarks.whole.asked import Asked
from benchmarks.whole.report import Report

#: More than any host has for a device: the planner takes as many as there are.
EVERY_CORE = 1000


def surroundings(report: Report, asked: Asked) -> None:
    """Every subject, in their order."""
    for subject in SUBJECTS:
        subject(report, asked)


def _evaluation(report: Report, asked: Asked) -> None:
    fields, recipe = asked.fields, facts.evaluation_of(report["id"])
    if recipe is not None:
        _evaluation_of_recipe(recipe, asked)
    elif report.says(r"no evaluation"):
        fields["evaluations_per_epoch"] = 0
    elif found := report.says(r"evaluation of (\d+) \w+ each epoch"):
        fields["evaluation_samples"] = int(found[1])
    elif (found := report.says(r"evaluation every (\d+) steps")) and fields.get("max_steps"):
        fields["evaluations_per_epoch"] = fields["max_steps"] / int(found[1])
    elif _is_cut_short(report):
        fields["evaluations_per_epoch"] = 0


def _evaluation_of_recipe(recipe: dict[str, str], asked: Asked) -> None:
    """What its source says, where it was read."""
    fields = asked.fields
    for name, key, kind in (
        ("evaluation_samples", "samples", int),
        ("evaluations_per_epoch", "per_epoch", float),
        ("evaluation_batch", "batch", int),
        ("generated_tokens", "tokens", float),
        ("beams", "beams", int),
    ):
        if recipe[key]:
            fields[name] = kind(recipe[key])
    if recipe["generates"]:
        fields["evaluation_generates"] = recipe["generates"] == "1"
    if recipe["keeps"]:
        fields["evaluation_keeps_logits"] = recipe["keeps"] == "1"
    if recipe["every_steps"] and fields.get("max_steps"):
        times = fields["max_steps"] // int(recipe["every_steps"])
        fields["evaluations_per_epoch"] = times / _epochs(fields)
    asked.assumed.append(f"evaluation: {recipe['how']}")


def _epochs(fields: dict[str, Any]) -> float:
    """Passes over the data that the asked steps make."""
    batch = fields.get("global_batch") or fields.get("micro_batch") or 1
    return fields["max_steps"] * batch / fields["samples"]


def _saving(report: Report, asked: Asked) -> None:
    if _is_cut_short(report):
        asked.fields["saves_per_epoch"] = 0


def _loading(report: Report, asked: Asked) -> None:
    """Loaders of their own that a device never waits for: decoded data in memory, on every core."""
    if report.says(r"no loading bottleneck|loader in memory|\bFFCV\b"):
        asked.fields |= {"prepared": True, "loader_workers": EVERY_CORE}
        asked.assumed.append("a loader that the device does not wait for")


def _grouping(report: Report, asked: Asked) -> None:
    """Trainer groups by length where its script asks for it."""
    if report.says(r"group(ed)?[ _]by[ _]length"):
        asked.fields["group_by_length"] = True


def _is_cut_short(report: Report) -> bool:
    """A notebook's demonstration: some steps, then nothing."""
    return bool(report.says(r"run is the max_steps shown"))


SUBJECTS: tuple[Callable[[Report, Asked], None], ...] = (
    _evaluation,
    _saving,
    _loading,
    _grouping,
)
