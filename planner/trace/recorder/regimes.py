"""Record a model's step at the points that a fit needs. Torch is imported here and to the right of
here."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from planner.deferred import RARELY_CALLED, deferred
from planner.errors import FieldName, ModelError
from planner.models.facts import ModelFacts
from planner.models.images.layout import convolutional
from planner.trace.raw import RawTrace
from planner.trace.recorder.fitting.fit import StructureChanges, fit, fit_counts, monomials_of
from planner.trace.recorder.fitting.points import crowded, key_of, points_of, with_classes
from planner.trace.recorder.fitting.rounded import rounded_sizes
from planner.trace.recorder.kernels.selective_scan import fuse_scans
from planner.trace.recorder.step_runner import AUTOCAST, WEIGHTS, StepRunner
from planner.trace.table import OBJECTS, SHORTEST, StepTrace, TraceFamily
from planner.trace.versions import versions
from planner.training.float8 import convert
from planner.training.kernel_families import UNSLOTH
from planner.training.objective import SCORING_TASK, feed
from planner.training.recipe import CHANNELS_LAST, Recipe
from planner.training.registry import objective_of
from planner.training.savings.head_loss import replace_loss, vocabulary_sizes
from planner.training.savings.replaced import replace_parts
from planner.version import __version__

UNCOMPILED = (
    "the kernels that torch.compile makes of it are others at other batches: its memory is that of "
    "the step without it, its time is told by what compiling saves elsewhere"
)
#: Numbers of classes at which heads are told apart: of no layer's width, and a large prime apart,
#: so that what is rounded (blocks of quantised states) hardly passes for a whole number a class.
CLASSES = (37, 1046)


def record_regime(
    facts: ModelFacts,
    recipe: Recipe,
    teacher: ModelFacts | None,
    regime: str,
    length: int | None,
    window: int | None,
    progress=None,
) -> tuple[TraceFamily, bool]:
    """As ``_record_regime``. What needs torch's compiler has it loaded; where the kernels that it
    makes are others at other batches, the step is recorded without it and said so."""
    rest = (teacher, regime, length, window, progress)
    if not recipe.compile:
        return _record_regime(facts, recipe, *rest)
    from planner.trace.recorder.compiled import regions  # noqa: F401

    try:
        return _record_regime(facts, recipe, *rest)
    except StructureChanges:
        found, exact = _record_regime(facts, replace(recipe, compile=False), *rest)
    traces = tuple(_as_if_compiled(trace, recipe) for trace in found.traces)
    return replace(found, traces=traces), exact


def _as_if_compiled(trace: StepTrace, recipe: Recipe) -> StepTrace:
    said = sorted({*trace.meta["assumptions"], UNCOMPILED})
    return replace(trace, meta={**trace.meta, "recipe": recipe.as_dict(), "assumptions": said})


@deferred(*RARELY_CALLED)
def _record_regime(
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
    alone; a classifier's trace holds for any number of classes (its domain of C says so), or where
    that changes the operations for the recipe's alone."""
    heads = Heads(facts, recipe, teacher)
    symbols = "".join(heads.first.built.symbols)
    low = window if regime.endswith("w") else SHORTEST if "S" in symbols else None
    high = None if regime.endswith("w") or not window else window - 1
    steps = Steps(heads, regime, symbols, progress)
    try:
        return TraceFamily((steps.fitted((low, high), None),)), False
    except StructureChanges as error:
        if recipe.largest is not None:
            full = Steps(Heads(facts, recipe, teacher), regime, symbols, progress, is_full=True)
            return _of_full_images(full, facts), False
        if "S" not in symbols or length is None:
            raise _unlike(facts, error) from error
    try:
        return TraceFamily((steps.fitted((length, length), length),)), True
    except StructureChanges as error:
        raise _unlike(facts, error) from error


def _of_full_images(steps: Steps, facts: ModelFacts) -> TraceFamily:
    """Of images that all have as many objects as the fullest of a published set, where the number
    of objects changes the operations (as groups of noisy copies of them do)."""
    try:
        return TraceFamily((steps.fitted((None, None), None),))
    except StructureChanges as error:
        raise _unlike(facts, error) from error


def _unlike(facts: ModelFacts, error: StructureChanges) -> StructureChanges:
    """What is told of a model that does something else for each size of the batch."""
    return StructureChanges(
        f"its step is made of other operations at other batches, as of a loop over the samples, so "
        f"that no one trace of it holds for all ({error})",
        where=facts.name,
        mend="Measure its run instead (planner measure), or name another model of its kind",
    )


