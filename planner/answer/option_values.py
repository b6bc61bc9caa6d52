"""One option as the JSON values of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planner import tables
from planner.answer.carbon import carbon_document
from planner.answer.fixes.advice import Fix
from planner.answer.grounds import corrected_values
from planner.answer.host_bound import host_bound_advice
from planner.answer.project_cost import (
    project_cost,
    serving_document,
)
from planner.answer.understood import own_texts, tokens_per_epoch
from planner.figures import Estimate
from planner.first_lines import FirstLine
from planner.models.quantization.stored import LOADED
from planner.plan.adapters.shown import adapter_values, are_float32
from planner.plan.around.asked import around_values
from planner.plan.around.offloaded import host_values
from planner.plan.around.sharing import shared_values
from planner.plan.billing import as_people_run
from planner.plan.inputs.problem import Problem
from planner.plan.options import Option
from planner.plan.phases.evaluation import Evaluated
from planner.question import Question
from planner.question.stack import stack_of
from planner.trace.table import StepTrace
from planner.training.recipe import Recipe
from planner.uncertainty.runs import RunSpread, peak_spread

#: Units of data that people can label one by one.
LABELLED = ("samples",)


def option_values(
    problem: Problem, option: Option, advice: list[Fix], told: Sequence[FirstLine] = ()
) -> dict[str, Any]:
    """``told``: the answer's first lines, which are not said again."""
    trace = trace_of(option)
    offer = option.rented.offer
    warnings = list(
        dict.fromkeys(
            [
                *option.warnings,
                *option.run.warnings,
                *option.energy.warnings,
                *(option.bill.warnings if option.bill else ()),
                *_memory_warnings(option),
                *_truncation(option),
            ]
        )
    )
    return {
        "strategy": option.strategy,
        "variant": option.variant,
        "gpu": option.rented.spec.name,
        "gpu_key": option.rented.spec.key,
        "gpus": option.rented.parallel.devices,
        "provider": offer.provider if offer else None,
        "fits": option.fits,
        "basis": option.rented.spec.pricing,
        **corrected_values(option),
        "model": _counts(trace),
        "training": _training(option) | around_values(problem.question),
        "memory": _memory(option),
        "step": _step(option, trace) | shared_values(option.setting, option.rented.spec),
        "run": _run(option),
        "cost": _cost(problem.question, option),
        "limits": [limit.as_dict() for limit in option.limits],
        "energy_kwh": _figure(option.energy.kwh),
        "co2_kg": _figure(option.energy.co2_kg),
        **carbon_document(problem.question, option),
        "fixes": [_fix(f) for f in advice],
        "scratch": _scratch(problem.question, option),
        "disk_bytes": option.disk_bytes,
        "serving": serving_document(option),
        "assumptions": list(
            dict.fromkeys(
                [
                    *own_texts(problem, option, told),
                    *option.assumptions,
                    *option.choices.notes,
                    *_of_trace(trace),
                    *option.energy.assumptions,
                    *option.run.notes,
                    *_of_peaks(option),
                    *(option.bill.assumptions if option.bill else ()),
                ]
            )
        ),
        "warnings": warnings,
    }


def trace_of(option: Option) -> StepTrace:
    setting = option.setting
    return setting.longest_trace()


def _of_trace(trace: StepTrace) -> list[str]:
    """What the recording assumed. A model that asked for values of its data was answered, see
    ``trace/cuda_mode.py``."""
    texts = trace.meta.get("assumptions", [])
    conditions = [line for line in texts if line.startswith("a condition on the data")]
    plain = [line for line in texts if line not in conditions]
    return plain + (
        [
            "batches hold no padding mask: where the model asks its data, it is told that "
            "every token counts"
        ]
        if conditions
        else []
    )


def _counts(trace: StepTrace) -> dict[str, Any]:
    total, trainable = trace.meta["total_params"], trace.meta["trainable_params"]
    return {
        "total_params": total,
        "trainable_params": trainable,
        "trainable_share": trainable / total if total else 0.0,
        "checkpoint_bytes": trace.meta["checkpoint_bytes"],
    }


def _training(option: Option) -> dict[str, Any]:
    recipe, setting = option.setting.recipe, option.setting
    return {
        "task": recipe.task,
        "precision": recipe.precision,
        "precision_detail": _precision_detail(option),
        "optimizer": recipe.optimizer,
        "optimizer_states": optimizer_states(recipe),
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "attention": recipe.attention,
        "compile": recipe.compile,
        **recipe.savings,
        "global_batch_size": setting.step.samples,
        "max_length": option.choices.max_length,
        "padding": option.choices.padding,
        **({"group_by_length": True} if option.choices.group_by_length else {}),
        "unfrozen_blocks": recipe.unfrozen_blocks,
        "lora": adapter_values(recipe),
        "recipe": _published(option),
    }


