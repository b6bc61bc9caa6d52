"""What each change would buy, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.explain.gains import gained
from planner.report.views.explaining.part import Part, aligned
from planner.report.views.table import DASH, Table
from planner.report.words import bytes_text, clean, hours_text, usd_text
from planner.units import gib

Document = Mapping[str, Any]
#: In what the training differs.
EFFECTS = {
    "none": "nothing",
    "numerics": "rounding",
    "batches": "batches",
    "method": "method",
}
MORE, LESS = "+", "−"


def changes(document: Document) -> Part:
    """A row a change; a figure with − is saved, with + more."""
    found: Sequence[Document] = document["changes"]
    shown = [gained(change) for change in found]
    usd = aligned([_signed(saved["usd"], _dollars) for saved, _ in shown])
    held = document["held"]
    time_unit = hours_text(held["wall_hours"]).rpartition(" ")[2]

    def hours(value: float) -> str:
        return hours_text(value, held["wall_hours"]).rpartition(" ")[0]

    spent = aligned([_signed(saved["hours"], hours) for saved, _ in shown])
    sizes = aligned([_signed(saved["bytes"], gib_text) for saved, _ in shown])
    rows = tuple(
        (_text(change, after), *figures, EFFECTS[change["effect"]], clean(change["flags"]))
        for change, (_, after), figures in zip(found, shown, zip(usd, spent, sizes))
    )
    price = "no price is known" if held["usd"] is None else usd_text(held["usd"])
    note = (
        f"Against {price}, {hours_text(held['wall_hours'])} and "
        f"{bytes_text(held['device_used_bytes'])}, everything else held; − is saved. Medians."
    )
    headers = (
        "Change",
        "Cost, USD",
        f"Run, {time_unit}",
        "Memory, GiB",
        "Differs in",
        "Ask it with",
    )
    return Part(
        "What each change would buy, the most valuable first",
        table=Table(headers, rows),
        right=(1, 2, 3),
        drop=(5, 4),
        whole=(),
        notes=(note,),
    )


def _dollars(usd: float) -> str:
    return usd_text(usd).removeprefix("$")


def gib_text(size: float) -> str:
    return f"{gib(size):,.2f}"


def _text(change: Document, after: Document) -> str:
    text = clean(change["text"])
    if change["refitted"] is not None:
        text += f", then micro-batch {after['micro_batch_size']}"
    if not after["fits"]:
        text += " (does not fit)"
    elif change["note"]:
        text += f" ({clean(change['note'])})"
    return text


def _signed(saved: float | None, word: Any) -> str:
    if saved is None:
        return DASH
    text = word(abs(saved))
    if not any(c in "123456789" for c in text):
        return "0"
    return f"{LESS if saved > 0 else MORE}{text}"


def left_out(document: Document) -> Part:
    lines = tuple(clean(f"{one['text']}: {one['why']}") for one in document["left_out"])
    return Part("Left out", lines)


def notes(document: Document) -> Part:
    return Part("Notes", tuple(clean(note) for note in document["notes"]))
