"""The JSON document of an answer, as pydantic models: the contract that tests, scripts and other
programs rely on.

Stable within a major version of ``schema``: keys may be added, none is renamed or removed. Required
keys are required even when their value is null, so that a reader never has to guess whether a
figure is missing or was forgotten. This module is not on the path of an answer: it writes
``profiles/schema/answer.schema.json`` and validates in tests and in ``planner report answer.json``.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Relative difference that a breakdown may have from its total: sums of floats, nothing more.
SUM_TOLERANCE = 1e-6

Basis = Literal["datasheet", "calibrated", "exact"]


class _Part(BaseModel):
    """Unknown extra keys are kept (later minor versions add some); infinite and not-a-number
    figures are refused."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Figure(_Part):
    """A figure with its uncertainty; the unit is in the name of the field that holds it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    p10: float
    p50: float
    p90: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.p10 <= self.p50 <= self.p90:
            raise ValueError("p10, p50 and p90 are out of order")
        return self


class OptionModel(_Part):
    total_params: int = Field(ge=0)
    trainable_params: int = Field(ge=0)
    trainable_share: float = Field(ge=0, le=1)
    checkpoint_bytes: int | None = Field(ge=0, description="Size of one saved checkpoint")


class Training(_Part):
    """Everything chosen for the user or by the user that changes the cost of a step."""

    precision: str
    optimizer: str
    optimizer_states: str = Field(
        description="Which states in which precision, and bytes a parameter, in a sentence"
    )
    gradient_checkpointing: str
    attention: str
    global_batch_size: int = Field(ge=1)
    max_length: int | None
    padding: str
    lora: dict[str, Any] | None
    recipe: dict[str, Any] | None = Field(
        default=None,
        description="The published recipe that defaults are after: model, task, kind, data, "
        "warmup, source, date",
    )


class MemoryBreakdown(_Part):
    """Bytes at the moment of the peak; they sum to the median of ``device_used_bytes``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    weights: float = Field(ge=0)
    gradients: float = Field(ge=0)
    optimizer: float = Field(ge=0)
    activations: float = Field(ge=0)
    temporary: float = Field(ge=0)
    fragmentation: float = Field(ge=0)
    context: float = Field(ge=0)


class ModuleBytes(_Part):
    module: str
    bytes: float = Field(ge=0)


class Peak(_Part):
    """The moment at which most memory is held, and by which modules."""

    phase: str
    operation: str
    module: str
    modules: list[ModuleBytes]


class Memory(_Part):
    """``allocated``: peak of live tensors as torch counts them; ``reserved``: what the caching
    allocator holds; ``device_used``: what the driver's tools show, with the context."""

    allocated_bytes: Figure
    reserved_bytes: Figure
    device_used_bytes: Figure
    device_total_bytes: int = Field(gt=0)
    breakdown: MemoryBreakdown
    peak: Peak | None
    short_by_bytes: int | None = Field(
        ge=0, description="How much is missing where it does not fit"
    )
    verdict: Literal["fits", "tight", "does not fit"] | None = Field(
        default=None,
        description="tight: it may run out of memory, or fits by giving back cached memory",
    )
    chance_out_of_memory: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="That the run needs more than the device has, by the spread of the figures",
    )

    @model_validator(mode="after")
    def _parts_sum(self) -> Self:
        total, used = sum(self.breakdown.model_dump().values()), self.device_used_bytes.p50
        if abs(total - used) > max(1.0, SUM_TOLERANCE * used):
            raise ValueError(
                f"the breakdown sums to {total:.0f} bytes, device_used_bytes.p50 is {used:.0f}"
            )
        return self


class Step(_Part):
    micro_batch_size: int = Field(ge=1)
    gradient_accumulation: int = Field(ge=1)
    sequence_length: float | None = Field(gt=0)
    seconds: Figure
    forward_seconds: Figure
    model_flops: float = Field(
        ge=0, description="A multiply-add is two; recomputation is not counted"
    )
    mfu: float | None = Field(ge=0, description="Model FLOPs over peak dense FLOPs")
    samples_per_second: float = Field(ge=0)
    tokens_per_second: float | None = Field(ge=0, description="Real tokens; padding is no data")
    padded_tokens_per_second: float | None = Field(
        default=None, ge=0, description="With padding: what is computed on"
    )
    bound_by: Literal["host", "device"]
    pace_advice: str | None = Field(
        default=None, description="What would quicken a step whose device waits for the host"
    )
    by_kind: dict[str, float] = Field(description="Device seconds of a step by kind of operation")
    unmodelled_share: float = Field(ge=0, le=1)


class RunBreakdown(_Part):
    training: float = Field(ge=0)
    evaluation: float = Field(ge=0)
    saving: float = Field(ge=0)
    start_up: float = Field(ge=0)
    preparation: float = Field(
        default=0.0, ge=0, description="What is done to the data once, before the first step"
    )
    interruptions: float = Field(default=0.0, ge=0, description="Lost work and restarts on spot")