def _published(option: Option) -> dict[str, Any] | None:
    """The published recipe that the defaults are after, null where there is none."""
    row = option.choices.practice.recipe
    return None if row is None else {**row.as_dict(), "warmup": row.warmup or None}


def _precision_detail(option: Option) -> str:
    """Under adapters over weights in few bits, the rest alone has the recipe's precision."""
    recipe, own = option.setting.recipe, option.facts.quantization
    if recipe.recorded.precision != recipe.precision:
        return WIDE_ON_HOST
    if not recipe.has_adapters or not (recipe.strategy == "qlora" or recipe.load_in or own):
        return PRECISION_DETAIL[recipe.precision]
    words = own.words if own else LOADED[recipe.load_in or "4bit"].words
    rest = REST_DETAIL[recipe.precision]
    if recipe.adapter_precision == "weights":
        rest = rest.removesuffix(", adapters in float32")
    return f"{words} weights; the rest and the adapters: {rest}"


WIDE_ON_HOST = "weights, gradients and products of 16 bits; float32 weights in the host's memory"
REST_DETAIL = {
    "fp32": "float32",
    "tf32": "float32, TF32 products",
    "fp16": "float16, adapters in float32",
    "bf16": "bfloat16, adapters in float32",
    "amp_fp16": "float32, float16 products (autocast) with a gradient scaler",
    "amp_bf16": "float32, bfloat16 products (autocast)",
}
PRECISION_DETAIL = {
    "fp32": "float32 weights, gradients and products",
    "tf32": "float32 weights and gradients, TF32 products",
    "fp16": "float16 weights, gradients and products",
    "bf16": "bfloat16 weights, gradients and products, no float32 master weights",
    "amp_fp16": "float32 master weights and gradients, float16 products (autocast) with a "
    "gradient scaler",
    "amp_bf16": "float32 master weights and gradients, bfloat16 products (autocast)",
}


def optimizer_states(recipe: Recipe) -> str:
    """One sentence: which states, in which precision, how many bytes a trained parameter. Adapters
    train in float32 unless they are asked for otherwise."""
    row = next(r for r in tables.rows("optimizers.csv") if r["optimizer"] == recipe.optimizer)
    pure = recipe.precision in ("bf16", "fp16") and not are_float32(recipe)
    size = row["bytes_per_param_bf16"] if pure else row["bytes_per_param_fp32"]
    kind = recipe.precision if pure else "float32 adapters" if recipe.has_adapters else "float32"
    bytes_each = f"{size} B a trained parameter" if size else "bytes by the shapes"
    return (
        f"{recipe.optimizer} on {kind} parameters: {row['states']}, {bytes_each}; "
        f"transient: {row['transient']}"
    )


def _memory(option: Option) -> dict[str, Any]:
    memory = option.setting.proven_memory
    peak, total = memory.peak, float(memory.device_total_bytes)
    taught = _peak_spread(option)
    shown = _as_is if taught is None else taught.around_peak
    return {
        "allocated_bytes": memory.allocated_bytes.as_dict(),
        "reserved_bytes": shown(
            memory.reserved_bytes, total - memory.breakdown["context"]
        ).as_dict(),
        "device_used_bytes": shown(memory.device_used_bytes, total).as_dict(),
        "device_total_bytes": memory.device_total_bytes,
        "breakdown": dict(memory.breakdown),
        "peak": {
            "phase": peak.phase,
            "operation": peak.operation,
            "module": peak.module,
            "modules": [{"module": name, "bytes": size} for name, size in peak.by_module[:8]],
        },
        "short_by_bytes": memory.short_by_bytes,
        **host_values(option.setting),
        "verdict": memory.verdict,
        "chance_out_of_memory": memory.chance_out_of_memory,
        **(
            {}
            if memory.evaluation is None
            else {"evaluation_bytes": shown(memory.evaluation.used_bytes, total).as_dict()}
        ),
    }


def _peak_spread(option: Option) -> RunSpread | None:
    question = option.placement.variant.stages[-1].question
    return peak_spread(stack_of(question.stack).trainer)


def _as_is(peak: Estimate, most: float) -> Estimate:
    return peak


def _of_peaks(option: Option) -> list[str]:
    taught = _peak_spread(option)
    return [] if taught is None else [taught.peak_words]


