"""Names of timm and torchvision: those that were given up, other spellings, tags of weights."""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner import tables
from planner.errors import ModelError, UnknownNameError
from planner.first_lines import FirstLine


@dataclass(frozen=True)
class VisionName:
    """``architecture`` is what the library is asked for; ``image_size`` in pixels and
    ``parameters`` as far as the tables know them, ``task`` what it is trained on; ``line``: what is
    said where it is called otherwise."""

    architecture: str
    image_size: int | None
    parameters: int | None
    line: FirstLine | None = None
    task: str = "image_classification"


def vision_name(library: str, name: str) -> VisionName | None:
    """The model of a name of the shipped tables, None for one that they do not know. Raises
    ModelError for a name that was removed."""
    table = {row["name"]: row for row in tables.rows("models", f"{library}_models.csv")}
    called = _renamed(name) if library == "timm" else name
    base, _, tag = called.partition(".")
    found = table.get(base) or table.get(_spelled(base, table) or "")
    if found is None:
        return None
    architecture = found["name"]
    size, tagged = tables.number(found["image_size"]), f"{architecture}.{tag}"
    if tag and library == "timm" and tagged in _tag_sizes():
        architecture, size = tagged, _tag_sizes()[tagged]
    count = tables.number(found["parameters"])
    line = None
    if called != name or architecture.partition(".")[0] != base:
        now = f"{found['name']}.{tag}" if tag else found["name"]
        line = FirstLine("model", f"{library}:{name} is called {now} in {library} now")
    return VisionName(
        architecture,
        int(size) if size else None,
        int(count) if count else None,
        line,
        found.get("task") or "image_classification",
    )


def _renamed(name: str) -> str:
    rows = {row["name"]: row["now"] for row in tables.rows("models", "timm_renames.csv")}
    if name not in rows:
        return name
    if not rows[name]:
        raise ModelError("timm has removed this model", where=f"timm:{name}")
    return rows[name]


def is_old_name(name: str) -> bool:
    """Is it a name that timm gave up, or a present one with its tag? Such a name needs no
    ``timm:`` to be told from a hub id."""
    rows = {row["name"] for row in tables.rows("models", "timm_renames.csv")}
    return name in rows or name in _tag_sizes()


def _tag_sizes() -> dict[str, float]:
    rows = tables.rows("models", "timm_tags.csv")
    return {row["name"]: float(row["image_size"]) for row in rows}


def _spelled(name: str, known: dict[str, dict[str, str]]) -> str | None:
    """``ResNet-50`` and ``resnet50`` are one name."""
    joined = {_join(one): one for one in known}
    return joined.get(_join(name))


def _join(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.lower())


def unknown(library: str, name: str) -> UnknownNameError:
    names = [row["name"] for row in tables.rows("models", f"{library}_models.csv")]
    return UnknownNameError(
        f"{library} model", name, names, mend=f"{library} lists its names with list_models()"
    )
