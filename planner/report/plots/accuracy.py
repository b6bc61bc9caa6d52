"""Estimate over measurement, each run with the bar of its 80 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.errors import QuestionError
from planner.report.plots.style import COLOURS, INK, MARKS, PALE, check, write
from planner.units import GIB
from planner.validate.summaries import Comparison, summarise

#: Panels: what is drawn together, its title, its unit and how much of the program's unit one of it
#: is.
PANELS = (
    (("time",), "Step time", "s", 1.0),
    (("allocated", "reserved", "device"), "Peak memory", "GiB", float(GIB)),
    (("hours",), "Hours of the run", "h", 1.0),
    (("usd",), "Cost", "USD", 1.0),
)
NEAR = 1.25  # the band around equality: a quarter too much or too little
MOST_SERIES = len(COLOURS) - 1
#: Bars of so many runs would be a carpet: they become paler.
MANY = 150
MANY_DECADES = 1e4


def draw(comparisons: Sequence[Comparison], path: Path, title: str) -> None:
    """Write the picture. Raises QuestionError for a format that is none, a folder that is not there
    or nothing to draw, MissingExtraError without matplotlib, MachineError where the file cannot be
    written."""
    check(path)
    panels = [
        (panel, found)
        for panel in PANELS
        if (
            found := [
                c for c in comparisons if c.quantity in panel[0] and c.p10 > 0 and c.measured > 0
            ]
        )
    ]
    if not panels:
        raise QuestionError("nothing was compared, so there is nothing to draw", where=str(path))
    write(lambda: _picture(panels, title), path)


def _picture(panels, title: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 6.2 * len(panels), 7.2), layout="constrained")
    figure.suptitle(title.replace("$", r"\$"), fontsize=12, fontweight="bold", x=0.01, ha="left")
    for axes, ((quantities, name, unit, scale), found) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels
    ):
        _panel(axes, found, name, unit, scale, quantities)
    return figure


def _panel(
    axes, found: Sequence[Comparison], name: str, unit: str, scale: float, quantities: Sequence[str]
) -> None:
    """Equal decades on both axes, the line of equality and the band around it under the runs."""
    ends = [value / scale for c in found for value in (c.measured, c.p10, c.p90)]
    low, high = min(ends) / 1.3, max(ends) * 1.3
    axes.plot((low, high), (low, high), color=INK, linewidth=1.0, zorder=1)
    axes.fill_between(
        (low, high),
        (low / NEAR, high / NEAR),
        (low * NEAR, high * NEAR),
        color=PALE,
        alpha=0.18,
        linewidth=0,
        zorder=0,
    )
    for index, (label, members) in enumerate(_series(found, split=len(quantities) > 1).items()):
        _points(axes, members, label, index, scale, pale=len(found) > MANY)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
        xlabel=f"measured, {unit}",
        ylabel=f"estimate with its 80 % interval, {unit}",
    )
    for axis in (axes.xaxis, axes.yaxis):
        _numbers(axis, high / low)
    whole = summarise(found)
    if whole is not None:
        axes.set_title(
            f"{name}: {whole.count} figures, median error {100 * whole.median:.1f} %, p90 "
            f"{100 * whole.p90:.0f} %, bias {round(whole.bias_percent) + 0:+d} %, "
            f"intervals cover {100 * whole.coverage:.0f} %",
            loc="left",
            fontsize=9,
        )
    axes.legend(
        loc="upper left",
        title=f"line: equal; band: within {100 * (NEAR - 1):.0f} %; hollow: outside its interval",
        title_fontsize=8,
        alignment="left",
        handletextpad=0.2,
        labelspacing=0.35,
    )


def _numbers(axis, span: float) -> None:
    """1, 2, 5 in every decade, or decades alone where there are many; figures as people write
    them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(
        LogLocator(base=10, subs=(1.0, 2.0, 5.0) if span < MANY_DECADES else (1.0,), numticks=40)
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


def _points(
    axes, members: Sequence[Comparison], label: str, index: int, scale: float, pale: bool
) -> None:
    """A series: hollow where the interval missed the measurement."""
    colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
    for covered in (True, False):
        some = [c for c in members if c.covered is covered]
        if not some:
            continue
        middle = [c.p50 / scale for c in some]
        bars = ([(c.p50 - c.p10) / scale for c in some], [(c.p90 - c.p50) / scale for c in some])
        entry = (
            f"{label} ({len(members)})" if covered or not any(c.covered for c in members) else None
        )
        axes.errorbar(
            [c.measured / scale for c in some],
            middle,
            yerr=bars,
            fmt=mark,
            color=colour,
            markersize=3.5 if pale else 4.5,
            markeredgewidth=0.9,
            zorder=3,
            markerfacecolor=(colour, 0.75) if covered else "white",
            elinewidth=0.8,
            ecolor=(colour, 0.15 if pale else 0.45),
            label=entry,
        )


def _series(found: Sequence[Comparison], split: bool) -> dict[str, list[Comparison]]:
    """By what tells runs apart most: the kind of memory, else basis, else strategy, else device;
    rare ones together."""
    order = ("quantity", "basis", "strategy", "gpu") if split else ("basis", "strategy", "gpu")
    key = next((key for key in order if len({getattr(c, key) for c in found}) > 1), "basis")
    groups: dict[str, list[Comparison]] = {}
    for c in found:
        groups.setdefault(str(getattr(c, key)).replace("_", " "), []).append(c)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    rest = [c for _, members in ordered[MOST_SERIES:] for c in members]
    return dict(ordered[:MOST_SERIES]) | ({"others": rest} if rest else {})
