"""The models of ``planner.models.own`` by name: rows of ``own_models.csv``. No torch."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import UnknownNameError
from planner.first_lines import FirstLine
from planner.models.factory_source import source_fingerprint
from planner.models.facts import ModelFacts
from planner.models.tasks import check_task, modality_of

PREFIX = "own"


@cache
def rows() -> dict[str, dict[str, str]]:
    """Name → row."""
    return {row["name"]: row for row in tables.rows("models", "own_models.csv")}


def own_model(name: str, task: str | None) -> ModelFacts:
    """The facts of ``own:NAME``. Raises UnknownNameError, and ModelError for another task."""
    row = rows().get(name)
    if row is None:
        raise UnknownNameError(f"{PREFIX}: model", name, rows())
    task = check_task(task, row["task"], f"{PREFIX}:{name}")
    factory = row["factory"]
    return ModelFacts(
        name=f"{PREFIX}:{name}",
        origin="catalogue",
        library="factory",
        architecture=factory,
        task=task,
        modality=modality_of(task),
        fingerprint=source_fingerprint(factory),
        parameters=int(row["parameters"]),
        weights_dtype="float32",
        first_lines=(
            FirstLine("task", f"trained as {task} (all that {name} is made for)"),
            FirstLine("model", f"{name}: {row['assumed']}"),
        ),
    )
