"""What the JSON document says of an option's training: memory, step, run, cost. The whole is in
``schema.py``."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Relative difference that a breakdown may have from its total: sums of floats, nothing more.
SUM_TOLERANCE = 1e-6

Basis = Literal["datasheet", "calibrated", "exact"]


class Part(BaseModel):
    """Unknown extra keys are kept (later minor versions add some); infinite and not-a-number
    figures are refused."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Figure(Part):
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


class OptionModel(Part):
    total_params: int = Field(ge=0)
    trainable_params: int = Field(ge=0)
    trainable_share: float = Field(ge=0, le=1)
    checkpoint_bytes: int | None = Field(ge=0, description="Size of one saved checkpoint")


class Training(Part):
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
    group_by_length: bool = Field(
        default=False, description="Batches are of samples of about one length"
    )
    float8: str | None = Field(
        default=None,
        description="tensorwise, rowwise or rowwise_with_gw_hp, where linear layers multiply in "
        "8-bit floats",
    )
    float8_layers: str | None = Field(
        default=None, description="auto, where small layers are left in 16 bits"
    )
    loss: str | None = Field(default=None, description="chunked or fused, where it is")
    kernels: str | None = Field(default=None, description="liger or unsloth, where they run")
    adapter_precision: str | None = Field(
        default=None, description="weights, where adapters have the weights' number format"
    )
    optimizer_in_backward: bool = Field(
        default=False, description="Each weight is updated as soon as its gradient is there"
    )
    max_grad_norm: float | None = Field(
        default=None,
        description="Norm that gradients are clipped at where one is asked for, 0: not at all",
    )
    empty_cache_steps: int | None = Field(
        default=None, ge=1, description="Steps between two at which the cache is given back"
    )
    allocator: str | None = Field(
        default=None, description="Settings of torch's allocator, where some are asked"
    )
    ema: str | None = Field(
        default=None, description="How an average of the weights is kept, where one is"
    )
    ema_every: int | None = Field(
        default=None, ge=1, description="Steps between two updates of the average, where asked"
    )
    offload: list[str] = Field(
        default_factory=list[str], description="What waits in the host's memory"
    )
    lora: dict[str, Any] | None
    recipe: dict[str, Any] | None = Field(
        default=None,
        description="The published recipe that defaults are after: model, task, kind, data, "
        "warmup, source, date",
    )


class MemoryBreakdown(Part):
    """Bytes at the moment of the peak; they sum to the median of ``device_used_bytes``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    weights: float = Field(ge=0)
    gradients: float = Field(ge=0)
    optimizer: float = Field(ge=0)
    activations: float = Field(ge=0)
    temporary: float = Field(ge=0)
    fragmentation: float = Field(ge=0)
    context: float = Field(ge=0)


class ModuleBytes(Part):
    module: str
    bytes: float = Field(ge=0)


class Peak(Part):
    """The moment at which most memory is held, and by which modules."""

    phase: str
    operation: str
    module: str
    modules: list[ModuleBytes]


class Memory(Part):
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
    host_bytes: float | None = Field(
        default=None,
        ge=0,
        description="Of the host's memory, for what waits there of the optimizer, of weights and "
        "of activations",
    )
    evaluation_bytes: Figure | None = Field(
        default=None,
        description="What an evaluation uses of the device, with the context; training's figures "
        "are the others",
    )

    @model_validator(mode="after")
    def _parts_sum(self) -> Self:
        total, used = sum(self.breakdown.model_dump().values()), self.device_used_bytes.p50
        if abs(total - used) > max(1.0, SUM_TOLERANCE * used):
            raise ValueError(
                f"the breakdown sums to {total:.0f} bytes, device_used_bytes.p50 is {used:.0f}"
            )
        return self


class Held(Part):
    """Bytes of a device's own part between two steps."""

    parameters: float = Field(ge=0)
    gradients: float = Field(ge=0)
    optimizer: float = Field(ge=0)


class Sharing(Part):
    """How devices share the state of a model, and what it costs a step."""

    plan: Literal["fsdp", "zero1", "zero2", "zero3"]
    dp_replicate: int = Field(ge=1, description="Groups of devices that each share one copy")
    dp_shard: int = Field(ge=2, description="Devices that share a copy")
    units: int = Field(ge=0, description="Blocks, with the rest of the model, gathered in turn")
    sent_bytes: float = Field(ge=0, description="By each device, over the ring of them, a step")
    gathered_bytes: float = Field(ge=0, description="Whole buffers of a step's all-gathers")
    reduced_bytes: float = Field(ge=0, description="Whole buffers of a step's reductions")
    sending_seconds: float = Field(ge=0, description="Of a step, if nothing hid it")
    exposed_seconds: float = Field(ge=0, description="Of a step, what shows of it")
    held_bytes: Held


