"""The settings of a classifier of images as its loop of plain torch reads them, by planner's own
names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import FieldName, QuestionError
from planner.plan.around.clipping import clipped_at
from planner.recipe.config import Key, Section, section
from planner.recipe.optimizers import loop_keys
from planner.recipe.planned import Planned
from planner.recipe.text_settings import LEARNING_RATE, data_place, every


def sections(planned: Planned) -> list[Section]:
    """Raises QuestionError for what the loop does not run."""
    _check(planned)
    return [
        section("The model and its data.", *_model(planned)),
        section("Batches and steps, those of the plan.", *_steps(planned)),
        section("How a step is run.", *_step(planned)),
        section("Evaluations and checkpoints, in steps.", *_pauses(planned)),
        section(
            "No part of the plan: they change what is learnt and no cost.",
            Key("learning_rate", LEARNING_RATE, "choose yours"),
            Key("seed", 0),
            Key("output_dir", "out"),
        ),
    ]


def _check(planned: Planned) -> None:
    recipe, facts = planned.recipe, planned.option.facts
    if recipe.attention != "sdpa":
        raise QuestionError(
            f"{facts.library}'s models are run with the attention that they have",
            where=FieldName("attention"),
            mend="Leave it out",
        )
    if recipe.gradient_checkpointing == "full" and facts.library != "timm":
        raise QuestionError(
            f"{facts.library}'s models have no switch for checkpointing, and the script has none",
            where=FieldName("gradient_checkpointing"),
            mend="Ask for none",
        )


def _model(planned: Planned) -> list[Key | None]:
    recipe, facts = planned.recipe, planned.option.facts
    parts: Mapping[str, tuple[Any, str]] = {
        "feature_extraction": (0, "the head alone trains"),
        "partial_fine_tune": (recipe.unfrozen_blocks or 0, "and the head"),
    }
    unfrozen = parts.get(planned.strategy)
    return [
        Key("architecture", facts.architecture or facts.name, f"of {facts.library}"),
        Key("weights", None, "a local file of weights; without one they are downloaded"),
        Key("from_scratch", planned.strategy == "scratch", "random weights"),
        Key("strategy", planned.strategy),
        Key("unfrozen_blocks", *unfrozen) if unfrozen else None,
        Key("data", data_place(planned), "a folder with a folder a class"),
        Key("classes", recipe.classes or planned.data.classes),
        Key("image_size", recipe.image_size or facts.image_size, "pixels"),
    ]


def _steps(planned: Planned) -> list[Key | None]:
    setting, run = planned.option.setting, planned.option.run
    return [
        Key("micro_batch", setting.micro_batch),
        Key("accumulation", setting.accumulation),
        Key("epochs", run.epochs),
        Key("steps", run.steps, "they end the run, whatever the epochs"),
        Key("loader_workers", planned.loader_workers),
    ]


def _step(planned: Planned) -> list[Key | None]:
    recipe = planned.recipe
    return [
        Key("precision", recipe.precision),
        Key("optimizer", recipe.optimizer),
        *loop_keys(recipe.optimizer),
        Key("max_grad_norm", clipped_at(planned.question), "0: gradients are not clipped"),
        Key("gradient_checkpointing", recipe.gradient_checkpointing),
        Key("compile", recipe.compile),
    ]


def _pauses(planned: Planned) -> list[Key | None]:
    run, made = planned.option.run, planned.option.run.evaluated
    evaluates = bool(run.evaluations) and made is not None
    return [
        Key("evaluate_every", every(planned.steps, run.evaluations) if evaluates else 0),
        Key("evaluation_samples", made.samples if made and evaluates else 0, "held out"),
        Key("evaluation_batch", made.batch if made and evaluates else 1),
        Key("save_every", -(-planned.steps // planned.savings) if planned.savings else 0),
    ]
