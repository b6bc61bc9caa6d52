"""The tools, by the official SDK of the Model Context Protocol, over standard input and output."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from planner.serve.asked import open_fields
from planner.serve.tools import brief
from planner.serve.work.answering import Answerer
from planner.serve.work.job import Answered, Job, Kind, Refused
from planner.version import __version__

INSTRUCTIONS = (
    "What a training costs before it starts: GPU hours, peak memory and dollars of every strategy "
    "(LoRA, full fine-tuning, ...). Give a model's name or size and counts of the data; files are "
    "not read. usd and hours have a range: p10, p50, p90. Fields of a question beyond those of a "
    f"tool go into `more`: {', '.join(open_fields())}."
)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
#: Names that a listing answers at once.
MOST_NAMES = 60

Model = Annotated[str, Field(description="Catalogue name, hub id, or a size such as 7B")]
Samples = Annotated[int | None, Field(description="Samples of the data")]
Tokens = Annotated[float | None, Field(description="Mean tokens a sample, for text")]
Gpu = Annotated[str | None, Field(description="Such as h100, a100-80gb; none: the cheapest")]
Strategies = Annotated[list[str] | None, Field(description="Such as lora, fine_tune; none: all")]
Limit = Annotated[float | None, Field(description="Budget in USD, or hours allowed")]
More = Annotated[dict[str, Any] | None, Field(description="Further fields of the question")]
Json = dict[str, Any]


class Asking:
    """One question at a time: what is kept of the last ones belongs to one thread."""

    def __init__(self, online: bool) -> None:
        self.answerer, self.lock = Answerer(record=True, online=online), anyio.Lock()

    async def document(self, kind: Kind, fields: Json) -> Json:
        """Raises ToolError with one line that says how to mend the question."""
        async with self.lock:
            reply = await anyio.to_thread.run_sync(self.answerer.answer, Job(kind, fields))
        if isinstance(reply, Refused):
            where = f"{reply.where}: " if reply.where else ""
            raise ToolError(" ".join(filter(None, [f"{where}{reply.what}.", reply.mend])))
        assert isinstance(reply, Answered)
        return json.loads(reply.body)


def _fields(more: Json | None, **given: Any) -> Json:
    return {**(more or {}), **{name: value for name, value in given.items() if value is not None}}


def create_server(*, online: bool = False) -> MCPServer:
    """The server with its tools. ``online``: whether hub ids that no catalogue holds may be asked
    for over the network."""
    server = MCPServer("planner", instructions=INSTRUCTIONS, version=__version__, log_level="ERROR")
    _add_questions(server, Asking(online))
    _add_names(server)
    return server


def _add_questions(server: MCPServer, asking: Asking) -> None:
    @server.tool(annotations=READS)
    async def estimate(
        model: Model,
        samples: Samples = None,
        tokens_per_sample: Tokens = None,
        gpu: Gpu = None,
        strategy: Strategies = None,
        max_usd: Limit = None,
        max_hours: Limit = None,
        more: More = None,
    ) -> Json:
        """GPU hours, peak memory and dollars of every strategy, and which one to take."""
        fields = _fields(
            more,
            model=model,
            samples=samples,
            tokens_per_sample=tokens_per_sample,
            gpu=gpu,
            strategy=strategy,
            max_usd=max_usd,
            max_hours=max_hours,
        )
        return brief.estimate(await asking.document("estimate", fields))

    @server.tool(annotations=READS)
    async def choose(
        model: Model,
        samples: Samples = None,
        tokens_per_sample: Tokens = None,
        strategy: Strategies = None,
        max_usd: Limit = None,
        max_hours: Limit = None,
        more: More = None,
    ) -> Json:
        """What to rent: the cheapest GPU, count and provider of each strategy that keeps the
        limits. It looks at every GPU, which takes some seconds."""
        fields = _fields(
            more,
            model=model,
            samples=samples,
            tokens_per_sample=tokens_per_sample,
            strategy=strategy,
            max_usd=max_usd,
            max_hours=max_hours,
        )
        return brief.choose(await asking.document("choose", fields))

    @server.tool(annotations=READS)
    async def where_it_goes(
        model: Model,
        samples: Samples = None,
        tokens_per_sample: Tokens = None,
        gpu: Gpu = None,
        strategy: Annotated[str | None, Field(description="One strategy; none: the best")] = None,
        more: More = None,
    ) -> Json:
        """Where memory and time of one strategy go: by part, by kind of operation and by phase, and
        what would make it fit."""
        fields = _fields(
            more,
            model=model,
            samples=samples,
            tokens_per_sample=tokens_per_sample,
            gpu=gpu,
            strategy=None if strategy is None else [strategy],
        )
        return brief.breakdown(await asking.document("estimate", fields), strategy)


def _add_names(server: MCPServer) -> None:
    @server.tool(annotations=READS)
    def list_models(
        like: Annotated[str, Field(description="Only names that contain this")] = "",
    ) -> Json:
        """Models that are answered without a download; other hub ids and sizes can be asked for
        too."""
        from planner.models import catalogue

        found = [name for name in catalogue.names() if like.lower() in name.lower()]
        return {"models": found[:MOST_NAMES], "more": max(0, len(found) - MOST_NAMES)}

    @server.tool(annotations=READS)
    def list_gpus(
        like: Annotated[str, Field(description="Only names that contain this")] = "",
    ) -> Json:
        """Known GPUs with memory in bytes and the span of their prices, USD a GPU-hour."""
        from planner.errors import PlannerError
        from planner.report.views.catalogue import gpus

        try:
            found = gpus(like or None)
        except PlannerError as error:
            raise ToolError(str(error)) from None
        prices = ("lowest_usd_per_gpu_hour", "highest_usd_per_gpu_hour")
        shown = ("key", "name", "memory_bytes", *prices)
        listed = [{name: gpu[name] for name in shown} for gpu in found[:MOST_NAMES]]
        return {"gpus": listed, "more": max(0, len(found) - MOST_NAMES)}


def run(*, online: bool = False) -> None:
    """Until standard input ends. The process stands in an empty folder, so that no name is a file;
    whatever a library prints goes to standard error."""
    with tempfile.TemporaryDirectory(prefix="planner-") as empty:
        os.chdir(empty)
        try:
            with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
                create_server(online=online).run("stdio")
        finally:
            os.chdir("/")
            sys.stderr.flush()
