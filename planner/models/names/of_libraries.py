"""Names of libraries' own models and of factories become facts: timm, torchvision, Ultralytics,
what ships, what a user wrote."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

from planner.errors import ModelError
from planner.first_lines import FirstLine
from planner.models import catalogue
from planner.models.constants import constant
from planner.models.facts import ModelFacts, text_fingerprint
from planner.models.names import own, renames, yolo
from planner.models.tasks import check_task, modality_of

IMAGE_CLASSES = "image_classification"


def vision(library: str, name: str, task: str | None) -> ModelFacts:
    """A timm or torchvision model. What the shipped table of names does not know is left to the
    installed library to refuse."""
    row = catalogue.find(name) if library == "timm" else None
    known = renames.vision_name(library, name)
    only = known.task if known else IMAGE_CLASSES
    task = check_task(task, only, f"{library}:{name}")
    what = "models classify images" if only == IMAGE_CLASSES else f"trains {name} so"
    lines = (FirstLine("task", f"trained as {task} ({library} {what})"),)
    if row is not None and row["library"] == library and row["architecture"] == name:
        facts = catalogue.facts(row, task)
        return replace(facts, name=f"{library}:{name}", origin=library, first_lines=lines)
    if known is None and not _newer(library, name):
        raise renames.unknown(library, name)
    known = known or renames.VisionName(name, None, None)
    return ModelFacts(
        name=f"{library}:{name}",
        origin=library,
        library=library,
        architecture=known.architecture,
        task=task,
        modality="image",
        fingerprint=text_fingerprint(f"{library}:{known.architecture}"),
        image_size=known.image_size,
        parameters=known.parameters,
        first_lines=(known.line, *lines) if known.line else lines,
    )


def _newer(library: str, name: str) -> bool:
    """Does an installed release know a name that the shipped table does not? Asked only when the
    table fails: imports torch."""
    if importlib.util.find_spec(library) is None:
        return False
    from planner.libraries import known_vision_model

    return known_vision_model(library, name)


def yolo_detector(name: str, task: str | None) -> ModelFacts:
    """A detector of Ultralytics. Raises ModelError for a name of no series."""
    row = catalogue.find(name)
    if row is not None and row["library"] == "ultralytics":
        return replace(catalogue.facts(row, task), name=f"yolo:{name}", origin="ultralytics")
    if not yolo.SERIES.fullmatch(name):
        raise ModelError(
            f"unknown YOLO {name!r}", mend="Name a series and a size: yolo:yolov8n, yolo:yolo11m"
        )
    return ModelFacts(
        name=f"yolo:{name}",
        origin="ultralytics",
        library="ultralytics",
        architecture=name,
        task=check_task(task, "object_detection", f"yolo:{name}"),
        modality="image",
        fingerprint=text_fingerprint(f"ultralytics:{name}"),
        image_size=int(constant("yolo_side")),
        license=yolo.LICENCE,
        first_lines=yolo.first_lines(name),
    )


def factory(name: str, task: str | None) -> ModelFacts:
    """A user's ``package.module:function``."""
    from planner.models.factory_source import source_fingerprint

    return ModelFacts(
        name=name,
        origin="factory",
        library="factory",
        architecture=name,
        task=task or "custom",
        modality=modality_of(task or ""),
        fingerprint=source_fingerprint(name),
        first_lines=(FirstLine("task", f"trained as {task or 'custom'} (the factory's own loss)"),),
    )


def own_model(name: str, task: str | None) -> ModelFacts:
    """A factory that ships, of which more is known than of a user's."""
    name = own.kin_for(name, task) or name if task else name
    row = own.row_of(name)
    facts = factory(row["factory"], check_task(task, row["task"], f"{own.PREFIX}:{name}"))
    return replace(
        facts,
        name=f"{own.PREFIX}:{name}",
        origin="catalogue",
        parameters=int(row["parameters"]),
        weights_dtype="float32",
        published_weights=False,
        first_lines=(*facts.first_lines, own.line_of(name)),
    )
