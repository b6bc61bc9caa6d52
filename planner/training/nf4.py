"""4-bit NormalFloat weights with double quantisation, as bitsandbytes stores and uses them
(Dettmers et al. 2023, QLoRA, arXiv 2305.14314, section 3), on any device: shapes and lifetimes are
bitsandbytes', values are not computed.

Storage of a weight of n elements: n/2 bytes packed; one scale for each block of 64, itself
quantised to 8 bits; for each 256 of those a float32 second scale; a code book of 16 and one of 256
float32, and an offset (``Params4bit``, ``QuantState``). bitsandbytes' block sizes are its defaults;
the functions cite them by name.
"""

from __future__ import annotations

import torch

#: Elements that share one scale, and scales that share one second scale (bitsandbytes
#: ``quantize_4bit(blocksize=64)``, ``quantize_blockwise(absmax, blocksize=256)``).
BLOCK, NESTED_BLOCK = 64, 256
NF4_CODES, NESTED_CODES = 16, 256

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define(
    "dequantize_4bit(Tensor packed, Tensor absmax, int[] shape, ScalarType dtype) -> Tensor"
)
_LIBRARY.define("dequantize_blockwise(Tensor absmax, Tensor nested) -> Tensor")
_LIBRARY.impl(
    "dequantize_4bit",
    lambda packed, absmax, shape, dtype: packed.new_empty(shape, dtype=dtype),
    "Meta",
)
_LIBRARY.impl(
    "dequantize_blockwise",
    lambda absmax, nested: absmax.new_empty(absmax.shape, dtype=torch.float32),
    "Meta",
)


class _Product(torch.autograd.Function):
    """bitsandbytes' ``MatMul4Bit``: the weight becomes a 16-bit copy for one product in the forward
    pass and again in the backward pass; only the packed weight is saved between them."""

    @staticmethod
    def forward(context, x, layer):
        context.layer = layer
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return torch.nn.functional.linear(x, layer.dequantised().to(x.dtype), bias)

    @staticmethod
    def backward(context, grad):
        return torch.matmul(grad, context.layer.dequantised().to(grad.dtype)), None


class Linear4bit(torch.nn.Linear):
    """A frozen linear layer with NF4 weights; ``in_features``, ``out_features`` as in torch.
    ``elements`` is n."""

    def __init__(self, source: torch.nn.Linear, compute_dtype: torch.dtype):
        super().__init__(1, 1, bias=False, device="meta")
        self.in_features, self.out_features = source.in_features, source.out_features
        self.compute_dtype, self.elements = compute_dtype, source.weight.numel()
        device = source.weight.device
        blocks = -(-self.elements // BLOCK)

        def frozen(*shape, dtype):
            return torch.nn.Parameter(
                torch.empty(*shape, dtype=dtype, device=device), requires_grad=False
            )

        self.weight = frozen(-(-self.elements // 2), 1, dtype=torch.uint8)
        self.absmax = frozen(blocks, dtype=torch.uint8)
        self.nested_absmax = frozen(-(-blocks // NESTED_BLOCK), dtype=torch.float32)
        self.codes = frozen(NF4_CODES, dtype=torch.float32)
        self.nested_codes = frozen(NESTED_CODES, dtype=torch.float32)
        self.offset = frozen(1, dtype=torch.float32)
        self.bias = (
            None
            if source.bias is None
            else torch.nn.Parameter(source.bias.detach().to(compute_dtype), requires_grad=False)
        )

    def dequantised(self) -> torch.Tensor:
        scales = (
            torch.ops.planner.dequantize_blockwise(self.absmax, self.nested_absmax) + self.offset
        )
        return torch.ops.planner.dequantize_4bit(
            self.weight, scales, [self.out_features, self.in_features], self.compute_dtype
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        expected = x.dtype
        return _Product.apply(x.to(self.compute_dtype), self).to(expected)


def quantise(model: torch.nn.Module, keep: tuple[str, ...], compute_dtype: torch.dtype) -> int:
    """Replace every linear layer but those whose name ends in one of ``keep`` (the output head).
    Returns how many elements became 4-bit, so that counts of parameters stay those of the model."""
    elements = 0
    for name, module in list(model.named_modules()):
        if type(module) is torch.nn.Linear and not any(
            name == k or name.endswith("." + k) for k in keep
        ):
            parent = model.get_submodule(name.rpartition(".")[0])
            layer = Linear4bit(module, compute_dtype)
            setattr(parent, name.rpartition(".")[2], layer)
            elements += layer.elements
    return elements
