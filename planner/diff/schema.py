"""The JSON document of ``planner diff``, as pydantic models. Figures are medians; USD as limits
count them, with the months of serving where requests are asked for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.answer.json_schema import published
from planner.answer.schema_of_option import Part


class Figures(Part):
    """Of an option; None: not known."""

    strategy: str
    variant: str | None
    gpu: str | None
    gpus: int | None
    provider: str | None
    fits: bool | None
    usd: float | None
    wall_hours: float | None
    gpu_hours: float | None
    device_used_bytes: float | None


class Deltas(Part):
    """After less before; None where either is not known."""

    usd: float | None
    wall_hours: float | None
    gpu_hours: float | None
    device_used_bytes: float | None


class OneSide(Part):
    label: str
    kind: Literal["question", "answer"]
    model: str
    samples: int | None


class FieldChange(Part):
    field: str
    a: Any
    b: Any


class CauseField(Part):
    field: str
    before: Any
    after: Any


class OneCause(Part):
    """A change of the question, made after those above it, or what no change of it explains."""

    what: str
    fields: list[CauseField]
    delta: Deltas
    before: Figures | None
    after: Figures | None


class Pair(Part):
    a: Figures | None
    b: Figures | None
    change: Deltas


class Strategy(Pair):
    name: str


class Gate(Part):
    max_increase_usd: float | None
    max_increase_percent: float | None
    broken: list[str] = Field(description="A sentence for each limit that is not kept")


class Diff(Part):
    """The document."""

    schema_version: Literal[1] = Field(alias="schema")
    a: OneSide | None = Field(description="None: the project is new")
    b: OneSide | None = Field(description="None: the project is gone")
    question: list[FieldChange]
    recommended: Pair
    strategies: list[Strategy]
    causes: list[OneCause] = Field(description="In order; they sum to the change")
    no_causes: str | None = Field(description="Why nothing is said of the causes")
    gate: Gate
    notes: list[str]


def diff_schema() -> dict[str, Any]:
    """As shipped in ``profiles/schema/diff.schema.json``."""
    return published(Diff.model_json_schema(by_alias=True))
