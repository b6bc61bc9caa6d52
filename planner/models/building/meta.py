"""Making modules whose weights take no memory, or real ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def on_device(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Tensors made inside are on ``device``, floating ones in ``dtype`` by default."""
    import torch

    with _default_dtype(dtype), torch.device(device):
        yield


def make_on(
    device: str, make: Callable[[], torch.nn.Module], dtype: torch.dtype
) -> torch.nn.Module:
    """``make()`` with every weight on ``device``, in ``dtype``: as its constructor initialises it,
    where the device is a real one.

    A constructor that fails on an accelerator (it computes with numpy, say) is run on the processor
    and its module moved.
    """
    if device == "meta":
        return make_on_meta(make, dtype)
    import torch

    if device != "cpu":
        try:
            with on_device(device, dtype):
                return make().to(device=device, dtype=dtype)
        except torch.OutOfMemoryError:
            raise
        except (NotImplementedError, RuntimeError, TypeError):
            pass
    with on_device("cpu", dtype):
        module = make()
    return module.to(device=device, dtype=dtype)


def make_on_meta(make: Callable[[], torch.nn.Module], dtype: torch.dtype) -> torch.nn.Module:
    """``make()`` with every weight on meta, in ``dtype``.

    Some constructors compute with tensors (torchvision's RegNet its widths), which meta tensors
    cannot: they are run again on the processor, each parameter going to meta as soon as its module
    registers it.
    """
    try:
        with on_device("meta", dtype), uninitialised():
            # torch.Tensor(n), which some write, ignores the device of the context
            return make().to(device="meta", dtype=dtype)
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error):
            raise
    with _default_dtype(dtype), _parameters_to_meta():
        return make().to(device="meta", dtype=dtype)


def uninitialised() -> AbstractContextManager:
    """A mode in which random initialisation leaves its tensor as it is: on meta it has no values,
    and working out that normal numbers have the tensor's own shape takes longer than all else that
    a constructor does."""
    from torch.overrides import TorchFunctionMode

    skipped = _initialisers()

    class Uninitialised(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            named = kwargs or {}
            filled = args[0] if args else named.get("tensor")
            if func in skipped and filled is not None and filled.is_meta:
                return filled
            return func(*args, **named)

    return Uninitialised()


@cache
def _initialisers() -> frozenset[Callable]:
    """What fills a whole tensor in place, without another tensor."""
    from torch import Tensor
    from torch.nn import init

    names = [name for name in dir(init) if name.endswith("_") and not name.startswith("_")]
    fills = ("normal_", "uniform_", "trunc_normal_", "zero_", "fill_")
    return frozenset(
        [getattr(init, name) for name in names]
        + [getattr(Tensor, name) for name in fills if hasattr(Tensor, name)]
    )


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    import torch

    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(previous)


@contextlib.contextmanager
def _parameters_to_meta() -> Iterator[None]:
    import torch
    from torch.nn.modules.module import register_module_parameter_registration_hook

    def move(
        module: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None
    ) -> torch.nn.Parameter | None:
        if parameter is None or parameter.is_meta:
            return None
        return torch.nn.Parameter(
            parameter.detach().to("meta"), requires_grad=parameter.requires_grad
        )

    hook = register_module_parameter_registration_hook(
        cast(
            "Callable[..., None]", move
        )  # torch takes what it returns, its annotation does not say so
    )
    try:
        yield
    finally:
        hook.remove()
