"""What losses on pairs share (huggingface/trl@f2cd577 trl/trainer/dpo_trainer.py, kto_trainer.py):
log-probabilities of completions, and the figures that a step logs. Torch is imported by whoever
runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from planner.training.objective import Passes


def summed(logits: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
    """[rows]: log-probability of each completion under ``logits`` [rows, S, V]."""
    from planner.training.log_probabilities import log_probabilities

    each = log_probabilities(logits[..., :-1, :], batch["input_ids"][..., 1:])
    each.masked_fill_(batch["completion_mask"][..., 1:] == 0, 0.0)
    return each.sum(dim=1)


def logged(
    passes: Passes, logits: torch.Tensor, batch: dict[str, Any], *numbers: torch.Tensor
) -> None:
    """What TRL works out of a step for its log: the entropy of every place, the mean logit of each
    half, whether the likeliest token was the chosen one, and ``numbers``; the host waits for each.
    The copies of single places that it takes for the means are left out: they are smaller than the
    entropy's copy of all."""
    import torch

    from planner.training.log_probabilities import entropy

    with torch.no_grad():
        places, mask = logits[..., :-1, :].detach(), batch["completion_mask"][..., 1:]
        found = [(entropy(places) * mask).sum(), mask.sum()]
        halves = places.chunk(2)
        found += [half.mean(-1).sum() for half in halves]
        right = halves[0].argmax(dim=-1) == batch["input_ids"][: len(halves[0]), 1:]
        found += [right.sum(), *(number.mean() for number in numbers)]
        passes.log(*found)
