"""Self-distillation of images as DINOv2 trains (Oquab et al. 2023, arXiv 2304.07193; its
``ssl_meta_arch.py`` under ``configs/train/vitl14.yaml``): a student sees two large crops with
masked patches and eight small ones, its teacher, the average of its past weights, the large ones.

Stochastic depth leaves samples out of a block's branches, arithmetic included (section 5 of the
paper; ``drop_add_residual_stochastic_depth`` of its ``layers/block.py``): here as many whole crops
as come nearest to its share of the tokens. Left out: the packing of crops of both sizes into one
sequence, which saves kernels and no arithmetic.
"""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from planner.models.constants import constant

GLOBAL_CROPS = int(constant("global_crops"))
#: Temperatures and the weight of KoLeo's loss; none changes the cost of a step.
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE, SPREADING = 0.1, 0.07, 0.1


class Head(nn.Module):
    """Three layers, a normalised bottleneck and weight-normalised prototypes."""

    def __init__(self, width: int, bottleneck: int):
        super().__init__()
        hidden, prototypes = int(constant("prototype_hidden")), int(constant("prototypes"))
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.last_layer = weight_norm(nn.Linear(bottleneck, prototypes, bias=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.last_layer(nn.functional.normalize(self.mlp(features), dim=-1))


#: What a block has whose branches can leave samples out.
BRANCHES = (("norm1", "attention", "layer_scale1"), ("norm2", "mlp", "layer_scale2"))


def leave_out(backbone: Any, share: float) -> bool:
    """Blocks of ``backbone`` run their branches on fewer crops, as its attribute ``kept`` says:
    (crops that are kept, crops there are). Whether it has such blocks, and a share to leave out."""
    blocks = [m for m in backbone.modules() if all(hasattr(m, n) for b in BRANCHES for n in b)]
    for block in blocks if share else ():
        # a block knows no module above it: its parent would be its child
        block.__dict__["crops"] = backbone.__dict__
        block.forward = MethodType(_on_some, block)
    backbone.__dict__["kept"] = (1, 1)
    return bool(blocks and share)


def _on_some(block: Any, hidden_states: torch.Tensor, *_given: Any, **_more: Any) -> torch.Tensor:
    kept, there = block.__dict__["crops"]["kept"]
    rows = hidden_states.shape[0]
    some = rows // there * kept
    for norm, branch, scale in BRANCHES:
        chosen = torch.randperm(rows, device=hidden_states.device)[:some]
        made = getattr(block, branch)(getattr(block, norm)(hidden_states[chosen]))
        made = getattr(block, scale)(made[0] if isinstance(made, tuple) else made)
        hidden_states = torch.index_add(
            hidden_states, 0, chosen, made.to(hidden_states.dtype), alpha=rows / max(some, 1)
        )
    return hidden_states


def kept_crops(share: float, large_tokens: int, small_tokens: int) -> tuple[int, int]:
    """Large and small crops whose tokens are nearest to what is kept of all of them, at least one
    of each."""
    large, small = GLOBAL_CROPS, int(constant("local_crops"))
    wanted = (1 - share) * (large * large_tokens + small * small_tokens)
    pairs = ((a, b) for a in range(1, large + 1) for b in range(1, small + 1))
    return min(
        pairs, key=lambda pair: abs(pair[0] * large_tokens + pair[1] * small_tokens - wanted)
    )


class Network(nn.Module):
    """A backbone with a head for images and one for patches."""

    def __init__(self, backbone: nn.Module, width: int):
        super().__init__()
        self.backbone = backbone
        self.dino_head = Head(width, int(constant("prototype_bottleneck")))
        self.ibot_head = Head(width, int(constant("prototype_patch_bottleneck")))

    def features(
        self, images: torch.Tensor, masks: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """([N, width] of the images, [N * patches, width] of their patches)."""
        states = self.backbone(pixel_values=images, bool_masked_pos=masks).last_hidden_state
        side = int(self.backbone.config.patch_size)  # type: ignore[union-attr]
        patches = images.shape[-1] // side
        rows = states[:, -(patches**2) :]
        return states[:, 0], rows.flatten(0, 1)


class SelfDistillation(nn.Module):
    """Student and teacher; ``forward`` is the loss of a batch."""

    supports_gradient_checkpointing = True

    def __init__(self, backbone: Any):
        super().__init__()
        self.config = backbone.config
        self.student = Network(backbone, self.config.hidden_size)
        self.teacher = copy.deepcopy(self.student)
        own = float(getattr(self.config, "drop_path_rate", 0.0) or 0.0)
        self.left_out = own or constant("stochastic_depth_share")
        self.leaves_out = leave_out(backbone, self.left_out)
        for parameter in self.teacher.parameters():
            parameter.requires_grad_(False)

    def forward(
        self,
        global_crops: torch.Tensor,
        local_crops: torch.Tensor,
        masks: torch.Tensor,
        masked: torch.Tensor,
    ) -> torch.Tensor:
        """Crops [2B or 8B, 3, side, side]; ``masks`` bool [2B, patches]; ``masked`` int64 [M]: the
        masked patches among all of the large crops."""
        with torch.no_grad():
            aims, patch_aims = self._aims(global_crops, masked)
        whole, patches, small = self._seen(global_crops, local_crops, masks)
        said = self.student.dino_head(torch.cat([small, whole]))
        told = self.student.ibot_head(patches.index_select(0, masked))
        local, large = said.split([small.shape[0], whole.shape[0]])
        images = _between(local.chunk(int(constant("local_crops"))), aims.chunk(GLOBAL_CROPS))
        images = images + _between((large,), (aims,))
        spread = sum(_spread(part) for part in whole.chunk(GLOBAL_CROPS))
        return images + _between((told,), (patch_aims,)) + SPREADING * spread

    def _seen(
        self, large: torch.Tensor, small: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the student makes of large crops, of their patches, and of small crops."""
        backbone: Any = self.student.backbone
        tokens = ((x.shape[-1] // self.config.patch_size) ** 2 + 1 for x in (large, small))
        kept = kept_crops(self.left_out, *tokens)
        backbone.__dict__["kept"] = kept[0], GLOBAL_CROPS
        whole, patches = self.student.features(large, masks)
        backbone.__dict__["kept"] = kept[1], int(constant("local_crops"))
        images, _ = self.student.features(small, None)
        backbone.__dict__["kept"] = (1, 1)
        return whole, patches, images

    def _aims(self, crops: torch.Tensor, masked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the teacher gives the crops, the other one of each image first, and the patches."""
        whole, patches = self.teacher.features(crops, None)
        first, second = whole.chunk(GLOBAL_CROPS)
        images = self.teacher.dino_head(torch.cat([second, first]))
        told = self.teacher.ibot_head(patches.index_select(0, masked))
        return _balanced(images), _balanced(told)

    @torch.no_grad()
    def update_teacher(self) -> None:
        """The average, after every update of the student."""
        keep = constant("teacher_momentum")
        lists: Any = torch  # as the recipe writes it; torch names no public way
        own, new = list(self.teacher.parameters()), list(self.student.parameters())
        lists._foreach_mul_(own, keep)
        lists._foreach_add_(own, new, alpha=1 - keep)

    def activation_checkpointing_enable(self, **options: Any) -> None:
        backbone: Any = self.student.backbone
        enable = getattr(backbone, "activation_checkpointing_enable", None)
        if enable is not None:
            enable(**options)
        else:  # its name before transformers 5
            kept = options.get("activation_checkpointing_kwargs")
            backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kept)


def _between(students: Any, teachers: Any) -> Any:
    """Cross entropy of every student's output with every teacher's."""
    total: Any = 0.0
    for student in students:
        logarithms = nn.functional.log_softmax(student / STUDENT_TEMPERATURE, dim=-1)
        for teacher in teachers:
            total = total - torch.sum(teacher * logarithms, dim=-1).mean()
    return total


def _balanced(outputs: torch.Tensor) -> torch.Tensor:
    """Sinkhorn-Knopp: every prototype as often, every sample once."""
    shares = torch.exp(outputs.float() / TEACHER_TEMPERATURE).t()
    prototypes, samples = shares.shape
    shares = shares / torch.sum(shares)
    for _ in range(int(constant("sinkhorn_rounds"))):
        shares /= torch.sum(shares, dim=1, keepdim=True)
        shares /= prototypes
        shares /= torch.sum(shares, dim=0, keepdim=True)
        shares /= samples
    shares *= samples
    return shares.t()


def _spread(features: torch.Tensor) -> torch.Tensor:
    """KoLeo: how far each image is from its nearest."""
    rows = nn.functional.normalize(features.float(), dim=-1)
    with torch.no_grad():
        products = rows @ rows.t()
        products.view(-1)[:: rows.shape[0] + 1].fill_(-1)
        nearest = products.max(dim=1).indices
    distances = nn.functional.pairwise_distance(rows, rows[nearest], eps=1e-8)
    return -torch.log(distances + 1e-8).mean()
