"""What a measurement of collectives is asked to do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from planner.errors import QuestionError
from planner.units import MIB

BACKENDS = ("gloo", "nccl")
LEAST_BYTES = 1024
#: The largest buffer by default: gloo's devices are processors that share their memory.
MOST_BYTES = {"gloo": 16 * MIB, "nccl": 256 * MIB}
HOW = "torchrun --nproc-per-node 2 -m planner.calibrate.collectives"


@dataclass(frozen=True)
class Asked:
    """``backend``: None for NCCL where every process has a GPU, else gloo. ``most_bytes``: None for
    the backend's own. ``seconds``: of measuring one size. ``out``: the profile to write into, None
    for the user's own of this device."""

    backend: str | None = None
    least_bytes: int = LEAST_BYTES
    most_bytes: int | None = None
    seconds: float = 0.1
    out: Path | None = None

    def sizes(self, backend: str) -> list[int]:
        """Bytes of the whole buffer, each twice the one before."""
        most, sizes = self.most_bytes or MOST_BYTES[backend], [self.least_bytes]
        while sizes[-1] * 2 <= most:
            sizes.append(sizes[-1] * 2)
        return sizes


@dataclass(frozen=True)
class Place:
    """Of a process that torchrun started: its ``rank`` among ``ranks``, ``local_ranks`` of them on
    this machine, this one the ``local_rank``-th."""

    rank: int
    ranks: int
    local_rank: int
    local_ranks: int


class _Parser(argparse.ArgumentParser):
    """One that refuses as the rest of the planner does."""

    def error(self, message: str) -> NoReturn:
        raise QuestionError(message, mend="--help lists what can be given")


def asked(arguments: Sequence[str] | None = None) -> Asked:
    """From the command line. Raises QuestionError for values that make no sense."""
    parser = _Parser(prog=HOW, description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, help="default: nccl where there are GPUs")
    parser.add_argument("--least-bytes", type=int, default=LEAST_BYTES, help="smallest buffer")
    parser.add_argument("--most-bytes", type=int, help="largest buffer")
    parser.add_argument("--seconds", type=float, default=0.1, help="of measuring one size")
    parser.add_argument("--out", type=Path, help="profile to write into; default: the user's own")
    found = Asked(**vars(parser.parse_args(arguments)))
    if found.least_bytes < 1 or (found.most_bytes or found.least_bytes) < found.least_bytes:
        raise QuestionError(
            f"sizes from {found.least_bytes} to {found.most_bytes} bytes",
            where="--least-bytes, --most-bytes",
            mend="Give positive sizes, the smaller first",
        )
    if not 0 < found.seconds < float("inf"):
        raise QuestionError(f"{found.seconds:g} seconds a size", where="--seconds")
    return found


def place() -> Place:
    """As torchrun's variables say. Raises QuestionError where it did not start this process, or
    started it alone."""
    try:
        found = Place(
            *(int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
        )
    except (KeyError, ValueError) as error:
        raise QuestionError("it measures between processes", mend=f"Start it with {HOW}") from error
    if found.ranks < 2:
        raise QuestionError("one process has nobody to talk to", mend=f"Start it with {HOW}")
    return found
