"""Single collectives that users and NVIDIA's own people published: ``published_collectives.csv``.
None is fitted, but for those that the column ``fitted`` names."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from planner.devices.lookup import resolve_device
from planner.parallel.network import Link, network_of
from planner.units import GIGA

FILE = Path(__file__).resolve().parent.parent / "published_collectives.csv"


@dataclass(frozen=True)
class Published:
    """``seconds`` as measured and ``ours``; ``fitted``: which constant saw it, blank for none."""

    gpu: str
    operation: str
    ranks: int
    nodes: int
    network: str
    size_bytes: float
    seconds: float
    ours: float
    fitted: str
    source: str


def published() -> list[Published]:
    with FILE.open(newline="", encoding="utf-8") as handle:
        return [_row(row) for row in csv.DictReader(handle)]


def _row(row: dict[str, str]) -> Published:
    ranks, nodes, size = int(row["ranks"]), int(row["nodes"]), float(row["bytes"])
    each = ranks // nodes
    network = network_of(resolve_device(row["gpu_key"]).spec, ranks, nodes=nodes)
    if nodes > 1:
        rate = float(row["gbit_per_s_a_node"]) * GIGA / 8 / each
        network = replace(network, between=Link(row["kind"], row["kind"], rate))
    passes = 2 if row["operation"] == "all_reduce" else 1
    carried = passes * (ranks - 1) / ranks * size
    seconds = row["seconds"] or carried / (float(row["bus_gb_per_s"]) * GIGA)
    return Published(
        row["gpu_key"],
        row["operation"],
        ranks,
        nodes,
        f"{row['kind']} {row['gbit_per_s_a_node']} Gb/s" if nodes > 1 else network.inside.name,
        size,
        float(seconds),
        network.time(row["operation"], size, ranks),
        row["fitted"],
        row["source"],
    )