class Heads:
    """The runners of one recipe, one a number of classes. ``numbers``: those at which the head is
    told apart; the one of the recipe where it is a regime of its own (one class is a regression in
    transformers, and torch drops copies of size-1 dimensions); none where no head has classes."""

    def __init__(self, facts: ModelFacts, recipe: Recipe, teacher: ModelFacts | None):
        from planner.models.building.build import own_classes

        self.facts, self.recipe, self.teacher = facts, recipe, teacher
        self.own = own_classes(facts, recipe.task)
        # a factory's classes are its own business
        self.asked = None if facts.library == "factory" else recipe.classes or self.own
        self.numbers: tuple[int | None, ...] = (self.asked,)
        if self.own is not None and self.asked != 1 and not self.sized_by_tensor:
            self.numbers = CLASSES

    @property
    def sized_by_tensor(self) -> bool:
        """Whether the optimizer keeps small tensors otherwise than large ones."""
        from planner.training.optimizers import OPTIMIZERS

        return OPTIMIZERS[self.recipe.optimizer].by_size

    @property
    def varies(self) -> bool:
        return len(self.numbers) > 1

    @property
    def first(self) -> StepRunner:
        return self.of(self.numbers[0])

    def of(self, classes: int | None) -> StepRunner:
        return runner_for(self.facts, replace(self.recipe, classes=classes), self.teacher)

    def rounded(self) -> tuple[str, ...]:
        """Sizes of heads in few bits."""
        (low, high), found = [number for number in self.numbers if number], {}
        models = [self.of(number).prepared for number in (low, high)]
        pairs = [[m.module for m in models], [m.teacher for m in models]]
        for first, second in pairs:
            if first is not None:
                found |= dict.fromkeys(rounded_sizes(first, second, high - low))
        return tuple(found)

    def fixed(self) -> Heads:
        """The same for the asked number of classes alone."""
        other = Heads(self.facts, self.recipe, self.teacher)
        other.numbers = (self.asked,)
        return other


class Steps:
    """The recordings of one regime, each made when it is first asked for."""

    def __init__(self, heads: Heads, regime: str, symbols: str, progress, *, is_full=False):
        """``is_full``: every image of a detector has as many objects as the fullest."""
        self.heads, self.regime, self.symbols, self.progress = heads, regime, symbols, progress
        self.is_full = is_full
        self.raws: dict[tuple, RawTrace] = {}

    def fitted(self, lengths: tuple, exact: int | None) -> StepTrace:
        """A trace of any number of classes where the head's sizes are all that it changes."""
        ways = ("alone", "mixed") if self.heads.varies else ()
        for way in ways:
            try:
                return self._fit(lengths, exact, way)
            except StructureChanges:
                continue
        self.heads = self.heads.fixed()
        return self._fit(lengths, exact, "")

    def _fit(self, lengths: tuple, exact: int | None, way: str) -> StepTrace:
        one = self.regime.startswith("b1")
        free = "".join(
            s
            for s in self.symbols
            if not (s == "B" and one or s == "S" and exact or s == OBJECTS and self.is_full)
        )
        monomials = monomials_of(free, way)
        points = with_classes(self._points(lengths, exact), self.heads.numbers, way)
        raws = self._recorded(points)
        domain: dict[str, tuple] = {"B": (1, 1) if one else (2, None)}
        if "S" in self.symbols:
            domain["S"] = lengths
        if self.heads.asked is not None:
            domain["C"] = (2, None) if way else (self.heads.asked, self.heads.asked)
        chunks = vocabulary_sizes(self.heads.first.built, self.heads.recipe.loss)
        objective = objective_of(self.heads.recipe)
        chunks = chunks if objective is None else objective.rounded
        rounded = (*chunks, *(self.heads.rounded() if way else ()))
        return fit(raws, points, monomials, rounded, meta=self._meta(), domain=domain)

    def _points(self, lengths: tuple, exact: int | None) -> list[dict[str, int]]:
        past = lengths[0] if self.regime.endswith("w") else None
        longest = self.heads.first.built.facts.max_length
        if longest is not None:  # virtual tokens take places too
            longest -= self.heads.recipe.virtual_tokens or 0
        if self.heads.recipe.largest is not None:
            return crowded(self.regime, self.is_full)
        return points_of(self.regime, self.symbols, past, exact, longest)

    def _recorded(self, points: list[dict[str, int]]) -> list[RawTrace]:
        self._make(points)
        raws = [self.raws[key_of(point)] for point in points]
        if any(len(raw.operations) != len(raws[0].operations) for raw in raws):
            # some models make a table in their first step and keep it; a run has many steps
            firsts = {point.get("C"): point for point in reversed(points)}
            for point in firsts.values():
                self.raws[key_of(point)] = self._record(point)
        return [self.raws[key_of(point)] for point in points]

    def _make(self, points: list[dict[str, int]]) -> None:
        name, strategy = self.heads.facts.name, self.heads.recipe.strategy
        for number, point in enumerate(points):
            self._say(f"tracing {name}, {strategy}", number, len(points))
            if key_of(point) not in self.raws:
                self.raws[key_of(point)] = self._record(point)
        self._say(f"tracing {name}, {strategy}", len(points), len(points))

    def _say(self, what: str, done: int, of: int) -> None:
        if self.progress:
            self.progress(what, done, of)

    def _record(self, point: dict[str, int]) -> RawTrace:
        runner = self.heads.of(point.get("C", self.heads.numbers[0]))
        return runner.record(**{name: value for name, value in point.items() if name != "C"})

    def _meta(self) -> dict:
        """What is said of the trace beside its operations; sizes of heads that vary by class."""
        described = [_meta(self.heads.of(number), self.heads) for number in self.heads.numbers]
        if not self.heads.varies:
            return described[0]
        return fit_counts(described, [number for number in self.heads.numbers if number])


