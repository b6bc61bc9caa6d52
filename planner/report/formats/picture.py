"""Drawn figures as PNG and SVG."""

from __future__ import annotations

import io
from typing import Any

from planner.report.formats.registry import Format

DOTS_PER_INCH = 160


def png(figure: Any) -> bytes:
    """The picture of a matplotlib figure."""
    return _saved(figure, "png", None)


def svg(figure: Any) -> bytes:
    """The date is left out, so that the same figure makes the same file."""
    return _saved(figure, "svg", {"Date": None})


def _saved(figure: Any, kind: str, metadata: dict[str, None] | None) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


FORMATS = (Format("picture", ".png", png, order=10), Format("picture", ".svg", svg, order=20))
