"""Segment Anything as it was trained, for the planner's factories: the image encoder once, the
mask decoder once an iteration for all masks of an image (Kirillov et al. 2023, arXiv 2304.02643,
appendix A: up to 64 masks a GPU; a first prompt, eight sampled points, two more rounds). Needs
transformers.
"""

from __future__ import annotations

import torch
from torch import nn

from planner.libraries import prepare_torchvision

prepare_torchvision()

from transformers import SamConfig, SamModel, SamVisionConfig  # noqa: E402

PIXELS, MASKS, ITERATIONS, MASK_PIXELS = 1024, 64, 11, 256


class Prompted(nn.Module):
    """Focal and dice loss are over masks of a quarter of the side; a round's points are taken as
    one more each."""

    def __init__(self):
        super().__init__()
        vision = SamVisionConfig(
            hidden_size=1280,
            num_hidden_layers=32,
            num_attention_heads=16,
            mlp_dim=5120,
            global_attn_indexes=[7, 15, 23, 31],
        )
        self.sam = SamModel(SamConfig(vision_config=vision.to_dict()))

    def forward(self, pixels, points, masks):
        image = self.sam.get_image_embeddings(pixels)
        loss = 0.0
        for iteration in range(1, ITERATIONS + 1):
            shown = points[:, :, :iteration]
            labels = torch.ones(shown.shape[:-1], dtype=torch.long, device=points.device)
            drawn = self.sam(
                image_embeddings=image,
                input_points=shown,
                input_labels=labels,
                multimask_output=iteration == 1,
            ).pred_masks
            loss = loss + _loss(drawn.float(), masks)
        return loss


def _loss(drawn, masks):
    wanted = masks.unsqueeze(2).expand_as(drawn)
    chance = drawn.sigmoid()
    entropy = nn.functional.binary_cross_entropy_with_logits(drawn, wanted, reduction="none")
    right = chance * wanted + (1 - chance) * (1 - wanted)
    focal = (entropy * (1 - right) ** 2).mean()
    overlap = (chance * wanted).sum((-1, -2))
    dice = 1 - (2 * overlap + 1) / (chance.sum((-1, -2)) + wanted.sum((-1, -2)) + 1)
    return 20 * focal + dice.mean()


def vit_h():
    def batch(B):
        return {
            "pixels": torch.zeros(B, 3, PIXELS, PIXELS),
            "points": torch.zeros(B, MASKS, ITERATIONS, 2),
            "masks": torch.zeros(B, MASKS, MASK_PIXELS, MASK_PIXELS),
        }

    return Prompted(), batch, lambda model, inputs: model(**inputs)
