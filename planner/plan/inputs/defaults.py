"""What the question leaves open, chosen as a practitioner would, from rows with sources; every
choice is printed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.datasets.profile import DatasetProfile, percentiles
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.models.pipelines import TASK, pipeline_of
from planner.models.quantization.stored import FOUR_BITS, LOADED, Quantization
from planner.models.quantization.words import refusal
from planner.plan.adapters.asked import check_adapter, checkpointing, sizes, text_left
from planner.plan.adapters.said import adapter_lines
from planner.plan.around.asked import around_lines, check_around
from planner.plan.around.offloaded import shares_the_host
from planner.plan.inputs.families.images import seen_by_recipe
from planner.plan.inputs.of_its_day import OfItsDay, of_its_day
from planner.plan.inputs.practice import Practice
from planner.plan.inputs.rows import default
from planner.plan.inputs.written import (
    cast_adapters,
    check_attention,
    check_batch,
    check_float8,
    check_objective,
    check_optimizer,
    check_padding,
    check_strategy,
    kernel_settings,
    preparation,
    software_lines,
)
from planner.plan.objectives.asked import traced
from planner.plan.objectives.groups import prompt_room
from planner.plan.objectives.practised import own_length, practised
from planner.question import Question
from planner.question.settings import in_recipe_words
from planner.question.setup import TracedSettings, asked_values
from planner.question.training_setting import LORA, WRITING
from planner.training.recipe import Recipe, recipe_of
from planner.training.strategies.lora import HALF


@dataclass(frozen=True)
class TrainingChoices:
    """One strategy's training choices, settled but for the micro-batch and (when ``auto``) gradient
    checkpointing."""

    recipe: Recipe
    checkpointing: tuple[str, ...]  # in the order of preference
    global_batch: int
    epochs: float
    max_length: int | None
    padding: str
    practice: Practice
    group_by_length: bool = False  # records of about one length in a batch
    micro_batch: int | None = None  # the asked one
    strategy: str = ""  # as asked; a recipe has scratch as fine_tune
    steps: int | None = None  # where given, they end the run and not the epochs
    is_evaluated: bool = True
    target_max_length: int | None = None  # of an encoder-decoder's targets, where none is asked
    first_lines: tuple[FirstLine, ...] = ()
    notes: tuple[str, ...] = ()

    def evaluations(self, steps: int, epochs: float) -> float:
        """Evaluations of a run of so many steps and epochs."""
        return self.practice.evaluations(steps, epochs) if self.is_evaluated else 0.0

    def with_checkpointing(self, policy: str) -> Recipe:
        return replace(self.recipe, gradient_checkpointing=policy)


def choose(
    question: Question,
    facts: ModelFacts,
    data: DatasetProfile,
    strategy: str,
    spec: DeviceSpec,
    variant: str | None = None,
) -> TrainingChoices:
    """Settle everything that the question leaves open for one strategy on one device. Raises
    QuestionError when the device does not run the precision."""
    _check_weights(question, facts, strategy)
    task = question.task or facts.task
    if variant is None:
        check_strategy(facts, task, strategy)
        check_objective(question, facts, strategy)
        check_adapter(question, facts, strategy, quantised(question, facts, strategy))
    precision = question.precision or default_precision(facts, task, strategy, spec)
    spec.check_trainable(precision)
    day = of_its_day(question, facts)
    check_float8(question, strategy, spec)
    check_optimizer(question, day.optimizer)
    check_around(question, facts, spec, day.optimizer, precision)
    check_padding(question, facts)
    check_attention(question, facts)
    settled = _settled(question, facts, data, strategy, precision, day, variant)
    recipe = recipe_of(settled, facts.image_size)
    policies = _checkpointing(question, facts, strategy, variant)
    made = practised(question, facts, data, strategy, task)
    batch, micro_batch, capped = _capped(question, data, made)
    length = made.length or default_length(question, facts, data)
    packed = (question.padding or ("packed" if made.packed else "longest")) == "packed"
    if recipe.updates_once and micro_batch and not shares_the_host(question):
        check_batch(question, day.optimizer, batch, micro_batch)
    return TrainingChoices(
        recipe=recipe,
        checkpointing=checkpointing(question, strategy, policies),
        global_batch=batch,
        micro_batch=micro_batch,
        epochs=made.epochs,
        max_length=text_left(question, facts, strategy, length),
        target_max_length=default_target_length(question, facts, data),
        padding=question.padding or ("packed" if made.packed else "longest"),
        is_evaluated=question.objective not in WRITING,
        practice=made,
        group_by_length=_is_grouped(question, made),
        strategy=strategy,
        steps=made.steps,
        first_lines=(
            *made.lines,
            *capped,
            *_beyond_the_model(question, facts),
            *_wide_anyway(question, facts, recipe, strategy),
            *_of_spread(question, facts, data, made),
            *software_lines(question, facts, day.optimizer, strategy),
            *around_lines(question, spec, recipe),
            *adapter_lines(question, facts, strategy, length=length, packed=packed),
        ),
    )


def _settled(
    question: Question,
    facts: ModelFacts,
    data: DatasetProfile,
    strategy: str,
    precision: str,
    day: OfItsDay,
    variant: str | None,
) -> TracedSettings:
    """All that changes the operations of a step."""
    task = question.task or facts.task
    return TracedSettings(
        **asked_values(question)
        | {
            "strategy": strategy,
            "task": task,
            "precision": precision,
            "gradient_checkpointing": "none",
            "classes": question.classes or data.classes,
            "audio_samples": _audio_samples(facts, data, task),
            **seen_by_recipe(question, facts, data, task),
            "negatives": (data.negatives if question.negatives is None else question.negatives)
            or None,
            "prior_preservation": question.prior_preservation or None,
            "unfrozen_blocks": _unfrozen(question, facts),
            "variant": variant,
        }
        | traced(question)
        | kernel_settings(question, facts)
        | _adapters(question, facts, task)
        | sizes(question, strategy)
        | in_recipe_words({"attention": day.attention, "optimizer": day.optimizer})
        | _loading(question, facts, strategy, day)
    )


def _adapters(question: Question, facts: ModelFacts, task: str) -> dict[str, Any]:
    """The adapters' rank and places that a denoiser's scripts take where none are asked."""
    if task != TASK:
        return {}
    own = {
        "lora_rank": int(default("lora_rank", task)[0]),
        "lora_targets": pipeline_of(facts.config or {}, facts.name).lora_targets,
    }
    return {name: value for name, value in own.items() if name not in question.model_fields_set}


def _is_grouped(question: Question, made: Practice) -> bool:
    """Batches that are filled or packed are all of one length."""
    return bool(question.group_by_length) and not (made.packed or question.padding == "max")


def _check_weights(question: Question, facts: ModelFacts, strategy: str) -> None:
    """Raises StoredWeightsError where the strategy trains weights that are stored quantised, and
    QuestionError where none of those asked for can load them in fewer bits."""
    if question.load_in and question.strategy and not set(question.strategy) & set(LORA):
        raise QuestionError(
            f"{', '.join(question.strategy)} trains no adapters over weights in {question.load_in}",
            where=FieldName("load_in"),
            mend=f"Ask for {FieldName('strategy')} {' or '.join(LORA)}",
        )
    refused = refusal(facts.name, facts.quantization, strategy) if facts.quantization else None
    if refused is not None:
        raise refused


def quantised(question: Question, facts: ModelFacts, strategy: str) -> Quantization | None:
    """How the weights under a strategy's adapters are stored: as the checkpoint has them, or as
    they are asked to be loaded; None for plain weights."""
    if facts.quantization is not None and facts.quantization.known:
        return facts.quantization
    if strategy not in LORA:
        return None
    loaded = question.load_in or ("4bit" if strategy == "qlora" else None)
    return LOADED[loaded] if loaded else None


def _loading(question: Question, facts: ModelFacts, strategy: str, day: OfItsDay) -> dict[str, Any]:
    """The settings of weights in few bits, where there are such."""
    stored = quantised(question, facts, strategy)
    if stored is None or strategy not in LORA:
        alone = cast_adapters(question, stored) if strategy in LORA else {}
        return {"load_in": None, "kbit_preparation": None, "quantised_layers": None, **alone}
    own = stored is facts.quantization
    return {
        # adapters over a quantised checkpoint are one thing, whichever strategy asks for them
        "strategy": "lora" if own else strategy,
        "load_in": None if own else question.load_in,
        "kbit_preparation": preparation(question) if stored.upcast else None,
        "quantised_layers": question.quantised_layers,
        "quantised_inputs": day.quantised_inputs if stored.method == FOUR_BITS else None,
        **cast_adapters(question, stored),
    }


def default_precision(facts: ModelFacts, task: str, strategy: str, spec: DeviceSpec) -> str:
    """Decoders published in 16 bits are tuned in pure bf16; everything else in mixed precision over
    float32 weights. A device without bf16 gets fp16: mixed for what trains fully, pure under
    adapters."""
    bf16 = spec.supports("bf16")
    if strategy == "qlora" or (
        task in ("causal_lm", "image_text_to_text")
        and strategy != "scratch"
        and facts.weights_dtype in ("bfloat16", "float16")
    ):
        if bf16:
            return "bf16"
        return "fp16" if strategy in ("qlora", "lora", "feature_extraction") else "amp_fp16"
    if bf16:
        return "amp_bf16"
    return "amp_fp16" if spec.supports("fp16") else "fp32"


def default_length(question: Question, facts: ModelFacts, data: DatasetProfile) -> int | None:
    """The asked length, else what keeps 99 % of the samples whole (all of them where the longest is
    within a quarter of that), rounded up to a multiple of 64; never more than the model, or an
    objective's trainer by itself, takes."""
    if data.lengths is None:
        return None
    room = prompt_room(question, facts)
    limit = (facts.max_length or math.inf) if room is None else room
    if question.max_length:
        return int(min(question.max_length, limit))
    own = own_length(question)
    return _keeping(data.lengths, limit if own is None else min(limit, own))


