"""Record a model's step at the points that a fit needs. Torch is imported here and to the right of
here."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from planner.models.facts import ModelFacts
from planner.trace.recorder.fit import StructureChanges, fit
from planner.trace.recorder.step_runner import WEIGHTS, StepRunner
from planner.trace.table import SHORTEST, StepTrace, TraceFamily
from planner.trace.versions import versions
from planner.training.recipe import Recipe
from planner.version import __version__

#: Lengths at which dimensions are told apart: far from each other and from the widths of heads and
#: layers.
LENGTHS, TARGET_LENGTHS = (48, 112), (24, 40)
BATCHES = (2, 3)


def record_regime(
    facts: ModelFacts,
    recipe: Recipe,
    teacher: ModelFacts | None,
    regime: str,
    length: int | None,
    window: int | None,
    progress=None,
) -> tuple[TraceFamily, bool]:
    """(the family with one trace, was it recorded for this exact length only). A model whose
    operations change with the length (blocks of tokens, chunked attention) is fitted in the batch
    alone."""
    runner = runner_for(facts, recipe, teacher)
    symbols = "".join(runner.built.symbols)
    low = window if regime.endswith("w") else SHORTEST if "S" in symbols else None
    high = None if regime.endswith("w") or not window else window - 1
    try:
        return TraceFamily((_fit(runner, regime, symbols, (low, high), None, progress),)), False
    except StructureChanges:
        if "S" not in symbols or length is None:
            raise
    return TraceFamily((_fit(runner, regime, symbols, (length, length), length, progress),)), True


def _fit(
    runner: StepRunner, regime: str, symbols: str, lengths: tuple, exact: int | None, progress
) -> StepTrace:
    points = _points(
        regime,
        symbols,
        lengths[0] if regime.endswith("w") else None,
        exact,
        runner.built.facts.max_length,
    )
    free = "".join(
        s
        for s in symbols
        if not (s == "B" and regime.startswith("b1")) and not (s == "S" and exact)
    )
    raws = []
    for number, point in enumerate(points):
        if progress:
            progress(
                f"tracing {runner.built.facts.name}, {runner.recipe.strategy}", number, len(points)
            )
        raws.append(runner.record(**point))
    if progress:
        progress(
            f"tracing {runner.built.facts.name}, {runner.recipe.strategy}", len(points), len(points)
        )
    if any(len(r.operations) != len(raws[0].operations) for r in raws[1:]) and len(raws) > 1:
        # some models make a table in their first step and keep it; a run has many steps
        raws[0] = runner.record(**points[0])
    domain = {"B": (1, 1) if regime.startswith("b1") else (2, None)}
    if "S" in symbols:
        domain["S"] = lengths
    return fit(raws, points, free, meta=_meta(runner), domain=domain)


def _points(
    regime: str, symbols: str, past: int | None, exact: int | None, longest: int | None
) -> list[dict[str, int]]:
    """As many points as monomials, telling them apart."""
    batches = (1,) if regime.startswith("b1") else BATCHES
    first, second = (
        LENGTHS
        if longest is None or longest >= LENGTHS[1]
        else (max(SHORTEST, longest // 2), longest)
    )
    lengths = (exact,) if exact else (past, past + 64) if past else (first, second)
    if "S" not in symbols:
        return [{"B": b} for b in batches]
    points = [{"B": b, "S": s} for s in lengths for b in batches]
    if "T" not in symbols:
        return points
    return [{**p, "T": TARGET_LENGTHS[0]} for p in points] + [
        {**p, "T": TARGET_LENGTHS[1]} for p in points[: len(batches)]
    ]


def _meta(runner: StepRunner) -> dict:
    facts = runner.built.facts
    return {
        "model": facts.name,
        "fingerprint": facts.fingerprint,
        "library": facts.library,
        "task": runner.built.task,
        "recipe": runner.recipe.as_dict(),
        "versions": {"planner": __version__, **versions(facts.library)},
        **runner.counts(),
        "assumptions": sorted(
            {*runner.built.assumptions, *runner.prepared.assumptions, *runner.answers}
        ),
    }


@lru_cache(maxsize=2)
def _runner(key: tuple, holder: _Holder) -> StepRunner:
    return StepRunner(holder.build, holder.recipe, holder.build_teacher)


class _Holder:
    """What makes a runner; equal for equal keys, so that both regimes of a recipe share one built
    model."""

    def __init__(self, facts, recipe, teacher):
        self.facts, self.recipe, self.teacher = facts, recipe, teacher
        self.key = (facts.fingerprint, recipe.key(), teacher.fingerprint if teacher else None)

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        return self.key == other.key

    def build(self):
        return build_for(self.facts, self.recipe)

    def build_teacher(self):
        return build_for(self.teacher, replace(self.recipe, gradient_checkpointing="none"))


def runner_for(facts: ModelFacts, recipe: Recipe, teacher: ModelFacts | None = None) -> StepRunner:
    holder = _Holder(facts, recipe, teacher)
    return _runner(holder.key, holder)


def build_for(facts: ModelFacts, recipe: Recipe, device: str = "meta"):
    """The BuiltModel that a recipe trains: its weights' precision, its classes, its image size. On
    ``device`` for a real run."""
    from planner.models.building.build import build

    return build(
        facts,
        attention=recipe.attention,
        dtype=WEIGHTS.get(recipe.precision, "float32"),
        classes=recipe.classes,
        image_size=recipe.image_size,
        audio_samples=recipe.audio_samples,
        images=recipe.images,
        vision_tower=recipe.vision_tower,
        task=recipe.task,
        channels_last=convolutional(facts),
        device=device,
    )


def convolutional(facts: ModelFacts) -> bool:
    """Image models whose tensors lie channels-last on a GPU: every timm or torchvision model but
    the transformers."""
    name = (facts.architecture or "").lower()
    return facts.library in ("timm", "torchvision") and not any(
        part in name for part in ("vit", "swin", "deit", "beit", "eva", "mixer", "xcit", "cait")
    )
