"""Replies of workers as HTTP answers."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from planner.serve.work.job import Answered, Refused, Reply


def refused(reply: Refused) -> Response:
    return JSONResponse(reply.as_dict(), status_code=reply.status)


def response(reply: Reply) -> Response:
    if isinstance(reply, Answered):
        return Response(reply.body, media_type=reply.media)
    if isinstance(reply, Refused):
        return refused(reply)
    return refused(Refused("no answer was made", status=500))
