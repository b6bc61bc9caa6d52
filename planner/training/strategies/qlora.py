"""QLoRA: LoRA over weights stored in 4 bits (Dettmers et al. 2023, arXiv 2305.14314)."""

from __future__ import annotations

from typing import Any

from planner.training.strategies.lora import adapt
from planner.training.strategy import Prepared, Strategy, count


def apply(built, recipe, build) -> Prepared:
    import torch

    from planner.training.nf4 import Linear4bit, quantise

    total = count(built.module.parameters())
    compute = torch.float16 if recipe.precision in ("fp16", "amp_fp16") else torch.bfloat16
    # transformers quantises none of these (T5's ``wo``)
    spared = tuple(getattr(built.module, "_keep_in_fp32_modules", None) or ())
    quantise(built.module, keep=(tuple(built.head) or ("lm_head",)) + spared, compute_dtype=compute)
    return adapt(built, recipe, total=total, custom_modules={Linear4bit: _lora_over_4bit()})


def _lora_over_4bit():
    from peft.tuners.lora import Linear

    class LoraLinear4bit(Linear):
        """PEFT's ``lora.bnb.Linear4bit``: the base result is cloned, the adapters' output is cast
        before it is added."""

        def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            import torch

            result = self.base_layer(x, *args, **kwargs).clone()
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

    return LoraLinear4bit


STRATEGY = Strategy(
    "qlora",
    "QLoRA",
    "low-rank adapters on 4-bit weights",
    apply,
    order=50,
    uses_lora=True,
    four_bit=True,
)
