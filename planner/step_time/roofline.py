"""Device time of operations on the ``datasheet`` basis: peak rate and bandwidth times efficiencies
that depend on the shape.

    seconds = max(FLOP / (peak × share of the shape), bytes / (bandwidth × share of the kind)) +
    kernels × latency

No efficiency is above 1; every number is a row of ``profiles/priors/device.csv``. What is left out:
cache reuse between operations beyond operands that fit in L2, clocks that fall under load (but for
the capped parts' rows), and the library's mistakes in choosing kernels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from planner.devices.matmul import ProductPriors, product_seconds
from planner.devices.priors import prior, tiles
from planner.devices.shapes import BACKWARD as _BACKWARD
from planner.devices.shapes import (
    convolution_operands,
    convolution_passes,
    is_depthwise,
    is_winograd,
    product_of,
)
from planner.devices.specification import DeviceSpec
from planner.errors import QuestionError
from planner.trace.operations import Call, Lengths, Work
from planner.trace.table import Operand, Signature, StepTrace

_TYPES = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "int8": "int8",
}
_TENSOR_CORES = (7, 0)  # the first compute capability with them
_FUSABLE = frozenset(
    ("elementwise", "reduction", "copy", "normalization", "softmax", "random", "loss", "fill")
)


class Efficiency:
    """Prices signatures on one device. ``precision`` as in a recipe; ``compiled``: torch.compile is
    on."""

    def __init__(self, spec: DeviceSpec, precision: str = "fp32", compiled: bool = False):
        if spec.memory_bandwidth_bytes_per_s is None:
            raise QuestionError(
                "no sourced memory bandwidth",
                where=spec.name,
                mend="Calibrate it, or choose another GPU",
            )
        self.spec, self.precision, self.compiled = spec, precision, compiled
        self._units: dict[bool, ProductPriors] = {}
        self._found: dict[tuple[str, str], float] = {}

    def seconds(self, trace: StepTrace, dims: np.ndarray, work: Work) -> np.ndarray:
        """Device seconds of one call of each signature: float64 [n_signatures, *points]. Raises
        QuestionError for a type whose peak is not known."""
        out = np.zeros_like(work.flops)
        fixed = ~(trace.forms[:, np.array([m != "1" for m in trace.monomials])] != 0).any(axis=1)
        lengths = Lengths(dims)
        for index, signature in enumerate(trace.signatures):
            kind = work.kinds[index]
            if kind in ("view", "synchronise"):
                continue
            call = Call(signature, lengths)
            moved = work.read_bytes[index] + work.write_bytes[index]
            price = getattr(self, f"_{kind}", None)
            if price is not None:
                out[index] = price(call, work.flops[index], moved, fixed)
            else:
                out[index] = self._streamed(kind, signature, work.flops[index], moved)
        return out

    # ---- rates

    @property
    def _bandwidth(self) -> float:
        return self.spec.memory_bandwidth_bytes_per_s

    def _p(self, kind: str, parameter: str) -> float:
        found = self._found.get((kind, parameter))
        if found is None:
            found = self._found[kind, parameter] = prior(self.spec, kind, parameter)
        return found

    def _rate(self, dtype: str, convolution: bool = False) -> tuple[float, bool]:
        """(peak FLOP/s of a product of this type, does it run on tensor cores)."""
        peaks, name = self.spec.peak_flops, _TYPES.get(dtype, "fp32")
        if name == "fp32" and "tf32" in peaks:
            if self.precision == "tf32" or (
                convolution and self._p("convolution", "float32_is_tf32")
            ):
                return peaks["tf32"], True
        if name != "fp32" and name not in peaks:
            # computed in fp32 where the hardware has no such type; what it runs at all is checked
            # with the question
            name = "fp32"
        if name not in peaks:
            raise QuestionError(
                f"no sourced {name} rate",
                where=self.spec.name,
                mend="Calibrate it, or choose another GPU",
            )
        return peaks[name], name != "fp32" and self._has_tensor_cores

    @cached_property
    def _has_tensor_cores(self) -> bool:
        return self.spec.capability is None or self.spec.capability >= _TENSOR_CORES

    def _priors(self, tensor: bool) -> ProductPriors:
        if tensor not in self._units:
            unit = "product_tensor" if tensor else "product_simt"
            self._units[tensor] = ProductPriors(
                self._p(unit, "ceiling"),
                self._p(unit, "depth"),
                tiles(unit),
                self._p(unit, "bandwidth_share"),
                self._p("matmul", "latency_seconds"),
            )
        return self._units[tensor]

    @cached_property
    def _multiprocessors(self) -> int:
        return self.spec.sm_count or 1

    def _latency(self, kind: str, signature: Signature) -> float:
        which = "kernels_backward" if _BACKWARD in signature.op else "kernels"
        return self._p(kind, which) * self._p(kind, "latency_seconds")

    # ---- memory-bound operations

    def _memory_seconds(self, moved, share: np.ndarray | float) -> np.ndarray:
        """Bytes over the bandwidth; faster while they fit in half of L2, never less than a smaller
        number of bytes takes."""
        plain = moved / (self._bandwidth * share)
        if not self.spec.l2_bytes:
            return plain
        resident = self.spec.l2_bytes / 2
        fast = np.minimum(moved, resident) / (self._bandwidth * share * self._p("any", "l2_ratio"))
        return fast + np.maximum(moved - resident, 0) * (plain / np.maximum(moved, 1))

    def _softmax(self, call: Call, flops, moved, _fixed) -> np.ndarray:
        """Rows up to ``narrow_width`` stay in registers and are read once; wider ones are read
        again (PersistentSoftmax.cuh)."""
        width = (
            call.shape(call.inputs[0])[-1] if call.inputs and call.inputs[0].shape else call.zero
        )
        share = np.where(
            width <= self._p("softmax", "narrow_width"),
            self._p("softmax", "narrow_share"),
            self._p("softmax", "bandwidth_share"),
        )
        return self._streamed("softmax", call.signature, flops, moved, share)

    def _streamed(
        self, kind: str, signature: Signature, flops, moved, share: np.ndarray | float | None = None
    ) -> np.ndarray:
        share = self._p(kind, "bandwidth_share") if share is None else share
        if any(
            o.layout in ("s", "t") and not o.expanded
            for o in (*signature.inputs, *signature.outputs)
        ):
            share = share * self._p(kind, "strided_share")
        latency = self._latency(kind, signature)
        if self.compiled and kind in _FUSABLE:
            moved = moved * self._p("compile", "pointwise_bytes_share")
            latency *= self._p("compile", "host_share")
        arithmetic = (
            flops / (self.spec.peak_flops["fp32"] * self._p("any", "simt_flops_share"))
            if "fp32" in self.spec.peak_flops
            else 0.0
        )
        return np.maximum(self._memory_seconds(moved, share), arithmetic) + latency

    def _optimizer(self, call: Call, flops, moved, _fixed) -> np.ndarray:
        """Lists of tensors in as few launches as their elements and their number allow."""
        tensors = max(
            (sum(o.count for o in side) for side in (call.inputs, call.outputs)), default=1
        )
        launches = np.maximum(
            np.ceil(call.elements / self._p("optimizer", "kernel_elements")),
            np.ceil(tensors / self._p("optimizer", "kernel_tensors")),
        )
        return self._memory_seconds(
            moved, self._p("optimizer", "bandwidth_share")
        ) + launches * self._p("optimizer", "latency_seconds")

    # ---- products

    def _matmul(self, call: Call, _flops, moved, fixed) -> np.ndarray:
        left, right, batch, m, n, k = product_of(call)
        peak, tensor = self._rate(left.dtype)
        return self._product(
            batch,
            m,
            n,
            k,
            moved,
            peak * self._alignment(tensor, call, (left, right), fixed),
            tensor,
        )

    def _product(self, batch, m, n, k, moved, flops_per_s, tensor: bool) -> np.ndarray:
        priors = self._priors(tensor)
        args = {
            "moved_bytes": moved,
            "flops_per_s": flops_per_s,
            "bytes_per_s": self._bandwidth,
            "multiprocessors": self._multiprocessors,
            "priors": priors,
        }
        return product_seconds(batch, m, n, k, **args)

    def _alignment(
        self, tensor: bool, call: Call, operands: tuple[Operand, ...], fixed: np.ndarray
    ) -> float:
        """Widths that no batch or length changes and that are no multiple of 8 slow tensor kernels
        down."""
        if not tensor:
            return 1.0
        widths = [form for o in operands for form in o.shape[-2:] if fixed[form]]
        odd = any(
            int(first) % 8 and first > 1
            for first in (call.lengths.values[form].flat[0] for form in widths)
        )
        return self._p("product_tensor", "unaligned_share") if odd else 1.0

    # ---- convolutions

    def _convolution(self, call: Call, flops, moved, _fixed) -> np.ndarray:
        backward = _BACKWARD in call.signature.op
        image, weight, _ = convolution_operands(call)
        groups = float(call.signature.attr("groups", 1))
        latency = self._latency("convolution", call.signature)
        if is_depthwise(call):
            share = self._p(
                "convolution", "depthwise_backward_share" if backward else "depthwise_share"
            )
            return self._memory_seconds(moved, share) + latency
        peak, tensor = self._rate(image.dtype, convolution=True)
        peak *= self._p("convolution", "tensor_share" if tensor else "simt_share")
        if tensor and image.layout != "cl" and len(image.shape) == 4:
            peak *= self._p("convolution", "strided_share")
        if not tensor and self.spec.is_cuda_like and is_winograd(call):
            return self._winograd(call, peak, moved)
        compute = sum(
            (
                self._product(groups, p.m, p.n, p.k, 0.0, peak, tensor)
                for p in convolution_passes(call)
            ),
            call.zero,
        )
        # one product a group, or a kernel that packs narrow groups into a tile, whichever is faster
        if groups > 1 and tensor:
            width = np.minimum(1.0, call.shape(weight)[1] / self._p("convolution", "grouped_width"))
            compute = np.minimum(
                compute, flops / (peak * self._p("convolution", "grouped_share") * width)
            )
        return np.maximum(
            compute,
            self._memory_seconds(moved, self._p("convolution", "bandwidth_share")) + latency,
        )

    def _winograd(self, call: Call, flops_per_s: float, moved) -> np.ndarray:
        """3×3 convolutions on the ordinary cores: fewer multiplications (Lavin and Gray 2016, arXiv
        1509.09308), for which image and weight are written in a transformed, larger form and read
        again. The depth is not cut among multiprocessors."""
        priors = replace(self._priors(False), splits=False)
        passes = convolution_passes(call)
        weights, image = (call.read(o) for o in convolution_operands(call)[1::-1])
        traffic = (
            self._p("convolution", "winograd_weight_traffic") * weights
            + self._p("convolution", "winograd_image_traffic") * image
        )
        args = {
            "flops_per_s": flops_per_s * self._p("convolution", "winograd_ratio"),
            "bytes_per_s": self._bandwidth,
            "multiprocessors": self._multiprocessors,
            "priors": priors,
        }
        compute = sum(
            (
                product_seconds(1.0, p.m, p.n, p.k, moved_bytes=moved / len(passes), **args)
                for p in passes
            ),
            call.zero,
        )
        return compute + len(passes) * (
            traffic / self._bandwidth + self._p("convolution", "winograd_seconds")
        )

    # ---- fused attention

    def _attention(self, call: Call, flops, moved, _fixed) -> np.ndarray:
        backward = _BACKWARD in call.signature.op
        q, k = (call.inputs[1], call.inputs[2]) if backward else (call.inputs[0], call.inputs[1])
        peak, tensor = self._rate(q.dtype)
        share = self._p(
            "attention",
            ("tensor" if tensor else "simt") + ("_backward_share" if backward else "_share"),
        )
        masked = len(call.inputs) > (6 if backward else 3)
        if masked and tensor:
            share *= self._p("attention", "masked_share")
        length, width = call.shape(k)[-2], call.shape(q)[-1]
        share = share * np.minimum(1.0, width / self._p("attention", "full_head"))
        # length / (length + half) makes the time grow with length × (length + half): never less for
        # a longer sequence
        compute = (
            flops
            * (1 + self._p("attention", "half_length") / np.maximum(length, 1))
            / (peak * share)
        )
        return np.maximum(
            compute, self._memory_seconds(moved, self._p("attention", "bandwidth_share"))
        ) + self._latency("attention", call.signature)
