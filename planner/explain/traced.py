"""The document of ``planner trace``."""

from __future__ import annotations

from typing import Any

from planner.explain.clocked import clocked
from planner.explain.events import trace_events
from planner.explain.subject import subject
from planner.memory.history import history
from planner.memory.runtime import runtime_memory
from planner.question import Question
from planner.trace.source import Progress


def traced(
    question: Question, progress: Progress | None = None, *, longest: bool = False
) -> dict[str, Any]:
    """The recommended option's step at the mean padded batch, which the answer's seconds are of;
    ``longest``: at the longest, which its memory is of. Raises PlannerError."""
    found = subject(question, progress)
    option, setting = found.option, found.option.setting
    step = clocked(found.question, setting, option.rented, longest=longest)
    seen = history(
        step.trace,
        {"B": setting.micro_batch, **(setting.longest if longest else setting.mean)},
        accumulation=setting.accumulation,
        workspace=runtime_memory(option.rented.spec).workspace,
    )
    words = option.strategy.replace("_", " ")
    name = f"{words} of {option.facts.name} on {option.rented.spec.name}, one step"
    document = trace_events(step, seen, name)
    document["otherData"] |= {
        "strategy": option.strategy,
        "variant": option.variant,
        "model": option.facts.name,
        "gpu": option.rented.spec.name,
        "gpus": option.rented.parallel.devices,
        "batch": "longest" if longest else "mean",
        "micro_batch_size": setting.micro_batch,
        "is_recommended": found.is_recommended,
    }
    return document
