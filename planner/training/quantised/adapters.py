"""PEFT's adapters over layers of stored weights."""

from __future__ import annotations

from functools import cache
from typing import Any

from planner.training.quantised.layers import Linear4bit, Linear8bit, StoredLinear


@cache
def adapter_classes() -> dict[type, type]:
    """Layer → the class of PEFT's that adapts it, for ``LoraConfig._register_custom_module``."""
    from peft.tuners.lora import Linear

    class LoraOverStored(Linear):
        """PEFT's ``lora.bnb.Linear8bitLt`` and ``lora.gptq``: the adapters' output is cast before
        it is added."""

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

    # PEFT takes the class of the layer itself, or of one that it is a subclass of
    return {Linear4bit: LoraLinear4bit, Linear8bit: LoraOverStored, StoredLinear: LoraOverStored}
