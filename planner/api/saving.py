"""An answer written as a report, its format by the file's suffix."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import QuestionError
from planner.files import write
from planner.report.formats.registry import format_for, formats_of

if TYPE_CHECKING:
    from planner.trace.source import Progress


def save(
    answer: Mapping[str, Any], file: str | os.PathLike[str], progress: Progress | None = None
) -> None:
    """The document of ``planner report``, whole or not at all; what it asks anew takes seconds.
    Raises QuestionError where there is no such format or folder, MachineError where the machine
    refuses."""
    target = Path(file)
    chosen = format_for(target, "answer")
    if chosen is None:
        raise QuestionError(
            f"{target.suffix or str(target)!r} is no report format",
            where=str(target),
            mend=f"End it in {' or '.join(formats_of('answer'))}",
        )
    from planner.budget.make import budget_of_answer

    # templates look attributes up before keys: they get the plain document
    write(target, chosen.render(budget_of_answer(dict(answer), progress)))
