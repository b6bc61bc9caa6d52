"""Sizes that grow with the classes in steps: heads whose weights are stored in blocks."""

from __future__ import annotations

import torch

from planner.models.quantization.stored import NF4_BLOCK, NF4_NESTED_BLOCK
from planner.training.quantised.layers import StoredLinear

#: Elements of a weight for each: a packed byte, a scale of NF4, a scale of these scales.
ELEMENTS = (2, NF4_BLOCK, NF4_BLOCK * NF4_NESTED_BLOCK)


def rounded_sizes(low: torch.nn.Module, high: torch.nn.Module, width: int) -> tuple[str, ...]:
    """The monomials of the stored layers that are wider in ``high``, a model of ``width`` classes
    more than ``low``: ``C*768/16384`` is 768·C/16384, rounded up."""
    found: dict[str, None] = {}
    others = dict(high.named_modules())
    for name, part in low.named_modules():
        other = others.get(name)
        if not isinstance(part, StoredLinear) or not isinstance(other, StoredLinear):
            continue
        added, rest = divmod(other.elements - part.elements, width)
        if added > 0 and not rest:
            found |= {f"C*{added}/{over}": None for over in ELEMENTS}
    return tuple(found)
