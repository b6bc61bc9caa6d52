"""What runs one after another for a strategy: most have one variant of one stage; cached features
and gradual unfreezing have several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, ModelError, QuestionError
from planner.models.facts import ModelFacts
from planner.models.pipelines import TASK
from planner.plan.inputs.defaults import TrainingChoices, choose
from planner.plan.inputs.problem import Problem
from planner.plan.objectives.asked import objective_asked
from planner.plan.objectives.taught import check_vocabulary
from planner.plan.steps.setting import longest_lengths
from planner.question import Question
from planner.training.recipe import Recipe

#: Strategies that train a denoiser on latents that were made before.
CACHING = ("fine_tune", "scratch", "lora", "qlora")
CACHED, EVERY_EPOCH, GRADUAL = "cached features", "every epoch", "gradual unfreezing"


@dataclass(frozen=True)
class Stage:
    """What runs with one recipe. ``question`` says how it is run."""

    question: Question
    choices: TrainingChoices
    facts: ModelFacts
    teacher: ModelFacts | None = None


@dataclass(frozen=True)
class Variant:
    """A way to carry a strategy out on a kind of device. ``name`` is None where there is but one.

    ``choices`` are those that an answer shows: of the last stage, or what all stages share.
    """

    strategy: str
    name: str | None
    stages: tuple[Stage, ...]
    choices: TrainingChoices

    @property
    def facts(self) -> ModelFacts:
        """What trains."""
        return self.stages[-1].facts

    @property
    def teacher(self) -> ModelFacts | None:
        return self.stages[-1].teacher


def variants(problem: Problem, strategy: str, spec: DeviceSpec) -> Iterator[Variant]:
    """Every variant of a strategy on a device that the question leaves open, the plainest first.

    Cached features are left out, with a warning, for a model whose head is no module of its own,
    unless the question insists on them. Raises the errors of choosing and, then, of recording.
    """
    generator = _VARIANTS.get(strategy, _plain)
    if problem.facts.task == TASK and problem.question.cached_features:
        generator = _cached_latents
    return generator(problem, strategy, spec)


def models_of(problem: Problem, strategy: str) -> tuple[ModelFacts, ModelFacts | None]:
    """(what trains, its teacher): with --teacher the model is the student, else the teacher of a
    smaller student. From scratch a quantised checkpoint is not read."""
    question = problem.question
    if strategy == "scratch" and problem.facts.quantization is not None:
        return problem.facts.unquantised(), None
    objective = objective_asked(question)
    if objective is not None and objective.teacher:
        teacher = _named_teacher(question, problem.facts)
        check_vocabulary(objective, problem.facts, teacher)
        return problem.facts, teacher
    if strategy != "distillation":
        return problem.facts, None
    if question.teacher:
        return problem.facts, _named_teacher(question, problem.facts)
    from planner.models.students import default_student

    return default_student(problem.facts), problem.facts


def _named_teacher(question: Question, student: ModelFacts) -> ModelFacts:
    from planner.models.resolve import resolve

    return resolve(
        question.teacher or "",
        task=student.task,
        trust_remote_code=question.trust_remote_code,
        offline=question.offline,
    )


def _plain(
    problem: Problem, strategy: str, spec: DeviceSpec, name: str | None = None
) -> Iterator[Variant]:
    facts, teacher = models_of(problem, strategy)
    choices = choose(problem.question, facts, problem.data, strategy, spec)
    stage = Stage(problem.question, choices, facts, teacher)
    yield Variant(strategy, name, (stage,), choices)


def _feature_extraction(problem: Problem, strategy: str, spec: DeviceSpec) -> Iterator[Variant]:
    """The backbone every epoch, its features computed once, or both, as the question wants."""
    wanted = problem.question.cached_features
    if wanted is not True:
        yield from _plain(problem, strategy, spec, EVERY_EPOCH)
    if wanted is not False:
        yield from _cached(problem, strategy, spec)


def _cached(problem: Problem, strategy: str, spec: DeviceSpec) -> Iterator[Variant]:
    """A forward pass over the data, kept on disk, then epochs of the head alone."""
    question, facts, data = problem.question, problem.facts, problem.data
    try:
        making = choose(question, facts, data, strategy, spec, variant="features")
        head = choose(question, facts, data, strategy, spec, variant="cached")
        _check_recordable(problem, head)
    except ModelError as error:  # a head that is no module of its own cannot be trained apart
        if question.cached_features is True:
            raise
        problem.warn(f"feature_extraction with cached features: {error}")
        return
    once = question.model_copy(update={"saves_per_epoch": 0.0})
    stages = (
        Stage(once, replace(making, epochs=1.0, steps=None, is_evaluated=False), facts),
        Stage(question, head, facts),
    )
    yield Variant(strategy, CACHED, stages, head)


def _cached_latents(problem: Problem, strategy: str, spec: DeviceSpec) -> Iterator[Variant]:
    """A denoiser's frozen parts over the data once, then epochs of the denoiser alone."""
    question, facts, data = problem.question, problem.facts, problem.data
    training = choose(question, facts, data, strategy, spec)
    if strategy not in CACHING:
        raise QuestionError(
            f"{strategy} is not planned on cached latents",
            where=FieldName("cached_features"),
            mend="Leave it out",
        )
    making = choose(question, facts, data, "feature_extraction", spec, variant="features")
    cached = replace(training, recipe=replace(training.recipe, variant="cached"))
    once = question.model_copy(update={"saves_per_epoch": 0.0})
    stages = (
        Stage(once, replace(making, epochs=1.0, steps=None, is_evaluated=False), facts),
        Stage(question, cached, facts),
    )
    yield Variant(strategy, CACHED, stages, cached)


def _check_recordable(problem: Problem, head: TrainingChoices) -> None:
    """Raises ModelError where the head cannot be trained on features alone."""
    micro_batch = problem.question.micro_batch or 2
    plan = problem.data.batches(micro_batch, padding=head.padding, max_length=head.max_length)
    recipe = head.with_checkpointing(head.checkpointing[0])
    problem.source(recipe, problem.facts).at(B=micro_batch, **longest_lengths(plan))


def _share(steps: int | None, stage: int, stages: int) -> int | None:
    """Of so many steps, those of one stage: all stages together take them all, each at least
    one."""
    if steps is None:
        return None
    return max(1, steps * (stage + 1) // stages - steps * stage // stages)


def _partial(problem: Problem, strategy: str, spec: DeviceSpec) -> Iterator[Variant]:
    """The last blocks from the start, or one more each stage (gradual unfreezing, Howard and Ruder
    2018, arXiv 1801.06146): the head first."""
    if problem.question.unfreezing != "gradual":
        yield from _plain(problem, strategy, spec)
        return
    top = choose(problem.question, problem.facts, problem.data, strategy, spec)
    count = (top.recipe.unfrozen_blocks or 0) + 1

    def stage(blocks: int) -> Stage:
        recipe: Recipe = replace(top.recipe, unfrozen_blocks=blocks)
        choices = replace(
            top, recipe=recipe, epochs=top.epochs / count, steps=_share(top.steps, blocks, count)
        )
        return Stage(problem.question, choices, problem.facts)

    yield Variant(strategy, GRADUAL, tuple(stage(blocks) for blocks in range(count)), top)


_VARIANTS: dict[str, Callable[[Problem, str, DeviceSpec], Iterator[Variant]]] = {
    "feature_extraction": _feature_extraction,
    "partial_fine_tune": _partial,
}