def _step(option: Option, trace: StepTrace) -> dict[str, Any]:
    setting, step = option.setting, option.setting.step
    # image models have none
    length = (
        setting.batches.mean_padded_length if "S" in trace.symbols or "S" in trace.domain else None
    )
    target = setting.batches.target_mean_padded_length
    flops = float(step.time.model_flops) * step.accumulation
    peak = option.rented.spec.peak(setting.recipe.precision)
    real = None if length is None else setting.batches.real_tokens_per_sample
    padded = None if length is None else setting.batches.padded_tokens_per_sample
    return {
        "micro_batch_size": step.micro_batch,
        "gradient_accumulation": step.accumulation,
        "sequence_length": None if length is None else round(length),
        "target_length": None if target is None else round(target),
        "longest_length": setting.batches.longest_length,
        "seconds": step.seconds.as_dict(),
        "forward_seconds": step.forward_seconds.as_dict(),
        "model_flops": flops,
        "mfu": None if peak is None else flops / step.seconds.p50 / peak,
        "samples_per_second": step.samples_per_second,
        "tokens_per_second": None if real is None else step.samples_per_second * real,
        "padded_tokens_per_second": None if padded is None else step.samples_per_second * padded,
        "bound_by": str(step.time.bound),
        "pace_advice": host_bound_advice(
            option.rented.spec, step.time, step.micro_batch, setting.recipe.compile
        ),
        "by_kind": {kind: float(np.sum(value)) for kind, value in step.time.by_kind.items()},
        "unmodelled_share": float(step.time.unmodelled_share),
        "host_seconds": float(step.time.host_seconds),
        "device_busy_seconds": float(step.time.device_busy_seconds),
        "operations": trace.op_count,
    }


def _run(option: Option) -> dict[str, Any]:
    run = option.run
    return {
        "steps": run.steps,
        "epochs": run.epochs,
        "wall_hours": run.wall_hours.as_dict(),
        "gpu_hours": run.gpu_hours.as_dict(),
        "tokens_per_epoch": tokens_per_epoch(option.placement),
        "evaluations": run.evaluations,
        "evaluation_generates": option.choices.practice.generates,
        **_evaluated(run.evaluated),
        "breakdown_hours": dict(run.parts_hours),
        "of_which_hours": {name: dict(of) for name, of in run.of_which_hours.items() if of},
    }


def _evaluated(one: Evaluated | None) -> dict[str, Any]:
    if one is None:
        return {}
    return {
        "evaluated_samples": one.samples,
        "evaluation_batch": one.batch,
        "generated_tokens": one.tokens,
        "beams": one.beams,
    }


def _cost(question: Question, option: Option) -> dict[str, Any] | None:
    bill, offer = option.bill, option.rented.offer
    if bill is None or offer is None:
        return None
    return {
        "usd": bill.usd.as_dict(),
        "usd_per_gpu_hour": bill.usd_per_gpu_hour,
        "breakdown": dict(bill.breakdown),
        "price_source": bill.price_source,
        "price_date": bill.price_date,
        "offer": {
            "instance_type": offer.instance_type or None,
            "region": offer.region,
            "spot": offer.spot,
            "unused_gpus": offer.unused(option.placement.parallel.devices),
            "age_days": offer.age_days,
            "source": offer.source,
        },
        "project_range_usd": _project_range(question, option),
        **project_cost(question, option),
    }


def _project_range(question: Question, option: Option) -> dict[str, float] | None:
    if option.bill is None:
        return None
    project = as_people_run(question, option.bill, option.rented.parallel.devices)
    return {"run": project.run_usd, "low": project.low_usd, "high": project.high_usd}


def _scratch(question: Question, option: Option) -> dict[str, Any] | None:
    enough = option.enough
    if enough is None:
        return None
    return {
        "tokens_or_samples_needed": enough.amount,
        "unit": enough.unit,
        "source": enough.source,
        "usd": _figure(enough.usd),
        "gpu_hours": _figure(enough.gpu_hours),
        "labels_usd": enough.amount * question.usd_per_label
        if question.usd_per_label is not None and enough.unit in LABELLED
        else None,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {
        "change": fix.change,
        "device_used_bytes": fix.used.as_dict(),
        "fits": fix.fits,
        "gpu": fix.gpu,
    }


def _figure(value: Estimate | None) -> dict[str, Any] | None:
    return None if value is None else value.as_dict()


def _memory_warnings(option: Option) -> list[str]:
    memory = option.setting.proven_memory
    if not memory.fits and memory.needed_bytes.p50 <= memory.device_total_bytes:
        return ["tight: it may fit, the middle of the range does, the cautious end does not"]
    if memory.gives_back:
        return [
            "tight: at its peak the device is full and the allocator has to give back cached "
            "memory, which costs time"
        ]
    if option.rented.spec.memory_is_nominal:
        return [
            f"the memory that {option.rented.spec.name} shows is not published: a careful "
            "share of the nominal size is taken"
        ]
    return []


def _truncation(option: Option) -> list[str]:
    share = option.setting.batches.truncated_share
    return (
        [f"{share:.1%} of the samples are cut at {option.choices.max_length} tokens"]
        if share
        else []
    )
