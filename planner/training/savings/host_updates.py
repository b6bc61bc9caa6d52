"""An optimizer whose states lie in the host's memory, and which runs there.

Two pieces of software do it on one device. DeepSpeed's ZeRO-Offload (Ren et al. 2021, arXiv
2101.06840; ``deepspeed/runtime/zero/stage_1_and_2.py`` of 0.19.8) holds weights of 16 bits on the
device and everything of float32 on the host: each gradient becomes float32, is copied there and
multiplied with its scale; DeepSpeedCPUAdam updates; the weights are made of 16 bits there and
copied back when all are done. torchao's ``CPUOffloadOptimizer`` (``torchao/optim/cpu_offload.py``)
holds a copy of each weight on the host in its own number format, waits for the copy of its
gradient, updates it with torch's optimizer and copies it back while the next one is updated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from planner.training.host_memory import HostBytes, host_bytes

__all__ = ["HostBytes", "HostOptimizer", "host_bytes", "state_bytes"]

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("host_update(Tensor weight, int each) -> ()")
_LIBRARY.define("upload(Tensor weight) -> ()")
_LIBRARY.define("restore(Tensor weight) -> ()")
_LIBRARY.impl("host_update", lambda weight, each: None, "Meta")
_LIBRARY.impl("upload", lambda weight: None, "Meta")
_LIBRARY.impl("restore", lambda weight: None, "Meta")

#: Of the weights that an optimizer's states are counted on.
PROBE = 1024


def state_bytes(build: Callable[[list[Any]], torch.optim.Optimizer], dtype: torch.dtype) -> float:
    """Bytes of an optimizer's states for each element of a weight of this type."""
    weight = torch.nn.Parameter(torch.empty(PROBE, PROBE, dtype=dtype, device="meta"))
    weight.grad = torch.empty_like(weight)
    optimizer = build([weight])
    optimizer.step()
    found = (t for state in optimizer.state.values() for t in state.values())
    held = sum(t.numel() * t.element_size() for t in found if isinstance(t, torch.Tensor))
    return held / weight.numel()


class HostOptimizer(torch.optim.Optimizer):
    """Nothing of it is on the device. ``wide``: as DeepSpeed's; ``returns``: weights come back to
    the device, where they live."""

    def __init__(self, params: Iterable[Any], moved: int, *, wide: bool, returns: bool):
        super().__init__(list(params), {})
        self.moved, self.wide, self.returns = moved, wide, returns

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        weights = [p for group in self.param_groups for p in group["params"]]
        for weight in weights:
            torch.ops.planner.host_update(weight, self.moved)
            if self.returns and not self.wide:
                torch.ops.planner.restore(weight)
        if self.returns and self.wide:
            for weight in weights:
                torch.ops.planner.upload(weight)
