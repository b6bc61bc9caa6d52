"""Corrections as a table: what they move, how sure they leave the planner, and how many runs and
models speak for them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from planner.errors import ProfileError
from planner.figures import Z90
from planner.report.views.device import Section
from planner.report.views.table import DASH, Table
from planner.report.views.validation import NAMES
from planner.report.words import clean
from planner.uncertainty.corrections import ANY, Correction
from planner.uncertainty.spread import stated_spread
from planner.validate.summaries import by
from planner.validate.validate import Validation


def sections(
    known: Sequence[Correction], found: Validation | None = None, problems: Sequence[str] = ()
) -> list[Section]:
    """The corrections; with the validation that they were learnt from, what they do to runs that
    did not teach them."""
    devices = sorted({c.device for c in known})
    made = [
        Section(
            f"Corrections on {clean(device)}",
            table=_table([c for c in known if c.device == device]),
        )
        for device in devices
    ]
    made += [
        Section(
            f"Judged on {clean(device)} by models that are left out, a kind at a time",
            table=_judged([c for c in known if c.device == device]),
        )
        for device in devices
    ]
    if found is not None:
        title = "What they do on {}, each kind of model judged by the others"
        made += [
            Section(title.format(clean(device)), table=_effect(found, device)) for device in devices
        ]
    if found is not None and found.refused:
        made += [
            Section(
                f"Not learnt from: {len(found.refused):,}",
                lines=tuple(
                    clean(reason) for reason in sorted({r.reason for r in found.refused})[:8]
                ),
            )
        ]
    return made + (
        [Section("What could not be read", lines=tuple(map(clean, problems)))] if problems else []
    )


def _table(known: Sequence[Correction]) -> Table:
    rows = tuple(
        (
            _name(c),
            f"{100 * math.expm1(c.bias_log):+.1f} %",
            _was(c),
            _width(c.sigma_log),
            f"{c.runs:,}",
            f"{c.models:,}",
            clean(c.made),
        )
        for c in known
    )
    return Table(("", "moved by", "interval was", "now", "runs", "models", "learnt"), rows)


def _judged(known: Sequence[Correction]) -> Table:
    """The errors before and after on kinds of models that taught nothing, and what follows."""
    rows = tuple(
        (
            _name(c),
            DASH if c.judged is None else f"{c.judged:,}",
            DASH if c.error_before is None else _share(c.error_before),
            DASH if c.error_after is None else _share(c.error_after),
            _force(c),
        )
        for c in known
    )
    return Table(("", "kinds", "median error", "corrected", ""), rows)


def _force(c: Correction) -> str:
    if c.in_force:
        return "in force"
    if c.judged is None:
        return "not in force: never judged"
    return "not in force" if c.error_before is not None else "not in force: too few kinds"


def _name(c: Correction) -> str:
    work = "any work" if c.family == ANY else clean(c.family).replace("_", " and ")
    return f"{NAMES[c.quantity]}, {c.basis}, {work}"


def _was(c: Correction) -> str:
    """The width that the planner states by itself; the context's is a measured range, not a
    spread."""
    if c.quantity == "context":
        return DASH
    try:
        return _width(stated_spread(c.quantity, c.basis, c.family).sigma_log)
    except ProfileError:
        return DASH


def _width(sigma_log: float) -> str:
    """How far the 80 % interval reaches above its middle; wide ones as a factor either way."""
    factor = math.exp(Z90 * sigma_log)
    return f"±{100 * (factor - 1):.0f} %" if factor < 2 else f"× or ÷ {factor:.1f}"


def _effect(found: Validation, device: str) -> Table:
    before, after = (
        by((c for c in comparisons if c.gpu == device), "quantity", "basis")
        for comparisons in (found.plain, found.left_out)
    )
    rows = tuple(
        (
            f"{NAMES[q]}, {basis}",
            f"{s.count:,}",
            _share(s.median),
            _share(new.median),
            _share(s.coverage),
            _share(new.coverage),
        )
        for (q, basis), s in before.items()
        if (new := after.get((q, basis)))
    )
    return Table(("", "runs", "median error", "corrected", "covered", "corrected"), rows)


def _share(value: float) -> str:
    return f"{100 * value:,.1f} %"


def document(
    known: Sequence[Correction], file: str | None, found: Validation | None = None
) -> dict[str, Any]:
    """JSON: ``file`` None where they are not in force."""
    made: dict[str, Any] = {
        "schema": 1,
        "file": file,
        "corrections": [dataclasses.asdict(c) for c in known],
    }
    if found is not None:
        made["judged"] = {
            name: [
                {"quantity": q, "basis": basis, "device": gpu, **dataclasses.asdict(s)}
                for (q, basis, gpu), s in by(
                    getattr(found, name), "quantity", "basis", "gpu"
                ).items()
            ]
            for name in ("plain", "left_out")
        }
        made["not_learnt_from"] = len(found.refused)
    return made
