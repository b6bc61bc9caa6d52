"""Traces of one of several devices that share a model's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from planner.errors import FieldName, QuestionError
from planner.parallel.parts import PartSource
from planner.parallel.plan import ParallelPlan
from planner.parallel.ranks import STAGES, RankSource, stages_of
from planner.parallel.sharded import Collective, Kept, Sharded, fully_sharded
from planner.parallel.zero import zero_sharded
from planner.trace.source import TraceSource
from planner.trace.table import StepTrace
from planner.training.host_memory import NARROW
from planner.training.recipe import Recipe

#: The name of a trace's attribute that lists what its devices send each other.
SENT = "collectives"


@dataclass(frozen=True)
class Sending:
    """Collectives of one micro-batch, and of an update. ``at_end``: those of a micro-batch run in
    a step's last one alone."""

    micro_batch: tuple[Collective, ...] = ()
    update: tuple[Collective, ...] = ()
    units: int = 0
    at_end: bool = False

    def times(self, accumulation: int) -> int:
        """How often a step runs those of a micro-batch."""
        return 1 if self.at_end else accumulation


def collectives_of(trace: StepTrace) -> Sending:
    """Nothing of a trace that is not sharded."""
    return trace.meta.get(SENT) or Sending()


def why_not_shared(recipe: Recipe, has_teacher: bool) -> str | None:
    """What of a recipe is not planned where devices share its state; None where it is."""
    if has_teacher or recipe.objective is not None:
        return "models beside the trained one are not planned in parts yet"
    if recipe.offload:
        return f"{FieldName('offload')} is not planned together with it yet"
    if recipe.optimizer_in_backward:
        return f"{FieldName('optimizer_in_backward')} is not planned together with it yet"
    return None


def check_shared(recipe: Recipe, has_teacher: bool, parallel: ParallelPlan) -> None:
    """Raises QuestionError for what is not planned."""
    why = why_not_shared(recipe, has_teacher) if parallel.sharding else None
    if why is not None:
        raise QuestionError(
            f"{parallel.sharding}: {why}",
            where=FieldName("parallel"),
            mend="Leave one of them out",
        )


def recorded_as(recipe: Recipe) -> Recipe:
    """What a device runs: under mixed precision the parameters come in 16 bits, and float32 is
    kept in parts alone."""
    return replace(recipe, precision=NARROW.get(recipe.precision, recipe.precision))


@dataclass
class ShardedSource(TraceSource):
    """``whole``: where the traces of a device with everything come from, recorded as
    ``recorded_as`` says; ``recipe`` is the asked one."""

    whole: TraceSource | None = None
    parallel: ParallelPlan = field(default_factory=ParallelPlan)
    #: What gradients are sent in under mixed precision.
    reduced: str | None = None

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
        whole = self._of.at(B=B, S=S, T=T)
        wide = self.recipe.precision in NARROW
        return shared_trace(whole, self.parallel, Kept(wide, self.reduced if wide else None))


#: Sources of a device that has a part of the model or of its data alone.
IN_PARTS = (ShardedSource, RankSource, PartSource)


def shared_source(
    whole: TraceSource, recipe: Recipe, parallel: ParallelPlan, reduced: str | None = None
) -> ShardedSource:
    """Of ``recipe`` under a plan that shares state; ``whole`` is of ``recorded_as(recipe)``,
    ``reduced`` as ``Kept``. Raises QuestionError for what is not planned."""
    check_shared(recipe, whole.teacher is not None, parallel)
    return ShardedSource(
        whole.facts,
        recipe,
        record=whole.record,
        whole=whole,
        parallel=parallel,
        reduced=reduced,
    )


def shared_trace(trace: StepTrace, parallel: ParallelPlan, kept: Kept) -> StepTrace:
    """One device's step under a plan. Kept with the trace."""
    key = parallel.shared, kept
    return trace.memo.of("shared", key, lambda: _sending(trace, parallel, kept))


def _sending(trace: StepTrace, parallel: ParallelPlan, kept: Kept) -> StepTrace:
    made = _PLANS[parallel.sharding](trace, parallel.shards, kept)
    at_end = parallel.sharding == "zero1"
    sending = Sending(made.collectives, made.of_update, made.units, at_end)
    meta = {**made.trace.meta, SENT: sending}
    if stages_of(trace):
        meta[STAGES] = tuple(shared_trace(one, parallel, kept) for one in stages_of(trace))
    return replace(made.trace, meta=meta)


_PLANS: dict[str, Callable[[StepTrace, int, Kept], Sharded]] = {
    "fsdp": fully_sharded,
    "zero1": lambda trace, shards, _: zero_sharded(trace, shards, 1),
    "zero2": lambda trace, shards, _: zero_sharded(trace, shards, 2),
    "zero3": lambda trace, shards, _: zero_sharded(trace, shards, 3),
}
