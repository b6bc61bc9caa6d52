"""All operations among two, four … and all ranks, over all sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from planner.calibrate.collectives.asked import Asked, Place
from planner.calibrate.collectives.operations import prepared, whole_bytes
from planner.calibrate.collectives.timing import seconds_of
from planner.devices.collectives import CollectiveCurve
from planner.errors import QuestionError
from planner.parallel.network import OPERATIONS
from planner.today import today

if TYPE_CHECKING:
    import torch

#: How long a rank waits for the others before it gives up.
PATIENCE = timedelta(minutes=3)

Say = Callable[[str], None]


def backend_of(wanted: str | None, place: Place) -> str:
    """NCCL where every process of this machine has a GPU of its own. Raises QuestionError where
    what is wanted cannot run here."""
    import torch
    import torch.distributed as dist

    able = torch.cuda.device_count() >= place.local_ranks and dist.is_nccl_available()
    if wanted == "nccl" and not able:
        raise QuestionError(
            f"{torch.cuda.device_count()} GPUs here for {place.local_ranks} processes",
            where="--backend nccl",
            mend="Start a process for each GPU, or use --backend gloo",
        )
    return wanted or ("nccl" if able else "gloo")


def measured(asked: Asked, place: Place, say: Say) -> list[CollectiveCurve]:
    """The curves of the groups that this rank is of: on rank 0 all there are. ``say`` is told what
    was found. Raises QuestionError and MachineError."""
    import torch
    import torch.distributed as dist

    backend = backend_of(asked.backend, place)
    device = torch.device("cuda", place.local_rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        return [
            curve
            for ranks in group_sizes(place)
            for curve in _among(ranks, asked, place, backend, device, say)
        ]
    finally:
        dist.destroy_process_group()


def group_sizes(place: Place) -> list[int]:
    """Powers of two that fit on one machine, and all ranks."""
    powers = (2**power for power in range(1, place.local_ranks.bit_length()))
    return sorted({*(size for size in powers if size <= place.local_ranks), place.ranks})


def _among(
    ranks: int, asked: Asked, place: Place, backend: str, device: torch.device, say: Say
) -> Iterator[CollectiveCurve]:
    """Every rank has to make every group, whether it is of it or not."""
    import torch.distributed as dist

    members = list(range(ranks))
    group, control = dist.new_group(members), dist.new_group(members, backend="gloo")
    if place.rank < ranks:
        for operation in OPERATIONS:
            if operation == "send" and ranks != 2:
                continue
            curve = _curve(operation, ranks, asked, place, backend, device, (group, control), say)
            if curve is not None:
                yield curve
    dist.barrier()


def _curve(
    operation: str,
    ranks: int,
    asked: Asked,
    place: Place,
    backend: str,
    device: torch.device,
    groups: tuple[Any, Any],
    say: Say,
) -> CollectiveCurve | None:
    """None where the backend has no such operation."""
    import torch

    def synchronise() -> None:
        if backend == "nccl":
            torch.cuda.synchronize()

    points: dict[float, tuple[float, float]] = {}
    for size in asked.sizes(backend):
        try:
            run = prepared(operation, size, ranks, device, groups[0])
            times = seconds_of(run, synchronise, groups[1], asked.seconds)
        except (RuntimeError, NotImplementedError) as error:
            if points:
                raise
            say(f"{operation}: not measured, {backend} says: {str(error).splitlines()[0][:120]}")
            return None
        points[float(whole_bytes(size, ranks))] = times
    say(_summary(operation, ranks, points))
    nodes = -(-ranks // place.local_ranks)
    ordered = tuple((size, *times) for size, times in sorted(points.items()))
    return CollectiveCurve(operation, ranks, nodes, backend, str(today()), ordered)


def _summary(operation: str, ranks: int, points: dict[float, tuple[float, float]]) -> str:
    """Latency of the smallest and rate of the largest, and how restless it was."""
    smallest, largest = min(points), max(points)
    rate = largest / points[largest][0] / 1e9
    restless = sum(middle > 2 * least for middle, least in points.values())
    text = (
        f"{operation} among {ranks}: {points[smallest][0] * 1e6:,.0f} µs at "
        f"{smallest:,.0f} bytes, {rate:,.3g} GB/s at {largest:,.0f}"
    )
    if restless > len(points) / 2:
        text += "; the machine was in use: most times are twice the least"
    return text
