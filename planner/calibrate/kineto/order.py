"""Recorded operations beside those of our own trace of the step, by their order: which is which
where no shapes were recorded, and which module each belongs to.

In each phase the longest common subsequence of names is taken. Rows of its table are whole numbers
whose bits are the columns (Hyyrö 2004, "Bit-parallel LCS-length computation revisited"), so that
some thousands of operations take a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.calibrate.kineto.naming import base_name
from planner.calibrate.kineto.units import Unit
from planner.operations.registry import kind_of
from planner.trace.table import PHASES, StepTrace

#: Of a phase, on one side; what stands behind is left alone.
MOST = 20_000
_PHASE_OF = {"teacher": "forward", "recompute": "backward"}


#: Products that every run of a model's forward pass has, in whatever way it computes attention.
_PRODUCTS = ("aten.mm", "aten.addmm", "aten.convolution")
#: Of the larger count, what two of the same model's may differ.
TOLERANCE = 0.1


@dataclass(frozen=True)
class OwnStep:
    """Our trace of a step at a point: ``dims`` [n_forms], ``precision`` of its recipe."""

    trace: StepTrace
    dims: np.ndarray
    precision: str

    def places(self, phase: str) -> list[int]:
        """Operations of a phase that take a device's time, in their order."""
        runs = [kind_of(s.op).runs_kernel for s in self.trace.signatures]
        wanted = [_PHASE_OF.get(name, name) == phase for name in PHASES]
        pairs = zip(self.trace.op_signature.tolist(), self.trace.op_phase.tolist())
        return [i for i, (s, p) in enumerate(pairs) if runs[s] and wanted[p]]

    def name(self, place: int) -> str:
        """Without overload, in place or not."""
        op = self.trace.signatures[int(self.trace.op_signature[place])].op
        return ".".join(op.split(".")[:2]).rstrip("_")


def matched(units: Sequence[Unit], own: OwnStep) -> dict[int, int]:
    """Index of a recorded operation of one step → index of the trace's operation."""
    found: dict[int, int] = {}
    for phase in ("forward", "backward", "optimizer"):
        mine = [i for i, unit in enumerate(units) if unit.phase == phase][:MOST]
        ours = own.places(phase)[:MOST]
        pairs = common(
            [base_name(units[i].name).rstrip("_") for i in mine], list(map(own.name, ours))
        )
        found |= {mine[a]: ours[b] for a, b in pairs}
    return found


def products(units: Sequence[Unit], own: OwnStep) -> tuple[int, int]:
    """(recorded, ours): products of the forward pass of one recorded step and of one micro-batch of
    ours."""
    theirs = [base_name(unit.name).rstrip("_") for unit in units if unit.phase == "forward"]
    ours = map(own.name, own.places("forward"))
    return sum(n in _PRODUCTS for n in theirs), sum(n in _PRODUCTS for n in ours)


def lent_doubt(placed: Sequence[tuple[int, Unit]], own: OwnStep) -> str | None:
    """A sentence where our step is hardly the recorded one's, so that sizes taken from it in order
    would be another model's. ``placed``: (step, operation)."""
    first = min((step for step, _ in placed), default=0)
    recorded, ours = products([unit for step, unit in placed if step == first], own)
    if may_be_same(recorded, ours):
        return None
    return (
        f"the recorded forward pass runs {recorded} products, that of the question {ours}: sizes "
        "taken from it by order may be another model's"
    )


def may_be_same(recorded: int, ours: int) -> bool:
    """Whether a step of so many products is some micro-batches of ours."""
    if not recorded or not ours:
        return recorded == ours
    whole = max(1, round(recorded / ours)) * ours
    return abs(recorded - whole) <= TOLERANCE * max(recorded, whole)


def common(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places of a longest common subsequence, in order."""
    where: dict[str, int] = {}
    for place, name in enumerate(b):
        where[name] = where.get(name, 0) | 1 << place
    full, rows = (1 << len(b)) - 1, [(1 << len(b)) - 1]
    for name in a:
        row, hit = rows[-1], where.get(name, 0)
        rows.append(((row + (row & hit)) | (row & ~hit)) & full)
    pairs: list[tuple[int, int]] = []
    i, j = len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif _length(rows[i - 1], j) == _length(rows[i], j):
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _length(row: int, columns: int) -> int:
    """Of the longest common subsequence with the first ``columns``: bits that are 0."""
    return columns - (row & (1 << columns) - 1).bit_count()
