"""The columns of a sweep's table. Those of a question's fields come first, by the fields' names;
then what became of it, what was planned, figures with their units, and what the answer says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from planner.answer.limits import broken_limits, recommended_option
from planner.choose.sweep.asked import Asked
from planner.choose.sweep.flat import POINTS, figures
from planner.errors import PlannerError
from planner.question import Question
from planner.question.fields import plain_types
from planner.today import today
from planner.units import parse_count
from planner.version import __version__

Type = Literal["text", "whole", "number", "truth"]
Status = Literal["answered", "refused", "failed"]
LIMITS = ("max_usd", "max_hours", "deadline", "licences")
#: Between several lines in one cell: a row of CSV is one line.
BETWEEN = " | "


def _points(name: str) -> dict[str, Type]:
    return {f"{name}_{point}": "number" for point in POINTS}


#: Name → type, in the order of the table, behind ``id`` and the question's fields.
ANSWER: dict[str, Type] = {
    "status": "text",  # answered, refused, failed
    "error": "text",
    "options": "whole",
    "recommended": "truth",
    "planned_strategy": "text",
    "planned_variant": "text",
    "planned_gpu": "text",
    "planned_gpus": "whole",
    "planned_provider": "text",
    "fits": "truth",
    "basis": "text",
    **_points("hours"),
    **_points("gpu_hours"),
    **_points("usd"),
    **_points("memory_gib"),
    "gpu_memory_gib": "number",
    "chance_out_of_memory": "number",
    "steps": "whole",
    "planned_epochs": "number",
    "planned_micro_batch": "whole",
    "accumulation": "whole",
    **_points("step_seconds"),
    "tokens_per_second": "number",
    "samples_per_second": "number",
    **_points("energy_kwh"),
    **_points("co2_kg"),
    "usd_per_gpu_hour": "number",
    "price_date": "text",
    "limits_broken": "text",
    "first_lines": "text",
    "warnings": "whole",
    "first_warning": "text",
    "assumptions": "whole",
    "first_assumption": "text",
    "recorded_with": "text",
    "planner": "text",
    "day": "text",
}
DOCUMENT = "document"


def columns(fields: Iterable[str], *, documents: bool) -> dict[str, Type]:
    """All columns of a table whose grid names these fields."""
    found: dict[str, Type] = {"id": "text"}
    found.update((name, type_of(name)) for name in fields)
    found.update(ANSWER)
    if documents:
        found[DOCUMENT] = "text"
    return found


def type_of(field: str) -> Type:
    types = plain_types(Question.model_fields[field].annotation)
    if bool in types:
        return "truth"
    return "number" if float in types else "whole" if types == {int} else "text"


def asked_row(one: Asked, fields: Iterable[str]) -> dict[str, Any]:
    """The question's part of its row: each field as it was understood, blank where it is left
    open."""
    values = one.given if one.values is None else one.values
    return {"id": one.id, **{name: _cell(values.get(name), type_of(name)) for name in fields}}


def _cell(value: Any, wanted: Type) -> Any:
    if value is None:
        return None
    if wanted == "truth":
        return bool(value)
    if wanted == "text":
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        number = parse_count(value) if isinstance(value, str) else float(value)
    except (PlannerError, TypeError, ValueError):
        return None  # of a question that was refused: its words stand under error
    return int(number) if wanted == "whole" else float(number)


def answer_row(document: Mapping[str, Any]) -> dict[str, Any]:
    """The answer's part: figures of the option that is recommended, of the first where none is."""
    best = recommended_option(document)
    option = best or document["options"][0]
    named = ("strategy", "variant", "gpu", "gpus", "provider")
    told = {name: option.get(name) for name in named} | figures(option)
    warned, assumed = _said(document, option, "warnings"), _said(document, option, "assumptions")
    broken = broken_limits(document)
    return _row("answered") | {
        "options": len(document["options"]),
        "recommended": best is not None,
        **{f"planned_{n}" if f"planned_{n}" in ANSWER else n: v for n, v in told.items()},
        "limits_broken": "; ".join(broken) or None,
        "first_lines": BETWEEN.join(line["text"] for line in document["first_lines"]),
        "warnings": len(warned),
        "first_warning": warned[0] if warned else None,
        "assumptions": len(assumed),
        "first_assumption": assumed[0] if assumed else None,
        "recorded_with": _recorded(document),
    }


def error_row(status: Status, error: str) -> dict[str, Any]:
    """A question without an answer, and why."""
    return _row(status) | {"error": error}


def _row(status: Status) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(ANSWER)
    return empty | {"status": status, "planner": __version__, "day": today().isoformat()}


def _said(document: Mapping[str, Any], option: Mapping[str, Any], key: str) -> list[str]:
    """Lines of the whole answer, then those of the option alone."""
    return list(dict.fromkeys([*document[key], *(option.get(key) or ())]))


def _recorded(document: Mapping[str, Any]) -> str | None:
    found = [one["source"] for one in document["sources"] if one["what"] == "step trace"]
    return "; ".join(dict.fromkeys(found)).replace("recorded with ", "") or None


def has_limits(one: Asked) -> bool:
    return any((one.values or {}).get(name) is not None for name in LIMITS)
