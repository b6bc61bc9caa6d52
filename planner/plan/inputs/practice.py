"""What practitioners do where a question leaves it open: batch, epochs or steps, packing and
evaluation, from the nearest published recipe, and which row that was."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.building.speech import is_ctc
from planner.models.facts import ModelFacts
from planner.plan.inputs.evaluating import CTC, generates
from planner.plan.inputs.published import named_row, short_source
from planner.plan.inputs.recipes import (
    Asker,
    Published,
    Work,
    asker,
    far_one,
    holds_for,
    median,
    nearest,
    works,
)
from planner.plan.inputs.rows import default
from planner.question import Question
from planner.question.settings import LORA

#: Passes over the data from which a default is warned of.
MANY_PASSES = 100


@dataclass(frozen=True)
class Filled:
    """A value with where it comes from. ``row``: the recipe, None for a median or our default."""

    value: float
    source: str
    row: Published | None = None
    date: str | None = None


@dataclass(frozen=True)
class Practice:
    """How a strategy is run. ``steps`` end the run where given, else ``epochs``. ``length``: what
    samples are packed to, in tokens, None where they are not packed. ``evaluation_steps``: steps
    between evaluations, which then count instead of ``evaluations_per_epoch``. ``generates``:
    whether an evaluation writes text. ``far``: what is said of a recipe that was not taken for its
    data alone."""

    global_batch: int
    batch: Filled | None
    epochs: float
    epochs_filled: Filled | None
    steps: int | None
    packed: bool
    length: int | None
    evaluations_per_epoch: float
    evaluation_steps: int | None
    generates: bool
    recipe: Published | None
    far: str = ""
    lines: tuple[FirstLine, ...] = ()

    def evaluations(self, steps: int, epochs: float) -> float:
        """Evaluations of a run of so many steps and epochs."""
        if self.evaluation_steps:
            return float(steps // self.evaluation_steps)
        return self.evaluations_per_epoch * epochs

    @property
    def sources(self) -> list[tuple[str, str, str | None]]:
        """(what, source, date) of what was filled."""
        filled = {"global batch": self.batch, "epochs": self.epochs_filled}
        return [(name, one.source, one.date) for name, one in filled.items() if one is not None]


def _scopes(facts: ModelFacts, strategy: str, task: str) -> tuple[str, ...]:
    """Of our defaults, the first that has a row wins."""
    ctc = (CTC,) if is_ctc(task, facts.config or {}) else ()
    own = (f"{strategy} {facts.library}", f"{facts.library} {task}", f"{strategy} {task}")
    return (*own, strategy, *ctc, task)


def practice(
    question: Question, facts: ModelFacts, data: DatasetProfile, strategy: str, task: str
) -> Practice:
    """What the question says first, then the nearest recipe's, then medians and our defaults."""
    found = tuple(works(facts, data, task, strategy))
    scopes = _scopes(facts, strategy, task)
    who = asker(facts, data, found[0].group if found else "")
    shape = _shape_row(found, who, question.gpus, strategy == "scratch")
    packed = _is_packed(question, data, found)
    length = _packed_length(question, facts, found, who) if packed else None
    batch = None if _batch_is_asked(question) else _batch(found, who, shape, scopes)
    size, lowered = _global_batch(question, data, batch, length)
    steps = _steps(question, found, shape)
    no_epochs = question.epochs is not None or steps is not None
    passes = _epochs_works(facts, data, task, strategy)
    epochs = None if no_epochs else _epochs(passes, who, scopes)
    every, after = _evaluations(
        question, found, shape, default("evaluations_per_epoch", *scopes)[0]
    )
    made = Practice(
        global_batch=size,
        batch=batch,
        epochs=question.epochs or (epochs.value if epochs else 1.0),
        epochs_filled=epochs,
        steps=steps,
        packed=packed,
        length=length,
        evaluations_per_epoch=every,
        evaluation_steps=after,
        generates=generates(question, facts, task, shape.evaluation_generates if shape else None),
        recipe=shape,
        far=_far(found, who, question.gpus),
    )
    if strategy == "scratch" and epochs is not None and not _is_published(epochs, found):
        tuned = practice(question, facts, data, "fine_tune", task)
        made = _no_shorter_than_tuning(made, tuned, data)
    return _with_lines(made, question, facts, strategy, lowered, data.samples)


def _is_published(epochs: Filled, found: tuple[Work, ...]) -> bool:
    return epochs.row is not None or _median(found, "epochs") is not None


def _no_shorter_than_tuning(made: Practice, tuned: Practice, data: DatasetProfile) -> Practice:
    """Where nothing is published of training it from nothing: that takes no fewer passes than
    fine-tuning the same model on the same data."""
    steps = tuned.steps
    least = tuned.epochs if steps is None else steps * tuned.global_batch / data.samples
    if least <= made.epochs:
        return made
    filled = Filled(least, "as many as fine-tuning takes, since none are published of scratch")
    return replace(made, epochs=least, epochs_filled=filled)


def _batch_is_asked(question: Question) -> bool:
    return question.global_batch is not None or question.micro_batch is not None


