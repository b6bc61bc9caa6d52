"""The libraries of the extras ``serve`` and ``mcp``."""

from __future__ import annotations

import importlib.util

from planner.errors import MissingExtraError

EXTRAS = {"fastapi": "serve", "uvicorn": "serve", "mcp": "mcp"}


def needed(library: str, purpose: str) -> None:
    """Raises MissingExtraError where the library is not installed."""
    if importlib.util.find_spec(library) is None:
        raise MissingExtraError(library, EXTRAS[library], purpose)
