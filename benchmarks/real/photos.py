"""A folder of JPEGs, a folder a class: decoded by Pillow, cropped at random, flipped and normalised
as ImageNet's training does, one image after another as it is asked for."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)
#: torchvision's RandomResizedCrop: shares of the area, sides to each other, tries.
AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
RESIZED = 256 / 224  # of the shorter side, before the middle is cut out


class Photos(torch.utils.data.Dataset):
    def __init__(self, folder: Path, size: int, *, augment: bool) -> None:
        labels = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.files = [
            (file, number)
            for number, label in enumerate(labels)
            for file in sorted((folder / label).glob("*.jpg"))
        ]
        self.size, self.augment = size, augment

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        file, label = self.files[index]
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        image = self._cropped(image) if self.augment else self._middle(image)
        pixels = (np.asarray(image, dtype=np.float32) / 255 - MEAN) / DEVIATION
        values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return {"pixel_values": values, "labels": label}

    def _cropped(self, image: Image.Image) -> Image.Image:
        resized = image.resize(
            (self.size, self.size), Image.Resampling.BILINEAR, box=crop(image.width, image.height)
        )
        return (
            resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else resized
        )

    def _middle(self, image: Image.Image) -> Image.Image:
        """The shorter side to 256 of 224 parts, then the middle."""
        scale = RESIZED * self.size / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)))
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return image.crop((left, top, left + self.size, top + self.size))


def crop(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a crop that lies within; the whole where none is found."""
    for _ in range(TRIES):
        area = random.uniform(*AREA) * width * height
        ratio = math.exp(random.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


def joined(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {
        "pixel_values": torch.stack([sample["pixel_values"] for sample in samples]),
        "labels": torch.tensor([sample["labels"] for sample in samples]),
    }
