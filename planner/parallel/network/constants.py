"""What collectives cost beside the bytes: NCCL's own constants, and the share of a link's nominal
rate that is reached. Rows of ``profiles/networks/nccl.csv`` and ``kinds.csv``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

from planner import tables
from planner.errors import ProfileError

FOLDER = "networks"


@dataclass(frozen=True)
class Kind:
    """A kind of link. ``hardware``: which of NCCL's latencies hold (nvlink, pci, net).

    ``bandwidth_share``: of the nominal rate, for large messages. ``multicast_share``: bytes of an
    all-reduce a second, of the nominal rate, where the switch adds; 0 where none does.
    ``own_share``: what a device's own part of the buffer takes, which crosses no link, beside one
    that does. ``ramp_bytes``: bytes of one device at which a transfer takes twice its least time,
    since small ones use few of the channels; ``multicast_ramp_bytes``: the same, of the whole
    buffer, where the switch adds. ``hop_factor``: a hop's latency against NCCL's own
    figure. ``peer_share``: of a hop, for each further peer that is sent to at once.
    ``start_seconds``: of any collective, beside NCCL's own figure."""

    hardware: str
    bandwidth_share: float
    multicast_share: float = 0.0
    multicast_ramp_bytes: float = 0.0
    own_share: float = 0.0
    ramp_bytes: float = 0.0
    hop_factor: float = 1.0
    peer_share: float = 0.0
    start_seconds: float = 0.0


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
    """Blank cells keep the defaults: no effect."""
    numbers = {
        name.name: float(row[name.name])
        for name in fields(Kind)
        if name.name != "hardware" and row[name.name]
    }
    return Kind(row["hardware"], **numbers)
