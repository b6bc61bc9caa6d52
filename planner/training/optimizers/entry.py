"""How one optimizer is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Build = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Optimizer:
    """``recorded`` over parameters on meta, with the states and the operations of a CUDA run;
    ``real`` as a user's run gets it, a class with its options, to be called with parameters and
    ``lr``. ``real`` is None where a library for CUDA has the class: bitsandbytes' and torchao's
    names stand in the row. ``by_size``: small tensors' states are kept otherwise than large
    ones'."""

    recorded: Build
    real: Callable[..., torch.optim.Optimizer] | None = None
    by_size: bool = False
