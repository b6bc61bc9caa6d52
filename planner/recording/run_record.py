"""What a recorded run's record is made of: what the question, the device and the process group say
of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError, ProfileError
from planner.ledger.record import RunRecord
from planner.question import Question
from planner.question.settings import asked

if TYPE_CHECKING:
    from planner.devices.telemetry.device_watch import DeviceWatch


def setup_of_question(question: Question) -> dict[str, Any]:
    """What a question says of the run, by the names of a record's ``setup``; what it leaves to the
    planner is left out, and what its strategy does not use."""
    strategies = question.strategy or []
    strategy = strategies[0] if len(strategies) == 1 else None
    named: dict[str, Any] = {
        setting.name: getattr(question, setting.name)
        for setting in asked()
        if setting.name in question.model_fields_set
        and (not setting.strategies or strategy in setting.strategies)
    }
    named |= {
        "strategy": strategy,
        "sequence_length": question.max_length if question.padding in ("max", "packed") else None,
    }
    return _known(named)


def understood(question: Any) -> tuple[Question | None, dict[str, Any]]:
    """The question where it is a whole one, and what it says of the run."""
    if question is None:
        return None, {}
    if isinstance(question, Question):
        return question, setup_of_question(question)
    values = dict(question)
    try:
        whole = Question(**values)
    except (PlannerError, TypeError):
        return None, _known(_part_of_question(values))
    return whole, setup_of_question(whole)


def _part_of_question(values: Mapping[str, Any]) -> dict[str, Any]:
    named = {setting.name: values.get(setting.name) for setting in asked()}
    strategy = named["strategy"]
    if isinstance(strategy, list | tuple):
        strategy = strategy[0] if len(strategy) == 1 else None
    named["strategy"] = strategy.replace("-", "_") if isinstance(strategy, str) else strategy
    return named


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "auto")}


def forgiving(
    kind: str,
    source: str,
    setup: Mapping[str, Any],
    measurement: Mapping[str, Any],
    *,
    notes: tuple[str, ...] = (),
    **more: Any,
) -> RunRecord:
    """A record without those values of ``setup`` and ``measurement`` that it cannot hold, each with
    a note: one wrong name must not lose the run. Raises ProfileError for what else is wrong."""
    parts = {"setup": dict(setup), "measurement": dict(measurement)}
    while True:
        try:
            return RunRecord.new(
                kind, source, parts["setup"], parts["measurement"], notes=notes, **more
            )
        except ProfileError as error:
            _, part, name = [*(error.where or "").split(".", 2), "", ""][:3]
            if parts.get(part, {}).pop(name.partition(".")[0], None) is None:
                raise
            notes = (*notes, f"{name} left out: {error.what}")


def dumped(question: Question | None, given: Any) -> dict[str, Any] | None:
    """The question as JSON holds it: whole, else what was given of one."""
    if question is not None:
        return question.model_dump(mode="json")
    return dict(given) if given else None


def found_out(watch: DeviceWatch, measurement: Mapping[str, Any]) -> dict[str, Any]:
    """What the device and the process group say of the run."""
    found = {
        "gpu": watch.name(),
        "gpus": _world() if "torch" in sys.modules else None,
        "steps": measurement.get("steps"),
    }
    return {name: value for name, value in found.items() if value is not None}


def distributed() -> Any:
    """torch's process group, None where there is none."""
    module = getattr(sys.modules.get("torch"), "distributed", None)
    return (
        module if module is not None and module.is_available() and module.is_initialized() else None
    )


def _world() -> int:
    group = distributed()
    return group.get_world_size() if group else 1


def is_first_rank() -> bool:
    """Of many processes one writes."""
    group = distributed()
    return (group.get_rank() if group else int(os.environ.get("RANK") or 0)) == 0
