"""Importing the model libraries: one place that mends torchvision beside a processor-only torch and
names missing extras."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from types import ModuleType
from typing import Any

from planner.deferred import RARELY_CALLED, deferred
from planner.errors import MissingExtraError

#: torchvision's Python code registers shapes for two operators of its compiled library when it is
#: imported; where that library does not load (a wheel built for another torch), the operators must
#: at least have been declared.
TORCHVISION_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

EXTRAS = {"transformers": "hf", "peft": "hf", "timm": "vision", "torchvision": "vision"} | {
    "ultralytics": "yolo",
    "diffusers": "diffusers",
}
#: What every model of a library that loads its parts one by one needs.
PARTS = {"transformers": ("modeling_utils", "masking_utils", "modeling_layers")}
#: Libraries that write reports: nothing of torch is imported with them.
REPORTING = {
    "xlsxwriter": "report",
    "typst": "report",
    "docx": "report",
    "vl_convert": "report",
    "font_source_sans_pro": "report",
}
# a torch.library.Library unregisters its operators when it is collected
_declared: list[object] = []


def import_library(name: str, purpose: str) -> ModuleType:
    """transformers, peft, timm or torchvision, imported safely. Raises MissingExtraError when it is
    not installed."""
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(name, EXTRAS[name], purpose)
    with deferred(*RARELY_CALLED):
        prepare_torchvision()
        module = importlib.import_module(name)
        for part in PARTS.get(name, ()):
            importlib.import_module(f"{name}.{part}")
    if name == "transformers" and "TRANSFORMERS_VERBOSITY" not in os.environ:
        # its remarks about configs are not this program's answers
        module.logging.set_verbosity_error()
    if name == "diffusers" and "DIFFUSERS_VERBOSITY" not in os.environ:
        module.logging.set_verbosity_error()
    return module


def import_reporting(name: str, purpose: str) -> ModuleType:
    """A library of ``REPORTING``. Raises MissingExtraError when it is not installed."""
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(name, REPORTING[name], purpose)
    return importlib.import_module(name)


@cache
def prepare_torchvision() -> None:
    """Declare torchvision's operators when its compiled library does not load. All three libraries
    import torchvision."""
    import torch

    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision.extension")
    # "operator torchvision::nms does not exist", raised half-way through the import
    except RuntimeError:
        _forget_torchvision()
    else:
        return
    library: Any = torch.library.Library("torchvision", "DEF")
    for schema in TORCHVISION_SCHEMAS:
        if not _registered(schema.partition("(")[0]):
            library.define(schema)
    _declared.append(library)


def _forget_torchvision() -> None:
    import sys

    for name in [
        name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")
    ]:
        del sys.modules[name]


def _registered(operator: str) -> bool:
    import torch

    core: Any = torch._C  # pyright: ignore[reportPrivateUsage]  # torch names no public way
    return core._dispatch_has_kernel(f"torchvision::{operator}") or hasattr(
        torch.ops.torchvision, operator
    )


def known_vision_model(library: str, name: str) -> bool:
    """Does the installed timm or torchvision know this (classification) model? Imports torch."""
    module = import_library(library, f"the model {library}:{name}")
    if library == "timm":
        return bool(module.is_model(name))
    return name in module.models.list_models(module=module.models)
