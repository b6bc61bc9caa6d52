"""The files of a recipe, made of a plan."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from planner.question.training_setting import TAUGHT, WRITING
from planner.recipe import text_settings, tuned_settings, vision_settings
from planner.recipe.config import Section, text_of, values_of
from planner.recipe.expressible import DISTILLED, check, is_vision
from planner.recipe.launching.files import command, launch_files
from planner.recipe.launching.sharing import FSDP, deepspeed_file, parallel_of
from planner.recipe.planned import Planned
from planner.recipe.readme import readme, said
from planner.recipe.requirements import requirements
from planner.today import today
from planner.version import __version__

SCHEMA = "1.0"
#: A task → the library's class, and PEFT's word for it.
CLASSES = {
    "causal_lm": ("AutoModelForCausalLM", "CAUSAL_LM"),
    "text_classification": ("AutoModelForSequenceClassification", "SEQ_CLS"),
}
#: A task's head, in the script's words.
HEADS = {
    "causal_lm": "model.get_output_embeddings()",
    "text_classification": "getattr(model, 'score', None) or model.classifier",
}


def files_of(planned: Planned) -> dict[str, str]:
    """Name → text of each file. Raises QuestionError for what no script runs."""
    check(planned)
    sections = sections_of(planned)
    return {
        "README.md": readme(planned),
        "train.py": script(planned, values_of(sections)),
        "config.yaml": text_of(_head(planned), sections),
        "requirements.txt": requirements(planned),
        "plan.json": json.dumps(plan_document(planned), indent=1, ensure_ascii=False) + "\n",
        **deepspeed_file(planned),
        **launch_files(planned),
    }


def sections_of(planned: Planned) -> list[Section]:
    """Raises QuestionError."""
    if is_vision(planned):
        return vision_settings.sections(planned)
    if planned.recipe.objective not in (None, DISTILLED):
        return tuned_settings.sections(planned)
    return text_settings.sections(planned)


def plan_document(planned: Planned) -> dict[str, Any]:
    """What the run is held against, and recorded with."""
    question = planned.question.model_dump(mode="json", exclude_unset=True)
    return {
        "schema": SCHEMA,
        "planner": __version__,
        "date": today().isoformat(),
        "question": question | {"strategy": [planned.strategy]},
        "columns": dict(planned.data.columns),
        "savings": planned.savings,
        "option": dict(planned.values),
        "said": said(planned),
    }


def script(planned: Planned, values: Mapping[str, Any]) -> str:
    recipe, task = planned.recipe, planned.recipe.task
    scores = recipe.objective == "reward"
    auto_class, task_type = CLASSES.get("text_classification" if scores else task, ("", ""))
    tuned = tuned_settings.TRAINERS.get(recipe.objective or "")
    made = (
        _templates()
        .get_template(f"{template_of(planned)}.py.jinja")
        .render(
            model=planned.problem.facts.name,
            strategy=planned.strategy.replace("_", " "),
            command=command(planned),
            sharing=parallel_of(planned).sharding == FSDP,
            objective=recipe.objective,
            taught=recipe.objective in TAUGHT,
            distilled=recipe.objective == DISTILLED,
            rewarded=recipe.objective in WRITING and recipe.objective not in TAUGHT,
            reading=_reading(recipe.objective),
            task=task,
            arguments=tuned.config if tuned else "transformers.TrainingArguments",
            lora=bool(recipe.lora_rank),
            quantised="load_in_4bit" in values or "load_in_8bit" in values,
            partial="unfrozen_blocks" in values,
            scratch=planned.strategy == "scratch",
            has_classes="classes" in values,
            scores=scores,
            optimizer_class="optimizer_class" in values,
            timm=planned.option.facts.library == "timm",
            auto_class=auto_class,
            task_type=task_type,
            head=HEADS.get(task, ""),
            trainer=tuned,
        )
    )
    # what an include leaves: two blank lines stand between functions
    return re.sub(r"\n{4,}", "\n\n\n", made)


def _reading(objective: str | None) -> str:
    """The function of ``recipe/data.py`` that reads what an objective learns from."""
    if objective in WRITING:
        return "prompts"
    return "whole_talks" if objective in TAUGHT else "preference_pairs"


def template_of(planned: Planned) -> str:
    if is_vision(planned):
        return "image_classification"
    own = planned.recipe.objective in (None, DISTILLED)
    return planned.recipe.task if own else "tuned"


def _head(planned: Planned) -> list[str]:
    return [
        f"{planned.problem.facts.name} by {planned.strategy.replace('_', ' ')}, as planner "
        f"{__version__} planned it on {today().isoformat()}.",
        "Every value is the plan's unless it says otherwise; another one is another run.",
    ]


@cache
def _templates() -> jinja2.Environment:
    folder = resources.files("planner.recipe") / "templates"
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(folder)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=False,
        lstrip_blocks=False,
        autoescape=False,
    )
