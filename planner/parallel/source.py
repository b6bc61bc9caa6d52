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
from planner.training.host_memory import ACTIVATIONS, NARROW, WEIGHTS, together
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


def why_not_shared(recipe: Recipe, has_teacher: bool, sharding: str = "") -> str | None:
    """What of a recipe is not planned where devices share its state, by ``sharding`` or in any
    way; None where it is."""
    if has_teacher or recipe.objective is not None:
        return "models beside the trained one are not planned in parts yet"
    words = recipe.offload or ()
    if ACTIVATIONS in words:
        return f"{FieldName('offload')} activations is not planned together with it yet"
    if words and sharding == "fsdp" and WEIGHTS not in words:
        return (
            f"{FieldName('offload')} {','.join(words)}: FSDP2's CPUOffloadPolicy moves parameters, "
            "gradients and states together (weights)"
        )
    if WEIGHTS in words and sharding in ("zero1", "zero2"):
        return f"{FieldName('offload')} weights: DeepSpeed's offload_param is of stage 3 (zero3)"
    if recipe.optimizer_in_backward:
        return f"{FieldName('optimizer_in_backward')} is not planned together with it yet"
    return None


def check_shared(recipe: Recipe, has_teacher: bool, parallel: ParallelPlan) -> None:
    """Raises QuestionError for what is not planned."""
    way = parallel.sharding
    why = why_not_shared(recipe, has_teacher, way) if way else None
    if why is not None:
        raise QuestionError(
            f"{parallel.sharding}: {why}",
            where=FieldName("parallel"),
            mend="Leave one of them out",
        )


def recorded_as(recipe: Recipe) -> Recipe:
    """What a device runs: under mixed precision the parameters come in 16 bits, and float32 is
    kept in parts alone. What waits in the host's memory is a rewrite of that."""
    return replace(recipe, precision=NARROW.get(recipe.precision, recipe.precision), offload=None)


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
        host = together(self.recipe.offload or ())
        kept = Kept(wide, self.reduced if wide else None, host)
        return shared_trace(whole, self.parallel, kept)


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
    "zero1": lambda trace, shards, kept: zero_sharded(trace, shards, 1, kept.host),
    "zero2": lambda trace, shards, kept: zero_sharded(trace, shards, 2, kept.host),
    "zero3": lambda trace, shards, kept: zero_sharded(trace, shards, 3, kept.host),
}
