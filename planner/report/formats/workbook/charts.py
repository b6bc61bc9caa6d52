"""Native charts of the workbook, which follow its cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.formats.workbook.sheet import Sheet, Table
from planner.report.formats.workbook.style import ACCENT, FONT, INK, LESS, MORE, PALE, RULE

#: The row of the summary's tables, beside which its chart stands.
BESIDE = 7
#: The first row on top, the other axis below.
DOWNWARDS = {"reverse": True, "crossing": "max"}
SIZE = {"width": 640, "height": 300}


def costs_of_strategies(book: Any, listed: Sheet, table: Table, shown: Sheet) -> None:
    """A bar a strategy: its median, on the sheet ``shown``."""
    chart = book.add_chart({"type": "bar"})
    chart.add_series(_bar(listed, table, "Strategy", "Cost (USD)", ACCENT, "Cost (USD)"))
    _dress(chart, "Cost of each strategy", "USD")
    chart.set_legend({"none": True})
    shown.page.insert_chart(
        BESIDE, shown.last_column, chart, {"description": "Cost of each strategy, USD"}
    )


def offers(book: Any, sheet: Sheet, table: Table) -> None:
    """Hours against dollars, a point an offer."""
    chart = book.add_chart({"type": "scatter"})
    chart.add_series(
        {
            "name": "Offers",
            "categories": table.span(sheet, "Wall-clock (h)"),
            "values": table.span(sheet, "Cost (USD)"),
            "marker": {
                "type": "circle",
                "size": 7,
                "fill": {"color": ACCENT},
                "border": {"color": "white"},
            },
        }
    )
    _dress(chart, "Hours against dollars", "USD")
    chart.set_x_axis(_axis("Wall-clock hours"))
    chart.set_y_axis(_axis("USD"))
    chart.set_legend({"none": True})
    sheet.page.insert_chart(
        sheet.row + 1, 0, chart, {"description": "Wall-clock hours against USD, a point an offer"}
    )


def tornado(book: Any, sheet: Sheet, table: Table, usd: float) -> None:
    """Bars from the plan's sum to the sum at the low and the high value."""
    chart = book.add_chart({"type": "bar"})
    for title, colour, name in (
        ("Cost at low (USD)", LESS, "at the low value"),
        ("Cost at high (USD)", MORE, "at the high value"),
    ):
        chart.add_series(_bar(sheet, table, "What changes", title, colour, name))
    _dress(chart, "What moves the sum", "USD")
    chart.set_y_axis(_axis(None) | {"label_position": "low"} | DOWNWARDS)
    chart.set_x_axis(_axis("USD") | {"crossing": usd})
    chart.set_legend({"position": "bottom", "font": _font(PALE, 9)})
    _insert(chart, sheet, "USD of the run when one assumption changes", 0)


def chances(book: Any, sheet: Sheet, table: Table) -> None:
    """The chance that the bill is above a sum."""
    chart = book.add_chart({"type": "scatter", "subtype": "smooth"})
    chart.add_series(
        {
            "name": "Chance",
            "categories": table.span(sheet, "Bill above (USD)"),
            "values": table.span(sheet, "Chance"),
            "line": {"color": ACCENT, "width": 2},
        }
    )
    _dress(chart, "The chance that the bill is higher", "Chance")
    chart.set_x_axis(_axis("USD"))
    chart.set_y_axis(_axis("Chance") | {"min": 0, "max": 1, "num_format": "0%"})
    chart.set_legend({"none": True})
    _insert(chart, sheet, "The chance that the bill is above a sum", 5)


def phases(book: Any, sheet: Sheet, table: Table) -> None:
    """Hours of the run by phase."""
    chart = book.add_chart({"type": "bar"})
    chart.add_series(_bar(sheet, table, "Phase", "Now (h)", ACCENT, "Hours"))
    _dress(chart, "Where the hours go", "h")
    chart.set_legend({"none": True})
    _insert(chart, sheet, "Hours of each phase of the run", 0)


def _insert(chart: Any, sheet: Sheet, description: str, column: int) -> None:
    sheet.page.insert_chart(sheet.row + 1, column, chart, {"description": description})


def _bar(
    sheet: Sheet, table: Table, names: str, values: str, colour: str, name: str
) -> dict[str, Any]:
    return {
        "name": name,
        "categories": table.span(sheet, names),
        "values": table.span(sheet, values),
        "fill": {"color": colour},
        "gap": 60,
        "overlap": 100,
    }


def _dress(chart: Any, title: str, unit: str) -> None:
    chart.set_title({"name": title, "name_font": _font(INK, 12, bold=True), "overlay": False})
    chart.set_size(SIZE)
    chart.set_chartarea({"border": {"none": True}})
    # of bars, x lies across
    chart.set_y_axis(_axis(None) | DOWNWARDS)
    chart.set_x_axis(_axis(unit))


def _axis(title: str | None) -> dict[str, Any]:
    named = {} if title is None else {"name": title, "name_font": _font(PALE, 9)}
    return named | {
        "num_font": _font(INK, 9),
        "line": {"color": RULE},
        "major_gridlines": {"visible": title is not None, "line": {"color": RULE, "width": 0.5}},
    }


def _font(colour: str, size: int, **more: Any) -> Mapping[str, Any]:
    return {"name": FONT, "color": colour, "size": size, "bold": False} | more
