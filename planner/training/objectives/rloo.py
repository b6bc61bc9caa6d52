"""REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740) as TRL runs it
(huggingface/trl@f2cd577 trl/trainer/rloo_trainer.py): a whole completion is one action."""

from __future__ import annotations

from planner.training.objective import PROMPTS, Objective
from planner.training.written import policy_log_probabilities, written

#: RLOOConfig.epsilon; it changes no cost.
EPSILON = 0.2


def batch(sizes):
    made = written(sizes)
    made["old_logps"] = sizes.numbers(sizes.samples)
    return made


def loss(passes, batch):
    import torch

    each = policy_log_probabilities(passes, batch)
    whole = (each * batch["completion_mask"]).sum(1)
    ratio = torch.exp(whole - batch["old_logps"])
    clipped = torch.clamp(ratio, 1 - EPSILON, 1 + EPSILON)
    advantages = batch["advantages"]
    return -torch.min(ratio * advantages, clipped * advantages).mean()


OBJECTIVE = Objective(
    "rloo",
    "RLOO",
    "prompts: completions that the model writes, judged against the others of their prompt",
    PROMPTS,
    order=70,
    batch=batch,
    loss=loss,
    symbols=("B", "S", "T"),
    reference=True,
    scoring=1,  # the policy's own
)
