"""Group relative policy optimization (Shao et al. 2024, arXiv 2402.03300) as TRL runs it
(huggingface/trl@f2cd577 trl/trainer/grpo_trainer.py): completions that the model wrote itself, each
judged against the others of its prompt. Only the logits of completions are made."""

from __future__ import annotations

from planner.training.objective import PROMPTS, Objective
from planner.training.written import policy_log_probabilities, written

#: GRPOConfig.epsilon and a weight of the divergence; they change no cost.
EPSILON, BETA = 0.2, 0.04


def batch(sizes):
    made = written(sizes)
    made["ref_per_token_logps"] = sizes.numbers(sizes.samples, sizes.target)
    return made


def loss(passes, batch):
    import torch

    each = policy_log_probabilities(passes, batch)
    advantages, mask = batch["advantages"].unsqueeze(1), batch["completion_mask"]
    ratio = torch.exp(each - each.detach())
    clipped = torch.clamp(ratio, 1 - EPSILON, 1 + EPSILON)
    found = -torch.min(ratio * advantages, clipped * advantages)
    if passes.compares:
        apart = batch["ref_per_token_logps"] - each
        found = found + BETA * (torch.exp(apart) - apart - 1)
    return (found * mask).sum() / mask.sum().clamp(min=1.0)


OBJECTIVE = Objective(
    "grpo",
    "GRPO",
    "prompts: completions that the model writes, judged within their group",
    PROMPTS,
    order=60,
    batch=batch,
    loss=loss,
    symbols=("B", "S", "T"),
    reference=True,
    usual=False,  # GRPOConfig.beta is 0
    through_vllm=1,  # the policy's own, to weigh what vLLM's differ by
)
