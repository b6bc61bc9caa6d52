"""TensorBoard's event files, read by TensorBoard itself; the parameters that transformers writes as
text among them."""

from __future__ import annotations

import datetime
import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.blame import raised_by_planner
from planner.errors import DataError, MissingExtraError
from planner.ledger.importers import progress
from planner.ledger.importers.found import Found, Problems
from planner.ledger.importers.parameters import setup_of
from planner.ledger.importers.text import lenient

EVENTS = "events.out.tfevents."
#: transformers/integrations: TensorBoardCallback writes its arguments and the model's configuration
#: so.
TEXTS = ("args/text_summary", "model_config/text_summary")
LOSSES = ("train/loss", "loss", "train_loss", "Loss/train")


def recognises(place: Path) -> bool:
    if place.is_dir():
        return next(place.rglob(f"*{EVENTS}*"), None) is not None
    return EVENTS in place.name


def read(place: Path, problems: Problems) -> Iterator[Found]:
    """One run for each folder of event files. Raises DataError, MissingExtraError without
    tensorboard."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "tensorboard", "reading event files")
    places = (
        [place]
        if place.is_file()
        else sorted({file.parent for file in place.rglob(f"*{EVENTS}*") if file.is_file()})
    )
    for source in places:
        key = "" if source == place else source.relative_to(place).as_posix()
        found = _run(source, key, problems)
        if found is not None:
            yield found
    if not places:
        raise DataError("no event files here", where=str(place))


def _run(place: Path, key: str, problems: Problems) -> Found | None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    events = EventAccumulator(
        str(place),
        size_guidance={"scalars": 0, "tensors": 10, "images": 1, "audio": 1, "histograms": 1},
    )
    try:
        events.Reload()
        scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
        values = _parameters(events)
    except Exception as error:  # a damaged file fails in whatever way its bytes lead to
        if raised_by_planner(error):
            raise
        problems.say(
            place.name, f"not readable as event files: {type(error).__name__}: {error}", row=True
        )
        return None
    if not scalars:
        problems.say(key or place.name, "event files without a scalar", row=True)
        return None
    setup, notes = setup_of(values)
    moments = [
        (event.wall_time, event.step)
        for tag, found in scalars.items()
        if not tag.startswith("eval") and "/train_" not in tag
        for event in found
    ]
    measurement: dict[str, Any] = progress.of_moments(moments)
    notes += [progress.NOTE] if measurement else []
    measurement |= {"steps": progress.last_step(moments), **_summed_up(scalars)}
    ended = datetime.datetime.fromtimestamp(
        max(event.wall_time for found in scalars.values() for event in found), datetime.UTC
    )
    return Found(
        key,
        setup,
        {name: value for name, value in measurement.items() if value is not None},
        tuple(notes),
        ended=ended,
    )


def _parameters(events: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag in TEXTS:
        if tag in events.Tags().get("tensors", ()):
            text = events.Tensors(tag)[-1].tensor_proto.string_val[0].decode("utf-8", "replace")
            try:
                logged = json.loads(text)
            except ValueError:
                continue
            found |= logged if isinstance(logged, dict) else {}
    return found


def _summed_up(scalars: dict[str, list]) -> dict[str, Any]:
    last = {
        tag.rpartition("/")[2]: found[-1].value
        for tag, found in scalars.items()
        if found and tag.startswith("train/")
    }
    more: dict[str, Any] = {
        "wall_seconds": lenient(last.get("train_runtime")),
        "samples_per_second": lenient(last.get("train_samples_per_second")),
    }
    loss = next((scalars[tag] for tag in LOSSES if scalars.get(tag)), None)
    return more | ({"loss_first": loss[0].value, "loss_last": loss[-1].value} if loss else {})
