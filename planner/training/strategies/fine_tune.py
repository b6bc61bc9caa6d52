"""Full fine-tuning: every weight trains, but those that the task's usual recipe freezes."""

from __future__ import annotations

from planner.training.strategy import Prepared, Strategy, plain


def apply(built, recipe, build) -> Prepared:
    for name, parameter in built.module.named_parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(name not in built.frozen)
    return plain(built, [p for p in built.module.parameters() if p.requires_grad])


STRATEGY = Strategy("fine_tune", "full fine-tuning", "every weight", apply, order=30)
