"""Importing the model libraries: one place that mends torchvision beside a processor-only torch and
names missing extras."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
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
#: Where transformers scans the files of its models.
SCANNING = "transformers.utils.import_utils"
# a torch.library.Library unregisters its operators when it is collected
_declared: list[object] = []


def import_library(name: str, purpose: str) -> ModuleType:
    """transformers, peft, timm or torchvision, imported safely. Raises MissingExtraError when it is
    not installed."""
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(name, EXTRAS[name], purpose)
    with deferred(*RARELY_CALLED), _scanned_once():
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


@contextmanager
def _scanned_once() -> Generator[None, None, None]:
    """While it holds, transformers is imported with one scan of its models' files: it reads all
    three thousand of them twice, by two spellings of one folder, and takes each apart by lines to
    find the one that starts with ``__all__``. What it finds is the same."""
    finder = _AfterImport(SCANNING, _scan_once)
    sys.meta_path.insert(0, finder)  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # pyright: ignore[reportArgumentType]


def _scan_once(module: ModuleType) -> None:
    """Give transformers' scanning module a memory and a short cut. A release that scans otherwise
    is left as it is."""
    if not (
        hasattr(module, "fetch__all__") and hasattr(module, "create_import_structure_from_path")
    ):
        return
    names, scan = module.fetch__all__, cache(module.create_import_structure_from_path.__wrapped__)

    def named(content: str) -> list[str]:
        at = content.rfind("\n__all__")
        return names(content if at < 0 else content[at + 1 :])

    def scanned(path: str | Path) -> object:
        return scan(os.path.dirname(path) if os.path.isfile(path) else os.fspath(path))

    module.fetch__all__, module.create_import_structure_from_path = named, scanned  # type: ignore


class _AfterImport:
    """Finds one module as the finders behind it do, and hands it to ``then`` once it ran."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self.name, self.then = name, then

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, self.then)  # pyright: ignore
        return spec


class _Then:
    """A loader that is followed by ``then``."""

    def __init__(self, loader: Any, then: Callable[[ModuleType], None]) -> None:
        self._loader, self._then = loader, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._then(module)


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
