"""The page of measured collectives against the model: medians and 90th percentiles, and the rows
that could not be judged."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.networks.measured import Timed
from benchmarks.networks.published import Published
from planner.devices.lookup import resolve_device
from planner.units import GIB, MIB

KIB = 1024
SIZES = (
    ("1 to 64 KiB", KIB, 64 * KIB),
    ("64 KiB to 1 MiB", 64 * KIB, MIB),
    ("1 to 16 MiB", MIB, 16 * MIB),
    ("16 to 256 MiB (DDP's buckets: 25)", 16 * MIB, 256 * MIB),
    ("256 MiB and more", 256 * MIB, math.inf),
)
#: The rule of before, for all-reduces only: one node, whatever was asked.
BEFORE_SHARE, BEFORE_PCIE_SHARE, BEFORE_LATENCY, BEFORE_BUCKET = 0.75, 0.5, 2e-5, 26214400
PAGE = """# Networks: measured collectives, and what the planner says

Written by `python benchmarks/fit_networks.py --tables DIR --write docs/networks.md`; every number
comes out of it, none is edited by hand.

The planner prices a collective by NCCL's own model of itself
(`planner/parallel/network/algorithms.py`): rings, trees and switches that add, each with three
protocols, the fastest of them. Latencies and factors are NCCL's (`profiles/networks/nccl.csv`);
what is fitted is the share of a link's nominal rate, how it grows with the size, and how much
longer a hop takes than NCCL assumes (`kinds.csv`). Collectives come from nccl-tests (two
repositories), microsoft/vidur and XLA's tables (ROCm/xla): {rows:,} rows after thinning each
group to {kept} sizes at equal distances.

Error: the larger of ours and theirs over the smaller, less one. **Left out**: by constants that
were fitted on rows of neither that source nor that generation of devices. Before: the all-reduce
that the planner had (a ring at a fixed share, one node whatever was asked). vidur's times are of
the kernel alone, the others the host's with the launch, so small sizes differ between sources by
more than any model could follow.

## All-reduce, before and now

{before}

## By operation (left out)

{operations}

## By size (left out)

{sizes}

## By ranks (left out)

{ranks}

## By source and devices

Fitted: by the constants that ship, which saw these rows.

{sources}

## Published by others

All-reduces and an all-gather of single issues, almost all large; none was fitted but where it is
said. Rows of `benchmarks/published_collectives.csv`.

{published}

{summary}

## What falls short

- Sends: XLA's permutes of 1 to 64 MiB take three to eight times what vidur's sends of the same
  size take, on faster links. We follow vidur.
- Two nodes that rent one kind of network (a3-megagpu) are all that the tables hold across nodes.
  What is left out there is priced with no latencies of that network, which are some fifteen times
  NCCL's own figure.
- PCI Express depends on the server: two cards reach half of the nominal rate in one, four cards
  three quarters in another.
- B200's rows of XLA show no gain from the switch (NVLink SHARP), H100's and GB200's do; all are
  priced with it.
- NCCL's NVLSTree across nodes, SHARP in InfiniBand switches, and traffic of other tenants are not
  modelled.

Not judged:

{unknown}
"""


def error(ours: float, theirs: float) -> float:
    return math.exp(abs(math.log(ours / theirs))) - 1


def before(row: Timed) -> float:
    """Seconds of an all-reduce as the planner had it: buckets of 25 MiB after one another."""
    spec = resolve_device(row.device).spec
    if spec.interconnect_bytes_per_s:
        rate = spec.interconnect_bytes_per_s * BEFORE_SHARE
    else:
        rate = row.network.inside.bytes_per_s * BEFORE_PCIE_SHARE
    steps = 2 * (row.ranks - 1)
    buckets = max(1, math.ceil(row.size_bytes / BEFORE_BUCKET))
    return steps / row.ranks * row.size_bytes / rate + buckets * steps * BEFORE_LATENCY


def page(
    rows: Sequence[Timed],
    left_out: Mapping[Timed, float],
    now: Mapping[Timed, float],
    unknown: Sequence[str],
    others: Sequence[Published],
    kept: int,
) -> str:
    reduced = [row for row in rows if row.operation == "all_reduce"]
    old = {row: before(row) for row in reduced}
    unseen = [p for p in others if not p.fitted]
    errors = [error(p.ours, p.seconds) for p in unseen]
    return PAGE.format(
        rows=len(rows),
        kept=kept,
        before=_table(
            reduced, lambda row: _size(row), {"before": old, "left out": left_out, "fitted": now}
        ),
        operations=_table(rows, lambda row: row.operation, {"left out": left_out, "fitted": now}),
        sizes=_table(rows, _size, {"left out": left_out, "fitted": now}),
        ranks=_table(rows, _ranks, {"left out": left_out, "fitted": now}),
        sources=_table(
            rows,
            lambda row: f"{row.source}, {row.generation}, {row.operation}{_over(row)}",
            {"left out": left_out, "fitted": now},
        ),
        published=_published(others),
        summary=f"Unseen: {len(unseen)}, median error {_percent(statistics.median(errors))}, "
        f"largest {_percent(max(errors))}.",
        unknown="\n".join(f"- {line}" for line in unknown),
    )


def _over(row: Timed) -> str:
    return f" over {row.nodes} nodes" if row.nodes > 1 else ""


def _size(row: Timed) -> str:
    return next(name for name, low, high in SIZES if low <= row.size_bytes < high)


def _ranks(row: Timed) -> str:
    most = next(n for n in (2, 4, 8, 18, 36, 72) if row.ranks <= n)
    return f"up to {most:2d}"


def _table(
    rows: Iterable[Timed],
    name: Callable[[Timed], str],
    figures: Mapping[str, Mapping[Timed, float]],
) -> str:
    """A line for all and one a name, with median and 90th percentile of each of ``figures``."""
    every = list(rows)
    order = [size for size, _, _ in SIZES]
    names = sorted({name(row) for row in every}, key=lambda n: (n in order and order.index(n), n))
    columns = [f"{figure}: {what}" for figure in figures for what in ("median", "p90")]
    lines = [f"| rows | n | {' | '.join(columns)} |", f"| --- | --: |{' --: |' * len(columns)}"]
    for title in ("all", *names):
        own = [row for row in every if title in ("all", name(row))]
        cells = [cell for seconds in figures.values() for cell in _cells(own, seconds)]
        lines.append(f"| {title} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(rows: Sequence[Timed], seconds: Mapping[Timed, float]) -> tuple[str, str]:
    errors = sorted(error(seconds[row], row.seconds) for row in rows)
    return _percent(statistics.median(errors)), _percent(errors[int(0.9 * (len(errors) - 1))])


def _published(rows: Sequence[Published]) -> str:
    lines = [
        "| device | operation | ranks | nodes | network | size | measured ms | ours ms | ratio "
        "| fitted | source |",
        "| --- | --- | --: | --: | --- | --: | --: | --: | --: | --- | --- |",
    ]
    for row in rows:
        size = row.size_bytes / GIB
        text = f"{size:g} GiB" if size >= 1 else f"{row.size_bytes / MIB:g} MiB"
        lines.append(
            f"| {row.gpu} | {row.operation} | {row.ranks} | {row.nodes} | {row.network} | {text} | "
            f"{row.seconds * 1e3:.3g} | {row.ours * 1e3:.3g} | {row.ours / row.seconds:.2f} | "
            f"{row.fitted or 'no'} | {row.source} |"
        )
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{share:.0%}"
