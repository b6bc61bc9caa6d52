"""How every picture looks, and how it is written: whole or not at all.

Colours are Okabe and Ito's (2008), apart for every kind of colour vision, and each series has its
own mark, so that the pictures also serve in grey.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planner.errors import MachineError, MissingExtraError, QuestionError
from planner.report.formats.registry import format_for, formats_of

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
INK, PALE = "#222222", "#9a9a9a"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "figure.facecolor": "white",
    "svg.hashsalt": "planner",
    "font.family": "sans-serif",
}


def check(path: Path) -> None:
    """Raises QuestionError for a format that is none or a folder that is not there."""
    if format_for(path, "picture") is None:
        raise QuestionError(
            f"no picture format {path.suffix!r}",
            where=str(path),
            mend=f"Use {' or '.join(formats_of('picture'))}",
        )
    if not path.parent.is_dir():
        raise QuestionError(
            "no such folder", where=str(path.parent), mend="Create it or choose another"
        )


def write(picture: Callable[[], Any], path: Path) -> None:
    """Draw a figure in this style and write it, by the suffix. Raises MissingExtraError without
    matplotlib, MachineError where the file cannot be written."""
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError("matplotlib", "plots", "a plot") from None
    suffix = path.suffix.lower()
    with matplotlib.rc_context(STYLE):
        _replace(path, formats_of("picture")[suffix].render(picture()))


def _replace(path: Path, data: str | bytes) -> None:
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=path.suffix.lower(), dir=path.parent
        )
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise MachineError(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error
