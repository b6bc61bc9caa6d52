"""The optimizer of a recorded step: made with its state, and what it does after a backward pass.

Its phase by itself depends on no batch; run on all parameters that train, what it groups or loops
over is exact whatever the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from planner.errors import ModelError
from planner.trace.raw import RawTrace
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder
from planner.trace.recorder.kernels.lists_on_meta import QuickLists
from planner.training.host_memory import FLOAT32, OPTIMIZER, WEIGHTS
from planner.training.optimizers import OPTIMIZERS, state_tensors
from planner.training.optimizers.several import OUTER
from planner.training.recipe import Recipe
from planner.training.savings.host_updates import (
    HostBytes,
    HostOptimizer,
    host_bytes,
    state_bytes,
)
from planner.training.strategy import Prepared, count


def made(parameters: list, recipe: Recipe) -> torch.optim.Optimizer:
    """With its state already made, as after the first step of a run. Raises ModelError where
    nothing trains."""
    if not parameters:
        raise ModelError("nothing is left to train")
    if OPTIMIZER in (recipe.offload or ()):
        return _on_the_host(parameters, recipe)
    optimizer = OPTIMIZERS[recipe.optimizer].recorded(parameters)
    for p in parameters:
        p.grad = torch.empty_like(p)
    with as_if_on_cuda(CudaLike(numbers=1.0)), QuickLists():
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer


def of_the_host(parameters: list, recipe: Recipe) -> HostBytes:
    """What the host holds and moves for each element that trains."""
    wide = FLOAT32 in (recipe.offload or ())
    own = parameters[0].dtype
    with as_if_on_cuda(CudaLike(numbers=1.0)), QuickLists():
        build = OPTIMIZERS[recipe.optimizer].recorded
        states = state_bytes(build, torch.float32 if wide else own)
    return host_bytes(states, own.itemsize, wide=wide)


def on_the_host(prepared: Prepared, recipe: Recipe) -> dict[str, float]:
    """Bytes that the host holds of what trains and of weights, and of them the optimizer's states,
    where there are such; for a trace's counts."""
    words = recipe.offload or ()
    if OPTIMIZER not in words or prepared.inference:
        return {}
    trainable = prepared.trainable
    found, elements = of_the_host(trainable, recipe), count(trainable)
    held = found.held * elements
    if WEIGHTS in words:
        own = {id(p) for p in trainable}
        frozen = [p for p in prepared.module.parameters() if id(p) not in own]
        held += sum(p.numel() * p.element_size() for p in frozen)
    return {"host_bytes": held, "host_state_bytes": found.states * elements}


def _on_the_host(parameters: list, recipe: Recipe) -> torch.optim.Optimizer:
    words = recipe.offload or ()
    moved = of_the_host(parameters, recipe).moved
    returns = WEIGHTS not in words
    return HostOptimizer(parameters, moved, wide=FLOAT32 in words, returns=returns)


def mark_gradients(recorder: Recorder, parameters: Iterable) -> list[torch.Tensor]:
    gradients = [p.grad for p in parameters if p.grad is not None]
    recorder.mark(gradients, "gradients")
    return gradients


def update(
    recorder: Recorder,
    mode: CudaLike,
    optimizer: torch.optim.Optimizer,
    parameters: list,
    recipe: Recipe,
) -> None:
    """Record what follows the backward pass."""
    gradients = mark_gradients(recorder, parameters)
    recorder.phase = "optimizer"
    # the gradient scaler looks for overflow before every step
    if recipe.precision == "amp_fp16" and gradients:
        torch.ops.planner.unscale(gradients)
        recorder.synchronise()
    del gradients
    # Adafactor scales by norms that it reads back: any number gives the same operations
    mode.numbers = 1.0
    optimizer.step()


#: What an optimizer sees of a parameter: shape, strides and type, of itself and of its gradient,
#: and whether it is of an embedding or a head.
Spec = tuple[tuple, tuple | None, bool]


def spec(parameter: torch.nn.Parameter) -> Spec:
    grad = None if parameter.grad is None else _laid_out(parameter.grad)
    return _laid_out(parameter), grad, getattr(parameter, OUTER, False)


def _laid_out(tensor: torch.Tensor) -> tuple:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def _meta(described: tuple) -> torch.Tensor:
    shape, stride, dtype = described
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


def recorded_update(specs: list[Spec], recipe: Recipe) -> RawTrace:
    """The phase of an optimizer whose state is there already, with what it runs on born before.
    Numbers that change from step to step (corrections of bias) are left out, as a fit over several
    steps leaves them out."""
    parameters = [_parameter(own, outer) for own, _, outer in specs]
    optimizer = made(parameters, recipe)
    first = _one_update(optimizer, parameters, specs, recipe)
    second = _one_update(optimizer, parameters, specs, recipe)
    signatures: list = [()] * len(first.signatures)
    for (one, *_), (other, *_) in zip(first.operations, second.operations, strict=True):
        *same, attributes = first.signatures[one]
        kept = tuple(pair for pair in attributes if pair in second.signatures[other][3])
        signatures[one] = (*same, kept)
    first.signatures = signatures
    return first


def _parameter(described: tuple, outer: bool) -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(_meta(described))
    setattr(parameter, OUTER, outer)
    return parameter


def _one_update(optimizer: Any, parameters: list, specs: list[Spec], recipe: Recipe) -> RawTrace:
    for parameter, (_, grad, _) in zip(parameters, specs, strict=True):
        parameter.grad = None if grad is None else _meta(grad)
    recorder = Recorder(torch.nn.Module())
    mode = CudaLike()
    mode.on_answer = recorder.synchronise
    recorder.mark(parameters, "weights")
    mark_gradients(recorder, parameters)
    recorder.mark(state_tensors(optimizer), "optimizer")
    with recorder, as_if_on_cuda(mode):
        update(recorder, mode, optimizer, parameters, recipe)
    return recorder.finish()
