"""Where a trace comes from: the shipped ones, the user's cache, or recording it now.

A trace file is named by the model's fingerprint, the recipe and the regime. Regimes: a batch of one
has other operations than larger ones (torch drops copies of size-1 dimensions), and so has one
class (``-c1``), lengths past a sliding window have masks; each is recorded when it is first asked
for. A classifier's trace holds for any number of classes, and is bound to the recipe's when it is
loaded. A file in the cache is valid for the library versions that made it; a shipped one says which
they were.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

from planner import tables
from planner.errors import (
    FieldName,
    MachineError,
    ModelError,
    PlannerError,
    ProfileError,
    QuestionError,
)
from planner.models.facts import ModelFacts
from planner.models.images.largest import Crowd, Largest, published_largest
from planner.trace import store
from planner.trace.bind import bind
from planner.trace.memo import Memo
from planner.trace.table import StepTrace, TraceFamily
from planner.trace.versions import versions
from planner.training.recipe import Recipe
from planner.training.registry import objective_of

Progress = Callable[[str, int, int], None]
#: What is made of a trace before it is used.
View = Callable[[StepTrace], StepTrace]
#: The versions of what is recorded of LLM.int8() layers alone, and of objectives.
EIGHT_BIT, TUNED = 2, 2


def cache_folder() -> Path:
    """``PLANNER_CACHE``, else the user's cache folder."""
    base = os.environ.get("PLANNER_CACHE")
    return (
        Path(base)
        if base
        else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "planner"
    )


class NotRecordedError(Exception):
    """A trace lies nowhere and may not be recorded now. No PlannerError: nothing is wrong with the
    question, and no strategy is left out for it."""


@cache
def refused() -> dict[str, str]:
    """Stem of a trace file → why it cannot be recorded, for the shipped models."""
    if not tables.path("traces", "refused.csv").is_file():
        return {}
    return {row["stem"]: row["reason"] for row in tables.rows("traces", "refused.csv")}


@cache
def shipped_models() -> frozenset[str]:
    """Names of the catalogue's models whose default recipes ship as traces."""
    return frozenset(row["model"] for row in tables.rows("traces", "shipped.csv"))


