"""What ``explain`` and ``diff`` return: the documents of the command line, with typed views."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from planner.api.answer import Document
from planner.errors import QuestionError
from planner.report.words import clean, seconds_text, usd_text

if TYPE_CHECKING:
    import pandas

    from planner.diff.schema import Diff
    from planner.explain.schema import Change, Explained


class Explanation(Document):
    """The document of ``planner explain --json``: where time and memory of a step go, and what each
    change would buy."""

    @cached_property
    def typed(self) -> Explained:
        """The document as the models of ``planner.explain.schema``: seconds of an optimizer step,
        bytes at the peak."""
        from planner.explain.schema import Explained

        return Explained.model_validate(self)

    @property
    def changes(self) -> list[Change]:
        """Each change that was asked, in the order of the document: what it buys most first."""
        return self.typed.changes

    def to_pandas(self) -> pandas.DataFrame:
        """The changes: a row each, nested parts by names with dots."""
        import pandas

        return pandas.json_normalize(self["changes"])

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it: ``.html`` with charts, ``.md``, ``.json`` or ``.csv``. Raises QuestionError."""
        from planner.files import write
        from planner.report.formats.parts.explained import render

        suffixes = (".html", ".md", ".json", ".csv")
        write(Path(file), render(self.to_dict(), suffix_of(file, suffixes)))

    def __repr__(self) -> str:
        option = self["option"]
        where = " on ".join(clean(part) for part in (option["strategy"], option["gpu"]) if part)
        step = seconds_text(self["time"]["seconds"])
        return f"<Explanation {clean(option['model'])}: {where}, {step} a step>"

    def _repr_markdown_(self) -> str:
        from planner.report.formats.parts.explained import render

        return render(self.to_dict(), ".md")


class Difference(Document):
    """The document of ``planner diff --json``: what changed between two questions or answers, and
    why."""

    @cached_property
    def typed(self) -> Diff:
        """The document as the models of ``planner.diff.schema``: medians, USD, hours, bytes."""
        from planner.diff.schema import Diff

        return Diff.model_validate(self)

    @property
    def usd(self) -> float | None:
        """US dollars of the recommended option, after less before; None where not known."""
        return self.typed.recommended.change.usd

    @property
    def hours(self) -> float | None:
        """Wall-clock hours of the recommended option, after less before; None where not known."""
        return self.typed.recommended.change.wall_hours

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it: ``.md`` for a comment, or ``.json``. Raises QuestionError."""
        from planner.files import write

        suffix = suffix_of(file, (".md", ".json"))
        write(Path(file), self.to_json() + "\n" if suffix == ".json" else self._repr_markdown_())

    def __repr__(self) -> str:
        change = (
            "unknown"
            if self.usd is None
            else f"{'−' if self.usd < 0 else '+'}" + usd_text(abs(self.usd))
        )
        return f"<Difference {clean(self['a']['label'])} → {clean(self['b']['label'])}: {change}>"

    def _repr_markdown_(self) -> str:
        from planner.report.formats.parts.markdown import markdown_of
        from planner.report.views.differing.page import parts

        return markdown_of("What this change costs", parts(self.to_dict()))


def suffix_of(file: str | os.PathLike[str], known: tuple[str, ...]) -> str:
    suffix = Path(file).suffix.lower()
    if suffix not in known:
        raise QuestionError(
            f"{suffix or os.fspath(file)!r} is no format of this document",
            where=os.fspath(file),
            mend=f"End it in {', '.join(known[:-1])} or {known[-1]}",
        )
    return suffix
