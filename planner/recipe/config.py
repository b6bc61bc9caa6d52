"""A recipe's config.yaml: sections of keys with their values, each with a comment, as flat YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

WIDTH = 98


@dataclass(frozen=True)
class Key:
    """``why``: a comment behind the value."""

    name: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    keys: tuple[Key, ...]


def section(title: str, *keys: Key | None) -> Section:
    """Without those that do not apply."""
    return Section(title, tuple(key for key in keys if key is not None))


def text_of(head: Iterable[str], sections: Iterable[Section]) -> str:
    lines = [f"# {line}" if line else "#" for line in head]
    for part in sections:
        if part.keys:
            lines += ["", f"# {part.title}", *map(_line, part.keys)]
    return "\n".join(lines) + "\n"


def values_of(sections: Iterable[Section]) -> dict[str, Any]:
    return {key.name: key.value for part in sections for key in part.keys}


def _line(key: Key) -> str:
    written = f"{key.name}: {_value(key.value)}"
    return f"{written}  # {key.why}" if key.why else written


def _value(value: Any) -> str:
    """One line of YAML."""
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(list(value) if isinstance(value, tuple) else value)
    return yaml.safe_dump(value, width=10**6, allow_unicode=True).removesuffix("...\n").strip()
