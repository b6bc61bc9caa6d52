"""``planner serve``."""

from __future__ import annotations

import click

from planner.cli.switches import remark


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that is bound.")
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which others reach this machine; may be given several times. Any other "
    "host is refused.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Processes that answer questions; by default one a core, up to 4.",
)
@click.option(
    "--online/--offline",
    default=False,
    help="Whether the configs of models that are not known here may be fetched from their hub.",
)
def command(
    host: str, port: int, allowed_hosts: tuple[str, ...], workers: int | None, online: bool
) -> int:
    """A local page for the same question: model, data, GPU and sliders, and the API beneath it.

    \b
    planner serve
    planner serve --port 9000 --online

    Loopback by default. Who asks gives names and numbers, never paths: nothing else of this
    machine is read. The API is described at /api.
    """
    from planner.serve.server import serve

    serve(
        lambda address: remark(f"planner serves {address} (Ctrl-C ends it)"),
        host=host,
        port=port,
        allowed_hosts=allowed_hosts,
        workers=workers,
        online=online,
    )
    return 0
