"""The budget report as one self-contained HTML page: styles, charts and the library that draws them
inside, nothing fetched.

A policy in the page lets only these scripts and styles run, by their hashes. Strings of the
document are text (escaped by the template engine) or JSON data, never code. Without scripts, and on
paper, each chart is a still picture.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.report.charts import draw
from planner.report.charts.marks import Spec
from planner.report.charts.registry import drawn
from planner.report.charts.theme import config
from planner.report.formats.registry import Format
from planner.report.formats.stylesheet import tokens
from planner.report.look import THEMES
from planner.report.views.budget.part import Section
from planner.report.views.budget.sections import sections, title


@dataclass(frozen=True)
class Drawn:
    """A chart as the page shows it; ``alt``: what it shows, in words."""

    key: str
    title: str
    caption: str
    alt: str


def html(document: Mapping[str, Any]) -> str:
    """The page of a document with its budget, or of an answer alone. Raises MissingExtraError
    without vl-convert."""
    shown = sections(document)
    charts, specs = _charts(document, shown)
    template = _environment().get_template("report.html")
    style = tokens() + _source("report.css")
    scripts = [_library(), _source("report.js")]
    return template.render(
        title=title(document),
        sections=shown,
        charts=charts,
        images={key: _image(spec) for key, spec in specs.items()},
        policy=_policy(style, scripts),
        style=style,
        data=_json({"specs": specs, "themes": {n: config(t) for n, t in THEMES.items()}}),
        library=scripts[0],
        script=scripts[1],
    )


def _charts(
    document: Mapping[str, Any], shown: tuple[Section, ...]
) -> tuple[dict[str, list[Drawn]], dict[str, Spec]]:
    """Charts by the key of their section, and their specifications by their own."""
    placed: dict[str, list[Drawn]] = {}
    specs: dict[str, Spec] = {}
    for section in shown:
        pairs = drawn(document, section.charts)
        specs |= {chart.key: spec for chart, spec in pairs}
        placed[section.key] = [
            Drawn(chart.key, chart.title, chart.caption, chart.alt(document)) for chart, _ in pairs
        ]
    return placed, specs


def _image(spec: Spec) -> str:
    """A still picture as a data URI, in which nothing runs."""
    picture = base64.b64encode(draw.svg(spec).encode("utf-8")).decode("ascii")
    return f"data:image/svg+xml;base64,{picture}"


def _json(value: Any) -> str:
    """JSON that cannot end the element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, scripts: list[str]) -> str:
    """Content-Security-Policy: these scripts, this style, pictures inside the page, no request."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


@cache
def _library() -> str:
    """The script of the charts; nothing in it ends its element."""
    return draw.javascript().replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("planner.report.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


FORMATS = (Format("answer", ".html", html, order=20),)
