"""The paths of the API."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import JSONResponse, Response

from planner.report.formats.registry import formats_of
from planner.serve.api.guard import REPORT_POLICY
from planner.serve.api.names import names
from planner.serve.api.responses import refused, response
from planner.serve.asked import LONGEST_TEXT, Asked
from planner.serve.work.job import Answered, Job, Kind, Refused, Reply, Unrecorded

router = APIRouter(prefix="/api")
#: A question as it came: ``asked`` reads it, and says what is wrong with it.
Fields = Annotated[dict[str, Any], Body(), WithJsonSchema(Asked.model_json_schema())]
#: Fields of which an address may hold several. A pattern of lora_targets has commas of its own, so
#: that only names of strategies are told apart by them here.
LISTS = (
    "licences",
    "lora_targets",
    "lora_exclude",
    "lora_layers",
    "lora_layers_pattern",
    "lora_modules_to_save",
    "lora_rank_pattern",
    "offload",
)


def add_paths(app: FastAPI) -> None:
    app.include_router(router)


@router.post("/estimate", summary="GPU hours, peak memory and dollars of every strategy")
async def estimate(request: Request, question: Fields, wait: bool = True) -> Response:
    """The document of ``planner estimate --json``. Where a step has to be recorded first, which
    takes seconds, ``wait=false`` answers 202 with a job."""
    return await _ask(request, "estimate", question, wait)


@router.post("/choose", summary="What to rent and which way to go under the limits")
async def choose(request: Request, question: Fields, wait: bool = True) -> Response:
    """The document of ``planner choose --json``; it looks at every GPU and takes seconds."""
    return await _ask(request, "choose", question, wait)


@router.get("/jobs/{number}", summary="How far a job is, or its answer")
async def job(request: Request, number: str) -> Response:
    """202 while it runs, with what is being done; then the answer."""
    running = request.app.state.jobs.get(number)
    if running is None:
        return refused(Refused("no such job", status=404))
    if running.reply is not None:
        return response(running.reply)
    body = {"job": number, "what": running.what, "done": running.done, "total": running.total}
    return JSONResponse(body, status_code=202)


@router.get("/names", summary="Models, GPUs, providers, strategies and formats")
async def known() -> Response:
    return JSONResponse(names(), headers={"cache-control": "max-age=300"})


@router.post(
    "/data",
    summary="Count a file of data",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"format": "binary"}}},
        }
    },
)
async def data(
    request: Request,
    name: str = Query(max_length=LONGEST_TEXT, description="The file's name, for its suffix"),
    model: str | None = Query(None, max_length=LONGEST_TEXT),
    task: str | None = Query(None, max_length=LONGEST_TEXT),
) -> Response:
    """The body is the file. Answers the fields of a question that stand for it; the file itself is
    removed."""
    suffixes = "".join(Path(name.replace("\\", "/")).suffixes[-2:])
    safe = "data" + "".join(c for c in suffixes if c.isascii() and (c.isalnum() or c == "."))
    fields = {"model": model, "task": task}
    with tempfile.TemporaryDirectory(prefix="planner-upload-") as folder:
        file = Path(folder) / safe[:40]
        with file.open("wb") as handle:
            async for piece in request.stream():
                handle.write(piece)
        told = {name: value for name, value in fields.items() if value}
        reply = await request.app.state.pool.answer(Job("count", told, upload=str(file)))
    return response(reply)


@router.get("/report{suffix}", summary="The answer as a file of any report format")
async def report(request: Request, suffix: str) -> Response:
    """The question stands in the query, a field a parameter, as in the page's own address."""
    if suffix not in formats_of("answer"):
        known_ones = ", ".join(formats_of("answer"))
        return refused(Refused(f"no format {suffix[:20]!r}", mend=f"Formats: {known_ones}"))
    fields = question_of(request.query_params.multi_items())
    # a report asks a dozen questions anew: never before what takes milliseconds
    reply = await request.app.state.pool.recorded(Job("report", fields, suffix=suffix))
    if not isinstance(reply, Answered):
        return response(reply)
    headers = {
        "content-disposition": f'attachment; filename="budget{suffix}"',
        "content-security-policy": REPORT_POLICY,
    }
    return Response(reply.body, media_type=reply.media, headers=headers)


def question_of(items: list[tuple[str, str]]) -> dict[str, Any]:
    """The fields in an address as the page reads them too: strategies by commas or repeated, other
    lists repeated, everything else as its text, of which the last counts."""
    fields: dict[str, Any] = {}
    for name, value in items:
        if name == "strategy":
            fields.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name in LISTS and value and name in fields:
            there = fields[name]
            fields[name] = [*(there if isinstance(there, list) else [there]), value]
        elif value != "":
            fields[name] = value
    return fields


async def _ask(request: Request, kind: Kind, fields: dict[str, Any], wait: bool) -> Response:
    task = Job(kind, fields)
    state = request.app.state
    # choosing looks at every device and takes seconds: never before what takes milliseconds
    reply: Reply = Unrecorded() if kind == "choose" else await state.pool.quick(task)
    if not isinstance(reply, Unrecorded):
        return response(reply)
    if wait:
        return response(await state.pool.recorded(task))
    begun = state.jobs.begin(task)
    if isinstance(begun, Refused):
        return refused(begun)
    body = {"job": begun, "what": "working", "done": 0, "total": None}
    return JSONResponse(body, status_code=202)
