"""The question, understood: model, data and device resolved once, traces shared by everything that
needs them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.datasets.profile import DatasetProfile
from planner.datasets.readers import Budget
from planner.datasets.templates.choosing import ModelText
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.memory.replays import Replays
from planner.models.building.speech import is_ctc
from planner.models.facts import ModelFacts
from planner.models.resolve import resolve
from planner.parallel.parts import check_parts, part_source
from planner.parallel.plan import ALONE, ParallelPlan
from planner.parallel.ranks import check_split, rank_source, stage_facts
from planner.parallel.source import IN_PARTS, check_shared, recorded_as, shared_source
from planner.plan.inputs.counts import counted, said_of
from planner.plan.inputs.families.images import TASK, seen_lines, with_places
from planner.plan.inputs.families.largest import largest_batch, largest_lines
from planner.plan.inputs.families.mixtures import mixture_lines
from planner.plan.inputs.families.needed import needed_lines
from planner.plan.inputs.families.speech import heard_lines, spoken, transcribed
from planner.plan.inputs.families.tabular import fitted_to_columns
from planner.plan.inputs.kept import current
from planner.plan.inputs.of_its_day import stack_lines, view_of
from planner.plan.inputs.pictures import painted, picture_lines
from planner.plan.inputs.rows import default
from planner.plan.inputs.tasks import (
    adapted,
    by_data,
    shortest_lines,
    task_lines,
    with_negatives,
)
from planner.plan.objectives.asked import check_objective, learnt_from, samples_of
from planner.plan.objectives.groups import check_groups, check_positions, room_lines
from planner.plan.objectives.said import objective_lines
from planner.question import PAID_STRATEGIES, TRAINING_STRATEGIES, Question
from planner.question.stack import stack_of
from planner.question.training_setting import SUPERVISED, TUNED_BY
from planner.trace.source import Progress, TraceSource, trace_for
from planner.training.recipe import Recipe

if TYPE_CHECKING:
    from planner.datasets.scanning import Scanned

#: The strategies of a model that no weights are published of.
FROM_NOTHING = ("scratch",)
#: A scan's progress is shown in so many parts.
PERCENT = 100


@dataclass
class Problem:
    """What every later step starts from. ``source`` hands out one TraceSource a model and
    recipe."""

    question: Question
    facts: ModelFacts
    data: DatasetProfile
    progress: Progress | None = None
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    first_lines: list[FirstLine] = field(default_factory=list)
    replays: Replays = field(default_factory=Replays)
    #: Whether a trace that lies nowhere is recorded.
    record: bool = True
    _sources: dict[tuple[Any, ...], TraceSource] = field(default_factory=dict)

    @property
    def strategies(self) -> tuple[str, ...]:
        """What is asked for: when all are, those that are paid by the token only where requests
        are."""
        wanted = self.question.strategy
        if wanted is None and self.question.objective not in (None, SUPERVISED):
            return TUNED_BY
        if wanted is None and not self.facts.published_weights:
            return FROM_NOTHING
        if wanted is None:
            return TRAINING_STRATEGIES + (
                PAID_STRATEGIES if self.question.requests_per_month else ()
            )
        return tuple(wanted)

    @property
    def reads_frames(self) -> bool:
        """Whether the data's lengths are frames of sound."""
        return is_ctc(self.question.task or self.facts.task, self.facts.config or {})

    @property
    def trained_strategies(self) -> tuple[str, ...]:
        return tuple(name for name in self.strategies if name in TRAINING_STRATEGIES)

    @property
    def paid_strategies(self) -> tuple[str, ...]:
        return tuple(name for name in self.strategies if name in PAID_STRATEGIES)

    def source(
        self,
        recipe: Recipe,
        facts: ModelFacts,
        teacher: ModelFacts | None = None,
        parallel: ParallelPlan = ALONE,
    ) -> TraceSource:
        """Of a device of a plan. Raises QuestionError for what is not planned in parts."""
        if parallel.sharding:
            return self._shared(recipe, facts, teacher, parallel)
        if parallel.is_parted:
            return self._part(recipe, facts, teacher, parallel)
        if parallel.is_split:
            return self._of_rank(recipe, facts, teacher, parallel)
        # a question that was changed shares these sources: its stack may see them otherwise
        view = view_of(stack_of(self.question.stack), facts, recipe, self.question.ema)
        peak = largest_batch(self.question, facts, self.data, recipe)
        key = (facts.fingerprint, recipe, teacher.fingerprint if teacher else None, view, peak)
        if key not in self._sources:
            self._sources[key] = trace_for(
                facts,
                recipe,
                teacher=teacher,
                progress=self.progress,
                view=view,
                record=self.record,
                peak=peak,
            )
        found = self._sources[key]
        found.progress = self.progress  # who asks now, not who asked first
        return found

    def _shared(
        self,
        recipe: Recipe,
        facts: ModelFacts,
        teacher: ModelFacts | None,
        parallel: ParallelPlan,
    ) -> TraceSource:
        check_shared(recipe, teacher is not None, parallel)  # before anything is read
        whole = self.source(recorded_as(recipe), facts, teacher, parallel.unshared)
        reduced = stack_of(self.question.stack).word("sharded_reduction")
        key = "shared", id(whole), recipe, parallel.shared, reduced
        if key not in self._sources:
            self._sources[key] = shared_source(whole, recipe, parallel, reduced)
        self._sources[key].progress = self.progress
        return self._sources[key]

    def _of_rank(
        self,
        recipe: Recipe,
        facts: ModelFacts,
        teacher: ModelFacts | None,
        parallel: ParallelPlan,
    ) -> TraceSource:
        check_split(facts, recipe, teacher is not None, parallel)
        whole = self.source(recipe, facts)
        narrow, *others = [self.source(recipe, one) for one in stage_facts(facts, parallel)]
        key = "rank", id(whole), id(narrow), parallel.split
        if key not in self._sources:
            self._sources[key] = rank_source(whole, narrow, parallel, tuple(others))
        self._sources[key].progress = self.progress
        return self._sources[key]

    def _part(
        self,
        recipe: Recipe,
        facts: ModelFacts,
        teacher: ModelFacts | None,
        parallel: ParallelPlan,
    ) -> TraceSource:
        check_parts(recipe, teacher is not None, parallel)
        whole = self.source(recipe, facts, teacher, replace(parallel.ranks, cp=1, ep=1))
        key = "part", id(whole), parallel.cp, parallel.ep, parallel.same_experts
        if key not in self._sources:
            self._sources[key] = part_source(whole, parallel)
        self._sources[key].progress = self.progress
        return self._sources[key]

    def whole_source(self, source: TraceSource) -> TraceSource:
        """The source with its backbone: cached features leave it out, serving needs it again, with
        all weights on the device, and knows no objective."""
        recipe = source.recipe
        if recipe.updates_on_host:
            recipe = replace(recipe, offload=None)
        if recipe.objective is not None:
            recipe = replace(recipe, objective=None, reference=None)
        elif recipe.variant is not None:
            recipe = replace(recipe, variant=None)
        if recipe == source.recipe and not isinstance(source, IN_PARTS):
            return source
        return self.source(recipe, source.facts)

    def changed(self, question: Question, data: DatasetProfile | None = None) -> Problem:
        """The same model under another question, and on other data where that is given: what was
        recorded and replayed is shared, what is assumed and warned of is not."""
        return Problem(
            question,
            self.facts,
            self.data if data is None else data,
            self.progress,
            replays=self.replays,
            record=self.record,
            _sources=self._sources,
        )

    def warn(self, text: str) -> None:
        """Once, however many devices say it."""
        if text not in self.warnings:
            self.warnings.append(text)


