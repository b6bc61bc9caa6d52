"""PEFT's configuration of a recipe's method: its own class, with the arguments of the method's row
in ``profiles/adapters.csv`` and what the question says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ModelError, QuestionError
from planner.question.adapters import Method, method_of
from planner.training.adapters import places

if TYPE_CHECKING:
    from planner.models.building.built import BuiltModel
    from planner.training.recipe import Recipe

#: PEFT's names of the tasks that its own models know (``peft.TaskType``).
TASK_TYPES = {
    "causal_lm": "CAUSAL_LM",
    "seq2seq_lm": "SEQ_2_SEQ_LM",
    "text_classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
    "question_answering": "QUESTION_ANS",
}
#: Configurations that are LoRA's own, with its scale.
LORA_CONFIG = "LoraConfig"


def configuration(peft: Any, built: BuiltModel, recipe: Recipe) -> Any:
    """Raises QuestionError for what names no module of the model or goes without this method,
    ModelError for a task that PEFT has no such model of."""
    method = method_of(recipe.adapter)
    own = getattr(peft, method.config, None)
    if own is None:
        raise QuestionError(
            f"the installed PEFT {peft.__version__} has no {method.config}",
            where=FieldName("adapter"),
            mend="Install a newer PEFT, or ask for another method",
        )
    options = arguments(method)
    if method.size is not None and method.argument is not None:
        options[method.argument] = getattr(recipe, method.size)
    if method.config == LORA_CONFIG:
        options |= {"lora_alpha": 2 * (recipe.lora_rank or 1), "bias": "none"}
    if method.dropout is not None:
        options[method.dropout] = recipe.lora_dropout or 0.0
    if method.knows_task:
        options["task_type"] = _task_type(built, method)
    if method.targets != "none":
        chosen = method.targets == "linear" or recipe.lora_targets is not None
        options |= places(built, recipe, chosen=chosen)
        _check_experts(built, method, options)
    return own(**options)


def arguments(method: Method) -> dict[str, Any]:
    """Those of PEFT's class that make it this method."""
    return {name: _value(text) for name, text in method.fixed}


def _value(text: str) -> bool | int | str:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


def _task_type(built: BuiltModel, method: Method) -> str:
    if built.task not in TASK_TYPES:
        raise ModelError(
            f"PEFT has no {method.words} for {built.task}",
            where=built.facts.name,
            mend=f"Ask for {FieldName('adapter')} lora",
        )
    return TASK_TYPES[built.task]


def _check_experts(built: BuiltModel, method: Method, options: dict[str, Any]) -> None:
    if method.config == LORA_CONFIG or "target_parameters" not in options:
        return
    raise QuestionError(
        f"{method.words} adapts layers, and these are weights of experts in {built.facts.name}: "
        f"{', '.join(options['target_parameters'])}",
        where=FieldName("lora_targets"),
        mend=f"Leave them out, or ask for {FieldName('adapter')} lora",
    )
