"""Linear layers whose frozen weight is stored in few bits, on meta."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.stateless import _reparametrize_module

from planner.models.constants import constant
from planner.models.quantization.stored import Quantization
from planner.training.quantised.kernels import dequantised

#: Of what is stored: 8-bit floats as bytes, since meta only counts them.
TYPES = {
    "uint8": torch.uint8,
    "float8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "float16": torch.float16,
    "int32": torch.int32,
    "float32": torch.float32,
}


class _Product(torch.autograd.Function):
    """bitsandbytes' ``MatMul4Bit``: the weight becomes a 16-bit copy for one product in the forward
    pass and again in the backward pass; only what is stored lives between them, and with old
    versions the input."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, layer: StoredLinear) -> torch.Tensor:
        context.layer, context.stored = layer, dict(layer.named_parameters())
        if layer.keeps_input:
            context.save_for_backward(x)
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return torch.nn.functional.linear(x, layer.dequantised().to(x.dtype), bias)

    @staticmethod
    def backward(context: Any, *grads: torch.Tensor) -> Any:
        with _reparametrize_module(context.layer, context.stored):  # a compiler's are stand-ins
            return torch.matmul(grads[0], context.layer.dequantised().to(grads[0].dtype)), None


class _Int8Product(torch.autograd.Function):
    """bitsandbytes' ``MatMul8bitLt`` with a threshold: the input in 16 bits is kept, searched for
    outlying columns (which the host waits for, twice), quantised by rows and multiplied in
    integers; its few outlying columns are multiplied in 16 bits and added to a copy of the result.
    The backward pass multiplies with a copy of the weight in the input's own type. Source:
    bitsandbytes@95f9af309d4d ``backends/cuda/ops.py`` (int8_vectorwise_quant),
    ``backends/default/ops.py`` (int8_mixed_scaled_mm), ``autograd/_functions.py``."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, layer: StoredLinear) -> torch.Tensor:
        context.stored = (layer.weight, layer.get_parameter("SCB"))
        context.shape, context.dtype = x.shape, x.dtype
        rows = x.reshape(-1, x.shape[-1])
        half = rows.to(torch.float16)
        columns = min(int(constant("int8_outlier_columns")), rows.shape[-1])
        places = _outlying_columns(half, columns)
        quantised, _ = torch.ops.planner.quantize_rows(half)
        quantised[:, places] = 0
        sums = torch.ops.aten._int_mm(quantised, layer.weight.t())
        result = torch.ops.planner.dequantize([sums], list(sums.shape), rows.dtype)
        outlying = rows[:, places].contiguous()
        stored = layer.weight[:, places].contiguous()
        scales: torch.Tensor = layer.get_parameter("SCB").unsqueeze(1)
        weights = stored.mul(scales).mul_(1.0).to(rows.dtype)
        result = result.addmm(outlying, weights.t())
        if layer.bias is not None:
            result = result.add_(layer.bias.to(rows.dtype))
        context.kept = (rows, outlying)
        return result.reshape(*x.shape[:-1], result.shape[-1])

    @staticmethod
    def backward(context: Any, *grads: torch.Tensor) -> Any:
        grad = grads[0].reshape(-1, grads[0].shape[-1]).contiguous()
        stored, scales = context.stored
        weight = stored.to(context.dtype, copy=True).mul_(scales.unsqueeze(1).mul(1.0))
        found = torch.matmul(grad.to(context.dtype), weight).view(context.shape)
        context.kept = None
        return found, None


def _outlying_columns(half: torch.Tensor, columns: int) -> torch.Tensor:
    """Where the columns that hold an outlier are, of which a stated number is assumed: every value
    is compared, the host asks whether there is one, and for their places."""
    outliers = half.abs() >= 6.0
    outliers.any().item()
    found = outliers.any(dim=0)
    found.any().item()  # torch.argwhere waits for the count
    return torch.zeros(columns, dtype=torch.int64, device=half.device)


class StoredLinear(torch.nn.Linear):
    """A frozen linear layer of which only the tensors of its method lie in memory; they are
    parameters, so that they count as weights. ``elements`` is the weight's own count."""

    product: type[torch.autograd.Function] = _Product
    #: bitsandbytes before 0.43.2 kept what the layer read until its backward pass, for a gradient
    #: of the weight that nobody takes (pull request 1270 of 2024-07). It lay on the context, out of
    #: reach of checkpointing without use_reentrant; with it, the default then, none was left.
    keeps_input = False

    def __init__(
        self, source: torch.nn.Module, quantization: Quantization, compute_dtype: torch.dtype
    ):
        super().__init__(1, 1, bias=False, device="meta")
        weight: Any = source.weight
        turned = not isinstance(source, torch.nn.Linear)  # transformers' Conv1D: inputs first
        outputs, inputs = weight.shape[::-1] if turned else weight.shape
        self.in_features, self.out_features = inputs, outputs
        self.compute_dtype, self.elements = compute_dtype, weight.numel()
        del self.weight
        self.names = []
        for name, shape, kind in quantization.stored(outputs, inputs):
            self.names.append(name)
            setattr(self, name, _frozen(torch.empty(shape, dtype=TYPES[kind], device="meta")))
        if not hasattr(self, "weight"):
            # PEFT asks a layer's weight where it lies; these have it under another name
            object.__setattr__(self, "weight", getattr(self, self.names[0]))
        bias: Any = source.bias
        self.bias = None if bias is None else _frozen(bias.detach().to(compute_dtype))

    def dequantised(self) -> torch.Tensor:
        return dequantised(
            {name: getattr(self, name) for name in self.names},
            [self.out_features, self.in_features],
            self.compute_dtype,
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's own name
        return self.product.apply(input.to(self.compute_dtype), self).to(input.dtype)


class Linear4bit(StoredLinear):
    """bitsandbytes' ``Linear4bit``."""


class Linear8bit(StoredLinear):
    """bitsandbytes' ``Linear8bitLt`` with int8 weights."""

    product = _Int8Product

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.product.apply(x, self)


#: Methods with a layer of their own; every other one multiplies as a 4-bit layer does.
LAYERS: dict[str, type[StoredLinear]] = {
    "bitsandbytes_4bit": Linear4bit,
    "bitsandbytes_8bit": Linear8bit,
}


def layer_for(
    source: torch.nn.Module, quantization: Quantization, compute_dtype: torch.dtype
) -> StoredLinear:
    return LAYERS.get(quantization.method, StoredLinear)(source, quantization, compute_dtype)


def _frozen(tensor: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor, requires_grad=False)
