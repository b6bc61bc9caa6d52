"""All of an answer on a terminal: its tables, figures, assumptions and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from planner.choose.runner_up import runner_up
from planner.report.formats.terminal.pieces import (
    bullets,
    draw_table,
    first_lines,
    heading,
    pairs,
    paragraph,
    print_line,
)
from planner.report.views import answer as answer_view
from planner.report.views import option as option_view
from planner.report.views.table import Table

#: Columns of the table of options, in the order in which they are left out.
DROPPED = ("Trains", "Speed", "GPU")
#: Columns at the right of that table that hold figures.
FIGURES = 5


def details(console: Console, answer: Mapping[str, Any]) -> None:
    first_lines(console, answer)
    _comparison(console, answer)
    _recommendation(console, answer)
    _fixes(console, answer)
    bullets(console, "Break-even", answer_view.break_even(answer))
    served = [(option_view.name(x), option_view.serving(x)) for x in answer["options"]]
    pairs(console, "Serving", [(title, text) for title, text in served if text])
    pairs(console, "Understood", answer_view.understood(answer))
    pairs(console, "Training choices", answer_view.choices(answer))
    pairs(console, "Where the figures stand", answer_view.standing(answer))
    bullets(console, "Assumptions", answer_view.lines(answer, "assumptions"))
    bullets(console, "Warnings", answer_view.lines(answer, "warnings"), style="yellow")


def _comparison(console: Console, answer: Mapping[str, Any]) -> None:
    table = answer_view.comparison(answer)
    if not table.rows:
        return
    if answer_view.only_device(answer):
        print_line(console, Text(f"On {answer_view.only_device(answer)}", style="bold"))
    faint = [n for n, option in enumerate(answer["options"]) if option.get("fits") is False]
    figures = range(len(table.headers) - FIGURES, len(table.headers))
    draw_table(console, table, right=figures, drop=DROPPED, faint=faint)
    paragraph(console, "Ranges hold with 80 % probability (p10–p90).", "dim")


def _recommendation(console: Console, answer: Mapping[str, Any]) -> None:
    title, why = answer_view.recommendation(answer)
    console.print()
    console.print(Text.assemble(("Recommended: ", "bold"), (title, "bold green"), f". {why}"))
    second = runner_up(answer)
    if second is not None:
        title = option_view.name(answer["options"][second.option])
        source = f" ({second.source})" if second.source else ""
        paragraph(console, f"{title}: {second.reason}{source}", lead="Runner-up: ")
    for line in answer_view.limits(answer):
        paragraph(console, line, "bold red", lead="Limit: ")


def _fixes(console: Console, answer: Mapping[str, Any]) -> None:
    for option in answer["options"]:
        found = option_view.fixes(option)
        if not found:
            continue
        where = f"{option_view.name(option)} on {option_view.device(option)} does not fit"
        needless = f"{option_view.name(option)}: to use less memory"
        heading(console, where if option.get("fits") is False else needless)
        if option_view.peak(option):
            paragraph(console, f"Peak {option_view.peak(option)}")
        draw_table(console, Table(("Change", "Memory", ""), tuple(found)), right=())