@lru_cache(maxsize=1024)
def _far(found: tuple[Work, ...], who: Asker, devices: int) -> str:
    return far_one(found, who, lambda row: who.batch_samples(row, devices) is not None)


@lru_cache(maxsize=1024)
def _shape_row(
    found: tuple[Work, ...], who: Asker, devices: int, from_scratch: bool
) -> Published | None:
    """The recipe whose batch, length and evaluation hold; demos of training from scratch do not."""
    by_steps = {(work.task, work.strategy) for work in found if work.steps_win}

    def usable(row: Published) -> bool:
        stepless = (row.task, row.strategy) in by_steps and row.steps is None
        return who.batch_samples(row, devices) is not None and not stepless

    strong = nearest(found, who, lambda row: usable(row) and row.strong) if from_scratch else None
    return strong or nearest(found, who, usable)


@lru_cache(maxsize=1024)
def _epochs_row(found: tuple[Work, ...], who: Asker, from_scratch: bool) -> Published | None:
    """The recipe whose epochs hold: one that made something, on data like this. What it trained
    on is not known only where it is the model's own family, or from nothing."""

    def usable(row: Published) -> bool:
        if not row.strong or row.epochs is None or (row.epochs_derived and not from_scratch):
            return False
        known = row.data_samples is not None or row.family == who.family or from_scratch
        return known and holds_for(row, who, from_scratch=from_scratch)

    return nearest(found, who, usable)


def _epochs_works(
    facts: ModelFacts, data: DatasetProfile, task: str, strategy: str
) -> tuple[Work, ...]:
    """Adapters over 4-bit weights take as many passes as over others: what is published of one
    holds for both, so that their costs compare."""
    alike = LORA if strategy in LORA else (strategy,)
    return tuple(work for one in alike for work in works(facts, data, task, one))


def _batch(
    found: tuple[Work, ...], who: Asker, shape: Published | None, scopes: tuple[str, ...]
) -> Filled:
    if shape is not None:
        value = who.batch_samples(shape, 1)
        if value is not None:
            return Filled(value, shape.source, shape, shape.date)
    middle = _median(found, "global_batch")
    if middle is not None:
        return Filled(*middle)
    return Filled(*default("global_batch", *scopes))


def _epochs(found: tuple[Work, ...], who: Asker, scopes: tuple[str, ...]) -> Filled:
    is_scratch = "scratch" in scopes
    row = _epochs_row(found, who, is_scratch)
    if row is not None and row.epochs is not None:
        return Filled(row.epochs, row.source, row, row.date)
    # the median of whole trainings holds for one; fine-tuning on other data has other epochs
    middle = _median(found, "epochs") if is_scratch else None
    return Filled(*(middle or default("epochs", *scopes)))


def _median(found: tuple[Work, ...], key: str) -> tuple[float, str] | None:
    values = (median(work.task, work.strategy, key) for work in found)
    return next((value for value in values if value is not None), None)


def _steps(question: Question, found: tuple[Work, ...], shape: Published | None) -> int | None:
    """The asked steps; else a recipe's where its task is one of steps, unless epochs are asked."""
    if question.max_steps is not None or question.epochs is not None:
        return question.max_steps
    if shape is None or not any(_is(shape, work) and work.steps_win for work in found):
        return None
    return shape.steps


def _is(row: Published, work: Work) -> bool:
    return (row.task, row.strategy) == (work.task, work.strategy)


def _is_packed(question: Question, data: DatasetProfile, found: tuple[Work, ...]) -> bool:
    """As asked; else where text is trained from nothing, or is plain text."""
    if data.lengths is None or question.padding is not None:
        return question.padding == "packed"
    return bool(found) and found[0].packs


def _packed_length(
    question: Question, facts: ModelFacts, found: tuple[Work, ...], who: Asker
) -> int | None:
    """The asked length; else that of the nearest recipe that packs, or the trainer's default; no
    longer than the model's. None leaves it to the data."""
    if question.max_length is not None or question.padding is not None:
        return None
    row = _packing_row(found, who)
    length = row.max_length if row is not None else None
    length = int(default("packed_length")[0]) if length is None else length
    return length if facts.max_length is None else min(length, facts.max_length)


@lru_cache(maxsize=1024)
def _packing_row(found: tuple[Work, ...], who: Asker) -> Published | None:
    packing = tuple(work for work in found if work.packs)

    def usable(row: Published) -> bool:
        return bool(row.packing) and row.max_length is not None

    return nearest(packing, who, lambda row: usable(row) and row.strong) or nearest(
        packing, who, usable
    )


def _global_batch(
    question: Question, data: DatasetProfile, batch: Filled | None, length: int | None
) -> tuple[int, bool]:
    """(samples of a step, whether few samples lowered the recipe's). As asked; with a micro-batch
    of the user's own, one of it on each device and no accumulation, as trainers do."""
    if question.global_batch is not None:
        return question.global_batch, False
    if batch is None:
        return (question.micro_batch or 1) * question.gpus, False
    samples = data.samples
    if length is not None and data.mean_length is not None:
        samples = max(1, math.ceil(data.mean_length * data.samples / length))
    most = most_for(samples)
    size = max(question.gpus, round(min(batch.value, most)))
    return size, most < batch.value


