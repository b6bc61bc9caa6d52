"""Where a trace comes from: the shipped ones, the user's cache, or recording it now.

A trace file is named by the model's fingerprint, the recipe and the regime. Regimes: a batch of one
has other operations than larger ones (torch drops copies of size-1 dimensions), lengths past a
sliding window have masks; each is recorded when it is first asked for. A file in the cache is valid
for the library versions that made it; a shipped one says which they were.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
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
from planner.trace import store
from planner.trace.memo import Memo
from planner.trace.table import StepTrace, TraceFamily
from planner.trace.versions import versions
from planner.training.recipe import Recipe

Progress = Callable[[str, int, int], None]
#: What is made of a trace before it is used.
View = Callable[[StepTrace], StepTrace]
#: The version of what is recorded of LLM.int8() layers alone.
EIGHT_BIT = 2


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
    _loaded: dict[str, TraceFamily] = field(default_factory=dict)
    _failed: dict[tuple[str, int | None], PlannerError] = field(default_factory=dict)
    #: What was worked out of these traces: ``source.memo.of("fitting", key, make)``.
    memo: Memo = field(default_factory=Memo, init=False, repr=False, compare=False)

    def at(self, *, B: int, S: int | None = None, T: int | None = None) -> StepTrace:
        """The trace whose regime covers the point: loaded, or recorded and kept. Raises the errors
        of building and recording."""
        for family in self._loaded.values():
            for trace in family.traces:
                if trace.covers(B=B, S=S, T=T):
                    return self._seen(trace)
        self._refuse_what_is_known_not_to_work()
        regime = self.regime(B, S)
        family = self._find(regime) or self._find_exact(regime, S) or self._recorded(regime, S)
        self._loaded[
            regime + (f"-{S}" if family.traces[0].domain.get("S", (0, 1))[0] == S else "")
        ] = family
        return self._seen(family.at(B=B, S=S, T=T))

    def _seen(self, trace: StepTrace) -> StepTrace:
        return trace if self.view is None else self.view(trace)

    def _refuse_what_is_known_not_to_work(self) -> None:
        """What ``benchmarks/ship_traces.py`` found a shipped model unable to do is not tried again
        at every question."""
        reason = refused().get(self.stem)
        if reason:
            raise ModelError(reason)

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

    def _find(self, regime: str) -> TraceFamily | None:
        try:
            return store.load(tables.path("traces", f"{self.stem}-{regime}.trace"))
        except FileNotFoundError:
            pass  # not shipped: only now is it worth asking which versions are installed
        try:
            return store.load(self._cache_file(regime))
        except (FileNotFoundError, ProfileError, OSError):
            return None  # a damaged file of the cache is recorded again

    def _find_exact(self, regime: str, length: int | None) -> TraceFamily | None:
        return self._find(f"{regime}-{length}") if length is not None else None

    def _cache_file(self, regime: str) -> Path:
        made_with = hashlib.sha256(
            repr(
                (
                    store.FORMAT,
                    store.RECORDING,
                    sorted(versions(self.facts.library).items()),
                    *([EIGHT_BIT] if self.recipe.load_in == "8bit" else []),
                )
            ).encode()
        ).hexdigest()[:8]
        return cache_folder() / "traces" / f"{self.stem}-{regime}-{made_with}.trace"

    def _recorded(self, regime: str, length: int | None) -> TraceFamily:
        """What cannot be recorded is tried once, however many devices ask for it."""
        if not self.record:
            raise NotRecordedError(f"{self.facts.name}: {self.recipe.strategy}")
        if (regime, length) not in self._failed:
            try:
                return self._record(regime, length)
            except PlannerError as error:
                self._failed[regime, length] = error
        raise self._failed[regime, length]

    def _record(self, regime: str, length: int | None) -> TraceFamily:
        from planner.trace.recorder.regimes import record_regime  # torch from here on

        family, exact_length = record_regime(
            self.facts,
            self.recipe,
            self.teacher,
            regime,
            length,
            sliding_window(self.facts),
            self.progress,
        )
        if self.keep:
            try:
                store.save(
                    family, self._cache_file(f"{regime}-{length}" if exact_length else regime)
                )
            except MachineError:
                pass  # a cache that cannot be written costs time, not the answer
        return family


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
) -> TraceSource:
    """The source of traces of one model under one recipe. ``scratch`` records what full fine-tuning
    records.

    Raises QuestionError for a distillation without a teacher.
    """
    if recipe.strategy == "distillation" and teacher is None:
        raise QuestionError(
            "distillation needs a teacher",
            where=FieldName("teacher"),
            mend="Name a model to learn from",
        )
    taught = teacher if recipe.strategy == "distillation" else None
    return TraceSource(facts, recipe, taught, progress, view=view, record=record)
