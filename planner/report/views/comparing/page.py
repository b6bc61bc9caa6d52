"""Our step beside a recorded one, as parts of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from planner.report.views.answer import first_lines
from planner.report.views.explaining.part import Part, aligned
from planner.report.views.table import DASH, Table
from planner.report.words import bytes_text, clean, count_text, seconds_text, share_text

Document = Mapping[str, Any]
TITLE = "Planned and recorded"
Word = Callable[[float], str]
INDENT, DEEPEST, LEAST_SHARE = "· ", 4, 0.01
LEAST_RATIO, MOST_RATIO = 0.1, 1000.0
HEADERS = ("", "Planned", "Recorded", "Ratio")
#: Figures of the first table with their words.
_TOTALS: dict[str, tuple[str, Word]] = {
    "step_seconds": ("Step", seconds_text),
    "device_busy_seconds": ("Device at work", seconds_text),
    "device_busy_share": ("Share at work", share_text),
    "waiting_seconds": ("Device waits for the host", seconds_text),
    "exchange_seconds": ("Collectives", seconds_text),
    "launch_latency_seconds": ("Launch latency", seconds_text),
    "peak_allocated_bytes": ("Peak allocated", bytes_text),
    "peak_reserved_bytes": ("Peak reserved", bytes_text),
    "reserved_and_unused_bytes": ("Reserved beyond it", bytes_text),
}


def parts(document: Document, *, brief: bool = False) -> list[Part]:
    """``brief``: what is compared and the totals."""
    told = first_lines(document)
    shown = [
        asked(document),
        Part("", tuple(f"{clean(line)}." for line in document["warnings"]), warns=True),
        Part("", tuple(text for text, warns in told if warns), warns=True),
        totals(document),
    ]
    if not brief:
        is_trace = document["kind"] == "trace"
        shown += [*(_of_time(document) if is_trace else _of_memory(document))]
        shown.append(Part("How the question was understood", tuple(t for t, w in told if not w)))
        shown.append(Part("Notes", tuple(clean(note) for note in document["notes"])))
    return [part for part in shown if part.lines or (part.table and part.table.rows)]


def asked(document: Document) -> Part:
    option, recorded = document["option"], document["recorded"]
    words = option["strategy"].replace("_", " ")
    count = option["gradient_accumulation"]
    times = f"{count_text(count)} micro-batches of " if count > 1 else ""
    lines = [
        f"Planned: {words} of {clean(option['model'])} on {clean(option['gpu'])} "
        f"({option['basis']}): {times}{_counted(option['micro_batch_size'], 'sample')}, "
        f"{option['precision']}, {option['optimizer']}."
    ]
    file = clean(recorded["file"])
    if document["kind"] == "trace":
        device = clean(recorded["device"] or "a device that the trace does not name")
        lines.append(f"Recorded: {file}, {_counted(recorded['steps'], 'step')} on {device}.")
    else:
        lines.append(
            f"Recorded: {file}, {_counted(recorded['events'], 'event')} and "
            f"{_counted(recorded['segments'], 'segment')} of {recorded['device']}."
        )
    return Part("", tuple(lines))


def _counted(count: float, thing: str) -> str:
    return f"{count_text(count)} {thing}{'' if count == 1 else 's'}"


def totals(document: Document) -> Part:
    rows = tuple(
        _row(_TOTALS[name][0], figures, _TOTALS[name][1])
        for name, figures in document["totals"].items()
        if figures["predicted"] or figures["recorded"]
    )
    return Part("", table=Table(HEADERS, rows), right=(1, 2, 3))


def _row(name: str, figures: Document, word: Word) -> tuple[str, str, str, str]:
    planned, seen = (_cell(figures[side], word) for side in ("predicted", "recorded"))
    return name, planned, seen, _ratio(figures["ratio"])


def _cell(value: float | None, word: Word) -> str:
    return DASH if value is None else word(value)


def _ratio(ratio: float | None) -> str:
    """Two decimals, and two figures where those would be 0.00."""
    if not ratio:
        return DASH
    if ratio >= MOST_RATIO:
        return count_text(ratio)
    return f"{ratio:.2f}" if ratio >= LEAST_RATIO else f"{ratio:.2g}"


# ---- time


def _of_time(document: Document) -> Iterator[Part]:
    yield _kinds(document)
    yield _modules(document)
    rows = tuple(_row(row["phase"], row, seconds_text) for row in document["by_phase"])
    yield Part("The device's time by phase", table=Table(HEADERS, rows), right=(1, 2, 3))
    yield _only("Recorded and not planned", document["only_recorded"])
    yield _only("Planned and not recorded", document["only_predicted"])


def _kinds(document: Document) -> Part:
    rows = tuple(
        (
            *_row(row["kind"], row, seconds_text),
            f"{count_text(round(row['predicted_calls']))} / "
            f"{count_text(round(row['recorded_calls']))}",
        )
        for row in document["by_kind"]
    )
    table = Table((*HEADERS, "Operations"), rows)
    return Part("The device's time by kind of operation", table=table, right=(1, 2, 3, 4))


def _modules(document: Document) -> Part:
    found = document["modules"]
    rows = tuple(_tree(found["tree"], _whole(found["tree"]), 0))
    title = f"The device's time by module, told by {found['told_by']}"
    note = f"{share_text(found['matched_share'])} of the recorded time stands in our order too"
    return Part(title, table=Table(HEADERS, rows), right=(1, 2, 3), notes=(note,) if rows else ())


def _whole(nodes: Sequence[Document]) -> float:
    return sum(max(node["predicted"], node["recorded"]) for node in nodes)


def _tree(
    nodes: Sequence[Document], whole: float, depth: int
) -> Iterator[tuple[str, str, str, str]]:
    for node in nodes:
        if depth < DEEPEST and max(node["predicted"], node["recorded"]) >= LEAST_SHARE * whole:
            blocks = f": {node['count']} blocks" if node["count"] > 1 else ""
            yield _row(f"{INDENT * depth}{clean(node['name'])}{blocks}", node, seconds_text)
            yield from _tree(node["children"], whole, depth + 1)


def _only(title: str, found: Sequence[Document]) -> Part:
    rows = tuple(
        (
            clean(row["operation"])[:60],
            row["kind"],
            seconds_text(row["seconds"]),
            count_text(round(row["calls"])),
        )
        for row in found
    )
    return Part(title, table=Table(("", "Kind", "Time", "Calls"), rows), right=(2, 3))


# ---- memory


def _of_memory(document: Document) -> Iterator[Part]:
    yield _shares("Planned at the peak, by category", document["predicted_by_category"])
    yield _shares("Recorded at the peak, by what took it", document["recorded_by_origin"])
    rows = document["predicted_largest"]
    names = [
        f"{clean(row['operation'])}{' of ' + clean(row['module']) if row['module'] else ''} "
        f"({row['category']})"
        for row in rows
    ]
    yield _largest("Planned: the largest at the peak", names, rows)
    rows = document["recorded_largest"]
    yield _largest("Recorded: the largest at the peak", [clean(row["place"]) for row in rows], rows)


def _shares(title: str, amounts: Mapping[str, float]) -> Part:
    whole = sum(amounts.values())
    rows = tuple(
        (clean(name), bytes_text(size), share_text(size / whole if whole else 0.0))
        for name, size in sorted(amounts.items(), key=lambda item: -item[1])
    )
    return Part(title, table=Table(("", "Bytes", "Share"), rows), right=(1, 2))


def _largest(title: str, names: Sequence[str], rows: Sequence[Document]) -> Part:
    sizes = aligned([bytes_text(row["bytes"]) for row in rows])
    return Part(title, table=Table(("", "Bytes"), tuple(zip(names, sizes))), right=(1,))
