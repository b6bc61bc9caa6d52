"""Reward modelling (Bradley-Terry) as TRL runs it (huggingface/trl@f2cd577
trl/trainer/reward_trainer.py): a sequence classifier with one output reads both halves of a pair in
one pass."""

from __future__ import annotations

from planner.training.objective import PAIRS, Objective


def batch(sizes):
    made = sizes.texts(2 * sizes.samples)
    made.pop("completion_mask")
    return made


def loss(passes, batch):
    import torch
    from torch.nn import functional

    rewards = passes.policy(batch)
    chosen, rejected = rewards.squeeze(-1).chunk(2)
    with torch.no_grad():
        better = (chosen > rejected).float().mean()
        passes.log(rewards.min(), rewards.mean(), rewards.max(), better)
    return -functional.logsigmoid(chosen - rejected).mean()


OBJECTIVE = Objective(
    "reward",
    "reward model",
    "pairs of a chosen and a rejected answer, one number a text",
    PAIRS,
    order=40,
    batch=batch,
    loss=loss,
    scores=True,
)
