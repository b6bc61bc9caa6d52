"""Published recipes: which row of ``profiles/recipes`` is nearest to a question, and what it says.

Facts only: what a row fills, and what its kind is not trusted for, ``practice.py`` decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from planner import tables
from planner.datasets.profile import DatasetProfile
from planner.models.facts import ModelFacts
from planner.plan.inputs.published import Published, published
from planner.units import SECONDS_PER_HOUR

#: From strong to weak evidence.
KINDS = ("recipe", "paper", "example", "community", "library_default")
#: Data is alike in size within this factor, models within this power of two.
ALIKE_FACTOR, ALIKE_MODELS_LOG2 = 10.0, 2.0
#: A recipe on so many times less data than ours is no neighbour; one of steps neither on more.
FAR_FACTOR = 100.0
#: Data of one class are within a factor of √10 of each other.
DATA_CLASS = math.log(10) / 2
#: ``_family_rank`` of the family that leads an architecture.
LEADING = 1
#: Models of one size class are within a factor of √8 of each other.
SIZE_CLASS_LOG2 = 1.5
AUDIO_SECONDS = "audio seconds"
#: Batches that are no number of samples.
OTHER_UNITS = ("tokens", "words")


@dataclass(frozen=True)
class Work:
    """A published task that is ours, by a row of ``tasks.csv``; of equal ``order`` none is nearer.
    ``steps_win``: its recipes are made of steps, whatever the data; ``packs``: its samples are
    packed."""

    task: str
    strategy: str
    group: str
    order: int
    steps_win: bool
    packs: bool


@dataclass(frozen=True)
class Asker:
    """What a recipe is sought for."""

    family: str | None
    group: str
    parameters: float | None
    samples: int
    hours: float | None

    def batch_samples(self, row: Published, devices: int) -> float | None:
        """A row's global batch in samples of this data; None where it cannot be said."""
        batch = row.global_batch
        if batch is None:
            batch = None if row.per_device is None else row.per_device * devices
        if row.batch_unit in OTHER_UNITS or batch is None:
            return None
        if row.batch_unit != AUDIO_SECONDS:
            return batch
        if self.hours is None:
            return None
        return max(1.0, batch / (self.hours * SECONDS_PER_HOUR / self.samples))


@cache
def _families() -> tuple[tuple[str, str, str, bool], ...]:
    """(start of a name, family, group, whether it leads the group), the longest start first."""
    found = [
        (start, row["family"], row["group"], row["lead"] == "yes")
        for row in tables.rows("recipes", "families.csv")
        for start in row["starts"].split()
    ]
    return tuple(sorted(found, key=lambda one: -len(one[0])))


def family_of(facts: ModelFacts) -> tuple[str, str] | None:
    """(family, its group of architectures) by the model's name, else by its type or architecture;
    None where no row knows it."""
    short = facts.name.rpartition("/")[2].rpartition(":")[2].lower()
    kind = (facts.config or {}).get("model_type") or facts.architecture or ""
    for name in (short, str(kind).lower()):
        for start, family, group, _ in _families():
            if name.startswith(start):
                return family, group
    return None


@cache
def group_members(group: str) -> dict[str, bool]:
    """Family → whether its recipes stand for the others of the group."""
    return {family: lead for _, family, of, lead in _families() if of == group}


def works(facts: ModelFacts, data: DatasetProfile, task: str, strategy: str) -> list[Work]:
    """The published tasks that this one is, the nearest first."""
    found = family_of(facts)
    family = found[0] if found else None
    kind = "plain text" if data.format == "text" else data.format
    rows = [
        row
        for row in tables.rows("recipes", "tasks.csv")
        if row["task"] == task
        and row["strategy"] == strategy
        and row["data"] in ("", kind)
        and (not row["families"] or family in row["families"].split())
    ]
    return [
        Work(
            task=row["published_task"],
            strategy=row["published_strategy"],
            group=row["group"],
            order=int(row["order"]),
            steps_win=row["steps"] == "yes",
            packs=row["packs"] == "yes",
        )
        for row in sorted(rows, key=lambda row: int(row["order"]))
    ]


def asker(facts: ModelFacts, data: DatasetProfile, group: str) -> Asker:
    found = family_of(facts)
    seconds = data.audio_seconds
    hours = None if seconds is None else float(seconds.mean()) * data.samples / SECONDS_PER_HOUR
    return Asker(
        family=found[0] if found else None,
        group=found[1] if found else group,
        parameters=facts.parameters,
        samples=data.samples,
        hours=hours,
    )


def nearest(
    found: Sequence[Work], who: Asker, usable: Callable[[Published], bool]
) -> Published | None:
    """The row to go by, of those that are ``usable`` and not of far less data: the model's own
    family before the leading one of its architecture, its size class, data of alike size, strong
    evidence, then the nearest data; of equal ones the middle in epochs and batch, so that no odd
    recipe decides. Strong recipes of steps go by the data before the model's size."""
    of = _by_name(found)
    rows = [one for one in _ranked(tuple(found), who) if usable(one[1])]
    best = _best(rows)
    if best is None or not _is_far(best, who, of):
        return best
    if of[best.task, best.strategy].steps_win:  # of other recipes' steps fewer might come out
        return None
    return _best([one for one in rows if not _is_far(one[1], who, of)])


def far_one(found: Sequence[Work], who: Asker, usable: Callable[[Published], bool]) -> str:
    """What is said of the recipe that its data alone rules out; "" where one is taken."""
    row = _best([one for one in _ranked(tuple(found), who) if usable(one[1])])
    ratio = None if row is None else _data_ratio(row, who)
    if row is None or ratio is None or nearest(found, who, usable) is not None:
        return ""
    times = f"{1 / ratio:,.0f} times less" if ratio < 1 else f"{ratio:,.0f} times more"
    return f"{row.named.partition(' (')[0]} has {times} data and is no neighbour"


