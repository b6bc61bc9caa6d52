"""What more devices buy, as a table of ``planner choose --up-to``: hours and dollars of each count,
the share of the work that is left, and what the rest is lost to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.summary.columns import Columns, dollars, hours, names, numbers
from planner.report.views.summary.parts import Grid, Paragraph, Part
from planner.report.words import clean, share_text

Json = Mapping[str, Any]
#: What is lost, in words.
LOST = {
    "network": "the network",
    "smaller_steps": "smaller steps on each device",
    "stragglers": "waiting for the slowest",
    "interruptions": "failures",
    "start_up": "starting up",
    "preparation": "preparing the data",
    "saving": "saving checkpoints",
    "evaluation": "evaluating",
}


def scaling_parts(document: Json) -> list[Part]:
    """Nothing without ``scaling`` or where nothing fits."""
    found = document.get("scaling")
    if not found:
        return []
    rows = found["strong"]
    weak = {row["gpus"]: row["efficiency"] for row in found["weak"]}
    columns = (
        numbers("GPUs", [f"{row['gpus']:,}" for row in rows]),
        names("Sharing", [shared(row) for row in rows]),
        numbers("Batch", [f"{row['global_batch_size']:,}" for row in rows], drop=60),
        *hours("Time", [row["wall_hours"] for row in rows], drop_range=60),
        *dollars("Cost", [row["usd"] for row in rows], drop_range=50),
        numbers("Work left", [share_text(row["efficiency"]) for row in rows]),
        numbers("Weak", [_share(weak.get(row["gpus"])) for row in rows], drop=40),
        names("Most is lost to", [lost(row["most_lost_to"]) for row in rows], drop=30),
    )
    title = f"{clean(found['gpu'])} at {clean(found['provider'])}: what more devices buy"
    return [Grid(Columns(columns), title), Paragraph(pays(found))]


def shared(row: Json) -> str:
    """Copies, or how many copies of which sharing."""
    if row["parallel"] == "ddp" or row["dp_replicate"] == 1:
        return str(row["parallel"])
    return f"{row['parallel']} {row['dp_shard']} × {row['dp_replicate']}"


def lost(name: str | None) -> str:
    return "" if name is None else LOST[name]


def pays(found: Json) -> str:
    """Where scaling stops paying, and why."""
    rows, best = found["strong"], found["pays_up_to"]
    text = f"Doubling pays up to {best:,} GPUs"
    if best != rows[-1]["gpus"]:
        text += f"; beyond, most is lost to {lost(found['why'])}"
    return (
        f"{text}. Whether the provider has so many at once is in no table. Weak: the same samples "
        "a device, so that a step holds more"
    )


def _share(value: float | None) -> str | None:
    return None if value is None else share_text(value)
