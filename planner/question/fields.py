"""What a field of the question allows, for flags, forms and files."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin

from pydantic_core import CoreSchema, core_schema


class OneOf:
    """Marks a text field that allows certain names, where they are found and not written down:
    ``Annotated[str, OneOf(names)]`` behaves as ``Literal`` of the names does."""

    def __init__(self, names: Iterable[str]):
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


def choices(annotation: Any) -> list[str]:
    """The strings that a field allows, also inside ``list[…]`` and ``… | None``; empty where
    anything goes."""
    if isinstance(annotation, OneOf):
        return list(annotation.names)
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) for value in choices(part)]


def plain_types(annotation: Any) -> set[type]:
    """The plain types in an annotation, without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return set[type]().union(*(plain_types(part) for part in get_args(annotation)))
    return set() if annotation is type(None) else {get_origin(annotation) or annotation}