class Layers(Part):
    """How devices share the layers of a model, and what it costs a step."""

    tensor_parallel: int = Field(ge=1, description="Devices that share every layer")
    pipeline_parallel: int = Field(ge=1, description="Stages that share the layers")
    pipeline_chunks: int = Field(ge=1, description="Parts of the model on each stage")
    tensor_sent_bytes: float = Field(ge=0, description="By each device, a step")
    tensor_seconds: float = Field(ge=0, description="Waited for it, a step")
    stage_sent_bytes: float = Field(ge=0, description="From each device to other stages, a step")
    stage_seconds: list[float] = Field(
        description="Of a micro-batch on the first, the middle and the last stage"
    )
    bubble_seconds: float = Field(ge=0, description="A stage stands still, a step")
    bubble_share: float = Field(ge=0, le=1)


class Experts(Part):
    """How devices share the experts of a model, and what it costs a step."""

    expert_parallel: int = Field(ge=2, description="Devices that have all routed experts together")
    experts: int = Field(ge=1, description="Routed experts of a layer")
    experts_each: int = Field(ge=1, description="Of them on each device")
    same_experts: int = Field(ge=1, description="Devices that hold the same ones")
    sent_bytes: float = Field(ge=0, description="Of tokens, by each device, a step")
    seconds: float = Field(ge=0, description="Waited for it, a step")


class Context(Part):
    """How devices share each sequence, and what it costs a step."""

    context_parallel: int = Field(ge=2, description="Devices that share each sequence")
    sent_bytes: float = Field(ge=0, description="Of keys and values, by each device, a step")
    seconds: float = Field(ge=0, description="Waited for it, a step")


class Step(Part):
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
    sharing: Sharing | None = Field(default=None, description="Where devices share any state")
    layers: Layers | None = Field(default=None, description="Where devices share any layers")
    context: Context | None = Field(default=None, description="Where devices share sequences")
    experts: Experts | None = Field(default=None, description="Where devices have other experts")


class RunBreakdown(Part):
    training: float = Field(ge=0)
    evaluation: float = Field(ge=0)
    saving: float = Field(ge=0)
    start_up: float = Field(ge=0)
    preparation: float = Field(
        default=0.0, ge=0, description="What is done to the data once, before the first step"
    )
    generation: float = Field(
        default=0.0, ge=0, description="Completions that the model writes to be trained on"
    )
    scoring: float = Field(
        default=0.0, ge=0, description="Passes over completions before they are trained on"
    )
    reference: float = Field(
        default=0.0, ge=0, description="The reference's pass, once before the first step"
    )
    interruptions: float = Field(
        default=0.0, ge=0, description="Checkpoints, lost work and restarts, by spot or failures"
    )
    stragglers: float = Field(
        default=0.0, ge=0, description="Steps of large jobs that wait for the slowest device"
    )


class Run(Part):
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
    of_which_hours: dict[str, dict[str, float]] = Field(
        default={}, description="Of a phase what is told apart, medians; of training they sum to it"
    )


class PricedOffer(Part):
    instance_type: str | None
    region: str | None
    spot: bool
    unused_gpus: int = Field(
        default=0, ge=0, description="Rented with the instance, paid and not used"
    )
    age_days: int | None
    source: str | None


class CostBreakdown(Part):
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


class Cost(Part):
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


class CorrectedBy(Part):
    """A correction in force. The errors are medians over measured runs of models that were left out
    of what it was learnt from."""

    quantity: Literal["time", "allocated", "reserved", "context"]
    factor: float = Field(gt=0, description="What the middle is multiplied with")
    runs: int = Field(ge=0)
    models: int = Field(ge=0)
    learnt: str
    judged: int | None = Field(ge=0, description="Kinds of models that were left out in turn")
    error_before: float | None = Field(ge=0)
    error_after: float | None = Field(ge=0)


class BeforeCorrections(Part):
    """The same option without the corrections."""

    step_seconds: Figure
    wall_hours: Figure
    gpu_hours: Figure
    usd: Figure | None
    allocated_bytes: Figure
    reserved_bytes: Figure
    device_used_bytes: Figure
