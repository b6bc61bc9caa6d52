"""Where PEFT puts adapters, by PEFT's own words: arguments of its configurations, checked against
the modules that a model has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, QuestionError, nearest
from planner.training.expert_targets import old_names, parameter_names

if TYPE_CHECKING:
    from planner.models.building.built import BuiltModel
    from planner.training.recipe import Recipe

#: PEFT's word for every linear layer but the output.
ALL_LINEAR = "all-linear"
#: Families whose output products PEFT refuses.
SCANNED = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")
_NAME = re.compile(r"[\w.-]+")
#: How many names an error lists.
SHOWN = 40


def places(built: BuiltModel, recipe: Recipe, *, chosen: bool = True) -> dict[str, Any]:
    """Where adapters go, as arguments of PEFT's configurations; of ``chosen`` false PEFT finds the
    targets itself. Raises QuestionError for what names no module of the model."""
    options: dict[str, Any] = {}
    if chosen:
        options["target_modules"] = targets(built, recipe)
        experts = _experts(built, options["target_modules"])
        if experts:
            options["target_parameters"] = experts
            kept = [n for n in options["target_modules"] if n not in experts]
            options["target_modules"] = kept
    if recipe.lora_exclude:
        options["exclude_modules"] = _modules(built, recipe.lora_exclude, "lora_exclude")
    if recipe.lora_layers:
        options |= _layers(built, recipe)
    if recipe.lora_modules_to_save:
        _check_names(built, recipe.lora_modules_to_save, "lora_modules_to_save")
        options["modules_to_save"] = list(recipe.lora_modules_to_save)
    if recipe.lora_rank_pattern:
        options["rank_pattern"] = _ranks(built, recipe.lora_rank_pattern)
    return options


def targets(built: BuiltModel, recipe: Recipe) -> list[str] | str:
    """As ``target_modules`` takes them. Raises QuestionError for a model without a linear layer but
    its head, and where no name matches a module: PEFT leaves out those that match none beside
    others (``unmatched``)."""
    if recipe.lora_targets == (ALL_LINEAR,):
        return ALL_LINEAR
    if recipe.lora_targets:
        lost = unmatched(built, recipe)
        if lost and len(lost) < len(recipe.lora_targets):
            return list(recipe.lora_targets)
        return _modules(built, recipe.lora_targets, "lora_targets")
    # these names would mean the experts' weights too, which recipes leave alone
    meant = old_names(built)
    known = [
        name
        for name in sorted(built.linear_names())
        if not _is_refused(built, name) and name.rpartition(".")[2] not in meant
    ]
    if not known:
        raise QuestionError(
            f"{built.facts.name} has no linear layer but its head{_called(built.head)}: adapters "
            "have no place in it",
            where=FieldName("strategy"),
            mend=f"Name layers that it has with {FieldName('lora_targets')} (LoRA also takes "
            "convolutions), or train it otherwise",
        )
    return known


def _called(head: tuple[str, ...]) -> str:
    """A head may be more than a last layer: AlexNet's ``classifier`` is three."""
    return f" ({', '.join(head)})" if head else ""


def _is_refused(built: BuiltModel, name: str) -> bool:
    """PEFT adapts no output product of a state-space layer, which its kernels read without a call
    of the module (``peft/tuners/tuners_utils.py: _check_lora_target_modules_mamba``, peft 0.20)."""
    family = getattr(getattr(built.module, "config", None), "model_type", None)
    return family in SCANNED and name.rpartition(".")[2] in ("out_proj", "conv1d")


def _experts(built: BuiltModel, names: list[str] | str) -> list[str]:
    """Of the targets those that are weights of three dimensions and no modules."""
    if isinstance(names, str):
        return []
    weights, modules = parameter_names(built), _names(built)
    return [n for n in names if _is_name(n, weights) and not _is_name(n, modules)]


def unmatched(built: BuiltModel, recipe: Recipe) -> list[str]:
    """The targets that are the name, or the end of the name, of no module. Published lists name
    those of several models (StarCoder's ``q_attn``)."""
    asked = recipe.lora_targets or ()
    if asked == (ALL_LINEAR,) or len(asked) < 2:
        return []
    names = _adaptable(built)
    return [word for word in asked if not _is_name(word, names)]


def _is_name(word: str, names: list[str]) -> bool:
    return any(name == word or name.endswith(f".{word}") for name in names)


