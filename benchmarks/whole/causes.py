"""To what a miss is due, by evidence: rules over what the report states and what the answer is made
of. A rule gives its evidence in words or nothing; where none does, the miss is open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.whole.outcome import Outcome

#: Before these months transformers trained with eager attention unless told otherwise: SDPA became
#: the default of Llama and its kin with 4.36, of BERT with 4.41 (huggingface/transformers, release
#: notes of v4.36.0 and v4.41.0). T5 had none by then.
SDPA_SINCE = {"language model": "2023-12", "text encoder": "2024-05"}
#: Devices without the tensor cores that the fused attention kernels of FlashAttention-2 need
#: (compute capability under 8.0: Dao-AILab/flash-attention README).
NO_FLASH = ("T4", "V100", "RTX 2080", "TITAN", "P100", "GTX")
#: Shortest length from which attention is worth naming as the cause.
LONG = 512
#: A step this short waits for the host's own work.
SHORT_STEP_SECONDS = 0.15
#: The least share of a miss, in logarithms, that the step alone must show to be its cause.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Cause:
    """A kind of cause and the evidence for it."""

    name: str
    evidence: str


def causes(outcome: Outcome) -> list[Cause]:
    """What a miss is due to, the strongest evidence first; nothing where the report is met, an open
    cause where no rule speaks."""
    hours = outcome.hours
    if hours is None or hours.met:
        return []
    found = [
        Cause(name, evidence)
        for name, rule in RULES
        if (evidence := rule(outcome, hours.error < 0)) is not None
    ]
    return found or [Cause("open", "no rule speaks")]


def _the_report(outcome: Outcome, low: bool) -> str | None:
    found = outcome.report.says(
        r"upper bound|may refer|may have used|disagree|contradict|midpoint|scaled from|not stated"
    )
    if found:
        return f"its notes say {found[0]!r}"
    return "trust L: settings partly unknown" if outcome.report["trust"] == "L" else None


def _the_step(outcome: Outcome, low: bool) -> str | None:
    """The step as reported against ours: the share of the miss that it shows."""
    theirs = outcome.reported_step_seconds
    if theirs is None or outcome.answer is None or outcome.hours is None:
        return None
    if _evaluates(outcome) and outcome.steps_fill_the_hours:
        return None  # a pass over the hours, evaluation and all, is no step
    ours = outcome.answer.step_seconds
    share = math.log(ours / theirs) / outcome.hours.log_ratio
    if share < LEAST_SHARE:
        return None
    return f"our step {ours:.3g} s, reported {theirs:.3g} s{_heaviest(outcome)}"


def _heaviest(outcome: Outcome) -> str:
    step = outcome.answer.step if outcome.answer else None
    kinds = sorted((step or {}).get("by_kind", {}).items(), key=lambda kind: -kind[1])[:3]
    total = sum((step or {}).get("by_kind", {}).values())
    return f" (ours: {', '.join(f'{k} {v / total:.0%}' for k, v in kinds)})" if total else ""


def _kernels(outcome: Outcome, low: bool) -> str | None:
    """Software of the day, or other kernels than ours."""
    report, said = outcome.report, []
    length = outcome.asked.fields.get("max_length") or 0
    if report.says(r"int8 base"):
        said.append("LLM.int8: outliers are multiplied apart in 16 bits")
    if report.says(r"Unsloth kernels"):
        said.append("Unsloth's kernels")
    if report.says(r"Liger"):
        said.append("Liger kernels")
    if _eager_by_default(outcome) and length >= LONG:
        said.append("eager attention: before SDPA was the default")
    elif length >= LONG and any(name in report["gpu"] for name in NO_FLASH):
        said.append("no flash attention on this device")
    return "; ".join(said) or None


def _eager_by_default(outcome: Outcome) -> bool:
    report = outcome.report
    stated = report.says(r"flash attention|SDPA|eager attention|Unsloth")
    since = SDPA_SINCE.get(outcome.asked.modality, "")
    return bool(report["date"] and report["date"][:7] < since and not stated)


def _evaluation(outcome: Outcome, low: bool) -> str | None:
    found = _evaluates(outcome)
    if not low or found is None:
        return None
    ours = (outcome.answer.parts or {}).get("evaluation", 0.0) if outcome.answer else 0.0
    return f"{found}; ours {_share(outcome, ours)}"


def _evaluates(outcome: Outcome) -> str | None:
    """What the report says of evaluation inside its hours."""
    found = outcome.report.says(r"[^;|]*\bevaluation\b[^;|]*|includes generation")
    if found is None or outcome.report.says("no evaluation"):
        return None
    return found[0].strip()


def _loading(outcome: Outcome, low: bool) -> str | None:
    if not low or outcome.asked.modality not in ("image", "speech"):
        return None
    if outcome.report.says(r"no loading bottleneck|loader in memory"):
        return None
    found = outcome.report.says(r"augmentation on CPU")
    return found[0] if found else "samples are decoded and augmented by the host"


def _start_up(outcome: Outcome, low: bool) -> str | None:
    if not low or not outcome.report.says(r"start-up|job time"):
        return None
    ours = (outcome.answer.parts or {}).get("start_up", 0.0) if outcome.answer else 0.0
    return f"a job's time with its start; ours {_share(outcome, ours)}"


def _trainer(outcome: Outcome, low: bool) -> str | None:
    step = outcome.answer.step if outcome.answer else None
    if not low or not step:
        return None
    seconds = step["seconds"]["p50"] / max(1, step["gradient_accumulation"])
    if step.get("bound_by") == "host" or seconds < SHORT_STEP_SECONDS:
        return f"a micro-step of {seconds * 1000:.0f} ms, {step.get('bound_by')}-bound"
    return None


def _devices(outcome: Outcome, low: bool) -> str | None:
    gpus = outcome.report.gpus
    sharded = any("sharded" in text for text in outcome.asked.assumed)
    return f"{gpus} devices{', state sharded' if sharded else ''}" if gpus > 1 else None


def _question(outcome: Outcome, low: bool) -> str | None:
    said = [text for text in outcome.asked.assumed if not text.startswith("sizes: ")]
    return "; ".join(said) or None


def _share(outcome: Outcome, hours: float) -> str:
    theirs = outcome.report.hours or 0.0
    return f"{hours:.3g} h of their {theirs:.3g} h"


#: In the order of how much they prove.
RULES: tuple[tuple[str, Callable[[Outcome, bool], str | None]], ...] = (
    ("the report itself", _the_report),
    ("step", _the_step),
    ("software of its day", _kernels),
    ("several devices", _devices),
    ("evaluation", _evaluation),
    ("data loading", _loading),
    ("saving, start-up", _start_up),
    ("trainer's overhead", _trainer),
    ("question", _question),
)
