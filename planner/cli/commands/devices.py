"""``planner devices``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from planner.cli.switches import remark


@click.command("devices")
@click.argument("name", required=False)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw its roofline and curves: FILE.png or FILE.svg.",
)
def command(name: str | None, plot: Path | None, as_json: bool) -> None:
    """What was measured on which device, from when, and how far to trust it.

    NAME is a device's name, `local`, `cpu`, or a profile file; without it all measured devices are
    listed.
    """
    from planner.calibrate import known_devices

    found = known_devices.find(name) if name or plot else None
    if plot is not None and found is not None:
        from planner.report.plots.device import draw

        draw(known_devices.profile_of(found), plot)
        remark(f"Wrote {plot}")
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(
            to_json(
                found
                or {"devices": known_devices.known(), "unreadable": known_devices.unreadable()}
            )
        )
    elif found is None or not plot:
        _show(found)


def _show(found) -> None:
    from planner.calibrate import known_devices
    from planner.report.formats import terminal
    from planner.report.views import device as device_view

    if found is not None:
        terminal.show_sections(
            device_view.details(found)
            if found["basis"] == "calibrated"
            else device_view.on_paper(found),
            sys.stdout,
        )
        return
    known = known_devices.known()
    if known:
        terminal.show_table(
            "Measured devices",
            device_view.listing(known),
            sys.stdout,
            whole=(1, 3, 6),
            drop=("torch", "Sizes", "From", "Doubts", "Device"),
        )
        remark(
            "Error: of predicting each measured size from the others. planner devices NAME "
            "shows all; planner gpus those known by datasheet."
        )
    else:
        click.echo(
            "No device was measured here yet: planner calibrate does it in a minute. planner "
            "gpus lists those known by datasheet."
        )
    for line in known_devices.unreadable():
        click.echo(f"planner: {line}", err=True)
