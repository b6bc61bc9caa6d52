"""``trainer_state.json`` of ``transformers.Trainer``, with the JSON files beside it.
``training_args.bin`` is a pickle: never read.

Names of metrics: transformers/trainer_utils.py ``speed_metrics`` and ``TrainerMemoryTracker``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.errors import DataError
from planner.ledger.importers.found import Found, Problems
from planner.ledger.importers.text import json_of, lenient, number
from planner.ledger.model_setup import held_by, in_folder, of_peft, task_of
from planner.question.settings import SETTINGS
from planner.question.training_setting import NUMBERS

NAME = "trainer_state.json"
RESULTS = ("train_results.json", "all_results.json")
MEMORY = (
    "before_init_mem_gpu",
    "init_mem_gpu_alloc_delta",
    "train_mem_gpu_alloc_delta",
    "train_mem_gpu_peaked_delta",
)


def recognises(place: Path) -> bool:
    return _file(place) is not None


def read(place: Path, problems: Problems) -> Iterator[Found]:
    """One run. Of a folder of checkpoints the last one's state stands for all. Raises DataError."""
    file = _file(place)
    if file is None:
        raise DataError(f"no {NAME} here", where=str(place))
    state = json_of(file, problems)
    if not isinstance(state, dict) or not isinstance(state.get("log_history"), list):
        raise DataError("has no log_history: no state of a Trainer", where=str(file))
    history = [entry for entry in state["log_history"] if isinstance(entry, dict)]
    results = _results(file, history, problems)
    measurement, notes = _measurement(state, history, results)
    setup, more = _setup(file, state, problems)
    yield Found(
        "",
        {**setup, **({"steps": measurement["steps"]} if measurement.get("steps") else {})},
        measurement,
        (*more, *notes),
    )


def _file(place: Path) -> Path | None:
    if place.is_file():
        return place if place.name == NAME else None
    if not place.is_dir():
        return None
    if (place / NAME).is_file():
        return place / NAME
    checkpoints = [
        folder
        for folder in place.glob("checkpoint-*")
        if (folder / NAME).is_file() and folder.name[11:].isdigit()
    ]
    return (
        max(checkpoints, key=lambda folder: int(folder.name[11:])) / NAME if checkpoints else None
    )


def _results(file: Path, history: list[dict], problems: Problems) -> dict[str, Any]:
    """The summary at the end of training: in the history, and in the files that examples' scripts
    write."""
    for name in RESULTS:
        if (file.parent / name).is_file():
            try:
                found = json_of(file.parent / name, problems)
            except DataError as error:
                problems.say(name, error.what)
            else:
                if isinstance(found, dict) and "train_runtime" in found:
                    return found
    return next((entry for entry in reversed(history) if "train_runtime" in entry), {})


def _measurement(
    state: Mapping[str, Any], history: list[dict], results: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    steps, wall = _whole(state.get("global_step")), lenient(results.get("train_runtime"))
    paused = sum(lenient(entry.get("eval_runtime")) or 0.0 for entry in history)
    found: dict[str, Any] = {
        "steps": steps,
        "wall_seconds": wall,
        "tokens": _whole(state.get("num_input_tokens_seen")),
    }
    if wall and steps and wall > paused:
        found["step_seconds"] = found["step_seconds_mean"] = (wall - paused) / steps
        found["paused_seconds"] = paused or None
        notes.append(
            "the step time is the mean of the run without evaluation; the wait for data, "
            "saving and the first steps are in it"
            " (of a resumed run it is too short: its time counts from there, its steps from "
            "the beginning)"
        )
    if wall and steps and steps == _whole(state.get("max_steps")):
        found["samples_per_second"] = lenient(results.get("train_samples_per_second"))
    if not wall:
        notes.append(
            "the state of a checkpoint or of a run that broke off; at the end "
            "trainer.save_state() writes the times"
        )
    losses = [value for entry in history if (value := _number(entry.get("loss"))) is not None]
    if losses:
        found |= {"loss_first": losses[0], "loss_last": losses[-1]}
    memory = [value for name in MEMORY if (value := _number(results.get(name))) is not None]
    if len(memory) == len(MEMORY):
        found["peak_allocated_bytes"] = _whole(sum(memory))
    return {name: value for name, value in found.items() if value is not None}, notes


def _setup(
    file: Path, state: Mapping[str, Any], problems: Problems
) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    found = _read(held_by("trainer_state", state.get), zero_is_unknown=True)
    found |= _configured(_beside(file, "config.json", problems))
    adapter = _beside(file, "adapter_config.json", problems)
    if adapter:
        found |= _adapter(adapter)
        notes.append(
            f"trained with PEFT's {adapter.get('peft_type')}, which is no strategy of the planner"
            if of_peft(adapter.get) is None
            else "LoRA or QLoRA: the adapter does not say whether its base was in 4 bits"
        )
    return {name: value for name, value in found.items() if value is not None}, notes


def _beside(file: Path, name: str, problems: Problems) -> dict[str, Any]:
    """A JSON object in the folder of the state, or in the folder of its checkpoints."""
    for folder in (
        file.parent,
        file.parent.parent if file.parent.name.startswith("checkpoint-") else file.parent,
    ):
        if (folder / name).is_file():
            try:
                found = json_of(folder / name, problems)
            except DataError as error:
                problems.say(name, error.what)
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _configured(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a config.json: task, number of classes, and the architecture itself."""
    kind = config.get("model_type")
    if not isinstance(kind, str):
        return {}
    classes = config.get("architectures")
    task = task_of(str(classes[0]), kind) if isinstance(classes, list) and classes else None
    labels = config.get("id2label")
    name = config.get("_name_or_path")
    keep = {
        key: value
        for key, value in config.items()
        if key
        not in (
            "architectures",
            "_name_or_path",
            "model_type",
            "id2label",
            "label2id",
            "transformers_version",
            "torch_dtype",
            "dtype",
        )
    }
    return {
        "model": in_folder(name) if isinstance(name, str) and name else None,
        "task": task,
        "architecture": {"kind": kind, **keep},
        "classes": len(labels)
        if isinstance(labels, dict) and task and task.endswith("classification")
        else None,
    }


def _adapter(adapter: Mapping[str, Any]) -> dict[str, Any]:
    base = adapter.get("base_model_name_or_path")
    named = {"model": in_folder(base)} if isinstance(base, str) and base else {}
    own = of_peft(adapter.get)
    return named if own is None else named | _read(own, zero_is_unknown=False)


def _read(held: Mapping[str, Any], *, zero_is_unknown: bool) -> dict[str, Any]:
    """What a tool's JSON holds, as the settings' types ask; None for what is no number."""
    types = {name: SETTINGS[name].value_type for name in held}
    return {
        name: _whole(value)
        if types[name] in ("count", "whole")
        else (lenient(value) if zero_is_unknown else _number(value))
        if types[name] in NUMBERS
        else value
        for name, value in held.items()
    }


def _whole(value: Any) -> int | None:
    found = lenient(value)
    return int(found) if found is not None and found == int(found) and found < 2**53 else None


def _number(value: Any) -> float | None:
    try:
        return number(value)
    except ValueError:
        return None
