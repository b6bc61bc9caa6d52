"""The optimizers a question can name, built as a CUDA run would build them, on parameters that lie
on meta.

Classes of installed libraries where they exist: rows of ``profiles/optimizers.csv`` name them,
with their options (``foreach=True`` is what torch picks by itself on CUDA). What exists for CUDA
only, or in libraries that need not be there, is written here with the same states and
operations.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from planner.libraries import import_library
from planner.question.optimizers import OptimizerRow, optimizer_rows
from planner.training.optimizers.came import CAME
from planner.training.optimizers.entry import Optimizer
from planner.training.optimizers.kernels import Blockwise, FewBits, Fused
from planner.training.optimizers.lomo import AdaLomo, Lomo
from planner.training.optimizers.low_rank import Apollo, GaLore, GaLore8bit
from planner.training.optimizers.prodigy import Prodigy
from planner.training.optimizers.schedule_free import ScheduleFree
from planner.training.optimizers.several import mark_outer, muon
from planner.training.optimizers.soap import SOAP
from planner.training.optimizers.written import Lion, LoopedAdamW

__all__ = ["OPTIMIZERS", "Optimizer", "mark_outer", "state_tensors"]


def _of_row(row: OptimizerRow) -> Optimizer:
    """Of a class that a library has."""

    def own(params: list, **more: Any) -> torch.optim.Optimizer:
        assert row.library_class is not None
        module, _, name = row.library_class.rpartition(".")
        import_library(module.partition(".")[0], f"the optimizer {row.name}")
        made: Callable[..., torch.optim.Optimizer]
        made = getattr(importlib.import_module(module), name)
        listed = "foreach" in more and "foreach" not in inspect.signature(made).parameters
        return made(params, **{k: v for k, v in more.items() if not (listed and k == "foreach")})

    return Optimizer(
        recorded=lambda params: own(params, **{"foreach": True} | row.options),
        real=lambda params, lr: own(params, **row.options | {"lr": lr}),
    )


def _own(made: Callable[..., torch.optim.Optimizer], **options: Any) -> Optimizer:
    """One that is written here for both."""
    return Optimizer(recorded=partial(made, **options), real=partial(made, **options))


def _blockwise(
    states: int, kernel: str, *, eight_bit: bool = False, paged: bool = False, first: int = 1
) -> Optimizer:
    options = {"eight_bit": eight_bit, "paged": paged, "first": first}
    return Optimizer(
        recorded=lambda params: Blockwise(params, states, kernel, **options),
        by_size=eight_bit or paged,
    )


def _few_bits(bits: int, **options: bool) -> Optimizer:
    return Optimizer(recorded=lambda params: FewBits(params, bits, **options), by_size=True)


#: A recipe's name → how it is built. A new optimizer of an installed library is one row of
#: ``profiles/optimizers.csv``; another one is an entry here besides. The learning rate changes no
#: cost.
OPTIMIZERS: dict[str, Optimizer] = {
    **{row.name: _of_row(row) for row in optimizer_rows() if row.library_class},
    "adamw_fused": Optimizer(
        recorded=lambda params: Fused(params, 2, "adamw"),
        real=partial(torch.optim.AdamW, fused=True),
    ),
    "adamw_hf": Optimizer(
        recorded=lambda params: LoopedAdamW(params, {"lr": 1e-5}),
        real=lambda params, lr: LoopedAdamW(params, {"lr": lr}),
    ),
    "adamw_8bit": _blockwise(2, "adamw", eight_bit=True),
    "adamw_paged": _blockwise(2, "adamw", paged=True),
    "adamw_8bit_paged": _blockwise(2, "adamw", eight_bit=True, paged=True),
    "lion": Optimizer(
        recorded=lambda params: Lion(params, {"lr": 1e-4}),
        real=lambda params, lr: Lion(params, {"lr": lr}),
    ),
    "lion_32bit": _blockwise(1, "lion"),
    "lion_8bit": _blockwise(1, "lion", eight_bit=True),
    "lion_paged": _blockwise(1, "lion", paged=True),
    "lion_8bit_paged": _blockwise(1, "lion", eight_bit=True, paged=True),
    "rmsprop_32bit": _blockwise(1, "rmsprop"),
    "rmsprop_8bit": _blockwise(1, "rmsprop", eight_bit=True),
    "adagrad_8bit": _blockwise(1, "adagrad", eight_bit=True),
    "sgd_8bit": _blockwise(1, "momentum", eight_bit=True),
    "ademamix": _blockwise(2, "ademamix", first=2),
    "ademamix_8bit": _blockwise(2, "ademamix", eight_bit=True, first=2),
    "ademamix_paged": _blockwise(2, "ademamix", paged=True, first=2),
    "ademamix_8bit_paged": _blockwise(2, "ademamix", eight_bit=True, paged=True, first=2),
    "adamw_8bit_torchao": _few_bits(8),
    "adamw_4bit_torchao": _few_bits(4),
    "adamw_fp8_torchao": _few_bits(8, float8=True),
    "muon": Optimizer(recorded=partial(muon, foreach=True), real=muon),
    "galore_adamw": _own(GaLore),
    "galore_adamw_8bit": Optimizer(recorded=GaLore8bit),
    "apollo_adamw": _own(Apollo),
    "apollo_mini": _own(Apollo, mini=True),
    "soap": _own(SOAP),
    "schedule_free_adamw": _own(ScheduleFree),
    "schedule_free_radam": _own(ScheduleFree, rectified=True),
    "schedule_free_sgd": _own(ScheduleFree, adaptive=False),
    "lomo": _own(Lomo),
    "adalomo": _own(AdaLomo),
    "prodigy": _own(Prodigy),
    "came": _own(CAME),
}


def state_tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Every state tensor, in the order the optimizer made them."""
    books = getattr(optimizer, "code_books", [])
    return list(books) + [
        t
        for state in optimizer.state.values()
        for t in state.values()
        if isinstance(t, torch.Tensor)
    ]