@dataclass
class TraceSource:
    """Traces of one model under one recipe, by regime. ``at`` is what the rest of the planner
    calls."""

    facts: ModelFacts
    recipe: Recipe
    teacher: ModelFacts | None = None
    progress: Progress | None = None
    keep: bool = True
    #: How every trace is seen: what a stack does with a step that is recorded without it.
    view: View | None = None
    #: Whether a trace that lies nowhere is recorded; else NotRecordedError is raised.
    record: bool = True
    #: The largest batch, which the peak is of where its images are no symbol of the trace.
    peak: Largest | None = None
    #: Settles the number of objects where they are a symbol.
    crowd: Crowd | None = None
    _loaded: list[TraceFamily] = field(default_factory=list)
    _failed: dict[tuple[str, int | None], PlannerError] = field(default_factory=dict)
    #: What was worked out of these traces: ``source.memo.of("fitting", key, make)``.
    memo: Memo = field(default_factory=Memo, init=False, repr=False, compare=False)

    @property
    def largest(self) -> TraceSource:
        """Of the step at the largest batch of a run, which its memory is of: these traces where
        lengths alone tell it apart, else others, of larger images with more objects."""
        if self.peak is None:
            return self
        self._refuse_what_is_known_not_to_work()
        self._at_peak.progress, self._at_peak.keep = self.progress, self.keep
        return self._at_peak

    @cached_property
    def _at_peak(self) -> TraceSource:
        assert self.peak is not None
        recipe = replace(self.recipe, largest=self.peak.size, objects_per_image=None)
        return TraceSource(
            self.facts,
            recipe,
            self.teacher,
            view=self.view,
            record=self.record,
            crowd=self.peak.crowd,
        )

    @cached_property
    def supervised(self) -> TraceSource:
        """The same model without its objective, which writes completions."""
        recipe = replace(self.recipe, objective=None, reference=None, gradient_checkpointing="none")
        return TraceSource(self.facts, recipe, progress=self.progress, record=self.record)

    @cached_property
    def eager(self) -> TraceSource:
        """The same model as no compiler runs it: text is written without one."""
        if not self.recipe.compile:
            return self
        recipe = replace(self.recipe, compile=False)
        return TraceSource(self.facts, recipe, progress=self.progress, record=self.record)

    def at(self, *, B: int, S: int | None = None, T: int | None = None) -> StepTrace:
        """The trace whose regime covers the point: loaded, or recorded and kept. Raises the errors
        of building and recording."""
        for family in self._loaded:
            for trace in family.traces:
                if trace.covers(B=B, S=S, T=T):
                    return self._seen(trace)
        self._refuse_what_is_known_not_to_work()
        regime = self.regime(B, S)
        family = self._found(regime, S) or self.bound(self._recorded(regime, S))
        if family is None:
            raise ModelError(f"no trace of {self.facts.name} was recorded for these classes")
        self._loaded.append(family)
        return self._seen(family.at(B=B, S=S, T=T))

    def _seen(self, trace: StepTrace) -> StepTrace:
        return trace if self.view is None else self.view(trace)

    def _refuse_what_is_known_not_to_work(self) -> None:
        """What ``benchmarks/ship_traces.py`` found a shipped model unable to do is not tried again
        at every question."""
        reason = refused().get(self.stem) or refused().get(self.refusal)
        if reason:
            raise ModelError(reason)

    @property
    def refusal(self) -> str:
        """Under which name a refusal is kept: one class may fail where more do not."""
        return self.stem + (self._class_name if self.recipe.classes == 1 else "")

    def regime(self, B: int, S: int | None) -> str:
        """``b1``: a batch of one; ``b2``: more; ``w``: past the attention window."""
        window = sliding_window(self.facts)
        return ("b1" if B == 1 else "b2") + (
            "w" if window and S is not None and S >= window else ""
        )

    @cached_property
    def stem(self) -> str:
        parts = [self.facts.fingerprint[:16], self.recipe.key()]
        if self.teacher:
            parts.append(self.teacher.fingerprint[:8])
        return "-".join(parts)

    @property
    def lies(self) -> bool:
        """Whether some regime of it ships or is kept, or is known not to work."""
        folder = cache_folder() / "traces"
        return (
            bool(refused().get(self.stem))
            or any(tables.path("traces").glob(f"{self.stem}-*.trace"))
            or any(folder.glob(f"{self.stem}-*.trace"))
        )

    def _found(self, regime: str, length: int | None) -> TraceFamily | None:
        """What lies somewhere."""
        for name in self.names(regime, length):
            found = self._find(name)
            bound = None if found is None else self.bound(found)
            if bound is not None:
                return bound
        return None

    def names(self, regime: str, length: int | None = None) -> tuple[str, ...]:
        """How files that may hold a regime end: those of any length and number of classes first,
        then those of these alone."""
        own = self._class_name
        of_classes = (own,) if self.recipe.classes == 1 else ("", own)
        of_lengths = ("",) if length is None else ("", f"-{length}")
        return tuple(regime + first + last for first in of_classes for last in of_lengths)

    @property
    def _class_name(self) -> str:
        """How files of the recipe's number of classes alone are named."""
        return "-own" if self.recipe.classes is None else f"-c{self.recipe.classes}"

    def _find(self, name: str) -> TraceFamily | None:
        try:
            return store.load(tables.path("traces", f"{self.stem}-{name}.trace"))
        except FileNotFoundError:
            pass  # not shipped: only now is it worth asking which versions are installed
        try:
            return store.load(self._cache_file(name))
        except (FileNotFoundError, ProfileError, OSError):
            return None  # a damaged file of the cache is recorded again

    def bound(self, family: TraceFamily) -> TraceFamily | None:
        """The family for the recipe's number of classes, None where it is of another."""
        traces = [self._of_classes(trace) for trace in family.traces]
        kept = tuple(trace for trace in traces if trace is not None)
        return TraceFamily(kept) if kept else None

    def _of_classes(self, trace: StepTrace) -> StepTrace | None:
        own = trace.meta.get("own_classes")
        if own is not None:
            classes = self.recipe.classes or own
            if not trace.covers(C=classes):
                return None
            trace = bind(trace, classes)
        elif trace.meta.get("recipe", {}).get("classes") != self.recipe.classes:
            if trace.meta.get("library") != "factory":
                return None
        return replace(
            trace, meta={**trace.meta, "recipe": self.recipe.as_dict()}, crowd=self.crowd
        )

    def _cache_file(self, regime: str) -> Path:
        made_with = hashlib.sha256(
            repr(
                (
                    store.FORMAT,
                    store.RECORDING,
                    sorted(versions(self.facts.library).items()),
                    *([EIGHT_BIT] if self.recipe.load_in == "8bit" else []),
                    *([TUNED] if self.recipe.objective is not None else []),
                )
            ).encode()
        ).hexdigest()[:8]
        return cache_folder() / "traces" / f"{self.stem}-{regime}-{made_with}.trace"

    def file_name(self, family: TraceFamily, regime: str) -> str:
        """How a family's file ends: the regime, and the classes and the length where it is of these
        alone."""
        ends = family.traces[0].domain
        of_classes = self._class_name if _is_point(ends.get("C")) else ""
        return regime + of_classes + (f"-{ends['S'][0]}" if _is_point(ends.get("S")) else "")

    def _recorded(self, regime: str, length: int | None) -> TraceFamily:
        """What cannot be recorded is tried once, however many devices ask for it."""
        if not self.record:
            raise NotRecordedError(f"{self.facts.name}: {self.recipe.strategy}")
        if (regime, length) not in self._failed:
            try:
                return self._record(regime, length)
            except PlannerError as error:
                from planner.trace.recorder.image_sizes import of_its_size

                self._failed[regime, length] = of_its_size(self.facts, self.recipe, error)
        raise self._failed[regime, length]

    def _record(self, regime: str, length: int | None) -> TraceFamily:
        from planner.trace.recorder.regimes import record_regime  # torch from here on

        family, _ = record_regime(
            self.facts,
            self.recipe.recorded,
            self.teacher,
            regime,
            length,
            sliding_window(self.facts),
            self.progress,
        )
        if self.keep:
            try:
                store.save(
                    family,
                    self._cache_file(self.file_name(family, regime)),
                )
            except MachineError:
                pass  # a cache that cannot be written costs time, not the answer
        return family


