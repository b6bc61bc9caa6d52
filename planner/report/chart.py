"""Charts as inline SVG. Positions are percentages of the width and text keeps its size, so that a chart reads the same
on a phone and on a wide screen. Colours are the page's (CSS classes), apart in lightness and pattern: greyscale serves.

Geometry is all that is computed here; the figures are those of the document.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from planner.report import view
from planner.report.words import bytes_text, figure_text, hours_text, usd_text

ROW_HEIGHT, BAR_HEIGHT, TOP, AXIS_HEIGHT = 46, 14, 4, 26
#: From this ratio of the largest to the smallest figure on, a linear axis would hide the small ones.
LOG_FROM_RATIO = 30
LEFT, RIGHT = 1.0, 97.0


def interval_chart(options: Sequence[Mapping[str, Any]], part: str, figure: str, title: str) -> str:
    """A row an option: the median as a dot, p10 to p90 as a bar. Empty when no option has the figure."""
    rows = [(view.name(option) + _on(option, options), option[part][figure], option.get("fits")) for option in options if option.get(part)]
    rows = [row for row in rows if row[1]["p90"] > 0]
    if not rows:
        return ""
    word = usd_text if figure == "usd" else hours_text
    place, ticks = _axis([row[1] for row in rows])
    lines = [_interval(index, *row, place, word) for index, row in enumerate(rows)]
    described = "; ".join(f"{name}: {figure_text(value, word)}" for name, value, _ in rows)
    return _svg(title, described, "".join(lines) + _ticks(ticks, place, len(rows), word), len(rows))


def memory_chart(options: Sequence[Mapping[str, Any]], title: str) -> str:
    """A row an option: the parts of the device's memory stacked, and a line where the device ends."""
    rows = [option for option in options if option.get("memory")]
    if not rows:
        return ""
    largest = max(max(o["memory"]["device_total_bytes"], o["memory"]["device_used_bytes"]["p90"]) for o in rows)

    def place(size: float) -> float:
        return LEFT + (RIGHT - LEFT) * size / largest

    lines = [_stack(index, option, _on(option, options), place) for index, option in enumerate(rows)]
    described = "; ".join(f"{view.name(o)}: {view.one_line(view.memory(o))}, fits: {view.one_line(view.fits(o))}" for o in rows)
    return _svg(title, described, _patterns() + "".join(lines), len(rows), axis=False)


def legend() -> list[str]:
    """The parts, in the order and with the class (``part-…``) that the memory chart draws them with."""
    return list(view.PARTS)


def _on(option: Mapping[str, Any], options: Sequence[Mapping[str, Any]]) -> str:
    """The device, where the options differ in it."""
    several = len({(o.get("gpu"), o.get("gpus")) for o in options if o.get("gpu")}) > 1
    return f" on {view.device(option)}" if several and option.get("gpu") else ""


def _interval(index: int, name: str, value: Mapping[str, float], fits: bool | None, place: Callable, word: Callable) -> str:
    y = TOP + index * ROW_HEIGHT
    middle = y + 32
    low, mid, high = (place(value[key]) for key in ("p10", "p50", "p90"))
    kind = "no-fit" if fits is False else "fit"
    note = " (does not fit)" if fits is False else ""
    return (_text(name + note, y + 17) + _text(figure_text(value, word), y + 17, right=True)
            + f'<line class="rail" x1="{LEFT}%" x2="{RIGHT}%" y1="{middle}" y2="{middle}"/>'
            + f'<rect class="range {kind}" x="{low:.2f}%" y="{middle - 5}" width="{max(high - low, 0.3):.2f}%" height="10" rx="5"/>'
            + f'<circle class="median {kind}" cx="{mid:.2f}%" cy="{middle}" r="6"/>')


def _stack(index: int, option: Mapping[str, Any], on: str, place: Callable[[float], float]) -> str:
    y = TOP + index * ROW_HEIGHT
    memory, start, bars = option["memory"], 0.0, []
    for part in view.PARTS:
        size = memory["breakdown"][part]
        left, right = place(start), place(start + size)
        start += size
        if right > left:
            label = f"<title>{part}: {escape(bytes_text(size))}</title>"
            bars.append(f'<rect class="part-{part}" x="{left:.2f}%" y="{y + 25}" width="{right - left:.2f}%" height="{BAR_HEIGHT}">{label}</rect>')
    end = place(memory["device_total_bytes"])
    verdict = "does not fit" if option.get("fits") is False else ""
    right = " ".join(filter(None, [view.one_line(view.memory(option)), f"({verdict})" if verdict else ""]))
    return (_text(view.name(option) + on, y + 17) + _text(right, y + 17, right=True) + "".join(bars)
            + f'<line class="capacity" x1="{end:.2f}%" x2="{end:.2f}%" y1="{y + 21}" y2="{y + 25 + BAR_HEIGHT + 4}"><title>the device ends here</title></line>')


def _text(text: str, y: float, *, right: bool = False) -> str:
    """A row's name; its figure on the right is dropped by the page's style where there is no room for both."""
    place = f'class="figure" x="{RIGHT}%" text-anchor="end"' if right else f'class="name" x="{LEFT}%"'
    return f'<text {place} y="{y}">{escape(text)}</text>'


def _axis(values: Sequence[Mapping[str, float]]) -> tuple[Callable[[float], float], list[float]]:
    """Value → percent of the width, and round values to mark: linear from 0, logarithmic where magnitudes differ."""
    high = max(value["p90"] for value in values)
    low = min((value["p10"] for value in values if value["p10"] > 0), default=high)
    if high / low < LOG_FROM_RATIO:
        step = _round_step(high / 4)
        return (lambda v: LEFT + (RIGHT - LEFT) * v / high), [step * i for i in range(1, int(high / step) + 1)]
    first, last = math.log10(low) - 0.1, math.log10(high)
    every = max(1, math.ceil((last - first) / 5))
    decades = [10.0**power for power in range(math.ceil(first), math.floor(last) + 1, every)]
    return (lambda v: LEFT + (RIGHT - LEFT) * (math.log10(max(v, low)) - first) / (last - first)), decades


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= step)


def _ticks(ticks: Sequence[float], place: Callable[[float], float], rows: int, word: Callable[[float], str]) -> str:
    bottom = TOP + rows * ROW_HEIGHT
    drawn = []
    for tick in ticks:
        x = place(tick)
        anchor = "end" if x > 92 else "start" if x < 6 else "middle"
        drawn.append(f'<line class="tick" x1="{x:.2f}%" x2="{x:.2f}%" y1="{bottom}" y2="{bottom + 5}"/>'
                     f'<text class="axis" x="{x:.2f}%" y="{bottom + 19}" text-anchor="{anchor}">{escape(word(tick))}</text>')
    return "".join(drawn)


def _patterns() -> str:
    """Stripes that part neighbours of a similar lightness."""
    return ('<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<rect class="stripe-ground" width="6" height="6"/><rect class="stripe" width="2.5" height="6"/></pattern>'
            '<pattern id="dots" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="dot-ground" width="6" height="6"/>'
            '<circle class="dot" cx="3" cy="3" r="1.4"/></pattern></defs>')


def _svg(title: str, described: str, body: str, rows: int, *, axis: bool = True) -> str:
    height = TOP + rows * ROW_HEIGHT + (AXIS_HEIGHT if axis else 6)
    key = "".join(c for c in title.lower() if c.isalnum())
    return (f'<svg class="chart" role="img" aria-labelledby="{key}-title {key}-desc" width="100%" height="{height}">'
            f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(described)}</desc>{body}</svg>')
