"""What collectives cost beside the bytes: NCCL's own constants, and the share of a link's nominal
rate that is reached. Rows of ``profiles/networks/nccl.csv`` and ``kinds.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.errors import ProfileError

FOLDER = "networks"


@dataclass(frozen=True)
class Kind:
    """A kind of link. ``hardware``: which of NCCL's latencies hold (nvlink, pci, net).
    ``bandwidth_share``: of the nominal rate, for large messages. ``own_share``: what a device's own
    part of the buffer takes, which crosses no link, against one that does. ``latency_seconds``: of
    a hop, beyond NCCL's. ``multicast_share``: bytes of an all-reduce a second, of the nominal rate,
    where the switch adds; 0 where none does."""

    hardware: str
    bandwidth_share: float
    own_share: float
    latency_seconds: float
    multicast_share: float


@dataclass(frozen=True)
class Constants:
    """``nccl``: (parameter, hardware or generation, algorithm, protocol) → value."""

    nccl: dict[tuple[str, str, str, str], float]
    kinds: dict[str, Kind]

    def value(self, parameter: str, of: str, algorithm: str, protocol: str) -> float | None:
        return self.nccl.get((parameter, of, algorithm, protocol))

    def kind(self, name: str) -> Kind:
        """Raises ProfileError for one that no row has."""
        if name not in self.kinds:
            raise ProfileError(f"no kind of link {name!r}", where="networks/kinds.csv")
        return self.kinds[name]


@cache
def constants() -> Constants:
    """As shipped. Raises ProfileError for a cell that is no number."""
    try:
        nccl = {
            (row["parameter"], row["of"], row["algorithm"], row["protocol"]): float(row["value"])
            for row in tables.rows(FOLDER, "nccl.csv")
        }
        kinds = {row["kind"]: _kind(row) for row in tables.rows(FOLDER, "kinds.csv")}
    except (KeyError, ValueError) as error:
        raise ProfileError(f"malformed row: {error}", where="networks/") from error
    return Constants(nccl, kinds)


def _kind(row: dict[str, str]) -> Kind:
    return Kind(
        row["hardware"],
        float(row["bandwidth_share"]),
        float(row["own_share"] or 0),
        float(row["latency_seconds"] or 0),
        float(row["multicast_share"] or 0),
    )
