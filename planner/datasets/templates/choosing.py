"""Which template the records of a model are written by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from planner.datasets.templates import families, folder
from planner.datasets.templates.chat_template import ChatTemplate

#: Columns by which a record is one of Alpaca's.
ALPACA = {"instruction", "output"}


@dataclass(frozen=True, slots=True)
class ModelText:
    """What tells how a model's text is written. ``model_type`` and ``vocabulary`` (entries) are of
    its config; ``folder``: where its files lie, None where they do not."""

    name: str = ""
    model_type: str | None = None
    vocabulary: int | None = None
    folder: Path | None = None


def chosen_template(
    model: ModelText, *, chat: bool, tools: bool, columns: frozenset[str] = frozenset()
) -> ChatTemplate:
    """The model's own template, else its family's, and trainers' usual one where no model is named.
    ``chat``: the records name roles; ``columns``, in small letters, are those of records of a
    prompt and an answer: those are trained one after the other where the model has no template and
    no family."""
    own = folder.own_template(model.folder, tools) if model.folder else None
    if own is not None:
        return own
    base = model.folder is not None and folder.has_tokenizer(model.folder)
    family = families.family_of(model.name, model.model_type, model.vocabulary)
    if chat or not model.name or (family is not None and not base):
        return families.family_template(family or families.DEFAULT)
    return _unmarked(model, columns)


def stand_in(model: ModelText, failed: ChatTemplate, why: str) -> ChatTemplate:
    """The family's template for an own one that cannot be rendered."""
    family = families.family_of(model.name, model.model_type, model.vocabulary)
    found = families.family_template(family or families.DEFAULT)
    return replace(found, note=f"{failed.source}: {why}")


def _unmarked(model: ModelText, columns: frozenset[str]) -> ChatTemplate:
    name = families.INSTRUCTIONS if ALPACA <= columns else families.PLAIN
    found = families.family_template(name)
    if model.folder is None:
        return found
    begin = folder.begin_token(model.folder) or ""
    end = folder.end_token(model.folder) or found.variables["eos_token"]
    return replace(
        found,
        variables={**found.variables, "bos_token": begin, "eos_token": end},
        special={text: 1 for text in (begin, end) if text},
    )
