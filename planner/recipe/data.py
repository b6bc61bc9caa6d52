"""A data set as the scripts of a recipe train on it: every record, read as the plan has read a part
of them, its conversations rendered by the same chat template."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planner.datasets.conversation import Conversation
from planner.datasets.counting import before_answer, is_rendered, parts_of, template_of
from planner.datasets.files import locate
from planner.datasets.layout.conversations import conversation_of
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import prepare
from planner.datasets.layout.shape import Layout
from planner.datasets.readers import Budget
from planner.datasets.readers.media_folder import SPLITS
from planner.datasets.templates.choosing import ModelText, stand_in
from planner.datasets.templates.rendering import messages_of, render
from planner.errors import DataError

#: Everything is read.
WHOLE = Budget(whole_bytes=sys.maxsize, sample_bytes=sys.maxsize, media_files=sys.maxsize)
#: Conversations that a template's process renders at once: it bounds what a template may write.
AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class TrainedText:
    """``text`` as the model reads it; ``trained``: (start, stop) of the characters that the loss is
    taken on, None for all of them. ``is_rendered``: a chat template wrote it, special tokens
    included."""

    text: str
    trained: tuple[tuple[int, int], ...] | None
    is_rendered: bool


@dataclass(frozen=True, slots=True)
class LabelledText:
    """``texts``: one, or the two of a pair; ``label``: the index of its class."""

    texts: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class Read:
    records: Sequence[dict[str, Any]]
    layout: Layout


def read_records(
    path: str | Path,
    *,
    task: str,
    text_columns: Sequence[str] | None = None,
    columns: dict[str, str] | None = None,
) -> Read:
    """All records of a file or folder, prepared. ``columns``: as the plan understood them. Raises
    DataError, also where they are understood otherwise now."""
    path = Path(path).expanduser()
    reader, files, _ = locate(path)
    sample = reader.read(files, path if path.is_dir() else path.parent, WHOLE)
    records = prepare(sample.records, task, text_columns or ()).records
    layout = find_layout(records, task, text_columns, str(path))
    found = layout.as_columns()
    if columns is not None and found != columns:
        raise DataError(
            f"is read as {_said(found)}, and the plan read {_said(columns)}",
            where=str(path),
            mend="Make a new plan of this data, or name its columns with text_columns",
        )
    return Read(records, layout)


def model_text(name: str, config: Any, tokenizer: Any, folder: str | Path) -> ModelText:
    """What tells how a model's text is written. ``folder``: an empty one, where the tokenizer is
    saved to be read from."""
    tokenizer.save_pretrained(folder)
    return ModelText(name, config.model_type, config.vocab_size, Path(folder))


def trained_texts(read: Read, model: ModelText, task: str = "causal_lm") -> list[TrainedText]:
    """One a record, in its order. Raises DataError for a template that cannot be rendered."""
    layout = read.layout
    spoken = [is_rendered(layout.shape_of(record), task) for record in read.records]
    talks = [conversation_of(r, layout) for r, is_one in zip(read.records, spoken) if is_one]
    made = iter(_rendered(talks, layout, model))
    return [
        next(made) if is_one else TrainedText("\n".join(parts_of(record, layout)), None, False)
        for record, is_one in zip(read.records, spoken)
    ]


def _rendered(talks: Sequence[Conversation], layout: Layout, model: ModelText) -> list[TrainedText]:
    if not talks:
        return []
    template = template_of(talks, layout, model)
    found: list[TrainedText] = []
    for start in range(0, len(talks), AT_ONCE):
        part = talks[start : start + AT_ONCE]
        try:
            texts = render(template, part)
        except DataError as error:
            if not template.own:
                raise
            template = stand_in(model, template, error.what)
            texts = render(template, part)
        found += [TrainedText(one.text, one.trained or None, True) for one in texts]
    return found


def labelled_texts(read: Read) -> tuple[list[LabelledText], list[str]]:
    """(texts with the index of their class, names of the classes in order). Raises DataError for
    records without a label."""
    label = read.layout.label
    if label is None:
        raise DataError("its records have no label")
    values = [record.get(label) for record in read.records]
    names = class_names(values)
    found = [
        LabelledText(tuple(parts_of(record, read.layout)), names.index(str(value)))
        for record, value in zip(read.records, values)
        if value is not None
    ]
    return found, names


def class_names(values: Sequence[Any]) -> list[str]:
    """Of labels: numbers by size, words by the alphabet."""
    known = {value for value in values if value is not None}
    if all(isinstance(value, (int, float)) for value in known):
        return [str(value) for value in sorted(known)]
    return sorted({str(value) for value in known})


def preference_pairs(read: Read, model: ModelText | None) -> list[dict[str, Any]]:
    """``prompt``, ``chosen`` and ``rejected`` as TRL's trainers take them: messages, which the
    model's own template writes; texts by ``model`` where it has none. Raises DataError for records
    that are no pairs."""
    for number, record in enumerate(read.records, 1):
        if read.layout.shape_of(record).record_type != "preference":
            raise DataError(f"record {number} has no chosen and rejected answer")
    sides = [
        [conversation_of(record, read.layout, side) for record in read.records]
        for side in ("chosen", "rejected")
    ]
    if model is None:
        return [
            {
                "prompt": messages_of(before_answer(chosen)),
                "chosen": messages_of(replace(chosen, turns=chosen.turns[-1:])),
                "rejected": messages_of(replace(rejected, turns=rejected.turns[-1:])),
            }
            for chosen, rejected in zip(*sides)
        ]
    texts = [[_parted(one) for one in _rendered(talks, read.layout, model)] for talks in sides]
    return [
        {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        for (prompt, chosen), (_, rejected) in zip(*texts)
    ]


def _parted(one: TrainedText) -> tuple[str, str]:
    """(all before the last answer, it)."""
    start = one.trained[-1][0] if one.trained else 0
    return one.text[:start], one.text[start:]


def prompts(read: Read, model: ModelText | None) -> list[dict[str, Any]]:
    """``prompt`` as ``preference_pairs``, with the record's other columns, which a reward may
    read."""
    layout = read.layout
    talks = [conversation_of(record, layout) for record in read.records]
    if model is None:
        asked: list[Any] = [messages_of(before_answer(talk)) for talk in talks]
    else:
        asked = [_parted(one)[0] or one.text for one in _rendered(talks, layout, model)]
    own = [{k: v for k, v in r.items() if not k.startswith("\0")} for r in read.records]
    return [rest | {"prompt": prompt} for rest, prompt in zip(own, asked)]


def whole_talks(read: Read, model: ModelText | None) -> list[dict[str, Any]]:
    """``messages`` as TRL's GKDTrainer takes them, which the model's own template writes. Raises
    DataError for a model without one."""
    if model is not None:
        raise DataError(
            "its tokenizer has no chat template, by which TRL tells prompts from answers",
            where=model.name,
            mend="Train a model that has one",
        )
    talks = [conversation_of(record, read.layout) for record in read.records]
    return [{"messages": messages_of(talk)} for talk in talks]


def labelled_images(path: str | Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """(files with the index of their class, names of the classes in order) of a folder with a
    folder a class. Raises DataError for another."""
    path = Path(path).expanduser()
    reader, files, _ = locate(path)
    named = [(file, file.parent.name) for file in files if file.parent != path]
    names = sorted({name for _, name in named if name.lower() not in SPLITS})
    if reader.format != "image_folder" or len(names) < 2 or len(named) < len(files):
        raise DataError("is no folder of images with a folder a class", where=str(path))
    return [(file, names.index(name)) for file, name in named if name in names], names


def _said(columns: dict[str, str]) -> str:
    return ", ".join(f"{role} {name}" for role, name in columns.items()) or "nothing"