#: (task, strategy) as published → which work of ours it is.
Of = dict[tuple[str, str], Work]
#: How near a row is, the nearest least, and the row.
Ranked = tuple[tuple[float, ...], Published]


def _by_name(found: Sequence[Work]) -> Of:
    return {(work.task, work.strategy): work for work in found}


@cache
def _published_as(task: str, strategy: str) -> tuple[tuple[int, Published], ...]:
    """(place in the order of the tables, row) of each row of a published task and strategy."""
    every = enumerate(published())
    return tuple(
        (place, row) for place, row in every if (row.task, row.strategy) == (task, strategy)
    )


@lru_cache(maxsize=512)
def _ranked(found: tuple[Work, ...], who: Asker) -> tuple[Ranked, ...]:
    """The rows of these works in the order of the tables, each with how near it is."""
    of = _by_name(found)
    rows = sorted((one for name in of for one in _published_as(*name)), key=lambda one: one[0])
    ranks = ((_family_rank(row, who), row) for _, row in rows)
    return tuple(
        (_rank(row, who, of[row.task, row.strategy], family), row)
        for family, row in ranks
        if family is not None
    )


def _rank(row: Published, who: Asker, work: Work, family: int) -> tuple[float, ...]:
    return (
        family,
        work.order,
        work.steps_win and not row.strong,
        _data_class(row, who) if work.steps_win and row.strong else 0,
        _size_class(row, who),
        row.global_batch is None,  # how many devices it ran on is not known
        _data_rank(row, who),
        KINDS.index(row.kind),
        round(_data_distance(row, who) or 0.0, 3),
    )


def _best(rows: Sequence[Ranked]) -> Published | None:
    if not rows:
        return None
    best = min(rank for rank, _ in rows)
    return _middle(row for rank, row in rows if rank == best)


def _is_far(row: Published, who: Asker, of: Of) -> bool:
    """Of so much less data that nothing of it holds; a batch from larger data is lowered as small
    data asks, a number of steps is not."""
    ratio = _data_ratio(row, who)
    if ratio is None:
        return False
    return ratio * FAR_FACTOR < 1 or (of[row.task, row.strategy].steps_win and ratio > FAR_FACTOR)


def _middle(rows: Iterable[Published]) -> Published:
    """The middle in epochs, then in batch."""
    ordered = sorted(rows, key=lambda row: (row.epochs or math.inf, row.source))
    epochs = ordered[(len(ordered) - 1) // 2].epochs
    alike = [row for row in ordered if row.epochs == epochs]
    alike.sort(key=lambda row: (row.global_batch or math.inf, row.source))
    return alike[(len(alike) - 1) // 2]


def _family_rank(row: Published, who: Asker) -> int | None:
    """0 the model's own, 1 the one that leads its architecture, 2 another of it, 3 what a trainer
    does when it is told nothing; None for any other."""
    if row.family == who.family:
        return 0
    members = group_members(who.group)
    if row.family in members:
        return 1 if members[row.family] else 2
    return 3 if row.family == "any" else None


def _size_class(row: Published, who: Asker) -> int:
    """How many classes of size lie between the models; unknown sizes are one off."""
    distance = _size_distance(row, who)
    return 1 if distance is None else int(distance / SIZE_CLASS_LOG2)


def _size_distance(row: Published, who: Asker) -> float | None:
    """Doublings between the models; None where one is of unknown size."""
    if not row.parameters or who.parameters is None:
        return None
    parameters = who.parameters
    return min(abs(math.log2(size / parameters)) for size in row.parameters)


def _data_ratio(row: Published, who: Asker) -> float | None:
    """Its data over ours; None where that is not known."""
    if row.data_hours is not None and who.hours:
        return row.data_hours / who.hours
    return None if row.data_samples is None else row.data_samples / max(1, who.samples)


def _data_distance(row: Published, who: Asker) -> float | None:
    """Logarithm of how many times larger or smaller its data is; None where that is not known."""
    ratio = _data_ratio(row, who)
    return None if ratio is None else abs(math.log(ratio))


def _data_class(row: Published, who: Asker) -> int:
    """How many classes of size lie between the data; unknown data are as far as alike ones may
    be."""
    distance = _data_distance(row, who)
    return int((math.log(ALIKE_FACTOR) if distance is None else distance) / DATA_CLASS)


def _data_rank(row: Published, who: Asker) -> int:
    """0 alike in size, 1 unknown, 2 another size."""
    distance = _data_distance(row, who)
    if distance is None:
        return 1
    return 0 if distance <= math.log(ALIKE_FACTOR) else 2


def holds_for(row: Published, who: Asker, *, from_scratch: bool) -> bool:
    """Whether a row's epochs may be taken for this model and data: both alike in size, or of
    unknown size; from nothing also less data, which wants no fewer passes. Tuned models are of the
    row's own family, or of an architecture that it leads."""
    rank = _family_rank(row, who)
    if not from_scratch and (rank is None or rank > LEADING):
        return False
    distance = _size_distance(row, who)
    if distance is not None and distance > ALIKE_MODELS_LOG2 and not from_scratch:
        return False
    if _data_rank(row, who) < 2:
        return True
    return from_scratch and row.data_samples is not None and who.samples < row.data_samples


@cache
def median(task: str, strategy: str, key: str) -> tuple[float, str] | None:
    """(value, source) over the published rows of a task and strategy; None where too few say."""
    for row in tables.rows("recipes", "medians.csv"):
        if (row["task"], row["strategy"], row["key"]) == (task, strategy, key):
            return float(row["value"]), row["source"]
    return None
