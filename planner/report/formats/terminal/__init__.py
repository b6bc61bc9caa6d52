"""Documents on a terminal: first screens, details, lists and data; plain when piped."""

from planner.report.formats.terminal.answers import show, show_choice, show_first_lines, show_models
from planner.report.formats.terminal.data import show_data
from planner.report.formats.terminal.pieces import show_sections, show_table

__all__ = [
    "show",
    "show_choice",
    "show_data",
    "show_first_lines",
    "show_models",
    "show_sections",
    "show_table",
]
