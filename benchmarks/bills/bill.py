"""A published run: a row of ``profiles/measured/published_totals.csv``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache

from planner import tables
from planner.errors import ProfileError
from planner.figures import Estimate

#: What the page calls the tasks; a factory has none.
KINDS = {
    "causal_lm": "language models",
    "seq2seq_lm": "language models",
    "masked_lm": "encoders",
    "contrastive": "image and text",
    "image_self_distillation": "images",
}
#: Of the factories, by the start of their row's name.
FACTORIES = {"sd-": "diffusion", "clip-": "image and text", "sam-": "images"}


@dataclass(frozen=True)
class Bill:
    """``gpu_hours`` over all devices; ``amount`` in ``unit`` (tokens or samples); ``gpus``: as
    published, ``planned_gpus``: as planned. None where not published."""

    id: str
    name: str
    gpu: str
    gpus: int | None
    planned_gpus: int
    gpu_hours: float | None
    usd: float | None
    parameters: float | None
    amount: float | None
    unit: str
    sequence_length: int | None
    refused: str
    row: dict[str, str]

    @property
    def samples(self) -> float:
        assert self.amount is not None
        if self.unit != "tokens":
            return self.amount
        assert self.sequence_length is not None
        return self.amount / self.sequence_length

    @property
    def kind(self) -> str:
        found = next((k for start, k in FACTORIES.items() if self.id.startswith(start)), "")
        return found or KINDS[self.row["task"]]

    @property
    def layout(self) -> str:
        """``fsdp, tp 8``; how the devices shared the work, in a word or two."""
        row = self.row
        said = [row["parallel"]] if row["parallel"] else []
        degrees = {"tp": "tensor_parallel", "pp": "pipeline_parallel", "chunks": "pipeline_chunks"}
        degrees["ep"] = "expert_parallel"
        said += [f"{name} {row[key]}" for name, key in degrees.items() if row.get(key, "") > "1"]
        return ", ".join(said)


@cache
def fact(key: str) -> Estimate:
    """A row of ``profiles/claims/facts.csv``: low, middle, high. Raises ProfileError for a key that
    it lacks."""
    for row in tables.rows("claims", "facts.csv"):
        if row["key"] == key:
            return Estimate(float(row["low"]), float(row["middle"]), float(row["high"]))
    raise ProfileError(f"no fact {key!r}", where="profiles/claims/facts.csv")


def bills() -> list[Bill]:
    return [_bill(row) for row in tables.rows("measured", "published_totals.csv")]


def stages(bill: Bill) -> list[Bill]:
    """The run, or the runs one after another that it was made of, each with its own model and
    amount."""
    parts = json.loads(bill.row["parts"]) if bill.row["parts"] else []
    return [
        replace(bill, amount=float(part["amount"]), row={**bill.row, "model": part["model"]})
        for part in parts
    ] or [bill]


def _bill(row: dict[str, str]) -> Bill:
    gpus, planned = (_whole(row[name]) for name in ("gpus", "planned_gpus"))
    return Bill(
        row["id"],
        row["name"],
        row["gpu"],
        gpus,
        planned or gpus or 1,
        tables.number(row["gpu_hours"]),
        tables.number(row["usd_stated"]),
        tables.number(row["params"]),
        tables.number(row["amount"]),
        row["unit"],
        _whole(row["sequence_length"]),
        row["refused"],
        row,
    )


def _whole(cell: str) -> int | None:
    return int(cell) if cell else None
