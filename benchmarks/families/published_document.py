"""``docs/families_published.md``: errors by task, then every row with what was assumed of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmarks.families.judged import Judged, Summary, by_task, error, summary
from planner.tasks import tasks
from planner.validate.summaries import Comparison

HEAD = """# Published figures of the newer families, and what the planner says

Written by `python benchmarks/families_published.py --write docs/families_published.md`; every
number of its tables comes out of it, none is edited by hand.

A row of `profiles/measured/families.csv` is asked as it stands, on the datasheet of its device:
nothing is fitted to these rows and no correction enters. Time is that of one step; memory is the
one that the source names (live tensors of the allocator, or what the driver shows). An error is
(ours - measured) / measured. "Within the range": inside our 80 % interval. Old stacks (float32
convolutions of cuDNN 7, eager attention, images loaded by the same processor) are asked as far as
the question has words for them; the rest stands beside the row.

What is known of the misses. The published memory of a detector is the largest of a whole run: of
its widest images (1333 x 800) and its most crowded ones (each anchor is compared with each
object), while a row here is asked at the usual photograph (1066 x 800) with seven objects. Three
rows at 1333 x 800 with sixty objects, asked once by hand: Faster R-CNN of detectron2 +3 % (here
-29 %), RetinaNet of torchvision -9 % (-24 %), Faster R-CNN of torchvision -40 % (-59 %), their
times +1, +2 and -8 %.
One module trains in 3.0, 3.8, 4.0 and 5.2 GiB in three frameworks: what is left is theirs.

"""


def document(judged: Sequence[Judged], rows: int) -> str:
    """Of ``rows`` rows of the table those that were asked."""
    asked = f"Asked here: {len(judged)} of the table's {rows} rows.\n\n"
    parts = [
        HEAD,
        asked,
        *_by_family(judged),
        "\n## Every row\n",
        *_rows(judged),
        *_refused(judged),
    ]
    parts += ["\n## What was assumed\n\n", *_assumed(judged)]
    return "".join(parts)


def line(item: Judged) -> str:
    """One row for the terminal."""
    said = ", ".join(f"{c.quantity} {error(c):+.0%}" for c in item.compared)
    return f"{item.case.id}: {item.refused or said or 'nothing to compare'}"


def _by_family(judged: Sequence[Judged]) -> Iterable[str]:
    yield "## By family\n\n"
    yield "| family | rows | quantity | figures | median error | bias | worst | in the range |\n"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n"
    for task, items in [*by_task(judged), ("all", list(judged))]:
        words = tasks()[task].words if task in tasks() else task
        for name, found in (("time", _times(items)), ("memory", _memories(items))):
            of = summary(found)
            if of is not None:
                yield f"| {words} | {len(items)} | {name} | {_cells(of)} |\n"


def _times(items: Iterable[Judged]) -> list[Comparison]:
    return [c for item in items for c in item.compared if c.quantity == "time"]


def _memories(items: Iterable[Judged]) -> list[Comparison]:
    kinds = ("allocated", "reserved", "device")
    return [c for item in items for c in item.compared if c.quantity in kinds]


def _cells(of: Summary) -> str:
    errors = f"{of.median:.0%} | {of.bias:+.0%} | {of.worst:+.0%}"
    return f"{of.count} | {errors} | {of.covered} of {of.count}"


def _rows(judged: Sequence[Judged]) -> Iterable[str]:
    for task, items in by_task(judged):
        words = tasks()[task].words
        yield f"\n### {words[0].upper()}{words[1:]}\n\n"
        yield "| row | device | quantity | measured | ours (80 %) | error | largest part |\n"
        yield "| --- | --- | --- | ---: | ---: | ---: | --- |\n"
        for item in items:
            for found in item.compared:
                yield _row(item, found)


def _row(item: Judged, found: Comparison) -> str:
    case = item.case
    devices = f"{case.gpus} x {case.gpu}" if case.gpus > 1 else case.gpu
    scale, unit, digits = (1e3, "ms", 0) if found.quantity == "time" else (2.0**-30, "GiB", 2)
    measured, middle, low, high = (
        f"{_rounded(value * scale, digits)}"
        for value in (found.measured, found.p50, found.p10, found.p90)
    )
    return (
        f"| {case.id} | {devices} | {found.quantity} | {measured} {unit} | "
        f"{middle} ({low} to {high}) | {error(found):+.0%} | {found.why} |\n"
    )


def _rounded(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "?"


def _refused(judged: Sequence[Judged]) -> Iterable[str]:
    refused = [item for item in judged if item.refused]
    yield f"\n## Not answered\n\n{'None.' if not refused else ''}"
    for item in refused:
        yield f"- {item.case.id}: {item.refused}\n"
    if not refused:
        yield "\n"


def _assumed(judged: Sequence[Judged]) -> Iterable[str]:
    for item in judged:
        yield f"- {item.case.id} ({item.case.citation}): {item.case.assumed}.\n"
