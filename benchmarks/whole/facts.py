"""What reports leave to the reader's knowledge: the sizes of the models they name, the lengths of
public data sets. Rows with sources, none of them taken from a run's outcome."""

from __future__ import annotations

import json
import re
from functools import cache

from planner import tables
from planner.errors import PlannerError
from planner.models.resolve import resolve
from planner.trace.source import cache_folder
from planner.validate.architectures import resolvable


@cache
def model_of(label: str, hint: str) -> tuple[str, str]:
    """(name that the planner resolves, what was taken instead or "")."""
    hub = hint.removeprefix("hf:").split(" ")[0]
    for row in tables.rows("measured", "whole_runs", "models.csv"):
        if row["reported"] in (label, hub):
            architecture = json.loads(row["architecture"]) if row["architecture"] else None
            name = resolvable(row["model"], architecture, cache_folder() / "whole_runs")
            return name, f"sizes: {row['source']}"
    return hub, ""


@cache
def blocks_of(name: str) -> int | None:
    """Blocks of a model that the planner resolves; None where it does not."""
    try:
        return resolve(name, offline=True).blocks
    except PlannerError:
        return None


@cache
def data_set(name: str) -> dict[str, str] | None:
    """The row of a data set whose name the report's words begin with."""
    for row in tables.rows("measured", "whole_runs", "data_sets.csv"):
        if name.startswith(row["data_set"]):
            return row
    return None


def by_hand(report_id: str) -> list[dict[str, str]]:
    """What reading a report's source and taking our answer apart said of its miss."""
    rows = tables.rows("measured", "whole_runs", "evidence.csv")
    return [row for row in rows if row["id"] == report_id]


def evaluation_of(report_id: str) -> dict[str, str] | None:
    """What the recipe of a report says of its evaluation."""
    rows = tables.rows("measured", "whole_runs", "evaluations.csv")
    return next((row for row in rows if row["id"] == report_id), None)


def mean_tokens(row: dict[str, str], model: str) -> float | None:
    """Tokens of a mean sample, as counted or from its bytes by the model's vocabulary."""
    if row["tokens"]:
        return float(row["tokens"])
    if not row["bytes"]:
        return None
    size = float(row["bytes"]) / float(row["samples"])
    size += float(row["prompt_bytes"]) - float(row["key_bytes"])
    return size / bytes_per_token(model)


@cache
def bytes_per_token(model: str) -> float:
    """Bytes of English text a token, by the size of the model's vocabulary."""
    found = next(r for r in _ratios() if r["vocabulary"] == _vocabulary_class(model))
    return float(found["bytes_per_token"])


def _ratios() -> list[dict[str, str]]:
    return [r for r in tables.rows("datasets", "bytes_per_token.csv") if r["script"] == "ascii"]


def _vocabulary_class(model: str) -> str:
    limits = {
        row["key"].removesuffix("_vocabulary"): float(row["value"])
        for row in tables.rows("datasets", "constants.csv")
        if re.fullmatch(r"(small|medium)_vocabulary", row["key"])
    }
    try:
        entries = resolve(model, offline=True).vocabulary or 0
    except PlannerError:
        entries = 0
    return next((name for name in ("small", "medium") if entries <= limits[name]), "large")
