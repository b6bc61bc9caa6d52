"""Whole runs: the wall-clock hours and the dollars of a run that came to its end, beside what is
estimated for it today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError
from planner.ledger.record import RunRecord
from planner.models.tasks import modality_of
from planner.uncertainty import corrections
from planner.units import SECONDS_PER_HOUR
from planner.validate import residuals
from planner.validate.cases import LEDGER, family_of, split_of
from planner.validate.summaries import Comparison

#: A run whose number of steps differs by more from what the question asks for is another run, or
#: was broken off.
SAME_STEPS = 0.05


@dataclass(frozen=True)
class Whole:
    plain: tuple[Comparison, ...] = ()
    in_force: tuple[Comparison, ...] = ()


def compared(records: Iterable[RunRecord]) -> Whole:
    """Hours and dollars of the records that hold a whole question and ran as many steps as it asks
    for. One that the planner refuses today is left out here: its steps are judged, and refused by
    name, apart."""
    whole = [
        r
        for r in records
        if r.question
        and r.kind != "measured"
        and (r.measurement.get("wall_seconds") or r.measurement.get("usd"))
    ]
    taught, corrected = corrections.taught(), bool(corrections.corrections())
    plain, in_force = [], []
    for record in whole:
        with corrections.without():
            plain += _figures(record, _asked(record))
        if corrected and residuals.run_name(LEDGER, record.id[:12]) not in taught:
            in_force += _figures(record, _asked(record))
    return Whole(tuple(plain), tuple(in_force))


def _asked(record: RunRecord) -> Mapping[str, Any] | None:
    """Today's option for the run's question, its device and batch as they ran; None where the
    planner refuses."""

    from planner.answer.estimate import estimate
    from planner.question import Question

    setup = record.setup
    try:
        question = Question(**dict(record.question or {}))
        ran = {
            name: setup[name]
            for name in ("gpu", "micro_batch")
            if getattr(question, name) is None and setup.get(name) is not None
        }
        strategy = setup.get("strategy")
        answer = estimate(
            question.model_copy(
                update={
                    **ran,
                    "offline": True,
                    "strategy": [strategy] if strategy else question.strategy,
                }
            )
        )
    except (PlannerError, TypeError):
        return None
    options = [option for option in answer["options"] if strategy in (None, option["strategy"])]
    return options[0] if len(options) == 1 else None


def _figures(record: RunRecord, option: Mapping[str, Any] | None) -> list[Comparison]:
    if option is None:
        return []
    steps, measured = record.measurement.get("steps"), record.measurement
    run = option.get("run") or {}
    if not steps or not run.get("steps") or abs(steps / run["steps"] - 1) > SAME_STEPS:
        return []
    hours = measured["wall_seconds"] / SECONDS_PER_HOUR if measured.get("wall_seconds") else None
    pairs = [
        ("hours", hours, run.get("wall_hours")),
        ("usd", measured.get("usd"), (option.get("cost") or {}).get("usd")),
    ]
    setup, model = record.setup, str(record.setup.get("model") or option["model"].get("name") or "")
    same: dict[str, Any] = dict(
        case_id=record.id[:12],
        table=LEDGER,
        basis=option["basis"],
        strategy=option["strategy"],
        gpu=option["gpu"],
        family=family_of(model),
        modality=modality_of(str(setup.get("task"))),
        split=split_of(family_of(model)),
        model=model,
    )
    return [
        Comparison(
            quantity=name,
            measured=float(value),
            p10=figure["p10"],
            p50=figure["p50"],
            p90=figure["p90"],
            **same,
        )
        for name, value, figure in pairs
        if value and figure
    ]