def default_target_length(
    question: Question, facts: ModelFacts, data: DatasetProfile
) -> int | None:
    """The same of an encoder-decoder's targets, which may be longer than its inputs; None where a
    length is asked, which then holds for both."""
    if question.max_length or data.target_lengths is None:
        return None
    return _keeping(data.target_lengths, facts.max_length or math.inf)


def _keeping(lengths: np.ndarray, limit: float) -> int:
    longest, p99 = (float(lengths.max()), percentiles(lengths, (default("kept_whole")[0],))[0])
    wanted = longest if longest <= default("whole_length_ratio")[0] * p99 else p99
    if len(lengths) > 1:
        step = default("length_step")[0]
        wanted = math.ceil(wanted / step) * step
    return int(max(1, min(wanted, limit)))


def _beyond_the_model(question: Question, facts: ModelFacts) -> tuple[FirstLine, ...]:
    """A length that is asked and the model does not have."""
    asked, most = question.max_length, facts.max_length
    if asked is None or most is None or asked <= most:
        return ()
    text = (
        f"{FieldName('max_length')} {asked:,} is more than {facts.name} takes: its {most:,} tokens "
        "are the length"
    )
    return (FirstLine("run", text, warning=True),)


def _wide_anyway(
    question: Question, facts: ModelFacts, recipe: Recipe, strategy: str
) -> tuple[FirstLine, ...]:
    """Adapters that are asked for in the weights' own format, which is no narrower."""
    if recipe.adapter_precision is None or recipe.precision in HALF or strategy not in LORA:
        return ()
    stored = quantised(question, facts, strategy)
    prepared = stored is not None and stored.upcast and preparation(question) == "peft"
    more = f"{FieldName('kbit_preparation')} none with " if prepared else ""
    text = (
        f"{FieldName('adapter_precision')} {recipe.adapter_precision} has no effect on {strategy}: "
        f"under {recipe.precision} what is not stored in few bits is float32; "
        f"{more}{FieldName('precision')} {' or '.join(HALF)} changes it"
    )
    return (FirstLine("run", text, warning=True),)


