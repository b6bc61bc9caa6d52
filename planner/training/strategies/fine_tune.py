"""Full fine-tuning: every weight trains."""

from __future__ import annotations

from planner.training.strategy import Prepared, Strategy, plain


def apply(built, recipe, build) -> Prepared:
    trainable = list(built.module.parameters())
    for parameter in trainable:
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return plain(built, [p for p in trainable if p.requires_grad])


STRATEGY = Strategy("fine_tune", "full fine-tuning", "every weight", apply, order=30)
