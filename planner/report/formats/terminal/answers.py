"""The documents of ``estimate`` and ``choose`` on a terminal: the first screen, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from planner.report.formats.terminal.console import console_of
from planner.report.formats.terminal.details import details
from planner.report.formats.terminal.pieces import first_lines, show_sections
from planner.report.formats.terminal.screen import show_screen
from planner.report.views import choose as choose_view
from planner.report.views import for_data as models_view
from planner.report.views.summary import choose as choose_summary
from planner.report.views.summary import estimate as estimate_summary
from planner.report.views.summary import for_data as models_summary


def show(
    answer: Mapping[str, Any], stream: TextIO, *, brief: bool = False, whole: bool = False
) -> None:
    """Print an answer: its first screen. ``brief``: only the table, the recommendation, broken
    limits and what was not understood; ``whole``: all of it."""
    console = console_of(stream)
    if whole:
        details(console, answer)
    else:
        show_screen(console, estimate_summary.screen(answer, brief=brief))


def show_choice(
    document: Mapping[str, Any], stream: TextIO, *, brief: bool = False, whole: bool = False
) -> None:
    """As ``show``, of a document of ``planner choose``."""
    if whole:
        show_first_lines(document, stream)
        show_sections(choose_view.sections(document), stream)
    else:
        show_screen(console_of(stream), choose_summary.screen(document, brief=brief))


def show_models(
    document: Mapping[str, Any], stream: TextIO, *, brief: bool = False, whole: bool = False
) -> None:
    """As ``show``, of the models that people take for data."""
    if whole:
        show_first_lines(document, stream)
        show_sections(models_view.sections(document), stream)
    else:
        show_screen(console_of(stream), models_summary.screen(document, brief=brief))


def show_first_lines(document: Mapping[str, Any], stream: TextIO) -> None:
    """How the question was understood, above all that a document shows."""
    first_lines(console_of(stream), document)
