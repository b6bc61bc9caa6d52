"""Which plans a question's devices are looked at under."""

from __future__ import annotations

from collections.abc import Sequence

from planner.parallel.plan import ParallelPlan, counts_among, plans_apart, plans_for
from planner.question import Question


def ranks_of(question: Question) -> ParallelPlan:
    """The devices that have a copy of the model together."""
    return ParallelPlan(
        tp=question.tensor_parallel,
        cp=question.context_parallel,
        pp=question.pipeline_parallel,
        ep=question.expert_parallel,
        chunks=question.pipeline_chunks,
    )


def ways_of(
    question: Question, counts: Sequence[int], apart: bool
) -> list[tuple[ParallelPlan, ...]]:
    """Of each count of devices the plans, in the order in which they are tried; ``apart``: each a
    way of its own. Raises QuestionError where asked devices do not divide among the ranks."""
    ranks = ranks_of(question)
    counted = counts_among(counts, ranks, "gpus" in question.model_fields_set)
    if apart:
        plans = [p for count in counted for p in plans_apart(count, question.parallel, ranks=ranks)]
        return [(plan,) for plan in plans]
    ways = [plans_for(count, question.parallel, ranks) for count in counted]
    if question.parallel is None and "gpus" not in question.model_fields_set:
        return [plans[:1] for plans in ways]  # of counts that nobody asked for copies alone
    return ways
