"""A report becomes a question, from what its row states before the outcome: model, strategy, data,
recipe and device. Its hours, dollars and memory never enter."""

from __future__ import annotations

import math
import re

from benchmarks.whole import facts, words
from benchmarks.whole.asked import Asked
from benchmarks.whole.lengths import PACKED, lengths
from benchmarks.whole.report import HOST_GPUS, Report
from benchmarks.whole.stacks import eight_bit, stack
from benchmarks.whole.surroundings import surroundings

#: Of a price that a report leaves out: dollars are then not judged.
NO_PRICE = 1.0
SHARDED = r"ZeRO|FSDP|DeepSpeed"
OFFLOADED = r"(?<!no )(?<!without )(?<!no CPU )offload"


def question(report: Report) -> Asked:
    """The planner's question for a run, or what keeps it from being asked."""
    asked = Asked()
    task, asked.modality = words.task_of(report["task"])
    strategy = words.strategy_of(report["strategy"])
    if strategy is None:
        asked.missing.append(f"strategy not understood: {report['strategy'] or 'not stated'}")
    if task is None:
        asked.missing.append(f"task not understood: {_kind(report['task'])}")
    _devices(report, asked)
    if asked.missing:
        return asked
    name, taken = facts.model_of(report["model"], report["model_config_hint"])
    if taken:
        asked.assumed.append(taken)
    asked.fields = {"model": name, "strategy": strategy, "task": task, "offline": True}
    _recipe(report, asked)
    _amount(report, asked)
    lengths(report, asked)
    surroundings(report, asked)
    return asked


def _kind(text: str) -> str:
    """The words of a cell without what stands in brackets: rows of a kind read alike."""
    return re.sub(r"\s*\(.*?\)", "", text).strip() or "not stated"


def _devices(report: Report, asked: Asked) -> None:
    if report.says(OFFLOADED):
        asked.missing.append("offloading of weights or optimizer to the host is not understood")
    if report.says(r"device_map|naive model parallel"):
        asked.missing.append("layers spread over devices (device_map) are not understood")
    if report.gpus > HOST_GPUS:
        asked.assumed.append("several machines, whose network is taken as usual for the device")
    if not report["gpu"] or "likely" in report["gpu"]:
        asked.missing.append("the device is not named")
    if report.gpus > 1 and report.says(SHARDED):
        way = sharing_of(report)
        if way is None:
            asked.judges_memory = False
            asked.assumed.append("state sharded over the devices, asked as copies: its time alone")
        else:
            asked.assumed.append(f"state sharded over the devices, asked as {way}")


def sharing_of(report: Report) -> str | None:
    """How devices share a model's state, as the planner calls it; None where the words name no way
    that can be asked."""
    if report.says(r"SHARD_GRAD_OP"):
        return None
    if found := report.says(r"ZeRO-?\s?(?:stage )?([123])"):
        return f"zero{found[1]}"
    return "fsdp" if report.says("FSDP") else None


def _recipe(report: Report, asked: Asked) -> None:
    fields, strategy = asked.fields, asked.fields["strategy"]
    if report.gpus > 1 and report.says(SHARDED) and (way := sharing_of(report)):
        fields["parallel"] = way
    # DeepSpeed holds weights in the 16 bits that it is given, FSDP computes in them
    sharded = bool(report.says(SHARDED)) and not report.says("FSDP")
    fields["precision"] = words.precision_of(report["precision"], strategy, sharded)
    fields["optimizer"] = words.optimizer_of(report["optimizer"])
    if re.match(r"yes|unsloth", report["gradient_checkpointing"]):
        fields["gradient_checkpointing"] = "full"
    if strategy == "qlora" and report.says("Unsloth"):
        # its own prepare_model_for_kbit_training leaves all but the adapters in 16 bits
        # (unslothai/unsloth, unsloth/models/_utils.py)
        fields["kbit_preparation"] = "none"
    if report.says(r"eager attention"):
        fields["attention"] = "eager"
    elif report.says(r"(?<!no )(?<!without )flash attention"):
        fields["attention"] = "flash"
    if report.says(r"torch\.compile"):
        fields["compile"] = True
    if strategy in ("lora", "qlora"):
        _adapters(report, asked)
    if strategy == "partial_fine_tune":
        _some_blocks(report, asked)
    if strategy == "distillation":
        fields["teacher"] = re.sub(r".*?(\S+) teacher.*", r"\1", report["model_config_hint"])
    if (classes := words.classes_of(report["task"])) and fields["task"] != "causal_lm":
        fields["classes"] = classes
    if report.says(r"fake[- ]quant"):
        asked.assumed.append("fake quantisation of the weights is left out")
    stack(report, asked)
    eight_bit(report, asked)
    fields["gpu"], fields["gpus"] = report["gpu"], report.gpus
    fields["price"] = report.number("usd_per_gpu_hour") or NO_PRICE


def _some_blocks(report: Report, asked: Asked) -> None:
    share = words.trained_share_of(report["strategy"])
    blocks = facts.blocks_of(asked.fields["model"])
    if share is None or blocks is None:
        asked.missing.append("which blocks are trained is not stated")
        return
    asked.fields["unfrozen_blocks"] = max(1, round(share * blocks))
    asked.assumed.append(
        "layers that are trained all over the model asked as its last blocks: the backward pass "
        "through the others is left out"
    )


def _adapters(report: Report, asked: Asked) -> None:
    if rank := report.number("lora_rank"):
        asked.fields["lora_rank"] = int(rank)
    else:
        asked.assumed.append("rank of the adapters: the planner's own")
    model = asked.fields["model"].rpartition("/")[2]
    asked.fields["lora_targets"] = words.targets_of(report["lora_targets"], model)
    if re.search(r"lm_head|embed", report["lora_targets"]):
        asked.assumed.append("embeddings and head that are trained whole are left out")


def _amount(report: Report, asked: Asked) -> None:
    """Samples, epochs, steps and batches."""
    known = facts.data_set(report["dataset"])
    samples, steps = report.number("samples"), report.number("steps")
    batch, micro = report.number("global_batch"), report.number("micro_batch")
    if found := report.says(r"([\d,]+) features"):
        samples = float(found[1].replace(",", ""))
    if samples is None and known and known["samples"]:
        samples = float(known["samples"])
    if steps and batch and (samples is None or report.says(PACKED)):
        samples = steps * batch
    if samples is None:
        asked.missing.append("number of samples not stated")
        return
    asked.fields["samples"] = math.ceil(samples)
    if batch is None and micro is None:
        asked.assumed.append("batch: the planner's own")
    asked.fields |= {
        "global_batch": int(batch) if batch else None,
        "micro_batch": int(micro) if micro else None,
        "epochs": report.number("epochs"),
        "max_steps": int(steps) if steps else None,
    }
    if asked.fields["epochs"] is None:
        if steps and batch:
            asked.fields["epochs"] = max(1, math.ceil(steps * batch / samples))
        else:
            asked.missing.append("neither epochs nor steps with a batch are stated")
