"""What is asked: the model, the data, the strategies, the hardware and its price."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.question.fields import OneOf
from planner.question.settings import SETTINGS
from planner.registry import declared
from planner.tasks import tasks

#: Strategies that train something on a device: those of ``training/strategies``, a file each.
TRAINING_STRATEGIES: tuple[str, ...] = tuple(
    strategy.name
    for strategy in sorted(
        declared("planner.training.strategies", "STRATEGY"), key=lambda strategy: strategy.order
    )
)
#: Strategies that are paid by the token.
PAID_STRATEGIES: tuple[str, ...] = ("prompting", "rag", "provider_fine_tune")
ALL_STRATEGIES: tuple[str, ...] = PAID_STRATEGIES + TRAINING_STRATEGIES

Strategy = Annotated[str, OneOf(ALL_STRATEGIES)]
Task = Annotated[str, OneOf(tasks())]


class What(BaseModel):
    """The first fields of a question."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    model: str = Field(description=SETTINGS["model"].words)
    data: str | None = Field(None, description="File or folder that is read and counted")
    samples: int | None = Field(None, ge=1, le=10**13, description=SETTINGS["samples"].words)
    tokens_per_sample: float | None = Field(
        None, gt=0, le=10**8, description="Mean tokens a sample, with samples"
    )
    target_tokens_per_sample: float | None = Field(
        None, gt=0, le=10**8, description="Mean tokens of an encoder-decoder's target"
    )
    audio_hours: float | None = Field(
        None, gt=0, le=10**8, description="Hours of audio in all, with samples or seconds a sample"
    )
    seconds_per_sample: float | None = Field(
        None, gt=0, le=10**6, description="Mean seconds of a clip, with samples or hours of audio"
    )
    text_columns: list[str] | None = Field(
        None,
        description="Columns that hold the text, by default found from the names; of a table those "
        "that count, what is learnt last",
    )
    task: Task | None = Field(None, description=SETTINGS["task"].words)
    classes: int | None = Field(None, ge=1, le=10**7, description=SETTINGS["classes"].words)
    strategy: list[Strategy] | None = Field(None, description=SETTINGS["strategy"].words)

    gpu: str | None = Field(None, description=SETTINGS["gpu"].words)
    gpus: int = Field(1, ge=1, le=100_000, description=SETTINGS["gpus"].words)
    parallel: Literal["auto", "ddp", "fsdp", "zero1", "zero2", "zero3"] | None = Field(
        None, description=SETTINGS["parallel"].words
    )
    tensor_parallel: int = Field(
        1,
        ge=1,
        le=1024,
        description="Devices that share every layer and its sequence, as Megatron-LM does it",
    )
    pipeline_parallel: int = Field(
        1, ge=1, le=1024, description="Stages of a pipeline that share the layers (1F1B)"
    )
    pipeline_chunks: int = Field(
        1, ge=1, le=1024, description="Parts of the model on each stage: interleaved 1F1B"
    )
    context_parallel: int = Field(
        1, ge=1, le=1024, description="Devices that have a part of each sequence each"
    )
    expert_parallel: int = Field(
        1, ge=1, le=1024, description="Devices that have the routed experts together, a part each"
    )
    provider: str | None = Field(None, description="Only this provider's prices")
    region: str | None = Field(None, description="Only this region's prices and electricity")
    spot: bool = Field(False, description="Spot prices: cheaper, and can be taken away")
    price: float | None = Field(
        None, ge=0, le=10**6, description="USD per GPU-hour, instead of the price table"
    )
    commitment: str | None = Field(
        None,
        description="Prices under this commitment, such as reserved or 1y; by default on "
        "demand and your own contracts",
    )
    interruptions_per_day: float | None = Field(
        None,
        ge=0,
        le=10**4,
        description="How often a day an instance is taken away, with spot, or all devices together "
        "are stopped by a failure, without; by default as measured, where somebody did",
    )
    checkpoint_minutes: float | None = Field(
        None,
        gt=0,
        le=10**7,
        description="With spot or several GPUs: minutes of work between checkpoints; by default "
        "the best by Young and Daly",
    )
    trials: int = Field(
        1,
        ge=1,
        le=10**6,
        description="Runs that succeed, with those of a search for hyperparameters; the cost "
        "is of all",
    )
    failed_share: float = Field(
        0.0, ge=0, lt=1, description="Share of runs that fail and are run again"
    )
    keep_months: float = Field(
        0.0,
        ge=0,
        le=1200,
        description="Months that data and checkpoints stay in storage after the run",
    )
    usd_per_label: float | None = Field(
        None, ge=0, le=10**6, description="What people are paid for one label"
    )
    labels: int | None = Field(
        None,
        ge=0,
        le=10**13,
        description="Labels that people are paid for; by default one a sample",
    )
    owned_usd: float | None = Field(
        None,
        ge=0,
        le=10**9,
        description="Own hardware: price of one GPU with its share of the machine",
    )
    owned_years: float | None = Field(
        None, gt=0, le=100, description="Own hardware: years that it works"
    )
    owned_utilisation: float | None = Field(
        None, gt=0, le=1, description="Own hardware: share of its hours that it works for somebody"
    )
    usd_per_kwh: float | None = Field(
        None, ge=0, le=100, description="Own hardware: price of electricity"
    )
