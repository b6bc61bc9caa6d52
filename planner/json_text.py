"""JSON from foreign files: nested no deeper than what reads it stands."""

from __future__ import annotations

import json
from typing import Any

#: No record, config or settings file nests deeper; what walks a value calls itself for each level.
DEEPEST = 100


def loads(text: str | bytes) -> Any:
    """As ``json.loads``. Raises ValueError for what is no JSON, and where objects and lists lie
    more than ``DEEPEST`` within each other."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    return checked(value, text)


def checked(value: Any, text: str | bytes) -> Any:
    """The value, which was made of ``text``. Raises ValueError as ``loads``."""
    brackets = (b"[", b"{") if isinstance(text, bytes) else ("[", "{")
    opened = sum(text.count(bracket) for bracket in brackets)  # type: ignore[arg-type]
    if opened > DEEPEST and _is_deeper(value, DEEPEST):
        raise ValueError(TOO_DEEP)
    return value


TOO_DEEP = f"nested too deeply, past {DEEPEST} levels"


def _is_deeper(value: Any, levels: int) -> bool:
    """Level by level, as calling itself would end where the check is needed."""
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        level = [
            part
            for outer in level
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(part, (dict, list))
        ]
        if not level:
            return False
    return True
