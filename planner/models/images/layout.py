"""How the images of a model lie in memory."""

from __future__ import annotations

from planner.models.facts import ModelFacts


def convolutional(facts: ModelFacts) -> bool:
    """Image models whose tensors lie channels-last on a GPU: every timm or torchvision model but
    the transformers."""
    name = (facts.architecture or "").lower()
    return facts.library in ("timm", "torchvision") and not any(
        part in name for part in ("vit", "swin", "deit", "beit", "eva", "mixer", "xcit", "cait")
    )
