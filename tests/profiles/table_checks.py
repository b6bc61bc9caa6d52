"""The registry of what every row of every shipped table must satisfy. Adding a table: one line in
``CHECKS``.

A check takes (path, rows) and returns the list of what is wrong, each naming its row.
"""

import datetime
import re
from collections import Counter

from planner import tables
from planner.budget.what_if.sensitivity import WAYS
from planner.datasets.profile import MODALITIES
from planner.models.building.diffusion.conditions import CONDITIONS
from planner.plan.inputs.pictures import CAPTIONED, OF_ONE_SUBJECT
from planner.plan.inputs.practice import CTC
from planner.plan.phases.stages import STAGES
from planner.question import ALL_STRATEGIES, Question
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
SCOPES = (*ALL_STRATEGIES, *tuple(tasks()), CTC, "any")


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

#: Glob under profiles/ → checks. The first pattern that matches a table is the one that counts.
CHECKS = {
    "gpus/gpus.csv": GENERIC
    + (
        mentioned,
        unique("key"),
        dated("checked_date"),
        one_of("memory_group", ("hbm", "gddr", "gddr_ecc")),
        one_of("vendor", ("nvidia", "amd", "google", "intel")),
        one_of("basis", ("documented", "derived", "single source")),
        positive(
            "memory_gb_nominal",
            "memory_gib_visible",
            "memory_bandwidth_gb_per_s",
            "fp32_tflops",
            "fp16_tflops",
            "bf16_tflops",
            "tdp_watts",
            "sm_count",
            "l2_mib",
        ),
        # 2:4 sparsity doubles a rate: fp8 and int8 are at most twice the dense 16-bit rate, 16-bit
        # at most four times tf32 (GeForce, A10G)
        at_most("memory_gib_visible", "memory_gb_nominal"),
        at_most("fp32_tflops", "tf32_tflops", 1.01),
        at_most("tf32_tflops", "fp16_tflops"),
        at_most("fp32_tflops", "bf16_tflops"),
        at_most("fp16_tflops", "bf16_tflops"),
        at_most("bf16_tflops", "fp8_tflops"),
        at_most("fp8_tflops", "bf16_tflops", 2.03),
        at_most("int8_tops", "fp16_tflops", 4.05),
    ),
    "gpus/aliases.csv": GENERIC
    + (
        mentioned,
        unique("alias"),
        gpu_key_known,
        rows_satisfying(lambda row: row["reason"], "no reason"),
    ),
    "gpus/tensor_rates.csv": GENERIC
    + (mentioned, unique("gpu_key"), gpu_key_known, dated("checked_date"), clock_is_plausible),
    "gpus/runtime_memory.csv": GENERIC
    + (
        mentioned,
        dated("checked_date"),
        one_of("unit", ("MiB", "B", "count", "ratio")),
        one_of("use", ("yes", "no")),
        rows_satisfying(lambda row: float(row["value"]) >= 0, "negative"),
    ),
    "processors/rates.csv": GENERIC
    + (
        unique("flag", "type"),
        dated("date"),
        positive("flop_per_cycle_per_core"),
        one_of("type", ("fp32", "bf16", "fp16")),
    ),
    "processors/memory.csv": GENERIC + (unique("parameter"), dated("date"), positive("value")),
    "prices/gpu_names.csv": (
        rectangular,
        mentioned,
        unique("gpu", "gpu_mem_gib", "provider"),
        gpu_key_known,
        mapped_or_explained,
    ),
    "prices/terms/billing.csv": GENERIC
    + (
        mentioned,
        unique("provider", "instance_prefix"),
        dated("checked_date"),
        positive("granularity_seconds", "minimum_seconds"),
    ),
    "prices/terms/storage.csv": GENERIC
    + (mentioned, unique("provider"), dated("checked_date"), positive("usd_per_gib_month")),
    "prices/terms/egress.csv": GENERIC
    + (
        mentioned,
        unique("provider"),
        dated("checked_date"),
        rows_satisfying(lambda row: 0 <= float(row["usd_per_gib"]) < 1, "no price of egress"),
    ),
    "prices/terms/interruptions.csv": GENERIC
    + (
        mentioned,
        unique("provider", "gpu_key"),
        gpu_key_known,
        dated("checked_date"),
        positive("low_per_day"),
        at_most("low_per_day", "high_per_day"),
    ),
    "prices/terms/currencies.csv": GENERIC
    + (mentioned, unique("currency"), dated("rate_date"), positive("usd_per_unit")),
    "prices/*.csv": PRICES,
    "refresh/rules.csv": GENERIC
    + (
        mentioned,
        one_of("action", ("rewrite", "set", "fill", "note")),
        unique("table", "provider", "column", "pattern", "sets"),
        rows_satisfying(
            lambda row: bool(row["sets"]) == (row["action"] != "rewrite"),
            "a rule but a rewrite says what it sets",
        ),
        rows_satisfying(lambda row: re.compile(row["pattern"]) and row["reason"], "no reason"),
    ),
    "refresh/providers.csv": GENERIC
    + (
        mentioned,
        unique("raw"),
        rows_satisfying(
            lambda row: row["provider"] or row["reason"], "neither a provider nor a reason"
        ),
    ),
    "refresh/cells.csv": GENERIC
    + (
        mentioned,
        unique("table", "key", "column"),
        hand_cells_are_shipped,
        rows_satisfying(lambda row: row["reason"], "no reason"),
    ),
    "api_prices/fine_tuning_rules.csv": GENERIC
    + (
        mentioned,
        unique("provider"),
        dated("captured_date"),
        positive("hosting_usd_per_hour", "hour_step", "most_usd"),
        one_of("validation", ("each evaluation", "once", "no", "")),
        one_of("served", ("token", "base", "gpu_hour", "")),
    ),
    "api_prices/vector_stores.csv": GENERIC
    + (
        mentioned,
        unique("store"),
        dated("captured_date"),
        positive(
            "usd_per_gb_month",
            "usd_per_million_dimensions_month",
            "usd_per_gb_written",
            "usd_per_gb_scanned",
            "least_gb_scanned",
            "least_usd_per_month",
        ),
    ),
    "api_prices/embedding_dimensions.csv": GENERIC
    + (mentioned, unique("model"), dated("captured_date"), positive("dimensions")),
    "api_prices/not_chat.csv": GENERIC
    + (
        mentioned,
        unique("part"),
        dated("captured_date"),
        rows_satisfying(lambda row: row["reason"], "no reason"),
    ),
    "api_prices/published_bills.csv": GENERIC
    + (
        mentioned,
        unique("name"),
        date_if_any_not_future,
        one_of("kind", ("tokens", "hours", "month")),
        positive("published_usd", "published_tokens", "training_tokens", "hours"),
    ),
    "api_prices/*.csv": GENERIC
    + (
        mentioned,
        date_if_any_not_future,
        rows_satisfying(lambda row: row["unit"] or row["kind"] == "note", "no unit"),
        rows_satisfying(
            lambda row: all(
                (number(row, c) or 0) >= 0 for c in ("usd_input", "usd_output", "usd_train")
            ),
            "negative price",
        ),
    ),
    "carbon/carbon.csv": GENERIC
    + (
        mentioned,
        unique("scope", "provider", "code", "source"),
        rows_satisfying(
            lambda row: 0 <= float(row["grams_co2e_per_kwh"]) < 1500, "intensity out of range"
        ),
    ),
    "carbon/pue.csv": GENERIC
    + (
        mentioned,
        unique("provider"),
        rows_satisfying(lambda row: 1.0 <= float(row["pue"]) < 2.5, "PUE out of range"),
    ),
    "energy/load_factors.csv": GENERIC
    + (
        mentioned,
        unique("workload", "gpu"),
        dated("checked_date"),
        at_most("average_power_watts", "power_limit_watts"),
        rows_satisfying(
            lambda row: (
                abs(
                    float(row["average_power_watts"]) / float(row["power_limit_watts"])
                    - float(row["load_factor"])
                )
                < 2e-3
            ),
            "load factor is not power over limit",
        ),
    ),
    "energy/codecarbon.csv": GENERIC
    + (mentioned, unique("parameter"), dated("date"), positive("value")),
    "defaults/training.csv": GENERIC
    + (
        unique("key", "scope"),
        dated("date"),
        rows_satisfying(lambda row: row["unit"] and row["why"], "no unit or no reason"),
        rows_satisfying(lambda row: float(row["value"]) >= 0, "negative value"),
        one_of("scope", SCOPES),
        every_key_has_a_row_for_any,
    ),
    "accuracy/whole_runs.csv": GENERIC
    + (
        unique("name"),
        dated("checked_date"),
        positive("gpus", "reported_hours", "planned_hours", "planned_p90_hours"),
        at_most("planned_p10_hours", "planned_hours"),
        at_most("planned_hours", "planned_p90_hours"),
        one_of("strategy", ALL_STRATEGIES),
        one_of("modality", tuple({task.runs for task in tasks().values()})),
    ),
    "models/own_models.csv": GENERIC
    + (
        unique("name"),
        one_of("task", tasks()),
        rows_satisfying(lambda row: row["assumed"] and ":" in row["factory"], "no assumed sizes"),
    ),
    "models/image_inputs.csv": GENERIC
    + (
        unique("model_type"),
        one_of("rule", ("grid", "fixed", "merged", "tiles", "resampled", "crossed")),
    ),
    "models/families_covered.csv": GENERIC
    + (
        unique("family"),
        one_of("task", tasks()),
        rows_satisfying(
            lambda row: (
                row["model"]
                and row["data"]
                and all(
                    part.partition("=")[0] in Question.model_fields
                    for part in row["fields"].split()
                )
            ),
            "no model, no data, or a field that a question has not",
        ),
    ),
    "models/tasks.csv": GENERIC
    + (
        unique("task"),
        one_of("modality", MODALITIES),
        rows_satisfying(lambda row: row["words"] and row["runs"], "no words or no runs"),
    ),
    "glossary.csv": GENERIC
    + (
        unique("key"),
        unique("term"),
        rows_satisfying(lambda row: row["meaning"].endswith("."), "no sentence"),
        one_of(
            "when",
            ("", "trained", "text", "spot", "serving", *(f"strategy:{s}" for s in ALL_STRATEGIES)),
        ),
    ),
    "defaults/serving.csv": GENERIC
    + (unique("key"), dated("date"), positive("value"), rows_satisfying(has_unit, "no unit")),
    "defaults/sensitivity.csv": GENERIC
    + (
        unique("key"),
        dated("date"),
        one_of("key", tuple(WAYS)),
        positive("low", "high"),
        at_most("low", "high"),
        one_of("how", ("factor", "project", "number", "offers", "hours")),
        rows_satisfying(
            lambda row: bool(row["low"] and row["high"]) == (row["how"] in ("factor", "number")),
            "values where none are taken, or none where they are",
        ),
        rows_satisfying(
            lambda row: row["field"] in ("", *Question.model_fields), "no field of a question"
        ),
        rows_satisfying(lambda row: row["what"] and row["why"], "no name or no reason"),
    ),
    "defaults/**/*.csv": GENERIC,
    "models/constants.csv": GENERIC
    + (
        unique("key", "family"),
        dated("date"),
        positive("value"),
        rows_satisfying(has_unit, "no unit"),
    ),
    "models/diffusion_pipelines.csv": GENERIC
    + (
        unique("pipeline"),
        dated("date"),
        positive("caption_tokens", "size"),
        one_of("told", tuple(CONDITIONS)),
        one_of("schedule", ("noise", "flow")),
        one_of("vae", ("half", "float32")),
        rows_satisfying(
            lambda row: {row["denoiser"], "vae"} <= set(row["parts"].split()), "parts are missing"
        ),
    ),
    "models/task_strategies.csv": GENERIC
    + (
        unique("task", "strategy"),
        dated("date"),
        one_of("task", tuple(tasks())),
        one_of("strategy", ALL_STRATEGIES),
        one_of("mend", ALL_STRATEGIES),
        rows_satisfying(lambda row: row["reason"], "no reason"),
    ),
    "models/**/*.csv": GENERIC,
    "datasets/constants.csv": GENERIC
    + (unique("key"), dated("date"), positive("value"), rows_satisfying(has_unit, "no unit")),
    "datasets/**/*.csv": GENERIC,
    "measured/published_totals.csv": GENERIC
    + (
        unique("id"),
        dated("date"),
        positive("gpus", "amount", "gpu_hours", "usd_stated", "params"),
        rows_satisfying(
            lambda row: (
                bool(row["refused"])
                != bool(row["model"] and row["amount"] and row["gpu_hours"] and row["gpu"])
            ),
            "neither answerable nor refused",
        ),
    ),
    "measured/families.csv": GENERIC
    + (
        unique("id"),
        positive("gpus", "micro_batch", "step_seconds", "samples_per_second", "peak_bytes"),
        rows_satisfying(
            lambda row: bool(row["peak_bytes"]) == bool(row["memory"]), "a peak of no memory"
        ),
        rows_satisfying(
            lambda row: row["source"] and row["assumed"], "no source, or nothing said of it"
        ),
    ),
    "measured/**/*.csv": GENERIC,
    "claims/claims.csv": GENERIC
    + (
        mentioned,
        unique("id"),
        dated("date"),
        rows_satisfying(lambda row: row["claim"] and row["explanation"], "no claim or explanation"),
    ),
    "claims/questions.csv": GENERIC
    + (mentioned, unique("id"), dated("date"), positive("samples", "tokens_per_sample")),
    "claims/facts.csv": GENERIC
    + (
        mentioned,
        unique("key"),
        dated("date"),
        at_most("low", "middle"),
        at_most("middle", "high"),
        positive("low"),
    ),
    "priors/calibration.csv": GENERIC
    + (unique("key"), dated("date"), positive("value"), rows_satisfying(has_unit, "no unit")),
    "priors/run.csv": GENERIC + (unique("key"), at_most("p10", "p50"), at_most("p50", "p90")),
    "priors/**/*.csv": GENERIC,
    "stacks/pipelines.csv": GENERIC
    + (
        dated("date"),
        positive("map_workers"),
        rows_satisfying(knows_its_stages, "a stage that nothing prices"),
    ),
    "stacks/stacks.csv": GENERIC
    + (
        dated("date"),
        rows_satisfying(lambda row: (row["value"] == "") != (row["word"] == ""), "value or word"),
    ),
    "optimizers.csv": GENERIC + (unique("optimizer"), dated("date")),
    "rules/samples.csv": GENERIC
    + (
        unique("order"),
        dated("date"),
        positive("min_samples", "max_samples"),
        at_most("min_samples", "max_samples"),
        one_of("per", ("class", "total")),
        one_of("strategy", ALL_STRATEGIES),
        rows_satisfying(lambda row: row["reason"], "no reason"),
    ),
    "rules/stages.csv": GENERIC
    + (
        unique("order"),
        dated("date"),
        one_of("kind", ("generate", "classify")),
        one_of("strategy", ALL_STRATEGIES),
        rows_satisfying(
            lambda row: all(row[c] for c in ("do", "go_on_while", "stop_when", "reason")),
            "a rule is empty",
        ),
    ),
    "rules/not_transfer.csv": GENERIC
    + (
        unique("order"),
        dated("date"),
        positive("min_samples"),
        one_of("when", ("ask", "samples", "enough_for_scratch")),
        rows_satisfying(
            lambda row: bool(row["question"]) == (row["when"] == "ask"),
            "a question, and only that, asks",
        ),
        rows_satisfying(
            lambda row: bool(row["min_samples"]) == (row["when"] == "samples"),
            "samples need a number",
        ),
        rows_satisfying(lambda row: row["reason"], "no reason"),
    ),
    "rules/*.csv": GENERIC
    + (unique("order"), dated("date"), rows_satisfying(lambda row: row["reason"], "no reason")),
    "models/decoders.csv": GENERIC
    + (
        unique("name"),
        dated("date"),
        dated("released"),
        positive("nominal_parameters"),
        rows_satisfying(lambda row: int(row["recipes"]) >= 0, "negative"),
    ),
    "recipes/families.csv": GENERIC + (unique("family"), dated("date"), starts_name_one_family),
    "recipes/tasks.csv": GENERIC
    + (
        unique("task", "strategy", "published_task", "data"),
        dated("date"),
        one_of("task", tuple(tasks())),
        one_of("strategy", ALL_STRATEGIES),
        one_of("data", ("", "plain text", CAPTIONED, OF_ONE_SUBJECT)),
        one_of("steps", ("", "yes")),
        one_of("packs", ("", "yes")),
        published_task_is_known,
    ),
    "recipes/models.csv": GENERIC
    + (
        unique("data", "model"),
        dated("date"),
        positive("recipes"),
        one_of("task", tuple(tasks())),
        counted_recipes,
    ),
    "recipes/medians.csv": GENERIC
    + (
        unique("task", "strategy", "key"),
        dated("date"),
        positive("value", "rows"),
        one_of("key", ("global_batch", "epochs", "least_epoch_steps", "least_batch")),
    ),
    "recipes/*.csv": RECIPES,
    "traces/refused.csv": GENERIC
    + (unique("stem"), dated("date"), rows_satisfying(lambda row: row["reason"], "no reason")),
    "traces/shipped.csv": GENERIC
    + (
        unique("model"),
        rows_satisfying(lambda row: set(row["regimes"].split()) <= {"b1", "b2"}, "unknown regime"),
    ),
}