def _meta(runner: StepRunner, heads: Heads) -> dict:
    facts = runner.built.facts
    own = {} if heads.own is None else {"own_classes": heads.own}
    return {
        "model": facts.name,
        "fingerprint": facts.fingerprint,
        "library": facts.library,
        "task": runner.built.task,
        "recipe": replace(
            heads.recipe, classes=heads.asked if not heads.varies else None
        ).as_dict(),
        **own,
        "versions": {"planner": __version__, **versions(facts.library)},
        **runner.counts(),
        "assumptions": sorted(
            {*runner.built.assumptions, *runner.prepared.assumptions, *runner.answers}
        ),
    }


#: Both numbers of classes of two recipes.
@lru_cache(maxsize=4)
def _runner(key: tuple, holder: _Holder) -> StepRunner:
    policy = holder.recipe.gradient_checkpointing
    if policy != "none" and holder.shares:
        plain = _Holder(holder.facts, holder.without_checkpointing, holder.teacher)
        runner = _runner(plain.key, plain)
        if runner.built.stop_checkpointing is not None:
            return runner.under(policy)
    return StepRunner(holder.build, holder.recipe, holder.build_teacher, holder.build_real)


class _Holder:
    """What makes a runner; equal for equal keys, so that both regimes of a recipe share one built
    model a number of classes."""

    def __init__(self, facts, recipe, teacher):
        self.facts, self.recipe, self.teacher = facts, recipe, teacher
        self.key = (facts.fingerprint, recipe, teacher.fingerprint if teacher else None)

    @property
    def without_checkpointing(self) -> Recipe:
        return replace(self.recipe, gradient_checkpointing="none")

    @property
    def shares(self) -> bool:
        """Whether one built model does under every policy of checkpointing: quantised weights keep
        other things for a recomputed block."""
        few_bits = self.recipe.strategy == "qlora" or self.recipe.load_in is not None
        return self.facts.library == "transformers" and not (few_bits or self.facts.quantization)

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        return self.key == other.key

    def build(self):
        return build_for(self.facts, self.recipe)

    def build_real(self):
        return build_for(self.facts, self.recipe, device="cpu")

    def build_teacher(self, task: str | None = None):
        """A distillation's teacher; of an objective a further copy of the model that trains, with
        the head of ``task``."""
        plain = replace(self.recipe, gradient_checkpointing="none", objective=None, reference=None)
        facts, recipe = self.teacher or self.facts, replace(plain, task=task or plain.task)
        return build_for(facts, recipe)


def runner_for(facts: ModelFacts, recipe: Recipe, teacher: ModelFacts | None = None) -> StepRunner:
    holder = _Holder(facts, recipe, teacher)
    return _runner(holder.key, holder)


def build_for(facts: ModelFacts, recipe: Recipe, device: str = "meta"):
    """The BuiltModel that a recipe trains: its weights' precision, its classes, its image size. On
    ``device`` for a real run."""
    from planner.models.building.build import build

    objective = objective_of(recipe)
    built = build(
        facts,
        attention=recipe.attention,
        dtype=WEIGHTS.get(recipe.precision, "float32"),
        classes=recipe.classes,
        image_size=recipe.image_size,
        audio_samples=recipe.audio_samples,
        images=recipe.images,
        vision_tower=recipe.vision_tower,
        negatives=recipe.negatives or 0,
        task=SCORING_TASK if objective is not None and objective.scores else recipe.task,
        channels_last=convolutional(facts) and recipe.memory_format in (None, CHANNELS_LAST),
        largest=recipe.largest,
        objects=recipe.objects_per_image,
        device=device,
    )
    if objective is not None:
        feed(built, objective, recipe)
    if built.store_half is not None and recipe.precision in AUTOCAST:
        adapted = recipe.strategy == "lora" and recipe.load_in is None
        built.store_half(AUTOCAST[recipe.precision], denoiser=adapted)
    if recipe.variant is not None and built.cached is not None:
        built.cached(built, recipe.variant)
    if recipe.prior_preservation and built.preserve_prior is not None:
        built.preserve_prior(built)
    if recipe.loss is not None:
        replace_loss(built, recipe.loss)
    if recipe.float8 is not None:
        layers, lower = recipe.float8_layers or "all", AUTOCAST.get(recipe.precision)
        convert(built, recipe.float8, layers, lower)
    if recipe.kernels is not None:
        if recipe.kernels == UNSLOTH and recipe.has_adapters and recipe.precision in AUTOCAST:
            raise ModelError(
                "Unsloth's adapters run over weights in 16 bits, and not under autocast",
                where=facts.name,
                mend=f"Ask for {FieldName('precision')} bf16 and {FieldName('kbit_preparation')} "
                "none",
            )
        replace_parts(built, recipe.kernels)
    if device == "meta" and facts.library == "transformers":
        built.assumptions = (*built.assumptions, *fuse_scans(built.module))
    return built
