"""The FastAPI application of ``planner serve``. Every answer is made by a worker; this process
passes bytes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from planner.question.fields import COMPLAINTS
from planner.serve.api.guard import Guard
from planner.serve.api.jobs import Jobs
from planner.serve.api.pages import add_pages
from planner.serve.api.paths import add_paths
from planner.serve.api.responses import refused
from planner.serve.settings import Settings
from planner.serve.work.job import Job, Refused
from planner.serve.work.pool import Pool
from planner.version import __version__

#: Asked of every worker as it starts, so that nobody waits for the first import.
FIRST = {
    "model": "gpt2",
    "samples": 1000,
    "tokens_per_sample": 200,
    "gpu": "t4",
    "strategy": ["lora"],
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, which starts its workers with its lifespan."""
    settings = settings or Settings()
    pool = Pool(
        settings.workers,
        online=settings.online,
        seconds=settings.seconds,
        recording_seconds=settings.recording_seconds,
        most_waiting=settings.most_waiting,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await pool.start(Job("estimate", FIRST))
        yield
        pool.end()

    app = FastAPI(
        title="planner",
        version=__version__,
        summary="What will this training cost, and which way should I do it?",
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.settings, app.state.pool = settings, pool
    app.state.jobs = Jobs(pool, settings.most_jobs)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _no_such)
    app.add_exception_handler(Exception, _failed)
    add_paths(app)
    add_pages(app)
    app.add_middleware(Guard, settings=settings)
    return app


async def _not_valid(request: Request, error: Exception) -> Response:
    """The first of pydantic's complaints in a line."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return refused(Refused("the body is no JSON", status=400))
    place = [str(part) for part in first["loc"] if part not in ("body", "query")]
    told = COMPLAINTS.get(first["type"])
    what = told.format(**first.get("ctx", {})) if told else str(first["msg"])[:200]
    name = place[0] if place else "the body"
    return refused(Refused(what, where=name, fields=tuple(place[:1])))


async def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(Refused(str(error.detail), status=error.status_code))


async def _failed(request: Request, error: Exception) -> Response:
    """The traceback is in the server's log alone."""
    return refused(Refused("the server failed at this request", status=500))
