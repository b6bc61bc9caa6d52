"""Answers that a run which was cut off leaves for the next one: a line of JSON each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Kept:
    """Key → value, of ``file`` and written there as they come; in memory alone without one. What is
    kept belongs to one state of the code: the caller gives another file for another."""

    def __init__(self, file: Path | None):
        self._file = file
        self._values: dict[str, Any] = {}
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                key, value = json.loads(line)
                self._values[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def keep(self, key: str, value: Any) -> None:
        self._values[key] = value
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps([key, value]) + "\n")
