"""Linear layers that multiply in 8-bit floats, as torchao's ``Float8Linear``, and which layers they
are.

The weights stay as they are. Each of a layer's three products casts its two operands by the largest
value that they hold (one scale a tensor, or one a row), which is found anew each time: the casts,
the copies that the kernel's layout asks for and what lives between the passes are torchao's own, an
operation for each that ``torchao.float8`` 0.18 runs, on plain tensors in place of its wrapped ones.
``tests/training/test_float8_layers.py`` holds them against the library. Source: pytorch/ao v0.18
``torchao/float8`` (float8_linear.py, float8_ops.py, float8_training_tensor.py, config.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from planner.errors import FieldName, ModelError
from planner.models.building.built import BuiltModel
from planner.models.constants import constant

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
_EPSILON = 1e-12  # below it no scale is taken (float8_utils.py: EPS)

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define(
    "scaled_mm(Tensor a, Tensor b, Tensor scale_a, Tensor scale_b, ScalarType dtype, bool fast) "
    "-> Tensor"
)
#: ``torch._scaled_mm`` without its rule on multiples of 16, which a batch of any size meets.
_LIBRARY.impl(
    "scaled_mm",
    lambda a, b, scale_a, scale_b, dtype, fast: a.new_empty(a.shape[0], b.shape[1], dtype=dtype),
    "Meta",
)
for _device in ("CPU", "CUDA"):
    _LIBRARY.impl(
        "scaled_mm",
        lambda a, b, scale_a, scale_b, dtype, fast: torch.ops.aten._scaled_mm(
            a, b, scale_a, scale_b, out_dtype=dtype, use_fast_accum=fast
        ),
        _device,
    )


@dataclass(frozen=True)
class Scaling:
    """A recipe of torchao. ``by_rows``: a scale for each row that is summed over, a power of two;
    ``gradients``: the type of what comes back; ``exact_weights``: the weights' gradient is a
    product of what was not cast, and the other gradient's weight has one scale."""

    by_rows: bool = False
    gradients: torch.dtype = E5M2
    exact_weights: bool = False


#: torchao's ``Float8LinearRecipeName``.
RECIPES = {
    "tensorwise": Scaling(),
    "rowwise": Scaling(by_rows=True, gradients=E4M3),
    "rowwise_with_gw_hp": Scaling(by_rows=True, gradients=E4M3, exact_weights=True),
}


@dataclass(frozen=True)
class Cast:
    """A tensor in 8 bits with its scale; ``dim``: that along which each row has a scale."""

    data: torch.Tensor
    scale: torch.Tensor
    dim: int | None

    def t(self) -> Cast:
        scale = self.scale.t() if self.scale.ndim > 1 else self.scale
        return Cast(self.data.t(), scale, self.dim if self.dim is None else -1 - self.dim)

    def rows(self) -> Cast:
        """Of any number of dimensions as a matrix."""
        data = self.data.reshape(-1, self.data.shape[-1])
        return Cast(data, self.scale.reshape(-1, 1) if self.dim == -1 else self.scale, self.dim)


def cast(tensor: torch.Tensor, kind: torch.dtype, dim: int | None, *, powers: bool) -> Cast:
    """``dim``: along which a row has a scale of its own, None for one scale; ``powers``: scales are
    powers of two."""
    scale = _scale(tensor, kind, dim, powers)
    scaled = tensor.to(torch.float32) * scale
    return Cast(_saturated(scaled, kind), scale, dim)


@torch.no_grad()
def _scale(tensor: torch.Tensor, kind: torch.dtype, dim: int | None, powers: bool) -> torch.Tensor:
    if dim is None:
        largest = torch.max(torch.abs(tensor))
    else:
        largest = torch.amax(torch.abs(tensor), dim=dim, keepdim=True)
    largest = largest.to(torch.float64)
    scale = (torch.finfo(kind).max / torch.clamp(largest, min=_EPSILON)).to(torch.float32)
    return torch.exp2(torch.floor(torch.log2(scale))) if powers else scale


