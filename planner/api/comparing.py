"""``compare``: the planned step beside a recorded one, and the document that it returns."""

from __future__ import annotations

import os
import pathlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from planner.api.answer import Document
from planner.api.asking import Path, as_python_says, asked
from planner.api.explained import suffix_of
from planner.errors import FieldName, QuestionError
from planner.question import Question
from planner.report.words import clean

if TYPE_CHECKING:
    from planner.api.fields import QuestionFields
    from planner.compare.schema import ComparedSnapshot, ComparedTrace
    from planner.trace.source import Progress


class Comparison(Document):
    """The document of ``planner compare --json`` (``planner schema compare``): planned and recorded
    figures side by side, each pair with ``predicted``, ``recorded`` and their ``ratio``."""

    @cached_property
    def typed(self) -> ComparedTrace | ComparedSnapshot:
        """The document as the models of ``planner.compare.schema``: seconds of an optimizer step,
        bytes at the peak."""
        from planner.compare.schema import Compared

        return Compared.model_validate(self).root

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it: ``.md`` or ``.json``. Raises QuestionError."""
        from planner.files import write

        suffix = suffix_of(file, (".md", ".json"))
        text = self.to_json() + "\n" if suffix == ".json" else self._repr_markdown_()
        write(pathlib.Path(file), text)

    def __repr__(self) -> str:
        name = "step_seconds" if self["kind"] == "trace" else "peak_allocated_bytes"
        ratio = self["totals"][name]["ratio"]
        known = "nothing to divide by" if ratio is None else f"{ratio:.3g} of the recorded"
        return f"<Comparison {clean(self['option']['model'])}: {name} {known}>"

    def _repr_markdown_(self) -> str:
        from planner.report.formats.parts.markdown import markdown_of
        from planner.report.views.comparing.page import TITLE, parts

        return markdown_of(TITLE, parts(self))


def compare(
    question: Question | Path,
    data: Path | None = None,
    *,
    trace: Path | None = None,
    snapshot: Path | None = None,
    device: int | None = None,
    progress: Progress | None = None,
    **fields: Unpack[QuestionFields],
) -> Comparison:
    """The planned step of the option that ``estimate`` recommends beside one that was recorded.

    Arguments as of ``estimate``. One of ``trace``, a file of torch.profiler's
    ``export_chrome_trace``, and ``snapshot``, one of ``torch.cuda.memory._dump_snapshot``, which is
    read and never unpickled. ``device``: the index of the one that counts, where several were
    recorded. Returns the document of ``planner compare --json``. Raises PlannerError.
    """
    from planner.compare.document import compare_snapshot, compare_trace

    wanted = asked(question, data, fields)

    def compared() -> dict[str, Any]:
        if (trace is None) == (snapshot is None):
            raise QuestionError(
                "names nothing recorded" if trace is None else "is of time, a snapshot of memory",
                where=FieldName("trace"),
                mend=f"Name one, {FieldName('trace')} or {FieldName('snapshot')}",
            )
        if trace is not None:
            return compare_trace(wanted, pathlib.Path(trace), progress, device)
        assert snapshot is not None  # one of them is named
        return compare_snapshot(wanted, pathlib.Path(snapshot), progress, device)

    return Comparison(as_python_says(compared))