def _modules(built: BuiltModel, asked: tuple[str, ...], field: str) -> list[str] | str:
    """Names that modules have or end in, or one regular expression over whole names."""
    if len(asked) == 1 and not _NAME.fullmatch(asked[0]):
        return _expression(built, asked[0], field)
    _check_names(built, asked, field)
    return list(asked)


def _expression(built: BuiltModel, text: str, field: str) -> str:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise QuestionError(
            f"{text!r} is no regular expression: {error}", where=FieldName(field)
        ) from error
    if not any(pattern.fullmatch(name) for name in _names(built)):
        raise QuestionError(
            f"no module of {built.facts.name} matches the whole of {text!r}",
            where=FieldName(field),
            mend=f"Its modules are called like {', '.join(_names(built)[-3:])}",
        )
    return text


def _check_names(built: BuiltModel, asked: tuple[str, ...], field: str) -> None:
    names = _adaptable(built)
    missing = [word for word in asked if not _is_name(word, names)]
    if not missing:
        return
    last = dict.fromkeys(n.rpartition(".")[2] for n in names)
    known = sorted(name for name in last if not name.isdigit())
    near = list(dict.fromkeys(hit for word in missing for hit in nearest(word, known)))
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    linear = sorted(built.linear_names()) or known
    more = "" if len(linear) <= SHOWN else f" and {len(linear) - SHOWN} more"
    raise QuestionError(
        f"no such modules in {built.facts.name}: {', '.join(missing)}",
        where=FieldName(field),
        mend=f"{hint}It has: {', '.join(linear[:SHOWN])}{more}",
    )


def _names(built: BuiltModel) -> list[str]:
    return [name for name, _ in trunk_of(built).named_modules() if name]


def trunk_of(built: BuiltModel) -> Any:
    """The part that gets adapters: all of the module, but for models whose frozen parts stand
    beside it."""
    return built.module.get_submodule(built.trunk) if built.trunk else built.module


def _adaptable(built: BuiltModel) -> list[str]:
    """Modules, experts' weights, and the old names that PEFT takes for those."""
    return [*_names(built), *parameter_names(built), *old_names(built)]


def _layers(built: BuiltModel, recipe: Recipe) -> dict[str, Any]:
    """``layers_to_transform`` and ``layers_pattern``."""
    if isinstance(targets(built, recipe), str):
        raise QuestionError(
            "PEFT takes numbers of blocks with names of modules only, not with a regular "
            "expression or all-linear",
            where=FieldName("lora_layers"),
            mend=f"Name the modules with {FieldName('lora_targets')}, or put the numbers into the "
            "expression",
        )
    numbers = _numbers(recipe.lora_layers or ())
    blocks = len(built.blocks)
    if blocks and max(numbers) >= blocks:
        raise QuestionError(
            f"{built.facts.name} has {blocks} blocks, numbered 0 to {blocks - 1}: none is "
            f"{max(numbers)}",
            where=FieldName("lora_layers"),
        )
    pattern = {"layers_pattern": list(recipe.lora_layers_pattern or ())}
    return {"layers_to_transform": numbers, **(pattern if recipe.lora_layers_pattern else {})}


def _numbers(texts: tuple[str, ...]) -> list[int]:
    """``0-3`` and ``7`` → 0, 1, 2, 3, 7."""
    found: set[int] = set()
    for text in texts:
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6}))?\s*", text)
        if match is None or match[2] is not None and int(match[2]) < int(match[1]):
            raise QuestionError(
                f"{text!r} is no number of a block",
                where=FieldName("lora_layers"),
                mend="Give numbers and ranges, such as 0-15,20",
            )
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(found)


def _ranks(built: BuiltModel, texts: tuple[str, ...]) -> dict[str, int]:
    """``q_proj=8`` → its rank. A name may be an expression for the end of a module's name."""
    found: dict[str, int] = {}
    for text in texts:
        name, sign, rank = text.rpartition("=")
        if not sign or not name.strip() or not rank.strip().isdigit() or int(rank) < 1:
            raise QuestionError(
                f"{text!r} is no rank of a module",
                where=FieldName("lora_rank_pattern"),
                mend="Give NAME=RANK, such as q_proj=8",
            )
        found[name.strip()] = int(rank)
    plain = tuple(name for name in found if _NAME.fullmatch(name))
    _check_names(built, plain, "lora_rank_pattern")
    return found
