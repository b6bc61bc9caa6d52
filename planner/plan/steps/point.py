"""One point: a trace at one batch and length on one device → memory, step time, and whether it
fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.memory.allocator import PLAIN, AllocatorConfig
from planner.memory.clipping import clipped
from planner.memory.peak import PeakMemory
from planner.memory.replays import Replays
from planner.memory.runtime import RuntimeMemory, runtime_memory
from planner.models.facts import ModelFacts
from planner.parallel.data_parallel import bucket_bytes
from planner.parallel.model.experts import expert_gradient_bytes
from planner.parallel.plan import ALONE, ParallelPlan
from planner.parallel.ranks import stages_of
from planner.parallel.shared_time import shared_time
from planner.parallel.step import optimizer_step_seconds
from planner.step_time.clock import OF_TODAY, StackKernels, StepClock, StepTime
from planner.trace.source import TraceSource, largest_of, trace_for
from planner.trace.table import CATEGORIES, StepTrace, traced_length
from planner.training.recipe import Recipe
from planner.uncertainty.spread import Spread, moved, spread

#: A value of each symbol of a trace: B, and S and T where it has them.
Point = dict[str, int | None]


@dataclass(frozen=True)
class EvaluationMemory:
    """An evaluation of ``batch`` samples at once on one device: ``held_bytes`` stay there from
    training, ``made_bytes`` come with the batch. ``used_bytes``: of the device, with the context;
    the allocator's cache of training is given back where it is short."""

    batch: int
    held_bytes: float
    made_bytes: float
    used_bytes: Estimate
    device_total_bytes: int

    @property
    def over_bytes(self) -> float:
        """How much the cautious figure is over the device's memory; at most 0 where it fits."""
        return self.used_bytes.p90 - self.device_total_bytes

    @property
    def fits(self) -> bool:
        return self.over_bytes <= 0


@dataclass(frozen=True)
class Memory:
    """Peak memory of one device: figures are of training, whether it fits is of the run.
    ``breakdown`` sums to ``device_used_bytes.p50``. ``short_by_bytes``: how much the cautious
    figure (p90) is over the device's memory; None where it fits. ``gives_back``: it fits because
    the allocator gives back cached memory when the device is full, as a replay under that limit
    shows; the figures are then capped at the device. ``evaluation``: None without one."""

    allocated_bytes: Estimate
    reserved_bytes: Estimate
    device_used_bytes: Estimate
    device_total_bytes: int
    breakdown: dict[str, float]
    peak: PeakMemory
    gives_back: bool = False
    context_bytes: Estimate | None = None
    evaluation: EvaluationMemory | None = None
    bucket_bytes: float = 0.0  # of data parallelism, beside the replay

    @property
    def needed_bytes(self) -> Estimate:
        """What training or an evaluation uses of the device, whichever is more."""
        evaluation = self.evaluation
        if evaluation is None or evaluation.used_bytes.p90 <= self.device_used_bytes.p90:
            return self.device_used_bytes
        return evaluation.used_bytes

    @property
    def trains(self) -> bool:
        """Whether training fits, whatever an evaluation takes."""
        return self.device_used_bytes.p90 <= self.device_total_bytes

    @property
    def short_by_bytes(self) -> int | None:
        over = self.needed_bytes.p90 - self.device_total_bytes
        return int(over) if over > 0 else None

    @property
    def fits(self) -> bool:
        return self.short_by_bytes is None

    @property
    def chance_out_of_memory(self) -> float:
        """That what the run needs is more than the device has. Where the allocator gives back its
        cache, what it needs is the live tensors and the context."""
        need = (
            self.allocated_bytes + Estimate.exact(self.breakdown["context"])
            if self.gives_back
            else self.device_used_bytes
        )
        # one error moves both: the likelier one says it
        needs = [need] if self.evaluation is None else [need, self.evaluation.used_bytes]
        return max(one.chance_above(self.device_total_bytes) for one in needs)

    @property
    def verdict(self) -> str:
        """``fits``, ``tight`` (more likely than not, but not surely, or by giving back cached
        memory) or ``does not fit``."""
        if self.fits and not self.gives_back:
            return "fits"
        return (
            "tight"
            if self.fits or self.needed_bytes.p50 <= self.device_total_bytes
            else "does not fit"
        )


@dataclass(frozen=True)
class StepResult:
    """One optimizer step: ``seconds`` of the global batch, ``forward_seconds`` of one
    micro-batch."""

    seconds: Estimate
    forward_seconds: Estimate
    time: StepTime
    micro_batch: int
    accumulation: int
    parallel: ParallelPlan

    @property
    def samples(self) -> int:
        """Of one optimizer step, over all devices."""
        return self.micro_batch * self.accumulation * self.parallel.data_parallel

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.seconds.p50