def _of_spread(
    question: Question, facts: ModelFacts, data: DatasetProfile, made: Practice
) -> tuple[FirstLine, ...]:
    """How lengths spread of which only the mean is given, and the longest that memory is of."""
    length = default_length(question, facts, data)
    if data.longest_input is None or data.spread is None or length is None or made.packed:
        return ()
    text = (
        f"lengths spread as {data.spread.sigma_log:.2g} (standard deviation of their logarithm, "
        f"{data.spread.source}), the longest taken as "
        f"{math.ceil(min(length, data.longest_input)):,} tokens: "
        f"{FieldName('max_length', 'length_spread')} change it"
    )
    return (FirstLine("data", text),)


def _capped(
    question: Question, data: DatasetProfile, made: Practice
) -> tuple[int, int | None, tuple[FirstLine, ...]]:
    """(global batch, micro-batch, what is said): no step takes more than all samples."""
    batch, micro_batch, lines = made.global_batch, question.micro_batch, []
    most, what = max(1, data.samples), "samples"
    length = made.length or question.max_length
    if made.packed and length is not None and data.mean_length is not None:
        most = max(1, math.ceil(data.mean_length * data.samples / length))
        what = f"sequences of {length:,} tokens"
    for name, asked in (("global_batch", batch), ("micro_batch", micro_batch or 0)):
        if asked > most and getattr(question, name) is not None:
            text = f"{FieldName(name)} {asked:,} is more than the data: {most:,} {what} are taken"
            lines.append(FirstLine("run", text, warning=True))
    return min(batch, most), micro_batch and min(micro_batch, most), tuple(lines)


