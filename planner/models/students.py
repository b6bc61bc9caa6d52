"""The student of a distillation when the user names only the teacher."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

from planner import tables
from planner.errors import FieldName, ModelError
from planner.models.facts import ModelFacts, config_fingerprint
from planner.models.resolve import resolve

ALL_BLOCKS = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
)
DECODER_BLOCKS = ("num_decoder_layers", "decoder_layers")
#: Parts of a config that hold blocks of their own.
PARTS = ("text_config", "vision_config")


def default_student(teacher: ModelFacts) -> ModelFacts:
    """The facts of the student that ``profiles/models/students.csv`` gives for a teacher; its
    assumptions name the recipe.

    Raises ModelError for a teacher that has no row, or no block to spare.
    """
    family = (
        (teacher.config or {}).get("model_type")
        if teacher.library == "transformers"
        else teacher.architecture
    )
    for row in tables.rows("models", "students.csv"):
        if row["library"] == teacher.library and re.fullmatch(row["family"], str(family)):
            return _apply(row, teacher)
    raise ModelError(
        f"no student is known for {teacher.name}",
        mend=f"Name the student as the model and the larger model with {FieldName('teacher')}",
    )


def _apply(row: dict[str, str], teacher: ModelFacts) -> ModelFacts:
    if row["rule"] == "model":
        student = resolve(f"{row['library']}:{row['student']}", task=teacher.task)
        return replace(
            student,
            assumptions=(
                *student.assumptions,
                f"student of {teacher.name}: {row['student']}, after {row['source']}",
            ),
        )
    config = copy.deepcopy(dict(teacher.config or {}))
    config.pop("quantization_config", None)  # a student begins in 16 or 32 bits
    before, after = _shrink(config, row["rule"], teacher.name)
    stated = f"student of {teacher.name}: {after} of its {before} blocks, after {row['source']}"
    return replace(
        teacher,
        name=f"{teacher.name} ({after} of {before} blocks)",
        config=config,
        fingerprint=config_fingerprint(config),
        parameters=None,
        blocks=after,
        folder=None,
        quantization=None,
        first_lines=(),
        pretraining_amount=None,
        pretraining_unit=None,
        pretraining_source=None,
        assumptions=(*teacher.assumptions, stated),
    )


def _shrink(config: dict[str, Any], rule: str, name: str) -> tuple[int, int]:
    """Cut the config's blocks in place; returns (before, after) summed over its stacks. Raises
    ModelError when none can go."""
    if (
        rule != "half_blocks"
        and config.get("num_decoder_layers") is None
        and "num_layers" in config
    ):
        # T5 leaves the decoder's out when both are equal
        config["num_decoder_layers"] = config["num_layers"]
    keys = ALL_BLOCKS if rule == "half_blocks" else DECODER_BLOCKS
    before = after = 0
    for part in [config, *(config[name] for name in PARTS if isinstance(config.get(name), dict))]:
        for key in keys:
            old = part.get(key)
            if (
                isinstance(old, int)
                and not isinstance(old, bool)
                and not (key == "num_hidden_layers" and "encoder_layers" in part)
            ):
                part[key] = min(2, old) if rule == "decoder_2" else max(1, old // 2)
                before, after = before + old, after + part[key]
                _cut_lists(part, old, part[key])
    if before == after:
        raise ModelError(
            f"{name} has no blocks to leave out for a student",
            mend=f"Name the student as the model and the larger model with {FieldName('teacher')}",
        )
    return before, after


def _cut_lists(part: dict[str, Any], old: int, new: int) -> None:
    """Lists with one entry a block (which attention it uses) keep as many entries as blocks."""
    for key, value in part.items():
        if (
            isinstance(value, list)
            and len(value) == old
            and key.endswith(("layer_types", "layers", "_types"))
        ):
            part[key] = value[:new]
    # GPT-Neo: [[["global", "local"], repetitions], …]
    if isinstance(part.get("attention_types"), list):
        part["attention_types"] = [
            [kinds, max(1, times * new // old)] for kinds, times in part["attention_types"]
        ]
