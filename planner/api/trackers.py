"""The plan beside the run in Weights & Biases and MLflow: figures by flat names with their units,
the document as an artifact.

What is called of the two libraries: ``wandb.run``, ``wandb.Artifact``, ``run.summary.update``,
``run.config.update``, ``run.log_artifact`` (read in wandb 0.28.3.dev1, wandb/wandb@b6e2950588);
``mlflow.active_run``, ``MlflowClient.log_metric``, ``.set_tag``, ``.log_dict`` (read in MLflow 3.x,
mlflow/mlflow mlflow/tracking/client.py@e1c372e16d).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from planner.answer.limits import recommended_option
from planner.api.answer import Answer, NothingRecommended
from planner.api.rows import row
from planner.errors import PlannerError, QuestionError
from planner.units import gib, hours

if TYPE_CHECKING:
    from planner.ledger.record import RunRecord

Flat = dict[str, str | float]
#: Measured name → (its name here, how its unit becomes that of the name).
MEASURED = {
    "wall_seconds": ("hours", hours),
    "step_seconds": ("step_seconds", float),
    "device_used_bytes": ("memory_gib", gib),
    "peak_reserved_bytes": ("reserved_gib", gib),
    "tokens_per_second": ("tokens_per_second", float),
    "samples_per_second": ("samples_per_second", float),
    "usd": ("usd", float),
}
#: Names of a record's estimate as those of ``MEASURED``.
PLANNED = {
    "step_seconds": ("step_seconds", float),
    "device_used_bytes": ("memory_gib", gib),
    "reserved_bytes": ("reserved_gib", gib),
    "wall_hours": ("hours", float),
    "usd": ("usd", float),
}
#: Planned from the command to the last checkpoint, recorded from the first batch: no error of them.
OTHER_CLOCK = ("hours", "usd")


def log_to_wandb(what: Answer | RunRecord, run: Any = None, *, strategy: str | None = None) -> None:
    """Into the summary of a Weights & Biases run (``run``, or the one that ``wandb.init`` began):
    of an answer ``plan/hours_p50``, ``plan/usd_p90``, ``plan/memory_gib_p50`` …, of a record of a
    run (``planner.record``, the callbacks) the plan, the run and ``plan_error/…`` (plan over run,
    less one). Words go into the config, the whole document into an artifact.

    ``strategy``: which option of the answer is run, by default the recommended one. Raises
    PlannerError where no run was begun or wandb is not installed.
    """
    wandb = _library("wandb", "logging to Weights & Biases")
    run = run or wandb.run
    if run is None:
        raise QuestionError("no Weights & Biases run is open", mend="Call wandb.init() before")
    figures, words = _split(flat(what, strategy))
    run.summary.update(figures)
    run.config.update(words, allow_val_change=True)
    artifact = wandb.Artifact(f"planner-{kind(what)}-{run.id}", type=f"planner-{kind(what)}")
    with artifact.new_file(f"{kind(what)}.json", mode="w", encoding="utf-8") as file:
        json.dump(_document(what), file, indent=1, ensure_ascii=False, allow_nan=False)
    run.log_artifact(artifact)


def log_to_mlflow(
    what: Answer | RunRecord, run_id: str | None = None, *, strategy: str | None = None
) -> None:
    """The same into an MLflow run (``run_id``, or the active one): figures as metrics, words as
    tags, the document as ``planner/plan.json`` or ``planner/run.json``. Raises as ``log_to_wandb``.
    """
    mlflow = _library("mlflow", "logging to MLflow")
    if run_id is None:
        active = mlflow.active_run()
        if active is None:
            raise QuestionError("no MLflow run is active", mend="Call mlflow.start_run() before")
        run_id = active.info.run_id
    figures, words = _split(flat(what, strategy))
    client = mlflow.MlflowClient()
    for name, value in figures.items():
        client.log_metric(run_id, name, value)
    for name, word in words.items():
        client.set_tag(run_id, name, word)
    client.log_dict(run_id, _document(what), f"planner/{kind(what)}.json")


def kind(what: Answer | RunRecord) -> str:
    """``plan`` or ``run``."""
    return "plan" if isinstance(what, Mapping) else "run"


def flat(what: Answer | RunRecord, strategy: str | None = None) -> Flat:
    """Names with units → figures and words; what is not known is left out."""
    if isinstance(what, Mapping):
        found = row(_option(what, strategy))
        return {f"plan/{name}": value for name, value in found.items() if value is not None}
    return beside(what)


def beside(record: RunRecord) -> Flat:
    """A run and the plan that is kept beside it: ``run/…``, ``plan/…`` and, where both are known
    and mean the same, ``plan_error/…``, the plan's median over what was measured, less one."""
    run = _named(record.measurement, MEASURED)
    plan = _named(record.estimate or {}, PLANNED)
    words = {"run/strategy": record.setup.get("strategy"), "run/gpu": record.setup.get("gpu")}
    errors = {
        f"plan_error/{name}": plan[f"{name}_p50"] / value - 1
        for name, value in run.items()
        if value and f"{name}_p50" in plan and name not in OTHER_CLOCK
    }
    return (
        {name: word for name, word in words.items() if word is not None}
        | {f"run/{name}": value for name, value in run.items()}
        | {f"plan/{name}": value for name, value in plan.items()}
        | errors
    )


def _named(values: Mapping[str, Any], names: Mapping[str, tuple[str, Any]]) -> dict[str, float]:
    """By the names here, a figure by its three points."""
    found: dict[str, float] = {}
    for name, (called, unit) in names.items():
        value = values.get(name)
        if isinstance(value, Mapping):
            found |= {f"{called}_{point}": unit(of) for point, of in value.items()}
        elif value is not None:
            found[called] = unit(value)
    return found


def _option(answer: Mapping[str, Any], strategy: str | None) -> Mapping[str, Any]:
    if strategy is not None:
        wanted = Answer(answer).option(strategy).strategy
        return next(one for one in answer["options"] if one["strategy"] == wanted)
    chosen = recommended_option(answer)
    if chosen is None:
        raise NothingRecommended("nothing is recommended", mend="Name the strategy that is run")
    return chosen


def _document(what: Answer | RunRecord) -> dict[str, Any]:
    return dict(what) if isinstance(what, Mapping) else what.as_dict()


def _split(found: Flat) -> tuple[dict[str, float], dict[str, str]]:
    """(figures, words); yes and no are words."""
    words = {name: str(v) for name, v in found.items() if isinstance(v, str | bool)}
    return {name: float(v) for name, v in found.items() if name not in words}, words


def _library(name: str, purpose: str) -> ModuleType:
    if importlib.util.find_spec(name) is None:
        raise PlannerError(f"{purpose} needs {name}", mend=f"Install it with: pip install {name}")
    return importlib.import_module(name)
