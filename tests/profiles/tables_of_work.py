"""Checks of the tables of models, data, recipes, priors and measurements."""

from table_rules import (
    GENERIC,
    RECIPES,
    SCOPES,
    at_most,
    counted_recipes,
    dated,
    every_key_has_a_row_for_any,
    has_unit,
    knows_its_stages,
    mentioned,
    one_of,
    positive,
    published_task_is_known,
    rows_satisfying,
    starts_name_one_family,
    unique,
)

from planner.budget.what_if.sensitivity import WAYS
from planner.datasets.profile import MODALITIES
from planner.models.building.diffusion.conditions import CONDITIONS
from planner.plan.inputs.pictures import CAPTIONED, OF_ONE_SUBJECT
from planner.question import ALL_STRATEGIES, Question
from planner.question.adapters import OPTIONS, SIZES
from planner.question.importers.table import MEANINGS
from planner.question.training_setting import OBJECTIVES
from planner.tasks import tasks

#: Whose files are read as questions.
TOOLS = (
    *("accelerate", "axolotl", "deepspeed", "diffusers", "diffusers_dreambooth", "kohya"),
    *("lightning", "llamafactory", "torchtune", "transformers", "trl", "unsloth"),
)
#: Columns of what a method of adapters needs.
YES_OR_NO = ("virtual_tokens", "task_types", "checkpointing", "compiles", "warning")
OF_WORK = {
    "defaults/training.csv": GENERIC
    + (
        unique("key", "scope"),
        dated("date"),
        rows_satisfying(lambda row: row["unit"] and row["why"], "no unit or no reason"),
        rows_satisfying(lambda row: float(row["value"]) >= 0, "negative value"),
        one_of("scope", SCOPES),
        every_key_has_a_row_for_any,
    ),
    "measured/preference_runs.csv": GENERIC
    + (
        unique("id"),
        dated("date"),
        one_of(
            "quantity",
            ("peak_reserved_gib", "device_used_gib", "fits_gib", "seconds_per_step", "hours"),
        ),
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
    "importers/models.csv": GENERIC + (unique("name"), dated("date")),
    "importers/trl_objectives.csv": GENERIC
    + (
        unique("key"),
        dated("date"),
        rows_satisfying(
            lambda row: row["objectives"] and set(row["objectives"].split()) <= set(OBJECTIVES),
            "no objective that can be asked",
        ),
    ),
    **{
        f"importers/{tool}.csv": GENERIC
        + (
            unique("key"),
            dated("date"),
            one_of("meaning", MEANINGS),
            rows_satisfying(
                lambda row: (row["meaning"] == "field") == bool(row["field"]),
                "a field without its name, or a name without",
            ),
            rows_satisfying(
                lambda row: not row["field"] or row["field"] in Question.model_fields,
                "no field of a question",
            ),
        )
        for tool in TOOLS
    },
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
    "measured/stack.csv": GENERIC
    + (
        unique("id"),
        dated("date"),
        positive("micro_batch", "sequence_length", "peak_gib", "tokens_per_second"),
    ),
    "measured/float8.csv": GENERIC
    + (
        unique("id"),
        dated("date"),
        positive("gpus", "micro_batch", "plain_tokens_per_second", "tokens_per_second"),
        one_of("weights_gathered", ("float8", "bfloat16")),
    ),
    "measured/offloading.csv": GENERIC
    + (unique("id"), dated("date"), positive("micro_batch", "peak_gb", "step_seconds")),
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
    "priors/failures.csv": GENERIC
    + (
        unique("system"),
        dated("date"),
        one_of("bound", ("", "about", "at least")),
        *(positive(column) for column in ("devices", "days", "failures")),
        rows_satisfying(lambda row: bool(row["effective_share"]) == bool(row["bound"]), "no bound"),
    ),
    "priors/**/*.csv": GENERIC,
    "stacks/offloading.csv": GENERIC + (unique("key"), dated("date"), positive("value")),
    "stacks/zero.csv": GENERIC + (unique("key"), dated("date"), positive("value")),
    "stacks/pipelines.csv": GENERIC
    + (
        dated("date"),
        positive("map_workers"),
        rows_satisfying(knows_its_stages, "a stage that nothing prices"),
    ),
    "stacks/scripts.csv": GENERIC + (dated("date"),),
    "stacks/stacks.csv": GENERIC
    + (
        dated("date"),
        rows_satisfying(lambda row: (row["value"] == "") != (row["word"] == ""), "value or word"),
    ),
    "adapters.csv": GENERIC
    + (
        unique("adapter"),
        dated("date"),
        one_of("targets", ("linear", "peft", "none")),
        one_of("quantised", ("", "any", "bitsandbytes")),
        one_of("size", ("", *SIZES)),
        *(one_of(column, ("yes", "no")) for column in YES_OR_NO),
        rows_satisfying(lambda row: bool(row["size"]) == bool(row["argument"]), "half a size"),
        rows_satisfying(
            lambda row: set(row["options"].split()) <= set(OPTIONS) <= set(Question.model_fields),
            "an option that no question has",
        ),
        rows_satisfying(lambda row: row["trains"] and row["paper"], "no words or no paper"),
    ),
    "optimizers.csv": GENERIC + (unique("optimizer"), dated("date")),
    "optimizers_refused.csv": GENERIC + (unique("optimizer"), dated("date")),
    "recipe_scripts/accelerators.csv": GENERIC
    + (unique("gpu_key"), dated("date"), positive("memory_gb")),
    "recipe_scripts/optimizers.csv": GENERIC + (unique("optimizer"), dated("date")),
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
