"""Divergences between a student's and a teacher's next tokens, as TRL takes them
(huggingface/trl@f2cd577 trl/experimental/gkd/gkd_trainer.py: ``generalized_jsd_loss``, which
trl/experimental/distillation/distillation_trainer.py has likewise). Torch is imported by whoever
runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from planner.training.objective import Passes


def divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    beta: float,
    temperature: float,
    reduced: Callable[[torch.Tensor], torch.Tensor] = lambda each: each,
) -> torch.Tensor:
    """[…, V] nats of each token of the vocabulary under logits of that shape: the generalized
    Jensen-Shannon divergence, at a ``beta`` of 1 the reverse Kullback-Leibler divergence.
    ``reduced`` is called while all that it is made of is there."""
    import torch
    from torch.nn.functional import kl_div, log_softmax

    student, teacher = student / temperature, teacher / temperature
    own, other = log_softmax(student, dim=-1), log_softmax(teacher, dim=-1)
    if beta == 1:
        return reduced(kl_div(other, own, reduction="none", log_target=True))
    weight = torch.full((), beta, dtype=own.dtype, device=own.device)
    both = torch.stack([own + torch.log1p(-weight), other + torch.log(weight)])
    mixture = torch.logsumexp(both, dim=0)
    del both
    of_teacher = kl_div(mixture, other, reduction="none", log_target=True)
    of_student = kl_div(mixture, own, reduction="none", log_target=True)
    return reduced(weight * of_teacher + (1 - weight) * of_student)


def learnt(passes: Passes, each: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The sum of ``each`` [B, L, V] over the places of a mask [B, L]. TRL picks them out by the
    mask, for which torch counts them and the host waits; here all are learnt of: an upper end of
    one tensor."""
    rows, places = (mask.reshape(-1).clone() for _ in range(2))
    passes.waiting()
    return each[rows, places].sum()


def shifted(logits: Any) -> Any:
    """Of a text, what its next tokens are told by."""
    return logits[:, :-1, :]
