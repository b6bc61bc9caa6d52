"""Which sizes of images a model takes, asked of the model itself where one that was asked for
fails."""

from __future__ import annotations

from dataclasses import replace

from planner.errors import FieldName, ImageSizeError, ModelError, PlannerError
from planner.models.facts import ModelFacts
from planner.training.recipe import Recipe

#: What sides of images divide by: patches, windows, strides.
STEPS = (14, 16, 32, 64, 224)


def of_its_size(facts: ModelFacts, recipe: Recipe, error: PlannerError) -> PlannerError:
    """What to say of a step that failed at an image size that was asked for: the sizes near it that
    work. The error as it is where no size was asked for, or the model's own fails too."""
    asked, own = recipe.image_size, facts.image_size
    said = isinstance(error, ImageSizeError) or not isinstance(error, ModelError)
    if asked is None or own is None or asked == own or said:
        return error
    if _runs(facts, recipe) or not _runs(facts, replace(recipe, image_size=None)):
        return error  # another cause than the size
    near = {side for step in STEPS for side in (asked // step * step, -(-asked // step) * step)}
    near -= {0, asked, own}
    works = [side for side in near if _runs(facts, replace(recipe, image_size=side))]
    nearest = sorted(sorted(works, key=lambda side: abs(side - asked))[:3])
    what = f"it takes no images of {asked:,} × {asked:,} pixels"
    if not nearest:
        return ImageSizeError(
            f"{what}, only of {own:,} × {own:,}",
            where=facts.name,
            mend=f"Leave {FieldName('image_size')} out",
        )
    return ImageSizeError(
        f"{what}; of its own {own:,} and of {', '.join(f'{side:,}' for side in nearest)} it does",
        where=facts.name,
        mend=f"Give one of them with {FieldName('image_size')}, or leave it out",
    )


def _runs(facts: ModelFacts, recipe: Recipe) -> bool:
    """Whether a batch of two goes through the model on meta."""
    from planner.trace.recorder.regimes import build_for

    try:
        built = build_for(facts, recipe)
        point = {symbol: 2 for symbol in built.symbols}
        batch = built.make_batch(2, point.get("S"), point.get("T"))
        built.loss_function(built.module, batch)
    except Exception:  # the model's own code may raise anything
        return False
    return True
