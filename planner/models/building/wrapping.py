"""Gradient checkpointing of models whose library has none: every block under
torch.utils.checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def checkpoint_blocks(blocks: Iterable[torch.nn.Module], options: Mapping[str, Any]) -> None:
    """Run every block under torch.utils.checkpoint (non-reentrant), in place."""
    from torch.utils.checkpoint import checkpoint

    def wrapped(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: checkpoint(
            forward, *args, use_reentrant=False, **options, **kwargs
        )

    for block in blocks:
        block.forward = wrapped(block.forward)
