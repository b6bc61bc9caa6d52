"""What a budget is of: an answer's document, its recommended option, and where the question was
asked here all that the answer was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.answer.estimate import Answered
from planner.answer.limits import recommended_option
from planner.cost.prices.offers import STALE_DAYS
from planner.plan.options import Option
from planner.plan.survey.candidate import Candidate
from planner.question import Question
from planner.trace.source import Progress

Json = dict[str, Any]


@dataclass
class Subject:
    """``made``: what the document was made of; None for a document that was read from a file and is
    answered otherwise today. ``left_out`` gathers what the report cannot show, and why."""

    document: Mapping[str, Any]
    made: Answered | None
    progress: Progress | None = None
    left_out: list[str] = field(default_factory=list)

    @property
    def question(self) -> Mapping[str, Any]:
        """With today's defaults for fields that an older answer does not hold."""
        defaults = {name: info.default for name, info in Question.model_fields.items()}
        return {**defaults, **self.document["question"]}

    @property
    def options(self) -> list[Json]:
        return self.document["options"]

    @property
    def index(self) -> int | None:
        """The recommended option's; None where nothing is recommended."""
        chosen = recommended_option(self.document)
        if chosen is None:
            return None
        return next(place for place, one in enumerate(self.options) if one is chosen)

    @property
    def option(self) -> Json | None:
        index = self.index
        return None if index is None else self.options[index]

    @property
    def trained(self) -> tuple[Candidate, Option] | None:
        """The recommended way, where it trains and the answer was made here."""
        made, index = self.made, self.index
        if made is None or index is None or index >= len(made.shown):
            return None
        return made.shown[index], made.options[index]

    @property
    def usd(self) -> float | None:
        """Of the recommended run, the median."""
        option = self.option
        return option["cost"]["usd"]["p50"] if option and option["cost"] else None

    def lacks(self, text: str) -> None:
        """Name what the report cannot show, once."""
        if text not in self.left_out:
            self.left_out.append(text)


def is_stale(age_days: int | None) -> bool:
    """Whether a price is to be asked for again."""
    return age_days is not None and age_days > STALE_DAYS
