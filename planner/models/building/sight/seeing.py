"""Vision towers whose code asks where its images begin, which a step without data cannot: traced
with one attention over all images (or windows) of a size.

Qwen's towers lay the patches of all images into one sequence. transformers' flash attention takes
their lengths and runs one kernel, its SDPA runs one call an image or window
(``modeling_qwen2_5_vl.py``, transformers 5.23): traced as the one kernel, the same sums.
"""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

AS_ON_DEVICE = (
    "the vision tower's attention over images and windows is traced as one kernel for all of a "
    "size, as flash attention runs; SDPA makes one call an image or window"
)


def as_on_device(module: Any) -> tuple[str, ...]:
    """Give the parts that STAND_INS names a forward pass without data, in place. Returns what is
    assumed."""
    said: tuple[str, ...] = ()
    for part in module.modules():
        name = type(part).__name__
        if name in ATTENTIONS:
            part.forward = types.MethodType(_attention, part)
            said = (AS_ON_DEVICE,)
        if name in TOWERS:
            part.forward = types.MethodType(_tower(type(part).forward), part)
        if name.endswith("Model") and hasattr(part, "get_image_features"):
            part.get_image_features = types.MethodType(_joined(part.get_image_features), part)
        if hasattr(part, "_deepstack_process"):
            part._deepstack_process = types.MethodType(_deepstack, part)
    return said


def _joined(features_of: Callable[..., Any]) -> Callable[..., Any]:
    """A model's features without cutting them up by image: what comes after joins them again, and
    views cost a device nothing."""

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _whole(self.config.get_text_config().hidden_size):
            return features_of(*args, **kwargs)

    return run


def _whole(width: int) -> Any:
    """Inside, features as wide as the language model are one piece where they are cut by image."""
    from torch.overrides import TorchFunctionMode

    class Whole(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            name = getattr(func, "__name__", "")
            whole: Any = args[0] if args else None
            if name in ("split", "unbind") and whole.is_meta and whole.shape[-1] == width:
                if name == "unbind" and whole.dim() == 3:  # as ``list(features)`` does
                    return (whole.flatten(0, 1),)
                if name == "split" and len(args) > 1 and isinstance(args[1], list):
                    return (whole,)
            return func(*args, **(kwargs or {}))

    return Whole()


def _attention(
    self: Any,
    hidden_states: torch.Tensor,
    cu_seqlens: torch.Tensor,
    position_embeddings: Any = None,
    **_kwargs: Any,
) -> torch.Tensor:
    """[patches, width] of all images. ``cu_seqlens``: where each image or window begins, on the
    host."""
    import torch

    rows = hidden_states.shape[0]
    q, k, v = self.qkv(hidden_states).reshape(rows, 3, self.num_heads, -1).permute(1, 0, 2, 3)
    rotate = sys.modules[type(self).__module__].apply_rotary_pos_emb_vision
    q, k = rotate(q, k, *position_embeddings)
    ends, outputs, begin = cu_seqlens.tolist(), [], 0
    for length, count in Counter(b - a for a, b in zip(ends, ends[1:])).items():
        stop = begin + length * count
        parts = (
            t[begin:stop].view(count, length, self.num_heads, -1).transpose(1, 2) for t in (q, k, v)
        )
        seen = torch.nn.functional.scaled_dot_product_attention(*parts, scale=self.scaling)
        outputs.append(seen.transpose(1, 2).reshape(length * count, -1))
        begin = stop
    together = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return self.proj(together)


def _tower(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The tower's own forward pass, its tables of places given: they follow from the grids alone,
    which lie on the host."""

    def run(self: Any, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        return forward(self, hidden_states, grid_thw, **kwargs, **_places(self, grid_thw))

    return run


def _places(tower: Any, grids: torch.Tensor) -> dict[str, Any]:
    import torch

    patches = int(grids.prod(dim=1).sum())
    found: dict[str, Any] = {
        "position_ids": torch.empty(patches, 2, dtype=torch.int64, device="meta")
    }
    if hasattr(tower, "window_size"):
        from transformers.vision_utils import get_vision_window_index

        _, ends = get_vision_window_index(
            grids, tower.spatial_merge_size, tower.window_size, tower.patch_size
        )
        merged = patches // tower.spatial_merge_unit
        found["window_index"] = torch.empty(merged, dtype=torch.int64, device="meta")
        found["cu_window_seqlens"] = ends
    if hasattr(tower, "num_grid_per_side"):
        found["interp_indices"] = torch.empty(patches, 4, dtype=torch.int64, device="meta")
        found["interp_weights"] = torch.empty(patches, 4, dtype=torch.float32, device="meta")
    return found


def _deepstack(
    _self: Any, hidden_states: torch.Tensor, visual_pos_masks: Any, visual_embeds: torch.Tensor
) -> torch.Tensor:
    """Features added at the images' places: as many rows as there are features."""
    import torch

    width = hidden_states.shape[-1]
    states = hidden_states.clone()
    rows = torch.empty(visual_embeds.shape[0], dtype=torch.int64, device=states.device)
    flat = states.view(-1, width)
    local = flat[rows] + visual_embeds.to(states.dtype)
    return flat.index_put((rows,), local).view(hidden_states.shape)


ATTENTIONS = frozenset(
    {
        "VisionAttention",
        "Qwen2_5_VLVisionAttention",
        "Qwen3VLVisionAttention",
        "Qwen3VLMoeVisionAttention",
    }
)
TOWERS = frozenset(
    {
        "Qwen2VisionTransformerPretrainedModel",
        "Qwen2_5_VisionTransformerPretrainedModel",
        "Qwen3VLVisionModel",
        "Qwen3VLMoeVisionModel",
    }
)