def most_for(samples: int) -> int:
    """The largest power of two that leaves few samples as many steps an epoch as published
    recipes have; no smaller than theirs."""
    steps, _ = _small("least_epoch_steps")
    least, _ = _small("least_batch")
    return max(int(least), 2 ** int(math.log2(max(1.0, samples / steps))))


def _small(key: str) -> tuple[float, str]:
    return median("any", "any", key) or default(key)


def _evaluations(
    question: Question, found: tuple[Work, ...], shape: Published | None, usual: float
) -> tuple[float, int | None]:
    """(evaluations an epoch, steps between two): as asked; else as a recipe does that made
    something, or is one of steps; examples of a few minutes say nothing of it: ``usual`` then."""
    if question.evaluations_per_epoch is not None or usual == 0:
        return question.evaluations_per_epoch or 0.0, None
    by_steps = any(shape is not None and _is(shape, work) and work.steps_win for work in found)
    if shape is None or not (shape.strong or by_steps):
        return usual, None
    if shape.evaluation_steps is not None:
        return 0.0, shape.evaluation_steps
    every = shape.evaluations_per_epoch
    if every is None or (every == 0 and question.evaluation_samples):
        return usual, None
    return every, None


def _with_lines(
    made: Practice,
    question: Question,
    facts: ModelFacts,
    strategy: str,
    lowered: bool,
    samples: int,
) -> Practice:
    text = _line(made, question, facts, strategy, lowered)
    lines = [FirstLine("recipe", text)] if text else []
    epoch = math.ceil(samples / made.global_batch)
    passes = made.epochs if made.steps is None else made.steps / epoch
    asked = question.epochs is not None or question.max_steps is not None
    odd = made.steps is not None or made.epochs_filled is None or made.epochs_filled.row is not None
    if passes >= MANY_PASSES and not asked and strategy != "scratch" and odd:
        lines.append(_many_passes(passes, made.steps, samples, strategy))
    return replace(made, lines=tuple(lines))


def _many_passes(passes: float, steps: int | None, samples: int, strategy: str) -> FirstLine:
    whence = "the recipe's epochs" if steps is None else f"the recipe's {steps:,} steps"
    text = (
        f"{strategy} goes {passes:,.0f} times over {samples:,} samples, as {whence} make it: "
        f"that is much for so few; {FieldName('epochs', 'max_steps')} set it"
    )
    return FirstLine("recipe", text, warning=True)


def _line(
    made: Practice, question: Question, facts: ModelFacts, strategy: str, lowered: bool
) -> str:
    """Which row the defaults of a strategy are of, or that there is none."""
    by_row: dict[str | None, list[str]] = {}
    for one, words in (
        (made.batch, _batch_words(made, lowered)),
        (made.epochs_filled, f"{made.epochs:.3g} epoch{'s' if made.epochs != 1 else ''}"),
    ):
        if one is not None:
            named = None if one.row is None else named_row(one.row)
            by_row.setdefault(named, []).append(
                words if named else f"{words} ({short_source(one.source)})"
            )
    shape = made.recipe
    own = by_row.setdefault(named_row(shape), []) if shape is not None else []
    own += _other_words(made, question)
    parts = [f"{', '.join(words)} after {row}" for row, words in by_row.items() if row and words]
    parts += [made.far] if made.far and made.batch is not None else []
    if by_row.get(None):
        none = "" if parts or shape is not None else f"no published recipe for {facts.name}: "
        parts.append(none + ", ".join(by_row[None]))
    return f"{strategy} by default: {'; '.join(parts)}" if parts else ""


def _batch_words(made: Practice, lowered: bool) -> str:
    words = f"global batch {made.global_batch}"
    if lowered and made.batch is not None:
        whose = "its " if made.batch.row is not None else ""
        words += f" ({whose}{made.batch.value:,.0f} lowered, as small data is trained)"
    return words


def _other_words(made: Practice, question: Question) -> list[str]:
    """What else the row settled."""
    words = []
    if made.steps is not None and question.max_steps is None:
        words.append(f"{made.steps:,} steps")
    if made.length is not None and question.padding is None:
        words.append(f"packed to {made.length:,} tokens")
    if question.evaluations_per_epoch is None:
        if made.evaluation_steps is not None:
            words.append(f"evaluated every {made.evaluation_steps:,} steps")
        elif made.evaluations_per_epoch == 0:
            words.append("no evaluation")
    if _groups(made, question):
        # not taken for granted: trainers of today shuffle, and half of the hours hang on it
        words.append(f"its batches by length not taken over ({FieldName('group_by_length')})")
    if made.generates and made.recipe is not None and made.recipe.evaluation_generates:
        words.append("evaluation generates text")
    return words


def _groups(made: Practice, question: Question) -> bool:
    """Whether the recipe's script groups batches by length and nobody says what is wanted."""
    row, open_ = made.recipe, question.group_by_length is None and question.padding is None
    return row is not None and bool(row.grouped) and open_ and not made.packed
