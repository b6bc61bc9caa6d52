"""The part ``budget`` of an answer's document, as pydantic models: everything that a budget report
shows and an answer alone does not hold.

A report is made of one document: the answer of ``planner estimate`` (``planner/answer/schema.py``)
with this part beside ``options``. Views read it and work nothing out. USD, hours and bytes as in
the answer; a list is empty where nothing can be said, and ``left_out`` then says why.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from planner.answer.schema import Answer, FirstLine
from planner.answer.schema_of_option import SUM_TOLERANCE, Figure, Part


class Headline(Part):
    """What the first screen holds. ``option``: index into ``options``, None where nothing is
    recommended; the figures are then None too."""

    option: int | None = Field(ge=0)
    strategy: str | None
    variant: str | None
    model: str
    data: str = Field(description="What is trained on, in words: 20,000 records, mean 192 tokens")
    gpu: str | None
    gpus: int = Field(ge=0)
    provider: str | None
    usd: Figure | None = Field(description="Of this run, as cost.usd of the option")
    wall_hours: Figure | None
    gpu_hours: Figure | None
    price_date: str | None
    price_age_days: int | None
    price_stale: bool


class Choice(Part):
    """An option that is advised, and why; ``usd_more`` and ``hours_more`` are what it takes beyond
    the recommended one, medians."""

    option: int = Field(ge=0)
    why: str
    usd_more: float | None
    hours_more: float | None


class Over(Part):
    """A limit that the nearest option is over, in USD, hours or, of ``memory``, bytes."""

    limit: Literal["max_usd", "max_hours", "deadline", "memory"]
    allowed: float
    used: float
    over: float
    words: str = Field(description="$0.21 over max_usd $0.10")


class Nearest(Part):
    """Where nothing is recommended: the option that fits and comes nearest to the limits, else the
    one that lacks least memory. ``offer``: index into ``offers`` of the cheapest that would keep
    the limits, None where none does."""

    option: int = Field(ge=0)
    over: list[Over]
    offer: int | None = Field(ge=0)


class Line(Part):
    """One line of the bill: ``quantity`` × ``usd_per_unit`` = ``usd``. Lines of a ``group`` sum to
    what the group costs: ``run`` to ``cost.usd.p50`` of the recommended option."""

    group: Literal["run", "serving"]
    name: str
    quantity: float = Field(ge=0)
    unit: str
    usd_per_unit: float = Field(ge=0)
    usd: float = Field(ge=0)
    note: str | None
    source: str | None
    date: str | None

    @model_validator(mode="after")
    def _multiplies(self) -> Line:
        product = self.quantity * self.usd_per_unit
        if abs(product - self.usd) > max(1e-9, SUM_TOLERANCE * self.usd):
            raise ValueError(f"{self.name}: {product} is not {self.usd}")
        return self


class ProjectLine(Part):
    """What people pay around a run, low to high, USD; ``low_usd`` and ``high_usd`` of all lines sum
    to the project's."""

    name: str
    low: float | None = Field(description="Low quantity in ``unit``: 2 trials")
    high: float | None
    unit: str
    low_usd: float
    high_usd: float
    note: str | None
    source: str | None


class Project(Part):
    """The project as people run it, beside the single run."""

    run_usd: float = Field(ge=0)
    low_usd: float = Field(ge=0)
    high_usd: float = Field(ge=0)
    lines: list[ProjectLine]


class Offer(Part):
    """One GPU at one provider that the recommended strategy was priced on."""

    strategy: str
    gpu: str
    gpus: int = Field(ge=1)
    provider: str
    instance_type: str | None
    usd: Figure
    wall_hours: Figure
    usd_per_gpu_hour: float | None
    price_date: str | None
    price_age_days: int | None
    keeps_limits: bool
    on_front: bool = Field(description="No other offer is both cheaper and faster")
    chosen: bool


class Stage(Part):
    """One step of the order to go in (``planner choose``): when to go on, when to stop."""

    name: str
    strategy: str | None
    usd: float | None
    spent_by_then_usd: float | None
    where: str | None
    go_on: str
    why_not: str | None = None


class Sensitivity(Part):
    """What changing one assumption does to dollars and hours of the recommended option, each asked
    anew."""

    what: str
    field: str | None = Field(description="The field of the question that says it")
    low: str = Field(description="The low value in words, with its unit")
    high: str
    usd_low: float | None = Field(description="USD at the low value")
    usd_high: float | None
    hours_low: float | None
    hours_high: float | None
    why: str = Field(description="Where the span comes from")


class Chance(Part):
    """A point of the distribution of the bill: with ``chance`` it costs more than ``usd``."""

    usd: float = Field(ge=0)
    chance: float = Field(ge=0, le=1)


class TimePart(Part):
    """A part of the recommended run's wall-clock time; parts of one level sum to the run."""

    phase: str
    part: str | None = Field(description="None: the whole phase")
    hours: float = Field(ge=0)
    share: float = Field(ge=0, le=1)


class SimilarRun(Part):
    """A run that somebody reports, beside what is planned for it."""

    name: str
    strategy: str
    gpu: str
    reported_hours: float | None
    planned_hours: float | None
    error: float | None = Field(description="(planned − reported) / reported, of hours")
    source: str


class Accuracy(Part):
    """How right the planner was on runs like this one."""

    like: str = Field(description="Which runs these are, in words")
    runs: int = Field(ge=0)
    median_error: float | None
    within_30_percent: float | None
    inside_range: float | None
    bias: float | None
    shown: list[SimilarRun]
    source: str


class Enough(Part):
    """What the data supports, by strategy."""

    strategy: str
    verdict: str
    needed: str | None
    source: str | None


class Price(Part):
    """A provider's price that the report stands on, with its age."""

    provider: str
    gpu: str
    usd_per_gpu_hour: float
    date: str
    age_days: int
    stale: bool
    source: str


class Reproduce(Part):
    command: str
    python: str
    version: str
    made: str = Field(description="The day on which the report was made, YYYY-MM-DD")


class Term(Part):
    term: str
    meaning: str


class Budget(Part):
    """All of it. ``question`` is one or two sentences; ``decisive`` are at most five lines that
    change a decision; ``left_out`` says what the report cannot show, and why."""

    title: str
    question: str
    headline: Headline
    recommended: Choice | None
    runner_up: Choice | None
    nearest: Nearest | None = None
    decisive: list[FirstLine] = Field(max_length=5)
    lines: list[Line]
    project: Project | None
    offers: list[Offer]
    stages: list[Stage]
    sensitivity: list[Sensitivity]
    chances: list[Chance]
    chance_over_limit: float | None = Field(description="That max_usd is not enough")
    time: list[TimePart]
    accuracy: Accuracy | None
    enough: list[Enough]
    prices: list[Price]
    reproduce: Reproduce
    glossary: list[Term]
    left_out: list[str]


class BudgetDocument(Answer):
    """An answer's document with its budget."""

    budget: Budget


def validated(document: dict[str, Any]) -> dict[str, Any]:
    """The document itself. Raises pydantic.ValidationError where it is not a budget's."""
    BudgetDocument.model_validate(document)
    return document
