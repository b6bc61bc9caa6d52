"""Charts as inline SVG. Positions are percentages of the width and text keeps its size, so that a
chart reads the same on a phone and on a wide screen. Colours are the page's (CSS classes), apart in
lightness and pattern: greyscale serves.

Geometry is all that is computed here; the figures are those of the document.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from planner.report.views import option as option_view
from planner.report.views import table as table_view
from planner.report.words import bytes_text, figure_text, hours_text, usd_text

ROW_HEIGHT, BAR_HEIGHT, CAPTION_HEIGHT, TOP, AXIS_HEIGHT = 46, 14, 16, 4, 26
#: More than a phone's width holds in one line at the page's smallest size.
CAPTION_CHARACTERS, NAME_CHARACTERS = 56, 48
#: From this ratio of the largest to the smallest figure on, a linear axis would hide the small
#: ones.
LOG_FROM_RATIO = 30
LEFT, RIGHT = 1.0, 97.0


def interval_chart(options: Sequence[Mapping[str, Any]], part: str, figure: str, title: str) -> str:
    """A row an option: the median as a dot, p10 to p90 as a bar. Empty when no option has the
    figure."""
    rows = [option for option in options if option.get(part) and option[part][figure]["p90"] > 0]
    if not rows:
        return ""
    word = usd_text if figure.endswith("usd") else hours_text
    place, ticks, scale = _axis([option[part][figure] for option in rows])
    captions = [
        (option_view.name(o) + _on(o, options) + _note(o), figure_text(o[part][figure], word))
        for o in rows
    ]
    lines = _Lines(captions)
    body = "".join(
        lines.caption(i) + _interval(lines.bar_y(i), o[part][figure], o.get("fits"), place)
        for i, o in enumerate(rows)
    )
    body += _ticks(ticks, place, lines.bottom, word)
    return _svg(
        title,
        scale + "; ".join(f"{name}: {text}" for name, text in captions),
        body,
        lines.bottom + AXIS_HEIGHT,
    )


def memory_chart(options: Sequence[Mapping[str, Any]], title: str) -> str:
    """A row an option: the parts of the device's memory stacked, and a line where the device
    ends."""
    rows = [option for option in options if option.get("memory")]
    if not rows:
        return ""
    largest = max(
        max(o["memory"]["device_total_bytes"], o["memory"]["device_used_bytes"]["p90"])
        for o in rows
    )

    def place(size: float) -> float:
        return LEFT + (RIGHT - LEFT) * size / largest

    captions = [
        (
            option_view.name(o) + _on(o, options) + _note(o),
            table_view.one_line(option_view.memory(o)),
        )
        for o in rows
    ]
    lines = _Lines(captions)
    body = _patterns() + "".join(
        lines.caption(i) + _stack(lines.bar_y(i), o["memory"], place) for i, o in enumerate(rows)
    )
    return _svg(
        title, "; ".join(f"{name}: {text}" for name, text in captions), body, lines.bottom + 6
    )


class _Lines:
    """Where each row stands. The figure stands at the right of the name, or below it where both
    could not fit on a phone."""

    def __init__(self, captions: Sequence[tuple[str, str]]):
        self._captions = captions
        self._extra = (
            CAPTION_HEIGHT
            if max(len(name) + len(text) for name, text in captions) > CAPTION_CHARACTERS
            else 0
        )
        self.bottom = TOP + len(captions) * (ROW_HEIGHT + self._extra)

    def bar_y(self, index: int) -> float:
        """The middle of the row's bar."""
        return TOP + index * (ROW_HEIGHT + self._extra) + self._extra + 32

    def caption(self, index: int) -> str:
        name, text = self._captions[index]
        y = self.bar_y(index) - 15
        right = f'x="{LEFT}%"' if self._extra else f'x="{RIGHT}%" text-anchor="end"'
        return (
            f'<text class="name" x="{LEFT}%" '
            f'y="{y - self._extra}">{escape(_short(name))}<title>{escape(name)}</title></text>'
            f'<text class="figure" {right} y="{y}">{escape(text)}</text>'
        )


def _on(option: Mapping[str, Any], options: Sequence[Mapping[str, Any]]) -> str:
    """The device, where the options differ in it."""
    several = len({(o.get("gpu"), o.get("gpus")) for o in options if o.get("gpu")}) > 1
    return f" on {option_view.device(option)}" if several and option.get("gpu") else ""


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"


def _note(option: Mapping[str, Any]) -> str:
    return " (does not fit)" if option.get("fits") is False else ""


