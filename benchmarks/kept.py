"""Answers that a run which was cut off leaves for the next one: a line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


def _itself(value: Any) -> Any:
    return value


def _never(_value: Any) -> bool:
    return False


class Kept:
    """Key → value, of ``file`` and written there as they come; in memory alone without one. What is
    kept belongs to one state of the code: the caller gives another file for another.

    ``read`` makes a value of its JSON; a value of which ``again`` holds is asked anew, and the last
    one of a key counts.
    """

    def __init__(
        self,
        file: Path | None,
        read: Callable[[Any], Any] = _itself,
        again: Callable[[Any], bool] = _never,
    ):
        self._file, self._again = file, again
        self._values: dict[str, Any] = {}
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                key, value = json.loads(line)
                self._values[key] = read(value)

    def __contains__(self, key: str) -> bool:
        return key in self._values and not self._again(self._values[key])

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def get(self, key: str) -> Any:
        """None where it has to be asked."""
        return self._values[key] if key in self else None

    def put(self, key: str, value: Any) -> None:
        """``value``: JSON, or a dataclass of it."""
        self._values[key] = value
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([key, plain]) + "\n")
