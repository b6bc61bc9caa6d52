"""``planner calibrate``: one device measured by one run at a time, into its profile."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from planner.calibrate import journal as journals
from planner.calibrate import retention
from planner.calibrate.journal import Journal
from planner.calibrate.session.outcome import Ended, Outcome
from planner.calibrate.session.plan import Plan
from planner.calibrate.session.recording import Progress, Recording
from planner.calibrate.session.run import Run
from planner.calibrate.tools import Tools, real_tools
from planner.devices import profile as device_profiles

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend


def calibrate(
    backend: Backend,
    folder: Path,
    *,
    seconds: float = 60.0,
    compiled: bool = False,
    progress: Progress | None = None,
    again: bool = False,
) -> Path:
    """Measure the device within ``seconds`` and write its profile into ``folder``; the profile's
    path.

    Raises MachineError where the folder cannot be written or another calibration of the device is
    running.
    """
    return measure(
        backend,
        place(backend, folder),
        Plan(seconds=seconds, compiled=compiled, again=again),
        progress=progress,
    ).path


def place(backend: Backend, folder: Path | None = None) -> Path:
    """Where the profile of a device goes: into ``folder``, by default the user's own."""
    name = device_profiles.file_name(retention.identified(backend.facts()))
    return (folder or device_profiles.user_folder()) / f"{name}.json"


def measure(
    backend: Backend,
    path: Path,
    plan: Plan,
    *,
    progress: Progress | None = None,
    using: Tools | None = None,
) -> Outcome:
    """As ``calibrate``, with all that there is to say of the run. Ctrl-C and SIGTERM end it and
    keep what was measured.

    Raises KeyboardInterrupt when it is interrupted before anything was measured, MachineError as
    ``calibrate``.
    """
    tools = using or real_tools()
    with (
        _terminable(),
        journals.locked(_device_lock(backend), f"{backend.device}"),
        Journal(journals.journal_file(path), again=plan.again) as journal,
    ):
        aside = retention.set_aside_unreadable(path)
        recording = Recording(
            retention.identified(backend.facts()),
            path,
            plan,
            journal=journal,
            tools=tools,
            progress=progress or _silent,
            aside=aside,
        )
        return Run(backend, recording).outcome()


def _silent(_doing: str, _done: float, _total: float | None = None) -> None:
    pass


def _device_lock(backend: Backend) -> Path:
    """Two calibrations of one device disturb each other wherever they write."""
    who = os.getuid() if hasattr(os, "getuid") else 0
    return (
        Path(tempfile.gettempdir())
        / f"planner-calibrate-{who}-{str(backend.device).replace(':', '-')}.lock"
    )


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does. Only the main thread may say so to Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended("terminated", 128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
