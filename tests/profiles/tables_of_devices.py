"""Checks of the tables of GPUs, prices, providers, carbon and energy."""

import re

from table_rules import (
    GENERIC,
    PRICES,
    at_most,
    clock_is_plausible,
    date_if_any_not_future,
    dated,
    gpu_key_known,
    hand_cells_are_shipped,
    mapped_or_explained,
    mentioned,
    number,
    one_of,
    positive,
    rectangular,
    rows_satisfying,
    unique,
)

OF_DEVICES_AND_PRICES = {
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
    "parallel/narrow.csv": GENERIC + (unique("model_type"), dated("date")),
    "parallel/stages.csv": GENERIC + (unique("model_type"), dated("date")),
    "networks/links.csv": GENERIC
    + (mentioned, unique("name"), dated("date"), positive("gbit_per_s")),
    "networks/gpus.csv": GENERIC
    + (
        mentioned,
        unique("gpu_key"),
        gpu_key_known,
        dated("date"),
        one_of("topology", ("switch", "mesh", "pair", "none")),
        positive("peers", "devices_per_node", "cards_per_node"),
        rows_satisfying(
            lambda row: bool(row["peers"]) == (row["topology"] == "mesh"), "a mesh has peers"
        ),
    ),
    "networks/instances.csv": GENERIC
    + (
        mentioned,
        unique("instance"),
        gpu_key_known,
        dated("date"),
        one_of("read", ("yes", "no")),
        positive("gpus", "network_gbit_per_s"),
    ),
    "networks/kinds.csv": GENERIC
    + (
        mentioned,
        unique("kind"),
        dated("date"),
        one_of("hardware", ("nvlink", "pci", "net")),
        positive("bandwidth_share"),
        rows_satisfying(lambda row: float(row["bandwidth_share"]) <= 1, "a share above 1"),
    ),
    "networks/nccl.csv": GENERIC
    + (
        mentioned,
        unique("parameter", "of", "algorithm", "protocol"),
        dated("date"),
        rows_satisfying(lambda row: float(row["value"]) >= 0 and row["unit"], "no value"),
    ),
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
}
