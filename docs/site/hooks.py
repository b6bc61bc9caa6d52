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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from blocks import Page  # noqa: E402
from reference import pages  # noqa: E402


def on_config(config: Any) -> Any:
    """The navigation with the pages of folders that grow, and those that it does not name."""
    docs = Path(config.docs_dir)
    listed = set(_pages(config.nav))
    there = sorted(
        page.relative_to(docs) for page in docs.rglob("*.md") if HERE not in page.parents
    )
    left = [page.as_posix() for page in there if page.as_posix() not in listed]
    for title, folder in (("In other tools", "integrations/"), ("Decisions", "decisions/")):
        found = [page for page in left if page.startswith(folder)]
        left = [page for page in left if page not in found]
        config.nav += [{title: found}] if found else []
    config.nav += [{"More": left}] if left else []
    return config


def _pages(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    for inner in (
        part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    ):
        yield from _pages(inner)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of the reference, and the look."""
    from mkdocs.structure.files import File

    look = (HERE / "look.css").read_text(encoding="utf-8")
    files.append(File.generated(config, "assets/look.css", content=look))
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
