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
from planner.parallel.model.narrow import of_end, of_rank
from planner.parallel.model.places import EMBEDDING, places_of, unplaced
from planner.parallel.model.schedule import in_flight as flying
from planner.parallel.model.sequence import in_parts
from planner.parallel.model.stages import FIRST, LAST, MIDDLE, STAGES, cut_to, in_flight
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
_BLOCK = re.compile(r"^(.*?\.\d+)(?=\.|$)")


def stages_of(trace: StepTrace) -> tuple[StepTrace, ...]:
    """The stages behind the first; none of a trace that is no stage."""
    return trace.meta.get(STAGES) or ()


def point_of(trace: StepTrace, dims: np.ndarray) -> dict[str, np.ndarray]:
    """Batch and length that a rank's dimensions are of."""
    batch, length, *_ = trace.meta[HIDDEN]
    return {"B": dims[batch], "S": dims[length]}


def check_split(facts: ModelFacts, recipe: Recipe, has_teacher: bool, plan: ParallelPlan) -> None:
    """Raises QuestionError for what is not planned."""
    why = None
    if has_teacher or recipe.objective is not None:
        why = "models beside the trained one are"
    elif recipe.has_adapters or recipe.load_in or recipe.strategy not in ("fine_tune", "scratch"):
        why = "adapters, frozen and quantised weights are"
    elif recipe.compile:
        why = "compiled steps (torch.compile, float8), whose operations name no module, are"
    elif recipe.offload or recipe.optimizer_in_backward:
        why = f"{FieldName('offload')} and {FieldName('optimizer_in_backward')} are"
    if why is not None:
        raise QuestionError(
            f"{why} not planned together with tensor or pipeline parallelism",
            where=FieldName("tensor_parallel" if plan.tp > 1 else "pipeline_parallel"),
            mend="Share the model's state over the devices: parallel fsdp",
        )
    of_rank(facts, plan.tp, plan.pp, plan.chunks)


@dataclass
class RankSource(TraceSource):
    """``whole``: traces of the model; ``narrow``: of the model with a rank's share of its
    layers."""

    whole: TraceSource | None = None
    narrow: TraceSource | None = None
    parallel: ParallelPlan = field(default_factory=ParallelPlan)
    #: Of the first and the last stage, where those have a layer less than the others.
    ends: TraceSource | None = None

    @property
    def largest(self) -> TraceSource:
        return self

    @property
    def lies(self) -> bool:
        sources = (self.whole, self.narrow, *([self.ends] if self.ends else []))
        return all(source is not None and source.lies for source in sources)

    def at(self, *, B: int, S: int | None = None, T: int | None = None) -> StepTrace:
        assert self.whole is not None and self.narrow is not None
        sources = (self.whole, self.narrow, *([self.ends] if self.ends else []))
        for source in sources:
            source.progress, source.record = self.progress, self.record
        whole, narrow, *ends = (source.at(B=B, S=S, T=T) for source in sources)
        key = self.parallel.split
        return narrow.memo.of("rank", key, lambda: rank_trace(narrow, whole, self.parallel, *ends))


def rank_facts(facts: ModelFacts, parallel: ParallelPlan) -> ModelFacts:
    """The model that a rank's step is recorded of."""
    return of_rank(facts, parallel.tp, parallel.pp, parallel.chunks)


def end_facts(facts: ModelFacts, parallel: ParallelPlan) -> ModelFacts | None:
    """The model of the first and of the last stage, where those have a layer less."""
    return of_end(facts, parallel.tp, parallel.pp, parallel.chunks)


def rank_source(
    whole: TraceSource,
    narrow: TraceSource,
    parallel: ParallelPlan,
    ends: TraceSource | None = None,
) -> RankSource:
    """``narrow``: of ``rank_facts``, ``ends`` of ``end_facts``, with the same recipe as
    ``whole``."""
    return RankSource(
        whole.facts,
        whole.recipe,
        record=whole.record,
        whole=whole,
        narrow=narrow,
        parallel=parallel,
        ends=ends,
    )


def rank_trace(
    narrow: StepTrace, whole: StepTrace, parallel: ParallelPlan, ends: StepTrace | None = None
) -> StepTrace:
    """The step of a rank of the first stage. ``ends``: of the first and the last stage, where
    those have a layer less. Raises QuestionError for a model whose embedding, attentions and MLPs
    are not found."""
    if unplaced(narrow, places_of(narrow, _blocks(narrow))):
        raise QuestionError(
            "its blocks' products are not told apart as attention and MLP",
            where=FieldName("tensor_parallel" if parallel.tp > 1 else "pipeline_parallel"),
            mend="Share the model's state over the devices: parallel fsdp",
        )
    own = {key: whole.meta[key] for key in OF_WHOLE if key in whole.meta}
    stages = [FIRST, MIDDLE, LAST] if parallel.pp > 2 else [FIRST, LAST]
    made = []
    for stage in stages if parallel.pp > 1 else [None]:
        one = narrow if ends is None or stage in (None, MIDDLE) else ends
        hidden = _hidden(one)
        trace = replace(one, meta={**one.meta, **own, HIDDEN: hidden})
        if stage is not None:
            trace = cut_to(trace, places_of(trace, _blocks(trace)), stage)
        if parallel.tp > 1:
            places = places_of(trace, _blocks(trace))
            trace = in_parts(trace, places, parallel.tp, hidden)
        made.append(trace)
    first, *others = made
    if others:
        held = flying(parallel.pp, parallel.chunks)
        first = in_flight(first, math.ceil(held))
        if len(others) > 1:  # the stage behind the first holds one micro-batch less
            others[0] = in_flight(others[0], parallel.pp - 1)
        first = replace(first, meta={**first.meta, STAGES: tuple(others)})
    return first


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
