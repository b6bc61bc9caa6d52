"""From the command to the first step: the machine, imports, the device, fetching and reading the
weights, compiling."""

from __future__ import annotations

from planner import units
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.host import Host, host_of
from planner.question import Question
from planner.question.stack import DEFAULT, Stack, stack_of
from planner.uncertainty.spread import overhead

WIDE_BYTES, HALF_BYTES = 4, 2
IMPORTS = "import_seconds"


def start_up(course: Course) -> Phase:
    parts = _seconds(course)
    total = sum(parts.values(), Estimate.exact(0.0)).scale(1 / units.SECONDS_PER_HOUR)
    each = {name: value.p50 / units.SECONDS_PER_HOUR for name, value in parts.items()}
    return Phase(total, of_which=each)


def _seconds(course: Course) -> dict[str, Estimate]:
    setting = course.setting
    facts, strategy = setting.source.facts, course.choices.strategy
    size = stored_bytes(facts, strategy, course.weights_bytes)
    parts = _without_model(course.spec, course.machine, course.stack)
    parts |= _weights(facts, size, course.machine)
    if setting.recipe.compile:
        operations = setting.longest_trace().op_count
        parts["compile"] = overhead("compile_operation_seconds").scale(operations)
    return parts


def _weights(facts: ModelFacts, size: float, machine: Host) -> dict[str, Estimate]:
    """Read from disk, and before that fetched to a rented machine; a local folder lies there."""
    if not size:
        return {}
    parts = {"read the weights": _at(size, "read_bytes_per_second")}
    if machine.is_rented and facts.origin != "folder":
        parts["download the weights"] = _at(size, "download_bytes_per_second")
    return parts


def _without_model(spec: DeviceSpec, machine: Host, stack: Stack) -> dict[str, Estimate]:
    measured = _measured(spec, stack)
    parts = {"import": overhead(IMPORTS) if measured is None else measured}
    if machine.is_rented:
        parts["start the machine"] = overhead("machine_start_seconds")
    if not spec.one_clock and measured is None:
        parts["start the device"] = overhead("device_start_seconds")
    return parts


def _measured(spec: DeviceSpec, stack: Stack) -> Estimate | None:
    """A script's start and end on this device's host, the device's included, as calibrated: of the
    stack's trainer or the one that it runs in, else of the default one; None where it was not."""
    facts = spec.calibration.facts if spec.calibration is not None else {}
    names = (f"{IMPORTS}.{trainer}" for trainer in (*stack.line, DEFAULT))
    found = next((facts[name] for name in names if facts.get(name)), None)
    return None if found is None else overhead("start_again_ratio").scale(found)


def _at(size: float, key: str) -> Estimate:
    rate = overhead(key)
    return Estimate(*(size / value for value in (rate.p90, rate.p50, rate.p10)))


def stored_bytes(facts: ModelFacts, strategy: str, weights_bytes: float = 0.0) -> float:
    """Of the checkpoint that a run starts from; 0 from scratch. Weights that are quantised while
    they are loaded lie in full on disk. ``weights_bytes``: on the device, where nothing else is
    known."""
    if strategy == "scratch":
        return 0.0
    if facts.parameters is None or facts.quantization is not None:
        return weights_bytes
    wide = facts.weights_dtype in (None, "float32") and facts.library != "transformers"
    wide = wide or facts.weights_dtype == "float32"
    return float(facts.parameters * (WIDE_BYTES if wide else HALF_BYTES))


def start_up_hours_at_least(
    question: Question, spec: DeviceSpec, facts: ModelFacts | None = None, strategy: str = ""
) -> float:
    """Of any run on a device, at the median; with the weights where ``facts`` tell them."""
    machine = host_of(question, spec)
    parts = _without_model(spec, machine, stack_of(question.stack))
    if facts is not None:
        parts |= _weights(facts, stored_bytes(facts, strategy), machine)
    return sum(part.p50 for part in parts.values()) / units.SECONDS_PER_HOUR
