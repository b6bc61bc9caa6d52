"""The first lines of an answer: the model, the data, the run and the recipe as they were
understood, and where what runs differs from what was asked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from planner.answer.grounds import corrected_lines, ground_lines, network_lines
from planner.cost.bill import Bill
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.models.pipelines import TASK
from planner.plan.around.layers import layer_lines
from planner.plan.around.parted import devices_in_words, part_lines
from planner.plan.around.sharing import sharing_lines
from planner.plan.before_corrections import before_corrections
from planner.plan.billing import as_people_run
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.phases.evaluation import Evaluated
from planner.plan.placement.place import Placement
from planner.plan.placement.run import Run, steps_of_an_epoch
from planner.plan.placement.variants import CACHED, GRADUAL
from planner.question import Question
from planner.question.applies import in_vain
from planner.uncertainty.spread import overhead
from planner.units import SECONDS_PER_HOUR, format_count, format_seconds

#: A number of epochs that differs by less is the asked one.
SAME = 0.005
#: Epochs of two strategies that differ by less (whole steps of other batches) are as many.
MANY_SAME = 0.05
#: A smaller share than this is none in whole percents.
LEAST_SHARE = 0.01
#: Phases of an objective, in words.
OF_OBJECTIVES = {
    "generation": "writing completions",
    "scoring": "scoring them",
    "reference": "the reference's pass",
}
#: Recipes whose trace holds the whole model and no other.
WHOLE_MODEL = ("fine_tune", "partial_fine_tune", "lora", "qlora")


class Planned(Protocol):
    """An option of ``estimate`` or a candidate of ``choose``."""

    @property
    def placement(self) -> Placement: ...

    @property
    def run(self) -> Run: ...

    @property
    def rented(self) -> RentedDevice: ...

    @property
    def bill(self) -> Bill | None: ...


def first_lines(
    problem: Problem, shown: Planned | None, strategies: Iterable[str]
) -> list[FirstLine]:
    """Those of the question, and those of the option that is recommended (or comes first).
    ``strategies``: what was planned, of which every asked field should change something."""
    own = of_option(problem, shown) if shown is not None else []
    counted = counted_parameters(shown.placement) if shown is not None else None
    own += _active(problem, shown.placement) if shown is not None else []
    own += _grounds(problem, shown) if shown is not None else []
    question, facts = problem.question, problem.facts
    task, stored = question.task or facts.task, facts.quantization is not None
    vain = in_vain(question, set(strategies), task, facts.modality, stored=stored)
    idle = [FirstLine("run", text, warning=True) for text in vain]
    paid = _project(question, shown)
    return [*problem.first_lines, *idle, *_subject(problem, counted), *own, *paid]


def _grounds(problem: Problem, shown: Planned) -> list[FirstLine]:
    rented, placement = shown.rented, shown.placement
    before = before_corrections(problem, placement, rented)
    return [
        *ground_lines(rented.spec),
        *network_lines(rented.spec, rented.parallel.devices),
        *corrected_lines(before, placement, shown.bill),
    ]


def _project(question: Question, shown: Planned | None) -> list[FirstLine]:
    """The run's dollars beside those of the project; nothing where no price is known."""
    if shown is None or shown.bill is None:
        return []
    project = as_people_run(question, shown.bill, shown.rented.parallel.devices)
    return [FirstLine("cost", project.words)] if project.high_usd else []


def of_option(problem: Problem, planned: Planned) -> list[FirstLine]:
    """What one option runs, after which recipe, and where that is not what was asked."""
    placement, run = planned.placement, planned.run
    return [
        FirstLine("run", _run(problem, placement, run)),
        *sharing_lines(problem.question, placement.setting, placement.spec),
        *layer_lines(placement.setting, placement.spec),
        *part_lines(placement.setting, placement.spec),
        *_around(run),
        *placement.variant.choices.first_lines,
        *_not_as_asked(problem.question, placement, run),
    ]


def _around(run: Run) -> list[FirstLine]:
    """What is assumed of the data's way to the device, where it takes a worthwhile share; what the
    run would not end without, which no share has to earn, is a warning."""
    least = overhead("said_share").p50 * run.wall_hours.p50
    return [
        FirstLine("run", text, warning=math.isinf(hours))
        for hours, text in run.said
        if hours > least
    ]


