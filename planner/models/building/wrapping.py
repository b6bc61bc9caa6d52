"""What models are given that their library leaves out: gradient checkpointing of every block
(torch.utils.checkpoint), and a classifier on an encoder."""

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


HEADLESS = (
    "its library has it as an encoder alone: a linear classifier on the mean of what it gives out "
    "was added"
)


def with_classifier(encoder: torch.nn.Module, width: int, classes: int) -> torch.nn.Module:
    """``encoder`` [B, …, width] (or [B, width, rows, columns]) and a linear layer on the mean over
    all that lies between."""
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder_without_head = encoder
            self.head = torch.nn.Linear(width, classes)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = self.encoder_without_head(images)
            if found.dim() == 4 and found.shape[1] == width:  # a map of features
                found = found.flatten(2).mean(2)
            return self.head(found.flatten(1, -2).mean(1) if found.dim() > 2 else found)

        def get_classifier(self) -> torch.nn.Module:
            return self.head

        def set_grad_checkpointing(self, enable: bool = True) -> None:
            self.encoder_without_head.set_grad_checkpointing(enable)  # type: ignore[operator]

    return Classifier()
