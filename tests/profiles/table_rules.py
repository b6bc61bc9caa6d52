"""What a row of a shipped table may have to satisfy.

A check takes (path, rows) and returns the list of what is wrong, each naming its row.
"""

import datetime
import re
from collections import Counter

from planner import tables
from planner.plan.inputs.practice import CTC
from planner.plan.phases.stages import STAGES
from planner.question import ALL_STRATEGIES
from planner.question.training_setting import OBJECTIVES
from planner.tasks import tasks
from planner.today import system_date

#: The system's day, not the one that the tests answer as of: nothing can have been captured later.
TODAY = system_date()


def number(row, column):
    return float(row[column]) if row.get(column) else None


def label(row):
    return next(
        (
            row[c]
            for c in ("key", "instance_type", "model", "alias", "gpu", "kind", "name", "workload")
            if row.get(c)
        ),
        str(row)[:80],
    )


def rows_satisfying(rule, message):
    def check(path, rows):
        return [f"{label(row)}: {message}" for row in rows if not rule(row)]

    return check


def knows_its_stages(row):
    return set(row["before"].split() + row["loaded"].split()) <= set(STAGES)


def rectangular(path, rows):
    return ([] if rows else ["no rows"]) + [
        f"{label(row)}: ragged row" for row in rows if None in row or None in row.values()
    ]


def sourced(path, rows):
    """A filled ``source`` cell a row, or a comment above the header with "Source:", or a README
    that names the table."""
    column = next((c for c in ("source", "sources") if rows and c in rows[0]), None)
    if column:
        return [f"{label(row)}: no source" for row in rows if not row[column].strip()]
    comments = [
        line for line in path.read_text(encoding="utf-8").splitlines()[:10] if line.startswith("#")
    ]
    if any("source:" in line.lower() for line in comments) or not mentioned(path, rows):
        return []
    return [
        "neither a source column, nor a comment with Source:, nor a README that names the table"
    ]


def mentioned(path, rows):
    for folder in path.relative_to(tables.root()).parents:
        readme = tables.root() / folder / "README.md"
        if readme.is_file() and re.search(rf"\b{re.escape(path.stem)}\b", readme.read_text()):
            return []
    return ["no README mentions this table"]


def dated(column):
    def check(path, rows):
        found = []
        for row in rows:
            text = row[column]
            if not text:
                found.append(f"{label(row)}: no {column}")
            elif datetime.date.fromisoformat(text) > TODAY:
                found.append(f"{label(row)}: {column} is in the future")
        return found

    return check


def unique(*columns):
    def check(path, rows):
        counts = Counter(tuple(row[c] for c in columns) for row in rows)
        return [f"{key}: {n} rows" for key, n in counts.items() if n > 1]

    return check


def positive(*columns):
    return rows_satisfying(
        lambda row: all(number(row, c) is None or number(row, c) > 0 for c in columns),
        f"one of {columns} is not positive",
    )


def at_most(small, large, factor=1.0):
    def rule(row):
        a, b = number(row, small), number(row, large)
        return a is None or b is None or a <= b * factor

    return rows_satisfying(rule, f"{small} exceeds {large}")


def one_of(column, values):
    return rows_satisfying(lambda row: row[column] in values, f"{column} is not one of {values}")


def gpu_key_known(path, rows):
    known = {row["key"] for row in tables.rows("gpus", "gpus.csv")}
    return [
        f"{label(row)}: unknown GPU {row['gpu_key']}"
        for row in rows
        if row["gpu_key"] and row["gpu_key"] not in known
    ]


def mapped_or_explained(path, rows):
    return [
        f"{label(row)}: neither a GPU nor a reason"
        for row in rows
        if not row["gpu_key"] and not row["reason"]
    ]


