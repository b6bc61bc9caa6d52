"""PEFT's adapters over layers of stored weights."""

from __future__ import annotations

import functools
from functools import cache
from typing import Any

from planner.training.quantised.kernels import dequantised
from planner.training.quantised.layers import Linear4bit, Linear8bit, StoredLinear


@cache
def adapter_classes() -> dict[type, type]:
    """Layer → the class of PEFT's that adapts it, for ``LoraConfig._register_custom_module``."""
    from peft.tuners.lora import Linear

    class LoraOverStored(Linear):
        """PEFT's ``lora.bnb.Linear8bitLt`` and ``lora.gptq``: the adapters' output is cast before
        it is added; a variant (DoRA) makes the whole result."""

        def base(self, x: Any) -> Any:
            return self.base_layer(x)

        def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            import torch

            result = self.base(x)
            for adapter in self.active_adapters:
                convert = not torch.is_autocast_enabled()
                dtype: Any = result.dtype
                if convert:
                    weight: Any = self.lora_A[adapter].weight
                    x = self._cast_input_dtype(x, weight.dtype)
                if adapter in self.lora_variant:
                    own: Any = self.lora_variant[adapter]
                    result = own.forward(self, active_adapter=adapter, x=x, result=result)
                    result = result.to(dtype) if convert else result
                    continue
                output = (
                    self.lora_B[adapter](self.lora_A[adapter](self.lora_dropout[adapter](x)))
                    * self.scaling[adapter]
                )
                result = result + (output.to(dtype) if convert else output)
            return result

    class LoraLinear4bit(LoraOverStored):
        """PEFT's ``lora.bnb.Linear4bit``: the base result is cloned first."""

        def base(self, x: Any) -> Any:
            return self.base_layer(x).clone()

    _read_stored_weights()
    # PEFT takes the class of the layer itself, or of one that it is a subclass of
    return {Linear4bit: LoraLinear4bit, Linear8bit: LoraOverStored, StoredLinear: LoraOverStored}


def _read_stored_weights() -> None:
    """DoRA asks for a layer's whole weight, which PEFT knows of bitsandbytes' own layers: NF4 comes
    back in the type that it computes in, int8 in float32 (``peft/utils/integrations.py:
    dequantize_bnb_weight``, bitsandbytes' ``int8_vectorwise_dequant``)."""
    import importlib

    dora: Any = importlib.import_module("peft.tuners.lora.dora")
    peft_s_own = dora.dequantize_module_weight

    @functools.wraps(peft_s_own)
    def read(module: Any) -> Any:
        if not isinstance(module, StoredLinear):
            return peft_s_own(module)
        return _in_float32(module) if isinstance(module, Linear8bit) else module.dequantised()

    dora.dequantize_module_weight = read


def _in_float32(layer: StoredLinear) -> Any:
    import torch

    stored = {name: getattr(layer, name) for name in layer.names}
    return dequantised(stored, [layer.out_features, layer.in_features], torch.float32)


def stand_over(adapted: Any) -> None:
    """Tell the layers of PEFT's other methods what they stand over: its ``quantization_backend``,
    of which a step asks whether the base result is cloned (over 4-bit weights it is)."""
    from peft.utils.quantization_utils import QuantizationBackend

    class Cloning(QuantizationBackend):
        def maybe_clone_base_result(self, x: Any) -> Any:
            return x.clone()

    for part in adapted.modules():
        base = getattr(part, "base_layer", None)
        if hasattr(part, "quantization_backend") and isinstance(base, StoredLinear):
            fours = isinstance(base, Linear4bit)
            part.quantization_backend = Cloning() if fours else QuantizationBackend()
