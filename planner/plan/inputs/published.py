"""The rows of ``profiles/recipes`` as values: what was published of a training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from planner import tables

#: Those that made a published model, or reproduce a published figure.
STRONG = ("recipe", "paper")
SUBJECTS = ("language", "vision", "sound", "mixed", "preference", "embedding")


@dataclass(frozen=True)
class Published:
    """One published recipe, its blanks None. ``global_batch`` samples (or packed sequences, or
    seconds of audio, by ``batch_unit``) over all devices; None where only ``per_device`` is known,
    which grows with the devices. ``parameters`` of each model that it trained. ``epochs_derived``:
    it counted steps, and the epochs were worked out of them."""

    family: str
    model: str
    parameters: tuple[float, ...]
    task: str
    strategy: str
    kind: str
    data: str
    data_samples: float | None
    data_hours: float | None
    batch_unit: str
    global_batch: float | None
    per_device: float | None
    epochs: float | None
    epochs_derived: bool
    steps: int | None
    max_length: int | None  # in tokens
    packing: bool | None
    grouped: bool | None  # batches are of about one length
    evaluations_per_epoch: float | None
    evaluation_steps: int | None
    evaluation_generates: bool | None
    warmup: str
    source: str
    date: str

    @property
    def strong(self) -> bool:
        return self.kind in STRONG

    @property
    def named(self) -> str:
        """What it trained, and where it says so, short enough for a first line."""
        data = self.data.removeprefix("datasets: ").removeprefix("demo dataset ")
        on = f" on {data}" if data else ""
        return f"{self.model}{on} ({self.kind.replace('_', ' ')}, {self.source})"

    def as_dict(self) -> dict[str, str]:
        return {
            "model": self.model,
            "task": self.task,
            "kind": self.kind,
            "data": self.data,
            "source": self.source,
            "date": self.date,
        }


@cache
def published() -> tuple[Published, ...]:
    """Every row, in the order of the tables."""
    return tuple(
        _published(row) for subject in SUBJECTS for row in tables.rows("recipes", f"{subject}.csv")
    )


def _published(row: dict[str, str]) -> Published:
    micro, accumulation = tables.number(row["micro_batch"]), tables.number(row["accumulation"])
    in_tokens = row["length_unit"] == "tokens"
    return Published(
        family=row["family"],
        model=row["model"],
        parameters=tuple(map(float, row["parameters"].split())),
        task=row["task"],
        strategy=row["strategy"],
        kind=row["kind"],
        data=row["data_size_range"],
        data_samples=tables.number(row["data_samples"]),
        data_hours=tables.number(row["data_hours"]),
        batch_unit=row["batch_unit"],
        global_batch=tables.number(row["global_batch"]),
        per_device=None if micro is None else micro * (accumulation or 1),
        epochs=tables.number(row["epochs"]),
        epochs_derived="epochs: (about)" in row["qualifiers"],
        steps=_whole(row["steps"]),
        max_length=_whole(row["max_length"]) if in_tokens else None,
        packing=_flag(row["packing"]),
        grouped=_flag(row["group_by_length"]),
        evaluations_per_epoch=tables.number(row["evaluations_per_epoch"]),
        evaluation_steps=_whole(row["evaluation_steps"]),
        evaluation_generates=_flag(row["evaluation_generates"]),
        warmup=row["warmup"],
        source=row["source"],
        date=row["date"],
    )


def _whole(cell: str) -> int | None:
    value = tables.number(cell)
    return None if value is None else int(value)


def _flag(cell: str) -> bool | None:
    return {"yes": True, "no": False}.get(cell)


def named_row(row: Published) -> str:
    """The recipe in a sentence: its model, data, kind and source."""
    data = row.data.removeprefix("datasets: ").removeprefix("demo dataset ")
    on = f" on {data}" if data else ""
    return f"{row.model}{on} ({row.kind.replace('_', ' ')}, {short_source(row.source)})"


def short_source(source: str) -> str:
    """Without the file inside a repository, and without remarks: sources hold the whole."""
    repository = re.match(r"[\w.-]+/[\w.-]+@[\w-]+", source)
    return repository[0] if repository else re.split(r" \(|, section|, appendix", source)[0]
