"""Proximal policy optimization (Ouyang et al. 2022, arXiv 2203.02155) as TRL runs it
(huggingface/trl@f2cd577 trl/experimental/ppo/ppo_trainer.py): a value model trains beside the
policy, a reward model and the reference lie there. Logits are made of all places."""

from __future__ import annotations

from planner.training.objective import PROMPTS, Objective
from planner.training.written import written

#: PPOConfig: cliprange, cliprange_value, vf_coef, temperature; they change no cost.
CLIP, CLIP_VALUE, VALUE_WEIGHT, TEMPERATURE = 0.2, 0.2, 0.1, 0.7


def batch(sizes):
    made = written(sizes)
    names = ("old_logps", "old_values", "returns", "advantages")
    return made | {name: sizes.numbers(sizes.samples, sizes.target) for name in names}


def loss(passes, batch):
    import torch

    from planner.training.log_probabilities import log_probabilities

    answered = batch["completion_ids"]
    values = passes.values(batch)
    written_from = batch["input_ids"].shape[1] - answered.shape[1]
    logits = passes.policy(batch)[:, written_from - 1 : -1]
    logits /= TEMPERATURE + 1e-7
    padded = batch["completion_mask"] == 0
    each = torch.masked_fill(log_probabilities(logits, answered), padded, 1.0)
    value = torch.masked_fill(values[:, written_from - 1 : -1].squeeze(-1), padded, 0)
    old, returns = batch["old_values"], batch["returns"]
    near = torch.clamp(value, old - CLIP_VALUE, old + CLIP_VALUE)
    worst = torch.max(torch.square(value - returns), torch.square(near - returns))
    ratio = torch.exp(each - batch["old_logps"])
    clipped = torch.clamp(ratio, 1.0 - CLIP, 1.0 + CLIP)
    advantages = batch["advantages"]
    found = torch.max(-advantages * ratio, -advantages * clipped)
    return _mean(found, padded) + VALUE_WEIGHT * 0.5 * _mean(worst, padded)


def _mean(values, padded):
    mask = ~padded
    return (values * mask).sum() / mask.sum()


OBJECTIVE = Objective(
    "ppo",
    "PPO",
    "prompts: completions that the model writes, judged by a reward and a value model",
    PROMPTS,
    order=50,
    batch=batch,
    loss=loss,
    symbols=("B", "S", "T"),
    reference=True,
    scoring=2,  # the value and the reward model's
    updates=4,  # PPOConfig.num_ppo_epochs
    judges=True,
)