def other_lengths(shown: Planned | None, options: Sequence[Planned]) -> list[FirstLine]:
    """The strategies beside the shown one that go through the data more or less often: their hours
    and dollars are not those of the same training."""
    if shown is None:
        return []
    epochs = _epochs(shown)
    others: dict[str, list[str]] = {}
    for option in options:
        strategy, own = option.placement.strategy, _epochs(option)
        kind = option.placement.variant.name
        if kind not in (CACHED, GRADUAL) and abs(own - epochs) > MANY_SAME * epochs:
            names = others.setdefault(f"{own:.3g}", [])
            names += [strategy] if strategy not in names else []
    text = "; ".join(f"{', '.join(names)} {own} epochs" for own, names in others.items())
    lines = [FirstLine("run", f"not all run as long: {text}")] if text else []
    return lines + _other_evaluations(shown, options)


def _other_evaluations(shown: Planned, options: Iterable[Planned]) -> list[FirstLine]:
    """The strategies whose recipes evaluate more or less often an epoch than the shown one's."""
    own = _evaluations(shown)
    others: dict[str, float] = {}
    for option in options:
        each, kind = _evaluations(option), option.placement.variant.name
        if kind not in (CACHED, GRADUAL) and abs(each - own) > MANY_SAME * max(own, each):
            others.setdefault(option.placement.strategy, option.run.evaluations)
    text = ", ".join(f"{name} {times:,.0f} times" for name, times in others.items())
    return [FirstLine("run", f"not all are evaluated as often: {text}")] if text else []


def _evaluations(planned: Planned) -> float:
    """An epoch, of what is trained."""
    return planned.run.evaluations / max(_epochs(planned), 1e-9)


def _epochs(planned: Planned) -> float:
    """Of what is trained: the pass that makes features trains nothing."""
    cached = planned.placement.variant.name == CACHED
    return planned.run.epochs - 1 if cached else planned.run.epochs


def own_texts(problem: Problem, planned: Planned, shown: Iterable[FirstLine]) -> list[str]:
    """The sentences of an option that the first lines of the answer do not hold."""
    above, strategy = set(shown), planned.placement.strategy
    own = [line.text for line in of_option(problem, planned) if line not in above]
    return [text.removeprefix(f"{strategy}: ") for text in own]


def counted_parameters(placement: Placement) -> int | None:
    """Of the model itself, as the trace counts them; None where it holds a part or another one."""
    variant, recipe = placement.variant, placement.setting.recipe
    if variant.name == CACHED or recipe.strategy not in WHOLE_MODEL:
        return None
    meta = placement.setting.longest_trace().meta
    adapters = meta.get("adapter_params", meta["trainable_params"]) if recipe.has_adapters else 0
    return meta["total_params"] - adapters


def _active(problem: Problem, placement: Placement) -> list[FirstLine]:
    """How much of a mixture one token runs through."""
    meta = placement.setting.longest_trace().meta
    if meta.get("active_params") is None:
        return []
    lora = placement.setting.recipe.has_adapters
    adapters = meta.get("adapter_params", meta["trainable_params"]) if lora else 0
    active, whole = (
        format_count(meta[name] - adapters) for name in ("active_params", "total_params")
    )
    text = f"active {active} of {whole} parameters: what one token runs through"
    return [FirstLine("model", text)]


def _subject(problem: Problem, counted_parameters: int | None) -> list[FirstLine]:
    """The model, its task, and how much data there is. ``counted_parameters``: for a model whose
    facts do not say."""
    facts, data = problem.facts, problem.data
    parameters = facts.parameters or counted_parameters
    size = f"{format_count(parameters)} parameters" if parameters else ""
    above = [line for line in problem.first_lines if not line.warning]
    named = any(facts.name in line.text and size in line.text for line in above)
    task = (problem.question.task or facts.task).replace("_", " ")
    said = {line.topic for line in above}
    counted = any(
        line.topic == "data" and line.text.startswith(f"{data.samples:,} ")
        for line in problem.first_lines
    )
    trained = "" if "task" in said else f", trained for {task}"
    lines = []
    if trained or not named:
        of = f" of {size}" if size else ""
        lines.append(FirstLine("model", f"{facts.name}{of}{trained}"))
    tokens = ""
    if data.mean_length is not None and data.modality == "text":
        pairs = data.tokens if data.halves else None
        total = format_count(pairs or data.mean_length * data.samples)
        tokens = f" of {data.mean_length:,.0f} tokens on average, {total} in all"
    text = f"data: {data.samples:,} samples{tokens}"
    return lines + ([] if "data" in said or counted else [FirstLine("data", text)])