@dataclass(frozen=True)
class PointResult:
    """What the accuracy benchmark compares with a measured run."""

    step_seconds: Estimate
    forward_seconds: Estimate
    allocated_bytes: Estimate
    reserved_bytes: Estimate
    device_used_bytes: Estimate
    device_total_bytes: int
    fits: bool
    basis: str
    memory: Memory
    step: StepResult


def evaluate(
    facts: ModelFacts,
    recipe: Recipe,
    spec: DeviceSpec,
    *,
    micro_batch: int,
    sequence_length: int | None = None,
    target_length: int | None = None,
    accumulation: int = 1,
    parallel: ParallelPlan = ALONE,
    teacher: ModelFacts | None = None,
    source: TraceSource | None = None,
) -> PointResult:
    """Step time and peak memory at one batch and length. Raises the errors of tracing, and
    QuestionError for a device that does not run the precision."""
    spec.check_trainable(recipe.precision)
    if source is None:
        peak = largest_of(facts, recipe)
        source = trace_for(facts, recipe, teacher=teacher, peak=peak)
    lengths = {"S": traced_length(sequence_length), "T": traced_length(target_length)}
    point = {"B": micro_batch, **lengths}
    memory = memory_at(source, spec, point, accumulation=accumulation, parallel=parallel)
    step = step_at(source, spec, point, accumulation=accumulation, parallel=parallel)
    return PointResult(
        step_seconds=step.seconds,
        forward_seconds=step.forward_seconds,
        allocated_bytes=memory.allocated_bytes,
        reserved_bytes=memory.reserved_bytes,
        device_used_bytes=memory.device_used_bytes,
        device_total_bytes=memory.device_total_bytes,
        fits=memory.fits,
        basis=spec.pricing,
        memory=memory,
        step=step,
    )


def memory_at(
    source: TraceSource,
    spec: DeviceSpec,
    point: Point,
    *,
    accumulation: int = 1,
    parallel: ParallelPlan = ALONE,
    replays: Replays | None = None,
    clips: bool = False,
    config: AllocatorConfig = PLAIN,
    emptied: int | None = None,
) -> Memory:
    """Replay the allocator at a point, of a detector at its largest images. With several devices
    the gradient buckets of data parallelism are added. ``replays``: those that were made before,
    for a search of many points. ``clips``: gradients are clipped before the update;
    ``config`` and ``emptied`` as ``peak.replay`` takes them."""
    trace, runtime, family = (
        _trace_at(source.largest, point),
        runtime_of(spec),
        source.facts.modality,
    )
    trace = clipped(trace) if clips else trace
    made = replays or Replays()
    asked = {"accumulation": accumulation, "workspace": runtime.workspace, "config": config}
    peak = made.peak(trace, point, **asked, emptied=emptied)
    for stage in stages_of(trace):  # the worst rank's
        other = clipped(stage) if clips else stage
        found = made.peak(other, point, **asked, emptied=emptied)
        if found.allocated_bytes > peak.allocated_bytes:
            trace, peak = other, found
    buckets = bucket_bytes(trace.meta.get("gradient_bytes", 0), parallel.copies)
    memory = memory_of(peak, buckets, runtime, spec, family)
    if memory.fits:
        return memory
    room = room_bytes(spec, family) - buckets
    if peak.allocated_bytes > room:
        return memory
    if peak.reserved_bytes > room and not made.within(trace, point, **asked, limit_bytes=int(room)):
        return memory
    return memory_of(peak, buckets, runtime, spec, family, gives_back=True)


def used_by(spec: DeviceSpec, family: str, live_bytes: float) -> Estimate:
    """What so many live bytes use of a device, with what the allocator wastes and the context."""
    reserved = spread("reserved", spec.pricing, family, spec.key).around(live_bytes)
    return reserved + runtime_of(spec).context_bytes


def room_bytes(spec: DeviceSpec, family: str) -> float:
    """What live tensors may take of a device, cautiously: its memory without the context, and
    without what the allocator wastes."""
    waste = spread("reserved", spec.pricing, family, spec.key).around(1.0).p90
    return (spec.total_memory_bytes - runtime_of(spec).context_bytes.p90) / waste


def short_bytes_at_least(spec: DeviceSpec, family: str, live_bytes: float) -> float:
    """By how much a peak of so many live bytes, buckets included, is over the device's memory at
    the least, whatever the allocator makes of it; at most 0 where a replay may pass."""
    context = runtime_of(spec).context_bytes
    used = used_by(spec, family, live_bytes)
    allocated = spread("allocated", spec.pricing, family, spec.key).around(live_bytes) + context
    cautious = max(used.p90, allocated.p90) - spec.total_memory_bytes
    return min(cautious, live_bytes - room_bytes(spec, family))


