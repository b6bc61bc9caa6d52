"""The JSON documents of ``planner compare``, as pydantic models: of a trace, or of a snapshot.

Seconds are of one optimizer step at the mean padded batch, bytes are at the peak of the longest
batch. Of every pair, ``predicted`` is the plan's median; None where a side says nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, RootModel, model_validator

from planner.answer.json_schema import published
from planner.answer.schema import FirstLine
from planner.answer.schema_of_option import SUM_TOLERANCE, Basis, Part
from planner.explain.schema import Peak


class Pair(Part):
    predicted: float | None
    recorded: float | None
    ratio: float | None = Field(description="Predicted over recorded, None where that is none")


class OfKind(Pair):
    """Seconds of the device and operations of a step, by kind."""

    kind: str
    predicted_calls: float = Field(ge=0)
    recorded_calls: float = Field(ge=0)


class OfPhase(Pair):
    """Seconds of the device."""

    phase: str


class ModuleNode(Pair):
    """Seconds of the device of a module with its children's; ``count`` blocks that are alike."""

    name: str
    path: str
    count: int = Field(ge=1)
    children: list[ModuleNode]


class Modules(Part):
    told_by: Literal["recorded modules", "order of operations"] | None = Field(
        description="None: nothing tells, and the tree is empty"
    )
    matched_share: float = Field(
        ge=0, description="Of the recorded time, what stands in our trace's order too"
    )
    tree: list[ModuleNode]


class OneSided(Part):
    """An operation that the other side has none of; seconds and calls of a step."""

    operation: str
    kind: str
    seconds: float = Field(ge=0)
    calls: float = Field(ge=0)


class Option(Part):
    """What ``planner estimate`` recommends of the question."""

    strategy: str
    variant: str | None
    model: str
    gpu: str
    gpus: int = Field(ge=1)
    basis: Basis
    micro_batch_size: int = Field(ge=1)
    gradient_accumulation: int = Field(ge=1)
    precision: str
    optimizer: str


class RecordedStep(Part):
    file: str
    device: str | None = Field(description="None: the trace does not tell")
    steps: int = Field(ge=1)
    are_marked: bool = Field(description="Whether the profiler marked where steps begin and end")
    work_seconds: float = Field(ge=0, description="All that ran, streams that overlap twice")
    stream_overlap_share: float
    has_shapes: bool
    has_stacks: bool
    outside_seconds: float = Field(description="Of the device, before, between, after the steps")
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None


class RecordedMemory(Part):
    file: str
    device: str
    events: int = Field(ge=0)
    segments: int = Field(ge=0, description="At the end")
    largest_segment_bytes: int = Field(ge=0)
    end_allocated_bytes: int = Field(ge=0)
    end_reserved_bytes: int = Field(ge=0)
    live_blocks_at_peak: int = Field(ge=0)
    is_whole: bool = Field(description="Whether the events begin with nothing alive")
    has_stacks: bool
    out_of_memory_events: int = Field(ge=0)


class PlannedBlocks(Part):
    operation: str
    module: str
    category: str
    bytes: int = Field(ge=0)


class RecordedBlocks(Part):
    place: str = Field(description="The line that took them")
    bytes: int = Field(ge=0)


class _Document(Part):
    schema_version: Literal[1] = Field(alias="schema")
    first_lines: list[FirstLine]
    question: dict[str, Any] = Field(description="As understood, defaults filled in")
    option: Option
    warnings: list[str] = Field(description="What may make the two sides different steps")
    totals: dict[str, Pair] = Field(description="By a name that ends in its unit")
    notes: list[str]


class ComparedTrace(_Document):
    """A step that torch.profiler recorded."""

    kind: Literal["trace"]
    recorded: RecordedStep
    by_kind: list[OfKind] = Field(description="They sum to what the device does on either side")
    by_phase: list[OfPhase] = Field(description="They sum to what the device does on either side")
    modules: Modules
    only_recorded: list[OneSided]
    only_predicted: list[OneSided]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        for side in ("predicted", "recorded"):
            kinds, phases = (
                sum(getattr(row, side) or 0.0 for row in rows)
                for rows in (self.by_kind, self.by_phase)
            )
            if abs(kinds - phases) > max(1e-12, SUM_TOLERANCE * abs(kinds)):
                raise ValueError(f"{side}: kinds and phases do not sum to the same")
        return self


class ComparedSnapshot(_Document):
    """What torch.cuda.memory._dump_snapshot wrote."""

    kind: Literal["snapshot"]
    recorded: RecordedMemory
    predicted_by_category: dict[str, float] = Field(description="Bytes at the planned peak")
    recorded_by_origin: dict[str, int] = Field(description="Bytes at the recorded peak; they sum")
    predicted_peak: Peak
    predicted_largest: list[PlannedBlocks]
    recorded_largest: list[RecordedBlocks]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        whole = self.totals["peak_allocated_bytes"].recorded
        if whole is None or sum(self.recorded_by_origin.values()) != whole:
            raise ValueError("recorded_by_origin does not sum to the recorded peak")
        return self


class Compared(RootModel[Annotated[ComparedTrace | ComparedSnapshot, Field(discriminator="kind")]]):
    """The document."""


def compare_schema() -> dict[str, Any]:
    """As shipped in ``profiles/schema/compare.schema.json``."""
    return published(Compared.model_json_schema(by_alias=True))