def price_maps_once(path, rows):
    """Every price row's GPU is in gpu_names.csv, mapped or with the reason why not."""
    names = {
        (row["gpu"], row["gpu_mem_gib"])
        for row in tables.rows("prices", "gpu_names.csv")
        if not row["provider"]
    }
    return [
        f"{label(row)}: GPU {row['gpu']!r} {row['gpu_mem_gib']!r} is not in gpu_names.csv"
        for row in rows
        if (row["gpu"], row["gpu_mem_gib"]) not in names
    ]


def price_is_usable_or_explained(path, rows):
    found = []
    for row in rows:
        if row["unusable"]:
            continue
        # some sell a device as spot only
        priced = row["usd_per_instance_hour"] or row["spot_usd_per_instance_hour"]
        if not row["captured_date"] or not priced or not row["gpu_count"]:
            found.append(f"{label(row)}: usable, but without date, price or count")
        elif bool(row["usd_per_instance_hour"]) != bool(row["usd_per_gpu_hour"]):
            found.append(f"{label(row)}: one of instance price and GPU price is missing")
        elif (
            row["usd_per_instance_hour"]
            and abs(
                number(row, "usd_per_instance_hour") / number(row, "gpu_count")
                - number(row, "usd_per_gpu_hour")
            )
            > 1e-3
        ):
            found.append(f"{label(row)}: instance price and GPU price disagree")
    return found


def date_if_any_not_future(path, rows):
    return [
        f"{label(row)}: captured in the future"
        for row in rows
        if row["captured_date"] and datetime.date.fromisoformat(row["captured_date"]) > TODAY
    ]


def file_is_provider(path, rows):
    return [
        f"{label(row)}: provider {row['provider']!r} in {path.name}"
        for row in rows
        if row["provider"] != path.stem
    ]


def clock_is_plausible(path, rows):
    """fp16 rate = SMs × FMA a clock × 2 × clock: the clock that it implies must be one that such a
    part runs at."""
    gpus = {row["key"]: row for row in tables.rows("gpus", "gpus.csv")}
    found = []
    for row in rows:
        gpu = gpus[row["gpu_key"]]
        ghz = (
            number(gpu, "fp16_tflops")
            * 1e3
            / (number(gpu, "sm_count") * number(row, "fma_per_clock_per_sm") * 2)
        )
        if not 1.3 <= ghz <= 2.7:
            found.append(f"{row['gpu_key']}: {ghz:.2f} GHz")
    return found


def hand_cells_are_shipped(path, rows):
    """A cell that a hand settled stands so in the table that it is for."""
    shipped = {row["key"]: row for row in tables.rows("gpus", "gpus.csv")}
    return [
        f"{row['key']} {row['column']}: {row['value']!r} is not what {row['table']} has"
        for row in rows
        if row["table"] != "gpus" or shipped[row["key"]][row["column"]] != row["value"]
    ]


def has_unit(row):
    return bool(row["unit"].strip())


#: What a default may be of.
#: Speech recognition without a decoder is none of the tasks and has rows of its own.
LIBRARIES = ("transformers", "timm", "torchvision", "ultralytics", "diffusers", "factory")
SCOPES = (
    *(*ALL_STRATEGIES, *OBJECTIVES, *tasks(), CTC, "any"),
    *(f"{strategy} {scope}" for strategy in ALL_STRATEGIES for scope in (*LIBRARIES, *tasks())),
    *(f"{library} {task}" for library in LIBRARIES for task in tasks()),
)


def every_key_has_a_row_for_any(path, rows):
    """No strategy or task is left without a default."""
    keys, general = {row["key"] for row in rows}, {r["key"] for r in rows if r["scope"] == "any"}
    return [f"{key}: no row of scope any" for key in sorted(keys - general)]


