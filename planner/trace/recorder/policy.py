"""Gradient checkpointing of a built model, one policy after another."""

from __future__ import annotations

from typing import Any

import torch

from planner.models.building.built import BuiltModel


class Policy:
    """Which policy of checkpointing a built model is under: the runners of one model take turns."""

    def __init__(self, built: BuiltModel) -> None:
        self.built, self.now = built, "none"
        #: Whose inputs need gradients where blocks are recomputed, as nothing below trains.
        self.adapted: Any = None

    def become(self, policy: str) -> None:
        """Raises ModelError where the model cannot."""
        if policy == self.now:
            return
        if self.now != "none":
            assert self.built.stop_checkpointing is not None, "only such models are shared"
            self.built.stop_checkpointing()
            self._inputs("disable")
        self.now = "none"
        if policy != "none":
            enable_checkpointing(self.built, policy)
            self._inputs("disable")  # each call of the next adds hooks of its own
            self._inputs("enable")
            self.now = policy

    def _inputs(self, what: str) -> None:
        change = getattr(self.adapted, f"{what}_input_require_grads", None)
        if change is not None:
            change()


def enable_checkpointing(built, policy: str) -> None:
    """Gradient checkpointing on the model's blocks: ``full`` recomputes all of a block,
    ``selective`` keeps the outputs of matrix products and attention (torch's selective activation
    checkpointing)."""
    if policy == "full":
        built.enable_checkpointing()
        return
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    aten = torch.ops.aten
    keep = {
        aten.mm.default,
        aten.addmm.default,
        aten.bmm.default,
        aten.convolution.default,
        torch.ops.planner.attention.default,
        torch.ops.planner.flex_attention.default,
        # what a fused attention is on a real device
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
    }

    def choose(_context, operation, *_args, **_kwargs):
        return (
            CheckpointPolicy.MUST_SAVE if operation in keep else CheckpointPolicy.PREFER_RECOMPUTE
        )

    built.enable_checkpointing(context_fn=lambda: create_selective_checkpoint_contexts(choose))
