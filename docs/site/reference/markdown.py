"""Words and tables as Markdown shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def plain(text: object) -> str:
    """A text that is shown as it is."""
    words = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>|#" else letter for letter in words)


def code(text: object) -> str:
    words = str(text).replace("|", "\\|")
    return f"`{words}`" if words else ""


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are Markdown already. Empty without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(headers)} |", f"|{' --- |' * len(headers)}", *lines]) + "\n"


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def rst(text: str) -> str:
    """A docstring's double backquotes as single ones."""
    return text.replace("``", "`")
