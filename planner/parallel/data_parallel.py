"""Data parallelism: every device has the whole model, the gradients are summed after each step.

PyTorch cuts the gradients into buckets and overlaps all but the last with the backward pass (Li et
al. 2020, arXiv 2006.15704). Each bucket is an all-reduce on the network of the devices
(``parallel/network``): inside a node, and from node to node where they do not fit into one.
"""

from __future__ import annotations

from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.parallel.model.experts import expert_gradient_bytes
from planner.parallel.network import network_of
from planner.parallel.plan import ParallelPlan
from planner.trace.table import StepTrace

KIND = "data_parallel"


def all_reduce_seconds(
    size_bytes: float, replicas: int, spec: DeviceSpec, stride: int = 1
) -> float:
    """Sum ``size_bytes`` over ``replicas`` devices ``stride`` apart, bucket after bucket. Raises
    QuestionError, as ``network_of``."""
    if replicas <= 1 or size_bytes <= 0:
        return 0.0
    network, bucket = network_of(spec, replicas * stride), prior(spec, KIND, "bucket_bytes")
    full, rest = divmod(size_bytes, bucket)
    whole = full * network.time("all_reduce", bucket, replicas, stride=stride) if full else 0.0
    return whole + network.time("all_reduce", rest, replicas, stride=stride)


def exposed_seconds(
    gradient_bytes: float,
    replicas: int,
    spec: DeviceSpec,
    backward_seconds: float,
    stride: int = 1,
) -> float:
    """What data parallelism adds to a step: what does not hide behind the backward pass, at least
    the last bucket, and what the sums take from the backward pass while they run beside it. Raises
    QuestionError, as ``network_of``."""
    if replicas <= 1 or gradient_bytes <= 0:
        return 0.0
    whole = all_reduce_seconds(gradient_bytes, replicas, spec, stride)
    last = all_reduce_seconds(
        min(gradient_bytes, prior(spec, KIND, "bucket_bytes")), replicas, spec, stride
    )
    hidden = min(whole - last, backward_seconds * prior(spec, KIND, "overlap_share"))
    return whole - hidden + hidden * prior(spec, KIND, "slowdown_share")


def gradient_seconds(
    trace: StepTrace, parallel: ParallelPlan, spec: DeviceSpec, backward_seconds: float
) -> float:
    """What summing the gradients of a trace's device adds to a step: of experts over the devices
    that hold the same ones. Raises QuestionError, as ``network_of``."""
    whole = float(trace.meta.get("gradient_bytes", 0))
    return summed_seconds(whole, expert_gradient_bytes(trace), parallel, spec, backward_seconds)


def summed_seconds(
    gradient_bytes: float,
    of_experts: float,
    parallel: ParallelPlan,
    spec: DeviceSpec,
    backward_seconds: float,
) -> float:
    """As ``gradient_seconds``, of gradients of which so many bytes are ``of_experts``."""
    own = exposed_seconds(
        gradient_bytes - of_experts, parallel.copies, spec, backward_seconds, parallel.tp
    )
    if not of_experts or parallel.sharding:
        return own
    same = parallel.same_experts
    return own + exposed_seconds(of_experts, same, spec, backward_seconds, parallel.ep)


def bucket_bytes(gradient_bytes: float, replicas: int) -> float:
    """Memory of the buckets: a copy of all gradients (``gradient_as_bucket_view`` is off by
    default)."""
    return float(gradient_bytes) if replicas > 1 else 0.0
