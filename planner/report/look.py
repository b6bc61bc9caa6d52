"""How every report looks: colours, sizes of type, spacing. HTML, charts, PDF, DOCX and XLSX take
them from here, so that one report looks like the other.

Inks on their papers reach a contrast of 4.5:1 (WCAG 2.2 AA); the colours of series differ in
lightness too, so that greyscale and colour-blind eyes tell neighbours apart.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours as ``#rrggbb``. ``paper``: behind everything; ``card``: a raised surface; ``ink``,
    ``soft``: text and lesser text; ``rule``, ``hair``: lines that part and lines in charts;
    ``accent``: what is recommended, and links; ``tint``: a pale ground of the accent; ``good``,
    ``warn``, ``bad``: kept, careful, broken; ``quiet``: marks that are not the point; ``series``:
    parts of a whole, in order."""

    name: str
    paper: str
    card: str
    ink: str
    soft: str
    rule: str
    hair: str
    accent: str
    tint: str
    good: str
    warn: str
    bad: str
    quiet: str
    series: tuple[str, ...]


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    card="#f6f7f7",
    ink="#16212b",
    soft="#56626d",
    rule="#d5dade",
    hair="#e8ebed",
    accent="#0a5d66",
    tint="#e6f1f1",
    good="#22693a",
    warn="#8a5300",
    bad="#a8321f",
    quiet="#9aa6af",
    series=(
        "#0a5d66",
        "#7db7b5",
        "#2f4b7c",
        "#dba847",
        "#c4683c",
        "#cbb8a0",
        "#7a8791",
        "#7c5c8a",
    ),
)
DARK = Theme(
    name="dark",
    paper="#12171c",
    card="#1a2128",
    ink="#e9edf0",
    soft="#a4afb8",
    rule="#35404a",
    hair="#27313a",
    accent="#6cc5c4",
    tint="#16302f",
    good="#7fce97",
    warn="#e9b862",
    bad="#f0937d",
    quiet="#6d7a85",
    series=(
        "#6cc5c4",
        "#2f7d80",
        "#9db4e6",
        "#dba847",
        "#e28a5f",
        "#8d7c66",
        "#a4afb8",
        "#b795c7",
    ),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}

#: The first that is there. Source Sans Pro is what PDF and drawn charts carry with them.
FONTS = ("Source Sans Pro", "system-ui", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
#: Points: a ratio of 1.2 from body text up, one step down for what is small.
TYPE_PT = {
    "small": 8.5,
    "body": 10.0,
    "lead": 12.0,
    "heading": 14.0,
    "title": 20.0,
    "figure": 28.0,
}
#: Points: multiples of four.
SPACE_PT = {"hair": 2.0, "tight": 4.0, "close": 8.0, "part": 16.0, "section": 24.0, "page": 40.0}
#: Text of charts, in pixels.
CHART_PX = {"label": 12, "title": 12, "strong": 13}
