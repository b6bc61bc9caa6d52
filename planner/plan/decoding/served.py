"""A server's decoding: bound by what it reads from memory, or by arithmetic where many are in
flight (Pope et al. 2022, arXiv 2211.05102, section 2). Its own kernels spare the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.cost.token_bills import serving_default
from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.errors import QuestionError
from planner.plan.decoding.cache import kv_bytes_per_token


@dataclass(frozen=True)
class Decoding:
    """What one step of decoding reads and multiplies. ``kv_bytes`` are of one request in the middle
    of its answer."""

    weight_bytes: float
    kv_bytes: float
    flops: float  # of one request's token
    bytes_per_s: float
    flops_per_s: float

    def seconds(self, requests: float) -> float:
        """One token for each of ``requests`` in flight."""
        return max(
            (self.weight_bytes + requests * self.kv_bytes) / self.bytes_per_s,
            requests * self.flops / self.flops_per_s,
        )


def decoding(
    config: Mapping[str, Any] | None,
    spec: DeviceSpec,
    *,
    parameters: int,
    prompt: float,
    output: float,
) -> Decoding:
    """Weights, keys and values in as many bytes as a server keeps them. Raises QuestionError where
    the config or the device does not say enough."""
    kv = kv_bytes_per_token(config or {}, serving_default("bytes_per_weight"))
    bandwidth = spec.bandwidth_bytes_per_s()
    if kv is None or bandwidth is None:
        raise QuestionError(
            "the size of its keys and values, or the device's bandwidth, is not known",
            where="serving",
        )
    peak = spec.peak("bf16") or spec.peak("fp16") or spec.peak("fp32")
    if peak is None:
        raise QuestionError(f"no sourced rate of {spec.name} is known", where="serving")
    return Decoding(
        weight_bytes=parameters * serving_default("bytes_per_weight"),
        kv_bytes=kv * (prompt + output / 2),
        flops=2.0 * parameters,
        bytes_per_s=bandwidth * prior(spec, "product_tensor", "bandwidth_share"),
        flops_per_s=peak * prior(spec, "product_tensor", "ceiling"),
    )