class Run(_Part):
    steps: int = Field(ge=0)
    epochs: float = Field(ge=0)
    wall_hours: Figure
    gpu_hours: Figure = Field(description="Device-hours over all devices")
    tokens_per_epoch: float | None = Field(
        default=None, ge=0, description="Real tokens, targets included, padding left out"
    )
    evaluations: float | None = Field(default=None, ge=0, description="Evaluations of the run")
    evaluation_generates: bool | None = Field(default=None, description="Writes text")
    evaluated_samples: int | None = Field(default=None, ge=0, description="Of one evaluation")
    evaluation_batch: int | None = Field(default=None, ge=1, description="Samples of a device")
    generated_tokens: float | None = Field(default=None, gt=0, description="Of a batch's longest")
    beams: int | None = Field(default=None, ge=1)
    breakdown_hours: RunBreakdown = Field(description="Wall-clock hours, medians")
    of_which_hours: dict[str, dict[str, float]] = {}  # of a phase; those of training sum to it


class PricedOffer(_Part):
    instance_type: str | None
    region: str | None
    spot: bool
    age_days: int | None
    source: str | None


class CostBreakdown(_Part):
    compute: float = Field(ge=0)
    data: float = Field(ge=0)
    storage: float = Field(ge=0)
    api: float = Field(ge=0)
    egress: float = Field(default=0.0, ge=0, description="Taking the trained weights out")
    repeats: float = Field(default=0.0, ge=0, description="Further trials and runs that fail")
    lost_work: float = Field(
        default=0.0,
        ge=0,
        description="Checkpoints, lost work and restarts on spot; in the hours of the run too",
    )


class Cost(_Part):
    usd: Figure
    usd_per_gpu_hour: float | None = Field(ge=0)
    breakdown: CostBreakdown = Field(description="USD; they sum to the median of usd")
    price_source: str | None
    price_date: str | None = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    offer: PricedOffer | None
    up_front_usd: float | None = Field(
        default=None, ge=0, description="Of usd, what is paid before the first request"
    )
    project_usd: Figure | None = Field(
        default=None, description="Training and answering the asked requests for the asked months"
    )
    project_range_usd: dict[str, float] | None = None  # run; the project's low and high
    usd_per_request: float | None = Field(
        default=None,
        ge=0,
        description="What one more request costs; null where servers stand anyway",
    )
    usd_per_month: float | None = Field(
        default=None, ge=0, description="What the asked requests cost a month"
    )

    @model_validator(mode="after")
    def _parts_sum(self) -> Self:
        total = sum(self.breakdown.model_dump().values())
        if abs(total - self.usd.p50) > max(1e-9, SUM_TOLERANCE * self.usd.p50):
            raise ValueError(f"the breakdown sums to ${total}, usd.p50 is ${self.usd.p50}")
        return self


class Limit(_Part):
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


class Fix(_Part):
    """One change that lowers the peak, with what it would bring."""

    change: str
    device_used_bytes: Figure | float
    fits: bool
    gpu: str | None


class Scratch(_Part):
    """What training from scratch would really need, by the published recipe of the family."""

    tokens_or_samples_needed: float | None
    source: str | None
    usd: Figure | float | None
    gpu_hours: Figure | float | None
    labels_usd: float | None = Field(
        default=None, ge=0, description="Labelling that much data, at usd_per_label"
    )


class Serving(_Part):
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


class Crossing(_Part):
    """``cheaper_below`` costs less up to the load, ``cheaper_above`` from there on; ``again``: they
    cross more than once."""

    cheaper_below: str
    cheaper_above: str
    requests_per_month: float = Field(gt=0)
    project_usd: float = Field(ge=0)
    again: bool


class CheapestFrom(_Part):
    option: str
    from_requests_per_month: float = Field(ge=0)


class BreakEven(_Part):
    """At how many requests a month one way becomes cheaper than another over the asked months."""

    months: float = Field(gt=0)
    cheapest: list[CheapestFrom]
    crossings: list[Crossing]


class GridIntensity(_Part):
    """The electricity that the option's carbon stands on."""

    grams_co2e_per_kwh: Figure
    place: str
    year: str | None
    source: str


class Codecarbon(_Part):
    """What codecarbon would report for the same run, by its documented method."""

    kwh: Figure
    co2_kg: Figure
    method: str


class Option(_Part):
    """One way to do it. ``memory``, ``step`` and ``run`` are null for strategies that train nothing
    on a device; ``cost`` is null where no price is known."""

    strategy: str
    variant: str | None
    gpu: str | None
    gpus: int = Field(ge=0)
    provider: str | None
    fits: bool | None
    basis: Basis | None
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


class Recommended(_Part):
    strategy: str
    gpu: str | None
    gpus: int
    why: str


class Source(_Part):
    what: str
    source: str
    date: str | None


class FirstLine(_Part):
    """How the question was understood, and what of it was left out or assumed."""

    topic: str
    text: str
    warning: bool


class Answer(_Part):
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