def understand(question: Question, progress: Progress | None = None) -> Problem:
    """Resolve the model and count the data. Inside ``keeping`` it starts from what earlier
    questions left. Raises ModelError, DataError and QuestionError."""
    stack_of(question.stack)  # refused before anything is read
    facts = resolve(
        question.model,
        task=question.task,
        trust_remote_code=question.trust_remote_code,
        offline=question.offline,
    )
    data = _data(question, facts, progress)
    facts, data = by_data(question, facts, data, lambda other: _data(question, other, progress))
    facts, data = fitted_to_columns(question, facts, data)
    check_objective(question, facts)
    question = adapted(question, facts)
    check_groups(question)
    read, data = data, samples_of(question, data)
    check_positions(question, facts, data)
    problem = Problem(question, facts, data, progress)
    kept = current()
    if kept is not None:
        problem.replays, problem.record = kept.replays, kept.record
        problem._sources = kept.sources(facts, question.stack)
    problem.data = fitted_to(facts, with_places(question, facts, data), problem.assumptions)
    problem.data = with_negatives(question, facts, problem.data)
    problem.first_lines += [FirstLine("file", note, True) for note in question.notes]
    problem.first_lines += [*facts.first_lines, *_shown_by(data), *said_of(question, facts, data)]
    problem.first_lines += [FirstLine("left_out", text, True) for text in data.warnings]
    problem.first_lines += objective_lines(question, read)
    problem.first_lines += room_lines(question, facts, data)
    problem.first_lines += seen_lines(question, facts, data)
    problem.first_lines += largest_lines(question, facts, data, question.task or facts.task)
    problem.first_lines += heard_lines(facts, problem.data)
    problem.first_lines += needed_lines(facts, data, question.task or facts.task)
    problem.first_lines += mixture_lines(question, facts, problem.trained_strategies)
    problem.first_lines += task_lines(facts)
    problem.first_lines += _weights_lines(question, facts)
    problem.first_lines += picture_lines(question, facts, problem.data)
    problem.first_lines += shortest_lines(problem.data, question.max_length)
    problem.first_lines += stack_lines(question, facts)
    problem.assumptions += [*question.granted, *facts.assumptions, *data.assumptions]
    problem.warnings += question.notes
    return problem