def _saturated(scaled: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    largest = torch.finfo(kind).max
    scaled = scaled.clamp(min=-largest, max=largest)
    return scaled.to(kind)


def product(a: Cast, b: Cast, dtype: torch.dtype, *, fast: bool) -> torch.Tensor:
    """a · b in ``dtype``. The kernel reads ``a`` by rows and ``b`` by columns, which are copied
    where they lie otherwise; without fast accumulation (``fast``) what has a scale a row is scaled
    after the product."""
    left, right = a.data, b.data
    if not _by_rows(left):
        left = left.contiguous()
    if _by_rows(right):
        right = right.t().contiguous().t()
    scale_a, scale_b = a.scale, b.scale
    if a.dim is not None and b.dim is None:
        scale_b = scale_b.repeat(right.shape[1]).reshape(1, -1)
    by_rows = a.dim is not None
    inverse_a, inverse_b = scale_a.reciprocal(), scale_b.reciprocal()
    after = None
    if by_rows and not fast:
        after = inverse_a * inverse_b
        inverse_a = inverse_a.new_ones(())
        inverse_b = inverse_a.new_ones(())
    wide = by_rows and dtype in (torch.float16, torch.float32)
    made = torch.ops.planner.scaled_mm(
        left, right, inverse_a, inverse_b, torch.bfloat16 if wide else dtype, fast
    )
    if after is not None:
        made *= after
    return made.to(dtype) if wide else made


def _by_rows(matrix: torch.Tensor) -> bool:
    first, second = matrix.stride()
    return first > second and second == 1


class _Products(torch.autograd.Function):
    """torchao's ``matmul_with_hp_or_float8_args``: input and weight are kept as they came, and cast
    again in the backward pass."""

    @staticmethod
    def forward(
        context: Any, x: torch.Tensor, weight: torch.Tensor, scaling: Scaling
    ) -> torch.Tensor:
        context.save_for_backward(x, weight)
        context.scaling = scaling
        powers = scaling.by_rows
        left = cast(x, E4M3, -1 if powers else None, powers=powers)
        right = cast(weight, E4M3, 0 if powers else None, powers=powers)
        made = product(left.rows(), right, x.dtype, fast=True)
        return made.reshape(*x.shape[:-1], made.shape[-1])

    @staticmethod
    def backward(context: Any, *grads: torch.Tensor) -> Any:
        x, weight = context.saved_tensors
        scaling: Scaling = context.scaling
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        powers = scaling.by_rows
        across = None if scaling.exact_weights or not powers else -1
        left = cast(grad, scaling.gradients, -1 if powers else None, powers=powers)
        right = cast(weight, E4M3, across, powers=powers)
        of_input = product(left, right.t(), grad.dtype, fast=False)
        of_input = of_input.reshape(*grads[0].shape[:-1], of_input.shape[-1])
        rows = x.reshape(-1, x.shape[-1])
        if scaling.exact_weights:
            return of_input, torch.mm(grad.t(), rows).t(), None
        down = 0 if powers else None
        back = cast(grad, scaling.gradients, down, powers=powers)
        given = cast(rows, E4M3, down, powers=powers)
        return of_input, product(back.t(), given, grad.dtype, fast=False).t(), None


class Float8Linear(torch.nn.Linear):
    """``lower``: the type of mixed precision, to which its input is cast, or None."""

    def __init__(self, source: torch.nn.Linear, scaling: Scaling, lower: torch.dtype | None):
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features = source.in_features, source.out_features
        self.weight, self.bias = source.weight, source.bias
        self.scaling, self.lower = scaling, lower
        self.training = source.training

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's own name
        if self.lower is not None:
            input = input.to(self.lower)
        made: Any = _Products.apply(input, self.weight.t(), self.scaling)
        return made if self.bias is None else made + self.bias.to(made.dtype)


def chosen(built: BuiltModel, recipe: str, layers: str) -> tuple[dict[str, torch.nn.Linear], int]:
    """(linear layers by name that become 8-bit, number of all that are not of the head). Those
    whose sizes the kernel does not take stay, and under ``layers`` auto those for which torchao
    found it slower (``_auto_filter_for_recipe``)."""
    found = {
        name: module
        for name, module in built.module.named_modules()
        if isinstance(module, torch.nn.Linear) and not built.in_head(name)
    }
    multiple = int(constant("float8_multiple"))
    kept = {
        name: module
        for name, module in found.items()
        if not (module.in_features % multiple or module.out_features % multiple)
        and (layers != "auto" or pays(recipe, module.out_features, module.in_features))
    }
    return kept, len(found)


def pays(recipe: str, outputs: int, inputs: int) -> bool:
    """torchao's ``_auto_filter_for_tensorwise`` and ``_auto_filter_for_rowwise``."""
    least_outputs = constant("float8_least_outputs", recipe)
    least_inputs = constant("float8_least_inputs", recipe)
    if recipe == "tensorwise":
        return outputs > least_outputs or inputs > least_inputs
    both = constant("float8_both_outputs", recipe), constant("float8_both_inputs", recipe)
    return (
        outputs > least_outputs
        and inputs > least_inputs
        and (outputs > both[0] or inputs > both[1])
    )


def convert(built: BuiltModel, recipe: str, layers: str, lower: torch.dtype | None) -> None:
    """As ``convert_to_float8_training``. Raises ModelError where no layer is left to convert."""
    found, count = chosen(built, recipe, layers)
    if not found:
        raise ModelError(
            f"of its {count} linear layers beside the head none can be multiplied in 8 bits",
            where=built.facts.name,
            mend=f"Leave out {FieldName('float8')}",
        )
    for name, module in found.items():
        parent, _, own = name.rpartition(".")
        layer = Float8Linear(module, RECIPES[recipe], lower)
        setattr(built.module.get_submodule(parent), own, layer)
    built.assumptions = (
        *built.assumptions,
        f"{len(found)} of {count} linear layers beside the head multiply in float8 ({recipe}), "
        "cast anew for each product as torchao does",
    )
