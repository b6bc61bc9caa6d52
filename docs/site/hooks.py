"""What MkDocs does at a build: pages of the reference are made from the code, and blocks marked
``run`` are run and shown with what they print.

A block of a page that begins with ```` ```console run ```` holds commands (``$ planner …``), one
that begins with ```` ```python run ```` a program. ``lines=N`` shows the first N lines of what is
printed, ``exit=N`` is the code that the last command ends with. Each page has an empty folder of
its own, with the shipped ``profiles`` in it. PLANNER_DOCS_RUN=never shows the blocks alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from blocks import Page  # noqa: E402
from reference import pages  # noqa: E402


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of the reference."""
    from mkdocs.structure.files import File

    for name, text in pages.all_pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page with what its blocks print. Raises PluginError where a command ends otherwise than
    the page says."""
    from mkdocs.exceptions import PluginError

    runs = os.environ.get("PLANNER_DOCS_RUN") != "never"
    try:
        return Page(markdown, page.file.src_uri).shown(run=runs)
    except ValueError as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error
