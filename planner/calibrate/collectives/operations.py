"""The collectives as torch.distributed runs them, on buffers of a size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from planner.errors import MachineError

if TYPE_CHECKING:
    import torch

ITEM = 4  # float32


def whole_bytes(size_bytes: int, ranks: int) -> int:
    """The size that is really measured: whole float32 numbers, as many for each rank."""
    each = ITEM * ranks
    return max(1, round(size_bytes / each)) * each


def prepared(
    operation: str, size_bytes: int, ranks: int, device: torch.device, group: Any
) -> Callable[[], object]:
    """What runs the operation once on a whole buffer of ``size_bytes``. Raises MachineError where
    the memory is too small."""
    import torch
    import torch.distributed as dist

    count = whole_bytes(size_bytes, ranks) // ITEM
    try:
        whole = torch.ones(count, device=device)
        part = torch.ones(count // ranks, device=device)
        other = torch.ones(count, device=device) if operation == "all_to_all" else whole
    except RuntimeError as error:
        raise MachineError(
            f"no memory for {size_bytes:,} bytes", mend="Give a smaller --most-bytes"
        ) from error
    # newer releases of torch call the old names deprecated
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    runs: dict[str, Callable[[], object]] = {
        "all_reduce": lambda: dist.all_reduce(whole, group=group),
        "all_gather": lambda: gather(whole, part, group=group),
        "reduce_scatter": lambda: scatter(part, whole, group=group),
        "all_to_all": lambda: dist.all_to_all_single(other, whole, group=group),
        "broadcast": lambda: dist.broadcast(whole, src=0, group=group),
        "send": lambda: _sent(whole, group),
    }
    return runs[operation]


def _sent(whole: torch.Tensor, group: Any) -> None:
    import torch.distributed as dist

    if dist.get_rank() == 0:
        dist.send(whole, dst=1, group=group)
    else:
        dist.recv(whole, src=0, group=group)
