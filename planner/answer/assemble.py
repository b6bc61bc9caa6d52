"""Priced options become the JSON document of the contract (``planner/answer/schema.py`` holds its
schema)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from planner import tables
from planner.answer.advice import Fix
from planner.answer.carbon import carbon_document
from planner.answer.pace import pace_advice
from planner.answer.project_cost import (
    break_even_document,
    paid_document,
    paid_sources,
    project_cost,
    serving_document,
)
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.inputs.defaults import default
from planner.plan.inputs.hardware import Hardware
from planner.plan.inputs.problem import Problem
from planner.plan.options import Option
from planner.plan.placement.point import Memory
from planner.question import Question
from planner.trace.table import StepTrace
from planner.training.recipe import Recipe
from planner.uncertainty.spread import spread

if TYPE_CHECKING:
    from planner.plan.by_token.paid_options import PaidOption

SCHEMA = 1
#: Units of data that people can label one by one.
LABELLED = ("samples",)


def document(
    problem: Problem,
    hardware: Hardware,
    options: list[Option],
    advice: dict[int, list[Fix]],
    chosen: tuple[Option | PaidOption, str] | None,
    paid: Sequence[PaidOption] = (),
) -> dict[str, Any]:
    """The answer as plain JSON values; the options that are paid by the token stand after those
    that train."""
    return {
        "schema": SCHEMA,
        "question": _understood(problem),
        "dataset": problem.data.as_dict(),
        "model": _model_facts(problem.facts),
        "options": [
            *(_option(problem, option, advice.get(id(option), [])) for option in options),
            *(paid_document(problem.question, option) for option in paid),
        ],
        "recommended": _recommended(chosen),
        "assumptions": list(
            dict.fromkeys(
                [*hardware.assumptions, *problem.assumptions, *_common_assumptions(options)]
            )
        ),
        "warnings": list(dict.fromkeys(problem.warnings)),
        "sources": _sources(problem, options) + paid_sources(paid),
        "break_even": break_even_document(problem.question, [*options, *paid]),
    }


def _understood(problem: Problem) -> dict:
    """The question as asked; where it left something open the option's ``training`` says what was
    chosen."""
    return problem.question.model_dump(mode="json") | {
        "strategy": list(problem.strategies),
        "task": problem.question.task or problem.facts.task,
    }


def _model_facts(facts: ModelFacts) -> dict:
    return {
        "name": facts.name,
        "origin": facts.origin,
        "library": facts.library,
        "task": facts.task,
        "modality": facts.modality,
        "parameters": facts.parameters,
        "weights_dtype": facts.weights_dtype,
        "max_length": facts.max_length,
        "image_size": facts.image_size,
        "blocks": facts.blocks,
        "vocabulary": facts.vocabulary,
        "license": facts.license,
        "fingerprint": facts.fingerprint,
    }


def _recommended(chosen: tuple[Option | PaidOption, str] | None) -> dict | None:
    if chosen is None:
        return None
    option, why = chosen
    if not isinstance(option, Option):  # one that is paid by the token
        return {
            "strategy": option.strategy,
            "variant": option.variant,
            "gpu": None,
            "gpus": 0,
            "why": why,
        }
    return {
        "strategy": option.strategy,
        "variant": option.variant,
        "gpu": option.rented.spec.name,
        "gpus": option.rented.parallel.devices,
        "why": why,
    }


def _option(problem: Problem, option: Option, advice: list[Fix]) -> dict:
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
        "model": _counts(trace),
        "training": _training(option),
        "memory": _memory(option),
        "step": _step(option, trace),
        "run": _run(option),
        "cost": _cost(problem.question, option),
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
                    *option.assumptions,
                    *option.choices.notes,
                    *_of_trace(trace),
                    *option.energy.assumptions,
                    *option.run.notes,
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
    said = trace.meta.get("assumptions", [])
    asked = [line for line in said if line.startswith("a condition on the data")]
    plain = [line for line in said if line not in asked]
    return plain + (
        [
            "batches hold no padding mask: where the model asks its data, it is told that "
            "every token counts"
        ]
        if asked
        else []
    )


def _counts(trace: StepTrace) -> dict:
    total, trainable = trace.meta["total_params"], trace.meta["trainable_params"]
    return {
        "total_params": total,
        "trainable_params": trainable,
        "trainable_share": trainable / total if total else 0.0,
        "checkpoint_bytes": trace.meta["checkpoint_bytes"],
    }


def _training(option: Option) -> dict:
    recipe, setting = option.setting.recipe, option.setting
    lora = (
        {
            "rank": recipe.lora_rank,
            "targets": list(recipe.lora_targets)
            if recipe.lora_targets
            else "every linear layer but the head",
            "dropout": recipe.lora_dropout,
        }
        if recipe.lora_rank
        else None
    )
    return {
        "task": recipe.task,
        "precision": recipe.precision,
        "precision_detail": PRECISION_DETAIL[recipe.precision],
        "optimizer": recipe.optimizer,
        "optimizer_states": optimizer_states(recipe),
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "attention": recipe.attention,
        "compile": recipe.compile,
        "global_batch_size": setting.step.samples,
        "max_length": option.choices.max_length,
        "padding": option.choices.padding,
        "unfrozen_blocks": recipe.unfrozen_blocks,
        "lora": lora,
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
    train in float32."""
    row = next(r for r in tables.rows("optimizers.csv") if r["optimizer"] == recipe.optimizer)
    pure = recipe.precision in ("bf16", "fp16") and recipe.lora_rank is None
    size = row["bytes_per_param_bf16"] if pure else row["bytes_per_param_fp32"]
    kind = recipe.precision if pure else "float32 adapters" if recipe.lora_rank else "float32"
    return (
        f"{recipe.optimizer} on {kind} parameters: {row['states']}, {size} B a trained "
        f"parameter; transient: {row['transient']}"
    )