def _audio_samples(facts: ModelFacts, data: DatasetProfile, task: str) -> int | None:
    """A raw waveform's length: the 99th percentile of the data's seconds at the default sampling
    rate, or a default clip where only counts are given."""
    if facts.modality != "audio" or task not in ("audio_classification", "custom"):
        return None
    rate = int(default("audio_samples_per_second")[0])
    if data.audio_seconds is not None:
        step = default("clip_step_seconds")[0]
        seconds = percentiles(data.audio_seconds, (99,))[0]
        # a mean that hours were divided into is no round number: half of a hundredth is no step
        return max(1, math.ceil(seconds / step - 0.05)) * round(step * rate)
    if data.lengths is not None:
        return int(data.lengths.max())
    return int(default("clip_seconds")[0] * rate)


def _unfrozen(question: Question, facts: ModelFacts) -> int:
    if question.unfrozen_blocks is not None:
        return question.unfrozen_blocks
    return max(1, round(default("unfrozen_share")[0] * (facts.blocks or 1)))


def _checkpointing(
    question: Question, facts: ModelFacts, strategy: str, variant: str | None
) -> tuple[str, ...]:
    if variant is not None or facts.library == "factory":
        return (
            ("none",)
            if question.gradient_checkpointing == "auto" or variant is not None
            else (question.gradient_checkpointing,)
        )
    if question.gradient_checkpointing != "auto":
        return (question.gradient_checkpointing,)
    if strategy == "feature_extraction":
        return ("none",)
    stored = quantised(question, facts, strategy)
    if stored is not None and question.kbit_preparation == "peft":
        return ("full",)  # PEFT's prepare_model_for_kbit_training switches it on
    return ("none", "full")
