"""The next smaller model of the same family in the catalogue: what it would cost stands beside the
one that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from string import ascii_lowercase

from planner import tables
from planner.errors import PlannerError
from planner.models.catalogue import config_file
from planner.models.configs import read_config
from planner.models.constants import constant
from planner.models.facts import ModelFacts
from planner.trace.source import shipped_models


def smaller_siblings(facts: ModelFacts) -> Iterator[tuple[str, int, bool]]:
    """(name, parameters, whether its trace is shipped) of models that are trained on the same task
    and are clearly smaller, the largest of them first; nothing for a model of unknown size."""
    if facts.parameters is None:
        return
    family = _family(facts.library, facts.architecture, (facts.config or {}).get("model_type"))
    rows = [
        row
        for row in tables.rows("models", "catalogue.csv")
        if row["library"] == facts.library
        and row["task"] == facts.task
        and row["name"] != facts.name
        and row["parameters"]
        and float(row["parameters"]) <= facts.parameters * constant("smaller_share")
    ]
    for row in sorted(rows, key=lambda row: -float(row["parameters"])):
        if _family_of(row) == family:
            yield row["name"], int(row["parameters"]), row["name"] in shipped_models()


def _family_of(row: dict[str, str]) -> str | None:
    if row["library"] != "transformers":
        return _family(row["library"], row["architecture"], None)
    try:
        return _family(
            "transformers", None, read_config(config_file(row["name"])).get("model_type")
        )
    except PlannerError:
        return None


def _family(library: str, architecture: str | None, model_type: str | None) -> str:
    """``transformers`` by the config's model_type, image libraries by the letters that a name
    starts with: resnet, vit."""
    if library == "transformers":
        return str(model_type)
    return "".join(takewhile(ascii_lowercase.__contains__, str(architecture)))
