"""Published recipes: the raw table's cells become numbers with what is said beside them, one
shipped table a subject."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.raw_tables import NewTable, Table, TableChanges, read_raw
from planner.models import catalogue
from planner.units import parse_count

#: Columns that hold a number, and what follows it in a raw cell.
NUMBERS = (
    "global_batch",
    "micro_batch",
    "accumulation",
    "epochs",
    "steps",
    "max_length",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
)
#: Of a shipped recipe, in this order.
COLUMNS = (
    "family",
    "model",
    "parameters",
    "task",
    "strategy",
    "kind",
    "data_size_range",
    "data_samples",
    "data_hours",
    "global_batch",
    "micro_batch",
    "accumulation",
    "batch_unit",
    "epochs",
    "steps",
    "max_length",
    "length_unit",
    "packing",
    "group_by_length",
    "precision",
    "optimizer",
    "gradient_checkpointing",
    "lora_rank",
    "lora_alpha",
    "lora_targets",
    "lora_dropout",
    "warmup",
    "evaluation_every",
    "evaluations_per_epoch",
    "evaluation_steps",
    "evaluation_generates",
    "augmentation_or_image_size",
    "gpus",
    "qualifiers",
    "notes",
    "source",
    "date",
)
MEDIAN_COLUMNS = ("task", "strategy", "key", "value", "rows", "source", "date")
#: Published tasks by the words in them → the shipped table; the first that is found.
SUBJECTS = (
    ("vision-language|image-text|text-to-image|image captioning|visual|personalisation", "mixed"),
    ("image editing|image generation|textual inversion|conditional control|few-step", "mixed"),
    ("speech|audio", "sound"),
    ("preference|reward|rl|dpo|kto", "preference"),
    ("sentence|retrieval|rerank|embedding|few-shot", "embedding"),
    ("image|detection|segmentation|video|self-supervised", "vision"),
    ("", "language"),
)
#: Sizes that the raw table leaves to what everybody knows of a dataset; its README says so.
KNOWN_SIZES = (("ImageNet-1k", 1_281_167), ("alpaca_cleaned|alpaca-cleaned", 51_760))
KNOWN_SIZES += (("alpaca_dataset|dataset alpaca(,|$)|^alpaca$|alpaca-gpt4", 52_002),)
KNOWN_SIZES += (("Alpaca2k", 2_000), ("gsm8k_dataset", 7_473), ("prm800k", 800_000))
KNOWN_SIZES += (("openassistant-guanaco", 9_846),)
#: What is no count of samples.
OTHER_UNITS = r"(tokens|words|characters|h\b|hours|min\b|GB|samples per class|per parameter)"
EXAMPLES = ("example", "library_default", "community")
#: A median of fewer rows says little.
LEAST_ROWS = 3
MINUTES_PER_HOUR = 60
#: Samples that are few: below, published batches fall with the data.
SMALL_DATA = 10_000


def refresh_recipes(root: Path, raw: Path) -> list[TableChanges]:
    """``recipes/<subject>.csv`` and ``recipes/medians.csv``; nothing where the folder has no
    recipes.csv."""
    file = raw / "recipes.csv"
    if not file.exists():
        return []
    cells = read_raw(file, ("family", "task", "strategy", "kind", "source", *NUMBERS))
    rows = [shipped_row(row) for row in cells]
    subjects: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        subjects.setdefault(subject_of(row["task"]), []).append(row)
    found = [
        _rewritten(NewTable(root / "recipes" / f"{name}.csv", COLUMNS), f"recipes/{name}.csv", part)
        for name, part in sorted(subjects.items())
    ]
    table = NewTable(root / "recipes" / "medians.csv", MEDIAN_COLUMNS)
    return [*found, _rewritten(table, "recipes/medians.csv", medians(rows))]


def _rewritten(table: Table, name: str, rows: list[dict[str, str]]) -> TableChanges:
    """The table whole from the raw one; recipes that are gone are removed."""
    changes = TableChanges(name)
    before, after = (Counter(tuple(row.values()) for row in part) for part in (table.rows, rows))
    changes.added = [" ".join(filter(None, row[:4])) for row in (after - before).elements()]
    changes.removed = [" ".join(filter(None, row[:4])) for row in (before - after).elements()]
    table.write(rows)
    return changes


def subject_of(task: str) -> str:
    return next(name for words, name in SUBJECTS if re.search(words, task))


def shipped_row(raw: dict[str, str]) -> dict[str, str]:
    """A raw row with its numbers clean; what stood beside a number is kept in ``qualifiers``."""
    row, said = dict(raw), []
    for column in NUMBERS:
        row[column], beside = number_of(raw[column])
        said += [f"{column}: {beside}"] if beside else []
    row["qualifiers"] = "; ".join(said)
    row["data_samples"] = samples_of(raw["data_size_range"])
    row["data_hours"] = hours_of(raw["data_size_range"])
    row["parameters"] = parameters_of(raw["model"])
    row["evaluations_per_epoch"], row["evaluation_steps"] = evaluations_of(raw["evaluation_every"])
    row["date"] = raw["date"] or "not stated"
    said_of_batches = raw["packing"] + raw["notes"]
    row["group_by_length"] = "yes" if "grouped by length" in said_of_batches else ""
    for column in ("packing", "gradient_checkpointing", "evaluation_generates"):
        row[column] = (re.match(r"yes|no|", raw[column]) or [""])[0]
    return {column: row[column] for column in COLUMNS}


def number_of(cell: str) -> tuple[str, str]:
    """(the number that a cell starts with, what follows it). Of choices (``2, 3 or 4``) and ranges
    (``4000 to 5000``) the middle, the upper where there are two; of phases the first. Blank where
    there is none, or it is of something else (``per GPU``, ``cap per epoch``)."""
    number = r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?"
    found = re.match(rf"({number}(?:(?:, | or | to ){number})*)(?![\w/])\s*(.*)", cell)
    if not found or re.match(r"per GPU|\(cap|\(ramp", found[2]):
        return "", cell
    values = [float(one.replace(",", "")) for one in re.findall(number, found[1])]
    several = re.search(r" or | to ", found[1])
    value = statistics.median_high(values) if several else values[0]  # phases: the first
    beside = found[2] if len(values) == 1 else cell
    return f"{value:.12g}", beside


def samples_of(text: str) -> str:
    """Samples of a dataset where its words or everybody say so; blank where they count something
    else."""
    for pattern, samples in KNOWN_SIZES:
        if re.search(pattern, text):
            return str(samples)
    counts = (
        r"(?<![A-Za-z.\d])(\d[\d,.]*)([kKM])(?![a-zA-Z])",
        r"(?<![-\w.])(\d[\d,]{2,})()(?=[ -](?!epoch)[a-z]|,|\))",
    )
    plain = re.sub(r"ImageNet-22k|COCO 2017|MSCOCO 2014|[\d.]+ held out", "", text)
    in_brackets = " ".join(re.findall(r"\(([^)]*)\)", plain))
    for words, pattern in (
        (words, pattern) for words in (in_brackets, plain) for pattern in counts
    ):
        for hit in re.finditer(pattern, words):
            if not re.match(rf"\s*{OTHER_UNITS}", words[hit.end() :]):
                return str(parse_count(hit[1].rstrip(".,").replace(",", "") + hit[2]))
    return ""


def hours_of(text: str) -> str:
    """Hours of sound; blank where the words do not say, or say several."""
    hours = re.findall(r"(\d+)(k?) (h|min)\b", text)
    if len(hours) != 1:
        return ""
    number, thousands, unit = hours[0]
    value = parse_count(number + thousands) / (MINUTES_PER_HOUR if unit == "min" else 1)
    return f"{value:.4g}"


def parameters_of(model: str) -> str:
    """From the size in a name (``llama3_1/8B_lora``), else the catalogue's, of each where several
    are named (``resnet18/34/50``); blank where neither says."""
    several = re.fullmatch(r"([a-z]+)(\d+(?:/\d+)+)", model)
    if several:
        named = [parameters_of(f"{several[1]}{size}") for size in several[2].split("/")]
        return " ".join(filter(None, named))
    sizes = re.findall(r"(?<![\w.])(?:[A-Za-z]*[-_])?(\d+(?:\.\d+)?)([MB])(?![A-Za-z])", model)
    sizes = sizes or re.findall(r"[/_-](\d+(?:\.\d+)?)([MmBb])(?![A-Za-z])", model)
    if sizes:
        return str(parse_count("".join(sizes[-1])))
    names = (model, model.split(" ")[0], f"{model.split(' ')[0]}-uncased".lower())
    known = next(filter(None, map(catalogue.find, names)), None)
    return known["parameters"] if known else ""


def evaluations_of(cell: str) -> tuple[str, str]:
    """(evaluations an epoch, steps between two): one of them, or neither where the cell says
    nothing usable."""
    if re.match(r"never|at the end|after training", cell):
        return "0", ""
    rules: tuple[tuple[str, Callable[[str], tuple[str, str]]], ...] = (
        (r"(\d+) per epoch", lambda n: (n, "")),
        (r"(\d+) epochs?", lambda n: (f"{1 / int(n):.12g}", "")),
        (r"(\d+) (?:steps|iterations|\(fraction)", lambda n: ("", n)),
    )
    for pattern, values in rules:
        found = re.match(pattern, cell)
        if found:
            return values(found[1])
    return "", ""


def medians(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """What most rows of a task and strategy do: the batch over all of them, the epochs over those
    that made or reproduce a published model, and how many steps small data has an epoch."""
    rows = list(rows)
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["strategy"]), []).append(row)
    found = []
    for (task, strategy), part in sorted(groups.items()):
        strong = [row for row in part if row["kind"] not in EXAMPLES]
        for key, source in (("global_batch", _in_samples(part)), ("epochs", strong)):
            values = [float(row[key]) for row in source if row[key]]
            if len(values) >= LEAST_ROWS:
                middle = statistics.median_low(values)
                found.append(_median(task, strategy, key, middle, len(values), rows))
    return [*found, *_small_data(rows)]


def _in_samples(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return [
        row for row in rows if "audio" not in row["batch_unit"] and row["batch_unit"] != "words"
    ]


def _small_data(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """First quartiles over fine-tuning on few samples: the steps of an epoch, and the batch."""
    pairs = [
        (float(row["data_samples"]) / float(row["global_batch"]), float(row["global_batch"]))
        for row in _in_samples(rows)
        if row["data_samples"] and row["global_batch"] and row["strategy"] != "scratch"
        if float(row["data_samples"]) <= SMALL_DATA
    ]
    keys = ("least_epoch_steps", "least_batch")
    quartiles = [round(statistics.quantiles(values, n=4)[0]) for values in zip(*pairs)]
    return [
        _median("any", "any", key, value, len(pairs), rows)
        for key, value in zip(keys, quartiles, strict=True)
    ]


def _median(
    task: str, strategy: str, key: str, value: float, count: int, rows: list[dict[str, str]]
) -> dict[str, str]:
    what = "first quartile" if key.startswith("least") else "median"
    few = f" on at most {SMALL_DATA:,} samples" if key.startswith("least") else ""
    return {
        "task": task,
        "strategy": strategy,
        "key": key,
        "value": f"{value:.12g}",
        "rows": str(count),
        "source": f"{what} of {count} published recipes{few} (profiles/recipes)",
        "date": max(row["date"] for row in rows if row["date"][:1].isdigit()),
    }
