"""Device time of operations on the ``datasheet`` basis: peak rate and bandwidth times efficiencies
that depend on the shape.

    seconds = max(FLOP / (peak × share of the shape), bytes / (bandwidth × share of the kind)) +
    kernels × latency

where a power mean stands for the maximum of products and convolutions on tensor cores.

Each operation kind declares its price (``planner/operations/kinds``); here are the rates that it
asks for. No efficiency is above 1, but for the ceilings of cards that hold clocks above the
datasheet's; every number is a row of ``profiles/priors/device.csv``. What is left out: cache reuse
between operations beyond operands that fit in L2, clocks that fall under load (but for the capped
parts' rows), and the library's mistakes in choosing kernels.
"""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np

from planner.devices.priors import prior, tiles
from planner.devices.processors import host_bytes_per_s
from planner.devices.specification import DeviceSpec
from planner.errors import QuestionError
from planner.operations.call import BACKWARD, Call, Lengths, Number
from planner.operations.kind import Operation, Peak
from planner.operations.products import ProductPriors, product_seconds
from planner.operations.registry import Work, kind_of
from planner.trace.table import Signature, StepTrace

_TYPES = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "int8": "int8",
}
#: What a calibration measured of the link to the host, and the link where no generation is known.
MEASURED_LINK, FIRST_GENERATION = "host_to_device_pinned_bytes_per_s", 3
PCIE_LANES = 16  # of every data-centre and desktop card of the table
_TENSOR_CORES = (7, 0)  # the first compute capability with them


