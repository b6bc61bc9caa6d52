"""Corrections as a table: what they move, how sure they leave the planner, and how many runs and models speak for them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from planner.errors import ProfileError
from planner.figures import Z90
from planner.ledger.summaries import by
from planner.ledger.validating import Validation
from planner.plan.corrections import Correction
from planner.plan.uncertainty import stated_spread
from planner.report.device_view import Section
from planner.report.validation_view import NAMES
from planner.report.view import DASH, Table
from planner.report.words import clean


def sections(known: Sequence[Correction], found: Validation | None = None, problems: Sequence[str] = ()) -> list[Section]:
    """The corrections; with the validation that they were learnt from, what they do to runs that did not teach them."""
    made = [Section("Corrections", table=_table(known))]
    if found is not None:
        made += [Section("What they do to runs that they were not learnt from", table=_effect(found))]
        if found.refused:
            made += [Section(f"Not learnt from: {len(found.refused):,}", lines=tuple(clean(r) for r in sorted({r.reason for r in found.refused})[:8]))]
    return made + ([Section("What could not be read", lines=tuple(map(clean, problems)))] if problems else [])


def _table(known: Sequence[Correction]) -> Table:
    rows = tuple((NAMES[c.quantity], c.basis, clean(c.device), "any" if c.family == "any" else clean(c.family), f"{100 * math.expm1(c.bias_log):+.1f} %",
                  _was(c), _width(c.sigma_log), f"{c.runs:,}", f"{c.models:,}", clean(c.made)) for c in known)
    return Table(("what", "basis", "device", "work", "moved by", "interval was", "now", "runs", "models", "learnt"), rows)


def _was(c: Correction) -> str:
    """The width that the planner states by itself; the context's is a measured range, not a spread."""
    if c.quantity == "context":
        return DASH
    try:
        return _width(stated_spread(c.quantity, c.basis, c.family).sigma_log)
    except ProfileError:
        return DASH


def _width(sigma_log: float) -> str:
    """How far the 80 % interval reaches above its middle."""
    return f"±{100 * math.expm1(Z90 * sigma_log):.0f} %"


def _effect(found: Validation) -> Table:
    before, after = (by(comparisons, "quantity", "basis", "gpu") for comparisons in (found.plain, found.left_out))
    rows = tuple((NAMES[q], basis, clean(gpu), f"{s.count:,}", f"{s.median:.1%}", f"{new.median:.1%}", f"{s.coverage:.0%}", f"{new.coverage:.0%}")
                 for (q, basis, gpu), s in before.items() if (new := after.get((q, basis, gpu))))
    return Table(("what", "basis", "device", "runs", "median error", "corrected", "covered", "corrected "), rows)


def document(known: Sequence[Correction], file: str | None, found: Validation | None = None) -> dict[str, Any]:
    """JSON: ``file`` None where they are not in force."""
    made: dict[str, Any] = {"schema": 1, "file": file, "corrections": [dataclasses.asdict(c) for c in known]}
    if found is not None:
        made["judged"] = {name: [{"quantity": q, "basis": basis, "device": gpu, **dataclasses.asdict(s)} for (q, basis, gpu), s in by(getattr(found, name), "quantity", "basis", "gpu").items()]
                          for name in ("plain", "left_out")}
        made["not_learnt_from"] = len(found.refused)
    return made
