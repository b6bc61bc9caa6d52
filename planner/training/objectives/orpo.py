"""Odds ratio preference optimization (Hong et al. 2024, arXiv 2403.07691) as TRL runs it
(huggingface/trl@f2cd577 trl/experimental/orpo/orpo_trainer.py): both halves in one pass, the usual
loss on the chosen ones beside the odds ratio, no reference."""

from __future__ import annotations

from planner.training.objective import PAIRS, Objective

#: ORPOConfig.beta; it changes no cost.
BETA = 0.1


def batch(sizes):
    made = sizes.texts(2 * sizes.samples)
    made["labels"] = sizes.ids(2 * sizes.samples, sizes.length)
    return made


def loss(passes, batch):
    import torch
    from torch.nn import functional

    logits = passes.policy(batch)
    half = len(batch["labels"]) // 2
    nll = _cross_entropy(logits[:half], batch["input_ids"][:half])
    chosen, rejected = _mean(logits, batch["labels"]).split(half)
    chosen, rejected = chosen.float(), rejected.float()
    odds = (chosen - rejected) - (_log1mexp(chosen) - _log1mexp(rejected))
    ratio = functional.logsigmoid(odds)
    with torch.no_grad():
        halves = logits[:, :-1].detach().split(half)
        passes.log(*(part.mean() for part in (*halves, chosen, rejected, nll, ratio)))
    return nll - (BETA * ratio).mean()


def _cross_entropy(logits, tokens):
    from torch.nn import functional

    logits, tokens = logits[..., :-1, :].contiguous(), tokens[..., 1:].contiguous()
    return functional.cross_entropy(logits.view(-1, logits.shape[-1]), tokens.view(-1))


def _mean(logits, labels):
    """[rows]: mean log-probability of the labelled tokens (``get_batch_logps``)."""
    import torch

    from planner.training.log_probabilities import log_probabilities

    labels = labels[:, 1:].clone()
    mask = labels != -100
    labels = torch.where(labels == -100, 0, labels)
    each = log_probabilities(logits[:, :-1, :], labels)
    return (each * mask).sum(-1) / mask.sum(-1)


def _log1mexp(x):
    """ln(1 - exp(x)) for x < 0 (trl's ``log1mexp``)."""
    import torch

    return torch.where(x > -0.6931, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))


OBJECTIVE = Objective(
    "orpo",
    "ORPO",
    "pairs of a chosen and a rejected answer, by the ratio of their odds",
    PAIRS,
    order=20,
    batch=batch,
    loss=loss,
)
