"""What waits in the host's memory: what goes together with what, what is said of it, and how much
memory the host needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner import units
from planner.cost.prices.offers import Offer
from planner.devices.processors import host_bytes_per_s, processor_spec
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.operations.registry import cost
from planner.parallel.network import network_of
from planner.plan.steps.setting import Setting
from planner.question import Question
from planner.question.optimizers import asked_row
from planner.trace.table import PHASES, StepTrace
from planner.training.host_memory import (
    ACTIVATIONS,
    GRADIENTS,
    NARROW,
    OPTIMIZER,
    WEIGHTS,
    offloading_fact,
    together,
)
from planner.training.recipe import Recipe

#: Optimizers whose states are as large as their weights or constant, elsewhere than in torch.optim.
ELEMENTWISE = ("adamw_fused", "lion")
#: Ways to share state whose optimizer may run on the host.
SHARED_WAYS = ("fsdp", "hsdp", "zero1", "zero2", "zero3")
_FORWARD = PHASES.index("forward")
GIB = 2**30
_COPIED = "planner.offload.default"


def words_of(question: Question) -> tuple[str, ...]:
    """What waits, with what comes with it."""
    return together(question.offload or ())


def shares_the_host(question: Question) -> bool:
    """Whether several devices share state whose optimizer may run on the host: what they reduce is
    added up there."""
    return question.gpus > 1 and question.parallel in SHARED_WAYS


def check_offloading(
    question: Question, facts: ModelFacts, spec: DeviceSpec, optimizer: str, precision: str
) -> None:
    """Raises QuestionError for what no software does, or what is not planned."""
    words = words_of(question)
    for mend, why in _excluded(question, facts, spec, optimizer, precision, words):
        raise QuestionError(why, where=FieldName("offload"), mend=mend)


def _excluded(
    question: Question,
    facts: ModelFacts,
    spec: DeviceSpec,
    optimizer: str,
    precision: str,
    words: tuple[str, ...],
) -> Iterator[tuple[str, str]]:
    if spec.one_clock and words:
        yield "Leave it out", "a processor has no memory but the host's"
    if GRADIENTS in words and OPTIMIZER not in words:
        yield "Ask for optimizer,gradients", "gradients leave for an optimizer of the host"
    if OPTIMIZER not in words:
        return
    if question.gpus > 1 and not shares_the_host(question):
        yield (
            f"Ask for {FieldName('parallel')} zero2 or zero3, or fsdp with weights too",
            f"with {question.gpus} GPUs an optimizer of the host is planned where they share state",
        )
    row = asked_row(optimizer)
    torchs = row is not None and (row.library_class or "").startswith("torch.optim.")
    if not torchs and optimizer not in ELEMENTWISE:
        yield "Ask for adamw, or another of torch's", f"no software runs {optimizer} on the host"
    if question.optimizer_in_backward:
        within = FieldName("optimizer_in_backward")
        yield f"Leave out {within}", f"an optimizer of the host and {within} exclude each other"
    if question.compile:
        yield f"Leave out {FieldName('compile')}", "it is planned without torch.compile"
    if question.max_grad_norm and precision not in NARROW:
        why = "clipping on the host is planned as DeepSpeed does it, with float32 weights there"
        if WEIGHTS not in words:
            why = "torchao's CPUOffloadOptimizer copies gradients before they are clipped"
        yield (
            f"Leave out {FieldName('max_grad_norm')}, or ask for {FieldName('precision')} amp_bf16",
            why,
        )
    if WEIGHTS in words:
        yield from _excluded_with_weights(question, facts, words)


def _excluded_with_weights(
    question: Question, facts: ModelFacts, words: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    if ACTIVATIONS in words:
        yield "Ask for one of them", "activations and weights are not planned together"
    stored = facts.quantization is not None or question.load_in
    if stored or question.strategy and "qlora" in question.strategy:
        yield "Leave out weights", "weights in few bits stay on the device"
    if question.loss not in (None, "plain") or question.kernels is not None:
        yield (
            f"Leave out {FieldName('loss', 'kernels')}",
            "what computes the loss with the head's weights would not find them",
        )


def offloading_lines(question: Question, spec: DeviceSpec, recipe: Recipe) -> list[FirstLine]:
    """Whose software it is planned as, and how fast the host is taken to be."""
    words = recipe.offload or ()
    if OPTIMIZER not in words:
        return []
    if question.gpus > 1:
        return [*_shared_lines(question, recipe), _rate_line(spec)]
    wide = recipe.precision in NARROW
    if wide:
        bucket = offloading_fact("reduce_bucket") * 2
        how = (
            "as DeepSpeed's ZeRO-Offload: weights of 16 bits on the device, those of float32 on "
            "the host, which scales each gradient and converts each weight"
        )
        if GRADIENTS in words:
            how += f"; gradients leave by a bucket of {units.format_bytes(bucket)}"
    else:
        whose = "FSDP's CPUOffload" if WEIGHTS in words else "torchao's CPUOffloadOptimizer"
        how = f"as {whose}: states in the weights' number format, no clipping"
        how += ", gradients leave as they are made" if GRADIENTS in words else ""
    lines = [FirstLine("run", f"the optimizer runs on the host, {how}")]
    if WEIGHTS in words:
        text = (
            "weights come from the host for each block, the next one's ahead, and again in the "
            f"backward pass, as {'ZeRO-3' if wide else 'FSDP'} does it"
        )
        lines.append(FirstLine("run", text))
    return [*lines, _rate_line(spec)]


def _shared_lines(question: Question, recipe: Recipe) -> list[FirstLine]:
    """Of devices that share state."""
    words, way = recipe.offload or (), question.parallel
    if way in ("fsdp", "hsdp"):
        text = (
            "each device's part of parameters, gradients and states lies on its host, as FSDP2's "
            "CPUOffloadPolicy has it: a part comes before it is gathered, reduced gradients leave, "
            "and torch's optimizer updates there"
        )
        if not recipe.optimizer.endswith("fused"):
            text += f", operation by operation ({FieldName('optimizer')} adamw_fused does not)"
        return [FirstLine("run", text)]
    text = (
        f"each device's part of the optimizer runs on its host, as DeepSpeed's {way} with "
        "offload_optimizer: float32 weights and states there, reduced gradients leave in float32, "
        "and updated weights come back when all are done"
    )
    if WEIGHTS in words:
        text = text.replace("come back when all are done", "stay there, and come before a gather")
    return [FirstLine("run", text)]


def _rate_line(spec: DeviceSpec) -> FirstLine:
    rate = host_bytes_per_s(spec.host_cores)
    cores = "all cores" if spec.host_cores is None else f"{spec.host_cores:g} virtual cores"
    text = (
        f"{cores} of the host move {units.format_bytes(rate)} a second of its memory (our prior), "
        "which the update takes its time from"
    )
    return FirstLine("run", text)


def host_bytes(setting: Setting) -> float:
    """Bytes that the run keeps in the host's memory beside its process: of the optimizer and
    weights, and of the activations of the longest batch."""
    trace = setting.longest_trace()
    held = float(trace.meta.get("host_bytes", 0))
    if ACTIVATIONS in (setting.recipe.offload or ()):
        point = {"B": setting.micro_batch, **setting.longest}
        held += _copied_bytes(trace, trace.dims(**point))
    return held


def host_values(setting: Setting) -> dict[str, float]:
    """The same for the document, where there is something."""
    held = host_bytes(setting)
    return {"host_bytes": held} if held else {}


def host_warnings(
    question: Question, setting: Setting, offer: Offer | None, spec: DeviceSpec
) -> list[str]:
    """That the machine has less memory than what waits in it, of all its devices together."""
    held = host_bytes(setting)
    if not held:
        return []
    devices = setting.step.parallel.devices
    if devices > 1:
        held *= min(devices, _of_a_machine(offer, spec, devices))
    room = offer.ram_gib * GIB if offer is not None and offer.ram_gib else None
    if question.gpu == "local":
        room = float(processor_spec().total_memory_bytes)
    if room is None:
        return [
            f"the host needs {units.format_bytes(held)} of memory for what waits there, and what "
            "this machine has is not known"
        ]
    if held <= room:
        return []
    return [
        f"the host needs {units.format_bytes(held)} of memory for what waits there, and this "
        f"machine has {units.format_bytes(room)}"
    ]


def _of_a_machine(offer: Offer | None, spec: DeviceSpec, devices: int) -> int:
    """Devices that an offer's memory is for, else those of a machine of the plan."""
    if offer is not None and offer.ram_gib and offer.gpu_count:
        return offer.gpu_count
    return network_of(spec, devices).devices_per_node


def _copied_bytes(trace: StepTrace, dims: np.ndarray) -> float:
    found = 0.0
    for number, signature in enumerate(trace.signatures):
        if signature.op == _COPIED:
            times = int(trace.counts[number, _FORWARD])
            found += times * float(cost(signature, dims).read_bytes)
    return found
