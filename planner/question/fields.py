"""What a field of the question allows, for flags, forms and files."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin


def choices(annotation: Any) -> list[str]:
    """The strings that a field allows, also inside ``list[…]`` and ``… | None``; empty where
    anything goes."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) for value in choices(part)]


def kinds(annotation: Any) -> set[type]:
    """The plain types in an annotation, without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return set().union(*(kinds(part) for part in get_args(annotation)))
    return set() if annotation is type(None) else {get_origin(annotation) or annotation}