def _interval(
    y: float, value: Mapping[str, float], fits: bool | None, place: Callable[[float], float]
) -> str:
    low, mid, high = (place(value[key]) for key in ("p10", "p50", "p90"))
    kind = "no-fit" if fits is False else "fit"
    return (
        f'<line class="rail" x1="{LEFT}%" x2="{RIGHT}%" y1="{y}" y2="{y}"/>'
        f'<rect class="range {kind}" x="{low:.2f}%" y="{y - 5}" '
        f'width="{max(high - low, 0.3):.2f}%" height="10" rx="5"/>'
        f'<circle class="median {kind}" cx="{mid:.2f}%" cy="{y}" r="6"/>'
    )


def _stack(y: float, memory: Mapping[str, Any], place: Callable[[float], float]) -> str:
    start, bars = 0.0, []
    for part in option_view.PARTS:
        size = memory["breakdown"][part]
        left, right = place(start), place(start + size)
        start += size
        if right > left:
            label = f"<title>{part}: {escape(bytes_text(size))}</title>"
            bars.append(
                f'<rect class="part-{part}" x="{left:.2f}%" y="{y - BAR_HEIGHT / 2}" '
                f'width="{right - left:.2f}%" height="{BAR_HEIGHT}">{label}</rect>'
            )
    end = place(memory["device_total_bytes"])
    return (
        "".join(bars) + f'<line class="capacity" x1="{end:.2f}%" x2="{end:.2f}%" '
        f'y1="{y - BAR_HEIGHT / 2 - 4}" y2="{y + BAR_HEIGHT / 2 + 4}">'
        "<title>the device ends here</title></line>"
    )


def _axis(
    values: Sequence[Mapping[str, float]],
) -> tuple[Callable[[float], float], list[float], str]:
    """Value → percent of the width, round values to mark, and what the scale is: linear from 0,
    logarithmic where the magnitudes differ."""
    high = max(value["p90"] for value in values)
    low = min((value["p10"] for value in values if value["p10"] > 0), default=high)
    if high / low < LOG_FROM_RATIO:
        step = _round_step(high / 6)
        return (
            (lambda v: LEFT + (RIGHT - LEFT) * v / high),
            [step * i for i in range(1, int(high / step) + 1)],
            "",
        )
    first, last = math.log10(low) - 0.1, math.log10(high)
    digits = (1,) if last - first > 2 else (1, 3)
    marks = [
        digit * 10.0**power
        for power in range(math.floor(first), math.ceil(last) + 1)
        for digit in digits
    ]
    marks = [mark for mark in marks if first <= math.log10(mark) <= last]
    return (
        (lambda v: LEFT + (RIGHT - LEFT) * (math.log10(max(v, low)) - first) / (last - first)),
        marks[:: max(1, math.ceil(len(marks) / 5))],
        "Logarithmic scale. ",
    )


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= step)


def _ticks(
    ticks: Sequence[float],
    place: Callable[[float], float],
    bottom: float,
    word: Callable[[float], str],
) -> str:
    drawn = []
    for tick in ticks:
        x = place(tick)
        anchor = "end" if x > 92 else "start" if x < 6 else "middle"
        drawn.append(
            f'<line class="tick" x1="{x:.2f}%" x2="{x:.2f}%" y1="{bottom}" y2="{bottom + 5}"/>'
            f'<text class="axis" x="{x:.2f}%" y="{bottom + 19}" '
            f'text-anchor="{anchor}">{escape(word(tick))}</text>'
        )
    return "".join(drawn)


def _patterns() -> str:
    """Stripes that part neighbours of a similar lightness."""
    return (
        '<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<rect class="stripe-ground" width="6" height="6"/><rect class="stripe" width="2.5" '
        'height="6"/></pattern>'
        '<pattern id="dots" width="6" height="6" patternUnits="userSpaceOnUse"><rect '
        'class="dot-ground" width="6" height="6"/>'
        '<circle class="dot" cx="3" cy="3" r="1.4"/></pattern></defs>'
    )


def _svg(title: str, described: str, body: str, height: float) -> str:
    key = "".join(c for c in title.lower() if c.isalnum())
    return (
        f'<svg class="chart" role="img" aria-labelledby="{key}-title {key}-desc" width="100%" '
        f'height="{height}">'
        f'<title id="{key}-title">{escape(title)}</title><desc '
        f'id="{key}-desc">{escape(described)}</desc>{body}</svg>'
    )
