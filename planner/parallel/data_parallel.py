"""Data parallelism: every device has the whole model, the gradients are summed over a ring after
each step.

Ring all-reduce moves 2·(n−1)/n of the bytes over each link (Patarasuk & Yuan 2009); PyTorch cuts
the gradients into buckets and overlaps all but the last with the backward pass (Li et al. 2020,
arXiv 2006.15704). The link is the one between devices of a host, or PCI Express where there is
none; networks between hosts are not modelled.
"""

from __future__ import annotations

import math

from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.errors import QuestionError

KIND = "data_parallel"
PCIE_LANES = 16  # of every data-centre and desktop card of the table


def link_bytes_per_s(spec: DeviceSpec) -> float:
    """What a ring reaches on one link, one way. Raises QuestionError when no source gives the
    link."""
    if spec.interconnect_bytes_per_s:
        return spec.interconnect_bytes_per_s * prior(spec, KIND, "bandwidth_share")
    if spec.pcie_generation is None:
        raise QuestionError(
            "no sourced link between devices", where=spec.name, mend="Ask for one device"
        )
    return (
        PCIE_LANES
        * prior(spec, KIND, f"pcie{spec.pcie_generation}_lane_bytes_per_s")
        * prior(spec, KIND, "pcie_share")
    )


def all_reduce_seconds(size_bytes: float, replicas: int, spec: DeviceSpec) -> float:
    """Sum ``size_bytes`` over ``replicas`` devices of one host, bucket after bucket. Raises
    QuestionError, as ``link_bytes_per_s``."""
    if replicas <= 1 or size_bytes <= 0:
        return 0.0
    buckets = max(1, math.ceil(size_bytes / prior(spec, KIND, "bucket_bytes")))
    moved = 2 * (replicas - 1) / replicas * size_bytes / link_bytes_per_s(spec)
    return moved + buckets * 2 * (replicas - 1) * prior(spec, KIND, "latency_seconds")


def exposed_seconds(
    gradient_bytes: float, replicas: int, spec: DeviceSpec, backward_seconds: float
) -> float:
    """What data parallelism adds to a step: what does not hide behind the backward pass, at least
    the last bucket, and what the sums take from the backward pass while they run beside it. Raises
    QuestionError, as ``link_bytes_per_s``."""
    if replicas <= 1 or gradient_bytes <= 0:
        return 0.0
    whole = all_reduce_seconds(gradient_bytes, replicas, spec)
    last = all_reduce_seconds(
        min(gradient_bytes, prior(spec, KIND, "bucket_bytes")), replicas, spec
    )
    hidden = min(whole - last, backward_seconds * prior(spec, KIND, "overlap_share"))
    return whole - hidden + hidden * prior(spec, KIND, "slowdown_share")


def bucket_bytes(gradient_bytes: float, replicas: int) -> float:
    """Memory of the buckets: a copy of all gradients (``gradient_as_bucket_view`` is off by
    default)."""
    return float(gradient_bytes) if replicas > 1 else 0.0
