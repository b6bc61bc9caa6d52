"""What is said first of mixtures of experts: how many choose, what the router learns from, what
adapters reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.models.tasks import config_field
from planner.question import Question

#: How configs call the number of routed experts.
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def mixture_lines(
    question: Question, facts: ModelFacts, strategies: tuple[str, ...]
) -> list[FirstLine]:
    """Of a config with experts; nothing else. ``strategies``: those that are trained."""
    config = facts.config or {}
    count = config_field(config, *EXPERTS)
    chosen = config_field(config, "num_experts_per_tok", "moe_top_k")
    if not isinstance(count, int) or not isinstance(chosen, int) or count < 2:
        return []
    evenly = f"{count} experts, {chosen} of them for each token, taken as evenly chosen"
    text = f"{evenly}; {_router(config)}"
    lines = [FirstLine("model", text)]
    if set(strategies) & {"lora", "qlora"} and not question.lora_targets:
        text = (
            "adapters reach attention and leave the experts alone, whose weights are no linear "
            f"layers: {FieldName('lora_targets')} all-linear, or names of weights such as "
            "experts.gate_up_proj, adapt them too"
        )
        lines.append(FirstLine("recipe", text))
    return lines


def _router(config: Mapping[str, Any]) -> str:
    """Whether the router has a loss of its own in transformers' forward pass."""
    known = config_field(config, "router_aux_loss_coef") is not None
    if known and config_field(config, "output_router_logits"):
        return "the router's auxiliary loss is counted"
    return "the router has no auxiliary loss here" + (
        " (output_router_logits is off in its config)" if known else ""
    )
