"""Images: decoded by Pillow; cropped, flipped and normalised by torchvision, or by Pillow and
numpy."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.datasets.constants import constant
from planner.datasets.loader.sources import version
from planner.datasets.loader.stages import Pipeline, Stage
from planner.errors import MissingExtraError
from planner.libraries import import_library

if TYPE_CHECKING:
    import torch
    from PIL import Image

LARGEST_PIXEL = 255  # of 8 bits


def image_pipeline(size: int) -> Pipeline:
    if importlib.util.find_spec("PIL") is None:
        raise MissingExtraError("pillow", "data", "Decoding images")
    decode = Stage("decode", "pixel", version("Pillow"), decode_image, pixels)
    notes = (f"images are cropped at random and resized to {size}×{size}, flipped and normalised",)
    if importlib.util.find_spec("torchvision") is not None:
        library = import_library("torchvision", "augmenting images")
        from torchvision import transforms as kit

        steps = kit.Compose(
            [
                kit.RandomResizedCrop(size),
                kit.RandomHorizontalFlip(),
                kit.ToTensor(),
                kit.Normalize(*normalisation()),
            ]
        )
        return Pipeline(
            "pixel",
            (decode, Stage("transform", "sample", f"torchvision {library.__version__}", steps)),
            notes=notes,
        )
    name = f"{version('Pillow')}, {version('numpy')}"
    return Pipeline(
        "pixel", (decode, Stage("transform", "sample", name, Augment(size))), notes=notes
    )


def decode_image(data: bytes) -> Image.Image:
    """RGB pixels. Pillow raises nearly anything for a broken file."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def pixels(image: Image.Image) -> float:
    return float(image.width * image.height)


def normalisation() -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(means, standard deviations) of red, green and blue, as weights trained on ImageNet expect
    them."""
    red, green, blue = (
        (constant(f"image_mean_{name}"), constant(f"image_deviation_{name}"))
        for name in ("red", "green", "blue")
    )
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


@dataclass(frozen=True)
class Augment:
    """torchvision's training transform with Pillow and numpy alone: float32 tensor [3, size,
    size]."""

    size: int

    def __call__(self, image: Image.Image) -> torch.Tensor:
        import torch
        from PIL import Image

        chance = np.random.default_rng()
        side = float(
            np.sqrt(
                chance.uniform(
                    constant("image_crop_lowest_share"), constant("image_crop_highest_share")
                )
            )
        )
        width, height = max(1, round(image.width * side)), max(1, round(image.height * side))
        left, top = (
            int(chance.integers(0, image.width - width + 1)),
            int(chance.integers(0, image.height - height + 1)),
        )
        image = image.resize(
            (self.size, self.size),
            Image.Resampling.BILINEAR,
            box=(left, top, left + width, top + height),
        )
        if chance.random() < constant("image_flip_share"):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mean, deviation = (np.array(part, dtype=np.float32) for part in normalisation())
        pixels = (np.asarray(image, dtype=np.float32) / LARGEST_PIXEL - mean) / deviation
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
