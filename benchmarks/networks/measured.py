"""Collectives that others timed, as rows of one form.

The tables lie in the folder that ``--tables`` names and are read in place: ``nccl_tests.csv``
(yumibyte/CS244C-Research@a5411ed, lessizzmore/create-a3mega-ztan-fork@02dd8f4),
``vidur_collectives.csv.gz`` (microsoft/vidur@7d47513), ``xla_collectives.csv.gz``
(ROCm/xla@d02afb4).
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from planner.devices.lookup import resolve_device
from planner.parallel.network import Network, network_of

#: Names of devices in the tables → keys of ours.
DEVICES = {
    "NVIDIA A100-SXM4-40GB": "a100-sxm-40",
    "NVIDIA A100-SXM4-80GB": "a100-sxm-80",
    "NVIDIA A100 80GB PCIe, NVLink in pairs": "a100-pcie-80",
    "NVIDIA H100 80GB HBM3": "h100-sxm",
    "NVIDIA H100 (sm_90, model not stated)": "h100-sxm",  # its large rows show NVLink over a switch
    "NVIDIA L40S": "l40s",
    "NVIDIA B200": "b200",
    "NVIDIA GB200": "gb200",
}
GENERATIONS = {
    "a100-sxm-40": "A100",
    "a100-sxm-80": "A100",
    "a100-pcie-80": "A100 PCIe",
    "h100-sxm": "H100",
    "l40s": "L40S",
    "b200": "B200",
    "gb200": "GB200",
}
#: The repository that holds the H100 rows of nccl_tests.csv makes machines of this kind.
INSTANCE_OF_H100_NODES = "a3-megagpu-8g"
#: Smaller messages are the latency of a smaller one again, and wait for their ranks besides.
LEAST_BYTES = 1024
#: Sizes kept of one group: vidur timed a thousand, the others some 25.
SIZES = 14


@dataclass(frozen=True)
class Timed:
    """``seconds`` of one collective among ``ranks`` devices, ``within`` of them in each node.
    ``source``: who measured; ``instance``: what was rented, where it is known."""

    source: str
    device: str
    operation: str
    ranks: int
    within: int
    size_bytes: float
    seconds: float
    instance: str | None = None

    @property
    def nodes(self) -> int:
        return self.ranks // self.within

    @property
    def generation(self) -> str:
        return GENERATIONS[self.device]

    @property
    def group(self) -> tuple[str, str, str, int, int]:
        return self.source, self.device, self.operation, self.ranks, self.within

    @property
    def network(self) -> Network:
        return _network(self.device, self.ranks, self.nodes, self.instance)


@cache
def _network(device: str, ranks: int, nodes: int, instance: str | None) -> Network:
    return network_of(resolve_device(device).spec, ranks, nodes=nodes, instance=instance)


def timed(folder: Path) -> tuple[list[Timed], list[str]]:
    """All rows that can be judged, thinned to ``SIZES`` a group, and what was left out and why."""
    every = [*_nccl(folder), *_vidur(folder), *_xla(folder)]
    kept = [row for row in every if row.size_bytes >= LEAST_BYTES]
    unknown = [row for row in kept if _network_unknown(row)]
    left_out = sorted(
        {
            f"{row.source}: {row.device}, {row.operation} among {row.ranks} on {row.nodes} nodes "
            "(the network between the nodes is not stated)"
            for row in unknown
        }
    )
    return _thinned(row for row in kept if not _network_unknown(row)), left_out


def _network_unknown(row: Timed) -> bool:
    return row.nodes > 1 and row.instance is None


def _thinned(rows: Iterable[Timed]) -> list[Timed]:
    """Sizes at equal distances of their logarithm: each group then weighs as much."""
    groups: dict[tuple[str, str, str, int, int], list[Timed]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    kept: list[Timed] = []
    for group in groups.values():
        ordered = sorted(group, key=lambda row: row.size_bytes)
        small, large = ordered[0].size_bytes, ordered[-1].size_bytes
        wanted = [small * (large / small) ** (i / (SIZES - 1)) for i in range(SIZES)]
        nearest = (min(ordered, key=lambda row: abs(row.size_bytes / w - 1)) for w in wanted)
        kept += dict.fromkeys(nearest)
    return kept


def _nccl(folder: Path) -> Iterator[Timed]:
    """The library's own choice only, not the runs with a forced algorithm or protocol."""
    for row in _rows(folder / "nccl_tests.csv"):
        if not row["setting"].startswith("default"):
            continue
        nodes, ranks = int(row["nodes"]), int(row["devices"])
        yield Timed(
            "nccl-tests",
            DEVICES[row["device"]],
            row["collective"],
            ranks,
            ranks // nodes,
            float(row["bytes"]),
            float(row["seconds"]),
            INSTANCE_OF_H100_NODES if nodes > 1 else None,
        )


def _vidur(folder: Path) -> Iterator[Timed]:
    for row in _rows(folder / "vidur_collectives.csv.gz"):
        operation = {"send_recv": "send"}.get(row["collective"], row["collective"])
        yield Timed(
            "vidur",
            DEVICES[row["device"]],
            operation,
            int(row["workers"]),
            int(row["devices_per_node"]),
            float(row["bytes"]),
            float(row["seconds"]),
        )


def _xla(folder: Path) -> Iterator[Timed]:
    for row in _rows(folder / "xla_collectives.csv.gz"):
        name = row["collective"].replace("-", "_")
        operation = {"collective_permute": "send"}.get(name, name)
        if operation == "send" and row["pattern"] == "both ways in pairs":
            continue
        ranks = int(row["devices"])
        yield Timed(
            "xla",
            DEVICES[row["device"]],
            operation,
            ranks,
            ranks,
            float(row["bytes"]),
            float(row["seconds"]),
        )


def _rows(file: Path) -> Iterator[dict[str, str]]:
    opened = gzip.open(file, "rt") if file.suffix == ".gz" else file.open()
    with opened as handle:
        yield from csv.DictReader(handle)
