"""Sequence-level distillation (Kim and Rush 2016, arXiv 1606.07947): a teacher writes an answer to
every prompt once, before the first step, and the student is tuned on those texts by its task's own
loss."""

from __future__ import annotations

from planner.training.objective import BEFORE, TEXTS, Objective


def batch(sizes):
    return sizes.labelled()


def loss(passes, batch):
    """The task's own, as which its step is recorded: the next token's cross-entropy."""
    from torch.nn.functional import cross_entropy

    logits = passes.policy(batch)[:, :-1, :]
    wanted = batch["labels"][:, 1:].reshape(-1)
    return cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), wanted)


OBJECTIVE = Objective(
    "sequence_distillation",
    "sequence-level distillation",
    "prompts whose answers a teacher writes once",
    TEXTS,
    order=120,
    batch=batch,
    loss=loss,
    teacher=BEFORE,
)
