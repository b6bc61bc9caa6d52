"""The server itself: a socket, uvicorn and the application."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

from planner.errors import FieldName, QuestionError
from planner.serve.extras import needed
from planner.serve.settings import Settings

#: Connections beyond this many are answered with 503 at once.
CONNECTIONS = 512
#: Seconds that an idle connection is kept open.
KEEP_ALIVE = 15
#: Connections that wait to be accepted.
BACKLOG = 256
#: Of headers, bytes.
MOST_HEADERS = 16 * 2**10


def serve(
    told: Callable[[str], None],
    *,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...] = (),
    workers: int | None = None,
    online: bool = False,
) -> None:
    """Serves until it is interrupted; ``told`` gets the page's address when the port is bound.
    Raises QuestionError for an address that cannot be bound, MissingExtraError without FastAPI or
    uvicorn."""
    for library in ("fastapi", "uvicorn"):
        needed(library, "planner serve")
    import uvicorn

    from planner.serve.api.app import create_app

    settings = Settings(host=host, port=port, allowed_hosts=allowed_hosts, online=online)
    if workers is not None:
        settings = replace(settings, workers=workers)
    bound = _bound(host, port)
    config = uvicorn.Config(
        create_app(settings),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        h11_max_incomplete_event_size=MOST_HEADERS,
        timeout_graceful_shutdown=3,
    )
    told(_address(host, bound))
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        bound.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, or asyncio leaves Nagle's algorithm on and a body waits 40 ms for an
    # acknowledgement of its head
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)  # who opens the address before the workers are there waits
    except (OSError, OverflowError) as error:
        found.close()
        raise QuestionError(
            f"{host}:{port} cannot be bound: {getattr(error, 'strerror', None) or error}",
            where=FieldName("host", "port"),
            mend=f"Take another {FieldName('port')}; 0 finds a free one",
        ) from None
    return found


def _address(host: str, bound: socket.socket) -> str:
    port = bound.getsockname()[1]
    shown = "127.0.0.1" if host == "0.0.0.0" else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