def _memory(option: Option) -> dict:
    memory, peak = option.setting.memory, option.setting.memory.peak
    return {
        "allocated_bytes": memory.allocated_bytes.as_dict(),
        "reserved_bytes": memory.reserved_bytes.as_dict(),
        "device_used_bytes": memory.device_used_bytes.as_dict(),
        "device_total_bytes": memory.device_total_bytes,
        "breakdown": dict(memory.breakdown),
        "peak": {
            "phase": peak.phase,
            "operation": peak.operation,
            "module": peak.module,
            "modules": [{"module": name, "bytes": size} for name, size in peak.by_module[:8]],
        },
        "short_by_bytes": memory.short_by_bytes,
        "verdict": memory.verdict,
        "chance_out_of_memory": memory.chance_out_of_memory,
    }


def _step(option: Option, trace: StepTrace) -> dict:
    setting, step = option.setting, option.setting.step
    # image models have none
    length = (
        setting.batches.mean_padded_length if "S" in trace.symbols or "S" in trace.domain else None
    )
    target = setting.batches.target_mean_padded_length
    flops = float(step.time.model_flops) * step.accumulation
    peak = option.rented.spec.peak(setting.recipe.precision)
    tokens = None if length is None else step.samples_per_second * (length + (target or 0.0))
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
        "tokens_per_second": tokens,
        "bound_by": str(step.time.bound),
        "pace_advice": pace_advice(
            option.rented.spec, step.time, step.micro_batch, setting.recipe.compile
        ),
        "by_kind": {kind: float(np.sum(value)) for kind, value in step.time.by_kind.items()},
        "unmodelled_share": float(step.time.unmodelled_share),
        "host_seconds": float(step.time.host_seconds),
        "device_busy_seconds": float(step.time.device_busy_seconds),
        "operations": trace.op_count,
    }


def _run(option: Option) -> dict:
    run = option.run
    return {
        "steps": run.steps,
        "epochs": run.epochs,
        "wall_hours": run.wall_hours.as_dict(),
        "gpu_hours": run.gpu_hours.as_dict(),
        "breakdown_hours": dict(run.parts_hours),
    }


def _cost(question: Question, option: Option) -> dict | None:
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
            "age_days": offer.age_days,
            "source": offer.source,
        },
        **project_cost(question, option),
    }


def _scratch(question: Question, option: Option) -> dict | None:
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


def _fix(fix: Fix) -> dict:
    return {
        "change": fix.change,
        "device_used_bytes": fix.used.as_dict(),
        "fits": fix.fits,
        "gpu": fix.gpu,
    }


def _figure(value: Estimate | None) -> dict | None:
    return None if value is None else value.as_dict()


def _memory_warnings(option: Option) -> list[str]:
    memory: Memory = option.setting.memory
    if not memory.fits and memory.device_used_bytes.p50 <= memory.device_total_bytes:
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


def _common_assumptions(options: list[Option]) -> list[str]:
    return [
        "no evaluation of quality: the planner prices work, it does not predict accuracy",
        "memory is at the longest batch of the data, time at the mean padded batch",
        *(["gradients are not clipped; activations are those of training mode"] if options else []),
    ]


def _sources(problem: Problem, options: list[Option]) -> list[dict]:
    found = [
        {"what": "model", "source": f"{problem.facts.origin}: {problem.facts.name}", "date": None}
    ]
    for option in options:
        trace = trace_of(option)
        made = ", ".join(
            f"{name} {version}" for name, version in sorted(trace.meta.get("versions", {}).items())
        )
        found.append({"what": "step trace", "source": f"recorded with {made}", "date": None})
        if option.rented.offer:
            found.append(
                {
                    "what": f"price of {option.rented.spec.name}",
                    "source": option.rented.offer.source,
                    "date": option.rented.offer.captured_date.isoformat(),
                }
            )
        found += [
            {"what": "billing, storage and egress", "source": source, "date": None}
            for source in (option.bill.sources if option.bill else ())
        ]
        found.append(
            {
                "what": f"datasheet of {option.rented.spec.name}",
                "source": option.rented.spec.sources,
                "date": option.rented.spec.launch_date,
            }
        )
        found += [
            {"what": "energy and carbon", "source": source, "date": None}
            for source in option.energy.sources
        ]
        if option.enough:
            found.append(
                {
                    "what": "data that is enough for scratch",
                    "source": option.enough.source,
                    "date": None,
                }
            )
        for key in ("epochs", "global_batch"):
            found.append(
                {
                    "what": f"default {key} of {option.strategy}",
                    "source": default(key, option.strategy, option.setting.recipe.task)[1],
                    "date": None,
                }
            )
    for basis, device in sorted(
        {(option.rented.spec.pricing, option.rented.spec.key) for option in options}
    ):
        for quantity in ("time", "allocated", "reserved"):
            source = spread(quantity, basis, problem.facts.modality, device).source
            found.append({"what": f"spread of {quantity}", "source": source, "date": None})
    found += _calibrations(options)
    unique = {(f["what"], f["source"]): f for f in found}
    return list(unique.values())


def _calibrations(options: list[Option]) -> list[dict]:
    """The measurements that times stand on, with their date."""
    found = []
    for spec in {option.rented.spec.key: option.rented.spec for option in options}.values():
        if spec.pricing != "datasheet" and spec.calibration is not None:
            made = spec.calibration.provenance
            found.append(
                {
                    "what": f"calibration of {spec.name}",
                    "date": str(made.get("date"))[:10] if made.get("date") else None,
                    "source": f"{spec.calibration.cases} operations timed with torch "
                    f"{made.get('torch', 'of unknown version')}",
                }
            )
    return found
