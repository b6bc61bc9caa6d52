"""What a datasheet says of a device: one row of ``profiles/gpus/gpus.csv`` in the program's own
units.

The rates are dense and with fp32 accumulation, the training number; marketing figures are twice
that (2:4 sparsity) or four times (fp16 accumulation as well). The README beside the table lists
every such trap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from planner import tables
from planner.errors import ProfileError, QuestionError
from planner.units import GIB, GIGA, MIB, TERA

if TYPE_CHECKING:
    from planner.devices.load import UnderLoad
    from planner.devices.profile import DeviceProfile

TABLE = ("gpus", "gpus.csv")
RATES = {number: f"{number}_tflops" for number in ("fp32", "tf32", "fp16", "bf16", "fp8")} | {
    "int8": "int8_tops"
}
#: The type a precision's matrix products run in: mixed precision multiplies in the lower one.
MATMUL_TYPES = {number: number for number in RATES} | {"amp_fp16": "fp16", "amp_bf16": "bf16"}
CUDA_LIKE = ("nvidia", "amd")
#: The compute capability from which NVIDIA's hardware multiplies a type (CUDA C guide).
_NATIVE_FROM = {"fp16": (5, 3), "tf32": (8, 0), "bf16": (8, 0), "fp8": (8, 9), "int8": (7, 5)}
#: ``DeviceSpec.basis`` of a device that only its profile knows.
MEASURED_RATES = "measured rates, no datasheet"
#: How an operation's time is found, best first.
BASES = ("exact", "calibrated", "datasheet")


@dataclass(frozen=True)
class Machine:
    """``devices`` of a kind in one machine. ``instance``: a row of ``networks/instances.csv``,
    whose network it has. ``is_part``: rented as a part of the usual server, without its network
    to other machines."""

    devices: int
    instance: str | None = None
    is_part: bool = False


@dataclass(frozen=True)
class DeviceSpec:
    """One device as torch sees it (one of a package's two where torch shows two). None: no source
    was found."""

    key: str
    vendor: str
    name: str
    total_memory_bytes: int
    memory_is_nominal: bool  # True: derived from the nominal size by ``visible_memory_ratio``
    memory_bandwidth_bytes_per_s: float | None  # read it by ``bandwidth_bytes_per_s(basis)``
    # FLOP/s by type, dense, fp32 accumulation; types without a source are absent
    peak_flops: dict[str, float] = field(hash=False)
    tdp_watts: float | None
    # one way, between devices of one host; None: PCIe only or no source
    interconnect_bytes_per_s: float | None
    pcie_generation: int | None
    sm_count: int | None
    l2_bytes: int | None
    compute_capability: str | None  # "9.0", or "gfx942" and the like
    launch_date: str | None
    basis: str
    traps: str
    sources: str
    # what was measured on such a device
    calibration: DeviceProfile | None = field(default=None, hash=False, compare=False)
    pricing: str = "datasheet"  # one of BASES: what times stand on
    # of its memory by another process all the time, as by an engine beside the training
    held_bytes: int = 0
    # virtual cores of its host that are there for it; None: not known, a whole host is meant
    host_cores: float | None = None
    # what it stands in; None: the server that such devices usually stand in
    machine: Machine | None = None
    # exact: (trace, dims, precision) → seconds
    timer: Callable[..., Any] | None = field(default=None, hash=False, compare=False)

    def peak(self, precision: str) -> float | None:
        """Peak dense FLOP/s of a matrix product in this precision; None when no source gives it.
        Raises QuestionError."""
        return self.peak_flops.get(_matmul_type(precision))

    def bandwidth_bytes_per_s(self, basis: str = "datasheet") -> float | None:
        """How fast this device's memory is read and written, on one of ``BASES``: the one place
        that says which figure holds. None where nothing says it.

        ``datasheet``: the row's figure. Every share of a bandwidth (the rows ``bandwidth_share``)
        is a share of it, so what is priced by shares stands on it, on a calibrated device too:
        operations that were not measured, the tokens of a served model, the order in which devices
        are tried, and whether a device can be priced at all. A device without a row has what was
        measured on it.

        ``calibrated`` and ``exact``: what was measured (``DeviceProfile.memory_bytes_per_s``).
        Operations are not priced by it: their family's curve has a ceiling of its own, the best
        that this family reached, which may exceed the memory's where operands fit in a cache.
        """
        if basis == "datasheet":
            return self.memory_bandwidth_bytes_per_s
        return None if self.calibration is None else self.calibration.memory_bytes_per_s

    @property
    def load(self) -> UnderLoad | None:
        """What other programs left of the measurements that times stand on; None where they stand
        on none, or nobody looked."""
        priced = self.pricing == "calibrated" and self.calibration is not None
        return self.calibration.load if priced and self.calibration is not None else None

    def supports(self, precision: str) -> bool:
        """Whether the hardware runs this precision natively (bf16 and tf32 need compute capability
        8.0 on NVIDIA, CUDA C guide)."""
        number = _matmul_type(precision)
        if number in self.peak_flops or number == "fp32":
            return True
        if self.one_clock:
            # computed in float32 where the processor has no such instructions
            return number in ("bf16", "fp16")
        if self.vendor == "nvidia":
            return self.capability is not None and self.capability >= _NATIVE_FROM[number]
        return number in ("fp16", "bf16") and self.vendor == "amd"

    @property
    def capability(self) -> tuple[int, int] | None:
        """Compute capability as numbers; None for a device that is not NVIDIA's."""
        major, dot, minor = (self.compute_capability or "").partition(".")
        return (int(major), int(minor)) if dot and major.isdigit() and minor.isdigit() else None

    @property
    def is_cuda_like(self) -> bool:
        """Whether torch's caching allocator and stream model, which the planner replays, are what
        this device runs under."""
        return self.vendor in CUDA_LIKE

    @property
    def one_clock(self) -> bool:
        """Whether the host computes itself: nothing overlaps."""
        return self.vendor == "cpu"

    def check_trainable(self, precision: str) -> None:
        """Raises QuestionError when the planner cannot price training on this device in this
        precision, saying why."""
        if not (self.is_cuda_like or self.one_clock or self.calibration is not None):
            raise QuestionError(
                "the memory and time models are for CUDA-like devices",
                where=self.name,
                mend="Choose an NVIDIA or AMD GPU",
            )
        if not self.supports(precision):
            raise QuestionError(
                f"{self.name} does not run {precision}",
                where="precision",
                mend="Use fp32 or amp_fp16, or another GPU",
            )
        known = (
            self.pricing != "datasheet"
            or (self.one_clock and "fp32" in self.peak_flops)
            or self.peak(precision) is not None
        )
        if self.bandwidth_bytes_per_s() is None or not known:
            raise QuestionError(
                f"no sourced {precision} rate or bandwidth",
                where=self.name,
                mend="Calibrate it, or choose another GPU",
            )


def with_profile(spec: DeviceSpec, profile: DeviceProfile) -> DeviceSpec:
    """The device, priced by what was measured on such a one; its memory as torch saw it. Where most
    was measured under load, or nothing but collectives was, the datasheet prices it, if there is
    one."""
    seen = profile.device.get("total_memory_bytes")
    bare = not (profile.curves or profile.host or profile.exact)
    too_much = bare or (profile.load is not None and profile.load.is_too_much)
    return replace(
        spec,
        calibration=profile,
        pricing="datasheet" if too_much and spec.basis != MEASURED_RATES else "calibrated",
        total_memory_bytes=int(seen or spec.total_memory_bytes),
        memory_is_nominal=spec.memory_is_nominal and not seen,
    )


def on_datasheet(spec: DeviceSpec) -> DeviceSpec:
    """The device as its datasheet prices it, whatever was measured."""
    known = spec.calibration
    if known is not None and known.collectives:
        known = replace(known, collectives=())
    return replace(spec, calibration=known, pricing="datasheet", timer=None)


def _matmul_type(precision: str) -> str:
    if precision not in MATMUL_TYPES:
        raise QuestionError(
            f"unknown precision {precision!r}", mend=f"Use one of {', '.join(MATMUL_TYPES)}"
        )
    return MATMUL_TYPES[precision]


@cache
def visible_memory_ratio(memory_group: str) -> float:
    """Smallest visible GiB per nominal GB among the group's rows that have both: what drivers and
    error correction take, at their greediest, so that a device of unknown visible memory is never
    called larger than it is."""
    both = [
        (float(row["memory_gib_visible"]), float(row["memory_gb_nominal"]))
        for row in tables.rows(*TABLE)
        if row["memory_gib_visible"] and row["memory_group"] == memory_group
    ]
    if not both:
        raise ProfileError(
            f"no row of memory group {memory_group!r} has its visible memory", where="gpus/gpus.csv"
        )
    return min(visible / nominal for visible, nominal in both)


@cache
def all_devices() -> tuple[DeviceSpec, ...]:
    """Every device of the table, in its order. Raises ProfileError naming the row that is
    malformed."""
    return tuple(_spec(row) for row in tables.rows(*TABLE))


def _spec(row: dict[str, str]) -> DeviceSpec:
    try:
        return _parse(row)
    except (KeyError, ValueError, TypeError) as error:
        raise ProfileError(
            f"malformed row {row.get('key')!r}: {error}", where="gpus/gpus.csv"
        ) from error


def _parse(row: dict[str, str]) -> DeviceSpec:
    visible, nominal = tables.number(row["memory_gib_visible"]), float(row["memory_gb_nominal"])
    gib = visible if visible is not None else nominal * visible_memory_ratio(row["memory_group"])
    return DeviceSpec(
        key=row["key"],
        vendor=row["vendor"],
        name=row["name_reported"] or row["key"],
        total_memory_bytes=int(gib * GIB),
        memory_is_nominal=visible is None,
        memory_bandwidth_bytes_per_s=_scaled(row["memory_bandwidth_gb_per_s"], GIGA),
        peak_flops={
            number: float(row[column]) * TERA for number, column in RATES.items() if row[column]
        },
        tdp_watts=tables.number(row["tdp_watts"]),
        interconnect_bytes_per_s=_scaled(row["interconnect_gb_per_s_both_ways"], GIGA / 2),
        pcie_generation=_whole(row["pcie_gen"]),
        sm_count=_whole(row["sm_count"]),
        l2_bytes=None if not row["l2_mib"] else round(float(row["l2_mib"]) * MIB),
        compute_capability=row["compute_capability"] or None,
        launch_date=row["launch_date"] or None,
        basis=row["basis"],
        traps=row["traps"],
        sources=row["sources"],
    )


def _scaled(cell: str, factor: float) -> float | None:
    return float(cell) * factor if cell else None


def _whole(cell: str) -> int | None:
    return int(cell) if cell else None
