"""One adapter a public table: ``cases(rows)`` turns the rows of a CSV into Cases and, where that
cannot be done, Refusals."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.tables.common import read_rows
from planner.validate.cases import Case, Refused

#: Adapter → file name in the folder of public tables. A new table is one adapter and one entry.
TABLES = {
    "timm_train": "timm_train_rtx3090.csv",
    "timm_infer": "timm_infer.csv.gz",
    "gpumemnet": "gpumemnet_timm_peakmem_a100_40gb.csv",
    "pycls": "pycls_modelzoo_v100.csv",
    "ryujaehun": "ryujaehun_torchvision_latency.csv",
    "lambda_agg": "lambda_bench_agg.csv",
    "hf_docs": "hf_docs_bert_large_v100.csv",
    "litgpt": "litgpt_resource_tables_a100.csv",
    "litgpt_thunder": "litgpt_thunder_tinyllama_pretrain.csv",
    "torchtune": "torchtune_memory_speed.csv",
    "torchtitan": "torchtitan_performance.csv",
    "llmfoundry": "llmfoundry_mpt_throughput.csv",
    "vtrain": "vtrain_single_node_a100.csv.gz",
    "zeus": "zeus_epoch_time_power.csv",
    "nvidia_dle": "nvidia_dle_train_perf.csv",
    "pretrain_misc": "pretrain_throughput_misc.csv",
}


def load(table: str, folder: Path) -> Iterator[Case | Refused]:
    """Every row of one public table, as a Case or a Refused. Raises OSError where the file cannot
    be read."""
    module = importlib.import_module(f"benchmarks.tables.{table}")
    return module.cases(read_rows(folder / TABLES[table]))


def present(folder: Path) -> list[str]:
    """The adapters whose table lies in the folder."""
    return [table for table, name in TABLES.items() if (folder / name).is_file()]
