"""The largest batch of images that a detector is trained on: as wide and as high as the published
recipe of its family makes images, with the fullest image among them. Rows of
``profiles/models/largest_images.csv``; no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from planner import tables
from planner.models.constants import constant
from planner.models.facts import ModelFacts
from planner.models.tasks import OF_OBJECTS

TABLE = ("models", "largest_images.csv")
#: How a batch is made of images (``batches`` of the table).
GROUPED, MIXED, FIXED = "grouped", "mixed", "fixed"
#: How objects of a batch are kept (``objects`` of the table).
PADDED = "padded"
#: Width and height in pixels.
Size = tuple[int, int]


@dataclass(frozen=True)
class Crowd:
    """Objects of a batch's images: ``usual`` in each but the fullest one, which has ``most``.
    ``padded``: every image has room for as many as the fullest."""

    usual: float
    most: int
    padded: bool = False

    def objects(self, batch: int | np.ndarray) -> np.ndarray:
        """int64: of each image of such a batch in the mean, rounded up."""
        size = np.maximum(np.asarray(batch, dtype=np.int64), 1)
        if self.padded:
            return np.full_like(size, self.most)
        return np.ceil((self.most + (size - 1) * self.usual) / size).astype(np.int64)


@dataclass(frozen=True)
class Sides:
    """What a recipe makes of images: the shorter side that it draws at most, where it cuts the
    longer one, both in pixels, and how batches are made of them. ``source``: of the row."""

    shorter: int
    longer: int
    batches: str
    padded: bool
    source: str

    def of(self, sizes: Iterable[Size]) -> Size:
        """(width, height) of the largest batch of images that are stored at these sizes, a wide
        image for a high one."""
        if self.batches == FIXED:
            return self.shorter, self.shorter
        scaled = {self._scaled(*size) for size in set(sizes)}
        if self.batches == MIXED:
            return max(w for w, _ in scaled), max(h for _, h in scaled)
        wide, high = max(scaled, key=lambda size: (size[0] * size[1], size))
        return max(wide, high), min(wide, high)

    @property
    def largest(self) -> Size:
        """Of images of any shape."""
        side = self.longer if self.batches == MIXED else self.shorter
        return self.longer, side

    def _scaled(self, width: int, height: int) -> Size:
        scale = min(self.shorter / min(width, height), self.longer / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))


def sides_of(
    facts: ModelFacts, task: str, image_size: int | None = None, longest: int | None = None
) -> Sides | None:
    """Of a detector's recipe. ``image_size``: the shorter side that is asked, ``longest`` the
    longer one; None for a task without objects, or a family without a row."""
    row = _row(facts) if task in OF_OBJECTS else None
    if row is None:
        return None
    own = str(facts.image_size or "")
    if not (row["shorter_side"] or own):
        return None
    shorter, longer = (int(row[side] or own) for side in ("shorter_side", "longer_side"))
    if image_size is not None and facts.image_size:
        shorter = round(shorter * image_size / facts.image_size)
        longer = min(longer, math.floor(shorter * constant("widest_shape")))
    if row["batches"] == FIXED:
        longer = shorter = longest or shorter
    elif longest is not None:
        longer = max(shorter, longest)
    return Sides(
        shorter, max(longer, shorter), row["batches"], row["objects"] == PADDED, row["source"]
    )


def _row(facts: ModelFacts) -> dict[str, str] | None:
    """The longest start of its name that has a row, else the one of any model of its library."""
    family = (facts.config or {}).get("model_type") or ""
    name = family if facts.library == "transformers" else facts.architecture or ""
    rows = [row for row in tables.rows(*TABLE) if row["library"] == facts.library]
    exact = facts.library == "transformers"
    fitting = [
        row
        for row in rows
        if row["model"] == "any"
        or (row["model"] == name if exact else name.startswith(row["model"]))
    ]
    return max(fitting, key=lambda row: (row["model"] != "any", len(row["model"])), default=None)


def published_crowd(padded: bool) -> Crowd:
    """As in the set of images that the published weights are of."""
    return Crowd(constant("objects_per_image"), int(constant("most_objects")), padded)


@dataclass(frozen=True)
class Largest:
    """The largest batch: (width, height) in pixels that its images are padded to, and its
    objects."""

    size: Size
    crowd: Crowd

    def with_objects(self, usual: float | None, most: int | None) -> Largest:
        """With other numbers of objects, where they are known; the fullest has the usual at
        least."""
        crowd = self.crowd
        usual = crowd.usual if usual is None else usual
        most = max(crowd.most if most is None else most, math.ceil(usual))
        return replace(self, crowd=replace(crowd, usual=usual, most=most))


def published_largest(
    facts: ModelFacts, task: str, image_size: int | None = None
) -> Largest | None:
    """As the family's published recipe makes it; None where nothing larger than the usual is
    known."""
    sides = sides_of(facts, task, image_size)
    return None if sides is None else Largest(sides.largest, published_crowd(sides.padded))
