"""Updates inside the backward pass: each weight's own optimizer runs as soon as its gradient is
there, which is then freed.

Source: torchtune's ``register_optim_in_bwd_hooks`` (``training/memory.py``): a hook after the
accumulation of each gradient steps an optimizer of this weight alone. What it runs counts as
backward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder
from planner.trace.recorder.updating import made, mark_gradients
from planner.training.optimizers import state_tensors
from planner.training.recipe import Recipe


@dataclass
class UpdatesWithin:
    """``owners``: the module of each weight, by its id."""

    trainable: list[torch.nn.Parameter]
    recipe: Recipe
    owners: Mapping[int, str]
    _optimizers: dict[int, torch.optim.Optimizer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._optimizers = {id(p): made([p], self.recipe) for p in self.trainable}

    def mark_states(self, recorder: Recorder, module: torch.nn.Module) -> None:
        """The states of what the model has now: blocks may be taken out."""
        for parameter in module.parameters():
            optimizer = self._optimizers.get(id(parameter))
            if optimizer is not None:
                owner = self.owners.get(id(parameter), "")
                recorder.mark(state_tensors(optimizer), "optimizer", lambda _, o=owner: o)

    @contextlib.contextmanager
    def running(self, recorder: Recorder, mode: CudaLike) -> Iterator[None]:
        """Around the backward pass."""

        def update(parameter: torch.Tensor) -> None:
            mark_gradients(recorder, [parameter])
            numbers, mode.numbers = mode.numbers, 1.0
            with recorder.within(self.owners.get(id(parameter), "")):
                self._optimizers[id(parameter)].step()
            mode.numbers = numbers
            parameter.grad = None

        hooks = [p.register_post_accumulate_grad_hook(update) for p in self.trainable]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