def _is_point(ends: tuple[int, int | None] | None) -> bool:
    return ends is not None and ends[0] == ends[1]


def sliding_window(facts: ModelFacts) -> int | None:
    """The attention window past which masks are made, None without one."""
    config = facts.config or {}
    if config.get("use_sliding_window") is False:
        return None
    window = config.get("sliding_window")
    return window if isinstance(window, int) and window > 0 else None


def trace_for(
    facts: ModelFacts,
    recipe: Recipe,
    *,
    teacher: ModelFacts | None = None,
    progress: Progress | None = None,
    view: View | None = None,
    record: bool = True,
    peak: Largest | None = None,
) -> TraceSource:
    """The source of traces of one model under one recipe. ``scratch`` records what full fine-tuning
    records. ``peak``: the largest batch of a detector's images.

    Raises QuestionError for a distillation without a teacher.
    """
    objective = objective_of(recipe)
    learns = recipe.strategy == "distillation" or (objective is not None and objective.teacher)
    if learns and teacher is None:
        raise QuestionError(
            "distillation needs a teacher",
            where=FieldName("teacher"),
            mend="Name a model to learn from",
        )
    taught = teacher if learns else None
    return TraceSource(facts, recipe, taught, progress, view=view, record=record, peak=peak)


def largest_of(facts: ModelFacts, recipe: Recipe) -> Largest | None:
    """The largest batch of a run by the family's published recipe; None where its images are all of
    one size, or lengths tell it."""
    return published_largest(facts, recipe.task, recipe.image_size)
