"""The page and its files, from the package alone; the API's reference, without a foreign script."""

from __future__ import annotations

from functools import cache
from importlib import resources

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response

from planner.report.look import DARK, FONTS, LIGHT, MONO, Theme

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def files() -> dict[str, bytes]:
    """Name → bytes of everything that the page is made of: a name that is not among them is not
    read."""
    folder = resources.files("planner.serve.page")
    return {"look.css": look().encode()} | {
        each.name: each.read_bytes()
        for each in folder.iterdir()
        if each.is_file() and _suffix(each.name) in TYPES
    }


def look() -> str:
    """The colours and fonts of every report as CSS: dark where the reader's device is, or where the
    page's button says so."""
    dark, fonts, mono = _colours(DARK), _listed(FONTS), _listed(MONO)
    return (
        f":root {{ --fonts: {fonts}; --mono: {mono}; color-scheme: light dark; }}\n"
        f":root {{ {_colours(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ {dark} }} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n"
        ":root[data-theme=light] { color-scheme: light; }\n"
    )


def _colours(theme: Theme) -> str:
    names = ("paper", "card", "ink", "soft", "rule", "hair", "accent", "tint", "good", "warn")
    plain = {name: getattr(theme, name) for name in (*names, "bad", "quiet")}
    plain |= {f"series-{place}": colour for place, colour in enumerate(theme.series)}
    return " ".join(f"--{name}: {colour};" for name, colour in plain.items())


def _listed(fonts: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' if " " in name else name for name in fonts)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]


def _file(name: str) -> Response:
    if name not in files():
        raise HTTPException(404, "there is no such page here")
    return Response(
        files()[name], media_type=TYPES[_suffix(name)], headers={"cache-control": "no-cache"}
    )


def add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _file("index.html")

    @app.get("/api", include_in_schema=False)
    async def reference() -> Response:
        return _file("reference.html")

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return _file(name)
