"""Data without a model: the models that people take for such data, each priced the way that is
advised for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner import tables
from planner.answer.estimate import estimate
from planner.answer.limits import recommended_option
from planner.answer.recommend import advised
from planner.datasets.files import locate
from planner.datasets.profile import DatasetProfile
from planner.errors import DataError, FieldName, PlannerError, QuestionError
from planner.files import loads, read_text
from planner.first_lines import FirstLine, ordered
from planner.models import catalogue
from planner.question import Question
from planner.trace.source import Progress

SCHEMA = 1
#: Of the strategies that the rules advise for a model, so many are tried until one fits.
TRIED = 3
#: Weights, beside which files are no data.
WEIGHTS = (".bin", ".safetensors", ".pt", ".pth", ".ckpt", ".gguf")
LARGEST_CONFIG_BYTES = 2**20
#: What a model's folder holds, by which it is no data.
MODEL_FILES = ("config.json", "adapter_config.json", "model_index.json")
#: Topics of first lines that say how a model is run.
OF_A_RUN = ("run", "recipe")
MODALITIES = {"image": "images", "image_text": "captioned images"}


def is_data(name: str) -> bool:
    """Whether what stands in the place of a model is data: a file that a reader takes, or a folder
    of such files without a model."""
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return not _holds_a_model(path) and catalogue.find(name) is None and _is_readable(path)
        return path.is_file() and _is_readable(path) and not _is_config(path)
    except OSError:
        return False


def _holds_a_model(folder: Path) -> bool:
    names = {file.name for file in folder.iterdir()}
    return bool(names & set(MODEL_FILES)) or any(name.endswith(WEIGHTS) for name in names)


def _is_readable(path: Path) -> bool:
    try:
        locate(path)
    except DataError:
        return False
    return True


def _is_config(file: Path) -> bool:
    """A model's config, whatever it is called: an object that names a type of model."""
    if file.suffix != ".json" or file.stat().st_size > LARGEST_CONFIG_BYTES:
        return False
    try:
        found = loads(read_text(file))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool({"model_type", "architectures"} & set(found))


def kind_of(data: DatasetProfile) -> str:
    """A kind of ``profiles/recipes/models.csv`` by what a scan found."""
    if data.modality == "audio":
        return "sounds" if data.lengths is None and data.target_lengths is None else "speech"
    if data.modality != "text":
        return MODALITIES[data.modality]
    label, layout = data.columns.get("label"), data.columns.get("kind")
    if layout == "transfer":
        return "text pairs"
    if not label or layout in ("chat", "instruction"):
        return "text"
    return "tagged tokens" if label.endswith("tags") else "labelled text"


def models_for(question: Question, progress: Progress | None = None) -> dict[str, Any]:
    """One row a model that people take for the data of a question, whose ``model`` is not looked
    at. Raises DataError for data that cannot be read, QuestionError where nobody's models are
    known for it."""
    rows, data, what = _taken(question)
    samples = data.samples if data is not None else question.samples or 0
    found = [_priced(question, row, samples, progress) for row in rows]
    lines = [
        FirstLine(
            "model",
            f"no model is named: those that people take for {what} are priced, each the way that "
            "is advised for it; name one for all its strategies",
        )
    ]
    if data is not None:
        lines += [*data.first_lines, FirstLine("data", _data_words(data))]
    return {
        "schema": SCHEMA,
        "first_lines": [line.as_dict() for line in ordered(lines)],
        "question": question.model_dump(mode="json", exclude={"model"}),
        "dataset": None if data is None else data.as_dict(),
        "models": found,
        "warnings": [] if data is None else list(data.warnings),
    }


def _taken(question: Question) -> tuple[list[dict[str, str]], DatasetProfile | None, str]:
    """(rows of models, the data where it is read, its kind)."""
    data = None
    if question.data is not None:
        from planner.datasets.scanning import scan

        data = scan(Path(question.data), task=question.task, text_columns=question.text_columns)
    known = tables.rows("recipes", "models.csv")
    if question.task is not None:
        rows = [row for row in known if row["task"] == question.task]
        return _some(rows, question.task.replace("_", " ")), data, rows[0]["data"]
    if data is None and question.tokens_per_sample is None:
        raise QuestionError(
            "what the samples are is not known",
            where=FieldName("samples"),
            mend=f"Name a model or data, or give {FieldName('task', 'tokens_per_sample')}",
        )
    kind = "text" if data is None else kind_of(data)
    return _some([row for row in known if row["data"] == kind], kind), data, kind


def _some(rows: list[dict[str, str]], what: str) -> list[dict[str, str]]:
    if not rows:
        raise QuestionError(f"no models are known for {what}", mend="Name a model")
    return rows


def _data_words(data: DatasetProfile) -> str:
    tokens = data.mean_length
    mean = "" if tokens is None else f" of {tokens:,.0f} tokens on average"
    return f"data: {data.samples:,} samples{mean}"


def _priced(
    question: Question, row: dict[str, str], samples: int, progress: Progress | None
) -> dict[str, Any]:
    """One model's row of the table, by its own answer; why not, where it has none."""
    entry = catalogue.find(row["model"]) or {}
    known: dict[str, Any] = {
        "model": row["model"],
        "parameters": int(entry["parameters"]) if entry.get("parameters") else None,
        "license": entry.get("license") or None,
        "recipes": int(row["recipes"]),
        "source": row["source"],
    }
    asked = question.model_copy(update={"model": row["model"], "task": row["task"]})
    why_not = "no way that is advised fits and keeps the limits"
    for strategies in _ways(asked, known["parameters"], samples):
        try:
            answer = estimate(asked.model_copy(update={"strategy": strategies}), progress=progress)
        except PlannerError as error:
            why_not = str(error)
            continue
        option = recommended_option(answer)
        if option is not None:
            said = [line["text"] for line in answer["first_lines"] if line["topic"] in OF_A_RUN]
            return {**known, "option": dict(option), "lines": said, "why_not": None}
    return {**known, "option": None, "lines": [], "why_not": why_not}


def _ways(question: Question, parameters: int | None, samples: int) -> list[list[str]]:
    """What to try, one after the other: all that is asked for, or the strategies that the rules
    advise."""
    if question.strategy is not None:
        return [question.strategy]
    ways = advised(question.task or "", parameters, samples)
    return [[name] for name in dict.fromkeys(strategy for strategy, _ in ways)][:TRIED]
