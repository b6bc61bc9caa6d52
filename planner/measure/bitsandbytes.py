"""The library for 4-bit layers and 8-bit optimizers, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from planner.errors import MissingExtraError


def bitsandbytes(purpose: str) -> Any:
    """The library, imported. Raises MissingExtraError when it is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "qlora", f"running {purpose}")
    return importlib.import_module("bitsandbytes")


def torchao(purpose: str) -> Any:
    """The library, imported. Raises MissingExtraError when it is not installed."""
    if importlib.util.find_spec("torchao") is None:
        raise MissingExtraError("torchao", "torchao", f"running {purpose}")
    return importlib.import_module("torchao.optim")
