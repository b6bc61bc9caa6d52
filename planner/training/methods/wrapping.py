"""A model with adapters on it, by PEFT's own ``get_peft_model``."""

from __future__ import annotations

import warnings
from typing import Any

from planner.models.building.meta import uninitialised

#: Begins PEFT's warning of a size that it takes otherwise than it is told.
ADJUSTED = "Invalid `"


def wrapped(peft: Any, module: Any, config: Any, *, as_weights: bool) -> tuple[Any, list[str]]:
    """(the adapted model, what PEFT takes otherwise than it is told). ``as_weights``: adapters keep
    the number format of the weights. Raises what PEFT raises.

    PEFT makes adapters on the processor, fills them with numbers and moves them: on meta that would
    be the longest part of all."""
    more = {"autocast_adapter_dtype": False} if as_weights else {}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        if all(parameter.is_meta for parameter in module.parameters()):
            with uninitialised():
                adapted = peft.get_peft_model(module, config, low_cpu_mem_usage=True, **more)
            _to_meta(adapted)
        else:
            adapted = peft.get_peft_model(module, config, **more)
    texts = dict.fromkeys(str(warning.message) for warning in heard)
    return adapted, [f"PEFT: {text}" for text in texts if text.startswith(ADJUSTED)]


def _to_meta(adapted: Any) -> None:
    """Buffers that a method makes on the processor (permutations of BOFT, indices of OFT), which
    PEFT moves to the model's device."""
    for part in adapted.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None and not buffer.is_meta:
                part._buffers[name] = buffer.to("meta")
