"""A step's seconds and bytes in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.explain.rows import Row, memory_rows, shares_of, time_rows
from planner.report.views.explaining.part import Part, aligned
from planner.report.views.table import Table
from planner.report.words import bytes_text, clean, count_text, seconds_text, share_text

Document = Mapping[str, Any]
#: How deep a row stands, as words, which survive where blanks do not.
INDENT = "· "


def asked(document: Document) -> Part:
    """What is explained, in a few sentences."""
    option, time, memory = document["option"], document["time"], document["memory"]
    words = option["strategy"].replace("_", " ") + (
        f" ({option['variant']})" if option["variant"] else ""
    )
    devices = f"{option['gpus']} × {option['gpu']}" if option["gpus"] > 1 else option["gpu"]
    place = f" at {option['provider']}" if option["provider"] else ""
    lines = [
        clean(f"{words} of {option['model']} on {devices}{place}: {_standing(option)}"),
        f"A step takes {seconds_text(time['seconds'])}: {_batch(option)}.",
        f"The device waits {seconds_text(time['waiting_seconds'])} of it for the host"
        + (
            f" and {seconds_text(time['exchange_seconds'])} for what devices exchange."
            if time["exchange_seconds"]
            else "."
        ),
        f"At its peak it holds {bytes_text(memory['device_used_bytes']['p50'])} of "
        f"{bytes_text(memory['device_total_bytes'])}: in the {memory['peak']['phase']} pass, at "
        + clean(f"{memory['peak']['operation']} of {memory['peak']['module'] or 'the loss'}."),
    ]
    return Part("", tuple(lines))


def _standing(option: Document) -> str:
    if option["is_recommended"]:
        return "the recommended option"
    return "nothing is recommended, this comes nearest" + (
        "" if option["fits"] else " and does not fit"
    )


def _batch(option: Document) -> str:
    size, times = option["micro_batch_size"], option["gradient_accumulation"]
    text = f"{count_text(size)} samples"
    if times > 1:
        text = f"{count_text(times)} micro-batches of {text}"
    if option["sequence_length"] is not None:
        text += f", padded to {count_text(option['sequence_length'])} on average"
    return text


def time_tree(document: Document) -> Part:
    whole = document["time"]["seconds"]
    unit = seconds_text(whole).rpartition(" ")[2]

    def word(seconds: float) -> str:
        return seconds_text(seconds, whole).rpartition(" ")[0]

    table = _tree(time_rows(document), f"Time, {unit}", f"Each, {unit}", word)
    return Part("Where the time of a step goes", table=table, right=(1, 2, 3), drop=(2, 4))


def memory_tree(document: Document) -> Part:
    whole = document["memory"]["device_used_bytes"]["p50"]
    unit = bytes_text(whole).rpartition(" ")[2]
    table = _tree(memory_rows(document), f"Memory, {unit}", f"Each, {unit}", _in_unit(unit))
    return Part("What is alive at the peak", table=table, right=(1, 2, 3), drop=(2, 4))


def _in_unit(unit: str) -> Callable[[float], str]:
    from planner.units import parse_bytes

    scale = parse_bytes(f"1{unit}")
    return lambda size: f"{size / scale:,.2f}"


def _tree(rows: Sequence[Row], amount: str, each: str, word: Callable[[float], str]) -> Table:
    amounts = aligned([word(row.amount) for row in rows])
    singles = aligned([word(row.each) if row.count > 1 else "" for row in rows])
    cells = (
        (
            _name(row),
            whole,
            single,
            share_text_1(row.share),
            _parts(row),
        )
        for row, whole, single in zip(rows, amounts, singles)
    )
    return Table(("", amount, each, "Share", "Most of it"), tuple(cells))


def _name(row: Row) -> str:
    if row.smaller:
        return f"{INDENT * row.depth}{row.smaller} smaller"
    blocks = f": {row.count} blocks" if row.count > 1 else ""
    return f"{INDENT * row.depth}{clean(row.name)}{blocks}"


def _parts(row: Row) -> str:
    """Names with their shares; of one that is all its name."""
    if len(row.parts) == 1:
        return clean(row.parts[0][0])
    return ", ".join(f"{clean(name)} {part:.0%}" for name, part in row.parts)


def share_text_1(share: float) -> str:
    return f"{share * 100:.1f} %"


def by_kind(document: Document) -> Part:
    """Kinds of operations, and what the device waits."""
    time = document["time"]
    parts = {
        **time["by_kind"],
        "waiting for the host": time["waiting_seconds"],
        "exchange between devices": time["exchange_seconds"],
    }
    return _shares("Time by kind of operation", parts, seconds_text, time["seconds"])


def by_phase(document: Document) -> Part:
    time = document["time"]
    parts = {**time["by_phase"], "exchange between devices": time["exchange_seconds"]}
    return _shares("Time by phase", parts, seconds_text, time["seconds"])


def by_category(document: Document) -> Part:
    memory = document["memory"]
    return _shares("Memory at the peak by category", memory["by_category"], bytes_text, None)


def _shares(
    title: str, parts: Mapping[str, float], word: Callable[..., str], like: float | None
) -> Part:
    rows = tuple(
        (name, word(value) if like is None else word(value, like), share_text(share))
        for name, value, share in shares_of(parts)
    )
    return Part(title, table=Table(("", "Amount", "Share"), rows), right=(1, 2))