def _run(problem: Problem, placement: Placement, run: Run) -> str:
    """Epochs, steps, the global batch as it comes about, tokens and the start."""
    variant, setting, step = placement.variant, placement.setting, placement.setting.step
    batches = setting.batches
    packed = variant.choices.padding == "packed" and batches.longest_length is not None
    what = f"sequences of {batches.longest_length:,} tokens" if packed else "samples"
    parts = [f"micro-batch {step.micro_batch:,}"]
    parts += [f"{step.accumulation:,} accumulated"] if step.accumulation > 1 else []
    parts += devices_in_words(step.parallel)
    epochs = f"{run.epochs:.3g} epoch{'' if run.epochs == 1 else 's'}"
    if variant.name == CACHED:
        trained = "the denoiser" if _paints(variant.facts) else "the head"
        epochs = f"one pass for the features and {run.epochs - 1:.3g} epochs of {trained}"
    what = what.removesuffix("s") if step.samples == 1 and what == "samples" else what
    steps = f"{run.steps:,} step{'' if run.steps == 1 else 's'}"
    text = f"{variant.strategy}: {epochs}, {steps} of {step.samples:,} {what}"
    text += f" ({' × '.join(parts)})" if len(parts) > 1 else ""
    tokens = tokens_per_epoch(placement)
    if problem.reads_frames:  # lengths of CTC are frames of the encoder, which nobody calls tokens
        tokens = None
    if tokens is not None and variant.name not in (CACHED, GRADUAL):
        each, all_of_them = format_count(tokens), format_count(tokens * run.epochs)
        text += f"; {each} tokens an epoch, {all_of_them} in all"
    if run.evaluations and run.evaluated is not None and run.evaluated.samples:
        text += f"; {_evaluated(run, run.evaluated)}"
    elif not run.evaluations and variant.choices.practice.evaluation_steps:
        text += "; no evaluation falls within it"
    text += "".join(
        f"; {words} {format_seconds(hours * SECONDS_PER_HOUR)}, "
        f"{_share(hours / max(run.wall_hours.p50, hours))} of the run"
        for name, words in OF_OBJECTIVES.items()
        if (hours := run.parts_hours.get(name))
    )
    start = format_seconds(run.parts_hours["start_up"] * SECONDS_PER_HOUR)
    return f"{text}; {start} to start"


def _evaluated(run: Run, one: Evaluated) -> str:
    """How often, on how much, what it writes, and what it takes of the run."""
    times = f"{run.evaluations:,.3g} time{'' if run.evaluations == 1 else 's'}"
    held_out = f"{one.samples:,} sample{'' if one.samples == 1 else 's'}"
    text = f"evaluated {times} on {held_out}"
    text += f" in batches of {one.batch:,}" if one.batches > 1 else ""
    if one.tokens is not None and one.beams is not None:
        beams = f"{one.beams} beam{'' if one.beams == 1 else 's'}"
        text += f", writing up to {one.tokens:,.0f} tokens each with {beams}"
    hours = run.parts_hours["evaluation"]
    share = hours / max(run.wall_hours.p50, hours)
    return f"{text}: {format_seconds(hours * SECONDS_PER_HOUR)}, {_share(share)} of the run"


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= LEAST_SHARE else f"less than {LEAST_SHARE:.0%}"


def tokens_per_epoch(placement: Placement) -> float | None:
    """Real tokens of an epoch, padding left out, targets included; None where there are none."""
    batches = placement.setting.batches
    if batches.tokens_per_epoch is None:
        return None
    return batches.tokens_per_epoch + (batches.target_tokens_per_epoch or 0.0)