def _trace_at(source: TraceSource, point: Point) -> StepTrace:
    """One sample where the point names no batch, as ``step_at`` counts it."""
    return source.at(B=point["B"] or 1, S=point.get("S"), T=point.get("T"))


def runtime_of(spec: DeviceSpec) -> RuntimeMemory:
    """With what another process holds beside the training, which is as far out of its reach."""
    runtime = runtime_memory(spec)
    context = moved(runtime.context_bytes, "context", spec.pricing, spec.key)
    return replace(runtime, context_bytes=context + Estimate.exact(float(spec.held_bytes)))


def memory_of(
    peak: PeakMemory,
    buckets: float,
    runtime: RuntimeMemory,
    spec: DeviceSpec,
    family: str,
    gives_back: bool = False,
) -> Memory:
    allocated = spread("allocated", spec.pricing, family, spec.key).around(
        peak.allocated_bytes + buckets
    )
    # The same error moves both: what is allocated is part of what is reserved.
    # malloc gives large blocks back at once
    kept = peak.allocated_bytes if spec.one_clock else peak.reserved_bytes
    reserved = spread("reserved", spec.pricing, family, spec.key).around(kept + buckets)
    reserved = Estimate(
        max(reserved.p10, allocated.p10),
        max(reserved.p50, allocated.p50),
        max(reserved.p90, allocated.p90),
    )
    used = reserved + runtime.context_bytes
    if gives_back:
        full = float(spec.total_memory_bytes)
        used = Estimate(*(min(value, full) for value in (used.p10, used.p50, used.p90)))
        reserved = Estimate(
            *(
                max(allocated.p10, min(value, full - runtime.context_bytes.p50))
                for value in (reserved.p10, reserved.p50, reserved.p90)
            )
        )
    scale = allocated.p50 / max(1.0, peak.allocated_bytes + buckets)
    parts = {name: float(peak.breakdown.get(name, 0)) for name in CATEGORIES}
    parts["gradients"] += buckets
    breakdown = {name: value * scale for name, value in parts.items()}
    breakdown["fragmentation"] = max(0.0, reserved.p50 - allocated.p50)
    breakdown["context"] = used.p50 - sum(breakdown.values())
    return Memory(
        allocated_bytes=allocated,
        reserved_bytes=reserved,
        device_used_bytes=used,
        device_total_bytes=spec.total_memory_bytes,
        breakdown=breakdown,
        peak=peak,
        gives_back=gives_back,
        context_bytes=runtime.context_bytes,
        bucket_bytes=buckets,
    )


def step_at(
    source: TraceSource,
    spec: DeviceSpec,
    point: Point,
    *,
    accumulation: int = 1,
    parallel: ParallelPlan = ALONE,
    kernels: StackKernels = OF_TODAY,
) -> StepResult:
    """Price a point: ``accumulation`` micro-batches and one optimizer update, the gradients reduced
    once; ``kernels`` as ``StepClock`` takes them."""
    trace = _trace_at(source, point)
    time = shared_time(
        StepClock(spec, kernels),
        trace,
        trace.dims(**point),
        precision=source.recipe.precision,
        compiled=source.recipe.compile,
        parallel=parallel,
    )
    return step_of(
        time,
        source,
        spec,
        gradient_bytes=float(trace.meta.get("gradient_bytes", 0)),
        of_experts=expert_gradient_bytes(trace),
        micro_batch=int(point["B"] or 1),
        accumulation=accumulation,
        parallel=parallel,
    )


def _sure(time: StepTime, source: TraceSource, spec: DeviceSpec) -> Spread:
    """How far the step's seconds may be off: with the curves' own errors, and with what load left
    in the measurements that this step stands on."""
    kinds = {kind: float(seconds) for kind, seconds in time.by_kind.items()}
    doubt = 0.0 if spec.load is None else spec.load.of_step(kinds, time.host_seconds)
    stated = spread("time", spec.pricing, source.facts.modality, spec.key)
    return stated.at_least(float(time.sigma_log)).widened(doubt)


def step_of(
    time: StepTime,
    source: TraceSource,
    spec: DeviceSpec,
    *,
    gradient_bytes: float,
    micro_batch: int,
    accumulation: int,
    parallel: ParallelPlan,
    of_experts: float = 0.0,
) -> StepResult:
    """The whole step around the time of one micro-batch on one device, with its error."""
    total = optimizer_step_seconds(
        time,
        accumulation=accumulation,
        parallel=parallel,
        gradient_bytes=gradient_bytes,
        spec=spec,
        of_experts=of_experts,
    )
    sure = _sure(time, source, spec)
    return StepResult(
        seconds=sure.around(total),
        forward_seconds=sure.around(float(time.forward_seconds)),
        time=time,
        micro_batch=micro_batch,
        accumulation=accumulation,
        parallel=parallel,
    )
