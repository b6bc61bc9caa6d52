"""How a model that writes about images reads one: the places that an image takes in the sequence,
the pictures that its vision tower sees of it, and their pixels. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner import tables
from planner.errors import FieldName, ModelError


@dataclass(frozen=True)
class ImageRule:
    """A row of ``profiles/models/image_inputs.csv``."""

    rule: str
    tokens_key: str
    marks: int
    longest_edge: int
    side: int
    largest_pixels: int
    defaults: Mapping[str, int]

    def number(self, config: Mapping[str, Any], *keys: str) -> int:
        """A whole number of a config, or what the library takes where it states none; 0 where
        neither says."""
        value: Any = config
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, list | tuple):
            value = max(value, default=None)
        return value if isinstance(value, int) else self.defaults.get(keys[-1], 0)


@dataclass(frozen=True)
class ImageInput:
    """One image. ``places``: tokens of the sequence, marks included. ``pictures``: what the vision
    tower sees of it, each ``side`` × ``side`` pixels. ``assumed``: its size is nobody's word."""

    places: int
    pictures: int
    side: int
    assumed: bool = False


@cache
def image_rules() -> dict[str, ImageRule]:
    """By model type."""
    return {
        row["model_type"]: ImageRule(
            row["rule"],
            row["tokens_key"],
            *(int(row[key] or 0) for key in ("marks", "longest_edge", "side", "largest_pixels")),
            defaults={key: int(n) for key, _, n in map(_halves, row["defaults"].split())},
        )
        for row in tables.rows("models", "image_inputs.csv")
    }


def image_rule(config: Mapping[str, Any], where: str) -> ImageRule:
    """Raises ModelError for a family whose way of reading images is not known here."""
    rule = image_rules().get(str(config.get("model_type")))
    if rule is None:
        raise ModelError(
            f"how a {config.get('model_type')} model reads images is not covered",
            where=where,
            mend=f"Use {FieldName('task')} causal_lm, with the images' tokens in "
            f"{FieldName('tokens_per_sample')}, or one of {', '.join(image_rules())}",
        )
    return rule


def image_input(
    config: Mapping[str, Any],
    where: str,
    side: int | None = None,
    pixels: tuple[int, int] | None = None,
) -> ImageInput:
    """One image of a family. ``side``: pixels of a square, as the question says; ``pixels``:
    (width, height) of the data's median image. Raises ModelError where nothing says how large
    it is."""
    rule = image_rule(config, where)
    vision = vision_part(config)
    own = rule.number(vision, "image_size")
    if rule.rule in ("merged", "resampled"):
        return _of_any_size(rule, config, vision, own, side, pixels)
    read = side or own
    if not read:
        raise ModelError(
            "its config does not say how large its images are",
            where=where,
            mend=f"Give {FieldName('image_size')}",
        )
    if rule.rule == "tiles":
        return _tiles(rule, config, vision, read, pixels)
    return ImageInput(features(config, read, where) + rule.marks, 1, read)


def features(config: Mapping[str, Any], side: int, where: str) -> int:
    """Tokens that one picture of ``side`` × ``side`` pixels fills."""
    rule, vision = image_rule(config, where), vision_part(config)
    if rule.tokens_key:
        return rule.number(config, *rule.tokens_key.split("."))
    if rule.rule == "crossed":
        return 0
    patches = (side // rule.number(vision, "patch_size")) ** 2
    merge = rule.number(vision, "spatial_merge_size") if rule.rule == "merged" else 1
    scale = rule.number(config, "scale_factor") if rule.rule == "tiles" else 1
    return patches // (merge or 1) ** 2 // (scale or 1) ** 2


def _of_any_size(
    rule: ImageRule,
    config: Mapping[str, Any],
    vision: Mapping[str, Any],
    own: int,
    side: int | None,
    pixels: tuple[int, int] | None,
) -> ImageInput:
    """A square of the same area, its sides multiples of what becomes one token."""
    unit = rule.number(vision, "patch_size") * (rule.number(vision, "spatial_merge_size") or 1)
    wanted = side or (math.sqrt(pixels[0] * pixels[1]) if pixels else rule.side or own)
    if rule.largest_pixels:
        wanted = min(wanted, math.sqrt(rule.largest_pixels))
    if rule.longest_edge:
        wanted = min(wanted, rule.longest_edge)
    read = max(unit, round(wanted / unit) * unit)
    places = features(config, read, "") + rule.marks
    return ImageInput(places, 1, read, assumed=side is None and pixels is None)


def _tiles(
    rule: ImageRule,
    config: Mapping[str, Any],
    vision: Mapping[str, Any],
    side: int,
    pixels: tuple[int, int] | None,
) -> ImageInput:
    """The longer side is brought to so many tiles. Rows and columns of tiles and the whole image:
    a mark and its place before each tile, a line break a row, three marks around the whole image
    and a line break before it."""
    width, height = pixels or (1, 1)
    longest = max(width, height)
    rows, columns = (math.ceil(rule.longest_edge * part / longest) for part in (height, width))
    tiles = rows * columns
    places = (tiles + 1) * features(config, side, "") + 2 * tiles + rows + 4
    return ImageInput(places, tiles + 1, side, assumed=pixels is None)


def _halves(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def vision_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that describes what sees."""
    part = config.get("vision_config")
    return part if isinstance(part, Mapping) else {}
