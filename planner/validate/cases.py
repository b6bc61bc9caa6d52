"""A measured case: one question in the planner's own terms, and what somebody measured when they
ran it.

The same columns as ``profiles/measured/published.csv``. A blank is unknown; nothing here is filled
in by a guess, and what the source left open and had to be assumed to ask the question at all stands
in ``assumed``.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from planner.models.tasks import modality_of
from planner.question.settings import published
from planner.question.setup import Setup

#: Which part of a step the source timed: a whole optimizer step, the passes without the optimizer,
#: or a forward pass.
MEASURES = ("step", "forward_backward", "forward")

#: Which of the three memories the source read: torch's peak of live tensors, what its allocator
#: held, what the driver saw.
MEMORIES = ("allocated", "reserved", "device")

#: Families of one kin are kept on one side of the split: the first pattern found in a model's name
#: decides.
KIN = (
    ("efficientnet|mixnet|tinynet", "efficientnet"),
    ("mobilenet|mnasnet|lcnet|fbnet", "mobilenet"),
    ("res2?ne|resmlp_res", "resnet"),
    ("convnext", "convnext"),
    ("densenet", "densenet"),
    ("regnet", "regnet"),
    ("swin", "swin"),
    ("deit|vit_|beit", "vit"),
    ("vgg", "vgg"),
    ("bert", "bert"),
    ("llama|mistral", "llama"),
    ("mpt|gpt", "gpt"),
    ("stablelm|pythia", "gpt_neox"),
    (r"(^|[^a-z])t5", "t5"),
)

#: Chosen once, before any prediction was compared, so that text and vision both have families on
#: either side.
SALT = "measured848"


#: The table of the cases that come from the ledger.
LEDGER = "ledger"


@dataclass(frozen=True, kw_only=True)
class Case(Setup):
    """One measured configuration: its setup by a recipe's words (``gpu`` a key of
    ``profiles/gpus/gpus.csv``), and what was measured. Sizes in bytes, times in seconds;
    ``step_seconds`` is the time of what ``measures`` names, over all micro-batches of the step.
    ``peaks`` maps a name of MEMORIES to bytes."""

    id: str
    table: str
    citation: str
    date: str | None = None
    measures: str = "step"
    step_seconds: float | None = None
    forward_seconds: float | None = None
    samples_per_second: float | None = None
    peaks: tuple[tuple[str, int], ...] = ()
    oom: bool = False
    assumed: str = ""
    trust: str = "M"

    @property
    def family(self) -> str:
        kind = (self.architecture or {}).get("kind", "timm")
        # a local folder's or an own model's name says nothing of its kind
        labelled = self.table == LEDGER and kind != "timm"
        return family_of(str(kind) if labelled else self.model)

    @property
    def split(self) -> str:
        return split_of(self.family)

    @property
    def modality(self) -> str:
        return modality_of(self.task)


@dataclass(frozen=True)
class Refused:
    """A row of a table that cannot be put as a question, and why: counted and named, never dropped
    in silence."""

    id: str
    table: str
    reason: str


def family_of(model: str) -> str:
    """``timm:tf_efficientnet_b3_ns`` → ``efficientnet``; otherwise the leading letters of the
    name."""
    name = model.split(":")[-1].split("/")[-1].lower()
    for pattern, family in KIN:
        if re.search(pattern, name):
            return family
    match = re.match(r"(?:tf_|gluon_|legacy_|ssl_|swsl_|ig_|eca_|ese_)*([a-z]+)", name)
    return match[1] if match else name


def split_of(family: str) -> str:
    """``fit`` or ``holdout`` (three in ten), the same on every machine, one answer for a whole
    family."""
    return (
        "holdout" if hashlib.sha256(f"{SALT}:{family}".encode()).digest()[0] < 0.3 * 256 else "fit"
    )


def slug(*parts: object) -> str:
    """A readable identifier out of the parts that are given: ``slug("a b", None, 3)`` →
    ``a-b.3``."""
    return ".".join(
        re.sub(r"[^A-Za-z0-9_+]+", "-", str(part)).strip("-")
        for part in parts
        if part not in (None, "")
    )


def unique(cases: Iterable[Case]) -> list[Case]:
    """The cases with ``-2``, ``-3`` … appended to an id that came before."""
    seen: dict[str, int] = {}
    out = []
    for case in cases:
        seen[case.id] = seen.get(case.id, 0) + 1
        out.append(
            case
            if seen[case.id] == 1
            else dataclasses.replace(case, id=f"{case.id}-{seen[case.id]}")
        )
    return out


# ---------------------------------------------------------------- the published table

COLUMNS = (
    "id",
    "table",
    "source",
    "date",
    *(setting.column for setting in published()),
    "measures",
    "step_seconds",
    "forward_seconds",
    "samples_per_second",
    "peak_bytes",
    "memory",
    "oom",
    "assumed",
    "trust",
    "family",
    "split",
)
TIMES = ("step_seconds", "forward_seconds", "samples_per_second")
#: A type of setting → (its cell, its value of a cell). Text stands as it is.
CELLS: dict[str, tuple[Callable[[Any], Any], Callable[[str], Any]]] = {
    "count": (lambda value: value, int),
    "whole": (lambda value: value, int),
    "positive": (lambda value: _figures(value), float),
    "amount": (lambda value: _figures(value), float),
    "flag": (int, lambda cell: cell == "1"),
    "names": (lambda value: " ".join(value) or None, lambda cell: tuple(cell.split())),
    "object": (lambda value: json.dumps(value, sort_keys=True) if value else None, json.loads),
}


def to_csv(cases: Iterable[Case]) -> str:
    """The table as text, in the order given. A case with two measured memories cannot be written:
    ValueError."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for case in cases:
        if len(case.peaks) > 1:
            raise ValueError(f"{case.id}: the published table holds one memory a row")
        row = {name: getattr(case, name, None) for name in COLUMNS} | _setup_cells(case)
        memory, peak = case.peaks[0] if case.peaks else (None, None)
        row |= {
            "source": case.citation,
            "peak_bytes": peak,
            "memory": memory,
            "oom": int(case.oom),
            **{name: _figures(getattr(case, name)) for name in TIMES},
        }
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    return out.getvalue()


def _setup_cells(case: Case) -> dict[str, Any]:
    values = {setting.name: getattr(case, setting.name) for setting in published()}
    return {
        setting.column: CELLS[setting.value_type][0](values[setting.name])
        for setting in published()
        if setting.value_type in CELLS and values[setting.name] is not None
    }


def _figures(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def from_rows(rows: Iterable[dict[str, str]]) -> Iterator[Case]:
    """The cases of rows written by ``to_csv``; family and split are derived again, not believed."""
    types = {setting.column: setting.value_type for setting in published()}
    names = {field.name for field in dataclasses.fields(Case)}
    for row in rows:
        cells = {
            name: cell for name, cell in row.items() if name in names and cell not in (None, "")
        }
        values: dict[str, Any] = {
            name: CELLS[types[name]][1](cell) if types.get(name) in CELLS else cell
            for name, cell in cells.items()
        }
        values |= {name: float(cells[name]) for name in TIMES if name in cells}
        values |= {"citation": row["source"], "oom": row["oom"] == "1"}
        if row["peak_bytes"]:
            values["peaks"] = ((row["memory"], int(row["peak_bytes"])),)
        yield Case(**values)
