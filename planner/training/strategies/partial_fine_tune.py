"""Partial fine-tuning: the head and the last k blocks train, the rest is frozen and keeps no
activations."""

from __future__ import annotations

from planner.errors import FieldName, QuestionError
from planner.training.strategy import Prepared, Strategy, count, freeze, plain


def apply(built, recipe, build) -> Prepared:
    """Raises QuestionError when the model has fewer than ``recipe.unfrozen_blocks`` blocks."""
    wanted = recipe.unfrozen_blocks or 0
    if wanted and not built.blocks:
        raise QuestionError(
            f"{built.facts.name} has no row of blocks of which the last could be trained",
            where=FieldName("strategy"),
            mend="Ask for fine_tune, or for feature_extraction, which trains the head",
        )
    if wanted > len(built.blocks):
        raise QuestionError(
            f"{wanted} unfrozen blocks asked for, {built.facts.name} has {len(built.blocks)}",
            where=FieldName("unfrozen_blocks"),
        )
    total = count(built.module.parameters())
    freeze(built.module)
    chosen = list(built.head_parameters())
    for block in built.blocks[len(built.blocks) - wanted :]:
        chosen += list(block.parameters())
    for parameter in chosen:
        parameter.requires_grad_(True)
    prepared = plain(built, [p for p in built.module.parameters() if p.requires_grad])
    prepared.total_parameters = total
    return prepared


STRATEGY = Strategy(
    "partial_fine_tune", "partial fine-tuning", "the head and the last blocks", apply, order=20
)
