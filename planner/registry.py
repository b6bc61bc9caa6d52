"""One file a kind: what the modules of a package declare, found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def declared(package: str, name: str) -> list[Any]:
    """The value of ``name`` in every module of ``package`` that has it, in the order of the files'
    names. Adding one is adding a file to a folder of the package's ``__path__``."""
    home = importlib.import_module(package)
    modules = (
        importlib.import_module(f"{package}.{module.name}")
        for module in pkgutil.iter_modules(home.__path__)
    )
    return [getattr(module, name) for module in modules if hasattr(module, name)]
