"""What torch.compile leaves of the time: fused chains against the same operations one by one, on
the device and on the host."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

from planner.blame import raised_by_planner
from planner.calibrate.host.timing import by_turns, looping, one_thread
from planner.calibrate.operations.backends import Backend
from planner.calibrate.operations.timing import time_calls

#: Elements of the fused chains' tensors, and of the tiny ones on which the host's part shows.
_ROWS, _WIDTH = {"cuda": 16384, "mps": 8192, "cpu": 4096}, 1024
_TINY_ROWS, _TINY_WIDTH, _LAYERS = 4, 32, 4
_SECONDS = 0.3
_DROPPED = 0.1


def measure_compiled(backend: Backend) -> Iterator[dict[str, Any]]:
    """Facts ``compile_pointwise_bytes_share`` and ``compile_host_share``; a record of kind
    ``trust`` where torch.compile fails."""
    for name, measure in (
        ("compile_pointwise_bytes_share", _pointwise_share),
        ("compile_host_share", _host_share),
    ):
        try:
            yield {"record": "fact", "name": name, "value": measure(backend), "unit": "share"}
        # the compiler may fail in any way: none installed, a version too new
        except Exception as error:
            if raised_by_planner(error):
                raise
            line = " ".join(str(error).split())[:160] or type(error).__name__
            yield {
                "record": "trust",
                "what": f"torch.compile does not work here: {line}",
                "mend": "Estimates for compiled runs stand on our prior; install the compiler "
                "that torch.compile needs and calibrate again",
            }
            return


def _activated(x: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    return functional.dropout(functional.gelu(x + bias), _DROPPED, True) + residual


def _normed(x: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x + residual, (x.shape[-1],), bias, bias) * bias


def _pointwise_share(backend: Backend) -> float:
    """Time of fused chains over that of the same operations one by one: the geometric mean of
    two."""
    dtype = torch.bfloat16 if backend.kind == "cuda" else torch.float32
    x, residual = (
        torch.randn(_ROWS[backend.kind], _WIDTH, device=backend.device, dtype=dtype)
        for _ in range(2)
    )
    bias = torch.randn(_WIDTH, device=backend.device, dtype=dtype)
    with torch.no_grad():
        logs = [
            math.log(
                _seconds(torch.compile(chain, dynamic=False), backend, x, bias, residual)
                / _seconds(chain, backend, x, bias, residual)
            )
            for chain in (_activated, _normed)
        ]
    return math.exp(statistics.fmean(logs))


def _seconds(chain: Callable[..., torch.Tensor], backend: Backend, *tensors: torch.Tensor) -> float:
    chain(*tensors)
    return time_calls([lambda: chain(*tensors)], backend, budget_seconds=_SECONDS).seconds


class _Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = (
            torch.nn.LayerNorm(_TINY_WIDTH),
            torch.nn.Linear(_TINY_WIDTH, _TINY_WIDTH),
            torch.nn.Linear(_TINY_WIDTH, _TINY_WIDTH),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(functional.gelu(self.up(self.norm(x))))


def _host_share(backend: Backend) -> float:
    """Host time of the forward and backward pass of a few tiny layers, compiled over not."""
    stack = torch.nn.Sequential(*(_Layer() for _ in range(_LAYERS))).to(backend.device)
    x = torch.randn(_TINY_ROWS, _TINY_WIDTH, device=backend.device)
    fused = torch.compile(stack, dynamic=False)

    def stepping(module: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        def step() -> None:
            module(x).sum().backward()
            for parameter in stack.parameters():
                parameter.grad = None

        return step

    launches = 40 * _LAYERS
    with one_thread(backend):
        plain, short = by_turns(
            [
                looping(stepping(stack), backend, launches),
                looping(stepping(fused), backend, launches),
            ],
            _SECONDS,
        )
    return statistics.median(short) / statistics.median(plain)
