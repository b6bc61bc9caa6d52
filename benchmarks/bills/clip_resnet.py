"""CLIP with a ResNet of attention pooling, for the planner's factories (Radford et al. 2021, arXiv
2103.00020, section 2.4 and table 19; openai/CLIP ``clip/model.py``): three convolutions as a stem,
average pooling before strides, attention over the last map. Its blocks are recomputed by
themselves. Needs transformers.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from planner.libraries import prepare_torchvision

prepare_torchvision()

from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402

#: Of table 19: blocks a stage, width of the first, pixels, common width, heads of the pooling; of
#: the text: width, heads, layers.
BLOCKS, WIDTH, PIXELS, COMMON, POOL_HEADS = (3, 15, 36, 10), 128, 448, 1024, 64
TEXT_WIDTH, TEXT_HEADS, TEXT_LAYERS = 1024, 16, 12
TOKENS, VOCABULARY, EXPANSION, REDUCTION = 77, 49408, 4, 32


class Bottleneck(nn.Module):
    def __init__(self, inside: int, width: int, stride: int):
        super().__init__()
        outside = width * EXPANSION
        self.body = nn.Sequential(
            *_convolved(inside, width, 1),
            *_convolved(width, width, 3),
            nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
            nn.Conv2d(width, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.beside = nn.Identity()
        if stride > 1 or inside != outside:
            self.beside = nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(inside, outside, 1, bias=False),
                nn.BatchNorm2d(outside),
            )

    def forward(self, x):
        return nn.functional.relu(self.body(x) + self.beside(x))


def _convolved(inside: int, outside: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outside), nn.ReLU()]


class AttentionPool(nn.Module):
    """The mean of the map asks, every place of it answers."""

    def __init__(self, side: int, width: int):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(side * side + 1, width) / width**0.5)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, COMMON)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positions
        heads = [
            y.unflatten(2, (POOL_HEADS, -1)).transpose(1, 2)
            for y in (self.q(x[:, :1]), self.k(x), self.v(x))
        ]
        scores = heads[0] @ heads[1].transpose(2, 3) / heads[0].shape[-1] ** 0.5
        return self.out((scores.softmax(-1) @ heads[2]).transpose(1, 2).flatten(2))[:, 0]


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        half = WIDTH // 2
        self.stem = nn.Sequential(
            *_convolved(3, half, 3, 2),
            *_convolved(half, half, 3),
            *_convolved(half, WIDTH, 3),
            nn.AvgPool2d(2),
        )
        inside, made = WIDTH, []
        for index, blocks in enumerate(BLOCKS):
            width = WIDTH * 2**index
            strides = [1 if index == 0 else 2, *([1] * (blocks - 1))]
            for stride in strides:
                made.append(Bottleneck(inside, width, stride))
                inside = width * EXPANSION
        self.blocks = nn.ModuleList(made)
        self.pool = AttentionPool(PIXELS // REDUCTION, inside)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return self.pool(x)


class Clip(nn.Module):
    """Two towers, and the loss of a device's own pairs."""

    def __init__(self):
        super().__init__()
        self.image = ResNet()
        self.text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=VOCABULARY,
                hidden_size=TEXT_WIDTH,
                intermediate_size=4 * TEXT_WIDTH,
                num_hidden_layers=TEXT_LAYERS,
                num_attention_heads=TEXT_HEADS,
                max_position_embeddings=TOKENS,
            )
        )
        self.text.gradient_checkpointing_enable()
        self.projection = nn.Linear(TEXT_WIDTH, COMMON, bias=False)

    def forward(self, pixels, caption):
        seen = nn.functional.normalize(self.image(pixels).float(), dim=-1)
        said = self.projection(self.text(caption).last_hidden_state[:, -1])
        logits = seen @ nn.functional.normalize(said.float(), dim=-1).t()
        labels = torch.arange(logits.shape[0], device=logits.device)
        loss = nn.functional.cross_entropy
        return (loss(logits, labels) + loss(logits.t(), labels)) / 2


def rn50x64():
    def batch(B):
        return {
            "pixels": torch.zeros(B, 3, PIXELS, PIXELS),
            "caption": torch.zeros(B, TOKENS, dtype=torch.long),
        }

    return Clip(), batch, lambda model, inputs: model(**inputs)
