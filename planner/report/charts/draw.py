"""Specifications as pictures, drawn without a browser by vl-convert."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from planner.libraries import import_reporting
from planner.report.charts.marks import Spec
from planner.report.charts.theme import config
from planner.report.look import LIGHT, Theme

#: Pixels: a column of text on A4.
WIDTH_PX = 680
VEGA_LITE = "6.4"
#: Pixels of the picture per pixel of the chart.
PNG_SCALE = 2.0


def themed(spec: Spec, theme: Theme) -> Spec:
    """The specification with a theme's colours and type."""
    return {**spec, "config": config(theme)}


def svg(spec: Spec, width: int = WIDTH_PX, theme: Theme = LIGHT) -> str:
    """``width``: pixels. Raises MissingExtraError without vl-convert."""
    return _library().vegalite_to_svg(_sized(spec, width, theme), vl_version=VEGA_LITE)


def png(spec: Spec, width: int = WIDTH_PX, theme: Theme = LIGHT, scale: float = PNG_SCALE) -> bytes:
    """``width``: pixels of the chart, ``scale`` times as many in the picture. Raises
    MissingExtraError without vl-convert."""
    return _library().vegalite_to_png(_sized(spec, width, theme), vl_version=VEGA_LITE, scale=scale)


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets ``vegaEmbed``. Raises
    MissingExtraError without vl-convert."""
    return _library().javascript_bundle(vl_version=VEGA_LITE)


def _sized(spec: Spec, width: int, theme: Theme) -> dict[str, Any]:
    fitted = {"type": "fit-x", "contains": "padding"}
    return themed({**spec, "width": width, "autosize": fitted}, theme)


@cache
def _library() -> ModuleType:
    library = import_reporting("vl_convert", "a report with charts")
    if find_spec("font_source_sans_pro") is not None:
        fonts = import_reporting("font_source_sans_pro", "type of the charts")
        library.register_font_directory(str(fonts.font_directory))
    return library