class Efficiency:
    """Prices signatures on one device; the ``Rates`` that the kinds' prices ask. ``precision`` as
    in a recipe; ``compiled``: torch.compile is on."""

    def __init__(self, spec: DeviceSpec, precision: str = "fp32", compiled: bool = False):
        bytes_per_s = spec.bandwidth_bytes_per_s("datasheet")
        if bytes_per_s is None:
            raise QuestionError(
                "no sourced memory bandwidth",
                where=spec.name,
                mend="Calibrate it, or choose another GPU",
            )
        self.spec, self.precision, self.compiled = spec, precision, compiled
        self.bytes_per_s = bytes_per_s
        self._units: dict[tuple[bool, str | None], ProductPriors] = {}
        self._found: dict[tuple[str, str], float] = {}

    def seconds(self, trace: StepTrace, dims: np.ndarray, work: Work) -> np.ndarray:
        """Device seconds of one call of each signature: float64 [n_signatures, *points]. ``work``
        is the trace's at ``dims``. Raises QuestionError for a type whose peak is not known,
        ProfileError for a kind that is not declared."""
        out = np.zeros_like(work.flops)
        fixed = ~(trace.forms[:, np.array([m != "1" for m in trace.monomials])] != 0).any(axis=1)
        lengths = Lengths(dims, fixed)
        device = self.spec, self.precision, self.compiled
        prices = trace.by_signature("prices", dims, fixed.tobytes(), device)
        for index, signature in enumerate(trace.signatures):
            moved = work.read_bytes[index] + work.write_bytes[index]
            price = partial(self._price, signature, lengths, work.flops[index], moved)
            out[index] = prices.of(signature, price)
        return out

    def one(self, signature: Signature, sizes: np.ndarray, flops: float, moved: float) -> float:
        """Device seconds of one call whose shapes index into ``sizes`` [n]. Raises as
        ``seconds``."""
        lengths = Lengths(sizes, np.ones(len(sizes), dtype=bool))
        return float(np.asarray(self._price(signature, lengths, flops, moved)).reshape(-1)[0])

    def _price(
        self, signature: Signature, lengths: Lengths, flops: Number, moved: Number
    ) -> Number:
        kind = kind_of(signature.op)
        if kind.price is None:
            return 0.0
        return kind.price(Operation(kind, Call(signature, lengths), flops, moved), self)

    # ---- what prices ask

    @property
    def is_cuda_like(self) -> bool:
        return self.spec.is_cuda_like

    @property
    def host_link_bytes_per_s(self) -> float:
        """Measured, else by the link's generation; a processor shares its memory."""
        if self.spec.one_clock:
            return float("inf")
        measured = self.spec.calibration.facts.get(MEASURED_LINK) if self.spec.calibration else None
        if measured:
            return float(measured)
        generation = self.spec.pcie_generation or FIRST_GENERATION
        lane = self.parameter("data_parallel", f"pcie{generation}_lane_bytes_per_s")
        return PCIE_LANES * lane * self.parameter("transfer", "link_share")

    @property
    def host_bytes_per_s(self) -> float:
        """Of the host's memory: as much as its cores use, at most what a host has."""
        return host_bytes_per_s(self.spec.host_cores)

    def parameter(self, kind: str, name: str) -> float:
        """A row of ``profiles/priors/device.csv`` for this device. Raises ProfileError."""
        found = self._found.get((kind, name))
        if found is None:
            found = self._found[kind, name] = prior(self.spec, kind, name)
        return found

    def peak(self, dtype: str, *, tf32_allowed: bool = False) -> Peak:
        """Of a product of this type; float32 in TF32 where the recipe or the caller allows it.
        Raises QuestionError."""
        peaks, name = self.spec.peak_flops, _TYPES.get(dtype, "fp32")
        if name == "fp32" and "tf32" in peaks and (self.precision == "tf32" or tf32_allowed):
            return Peak(peaks["tf32"], True)
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
        return Peak(peaks[name], name != "fp32" and self._has_tensor_cores)

    @cached_property
    def _has_tensor_cores(self) -> bool:
        return self.spec.capability is None or self.spec.capability >= _TENSOR_CORES

    def unit(self, tensor: bool, tiled_as: str | None = None) -> ProductPriors:
        """The matrix kernels of tensor cores, or of the ordinary ones; ``tiled_as``: with the tiles
        of that kind's rows in place of theirs."""
        if (tensor, tiled_as) not in self._units:
            unit = "product_tensor" if tensor else "product_simt"
            self._units[tensor, tiled_as] = ProductPriors(
                ceiling=self.parameter(unit, "ceiling"),
                depth=self.parameter(unit, "depth"),
                tiles=tiles(tiled_as or unit),
                bandwidth_share=self.parameter(unit, "bandwidth_share"),
                latency_seconds=self.parameter("matmul", "latency_seconds"),
                overlap=self.parameter(unit, "overlap_power"),
            )
        return self._units[tensor, tiled_as]

    def product_seconds(
        self,
        sizes: tuple[Number, Number, Number, Number],
        *,
        moved_bytes: Number,
        flops_per_s: float,
        unit: ProductPriors,
    ) -> np.ndarray:
        """Of (batch, m, n, k)."""
        return product_seconds(
            *sizes,
            moved_bytes=moved_bytes,
            flops_per_s=flops_per_s,
            bytes_per_s=self.bytes_per_s,
            multiprocessors=self.spec.sm_count or 1,
            priors=unit,
        )

    def latency_seconds(self, kind: str, signature: Signature) -> float:
        which = "kernels_backward" if BACKWARD in signature.op else "kernels"
        return self.parameter(kind, which) * self.parameter(kind, "latency_seconds")

    def memory_seconds(self, moved: Number, share: Number) -> Number:
        """Bytes over the bandwidth; faster while they fit in half of L2, never less than a smaller
        number of bytes takes."""
        plain = moved / (self.bytes_per_s * share)
        if not self.spec.l2_bytes:
            return plain
        resident = self.spec.l2_bytes / 2
        ratio = self.parameter("any", "l2_ratio")
        fast = np.minimum(moved, resident) / (self.bytes_per_s * share * ratio)
        return fast + np.maximum(moved - resident, 0) * (plain / np.maximum(moved, 1))

    def arithmetic_seconds(self, flops: Number) -> Number:
        if "fp32" not in self.spec.peak_flops:
            return 0.0
        return flops / (self.spec.peak_flops["fp32"] * self.parameter("any", "simt_flops_share"))
