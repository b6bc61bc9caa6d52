"""A file of settings as plain values, by its suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from planner.errors import QuestionError
from planner.question.files.document import (
    COMMANDS,
    JSON,
    PICKLES,
    TOML,
    Document,
    text_of,
)


def read(path: Path) -> Document:
    """The settings of a file. Raises QuestionError in one line for a file that is missing, too
    large, no text, malformed, or says a key twice."""
    if path.name in PICKLES:
        raise QuestionError(
            "is a pickle, which runs what is in it when it is read",
            where=str(path),
            mend="Write the arguments as JSON in the training script (training_args."
            "to_json_string()) and name that file",
        )
    return _reader(path)(text_of(path), path)


def _reader(path: Path) -> Callable[[str, Path], Document]:
    """Each format's reader is imported where there is such a file."""
    suffix = path.suffix.lower()
    if suffix in JSON:
        from planner.question.files.plain import of_json

        return of_json
    if suffix in TOML:
        from planner.question.files.plain import of_toml

        return of_toml
    if suffix in COMMANDS:
        from planner.question.files.command import of_command

        return of_command
    from planner.question.files.yaml_text import of_yaml

    return of_yaml
