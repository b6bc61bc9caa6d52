"""Whole training steps of small models, part by part: what the host needs for them beyond the bare
operators."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from planner.calibrate.host.small_models import BATCH, SMALL_MODELS, SmallModel
from planner.calibrate.host.timing import one_thread, undisturbed
from planner.calibrate.operations.execute import CannotRun
from planner.calibrate.operations.timing import time_case
from planner.errors import PlannerError
from planner.models.facts import ModelFacts
from planner.operations.cases import case_of
from planner.operations.registry import kind_of
from planner.step_time.host_charges import BACKWARD, FORWARD, OPTIMIZER, RECOMPUTE, TEACHER
from planner.trace.recorder.regimes import build_for
from planner.trace.source import TraceSource
from planner.trace.table import StepTrace
from planner.training.optimizers import OPTIMIZERS
from planner.training.recipe import Recipe
from planner.training.registry import strategy_of

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend

WARM_UP, STEPS, ROUNDS = 3, 3, 7
#: For timing one operation of a trace.
OPERATION_SECONDS = 0.004
LEARNING_RATE = 1e-5
_PART = {
    FORWARD: "forward",
    TEACHER: "forward",
    RECOMPUTE: "backward",
    BACKWARD: "backward",
    OPTIMIZER: "optimizer",
}


@dataclass(frozen=True)
class Measured:
    """A step that ran: host seconds of its parts (the middle of its rounds), those of its bare
    operators (none on a device with a queue of its own), and the trace that the planner prices it
    by."""

    name: str
    trace: StepTrace
    dims: np.ndarray
    seconds: Mapping[str, float]
    operators: Mapping[str, float]

    def host_seconds(self, part: str) -> float:
        return self.seconds[part] - self.operators.get(part, 0.0)


def measure_steps(
    backend: Backend, end: float, models: tuple[SmallModel, ...] = SMALL_MODELS
) -> list[Measured]:
    """Those that are made before ``end`` (of ``time.monotonic``), run by turns so that a drift of
    the machine falls on all. What cannot be built here, for want of a library, is left out."""
    with tempfile.TemporaryDirectory(prefix="planner-") as folder, one_thread(backend):
        ready: list[_Ready] = []
        for model in models:
            if ready and time.monotonic() >= end:
                break
            try:
                ready.append(_made(model, Path(folder), backend))
            except (PlannerError, ImportError):
                continue
        _run_by_turns(ready, backend)
        found = []
        for one in ready:
            operators = _operators(one, backend) if backend.kind == "cpu" else {}
            if operators is not None:
                found.append(Measured(one.name, one.trace, one.dims, one.middle(), operators))
        return found


# ---- making and running them


class _Ready:
    """A step that can be run: ``run()`` trains once and keeps what each part took."""

    def __init__(
        self, name: str, facts: ModelFacts, recipe: Recipe, point: Mapping[str, int], device: Any
    ) -> None:
        self.name, self.precision = name, recipe.precision
        self.trace = TraceSource(facts, recipe).at(**point)
        self.dims = self.trace.dims(**point)
        prepared = strategy_of(recipe).apply(
            build_for(facts, recipe, str(device)), recipe, _no_teacher
        )
        self._forward, self._batch = (
            prepared.forward,
            prepared.batch(**{"S": None, "T": None, **point}),
        )
        adamw = OPTIMIZERS["adamw"].real
        assert adamw is not None
        self._optimizer = adamw(prepared.trainable, lr=LEARNING_RATE)
        self._device = torch.device(device).type
        self.taken: dict[str, list[float]] = {"forward": [], "backward": [], "optimizer": []}

    def run(self, keep: bool = True) -> None:
        start = time.perf_counter()
        with self._autocast():
            loss = self._forward(self._batch)
        forward = time.perf_counter()
        loss.backward()
        del loss
        backward = time.perf_counter()
        self._optimizer.step()
        end = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        if keep:
            self.taken["forward"].append(forward - start)
            self.taken["backward"].append(backward - forward)
            self.taken["optimizer"].append(end - backward)

    def middle(self) -> dict[str, float]:
        return {part: statistics.median(samples) for part, samples in self.taken.items()}

    def _autocast(self) -> Any:
        kind = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}.get(self.precision)
        return torch.autocast(self._device, kind, enabled=kind is not None)


def _made(model: SmallModel, folder: Path, backend: Backend) -> _Ready:
    recipe = model.recipe("amp_bf16" if backend.kind == "cpu" else "amp_fp16")
    point = {"B": BATCH, **model.lengths}
    ready = _Ready(model.name, model.facts(folder), recipe, point, backend.device)
    for _ in range(WARM_UP):
        ready.run(keep=False)
    return ready


def _no_teacher() -> Any:
    raise PlannerError("a step of a small model has no teacher")


def _run_by_turns(ready: list[_Ready], backend: Backend) -> None:
    """The first step of a turn finds the caches full of another model, and is not kept."""
    with undisturbed():
        for _ in range(ROUNDS):
            for one in ready:
                one.run(keep=False)
                for _ in range(STEPS):
                    backend.synchronise()
                    one.run()


# ---- what the operators alone take where host and device are one processor


def _operators(one: _Ready, backend: Backend) -> dict[str, float] | None:
    """Seconds of each part; None where one of them cannot run by itself."""
    trace = one.trace
    each = np.zeros(len(trace.signatures))
    for index, signature in enumerate(trace.signatures):
        if not kind_of(signature.op).runs_kernel:
            continue
        case = case_of(signature, one.dims, one.precision)
        try:
            each[index] = time_case(case, backend, budget_seconds=OPERATION_SECONDS).seconds
        except CannotRun:
            return None
    found: dict[str, float] = {}
    for phase, part in _PART.items():
        found[part] = found.get(part, 0.0) + float(trace.counts[:, phase] @ each)
    return found
