"""The planner's answers to reports, kept in a file so that a run that was cut off goes on.

One process asks all questions, models one after another, so that each trace is recorded once.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.whole.asked import Asked
from benchmarks.whole.report import Report
from planner.cli.writing import write
from planner.errors import PlannerError
from planner.figures import Estimate
from planner.plan.placement.run import LONG_RUN
from planner.trace.source import cache_folder

ROOT = Path(__file__).resolve().parents[2]
Ask = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What the planner says of a run; ``refused`` where it says nothing. Hours are wall-clock, one
    machine; bytes are a device's; ``step`` is the answer's own."""

    hours: Estimate | None = None
    parts: Mapping[str, float] | None = None
    usd: Estimate | None = None
    reserved_bytes: Estimate | None = None
    device_bytes: Estimate | None = None
    fits: bool = True
    step: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    steps: int = 0
    refused: str = ""
    long_run: float = 0.0  # hours within the median that long runs take beyond clean steps

    @property
    def step_seconds(self) -> float:
        return self.step["seconds"]["p50"] if self.step else 0.0

    @property
    def without_start_up(self) -> Estimate | None:
        """Hours as a trainer's own clock counts them: from the first batch, the data prepared."""
        if self.hours is None or self.parts is None:
            return None
        start = self.parts["start_up"] + self.parts.get("preparation", 0.0)
        middle = self.hours.p50 - start
        low = min(middle, max(0.0, self.hours.p10 - start))
        return Estimate(low, middle, max(middle, self.hours.p90 - start))


def of_document(document: Mapping[str, Any]) -> Answer:
    """The answer in the document that ``planner.estimate`` returns."""
    option = document["options"][0]
    run, memory = option["run"], option["memory"]
    context = memory["device_used_bytes"]["p50"] - memory["reserved_bytes"]["p50"]
    return Answer(
        hours=_estimate(run["wall_hours"]),
        parts=run["breakdown_hours"],
        usd=_estimate(option["cost"]["usd"]),
        reserved_bytes=_of_run(memory, "reserved_bytes", context),
        device_bytes=_of_run(memory, "device_used_bytes", 0.0),
        fits=option["fits"],
        step=option["step"],
        training=option["training"],
        steps=run["steps"],
        long_run=sum(of.get(LONG_RUN, 0.0) for of in run.get("of_which_hours", {}).values()),
    )


def _of_run(memory: Mapping[str, Any], name: str, context: float) -> Estimate:
    """Training's figure or an evaluation's, whichever is more, as a run's peak is of both.
    ``context``: what is not in the figure and is in an evaluation's."""
    trained, evaluated = _estimate(memory[name]), memory.get("evaluation_bytes")
    if evaluated is None or evaluated["p50"] - context <= trained.p50:
        return trained
    return Estimate(*(max(0.0, evaluated[side] - context) for side in ("p10", "p50", "p90")))


def _estimate(figure: Mapping[str, float]) -> Estimate:
    return Estimate(figure["p10"], figure["p50"], figure["p90"])


class Answers:
    """Answers by question, of one state of the planner's code and tables. ``ask`` is
    ``planner.estimate``."""

    def __init__(self, ask: Ask, store: Path | None = None, state: str = "") -> None:
        self._ask, self._store, self._state = ask, store, state
        self._kept: dict[str, Any] = {}
        if store is not None and store.is_file():
            kept = json.loads(store.read_text(encoding="utf-8"))
            self._kept = kept["answers"] if kept.get("state") == state else {}

    def of(self, asked: Asked) -> Answer:
        """The planner's answer, or its refusal in its own words."""
        fields = {key: value for key, value in asked.fields.items() if value is not None}
        key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
        if key not in self._kept:
            self._kept[key] = self._asked(fields)
            self._save()
        found = self._kept[key]
        return of_document(found) if "options" in found else Answer(refused=found["refused"])

    def _asked(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in fields.items() if key != "model"}
        try:
            document = self._ask(fields["model"], **rest)
        except PlannerError as error:
            return {"refused": " ".join(str(error).split())}
        option = document["options"][0]
        parts = ("fits", "run", "memory", "cost", "step", "training")
        return {"options": [{part: option[part] for part in parts}]}

    def _save(self) -> None:
        if self._store is not None:
            self._store.parent.mkdir(parents=True, exist_ok=True)
            write(self._store, json.dumps({"state": self._state, "answers": self._kept}))


def all_answers(
    rows: Iterable[tuple[Report, Asked]], answers: Answers, tell: Callable[[str], None]
) -> list[Answer | None]:
    """An answer a row, None where it cannot be asked. Rows of one model follow each other."""
    rows = list(rows)
    found: list[Answer | None] = [None] * len(rows)
    order = sorted(
        (index for index, (_, asked) in enumerate(rows) if asked.askable),
        key=lambda index: (rows[index][1].fields["model"], index),
    )
    for done, index in enumerate(order, start=1):
        began = time.monotonic()
        found[index] = answers.of(rows[index][1])
        tell(f"{done}/{len(order)} {rows[index][0].id} {time.monotonic() - began:.1f} s")
    return found


def isolated() -> None:
    """Without this machine's own calibrations, corrections and ledger: the same answer
    everywhere."""
    os.environ["PLANNER_DEVICES"] = tempfile.mkdtemp(prefix="planner-devices-")


def default_store() -> Path:
    return cache_folder() / "whole_runs" / "answers.json"


def state_of_planner() -> str:
    """A digest of the planner's code and tables: answers of another state are asked again."""
    digest = hashlib.sha256()
    for folder in ("planner", "profiles"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and "whole_runs" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
