"""Values of a record: their texts, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.datasets.layout.values import size_of


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


def joined(value: Any) -> str:
    """A cell as one text: lists are joined, of a part its text, of other dictionaries all that
    they say."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, map(joined, value)))
    if isinstance(value, dict):
        for key in ("text", "content", "value"):
            if key in value:
                return joined(value[key])
        return "\n".join(filter(None, map(joined, value.values())))
    return str(value)


def spread(count: int, most: int) -> range | list[int]:
    """``most`` indices of ``count``, evenly from the first to the last."""
    if count <= most:
        return range(count)
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
