"""The document of ``planner explain``: one option, where its step's time and memory go, and what
each change would buy."""

from __future__ import annotations

from typing import Any

from planner.explain.asked_anew import asked_anew
from planner.explain.clocked import clocked
from planner.explain.memories import memory_at_peak
from planner.explain.subject import Subject, subject
from planner.explain.times import step_times
from planner.question import Question
from planner.trace.source import Progress

SCHEMA = 1


def explain(
    question: Question, progress: Progress | None = None, *, changes: bool = True
) -> dict[str, Any]:
    """Plain JSON values (``schema.py`` holds the schema). ``changes``: whether each change is asked
    too, which may record the model anew. Raises PlannerError with one line that says how to mend
    the question."""
    found = subject(question, progress)
    option, asked = found.option, found.question
    step = clocked(asked, option.setting, option.rented)
    longest = clocked(asked, option.placement.heaviest, option.rented, longest=True)
    anew = asked_anew(found, progress, changes=changes)
    return {
        "schema": SCHEMA,
        "first_lines": [line.as_dict() for line in found.first_lines],
        "question": asked.model_dump(mode="json"),
        "option": _option(found),
        "time": step_times(step),
        "memory": memory_at_peak(option, longest),
        "held": anew.held,
        "changes": anew.changes,
        "left_out": anew.left_out,
        "notes": _notes(found),
    }


def _option(found: Subject) -> dict[str, Any]:
    option, setting = found.option, found.option.setting
    length, offer = setting.mean["S"], option.rented.offer
    recipe = setting.recipe
    return {
        "strategy": option.strategy,
        "variant": option.variant,
        "model": option.facts.name,
        "gpu": option.rented.spec.name,
        "gpu_key": option.rented.spec.key,
        "gpus": option.rented.parallel.devices,
        "provider": offer.provider if offer else None,
        "is_recommended": found.is_recommended,
        "fits": option.fits,
        "micro_batch_size": setting.micro_batch,
        "gradient_accumulation": setting.accumulation,
        "sequence_length": length if setting.batches.mean_padded_length is not None else None,
        "longest_length": setting.batches.longest_length,
        "step_seconds": setting.step.seconds.as_dict(),
        "wall_hours": option.run.wall_hours.as_dict(),
        "usd": None if option.bill is None else option.bill.usd.as_dict(),
        "training": {
            "precision": recipe.precision,
            "optimizer": recipe.optimizer,
            "gradient_checkpointing": recipe.gradient_checkpointing,
            "attention": recipe.attention,
            "compile": recipe.compile,
            "padding": option.choices.padding,
            "global_batch_size": setting.step.samples,
        },
    }


def _notes(found: Subject) -> list[str]:
    stages = len(found.option.placement.settings)
    notes = [
        "seconds are of one optimizer step at the mean padded batch, bytes at the peak of the "
        "longest batch",
        "each change is asked anew with everything else held: epochs, batches, lengths, precision",
    ]
    if stages > 1:
        notes.append(f"it runs in {stages} stages; the one that the answer shows is explained")
    if not found.is_recommended:
        notes.append("nothing keeps the limits and fits: what comes nearest is explained")
    return notes
