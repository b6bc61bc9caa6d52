"""From what people call a device to its row: keys, the driver's names, and forgiving human names.

An ambiguous name chooses nothing, except where ``profiles/gpus/aliases.csv`` says what it commonly
means and why; the caller learns that an alias was used and lists it among the assumptions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.devices import profile
from planner.devices.measured import calibrated, measured_spec
from planner.devices.nvml_library import Handle, NvmlLibrary, nvml_library, started, text
from planner.devices.processors import processor_spec
from planner.devices.specification import DeviceSpec, all_devices
from planner.errors import FieldName, MachineError, QuestionError, UnknownNameError

_NOISE = {
    "nvidia",
    "geforce",
    "tesla",
    "amd",
    "instinct",
    "google",
    "intel",
    "gpu",
    "generation",
    "edition",
    "blackwell",
    "hbm2",
    "hbm2e",
    "hbm3",
    "hbm3e",
    "gb",
    "gib",
    "graphics",
    "card",
}
#: Words that make another device of a name: "3090" never means the 3090 Ti.
_VARIANTS = {"ti", "super", "laptop", "sff"}


@dataclass(frozen=True)
class FoundDevice:
    """A device and, when the name was an alias for it, the sentence to list among the
    assumptions."""

    spec: DeviceSpec
    assumption: str | None = None


def resolve_device(name: str) -> FoundDevice:
    """The device that a key, a driver's name or a human name ("A100 80GB", "rtx 4090") means, and
    whether an alias was taken; ``local`` is the first device of this machine.

    A device that was measured (a profile of the user's own, or a shipped one) comes with its
    calibration; the file of a profile is a name too, and ``cpu`` is this machine's processor.
    Raises UnknownNameError for a name that matches nothing, QuestionError listing the candidates
    for one that matches several, ProfileError for a damaged profile.
    """
    wanted = name.strip()
    if wanted.lower() == "local":
        return _found_locally()
    if wanted.lower() == "cpu":
        return FoundDevice(calibrated(processor_spec()))
    if wanted.lower().endswith(".json"):
        return FoundDevice(measured_spec(profile.load(wanted)))
    file = profile.find(wanted.lower()) if _exact(wanted) is None else None
    if file is not None:
        return FoundDevice(measured_spec(profile.load(file)))
    found = _of_the_table(wanted)
    return FoundDevice(calibrated(found.spec), found.assumption)


def find_device(name: str) -> DeviceSpec:
    """The device that a name means; ``resolve_device`` also tells whether an alias was taken.

    Raises UnknownNameError for a name that matches nothing, QuestionError listing the candidates
    for one that matches several.
    """
    return resolve_device(name).spec


def _of_the_table(name: str) -> FoundDevice:
    exact = _exact(name)
    if exact is not None:
        return FoundDevice(exact)
    wanted = _tokens(name)
    row = _aliases().get(wanted)
    if row is not None:
        return FoundDevice(
            _by_key()[row["gpu_key"]], f"GPU {name!r} taken as {row['gpu_key']}: {row['reason']}"
        )
    matches = [
        spec
        for spec in all_devices()
        if wanted and wanted <= _known_tokens(spec) and _tokens(spec.name) & _VARIANTS <= wanted
    ]
    if len(matches) > 1:
        listed = ", ".join(spec.key for spec in matches)
        raise QuestionError(f"{name!r} could be {listed}", where="gpu", mend="Name one of them")
    if not matches:
        raise UnknownNameError(
            "GPU", name, _by_key(), mend="A GPU is one row of profiles/gpus/gpus.csv."
        )
    return FoundDevice(matches[0])


@dataclass(frozen=True)
class DriverFacts:
    """What the driver says of its first device. ``total_memory_bytes`` as the driver counts, which
    is more than torch shows; ``power_limit_watts`` None where it does not say."""

    name: str
    count: int
    driver_version: str
    total_memory_bytes: int
    power_limit_watts: float | None


def local_device() -> tuple[DeviceSpec, DriverFacts] | None:
    """The first device the NVIDIA driver shows and what it says of it; None without a driver or
    device. Raises QuestionError for a device that is neither in the table nor calibrated.
    """
    facts = _driver_facts()
    if facts is None:
        return None
    spec = _exact(facts.name)
    if spec is not None:
        return calibrated(spec), facts
    file = profile.find(profile.file_name({"name": facts.name}))
    if file is None:
        raise QuestionError(
            f"the local GPU {facts.name!r} is not in the table",
            where="gpu",
            mend="planner calibrate measures it; or add a row with this name_reported to "
            "profiles/gpus/gpus.csv",
        )
    return measured_spec(profile.load(file)), facts


def _found_locally() -> FoundDevice:
    local = local_device()
    if local is not None:
        return FoundDevice(local[0])
    spec = calibrated(processor_spec())
    if spec.calibration is None:
        raise QuestionError(
            "no NVIDIA driver or device here, and the processor is not calibrated",
            where="gpu local",
            mend=f"Name a GPU, for example {FieldName('gpu')} h100-sxm, or run planner calibrate",
        )
    return FoundDevice(spec, f"no GPU here: the processor {spec.name} trains")


def _driver_facts() -> DriverFacts | None:
    library = started(nvml_library())
    if library is None:
        return None
    try:
        return _query(library)
    except library.NVMLError as error:
        raise MachineError(
            f"the NVIDIA driver failed: {error}", where="gpu local", mend="Check nvidia-smi"
        ) from error
    finally:
        library.nvmlShutdown()


def _query(library: NvmlLibrary) -> DriverFacts | None:
    count = library.nvmlDeviceGetCount()
    if count == 0:
        return None
    board = library.nvmlDeviceGetHandleByIndex(0)
    return DriverFacts(
        name=text(library.nvmlDeviceGetName(board)),
        count=count,
        driver_version=text(library.nvmlSystemGetDriverVersion()),
        total_memory_bytes=int(library.nvmlDeviceGetMemoryInfo(board).total),
        power_limit_watts=_power_limit(library, board),
    )


def _power_limit(library: NvmlLibrary, board: Handle) -> float | None:
    try:
        return library.nvmlDeviceGetEnforcedPowerLimit(board) / 1000  # NVML gives milliwatts
    except library.NVMLError:
        return None


@cache
def _by_key() -> dict[str, DeviceSpec]:
    return {spec.key: spec for spec in all_devices()}


def _exact(name: str) -> DeviceSpec | None:
    wanted = name.strip().lower()
    return _by_key().get(wanted) or next(
        (spec for spec in all_devices() if spec.name.lower() == wanted), None
    )


@cache
def _aliases() -> dict[frozenset[str], dict[str, str]]:
    return {_tokens(row["alias"]): row for row in tables.rows("gpus", "aliases.csv")}


def _tokens(name: str) -> frozenset[str]:
    """``"NVIDIA A100-SXM4-80GB"`` → {a100, sxm, 80}: the words that tell one device from
    another."""
    text = re.sub(r"(rtx|gtx|tpu|sxm|pcie|nvl)", r" \1 ", name.lower())
    text = re.sub(r"(\d)(ti|super)\b", r"\1 \2", text.replace("tisuper", "ti super"))
    text = re.sub(r"\b(sxm)\s+\d\b", r"\1", text)
    text = re.sub(r"\b(\d+)\s*gi?b\b", r"\1", text)
    return frozenset(word for word in re.findall(r"[a-z0-9]+", text) if word not in _NOISE)


@cache
def _known_tokens(spec: DeviceSpec) -> frozenset[str]:
    return (
        _tokens(spec.key) | _tokens(spec.name) | _tokens(_memory_and_form(spec.key)) | {spec.vendor}
    )


@cache
def _memory_and_form(key: str) -> str:
    """So that "a100 pcie 80gb" and "v100 sxm2" match, whichever way the key spells it."""
    row = next(row for row in tables.rows("gpus", "gpus.csv") if row["key"] == key)
    return f"{row['memory_gb_nominal']} {row['form']}"
