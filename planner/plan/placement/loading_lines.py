"""The first lines on what a recording found: what a model asks of its data; and of weights that are
loaded in few bits, what is done to the rest of them and what the loader leaves as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from planner import units
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.quantization.stored import Quantization
from planner.plan.inputs.defaults import quantised
from planner.plan.inputs.problem import Problem
from planner.plan.inputs.written import preparation
from planner.plan.steps.setting import Setting
from planner.question.training_setting import LORA

#: Places of a model's code that a line names; the others are many of a kind.
MOST_NAMED = 3


def say_how_it_is_loaded(problem: Problem, strategy: str, setting: Setting) -> None:
    """Add to the problem's first lines, each subject once however many devices are asked."""
    problem.first_lines += _made_up(problem, setting)
    if strategy not in LORA:
        return
    problem.first_lines += _unmatched(problem, strategy, setting)
    stored = quantised(problem.question, setting.source.facts, strategy)
    if stored is None:
        return
    said = {line.text.partition(",")[0] for line in problem.first_lines}
    problem.first_lines += [
        line
        for line in _lines(problem, strategy, setting, stored)
        if line.text.partition(",")[0] not in said
    ]


def _made_up(problem: Problem, setting: Setting) -> list[FirstLine]:
    """What the model's own code asks of its data, which made-up values answered."""
    asked = setting.longest_trace().meta.get("asked_of_data")
    if not asked:
        return []
    listed = ", ".join(asked[:MOST_NAMED]) + (", …" if len(asked) > MOST_NAMED else "")
    text = (
        f"its code asks its data ({listed}): recorded with made-up values (random weights, one "
        "random sample repeated); other values may take another way or other sizes"
    )
    line = FirstLine("model", text, warning=True)
    return [] if line in problem.first_lines else [line]


def _unmatched(problem: Problem, strategy: str, setting: Setting) -> list[FirstLine]:
    lost = setting.longest_trace().meta.get("unmatched_targets")
    if not lost:
        return []
    text = (
        f"{strategy}: {problem.facts.name} has no module called {', '.join(lost)}: PEFT leaves "
        f"that out of {FieldName('lora_targets')} and adapts the others"
    )
    line = FirstLine("recipe", text, warning=True)
    return [] if line in problem.first_lines else [line]


def _lines(
    problem: Problem, strategy: str, setting: Setting, stored: Quantization
) -> Iterator[FirstLine]:
    if stored.upcast:
        own = stored is setting.source.facts.quantization
        subject = f"{'adapters' if own else strategy} over {stored.words}"
        yield FirstLine("recipe", _preparation(subject, preparation(problem.question)))
    meta = setting.longest_trace().meta
    if meta.get("kept_wide_bytes"):
        prepared = stored.upcast and preparation(problem.question) == "peft"
        text = _kept(strategy, setting, stored, meta)
        if prepared:
            field = FieldName("kbit_preparation")
            text += f"; they are made float32 here, {field} none leaves them in 16 bits"
        yield FirstLine("model", text, warning=True)


def _preparation(subject: str, chosen: str) -> str:
    field = FieldName("kbit_preparation")
    if chosen == "none":
        return (
            f"{subject} weights, the rest left in 16 bits ({field} none: own "
            "loaders, unsloth, LLaMA-Factory, TRL since 2026)"
        )
    return (
        f"{subject} weights, everything else made float32 and the blocks "
        f"checkpointed, as PEFT's prepare_model_for_kbit_training does (axolotl, TRL until 2025); "
        f"{field} none leaves it in 16 bits and needs less memory"
    )


def _kept(strategy: str, setting: Setting, stored: Quantization, meta: Mapping[str, Any]) -> str:
    """Both figures: of the installed loader, and of one that converts every layer."""
    wide, small = meta["kept_wide_bytes"], meta["kept_stored_bytes"]
    version = meta.get("versions", {}).get("transformers", "")
    line = (
        f"{strategy} with transformers {version}, which converts no experts and no layer of a "
        f"class of its own to {stored.words}: {units.format_bytes(wide)} of its weights stay as "
        "they are, elsewhere (own loaders, transformers before 5) they take "
        f"{units.format_bytes(small)}"
    )
    if setting.memory is None:
        return line
    used = setting.memory.device_used_bytes.p50
    return (
        f"{line}; {units.format_bytes(used)} on the card in all, about "
        f"{units.format_bytes(used - wide + small)} so: {FieldName('quantised_layers')} all "
        "prices it"
    )
