"""When a step is recorded with values beside it: made up once, for a model whose code asks its
data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from planner.blame import culprit, line_of
from planner.errors import ModelError
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder
from planner.trace.recorder.on_data.data_questions import NeedsValuesError
from planner.trace.recorder.on_data.values import Values, repeated
from planner.units import format_bytes

#: Weights that are made up so that a model can be run with values: more would take this machine's
#: memory and minutes.
LARGEST_REAL_BYTES = 3 * 2**30


class Beside:
    """``build_real()``: the model on the processor, with weights; None where none may be made.
    ``module``: the same on meta, before a strategy is applied."""

    def __init__(self, name: str, module: torch.nn.Module, build_real: Callable | None) -> None:
        self.values: Values | None = None
        self._name, self._build_real, self._real = name, build_real, None
        self._weights = _tensors_of(module) if build_real is not None else {}

    def help(self, error: Exception) -> bool:
        """Whether values are there now that ``error`` asked for. Raises ModelError where the
        weights are too many to be real."""
        if self._build_real is None or self.values is not None or not _asks_its_data(error):
            return False
        size = sum(t.numel() * t.element_size() for t in self._weights.values())
        if size > LARGEST_REAL_BYTES:
            raise ModelError(
                f"{line_of(error)}; it would have to be run with values, and its weights, "
                f"{format_bytes(size)}, are more than the {format_bytes(LARGEST_REAL_BYTES)} that "
                "are made up for that",
                where=self._name,
                mend="Give a smaller one of its kind",
            ) from error
        built: Any = self._build_real()
        self._real, self.values = built, Values()
        real = _tensors_of(built.module)
        for name, tensor in self._weights.items():
            self.values.adopt(tensor, real.get(name))
        return True

    def running(self) -> contextlib.AbstractContextManager:
        """Around all that runs on meta."""
        return self.values or contextlib.nullcontext()

    def begin(self, batch: dict, point: dict[str, int], recorder: Recorder, mode: CudaLike) -> None:
        """Give a batch its values, unless a strategy feeds something of its own."""
        mode.values = self.values
        if self.values is None or self._real is None:
            return
        self.values.on_answer = recorder.synchronise
        real = repeated(self._real.make_batch, point)
        if set(real) == set(batch):
            self.values.adopt(batch, real)

    def said(self) -> dict[str, list[str]]:
        """What was asked of the data, where anything was."""
        return {"asked_of_data": list(self.values.asked)} if self.values is not None else {}


def _asks_its_data(error: Exception) -> bool:
    """Whether meta alone cannot run it: a value was asked for, or an operation has no shape without
    values."""
    if isinstance(error, NeedsValuesError):
        return True
    missing = isinstance(error, (NotImplementedError, RuntimeError)) and "meta" in str(error)
    return missing and culprit(error) in ("torch", "model")


def _tensors_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())
