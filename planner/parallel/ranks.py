"""Traces of one of several devices that share a model's layers: tensor-parallel ranks with sequence
parallelism, stages of a pipeline.

The step of a narrower or shorter model is recorded (``model/narrow.py``), cut to a stage
(``model/stages.py``) and its norms and residuals to a part of the sequence (``model/sequence.py``).
What is given out is the first stage, which holds the most activations: as many micro-batches as
there are stages, whatever the accumulation; the other stages lie in its ``meta``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace

import numpy as np

from planner.errors import FieldName, QuestionError
from planner.models.facts import ModelFacts
from planner.parallel.model.narrow import layers_of, of_rank
from planner.parallel.model.places import EMBEDDING, places_of, unplaced
from planner.parallel.model.schedule import in_flight as flying
from planner.parallel.model.sequence import in_parts
from planner.parallel.model.stages import FIRST, LAST, MIDDLE, STAGES, cut_to, in_flight
from planner.parallel.model.zero_bubble import SCHEDULES, ZBV, held
from planner.parallel.plan import ParallelPlan
from planner.trace.source import TraceSource
from planner.trace.table import ITEMSIZE, StepTrace
from planner.training.host_memory import NARROW
from planner.training.recipe import Recipe

#: The name of a trace's attribute that says which forms a hidden state has: batch, sequence, width,
#: and its bytes a number.
HIDDEN = "hidden"
#: Bytes of a number of a hidden state under mixed precision.
SENT_NARROW = 2
#: Of the whole model, whatever a rank has of it.
OF_WHOLE = ("model", "total_params", "trainable_params", "checkpoint_bytes", "fingerprint")
#: The embedding and the head, each a layer where chunks are counted.
ENDS = 2
_BLOCK = re.compile(r"^(.*?\.\d+)(?=\.|$)")


def stages_of(trace: StepTrace) -> tuple[StepTrace, ...]:
    """The stages behind the first; none of a trace that is no stage."""
    return trace.meta.get(STAGES) or ()


def point_of(trace: StepTrace, dims: np.ndarray) -> dict[str, np.ndarray]:
    """Batch and length that a rank's dimensions are of."""
    batch, length, *_ = trace.meta[HIDDEN]
    return {"B": dims[batch], "S": dims[length]}


def unplanned(recipe: Recipe, has_teacher: bool) -> str | None:
    """What of a training is not planned where devices have other layers, experts or parts of a
    sequence; None where all is."""
    if has_teacher or recipe.objective is not None:
        return "models beside the trained one are"
    if recipe.has_adapters or recipe.load_in or recipe.strategy not in ("fine_tune", "scratch"):
        return "adapters, frozen and quantised weights are"
    if recipe.compile:
        return "compiled steps (torch.compile, float8), whose operations name no module, are"
    if recipe.offload or recipe.optimizer_in_backward:
        return f"{FieldName('offload')} and {FieldName('optimizer_in_backward')} are"
    return None


def check_split(facts: ModelFacts, recipe: Recipe, has_teacher: bool, plan: ParallelPlan) -> None:
    """Raises QuestionError for what is not planned."""
    why = unplanned(recipe, has_teacher)
    if why is not None:
        raise QuestionError(
            f"{why} not planned together with tensor or pipeline parallelism",
            where=FieldName("tensor_parallel" if plan.tp > 1 else "pipeline_parallel"),
            mend="Share the model's state over the devices: parallel fsdp",
        )
    of_rank(facts, plan.tp, plan.pp)
    layers = layers_of(facts)
    if plan.chunks > 1 and layers is not None:
        count = int((facts.config or {})[layers.layers])
        if plan.pp * plan.chunks > count + ENDS:
            raise QuestionError(
                f"{count} layers do not fill {plan.pp} stages of {plan.chunks} parts",
                where=FieldName("pipeline_chunks"),
                mend=f"Use at most {(count + ENDS) // plan.pp}",
            )


@dataclass
class RankSource(TraceSource):
    """``whole``: traces of the model; ``narrow``: of the model with a rank's share of its
    layers, on the first stage, ``others``: on one between and on the last, where there are any."""

    whole: TraceSource | None = None
    narrow: TraceSource | None = None
    others: tuple[TraceSource, ...] = ()
    parallel: ParallelPlan = field(default_factory=ParallelPlan)

    @property
    def largest(self) -> TraceSource:
        return self

    @property
    def lies(self) -> bool:
        needed = (self.whole, self.narrow, *self.others)
        return all(source is not None and source.lies for source in needed)

    def at(self, *, B: int, S: int | None = None, T: int | None = None) -> StepTrace:
        assert self.whole is not None and self.narrow is not None
        for source in (self.whole, self.narrow, *self.others):
            source.progress, source.record = self.progress, self.record
        narrow, whole = self.narrow.at(B=B, S=S, T=T), self.whole.at(B=B, S=S, T=T)
        others = tuple(source.at(B=B, S=S, T=T) for source in self.others)
        key = self.parallel.split, tuple(map(id, others))
        return narrow.memo.of("rank", key, lambda: rank_trace(narrow, whole, self.parallel, others))


