"""The JSON document of ``planner explain``, as pydantic models.

Seconds are of one optimizer step at the mean padded batch and sum to the answer's; bytes are at the
peak of the longest batch and sum to the answer's memory. Medians, where nothing else is said.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from planner.answer.json_schema import published
from planner.answer.schema import FirstLine
from planner.answer.schema_of_option import SUM_TOLERANCE, Figure, Part

#: What a change does to what is learnt: nothing, the rounding of numbers, which samples stand in a
#: batch, the method itself.
Effect = Literal["none", "numerics", "batches", "method"]


def _sums(parts: list[float], total: float) -> bool:
    return abs(sum(parts) - total) <= max(1e-12, SUM_TOLERANCE * abs(total))


class TimeNode(Part):
    """A module, or ``count`` blocks that are built alike. ``seconds`` are with its children's and
    with what the device waits for the host."""

    name: str
    path: str = Field(description="The module's name in the model, of several blocks the first's")
    count: int = Field(ge=1)
    seconds: float = Field(ge=0)
    share: float = Field(ge=0, description="Of the step")
    waiting_seconds: float = Field(ge=0, description="Of seconds, the device waits for the host")
    by_phase: dict[str, float] = Field(description="Seconds; they sum to seconds")
    by_kind: dict[str, float] = Field(description="Seconds of the device; with waiting they sum")
    flops: float = Field(ge=0)
    moved_bytes: float = Field(ge=0, description="Read and written")
    children: list[TimeNode]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if not _sums([*self.by_kind.values(), self.waiting_seconds], self.seconds):
            raise ValueError(f"{self.path}: kinds and waiting do not sum to seconds")
        if not _sums(list(self.by_phase.values()), self.seconds):
            raise ValueError(f"{self.path}: phases do not sum to seconds")
        return self


class StepTimes(Part):
    """``seconds``: the median of the answer's step."""

    seconds: float = Field(ge=0)
    waiting_seconds: float = Field(ge=0)
    exchange_seconds: float = Field(ge=0, description="What devices exchange and nothing hides")
    by_phase: dict[str, float]
    by_kind: dict[str, float] = Field(description="Seconds that the device computes")
    tree: list[TimeNode] = Field(description="They sum to seconds less the exchange")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        rest = self.seconds - self.exchange_seconds
        if not _sums([node.seconds for node in self.tree], rest):
            raise ValueError("the tree does not sum to the step")
        return self


class MemoryNode(Part):
    """What a module, or ``count`` blocks that are built alike, holds at the peak, its children's
    included."""

    name: str
    path: str
    count: int = Field(ge=1)
    bytes: float = Field(ge=0)
    share: float = Field(ge=0, description="Of what is used of the device")
    by_category: dict[str, float]
    children: list[MemoryNode]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if not _sums(list(self.by_category.values()), self.bytes):
            raise ValueError(f"{self.path}: categories do not sum to bytes")
        return self


class Timeline(Part):
    """Live bytes through one step at the longest batch, the largest of each interval:
    ``seconds[i]`` on the device's clock, ``bytes[category][i]``. ``is_first_step``: the first step
    of the run holds the peak, else every step is like it. ``skipped_micro_batches`` are like the
    one before the last and are left out."""

    is_first_step: bool
    step_seconds: float = Field(ge=0)
    skipped_micro_batches: int = Field(ge=0)
    seconds: list[float]
    bytes: dict[str, list[float]]
    phases: list[str] = Field(description="Phase of the step at each point")
    reserved_bytes: float = Field(ge=0)

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        lengths = {len(self.seconds), len(self.phases), *map(len, self.bytes.values())}
        if len(lengths) != 1:
            raise ValueError("columns of the timeline differ in length")
        if any(a > b for a, b in zip(self.seconds, self.seconds[1:])):
            raise ValueError("the timeline runs backwards")
        return self


class Peak(Part):
    phase: str
    operation: str
    module: str


class MemoryAtPeak(Part):
    device_used_bytes: Figure
    device_total_bytes: int = Field(ge=0)
    by_category: dict[str, float] = Field(description="They sum to the median of what is used")
    peak: Peak
    tree: list[MemoryNode] = Field(description="They sum to the median of what is used")
    timeline: Timeline

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        for what, parts in (
            ("categories", list(self.by_category.values())),
            ("modules", [node.bytes for node in self.tree]),
        ):
            if not _sums(parts, self.device_used_bytes.p50):
                raise ValueError(f"the {what} at the peak do not sum to what is used")
        return self


class Subject(Part):
    """The option that is explained, with figures of the answer to the same question."""

    strategy: str
    variant: str | None
    model: str
    gpu: str
    gpu_key: str
    gpus: int = Field(ge=1)
    provider: str | None
    is_recommended: bool
    fits: bool
    micro_batch_size: int = Field(ge=1)
    gradient_accumulation: int = Field(ge=1)
    sequence_length: int | None
    longest_length: int | None
    step_seconds: Figure
    wall_hours: Figure
    usd: Figure | None
    training: dict[str, Any]


class Amounts(Part):
    """Medians of one way; ``usd`` None: no price is known."""

    device_used_bytes: float = Field(ge=0)
    wall_hours: float = Field(ge=0)
    usd: float | None
    fits: bool
    micro_batch_size: int = Field(ge=1)
    gpu: str
    gpus: int = Field(ge=1)
    provider: str | None


class Saved(Part):
    """What is less by it; negative: what is more."""

    bytes: float
    hours: float
    usd: float | None


class Change(Part):
    """One change, asked anew with everything else held. ``flags`` ask it. ``refitted``: with the
    micro-batch chosen again, where that is another one and cheaper."""

    key: str
    text: str
    effect: Effect
    fields: dict[str, Any]
    flags: str
    after: Amounts
    saved: Saved
    refitted: Amounts | None
    refitted_saved: Saved | None
    note: str | None


class LeftOut(Part):
    key: str
    text: str
    why: str


class Explained(Part):
    """The document."""

    schema_version: Literal[1] = Field(alias="schema")
    first_lines: list[FirstLine]
    question: dict[str, Any]
    option: Subject
    time: StepTimes
    memory: MemoryAtPeak
    held: Amounts = Field(description="What the changes are held against")
    changes: list[Change] = Field(description="The most valuable first")
    left_out: list[LeftOut]
    notes: list[str]


def explain_schema() -> dict[str, Any]:
    """As shipped in ``profiles/schema/explain.schema.json``."""
    return published(Explained.model_json_schema(by_alias=True))
