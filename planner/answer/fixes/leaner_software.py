"""Software that would make a run fit: a loss whose logits are never whole, updates inside the
backward pass. Whether one is worth a trial follows by arithmetic from what is short.
"""

from __future__ import annotations

from typing import Any

from planner.errors import FieldName
from planner.plan.inputs.problem import Problem
from planner.plan.options import Option
from planner.question.training_setting import SUPERVISED

#: Bytes an element of logits at the most: float32 logits, their logarithms and gradients.
LOGIT_BYTES = 3 * 4


def loss_in_chunks(problem: Problem, option: Option, short: float) -> tuple[str, dict[str, Any]]:
    """(in words, as an update) the loss in chunks, where logits are as much as is ``short`` (bytes,
    at micro-batch 1); empty where it would not do."""
    recipe, vocabulary = option.setting.recipe, problem.facts.vocabulary
    own = recipe.loss or recipe.kernels or recipe.objective not in (None, SUPERVISED)
    if recipe.task != "causal_lm" or own or vocabulary is None:
        return "", {}
    logits = (option.setting.longest["S"] or 0) * vocabulary * LOGIT_BYTES
    if not 0 < short <= logits:
        return "", {}
    return f"the loss in chunks ({FieldName('loss')} chunked)", {"loss": "chunked"}


def updates_in_backward(batch: int) -> tuple[str, dict[str, Any]]:
    """Each weight updated as soon as its gradient is there, by 8-bit AdamW. The step is then one
    micro-batch a device, ``batch`` samples in all."""
    text = (
        f"8-bit AdamW updating inside the backward pass ({FieldName('optimizer_in_backward')}), "
        f"gradient checkpointing, {FieldName('global_batch')} {batch:,}"
    )
    return text, {
        "optimizer": "adamw_8bit",
        "optimizer_in_backward": True,
        "gradient_checkpointing": "full",
        "micro_batch": None,
        "global_batch": batch,
    }
