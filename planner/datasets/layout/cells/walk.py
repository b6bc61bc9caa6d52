"""Values of a record: their texts, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from planner.datasets.layout.cells.names import role_of
from planner.datasets.layout.cells.values import size_of


def strings(value: Any) -> Iterator[str]:
    """Every text inside of a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def text_bytes(value: Any) -> int:
    """UTF-8 bytes of all texts inside of a value."""
    return size_of(value) if isinstance(value, str) else sum(map(size_of, strings(value)))


def empty(value: Any) -> bool:
    """No value: None, an empty text, list or dictionary. 0 and False are values."""
    return value is None or (isinstance(value, (str, list, tuple, dict)) and not value)


def told(value: Any) -> Iterator[str]:
    """The texts of a cell that are trained on: all of lists; of a dictionary its text, its answer
    or its question where a key says so, else all."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from told(item)
    elif isinstance(value, dict):
        key = _text_key(tuple(value))
        for item in value.values() if key is None else (value[key],):
            yield from told(item)
    elif value is not None:
        yield str(value)


@lru_cache(4096)
def _text_key(keys: tuple[str, ...]) -> str | None:
    plain = next((key for key in ("text", "content", "value", "input_text") if key in keys), None)
    roles = {role_of(str(key))[0]: key for key in reversed(keys)}
    return plain or roles.get("answer") or roles.get("prompt")


def joined(value: Any) -> str:
    """A cell as one text."""
    return value if isinstance(value, str) else " ".join(filter(None, told(value)))


def spread(count: int, most: int) -> range | list[int]:
    """``most`` indices of ``count``, evenly from the first to the last."""
    if count <= most:
        return range(count)
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
