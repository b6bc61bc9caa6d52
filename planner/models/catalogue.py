"""The shipped catalogue: models that are answered without a download. A model is one row and, for
transformers, one config."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from planner import tables
from planner.errors import ProfileError
from planner.first_lines import FirstLine
from planner.models import pipelines
from planner.models.configs import read_config
from planner.models.facts import ModelFacts, config_fingerprint, text_fingerprint
from planner.models.names import yolo
from planner.models.quantization.read import read as read_quantization
from planner.models.quantization.words import first_lines as quantised_lines
from planner.models.tasks import check_task, choose_task, describe, modality_of

Row = dict[str, str]


@cache
def index() -> dict[str, Row]:
    """Every lower-case name, alias and hub id (with and without its organisation) → the row. Raises
    ProfileError on a clash."""
    table: dict[str, Row] = {}
    for row in tables.rows("models", "catalogue.csv"):
        hub = [row["hub_id"], row["hub_id"].rpartition("/")[2]] if row["hub_id"] else []
        for key in {name.lower() for name in [row["name"], *row["aliases"].split(), *hub]}:
            if table.setdefault(key, row) is not row:
                raise ProfileError(
                    f"{key!r} names both {table[key]['name']} and {row['name']}",
                    where="profiles/models/catalogue.csv",
                )
    return table


def names() -> list[str]:
    """The catalogue's own names, in the table's order."""
    return [row["name"] for row in tables.rows("models", "catalogue.csv")]


def find(name: str) -> Row | None:
    """The row of a name, an alias or a hub id (any case), None where the catalogue has none."""
    return index().get(name.lower()) or _joined().get(_join(name))


def _join(name: str) -> str:
    """``GPT-2`` and ``gpt2`` are one name; dots stay, as opt-1.3b and opt-13b are two models."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


@cache
def _joined() -> dict[str, Row]:
    return {_join(name): row for name, row in index().items()}


def facts(row: Row, task: str | None = None) -> ModelFacts:
    """The facts of a catalogue row for a task, the row's own by default. Raises ModelError for a
    task it cannot be trained on."""
    known: dict[str, Any] = {
        "name": row["name"],
        "origin": "catalogue",
        "weights_dtype": row["weights_dtype"] or None,
        **published(row),
    }
    if row["library"] == "diffusers":
        return pipelines.facts_of(
            pipelines.read_config(config_file(row["name"])),
            known.pop("name"),
            known.pop("origin"),
            task,
            parameters=int(row["parameters"]),
            **known,
        )
    if row["library"] != "transformers":
        return _vision(row, check_task(task, row["task"], row["name"]), known)
    file = config_file(row["name"])
    config = read_config(file)
    chosen = choose_task(config, task, row["name"], usual=row["task"])
    task = chosen.task
    stated = describe(config, task)
    stated.pop("weights_dtype")
    quantization = read_quantization(config)
    return ModelFacts(
        library="transformers",
        task=task,
        modality=modality_of(task),
        fingerprint=config_fingerprint(config),
        config=config,
        parameters=int(row["parameters"]) if task == row["task"] else None,
        task_is_open=chosen.open,
        first_lines=(*quantised_lines(quantization), chosen.line),
        quantization=quantization,
        **known,
        **stated,
    )


def published(row: Row) -> dict[str, str | float | None]:
    """What a row states beside the architecture: licence and the published recipe's amount of
    data."""
    return {
        "license": row["license"] or None,
        "pretraining_amount": tables.number(row["pretraining_amount"]),
        "pretraining_unit": row["pretraining_unit"] or None,
        "pretraining_source": row["pretraining_source"] or None,
    }


def config_file(name: str) -> Path:
    return tables.path("models", "configs", f"{name}.json")


def _vision(row: Row, task: str, known: dict[str, Any]) -> ModelFacts:
    architecture = row["architecture"]
    classifies = task == "image_classification"
    what = "models classify images" if classifies else f"trains {architecture} so"
    return ModelFacts(
        library=row["library"],
        architecture=architecture,
        task=task,
        modality=row["modality"],
        fingerprint=text_fingerprint(f"{row['library']}:{architecture}"),
        parameters=int(row["parameters"]),
        image_size=int(row["image_size"]),
        first_lines=yolo.first_lines(architecture)
        if row["library"] == "ultralytics"
        else (FirstLine("task", f"trained as {task} ({row['library']} {what})"),),
        **known,
    )
