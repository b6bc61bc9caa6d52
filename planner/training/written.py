"""What losses on the model's own completions share (huggingface/trl@f2cd577
trl/trainer/grpo_trainer.py: ``_get_per_token_logps_and_entropies``). Torch is imported by whoever
runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from planner.training.objective import Passes, Sizes

#: GRPOConfig.temperature; it changes no cost.
TEMPERATURE = 1.0


def written(sizes: Sizes) -> dict[str, Any]:
    """``samples`` prompts of ``length`` tokens with completions of ``target``."""
    whole = sizes.length + sizes.target
    return {
        "input_ids": sizes.ids(sizes.samples, whole),
        "attention_mask": sizes.ids(sizes.samples, whole),
        "completion_ids": sizes.ids(sizes.samples, sizes.target),
        "completion_mask": sizes.ids(sizes.samples, sizes.target),
        "advantages": sizes.numbers(sizes.samples),
    }


def policy_log_probabilities(passes: Passes, batch: dict[str, Any]) -> torch.Tensor:
    """[B, T] of the completions' tokens; only their logits are made, and divided in place by the
    sampling temperature. The entropy is logged beside."""
    from planner.training.log_probabilities import entropy, log_probabilities

    answered = batch["completion_ids"]
    kept = answered.shape[1]
    logits = passes.policy(batch, logits_to_keep=kept + 1)[:, :-1, :][:, -kept:, :]
    logits.div_(TEMPERATURE)
    each = log_probabilities(logits, answered)
    passes.log((entropy(logits.detach()) * batch["completion_mask"]).sum())
    return each
