"""How the workbook looks: colours, number formats with the unit left to the header, cell styles."""

from __future__ import annotations

from typing import Any, Literal

from planner.report.look import LIGHT

#: What a cell holds, which settles its number format and its side.
Kind = Literal["text", "usd", "hours", "gib", "count", "amount", "share", "kwh", "factor", "none"]

INK, PALE, ACCENT, RULE = LIGHT.ink, LIGHT.soft, LIGHT.accent, LIGHT.rule
HEADER, CHOSEN, WARNING = LIGHT.card, LIGHT.tint, LIGHT.bad
LESS, MORE = LIGHT.series[1], LIGHT.series[3]
#: Inputs are blue on yellow, as spreadsheets of finance have them.
INPUT_INK, INPUT_FILL = "#0000C0", "#FFF4C2"
#: On every machine that opens a workbook.
FONT = "Calibri"

#: Small sums keep their digits, large ones lose their cents.
NUMBERS: dict[Kind, str] = {
    "usd": "[=0]$0;[<0.1]$0.0000##;$#,##0.00",
    "hours": "[=0]0;[<1]0.0000;#,##0.00",
    "gib": "#,##0.00",
    "count": "#,##0",
    "amount": "#,##0.####",
    "share": "0.0%",
    "kwh": "#,##0.000",
    "factor": "0.000",
}


class Styles:
    """xlsxwriter's formats by what they say; each is made once."""

    def __init__(self, book: Any):
        self._book = book
        self._made: dict[tuple[Any, ...], Any] = {}

    def of(self, kind: Kind = "text", **more: Any) -> Any:
        """The style of a cell of this kind, with xlsxwriter's own properties in ``more``."""
        key = (kind, *sorted(more.items()))
        if key not in self._made:
            look = {"font_name": FONT, "font_size": 10, "font_color": INK, "valign": "top"}
            if kind == "text":
                look |= {"text_wrap": True, "align": "left", "indent": 1}
            elif kind in NUMBERS:
                look |= {"num_format": NUMBERS[kind], "align": "right"}
            self._made[key] = self._book.add_format(look | more)
        return self._made[key]

    def cell(self, kind: Kind, *, chosen: bool = False, total: bool = False) -> Any:
        """In a table. ``chosen``: of the recommended row; ``total``: of its sum."""
        more: dict[str, Any] = {"bottom": 1, "bottom_color": RULE}
        if chosen:
            more["bg_color"] = CHOSEN
        if total:
            more |= {"bold": True, "top": 1, "top_color": INK}
        return self.of(kind, **more)

    def input(self, kind: Kind) -> Any:
        return self.of(
            kind,
            bg_color=INPUT_FILL,
            font_color=INPUT_INK,
            border=1,
            border_color=RULE,
            locked=False,
        )

    def header(self, kind: Kind) -> Any:
        return self.of(
            "none",
            bold=True,
            bg_color=HEADER,
            bottom=1,
            bottom_color=INK,
            text_wrap=True,
            valign="bottom",
            **({"align": "left", "indent": 1} if kind == "text" else {"align": "right"}),
        )
