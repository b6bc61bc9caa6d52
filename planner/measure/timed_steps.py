"""Training steps that are watched: every part of them is timed on the device's clock, and they stop
when the median is known.

The step is the one of ``real_step``, fed anew in each micro-batch, with the weights of the user's
folder where it holds any.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.ledger.stopwatch import RECORDED_SAMPLES, ends, thinned
from planner.measure.real_run import SURE, relative_error
from planner.measure.real_step import autocast, optimizer_of, prepare
from planner.models.facts import ModelFacts
from planner.training.recipe import Recipe

WARM_UP_STEPS = 2  # at least: the first makes the optimizer's state
WARM_UP_SHARE = 1 / 3  # of the time, at most
STEADY = 0.2  # two warm-up steps that agree so well end it
GROUP_SECONDS, GROUP_STEPS = 0.5, 50  # between two waits for a pipelined device
PHASES = ("forward", "backward", "optimizer", "data")


def _not_fed() -> dict[str, Any]:
    raise RuntimeError("a measured step has no batches: set its feed first")


class MeasuredStep:
    """``step(mark)`` runs one optimizer step; ``mark(phase)`` is called at the end of each stretch:
    ``data``, ``forward`` and ``backward`` of every micro-batch, ``optimizer``. ``feed()`` returns
    the next batch on the device and must be set before.

    Raises what building and applying raise, and torch's own error when memory is not enough.
    """

    def __init__(
        self,
        facts: ModelFacts,
        recipe: Recipe,
        device: str,
        *,
        accumulation: int = 1,
        teacher: ModelFacts | None = None,
        own_weights: bool = True,
    ):
        import torch

        self.recipe, self.accumulation = recipe, accumulation
        self.device_type = torch.device(device).type
        self.prepared = prepare(facts, recipe, device, teacher)
        self.notes = (
            _own_weights(self.prepared.module, facts, recipe)
            if own_weights
            else ["weights are random, as training from scratch begins"]
        )
        self.optimizer = (
            None
            if self.prepared.inference
            else optimizer_of(recipe.optimizer, self.prepared.trainable)
        )
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=recipe.precision == "amp_fp16")
        self.feed: Callable[[], dict[str, Any]] = _not_fed
        self.waited_seconds = 0.0  # for data, by the host's clock
        self.loss: Any = None  # of the last micro-batch, on the device
        if recipe.compile:
            self.prepared.module.compile()

    def __call__(self, mark: Callable[[str], None] = lambda phase: None) -> None:
        for _ in range(self.accumulation):
            started = time.perf_counter()
            batch = self.feed()
            self.waited_seconds += time.perf_counter() - started
            mark("data")
            with autocast(self.recipe.precision, self.device_type):
                loss = self.prepared.forward(batch)
            mark("forward")
            if self.optimizer is not None:
                self.scaler.scale(
                    loss / self.accumulation if self.accumulation > 1 else loss
                ).backward()
                self.loss = loss.detach()
                mark("backward")
            del loss, batch
        if self.optimizer is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.before_forgetting()
            self.optimizer.zero_grad(set_to_none=True)
            mark("optimizer")

    def before_forgetting(self) -> None:
        """Called while the gradients are still there."""

    def loss_value(self) -> float | None:
        """Waits for the device."""
        return None if self.loss is None else float(self.loss)


@dataclass(frozen=True)
class Timed:
    """Seconds on the device's clock: ``samples`` of whole steps without waiting for data,
    ``phases`` of a median step (``data``: the host's wait a step), ``forward_seconds`` of one
    micro-batch, ``wall_seconds`` of all timed steps together."""

    samples: tuple[float, ...]
    forward_seconds: float
    phases: dict[str, float]
    wall_seconds: float
    loss_first: float | None = None
    loss_last: float | None = None
    relative_error: float = field(default=math.inf)

    def measurement(self, samples_a_step: int, tokens_a_step: float | None) -> dict[str, Any]:
        """By the names of a record's ``measurement``."""
        low, high = ends(self.samples)
        mean = statistics.fmean(self.samples)
        whole = mean + self.phases["data"]
        found = dict(
            step_seconds=statistics.median(self.samples),
            step_seconds_p10=low,
            step_seconds_p90=high,
            step_seconds_mean=mean,
            step_samples=thinned(self.samples, RECORDED_SAMPLES),
            relative_error=self.relative_error,
            forward_seconds=self.forward_seconds,
            data_seconds=self.phases["data"],
            wall_seconds=self.wall_seconds,
            steps=len(self.samples),
            phase_seconds=dict(self.phases),
            samples_per_second=samples_a_step / whole,
            loss_first=self.loss_first,
            loss_last=self.loss_last,
        )
        if tokens_a_step:
            found |= dict(
                tokens=round(tokens_a_step * len(self.samples)),
                tokens_per_second=tokens_a_step / whole,
            )
        return {
            name: value for name, value in found.items() if value is not None and value != math.inf
        }


def run_steps(
    step: MeasuredStep,
    marks: Any,
    *,
    seconds: float,
    min_steps: int = 5,
    varied: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Timed:
    """Warm up, then train until the median step is known to ``SURE`` or ``seconds`` are over; at
    least ``min_steps``.

    ``varied``: batches differ in length, so the mean must be known as well. ``marks``: of
    ``planner.measure.marks``.
    """
    begin = time.perf_counter()
    usual, loss_first = _warm_up(step, marks, seconds * WARM_UP_SHARE)
    size = (
        max(3, min(GROUP_STEPS, round(GROUP_SECONDS / max(usual, 1e-6)))) if marks.pipelined else 1
    )
    kept: list[list[tuple[str, float]]] = []
    samples: list[float] = []
    wall = waited = 0.0
    steps = 0
    while len(samples) < min_steps or (
        time.perf_counter() - begin < seconds and not _sure(samples, varied)
    ):
        group, spent, wait = _group(step, marks, size)
        kept += group
        samples += [sum(part for name, part in stretches if name != "data") for stretches in group]
        wall, waited, steps = wall + spent, waited + wait, steps + size
        if progress:
            progress(
                "training", int(1000 * min(1.0, (time.perf_counter() - begin) / seconds)), 1000
            )
    forward = statistics.median(
        part for stretches in kept for name, part in stretches if name == "forward"
    )
    return Timed(
        tuple(samples),
        forward,
        _phases(kept, waited / steps),
        wall,
        loss_first,
        step.loss_value(),
        relative_error(samples),
    )


def _sure(samples: list[float], varied: bool) -> bool:
    if len(samples) < 4 or not relative_error(samples) < SURE:
        return False
    return not varied or statistics.stdev(samples) / math.sqrt(
        len(samples)
    ) < SURE * statistics.fmean(samples)


def _warm_up(step: MeasuredStep, marks: Any, budget_seconds: float) -> tuple[float, float | None]:
    """(the last step's wall seconds, the first step's loss), once two steps agree."""
    begin, before, done, first = time.perf_counter(), math.inf, 0, None
    while True:
        start = time.perf_counter()
        step()
        marks.synchronise()
        now, done = time.perf_counter() - start, done + 1
        if done == 1:
            first = step.loss_value()
        if done >= WARM_UP_STEPS and (
            abs(now - before) <= STEADY * now or time.perf_counter() - begin > budget_seconds
        ):
            return now, first
        before = now


def _group(
    step: MeasuredStep, marks: Any, size: int
) -> tuple[list[list[tuple[str, float]]], float, float]:
    """(the stretches of each step, wall seconds of all, seconds waited for data). After a wait the
    host is not ahead yet: the first step of a pipelined group is left out."""
    step.waited_seconds, wall = 0.0, time.perf_counter()
    moments: list[list[tuple[str, Any]]] = []
    last = marks.mark()
    for _ in range(size):
        moments.append([("begin", last)])
        step(lambda phase: moments[-1].append((phase, marks.mark())))
        last = moments[-1][-1][1]
    marks.synchronise()
    wall = time.perf_counter() - wall
    kept = moments[1:] if marks.pipelined else moments
    timed = [
        [(name, marks.seconds(before, at)) for (_, before), (name, at) in zip(passed, passed[1:])]
        for passed in kept
    ]
    return timed, wall, step.waited_seconds


def _phases(steps: list[list[tuple[str, float]]], data_seconds: float) -> dict[str, float]:
    """Of a median step. Accumulated micro-batches are added."""
    found = {}
    for phase in PHASES[:-1]:
        each = [
            sum(part for name, part in stretches if name == phase)
            for stretches in steps
            if any(name == phase for name, _ in stretches)
        ]
        if each:
            found[phase] = statistics.median(each)
    return found | {"data": data_seconds}


# ---------------------------------------------------------------- weights


def _own_weights(module: Any, facts: ModelFacts, recipe: Recipe) -> list[str]:
    """Fill the module from the folder's safetensors and say how much of it came from there; pickled
    weights are never read."""
    files = (
        sorted(facts.folder.glob("*.safetensors"))
        if facts.folder is not None and facts.folder.is_dir()
        else []
    )
    if facts.folder is None or not files:
        return ["weights are random"]
    if recipe.strategy == "qlora" or recipe.variant == "cached":
        return [
            "weights are random: those of the folder are not packed into what this strategy keeps"
        ]
    loaded = load_weights(module, files)
    total = sum(p.numel() for p in module.parameters())
    return [
        f"{loaded / total:.1%} of the weights are those of {facts.folder.name}, the rest random"
        if loaded < total
        else f"weights are those of {facts.folder.name}"
    ]


def load_weights(module: Any, files: list[Path]) -> int:
    """Copy what the files hold under the module's own names, with or without the base model's
    prefix and PEFT's wrapping, and of the same shape. Returns how many elements of parameters were
    filled. Raises ModelError for a damaged file."""
    import torch
    from safetensors import SafetensorError, safe_open

    from planner.errors import ModelError

    wanted = {
        _plain(name): tensor
        for name, tensor in (
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(),
        )
    }
    prefix = (
        next(
            (p for part in module.modules() if (p := getattr(part, "base_model_prefix", None))),
            None,
        )
        or "model"
    )
    parameters, filled = {id(p) for p in module.parameters()}, {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors, torch.no_grad():
                for name in tensors.keys():
                    target = next(
                        (
                            wanted[n]
                            for n in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}."))
                            if n in wanted
                        ),
                        None,
                    )
                    if (
                        target is not None
                        and list(target.shape) == tensors.get_slice(name).get_shape()
                    ):
                        target.copy_(tensors.get_tensor(name))
                        filled[id(target)] = target.numel()
        except (SafetensorError, OSError) as error:
            raise ModelError(f"its weights cannot be read: {error}", where=str(file)) from error
    return sum(size for key, size in filled.items() if key in parameters)


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")
