"""``planner measure``: a question becomes a real run on this machine's device, and a record with
today's estimate beside it.

The run is the one that the plan would make: the strategy's recipe, micro-batch and accumulation.
Time is measured at the mean padded length and, where the data's longest batch is longer, peak
memory at that one, in a second record.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.errors import FieldName, MachineError, QuestionError
from planner.ledger.record import RunRecord
from planner.measure.measurement import Measurement, Progress
from planner.measure.work import Work
from planner.plan.inputs.hardware import Hardware, RentedDevice, find_hardware
from planner.plan.inputs.problem import Problem, understand
from planner.plan.options import Option
from planner.plan.survey.survey import survey
from planner.plan.survey.ways import Ways
from planner.question import TRAINING_STRATEGIES, Question
from planner.question.training_setting import SUPERVISED

STEPS_EXPECTED = 10  # timed and warm-up steps of a measurement that is as short as it can be


def measure_question(
    question: Question,
    *,
    device: str | None = None,
    seconds: float = 20.0,
    progress: Progress | None = None,
) -> Iterator[RunRecord]:
    """Measure the strategies of a question one after the other: a record each, and a second one of
    the longest batch.

    ``device``: cpu, cuda or cuda:N; without it the first GPU, or the processor. ``seconds`` bounds
    warm-up and timing of one strategy. Out of memory is a result. Raises QuestionError for a
    question about another machine, MachineError for a device that is not there, and what the plan
    and the model raise.
    """
    if not seconds > 0:
        raise QuestionError("how long it may take must be more than 0", where=FieldName("seconds"))
    idle = [name for name in question.strategy or () if name not in TRAINING_STRATEGIES]
    if idle:
        raise QuestionError(
            f"{', '.join(idle)} trains nothing that could be measured",
            where=FieldName("strategy"),
            mend=f"Use {', '.join(TRAINING_STRATEGIES)}",
        )
    device, question = local(question, device)
    problem = understand(question, progress)
    hardware = find_hardware(question, progress)
    if hardware.searched:
        raise MachineError("this machine's device is not found", where=FieldName("gpu"))
    for strategy in question.strategy or [recommended(question, progress)]:
        option = planned(problem, hardware, strategy)
        rented = option.rented
        work = work_of(option, rented, seconds)
        measurement = Measurement(
            problem, rented, option, work, device=device, seconds=seconds, progress=progress
        )
        yield from measurement.records()


def planned(problem: Problem, hardware: Hardware, strategy: str) -> Option:
    """The plainest variant of a strategy as ``planner estimate`` shows it. Raises the errors of
    planning it."""
    own = problem.changed(problem.question.model_copy(update={"strategy": [strategy]}))
    ways = Ways(survey(own, hardware, counts=(problem.question.gpus,)))
    first = next(iter(ways.survey.variants(strategy)), None)
    shown = ways.shown(strategy, variant=first)
    if shown is None:
        raise ways.survey.refusal(strategy)
    return ways.option(shown)


def recommended(question: Question, progress: Progress | None = None) -> str:
    """What the planner would do here; full fine-tuning where it recommends nothing."""
    from planner.answer.estimate import estimate

    chosen = estimate(question.model_copy(update={"exact": False}), progress=progress)[
        "recommended"
    ]
    return (
        chosen["strategy"] if chosen and chosen["strategy"] in TRAINING_STRATEGIES else "fine_tune"
    )


#: What a training's software does around its steps, which those that are run here do not.
AROUND = ("ema", "max_grad_norm", "empty_cache_steps", "allocator")


def local(question: Question, device: str | None) -> tuple[str, Question]:
    """(the device as torch names it, the question about this very device). Raises QuestionError and
    MachineError."""
    import torch

    if question.gpus > 1:
        raise QuestionError(
            "a measurement runs on one device", where=FieldName("gpus"), mend="Leave it out"
        )
    if question.objective not in (None, SUPERVISED):
        raise QuestionError(
            f"steps of {question.objective} are not run here",
            where=FieldName("objective"),
            mend="Leave it out: what is measured is the task's own loss",
        )
    if question.group_by_length:
        raise QuestionError(
            "a measurement takes samples as they come, and groups none by length",
            where=FieldName("group_by_length"),
            mend="Leave it out",
        )
    if question.padding == "free":
        raise QuestionError(
            "a measurement pads its batches", where=FieldName("padding"), mend="Ask for longest"
        )
    for name in ("float8", "loss", "kernels", "optimizer_in_backward", "offload", *AROUND):
        if getattr(question, name) not in (None, False, [], "plain", 0):
            raise QuestionError(
                "a measurement trains as transformers does, without it",
                where=FieldName(name),
                mend="Leave it out",
            )
    wanted = device or ("cpu" if question.gpu == "cpu" or not torch.cuda.is_available() else "cuda")
    try:
        chosen = torch.device(wanted)
    except RuntimeError:
        raise QuestionError(
            f"no device {wanted!r}", where=FieldName("device"), mend="Use cpu, cuda or cuda:1"
        ) from None
    if chosen.type not in ("cpu", "cuda"):
        raise QuestionError(
            f"cannot measure on {wanted!r}",
            where=FieldName("device"),
            mend="Use cpu, cuda or cuda:1",
        )
    if chosen.type == "cuda" and not (
        torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count()
    ):
        raise MachineError(
            f"this machine has no device {wanted!r}, or torch is built without it",
            where=FieldName("device"),
            mend=f"Use {FieldName('device')} cpu",
        )
    name = (
        "cpu"
        if chosen.type == "cpu"
        else "local"
        if not chosen.index
        else torch.cuda.get_device_name(chosen)
    )
    _check_same(question.gpu, name)
    return wanted, question.model_copy(update={"gpu": name, "group_by_length": False})


def _check_same(named: str | None, here: str) -> None:
    from planner.devices.lookup import resolve_device

    if named in (None, "local", here):
        return
    found, own = resolve_device(named).spec, resolve_device(here).spec
    if found.key != own.key:
        raise QuestionError(
            f"this machine trains on {own.name}, not on {found.name}",
            where=FieldName("gpu"),
            mend="Leave it out, or measure on that machine",
        )


def work_of(option: Option, rented: RentedDevice, seconds: float) -> Work:
    """The run that the plan makes; with fewer micro-batches a step where a whole one would not
    leave time for enough steps."""
    setting, notes = option.setting, []
    longest, mean = setting.longest, setting.mean
    accumulation = setting.accumulation
    if accumulation > 2 and STEPS_EXPECTED * setting.step.seconds.p50 > seconds:
        micro_batch_seconds = setting.step.seconds.p50 / accumulation
        accumulation = max(
            2, min(accumulation, int(seconds / STEPS_EXPECTED / micro_batch_seconds))
        )
        if accumulation < setting.accumulation:
            notes.append(
                f"a step accumulates {accumulation} micro-batches instead of the plan's "
                f"{setting.accumulation}, to be measured in time"
            )
    if option.variant:
        notes.append(f"variant: {option.variant}")
    return Work(
        facts=option.facts,
        recipe=setting.recipe,
        strategy=option.strategy,
        teacher=option.teacher,
        micro_batch=setting.micro_batch,
        accumulation=accumulation,
        lengths=mean,
        longest=longest,
        max_length=option.choices.max_length,
        padding=option.choices.padding,
        notes=tuple(notes),
    )
