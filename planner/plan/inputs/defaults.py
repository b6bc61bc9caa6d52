"""What the question leaves open, chosen as a practitioner would, from rows with sources; every
choice is printed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

from planner import tables
from planner.datasets.profile import DatasetProfile, percentiles
from planner.devices.specification import DeviceSpec
from planner.errors import ProfileError
from planner.models.facts import ModelFacts
from planner.question import Question
from planner.question.setup import TracedSettings, asked_values
from planner.training.recipe import Recipe, recipe_of


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
    notes: tuple[str, ...] = ()

    def with_checkpointing(self, policy: str) -> Recipe:
        return replace(self.recipe, gradient_checkpointing=policy)


@cache
def default(key: str, *scopes: str) -> tuple[float, str]:
    """(value, source) of the first row that matches: a strategy, a task, any. Raises ProfileError
    when there is none."""
    rows = [row for row in tables.rows("defaults", "training.csv") if row["key"] == key]
    for scope in (*scopes, "any"):
        for row in rows:
            if row["scope"] == scope:
                return float(row["value"]), row["source"]
    raise ProfileError(f"no default for {key}", where="profiles/defaults/training.csv")


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
    task = question.task or facts.task
    precision = question.precision or default_precision(facts, task, strategy, spec)
    spec.check_trainable(precision)
    asked = asked_values(question)
    settled = TracedSettings(
        **asked
        | {
            "strategy": strategy,
            "task": task,
            "precision": precision,
            "optimizer": asked["optimizer"] or "adamw",
            "gradient_checkpointing": "none",
            "classes": question.classes or data.classes,
            "audio_samples": _audio_samples(facts, data, task),
            "unfrozen_blocks": _unfrozen(question, facts),
            "variant": variant,
        }
    )
    recipe = recipe_of(settled, facts.image_size)
    batch = question.global_batch or _unasked_batch(question, strategy, task)
    epochs = question.epochs or default("epochs", strategy, task)[0]
    return TrainingChoices(
        recipe=recipe,
        checkpointing=_checkpointing(question, facts, strategy, variant),
        global_batch=min(batch, max(1, data.samples, question.micro_batch or 1)),
        epochs=epochs,
        max_length=default_length(question, facts, data),
        padding=question.padding,
    )


def default_precision(facts: ModelFacts, task: str, strategy: str, spec: DeviceSpec) -> str:
    """Decoders published in 16 bits are tuned in pure bf16; everything else in mixed precision over
    float32 weights. A device without bf16 gets fp16: mixed for what trains fully, pure under
    adapters."""
    bf16 = spec.supports("bf16")
    if strategy == "qlora" or (
        task == "causal_lm"
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
    within a quarter of that), rounded up to a multiple of 64; never more than the model takes."""
    if data.lengths is None:
        return None
    limit = facts.max_length or math.inf
    if question.max_length:
        return int(min(question.max_length, limit))
    longest, p99 = (
        float(data.lengths.max()),
        percentiles(data.lengths, (default("kept_whole")[0],))[0],
    )
    wanted = longest if longest <= default("whole_length_ratio")[0] * p99 else p99
    if len(data.lengths) > 1:
        step = default("length_step")[0]
        wanted = math.ceil(wanted / step) * step
    return int(max(1, min(wanted, limit)))


def _unasked_batch(question: Question, strategy: str, task: str) -> int:
    """With a micro-batch of the user's own, one of it on each device and no accumulation, as
    trainers do; else the recipe's."""
    if question.micro_batch:
        return question.micro_batch * question.gpus
    return int(default("global_batch", strategy, task)[0])


def _audio_samples(facts: ModelFacts, data: DatasetProfile, task: str) -> int | None:
    """A raw waveform's length: the 99th percentile of the data's seconds at the default sampling
    rate, or a default clip where only counts are given."""
    if facts.modality != "audio" or task != "audio_classification":
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
    return ("none",) if strategy == "feature_extraction" else ("none", "full")
