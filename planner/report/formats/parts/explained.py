"""``planner explain`` as files: a page with charts, Markdown, JSON, a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from planner.explain.gains import gained
from planner.explain.rows import Leaf, memory_leaves, time_leaves
from planner.ledger.export import harmless
from planner.report.formats.json_text import as_json
from planner.report.formats.parts.markdown import markdown_of
from planner.report.views.explaining.page import parts
from planner.report.words import clean

Document = Mapping[str, Any]
TITLE = "Where time and memory of a training step go"
COLUMNS: tuple[str, ...] = (
    "table",
    "name",
    "path",
    "count",
    "seconds",
    "bytes",
    "share",
    "saved_usd",
    "saved_hours",
    "saved_bytes",
    "usd",
    "wall_hours",
    "device_used_bytes",
    "fits",
    "effect",
    "flags",
)


def render(document: Document, suffix: str) -> str:
    """The file of a suffix. Raises MissingExtraError for a page without the libraries of its
    charts."""
    return _FORMATS[suffix](document)


def _markdown(document: Document) -> str:
    return markdown_of(TITLE, parts(document))


def _json(document: Document) -> str:
    return as_json(document) + "\n"


def _csv(document: Document) -> str:
    """A row a module and a row a change; no cell is a formula."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    rows = [_module("time", "seconds", leaf) for leaf in time_leaves(document)[1:]]
    rows += [_module("memory", "bytes", leaf) for leaf in memory_leaves(document)[1:]]
    rows += [_change(change) for change in document["changes"]]
    for row in rows:
        writer.writerow({name: harmless(_plain(value)) for name, value in row.items()})
    return stream.getvalue()


def _plain(value: Any) -> Any:
    """A text without what drives a terminal."""
    return clean(value) if isinstance(value, str) else value


def _module(table: str, unit: str, leaf: Leaf) -> dict[str, Any]:
    return {
        "table": table,
        "name": leaf.name,
        "path": leaf.path,
        "count": leaf.count,
        unit: leaf.total,
        "share": leaf.share,
    }


def _change(change: Document) -> dict[str, Any]:
    less, after = gained(change)
    return {
        "table": "change",
        "name": change["text"],
        "saved_usd": less["usd"],
        "saved_hours": less["hours"],
        "saved_bytes": less["bytes"],
        "usd": after["usd"],
        "wall_hours": after["wall_hours"],
        "device_used_bytes": after["device_used_bytes"],
        "fits": after["fits"],
        "effect": change["effect"],
        "flags": change["flags"],
    }


# ---- the page


def _html(document: Document) -> str:
    """One file that opens offline; every string is escaped by the template engine or is data of a
    chart."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from planner.report.charts import draw, explained
    from planner.report.charts.theme import config
    from planner.report.look import DARK, FONTS, LIGHT, THEMES

    environment = Environment(
        loader=PackageLoader("planner.report.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = {
        "time": explained.time_map(document),
        "memory": explained.memory_map(document),
        "timeline": explained.timeline(document),
    }
    return environment.get_template("explained.html").render(
        title=TITLE,
        model=clean(document["option"]["model"]),
        document=document,
        parts=parts(document),
        light=LIGHT,
        dark=DARK,
        fonts=", ".join(f'"{font}"' if " " in font else font for font in FONTS),
        library=draw.javascript(),
        charts=_in_script(charts),
        themes=_in_script({name: config(theme) for name, theme in THEMES.items()}),
    )


def _in_script(value: Any) -> str:
    """JSON that stands in a script: no string of it ends the script."""
    made = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return made.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_FORMATS: dict[str, Callable[[Document], str]] = {
    ".html": _html,
    ".md": _markdown,
    ".json": _json,
    ".csv": _csv,
}
