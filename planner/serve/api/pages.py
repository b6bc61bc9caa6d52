"""The page and its files, from the package alone; the API's reference, without a foreign script."""

from __future__ import annotations

from functools import cache
from importlib import resources

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response

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
    return {
        each.name: each.read_bytes()
        for each in folder.iterdir()
        if each.is_file() and _suffix(each.name) in TYPES
    }


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
