"""One step of a model with equal blocks, recorded with few units of each run and repeated to all.

What proves it, every time: the whole model's forward pass is recorded too, and must be the repeated
one's; and a step with one unit more must be the repetition of the one with few, operation by
operation and tensor by tensor. Where either is not so, or the cut model does not run, the step is
recorded whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from planner.trace.raw import RawTrace
from planner.trace.recorder.repeat.extend import IrregularError, Repetition, extended
from planner.trace.recorder.repeat.flat import (
    BIRTH,
    DEATH,
    PHASE,
    Flat,
    flattened,
    restored,
    written_out,
)
from planner.trace.recorder.repeat.stacks import Stack
from planner.trace.recorder.repeat.update import followed_by
from planner.trace.table import PHASES

#: Units of a run that are recorded, one more of them proves the repetition. Where three do not do
#: (a gradient that all blocks add to is made in the last, copied in the last but one and added to
#: in place from then on) five may.
KEPT = (3, 5)
#: Blocks taken out are to hold at least this share of a model's modules; less saves no time.
WORTH = 0.4
_FORWARD = [PHASES.index(name) for name in ("forward", "teacher")]

#: Records the model as it is now at a point: (the step without its update, what trains). With
#: ``forward_only`` it stops before the backward pass.
Record = Callable[..., tuple[RawTrace, list]]


@dataclass
class Repeated:
    """The recordings of one model under one recipe. ``cut``: path of a stack → (units kept of each
    run, of how many); ``why``: why steps are recorded whole, None where they are repeated."""

    root: torch.nn.Module
    record: Record
    #: Descriptions of the parameters that train → the optimizer's phase; None where nothing does.
    update: Callable[[list], RawTrace] | None
    stacks: list[Stack]
    names: dict[int, str]
    #: Ways (see ``_way``) whose whole forward pass was proven, under whatever policy of
    #: checkpointing: it calls the same modules.
    proven_whole: set[tuple] = field(default_factory=set)
    why: str | None = None
    proven: bool = False
    kept: int = KEPT[0]
    _phases: dict[tuple, RawTrace] = field(default_factory=dict)

    @property
    def cut(self) -> dict[str, list[list[int]]]:
        return {
            self.names[id(stack.module)]: [
                [self.kept * run.period, run.units * run.period]
                for run in stack.runs
                if run.units > self.kept
            ]
            for stack in self.stacks
            if id(stack.module) in self.names and any(r.units > self.kept for r in stack.runs)
        }

    def step(self, point: dict[str, int]) -> RawTrace | None:
        """The whole step at a point; None where it has to be recorded whole."""
        if self.why is not None:
            return None
        try:
            if not self.proven:
                self._find(point)
                self.proven = True
            with self._cut_to(self.kept):
                flat = self._flat(point)
            return restored(self._with_update(self._extended(flat, self.kept, None)))
        except IrregularError as error:
            self.why = str(error)
        # a model's own code may fail in any way when blocks are missing: then it is recorded whole
        except Exception as error:
            self.why = f"{type(error).__name__}: {error}"[:200]
        self.proven = False
        return None

    def _find(self, point: dict[str, int]) -> None:
        """How many units do, proven. Raises IrregularError where none."""
        if self._share_taken_out(KEPT[0]) < WORTH:
            raise IrregularError("few blocks repeat")
        failed: IrregularError | None = None
        whole: Flat | None = None
        for stacks, kept in self._ways():
            self.stacks, self.kept = stacks, kept
            if self._share_taken_out(self.kept) < WORTH:
                continue
            if whole is None and self._way() not in self.proven_whole:
                whole = self._flat(point, forward_only=True)
            try:
                return self._prove(point, whole)
            except IrregularError as error:
                failed = error
        raise failed or IrregularError("few blocks repeat")

    def _ways(self) -> list[tuple[list[Stack], int]]:
        """With the stacks within blocks and without."""
        outer = [stack for stack in self.stacks if not stack.inner]
        choices = [self.stacks] if len(outer) == len(self.stacks) else [self.stacks, outer]
        return [(stacks, kept) for stacks in choices for kept in KEPT]

    def _way(self) -> tuple:
        return self.kept, tuple(self.names.get(id(stack.module)) for stack in self.stacks)

    def _share_taken_out(self, kept: int) -> float:
        whole = sum(1 for _ in self.root.modules())
        with self._cut_to(kept):
            return 1 - sum(1 for _ in self.root.modules()) / whole

    def _prove(self, point: dict[str, int], whole: Flat | None) -> None:
        with self._cut_to(self.kept + 1):
            more = self._flat(point)
        with self._cut_to(self.kept):
            few = self._flat(point)
        if written_out(self._extended(few, self.kept, self.kept + 1)) != written_out(more):
            raise IrregularError("one unit more does not do what is repeated")
        if self._way() in self.proven_whole:
            return
        forward = _forward(self._extended(few, self.kept, None))
        if whole is None or written_out(forward)[:2] != written_out(whole)[:2]:
            raise IrregularError("the whole forward pass is not the repeated one")
        self.proven_whole.add(self._way())

    def _cut_to(self, units: int) -> _Cut:
        return _Cut(self.stacks, units)

    def _flat(self, point: dict[str, int], **more: Any) -> Flat:
        return flattened(*self.record(point, **more))

    def _extended(self, flat: Flat, kept: int, units: int | None) -> Flat:
        """To so many units of each run, None: to all."""
        for stack in self.stacks:
            path = self.names.get(id(stack.module))
            if path is None:
                continue
            for run in stack.runs:
                total = run.units if units is None else min(units, run.units)
                names = tuple(
                    tuple(f"{path}.{stack.names[block]}" for block in run.unit(number))
                    for number in range(total)
                )
                flat = extended(flat, Repetition(names, kept))
        return flat

    def _with_update(self, flat: Flat) -> Flat:
        if self.update is None:
            return flat
        specs = [what for _, what in flat.trained]
        key = tuple(specs)
        if key not in self._phases:
            self._phases[key] = self.update(specs)
        return followed_by(flat, self._phases[key])


class _Cut:
    def __init__(self, stacks: list[Stack], units: int):
        self.stacks, self.units = stacks, units

    def __enter__(self) -> None:
        for stack in self.stacks:
            stack.cut(self.units)

    def __exit__(self, *error: object) -> None:
        for stack in reversed(self.stacks):
            stack.restore()


def _forward(flat: Flat) -> Flat:
    """The step up to the end of its forward pass, as if it ended there."""
    inside = np.isin(flat.operations[:, PHASE], _FORWARD)
    end = int(inside.sum())
    storages = flat.storages[flat.storages[:, BIRTH] < end].copy()
    storages[:, DEATH] = np.minimum(storages[:, DEATH], end)
    return replace(flat, operations=flat.operations[:end], storages=storages)
