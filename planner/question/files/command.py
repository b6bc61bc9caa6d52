"""A saved command line (``accelerate launch train.py`` and its flags) as plain values.

Nothing is run: variables that the same file sets are filled in, any other stays as it is written.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from planner.errors import QuestionError
from planner.question.files.document import Document

#: Keys for what is no flag of the script: its name, and what the launcher in front was told.
SCRIPT, LAUNCH = "(script)", "(launch)"
#: What begins a flag.
DASHES = "-" * 2
LAUNCHERS = ("accelerate", "torchrun", "deepspeed", "python", "python3")
#: Commands that train by themselves, and their verbs.
TRAINERS = {
    "trl": ("sft", "dpo", "grpo", "kto", "reward", "rloo", "distillation"),
    "llamafactory-cli": ("train",),
}
ASSIGNED = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL)
USED = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def of_command(text: str, path: Path) -> Document:
    """Raises QuestionError where the file holds no training command, or several."""
    found: list[dict[str, Any]] = []
    known: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise QuestionError(f"not a command line: {error}", where=str(path)) from None
        while words and (assigned := ASSIGNED.fullmatch(words[0])) and "export" not in words[0]:
            known[assigned[1]] = _filled(assigned[2], known)
            words = words[1:]
        if words[:1] == ["export"]:
            for word in words[1:]:
                if assigned := ASSIGNED.fullmatch(word):
                    known[assigned[1]] = _filled(assigned[2], known)
            continue
        if command := _command([_filled(word, known) for word in words]):
            found.append(command)
    if len(found) != 1:
        many = f"{len(found)} training commands" if found else "no training command"
        raise QuestionError(
            f"holds {many}",
            where=str(path),
            mend="Keep the one that is meant",
        )
    return Document(found[0])


def _filled(text: str, known: dict[str, str]) -> str:
    return USED.sub(lambda used: known.get(used[1] or used[2], used[0]), text)


def _command(words: list[str]) -> dict[str, Any] | None:
    """The flags of a command that trains; None for any other."""
    if not words:
        return None
    name = Path(words[0]).name
    if name in TRAINERS and len(words) > 1 and words[1] in TRAINERS[name]:
        return {SCRIPT: f"{name} {words[1]}"} | _flags(words[2:])
    if name not in LAUNCHERS:
        return None
    script = next((n for n, word in enumerate(words) if word.endswith(".py")), None)
    if script is None:
        return None
    launch = _flags(words[1:script])
    said = {SCRIPT: Path(words[script]).name} | _flags(words[script + 1 :])
    return said | ({LAUNCH: launch} if launch else {})


def _flags(words: list[str]) -> dict[str, Any]:
    """Name → value; a flag without one is true, one with several a list."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in words:
        if word.startswith(DASHES):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = [value] if equals else []
        elif name:
            found[name].append(word)
    return {
        key: True if not values else scalar(values[0]) if len(values) == 1 else values
        for key, values in found.items()
    }


def scalar(text: str) -> Any:
    """A word as the number or truth that it spells."""
    low = text.lower()
    if low in ("true", "false"):
        return low == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
