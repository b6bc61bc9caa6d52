"""What of a recorded step waits in the host's memory: activations, the optimizer with the gradients
that it needs, weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from planner.trace.recorder.dispatch_mode import Recorder
from planner.trace.recorder.updating import mark_gradients
from planner.training.host_memory import (
    ACTIVATIONS,
    FLOAT32,
    GRADIENTS,
    OPTIMIZER,
    WEIGHTS,
    offloading_fact,
)
from planner.training.recipe import Recipe
from planner.training.savings.offloaded_weights import OffloadedWeights
from planner.training.savings.offloading import OffloadedActivations


@dataclass
class Waiting:
    """``trainable``: what is updated. ``blocks``: ids of modules whose weights come together;
    ``owners``: names of the modules that own weights, by the weights' ids."""

    recipe: Recipe
    module: torch.nn.Module
    trainable: list[Any]
    blocks: set[int]
    owners: Mapping[int, str] = field(default_factory=dict[int, str])

    @property
    def _words(self) -> tuple[str, ...]:
        return self.recipe.offload or ()

    @cached_property
    def _activations(self) -> OffloadedActivations | None:
        """Weights stay where they are, cast or not."""
        if ACTIVATIONS not in self._words:
            return None
        weights = {p.untyped_storage()._cdata for p in self.module.parameters()}
        return OffloadedActivations(lambda t: t.untyped_storage()._cdata in weights)

    @cached_property
    def _weights(self) -> OffloadedWeights | None:
        return OffloadedWeights(self.module, self.blocks) if WEIGHTS in self._words else None

    @contextlib.contextmanager
    def away(self, recorder: Recorder) -> Iterator[None]:
        """Around a whole recording."""
        if self._weights is None:
            yield
            return
        self._weights.told = lambda tensors: recorder.mark(tensors, "weights")
        with self._weights.away():
            yield

    @contextlib.contextmanager
    def forward(self, heads: Iterable[torch.nn.Module]) -> Iterator[None]:
        """Around the forward pass. What ``heads`` and the loss save is wanted at once."""
        activations, weights = self._activations, self._weights
        with contextlib.ExitStack() as stack:
            if activations is not None:
                stack.enter_context(activations.hooks(heads))
            if weights is not None:
                stack.enter_context(weights.hooks())
            yield

    @contextlib.contextmanager
    def backward(self, recorder: Recorder) -> Iterator[None]:
        """Around the backward pass: gradients leave as soon as they are there."""
        if self._weights is not None:
            self._weights.backward = True
        if OPTIMIZER not in self._words:
            yield
            self._back()
            return
        leaves, wide = GRADIENTS in self._words, FLOAT32 in self._words
        bucket = self._bucket() if leaves and wide else None

        def copied(weight: torch.Tensor) -> None:
            gradient = weight.grad
            assert gradient is not None
            mark_gradients(recorder, [weight])
            with torch.no_grad(), recorder.within(self.owners.get(id(weight), "")):
                if wide:
                    gradient = gradient.to(torch.float32)
                torch.ops.planner.offload(gradient)
            if leaves:
                weight.grad = None

        hooks = [p.register_post_accumulate_grad_hook(copied) for p in self.trainable]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            del bucket
            self._back()

    def _back(self) -> None:
        if self._weights is not None:
            self._weights.back()

    def _bucket(self) -> torch.Tensor:
        """Gradients of a while side by side, in the weights' number format."""
        elements = int(offloading_fact("reduce_bucket"))
        return torch.empty(elements, dtype=self.trainable[0].dtype, device="meta")

    def end(self) -> None:
        """The step is over: nothing is held."""
        if self._activations is not None:
            self._activations.end()