def _weights_lines(question: Question, facts: ModelFacts) -> list[FirstLine]:
    """That there are no weights which other strategies could start from."""
    tuned = [name for name in question.strategy or () if name in TRAINING_STRATEGIES]
    if facts.published_weights or set(tuned) & set(FROM_NOTHING) == set(tuned) != set():
        return []
    if tuned:
        others = ", ".join(name for name in tuned if name not in FROM_NOTHING)
        text = f"no weights of {facts.name} are published: {others} is of weights of your own"
        return [FirstLine("run", text, warning=True)]
    text = (
        f"no weights of {facts.name} are published: it is trained from scratch; "
        f"{FieldName('strategy')} names ways to train weights of your own further"
    )
    return [FirstLine("left_out", text)]


def _shown_by(data: DatasetProfile) -> list[FirstLine]:
    """The data's lines; the one on what was understood names the command that shows it."""
    command = shlex.join(["planner", "data", data.source])
    return [
        replace(line, text=f"{line.text} ({command} shows it)")
        if line.text.startswith(f"{data.samples:,} record")
        else line
        for line in data.first_lines
    ]


def _data(question: Question, facts: ModelFacts, progress: Progress | None) -> DatasetProfile:
    if question.data is None:
        return counted(question, facts)
    return scanned_for(question, facts, progress).profile


def scanned_for(
    question: Question, facts: ModelFacts | None, progress: Progress | None = None
) -> Scanned:
    """The question's file or folder, read and counted as its model reads it; without ``facts`` as
    models with a large vocabulary do. Raises DataError."""
    from planner.datasets.scanning import Reading, scanned

    reading = Reading(
        task=question.task,
        text_columns=question.text_columns,
        learns_from=learnt_from(question),
    )
    if facts is not None:
        reading = replace(
            reading,
            task=question.task or facts.task,
            tokenizer_path=facts.tokenizer,
            vocabulary_size=facts.vocabulary,
            model=text_of(facts),
        )
    budget = Budget(progress=None if progress is None else _share_of(progress))
    return scanned(Path(question.data or ""), reading, budget)


def text_of(facts: ModelFacts) -> ModelText:
    """What tells how the model's text is written."""
    model_type = (facts.config or {}).get("model_type")
    return ModelText(facts.name, model_type, facts.vocabulary, facts.folder)


def _share_of(progress: Progress) -> Callable[[float], None]:
    """A scan reports the share that is counted; a question's ``progress`` takes what, done and
    total."""

    def report(share: float) -> None:
        progress("counting the data", round(PERCENT * share), PERCENT)

    return report


def _counted_as_tokens(facts: ModelFacts, data: DatasetProfile) -> str:
    """How images can be counted for a model that writes text about them."""
    config = facts.config or {}
    if data.modality not in ("image", "image_text") or "vision_config" not in config:
        return "Name a model for such data"
    return (
        "Its images are not read here: give their tokens together with the text's, as "
        f"{FieldName('samples')} and {FieldName('tokens_per_sample')}"
    )


def fitted_to(facts: ModelFacts, data: DatasetProfile, assumptions: list[str]) -> DatasetProfile:
    """The data as this model reads it. Raises QuestionError where it cannot."""
    data = painted(facts, data, assumptions)
    pictured = facts.task == TASK and bool(data.images_per_sample)
    if data.modality != facts.modality and data.source != "counts" and not pictured:
        raise QuestionError(
            f"{facts.name} reads {facts.modality}, the data holds {data.modality}",
            where="data",
            mend=_counted_as_tokens(facts, data),
        )
    if facts.task == "seq2seq_lm" and data.target_lengths is None and data.lengths is not None:
        ratio = int(default("input_tokens_per_target_token")[0])
        assumptions.append(
            f"targets are taken as a quarter of the inputs' length (1/{ratio}): the "
            "data does not say"
        )
        longest = None if data.longest_input is None else max(1.0, data.longest_input // ratio)
        return replace(
            data, target_lengths=np.maximum(1, data.lengths // ratio), longest_target=longest
        )
    if facts.task == "text_embedding" and data.target_lengths is None and data.lengths is not None:
        assumptions.append("positives are taken as long as their anchors: the data does not say")
        return replace(data, target_lengths=data.lengths, longest_target=data.longest_input)
    if facts.task == "text_to_speech":
        return spoken(facts, data, assumptions)
    if facts.task == "speech_recognition":
        return transcribed(facts, data, assumptions)
    return data
