"""Traces of one of several devices that have other experts, or other parts of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from planner.errors import FieldName, QuestionError
from planner.parallel.model.context import context_trace
from planner.parallel.model.experts import expert_trace, has_experts
from planner.parallel.plan import ParallelPlan
from planner.parallel.ranks import STAGES, stages_of, unplanned
from planner.trace.source import TraceSource
from planner.trace.table import StepTrace
from planner.training.recipe import Recipe


def check_parts(recipe: Recipe, has_teacher: bool, plan: ParallelPlan) -> None:
    """Raises QuestionError for what is not planned."""
    why = unplanned(recipe, has_teacher)
    if why is not None:
        raise QuestionError(
            f"{why} not planned together with expert or context parallelism",
            where=FieldName("expert_parallel" if plan.ep > 1 else "context_parallel"),
            mend="Share the model's state over the devices: parallel fsdp",
        )


@dataclass
class PartSource(TraceSource):
    """``whole``: traces of a device with all experts and the whole sequence, a stage's too."""

    whole: TraceSource | None = None
    parallel: ParallelPlan = field(default_factory=ParallelPlan)

    @property
    def _of(self) -> TraceSource:
        assert self.whole is not None
        self.whole.progress, self.whole.record = self.progress, self.record
        return self.whole

    @property
    def largest(self) -> TraceSource:
        whole = self._of.largest
        return self if whole is self.whole else replace(self, whole=whole)

    @property
    def lies(self) -> bool:
        return self._of.lies

    def at(self, *, B: int, S: int | None = None, T: int | None = None) -> StepTrace:
        return part_trace(self._of.at(B=B, S=S, T=T), self.parallel)


def part_source(whole: TraceSource, parallel: ParallelPlan) -> PartSource:
    """Of ``whole`` with a device's experts and part of the sequence. Raises QuestionError for what
    is not planned."""
    check_parts(whole.recipe, whole.teacher is not None, parallel)
    parallel.checked()
    return PartSource(
        whole.facts, whole.recipe, record=whole.record, whole=whole, parallel=parallel
    )


def part_trace(trace: StepTrace, parallel: ParallelPlan) -> StepTrace:
    """One device's step, and those of the stages behind it. Kept with the trace."""
    key = parallel.cp, parallel.ep, parallel.same_experts if parallel.ep > 1 else 1
    return trace.memo.of("part", key, lambda: _with_stages(trace, parallel))


def _with_stages(trace: StepTrace, parallel: ParallelPlan) -> StepTrace:
    made = context_trace(trace, parallel.cp) if parallel.cp > 1 else trace
    others = stages_of(trace)
    # the first stages of a model may have no experts, but some stage has
    if parallel.ep > 1 and (has_experts(trace) or not any(map(has_experts, others))):
        made = expert_trace(made, parallel.ep, parallel.same_experts)
    if not others:
        return made
    dense = replace(parallel, ep=1)
    behind = tuple(part_trace(one, parallel if has_experts(one) else dense) for one in others)
    return replace(made, meta={**made.meta, STAGES: behind})
