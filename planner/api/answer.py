"""The answer as Python holds it: the JSON document itself, with typed views on it."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError

if TYPE_CHECKING:
    import pandas

    from planner.answer.schema import Answer as AnswerSchema
    from planner.api.option import Option
    from planner.trace.source import Progress


class NothingRecommended(PlannerError):
    """No option can be recommended."""


class Document(dict[str, Any]):
    """A document of the command line's ``--json``, key for key, that shows itself in notebooks."""

    def to_json(self) -> str:
        """The text that ``--json`` prints."""
        from planner.report.formats.json_text import as_json

        return as_json(self)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary of the same keys, for libraries that take no other."""
        return dict(self)


class Answer(Document):
    """What ``estimate`` returns: the document (``planner schema answer``) as a dictionary, and its
    figures by name. Bytes, hours, seconds and US dollars, as the keys say; figures have ``p10``,
    ``p50`` and ``p90`` and lie between p10 and p90 with 80 % probability."""

    @property
    def best(self) -> Option:
        """The recommended option. Raises NothingRecommended, which says what stands in the way."""
        from planner.answer.limits import broken_limits, recommended_option

        chosen = recommended_option(self)
        if chosen is not None:
            return self.options[next(i for i, one in enumerate(self["options"]) if one is chosen)]
        why = "; ".join(broken_limits(self)) or "no option fits"
        raise NothingRecommended(f"nothing can be recommended: {why}", mend="See answer.options")

    @cached_property
    def options(self) -> list[Option]:
        """Every option, typed, in the order of the document."""
        from planner.api.option import Option

        return [Option.model_validate(one) for one in self["options"]]

    @property
    def why(self) -> str | None:
        """Why the best option is recommended; None where none is."""
        return (self["recommended"] or {}).get("why")

    @property
    def first_lines(self) -> list[str]:
        """How the question was understood, and what of it was left out or assumed."""
        return [line["text"] for line in self["first_lines"]]

    @property
    def warnings(self) -> list[str]:
        """What may be wrong with the figures, of the question and of the best option."""
        chosen = self["recommended"] and self.best.warnings
        return list(dict.fromkeys([*self["warnings"], *(chosen or [])]))

    @cached_property
    def typed(self) -> AnswerSchema:
        """The whole document as the models of ``planner.answer.schema``."""
        from planner.answer.schema import Answer as AnswerSchema

        return AnswerSchema.model_validate(self)

    def option(self, strategy: str) -> Option:
        """The option of a strategy: of several variants the first. Raises UnknownNameError."""
        from planner.errors import UnknownNameError

        wanted = strategy.replace("-", "_")
        for one in self.options:
            if one.strategy == wanted:
                return one
        raise UnknownNameError(
            "strategy of this answer", strategy, [one.strategy for one in self.options]
        )

    def to_pandas(self) -> pandas.DataFrame:
        """A row an option, a column a figure with its unit in the name (``hours_p50``, ``usd_p90``,
        ``memory_gib_p50``); blank where an option has no such figure."""
        import pandas

        from planner.api.rows import rows

        return pandas.DataFrame(rows(self))

    def save(self, file: str | os.PathLike[str], progress: Progress | None = None) -> None:
        """Write the report, its format by the suffix, as ``planner report -o`` does: with offers,
        sensitivity and chances, for which the question is asked anew, some seconds of
        ``progress(what, done, total)``. Raises QuestionError where there is no such format or
        folder."""
        from planner.api.saving import save

        save(self, file, progress)

    def __repr__(self) -> str:
        from planner.api.shown import short

        return short(self)

    def _repr_html_(self) -> str:
        from planner.api.shown import of_answer

        return of_answer(self).html()

    def _repr_markdown_(self) -> str:
        from planner.api.shown import of_answer

        return of_answer(self).markdown()