def stage_facts(facts: ModelFacts, parallel: ParallelPlan) -> tuple[ModelFacts, ...]:
    """The models that a rank's steps are recorded of: on the first stage, one between, the last."""
    return of_rank(facts, parallel.tp, parallel.pp)


def rank_facts(facts: ModelFacts, parallel: ParallelPlan) -> ModelFacts:
    """The model that a rank's step of the first stage is recorded of."""
    return stage_facts(facts, parallel)[0]


def rank_source(
    whole: TraceSource,
    narrow: TraceSource,
    parallel: ParallelPlan,
    others: tuple[TraceSource, ...] = (),
) -> RankSource:
    """``narrow``, ``others``: of ``stage_facts``, with the same recipe as ``whole``; without the
    others all stages are as the first. Raises ValueError where they are not."""
    made = stage_facts(whole.facts, parallel)
    if not others and len({one.fingerprint for one in made}) > 1:
        raise ValueError("stages with other layers need sources of their own")
    return RankSource(
        whole.facts,
        whole.recipe,
        record=whole.record,
        whole=whole,
        narrow=narrow,
        others=others,
        parallel=parallel,
    )


def rank_trace(
    narrow: StepTrace, whole: StepTrace, parallel: ParallelPlan, others: tuple[StepTrace, ...] = ()
) -> StepTrace:
    """The step of a rank of the first stage. Raises QuestionError for a model whose embedding,
    attentions and MLPs are not found."""
    if unplaced(narrow, places_of(narrow, _blocks(narrow))):
        raise QuestionError(
            "its blocks' products are not told apart as attention and MLP",
            where=FieldName("tensor_parallel" if parallel.tp > 1 else "pipeline_parallel"),
            mend="Share the model's state over the devices: parallel fsdp",
        )
    own = {key: whole.meta[key] for key in OF_WHOLE if key in whole.meta}
    stages: list[str | None] = [FIRST, MIDDLE, LAST] if parallel.pp > 2 else [FIRST, LAST]
    if parallel.schedule == ZBV:  # the first rank has both ends, the others none
        stages = [None, MIDDLE, MIDDLE] if parallel.pp > 2 else [None, MIDDLE]
    made = []
    recorded = (narrow, *(others or (narrow,) * (len(stages) - 1)))
    for stage, step in zip(stages if parallel.pp > 1 else [None], recorded, strict=False):
        hidden = _hidden(step)
        trace = replace(step, meta={**step.meta, **own, HIDDEN: hidden})
        if stage is not None:
            trace = cut_to(trace, places_of(trace, _blocks(trace)), stage)
        if parallel.tp > 1:
            places = places_of(trace, _blocks(trace))
            trace = in_parts(trace, places, parallel.tp, hidden)
        made.append(trace)
    first, *behind = made
    if behind:
        counts = _in_flight(parallel)
        first = in_flight(first, counts[0])
        behind = [in_flight(one, n) for one, n in zip(behind, counts[-len(behind) :], strict=True)]
        first = replace(first, meta={**first.meta, STAGES: tuple(behind)})
    return first


def _in_flight(parallel: ParallelPlan) -> tuple[int, int, int]:
    """Micro-batches whose activations the first stage, the one behind it, and the last hold at
    most."""
    stages, chunks = parallel.pp, parallel.chunks
    if parallel.schedule not in SCHEDULES:
        # the stage behind the first holds one micro-batch less
        return math.ceil(flying(stages, chunks)), stages - 1, 1
    many = 4 * stages  # from here on no more are held
    found = [held(parallel.schedule, rank, stages, many, chunks) for rank in range(stages)]
    inner = max(found[1:-1], default=found[-1])
    return math.ceil(found[0]), math.ceil(inner), math.ceil(found[-1])


def _blocks(trace: StepTrace) -> dict[int, str]:
    """Module → its block, of a model of one block too."""
    found = {n: _BLOCK.match(path) for n, path in enumerate(trace.modules)}
    return {n: match[1] for n, match in found.items() if match}


def _hidden(trace: StepTrace) -> tuple[int, int, int, int]:
    for index in trace.op_signature.tolist():
        one = trace.signatures[index]
        if one.op.startswith(EMBEDDING) and len(one.outputs[0].shape) == 3:
            made = one.outputs[0]
            batch, length, width = made.shape
            precision = str(trace.meta.get("recipe", {}).get("precision"))
            # whoever mixes precisions sends the narrow one
            narrow = SENT_NARROW if precision in NARROW else ITEMSIZE[made.dtype]
            return batch, length, width, narrow
    raise QuestionError(
        "no embedding of tokens is in its step", where=FieldName("tensor_parallel"), mend="Use fsdp"
    )
