"""A bound on the device's time for a step, without pricing it: every operation at the best rate
that any shape reaches. It decides which devices are worth a price.

It holds on the datasheet basis alone, where no efficiency is above 1 but the products' ceiling
(``roofline.py``); for devices that were measured there is no bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.operations.registry import Work, kind_of
from planner.step_time.clock import OF_TODAY, StackKernels, StepClock, work_at
from planner.step_time.roofline import Efficiency
from planner.trace.table import PHASES, StepTrace

_OPTIMIZER = PHASES.index("optimizer")


@dataclass(frozen=True)
class LeastSeconds:
    """Device seconds that no step takes less than: ``micro_batch`` of forward and backward pass,
    ``update`` of the optimizer; ``products``: what of the first the products' arithmetic alone
    takes, whatever the batch makes of the other operations. Each float64 [*points]."""

    micro_batch: np.ndarray
    update: np.ndarray
    products: np.ndarray


@dataclass(frozen=True)
class _Signatures:
    """Of each signature: whether it runs a kernel, and what its products are computed by."""

    runs: np.ndarray  # bool [n_signatures]
    product: np.ndarray  # bool [n_signatures]: its kind's speed is what it computes
    matmul: np.ndarray
    convolution: np.ndarray
    dtypes: tuple[str, ...]  # of all operands


def least_seconds(
    trace: StepTrace,
    dims: np.ndarray,
    spec: DeviceSpec,
    *,
    precision: str,
    compiled: bool,
    kernels: StackKernels = OF_TODAY,
) -> LeastSeconds:
    """At ``dims = trace.dims(...)`` [n_forms, *points]; zeros for a device that was measured.
    ``kernels`` as ``StepClock`` takes them, what they fuse of every operation that is no product.
    Kept with the trace. Raises QuestionError as ``Efficiency``."""
    if spec.pricing != "datasheet":
        nothing = np.zeros(dims.shape[1:])
        return LeastSeconds(nothing, nothing, nothing)
    return StepClock(spec, kernels).kept(
        trace,
        "least seconds",
        dims,
        (precision, compiled),
        lambda: _least(trace, dims, spec, precision, compiled, kernels.fused_share),
    )


def _least(
    trace: StepTrace,
    dims: np.ndarray,
    spec: DeviceSpec,
    precision: str,
    compiled: bool,
    fused_share: float,
) -> LeastSeconds:
    done, known = work_at(trace, dims), _signatures(trace)
    rates = Efficiency(spec, precision, compiled)
    computed = _arithmetic(rates, spec, known, done)
    moved = done.read_bytes + done.write_bytes
    if compiled:
        moved = moved * rates.parameter("compile", "pointwise_bytes_share")
    carried = np.asarray(rates.memory_seconds(moved, 1.0))
    carried[known.convolution] = 0.0  # its kernels have a traffic of their own
    carried[~known.product] *= fused_share
    each = np.where(known.runs[:, None], np.maximum(computed, carried), 0.0)
    counts = trace.counts
    passes = counts.sum(axis=1) - counts[:, _OPTIMIZER]
    return LeastSeconds(passes @ each, counts[:, _OPTIMIZER] @ each, passes @ computed)


def _arithmetic(rates: Efficiency, spec: DeviceSpec, known: _Signatures, done: Work) -> np.ndarray:
    """Products at the fastest type among the trace's own: [n_signatures, *points]."""
    peaks = [rates.peak(dtype, tf32_allowed=True) for dtype in known.dtypes]
    if not peaks:
        return np.zeros_like(done.flops)
    fastest = max(peaks, key=lambda peak: peak.flops_per_s)
    share = np.ones(len(known.runs))
    share[known.matmul] = max(rates.unit(peak.tensor).ceiling for peak in peaks)
    share[known.convolution] = max(1.0, prior(spec, "convolution", "winograd_ratio"))
    seconds = done.flops / (fastest.flops_per_s * share[:, None])
    return np.where((known.runs & known.product)[:, None], seconds, 0.0)


def _signatures(trace: StepTrace) -> _Signatures:
    def found() -> _Signatures:
        kinds = [kind_of(signature.op) for signature in trace.signatures]
        operands = [o for s in trace.signatures for o in (*s.inputs, *s.outputs)]
        return _Signatures(
            runs=np.array(
                [kind.price is not None and not kind.beside for kind in kinds], dtype=bool
            ),
            product=np.array([kind.model_work for kind in kinds], dtype=bool),
            matmul=np.array([kind.name == "matmul" for kind in kinds], dtype=bool),
            convolution=np.array([kind.name == "convolution" for kind in kinds], dtype=bool),
            dtypes=tuple(sorted({o.dtype for o in operands if "float" in o.dtype})),
        )

    return trace.memo.of("least seconds", None, found)
