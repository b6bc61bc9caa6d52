"""The JSON document of an answer, as pydantic models: the contract that tests, scripts and other
programs rely on.

Stable within a major version of ``schema``: keys may be added, none is renamed or removed. Required
keys are required even when their value is null, so that a reader never has to guess whether a
figure is missing or was forgotten. This module is not on the path of an answer: it writes
``profiles/schema/answer.schema.json`` and validates in tests and in ``planner report answer.json``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.answer.schema_of_option import (
    Basis,
    BeforeCorrections,
    CorrectedBy,
    Cost,
    Figure,
    Memory,
    OptionModel,
    Part,
    Run,
    Step,
    Training,
)


class Limit(Part):
    """A limit of the question beside this option's figure, in USD or hours."""

    limit: Literal["max_usd", "max_hours", "deadline"]
    allowed: float = Field(description="Negative hours: the deadline has passed")
    used: Figure
    kept: bool = Field(description="By the median")
    left: float = Field(description="Of what is allowed, at the median; negative: over it")
    chance_kept: float = Field(ge=0, le=1)
    runs: int | None = Field(
        ge=0, description="Such runs that the limit pays, or leaves time for one after another"
    )


class Fix(Part):
    """One change that lowers the peak, with what it would bring."""

    change: str
    device_used_bytes: Figure | float
    fits: bool
    gpu: str | None


class Scratch(Part):
    """What training from scratch would really need, by the published recipe of the family."""

    tokens_or_samples_needed: float | None
    source: str | None
    usd: Figure | float | None
    gpu_hours: Figure | float | None
    labels_usd: float | None = Field(
        default=None, ge=0, description="Labelling that much data, at usd_per_label"
    )


class Serving(Part):
    """Answering requests with the tuned model on the device that does it for least."""

    gpu: str | None = None
    provider: str | None = None

    requests_per_month: float = Field(gt=0)
    prompt_tokens: float | None = Field(ge=0)
    output_tokens: float = Field(ge=0)
    requests_at_once: int = Field(ge=1)
    prompt_seconds: Figure
    token_seconds: Figure | None
    gpus: int = Field(ge=1)
    gpu_hours_per_month: float = Field(ge=0, description="Of the devices that stay on")
    busy_gpu_hours_per_month: float = Field(ge=0, description="In which requests are in flight")
    usd_per_month: Figure | None = Field(description="Of whole servers that stay on")
    usd_per_month_when_busy: float | None = Field(ge=0, description="If only busy hours were paid")


class Crossing(Part):
    """``cheaper_below`` costs less up to the load, ``cheaper_above`` from there on; ``again``: they
    cross more than once."""

    cheaper_below: str
    cheaper_above: str
    requests_per_month: float = Field(gt=0)
    project_usd: float = Field(ge=0)
    again: bool


class CheapestFrom(Part):
    option: str
    from_requests_per_month: float = Field(ge=0)


class BreakEven(Part):
    """At how many requests a month one way becomes cheaper than another over the asked months."""

    months: float = Field(gt=0)
    cheapest: list[CheapestFrom]
    crossings: list[Crossing]


class GridIntensity(Part):
    """The electricity that the option's carbon stands on."""

    grams_co2e_per_kwh: Figure
    place: str
    year: str | None
    source: str


class Codecarbon(Part):
    """What codecarbon would report for the same run, by its documented method."""

    kwh: Figure
    co2_kg: Figure
    method: str


class Corrected(Part):
    """What the user's own measured runs moved in this option, and what it was before."""

    by: list[CorrectedBy]
    before: BeforeCorrections


class Option(Part):
    """One way to do it. ``memory``, ``step`` and ``run`` are null for strategies that train nothing
    on a device; ``cost`` is null where no price is known."""

    strategy: str
    variant: str | None
    gpu: str | None
    gpus: int = Field(ge=0)
    provider: str | None
    fits: bool | None
    basis: Basis | None
    corrected: Corrected | None = Field(
        default=None, description="Which figures measured runs moved, and what they were before"
    )
    model: OptionModel | None
    training: Training | None
    memory: Memory | None
    step: Step | None
    run: Run | None
    cost: Cost | None
    limits: list[Limit] = []
    energy_kwh: Figure | None
    co2_kg: Figure | None
    grid: GridIntensity | None = None
    codecarbon: Codecarbon | None = Field(
        default=None, description="What codecarbon would report for the same run"
    )
    fixes: list[Fix]
    scratch: Scratch | None
    disk_bytes: int | None
    serving: Serving | None = None
    assumptions: list[str]
    warnings: list[str]


class Recommended(Part):
    strategy: str
    gpu: str | None
    gpus: int
    why: str
    reason: str | None = Field(default=None, description="As ``why``, without sources")


class Source(Part):
    what: str
    source: str
    date: str | None


class FirstLine(Part):
    """How the question was understood, and what of it was left out or assumed."""

    topic: str
    text: str
    warning: bool


class Answer(Part):
    """The whole document. ``schema`` is the major version."""

    schema_version: Literal[1] = Field(alias="schema")
    first_lines: list[FirstLine] = []
    question: dict[str, Any]
    dataset: dict[str, Any] | None
    model: dict[str, Any] | None
    options: list[Option]
    recommended: Recommended | None
    assumptions: list[str]
    warnings: list[str]
    sources: list[Source]
    break_even: BreakEven | None = None
