"""Lists as people write them in one text. What is no text is given back for pydantic to judge."""

from __future__ import annotations

import re
from typing import Any, cast


def by_commas(value: Any) -> Any:
    """``a,b`` becomes [a, b]."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def module_names(value: Any) -> Any:
    """Names by commas; a text with other signs than names have is one regular expression, whose
    commas are its own."""
    if isinstance(value, str) and not re.fullmatch(r"[\w.,\s-]*", value):
        return [value.strip()]
    return by_commas(value)


def ranks(value: Any) -> Any:
    """``q_proj=8``, or a mapping as PEFT takes it."""
    if isinstance(value, dict):
        pattern = cast("dict[str, Any]", value)
        return [f"{name}={rank}" for name, rank in pattern.items()]
    return by_commas(value)


def numbers(value: Any) -> Any:
    """One number, a list of them, or a text such as ``0-15,20``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    if isinstance(value, list):
        return [str(item) for item in cast("list[Any]", value)]
    return by_commas(value)