GENERIC = (rectangular, sourced)
PRICES = GENERIC + (
    mentioned,
    unique(
        "provider",
        "region",
        "instance_type",
        "captured_date",
        "gpu",
        "gpu_mem_gib",
        "region_rule",
        "kind",
        "source",
    ),
    positive(
        "usd_per_instance_hour", "usd_per_gpu_hour", "spot_usd_per_instance_hour", "gpu_count"
    ),
    at_most("spot_usd_per_instance_hour", "usd_per_instance_hour"),
    date_if_any_not_future,
    file_is_provider,
    price_maps_once,
    price_is_usable_or_explained,
)

RECIPE_KINDS = ("recipe", "paper", "example", "community", "library_default")
FLAGS = ("", "yes", "no")


def has_a_day_or_says_why_not(path, rows):
    day = re.compile(r"\d{4}(-\d\d){0,2}|about \d{4}|undated stored version|not stated")
    return [f"{label(row)}: date {row['date']!r}" for row in rows if not day.fullmatch(row["date"])]


def batch_is_that_of_its_devices(path, rows):
    """Where all are plain counts; 16 completions a prompt are one."""
    found = []
    for row in rows:
        parts = [row[c] for c in ("global_batch", "micro_batch", "accumulation", "gpus")]
        if all(re.fullmatch(r"\d+", part) for part in parts) and row["batch_unit"] != "completions":
            whole, micro, accumulation, gpus = map(int, parts)
            if whole != micro * accumulation * gpus:
                found.append(f"{label(row)}: {whole} is not {micro} × {accumulation} × {gpus}")
    return found


def starts_name_one_family(path, rows):
    starts = Counter(start for row in rows for start in row["starts"].split())
    groups = Counter(row["group"] for row in rows if row["lead"] == "yes")
    return [f"{start}: of several families" for start, count in starts.items() if count > 1] + [
        f"{group}: {groups[group]} lead it"
        for group in {row["group"] for row in rows}
        if groups[group] != 1
    ]


def published_task_is_known(path, rows):
    from planner.plan.inputs.recipes import published

    known = {(row.task, row.strategy) for row in published()}
    wanted = [(row["published_task"], row["published_strategy"]) for row in rows]
    # some strategies are published of one of two near tasks only
    return [
        f"{row['task']} {row['strategy']}: nothing of it is published"
        for row in rows
        if not any(
            pair in known
            for pair, other in zip(wanted, rows, strict=True)
            if (other["task"], other["strategy"]) == (row["task"], row["strategy"])
        )
    ]


def counted_recipes(path, rows):
    from planner.plan.inputs.recipes import published

    found = []
    for row in rows:
        tasks = row["published_tasks"].split("; ")
        count = sum(one.family == row["family"] and one.task in tasks for one in published())
        if count != int(row["recipes"]):
            found.append(f"{label(row)}: {count} published recipes, not {row['recipes']}")
    return found


RECIPES = GENERIC + (
    has_a_day_or_says_why_not,
    batch_is_that_of_its_devices,
    one_of("kind", RECIPE_KINDS),
    one_of("packing", FLAGS),
    one_of("gradient_checkpointing", FLAGS),
    one_of("evaluation_generates", FLAGS),
    one_of("precision", ("", "fp32", "fp16", "bf16", "fp8")),
    positive(
        "data_samples",
        "data_hours",
        "global_batch",
        "micro_batch",
        "accumulation",
        "epochs",
        "steps",
        "max_length",
        "lora_rank",
        "lora_alpha",
        "evaluation_steps",
    ),
    rows_satisfying(
        lambda row: all(float(size) > 0 for size in row["parameters"].split()), "no sizes"
    ),
    rows_satisfying(
        lambda row: (
            (number(row, "evaluations_per_epoch") or 0) >= 0
            and not (row["evaluations_per_epoch"] and row["evaluation_steps"])
        ),
        "evaluated by epochs or by steps",
    ),
    rows_satisfying(
        lambda row: all(row[c] for c in ("family", "model", "task", "strategy")), "nameless"
    ),
    rows_satisfying(
        lambda row: not (row["lora_rank"] and row["strategy"] == "full"), "a rank without LoRA"
    ),
)
