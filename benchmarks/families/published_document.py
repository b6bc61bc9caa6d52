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

A detector's memory is that of its largest batch (`profiles/models/largest_images.csv`: 1333 x 800
pixels for torchvision's, with COCO's fullest image of 93 objects in it), its time that of the usual
photograph (1066 x 800, seven objects): the published memory is the largest of a whole run. A row
with a date is asked with what autograd of that day kept: what a softmax read until torch 1.11, what
a ReLU read until torch 1.10.

What is known of the misses:

- SSD300, -88 %. mmdetection published 3.5 GB of SSD300 and 6.3 GB of SSD512 in 2018
  (open-mmlab/mmdetection pull request 161) and 9.9 and 19.4 GB in 2021, of one module at one batch:
  live tensors do not triple. Its configurations let cuDNN search its algorithms (`cudnn_benchmark`,
  issue 725), which tries them with workspaces as large as the device has room for, and these come
  from torch's allocator. That is our reading, not proven; a searched workspace is not priced.
- Faster and Mask R-CNN of torchvision (2019) and of mmdetection. One module trains in 3.0 GiB in
  detectron2, 3.8 and 4.0 in mmdetection and 5.2 in torchvision: what is left is theirs. torchvision
  kept the anchors of every shape of images that it met (pytorch/vision issue 1689, mended by pull
  request 1657 in 2020), some 4 MiB for each of about a hundred shapes, and its first heads kept
  what their ReLU read (0.2 GiB; today's work in place): a part of it. Its rows of 2020 and
  2021 are within a tenth or two.
- SegFormer was -20 % to -35 % and is -3 % to -7 %: eager attention before torch 1.11 held scores
  and probabilities, and the loss its logits twice. What is left is a copy of each layer's input
  that mmsegmentation's own module makes (`nlc_to_nchw(...).contiguous()`).
- MAE, and CLIP at 128 devices and more: the network between hosts is taken as that of the device's
  usual cluster (`profiles/networks/gpus.csv`), since theirs is not published, nor how long they
  waited for images. MAE's 1.3 GB of float32 gradients would take 0.2 s through one network card of
  100 Gbit/s a host of eight devices. CLIP's loss gathers the features of all devices and compares
  each with all: a step on one device does not show that.
- Classification of sounds: the minutes are those of the whole script. A model of 2 layers takes 11
  of the 14 minutes that one of 12 takes on the same page (distilhubert), so that decoding, start
  and five evaluations set the pace and not the step. Asked as a whole run (2,000 steps, evaluated
  five times, four loaders) the planner says 9.9 minutes (8.1 to 17.1) for the 14.
- Speech recognition, -59 %: whole hours of a script that writes out its test set five times.
- Small detectors of torchvision, -51 and -55 % in time: the library matches, samples and resizes
  image by image and level by level, with a launch each, and we record it for all images of a batch
  at once.

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