def _not_as_asked(question: Question, placement: Placement, run: Run) -> list[FirstLine]:
    """What the question says and this run cannot keep."""
    found = [
        _steps_over_epochs(question, placement, run),
        _larger_step(question, placement),
        _no_checkpointing(question, placement),
        _no_evaluation(question, run),
        _no_text(question, run),
        _more_than_steps(question, run),
        _more_than_data(question, placement, run),
    ]
    lines = [FirstLine("run", text, warning=True) for text in found if text]
    short = _fewer_than_a_step(placement)
    return lines + ([FirstLine("run", short)] if short else [])


def _fewer_than_a_step(placement: Placement) -> str:
    """Every device takes whole micro-batches, of whatever data."""
    step, batches = placement.setting.step, placement.setting.batches
    if step.samples <= batches.samples_per_epoch:
        return ""
    return (
        f"the data fills no step: {batches.samples_per_epoch:,} of {step.samples:,} samples, and "
        "every step is counted as a full one"
    )


def _steps_over_epochs(question: Question, placement: Placement, run: Run) -> str:
    if question.max_steps is None or question.epochs is None:
        return ""
    each = sum(map(steps_of_an_epoch, placement.settings)) / len(placement.settings)
    asked = max(1, math.ceil(each * question.epochs))
    if placement.variant.name == CACHED or abs(asked - run.steps) <= SAME * asked:
        return ""
    return (
        f"{FieldName('max_steps')} {question.max_steps:,} ends the run, after {run.epochs:.3g} "
        f"epochs: {FieldName('epochs')} {question.epochs:g} would be {asked:,} steps"
    )


def _larger_step(question: Question, placement: Placement) -> str:
    """Every device takes whole micro-batches: a step may be larger than the asked batch."""
    step, asked = placement.setting.step, question.global_batch
    if asked is None or step.samples <= asked:
        return ""
    return (
        f"{FieldName('global_batch')} {asked:,} is no whole number of micro-batches on "
        f"{step.parallel.devices:,} GPU{'s' if step.parallel.devices > 1 else ''}: a step takes "
        f"{step.samples:,} samples"
    )


def _paints(facts: ModelFacts) -> bool:
    """Whether a whole denoiser trains on what is cached, not a head."""
    return facts.task == TASK


def _no_checkpointing(question: Question, placement: Placement) -> str:
    """No backward pass goes through what made the features."""
    asked = question.gradient_checkpointing
    trained = placement.variant
    if asked in ("auto", "none") or trained.name != CACHED or _paints(trained.facts):
        return ""
    return (
        f"{FieldName('gradient_checkpointing')} {asked} has no effect: no backward pass goes "
        f"through the model whose features are cached ({FieldName('cached_features')})"
    )


def _no_text(question: Question, run: Run) -> str:
    """What is asked of text that no evaluation writes."""
    asked = [name for name in ("generated_tokens", "beams") if getattr(question, name) is not None]
    if not asked or not run.evaluations or (run.evaluated and run.evaluated.tokens is not None):
        return ""
    return (
        f"{FieldName(*asked)} has no effect: no evaluation writes text "
        f"({FieldName('evaluation_generates')} does)"
    )


def _more_than_steps(question: Question, run: Run) -> str:
    """Nothing is evaluated or saved between two steps."""
    asked = {
        name: value
        for name in ("evaluations_per_epoch", "saves_per_epoch")
        if (value := getattr(question, name)) is not None and value * run.epochs > run.steps + 1
    }
    return (
        f"{FieldName(*asked)} asks for more than the {run.steps:,} steps of the run: once a step"
        if asked
        else ""
    )


def _more_than_data(question: Question, placement: Placement, run: Run) -> str:
    """A slip in a number of samples makes evaluation the run."""
    one, held = run.evaluated, placement.setting.batches.samples_per_epoch
    if question.evaluation_samples is None or one is None or one.samples <= held:
        return ""
    return (
        f"{FieldName('evaluation_samples')} {one.samples:,} is more than the {held:,} samples that "
        "are trained on"
    )


def _no_evaluation(question: Question, run: Run) -> str:
    if not question.evaluation_samples or run.evaluations:
        return ""
    why = "nothing is evaluated" if question.evaluations_per_epoch == 0 else "the run is too short"
    return (
        f"{FieldName('evaluation_samples')} {question.evaluation_samples:,} has no effect: {why} "
        f"({FieldName('evaluations_per_epoch')} evaluates)"
    )
