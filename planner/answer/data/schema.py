"""The JSON document of ``planner data``, as pydantic models. It is not on the path of an answer: it
writes ``profiles/schema/data.schema.json`` and validates in tests."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from planner.answer.json_schema import published
from planner.answer.schema import FirstLine


class _Part(BaseModel):
    """Unknown extra keys are kept: later minor versions add some."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Column(_Part):
    column: str
    role: str | None = Field(description="What it is used as; null when its text does not count")
    text_share: float = Field(ge=0, le=1, description="Of the bytes of all texts")
    left_out: bool = Field(description="It holds language that is not counted")


class Segment(_Part):
    text: str = Field(description="Shortened in the middle where it is long")
    trained: bool = Field(description="The loss is taken on it")


class Record(_Part):
    number: int = Field(ge=1, description="Among those that were counted")
    tokens: int | None
    characters: int = Field(ge=0, description="Of the whole record, as it is trained")
    label: str | None
    segments: list[Segment]


class Bin(_Part):
    lowest: float = Field(alias="from", description="Tokens; seconds where there is only sound")
    beyond: float | None = Field(alias="to", description="Null for the last, open one")
    records: int
    share: float = Field(ge=0, le=1)


class Template(_Part):
    name: str
    source: str
    assumed: bool = Field(description="The family's, not known to be the model's own")


class Batches(_Part):
    max_length: int | None = Field(description="Tokens at which samples are cut; null: nowhere")
    cut_records_share: float | None
    cut_tokens_share: float
    micro_batch: int
    padding_share: float = Field(description="Of what is computed, padded to the batch's longest")
    packed_sequences: int | None = Field(description="Null where nothing is packed")
    packed_padding_share: float | None


class DataDocument(_Part):
    """What was understood of a dataset."""

    schema_version: str = Field(alias="schema")
    model: str | None
    task: str | None
    first_lines: list[FirstLine]
    source: str
    format: str
    modality: str
    record_type: str
    records_are: str = Field(description="The record type in words, or the medium without text")
    samples: int
    sampled: int = Field(description="Records that were really counted")
    bytes_on_disk: int | None
    classes: int | None
    tokenizer: str | None
    length_relative_error: float = Field(ge=0, description="One standard deviation of the mean")
    chat_template: Template | None
    columns: list[Column]
    records: list[Record]
    trained_share: float | None = Field(description="Of the text, that the loss is taken on")
    lengths: dict[str, float] | None
    target_lengths: dict[str, float] | None
    audio_seconds: dict[str, float] | None
    image_sizes: dict[str, int] | None
    histogram: list[Bin]
    batches: Batches | None
    assumptions: list[str]
    warnings: list[str]


def data_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return published(DataDocument.model_json_schema(by_alias=True))
