"""The programs that a calibration is made of, in one place, so that a test can put its own
there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planner.calibrate.journal import Record
from planner.devices.profile import DeviceProfile
from planner.operations.cases import Case


@dataclass(frozen=True)
class Tools:
    """The programs that measure."""

    suite: Callable[..., list[Case]]
    time_case: Callable[..., Any]
    cannot_run: type[Exception]
    host: Callable[..., Iterator[Record]]
    facts: Callable[..., Iterator[Record]]
    monitor: Callable[[Any], Any]
    doubts_of: Callable[[Sequence[Any]], list[tuple[str, str]]]
    fit: Callable[..., DeviceProfile]
    compiled: Callable[[Any], Iterator[Record]] | None = None
    trainer: Callable[..., Iterator[Record]] | None = None
    start_up: Callable[..., Iterator[Record]] | None = None
    #: Made once for a device; visits of it are ``session.watch.Visit``.
    reference: Callable[[Any], Callable[[str], dict[str, Any]]] | None = None
    pause: Callable[[float], None] = time.sleep


def real_tools() -> Tools:
    """The real ones; imports torch."""
    from planner.calibrate.compiled import measure_compiled
    from planner.calibrate.facts import measure_facts
    from planner.calibrate.fitting import profile_from
    from planner.calibrate.host.costs import measure_host
    from planner.calibrate.host.start_up import measure_start_up
    from planner.calibrate.host.trainers import measured_trainer
    from planner.calibrate.operations.execute import CannotRun
    from planner.calibrate.operations.reference import Reference
    from planner.calibrate.operations.timing import time_case
    from planner.calibrate.suites import suite
    from planner.devices.telemetry.monitor import Monitor, doubts_of

    return Tools(
        suite=suite,
        time_case=time_case,
        cannot_run=CannotRun,
        host=measure_host,
        facts=measure_facts,
        monitor=Monitor,
        doubts_of=doubts_of,
        fit=profile_from,
        compiled=measure_compiled,
        trainer=measured_trainer,
        start_up=measure_start_up,
        reference=Reference,
    )
