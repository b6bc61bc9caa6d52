"""Tables and series: models made for the data's columns, what the target makes of a task, and the
windows that series are cut into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from planner.datasets.profile import DatasetProfile
from planner.datasets.tabular.rows import TableRows
from planner.datasets.tabular.series import LONG, ROWS, SeriesFound
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.constants import constant, has
from planner.models.factory_source import parameters_of
from planner.models.facts import ModelFacts
from planner.models.names import own
from planner.models.resolve import resolve
from planner.question import Question

CLASSES, MEASURED = "tabular_classification", "tabular_regression"


def fitted_to_columns(
    question: Question, facts: ModelFacts, data: DatasetProfile
) -> tuple[ModelFacts, DatasetProfile]:
    """Model and data of a table or of series; others as they are. Raises QuestionError where the
    target cannot be learnt so, or no series fills a window."""
    if data.rows is not None:
        return _of_rows(question, facts, data, data.rows)
    if data.series is not None:
        return _of_series(facts, data, data.series)
    return facts, data


def _of_rows(
    question: Question, facts: ModelFacts, data: DatasetProfile, rows: TableRows
) -> tuple[ModelFacts, DatasetProfile]:
    if question.task is None:
        facts = _learning(question, facts, rows)
    _check(facts, rows)
    facts = replace(facts, first_lines=(*facts.first_lines, *_as_classes(question, facts, rows)))
    classes = rows.classes if facts.task == CLASSES else None
    sizes = {"numbers": len(rows.numbers), "categories": tuple(rows.categories.values())}
    count = f"{len(rows.numbers)} numbers and {len(rows.categories)} categories"
    if rows.categories:
        count += f" of {sum(rows.categories.values()):,} values in all"
    return _made_for(facts, sizes, count), replace(data, classes=classes)


def _learning(question: Question, facts: ModelFacts, rows: TableRows) -> ModelFacts:
    """The model of the same name that learns what the target holds."""
    if facts.task == rows.task:
        return facts
    name = facts.name.partition(":")[2]
    if facts.origin != "catalogue" or own.kin_for(name, rows.task) is None:
        return facts
    other = resolve(question.model, task=rows.task, offline=question.offline)
    what = "is one of few values" if rows.task == CLASSES else "is a measured number"
    text = (
        f"trained as {rows.task}: the target {rows.target!r} {what}; {FieldName('task')} changes it"
    )
    kept = [line for line in other.first_lines if line.topic != "task"]
    return replace(other, first_lines=(FirstLine("task", text), *kept))


def _as_classes(question: Question, facts: ModelFacts, rows: TableRows) -> list[FirstLine]:
    """What is said of numbers that are learnt as classes."""
    if facts.task != CLASSES or rows.columns[rows.target].kind != "number":
        return []
    values = f"each of the {rows.classes:,} whole numbers in {rows.target!r} is a class"
    if question.task is not None:
        return [FirstLine("task", f"{values}, as asked", warning=rows.task != CLASSES)]
    text = f"{values}: {FieldName('task')} {MEASURED} learns them as measured"
    return [FirstLine("task", text, warning=True)]


def _check(facts: ModelFacts, rows: TableRows) -> None:
    """Raises QuestionError for words as measured values, or measured values as classes."""
    words = rows.columns[rows.target].kind == "category"
    other = MEASURED if facts.task == CLASSES else CLASSES
    if facts.task == CLASSES and rows.classes is None:
        what = "holds measured numbers, not classes"
    elif facts.task == MEASURED and words:
        what = "holds words, not measured numbers"
    else:
        return
    raise QuestionError(
        f"{facts.name} learns {facts.task}: the target {rows.target!r} {what}",
        where=FieldName("task"),
        mend=f"Ask for {other}, or name another column last in {FieldName('text_columns')}",
    )


def _made_for(facts: ModelFacts, sizes: Mapping[str, Any], words: str) -> ModelFacts:
    """The factory's model with the sizes of the data that it takes; what it does not take is
    said."""
    takes = parameters_of(facts.architecture or "") if facts.library == "factory" else frozenset()
    given = {name: value for name, value in sizes.items() if name in takes}
    lines = facts.first_lines
    if given:
        facts = facts.made_for(**given)
    if set(given) == set(sizes):
        if facts.origin == "catalogue":
            name = facts.name.partition(":")[2]
            before = own.line_of(name)
            made = own.line_of(name, f"made for the data's {words}")
            lines = tuple(made if line == before else line for line in lines)
        return replace(facts, first_lines=lines)
    fixed = " and ".join(name for name in sizes if name not in given)
    text = (
        f"the data has {words}, but {facts.name} takes no {fixed}: it is priced with its own; a "
        f"factory with a parameter {' and '.join(sizes)} is made for the data's"
    )
    return replace(facts, first_lines=(*lines, FirstLine("model", text, warning=True)))


def _of_series(
    facts: ModelFacts, data: DatasetProfile, series: SeriesFound
) -> tuple[ModelFacts, DatasetProfile]:
    config = facts.config or {}
    channels = _channels_key(config)
    lines = []
    count, lengths = _lengths(series, data.samples, together=channels is not None)
    if channels is not None:
        facts = _with_channels(facts, channels, len(series.values))
    elif series.layout == LONG and len(series.values) > 1:
        others = ", ".join(repr(path) for path in series.values if path != series.value)
        text = (
            f"{facts.name} reads one value a step, {series.value!r}: {others} left out; "
            f"{FieldName('text_columns')} names the columns that count"
        )
        lines.append(FirstLine("left_out", text, warning=True))
    if facts.library == "factory" and "series" in parameters_of(facts.architecture or ""):
        facts = _made_for(facts, {"series": count}, f"{count:,} series")
    window = _window(facts)
    if window is None:
        text = (
            f"how many steps {facts.name} reads and forecasts is not known: each of the "
            f"{data.samples:,} rows is counted as a sample"
        )
        return facts, _cut(data, data.samples, [*lines, FirstLine("data", text, warning=True)])
    past, future = window
    each = np.maximum(0, lengths - (past + future) + 1)
    short = int((each == 0).sum())
    windows = round(float(each.mean()) * count)
    if windows < 1:
        raise QuestionError(
            f"{facts.name} reads {past:,} steps and forecasts {future:,}: the longest series has "
            f"{round(float(lengths.max())):,}",
            where="data",
            mend="Give longer series, or a model whose config has a shorter context",
        )
    text = (
        f"{windows:,} samples: every window of {past:,} steps read and {future:,} forecast, of "
        f"{count - short:,} series"
    )
    lines.append(FirstLine("data", text))
    if short:
        text = f"{short:,} of {count:,} series are shorter than a window and left out"
        lines.append(FirstLine("left_out", text, warning=True))
    return facts, _cut(data, windows, lines)


def _cut(data: DatasetProfile, samples: int, lines: list[FirstLine]) -> DatasetProfile:
    sampled = samples if data.whole else max(1, samples - 1)
    return replace(data, samples=samples, sampled=sampled, first_lines=(*data.first_lines, *lines))


def _lengths(series: SeriesFound, rows: int, *, together: bool) -> tuple[int, np.ndarray]:
    """(series, their steps). ``together``: the columns of a wide table are channels of one series.
    Of a file read in parts the steps of all rows are shared by the series that were seen."""
    lengths = series.lengths
    if series.layout == ROWS:
        return rows, lengths
    if series.layout == LONG:
        whole = lengths if series.whole else np.full(len(lengths), rows // len(lengths))
        return len(lengths), whole
    return (1, lengths.max(keepdims=True)) if together else (len(lengths), lengths)


def _channels_key(config: Mapping[str, Any]) -> str | None:
    """The key of the number of values that a model reads at each step; None for one value."""
    if has("window_channels", config.get("model_type", "")):
        return "num_input_channels"
    several = has("window_longest_lag", config.get("model_type", "")) and config.get("input_size")
    return "input_size" if several and several > 1 else None


def _with_channels(facts: ModelFacts, key: str, channels: int) -> ModelFacts:
    """A model that reads several values a step, of as many as the data has."""
    stated = (facts.config or {}).get(key, 1)
    if stated == channels:
        return facts
    text = (
        f"made for the data's {channels:,} value{'s' if channels > 1 else ''} a step, where its "
        f"config has {stated:,}"
    )
    changed = facts.with_config(**{key: channels})
    return replace(changed, first_lines=(*facts.first_lines, FirstLine("model", text)))


def _window(facts: ModelFacts) -> tuple[int, int] | None:
    """(steps read, steps forecast) of a sample; None where nothing tells."""
    if facts.origin == "catalogue" and facts.library == "factory":
        row = own.row_of(facts.name.partition(":")[2])
        return (int(row["steps_read"]), int(row["steps_forecast"])) if row["steps_read"] else None
    config = facts.config or {}
    family = config.get("model_type", "")
    if not has("window_forecast", family):
        return None
    future = config.get("prediction_length") or config.get("horizon_length")
    future = int(future or constant("window_forecast", family))
    if has("window_read", family):
        return int(config.get("context_length") or constant("window_read", family)), future
    lags = config.get("lags_sequence") or [int(constant("window_longest_lag", family))]
    return int(config.get("context_length") or future) + max(lags), future
