"""One option of an answer in words: the cells of its row, its sentences, its figures. Words only:
no figure is worked out here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from planner.report.views.table import DASH, one_line
from planner.report.words import (
    UNKNOWN,
    bytes_text,
    clean,
    count_text,
    figure_text,
    flat,
    flop_text,
    hours_text,
    kg_text,
    kwh_text,
    label,
    percentiles,
    seconds_text,
    share_text,
    usd_text,
    value_text,
)

#: Titles with their texts.
Pairs = list[tuple[str, str]]
#: What each part of the device's memory is.
PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "temporary",
    "fragmentation",
    "context",
)


def name(option: Mapping[str, Any]) -> str:
    """``feature_extraction, cached features``."""
    return ", ".join(clean(part) for part in (option["strategy"], option.get("variant")) if part)


def short_device(option: Mapping[str, Any]) -> str:
    """Without the makers' words, for narrow columns: ``RTX 3090``."""
    return re.sub(
        r"\b(NVIDIA|GeForce|AMD|Instinct|Tesla|Generation) ?", "", device(option)
    ).strip() or device(option)


def device(option: Mapping[str, Any]) -> str:
    if not option.get("gpu"):
        return "none: paid by the token"
    return (
        f"{option['gpus']} × {clean(option['gpu'])}" if option["gpus"] > 1 else clean(option["gpu"])
    )


def fits(option: Mapping[str, Any]) -> str:
    """Yes, no or perhaps with what is missing at the cautious end, or a dash where nothing has to
    fit. Perhaps: the middle of the range fits, the cautious end does not."""
    if option.get("fits") is None:
        return DASH
    if option["fits"]:
        return "yes"
    found = option.get("memory") or {}
    short, word = found.get("short_by_bytes"), "perhaps" if _may_fit(option) else "no"
    return word if short is None else f"{word}\n{bytes_text(short)} short"


def _may_fit(option: Mapping[str, Any]) -> bool:
    return not option["fits"] and (option.get("memory") or {}).get("verdict") == "tight"


def memory(option: Mapping[str, Any]) -> str:
    part = option.get("memory")
    return (
        f"{bytes_text(part['device_used_bytes']['p50'])}\nof "
        f"{bytes_text(part['device_total_bytes'])}"
        if part
        else DASH
    )


def hours(option: Mapping[str, Any]) -> tuple[str, str]:
    """GPU-hours: their median and their 80 % interval."""
    return percentiles(option["run"]["gpu_hours"], hours_text) if option.get("run") else (DASH, "")


def usd(option: Mapping[str, Any]) -> tuple[str, str]:
    return _spread(option["cost"]["usd"]) if option.get("cost") else ("no price", "")


def to_start(option: Mapping[str, Any]) -> tuple[str, str]:
    """What is paid before the first request: training with its interval, or what a provider asks
    once."""
    cost = option.get("cost")
    if cost and cost.get("up_front_usd") is not None and not option.get("run"):
        return usd_text(cost["up_front_usd"]), ""
    return usd(option)


def project(option: Mapping[str, Any]) -> tuple[str, str]:
    """Training and answering the asked requests over the asked months."""
    cost = option.get("cost") or {}
    return _spread(cost["project_usd"]) if cost.get("project_usd") else (DASH, "")


def _spread(figure: Mapping[str, float]) -> tuple[str, str]:
    middle, interval = percentiles(figure, usd_text)
    return middle, "" if figure["p10"] == figure["p90"] else interval


def speed(option: Mapping[str, Any]) -> str:
    step = option.get("step")
    if not step:
        return DASH
    if step.get("tokens_per_second") is not None:
        return f"{count_text(step['tokens_per_second'])}\ntokens/s"
    return f"{count_text(step['samples_per_second'])}\nsamples/s"


def trainable(option: Mapping[str, Any]) -> str:
    return share_text(option["model"]["trainable_share"]) if option.get("model") else DASH


def serving(option: Mapping[str, Any]) -> str:
    """How the tuned model is served."""
    part = option.get("serving")
    if not part:
        return ""
    month = part["usd_per_month"]
    pieces = [
        f"{part['gpus']} of these GPUs on all month"
        + (f" for {figure_text(month, usd_text)}" if month else ""),
        f"busy {hours_text(part['busy_gpu_hours_per_month'])}"
        + (
            f", which alone would cost {usd_text(part['usd_per_month_when_busy'])}" if month else ""
        ),
        f"a request is read in {seconds_text(part['prompt_seconds']['p50'])}",
    ]
    if part["token_seconds"]:
        pieces.append(
            f"a token takes {seconds_text(part['token_seconds']['p50'])} with "
            f"{count_text(part['requests_at_once'])} requests at once"
        )
    return clean("; ".join(pieces))


def training(option: Mapping[str, Any]) -> tuple[str, ...]:
    """The choices of one option, a phrase each; empty where nothing is trained."""
    part, step = option.get("training"), option.get("step")
    if not part or not step:
        return ()
    run = option["run"]
    pieces = [
        f"{value_text('epochs', run['epochs'])} epochs",
        f"precision {part['precision']}",
        f"optimizer {part['optimizer']}: {part['optimizer_states']}",
        f"micro-batch {step['micro_batch_size']}",
        f"accumulation {step['gradient_accumulation']}",
        f"global batch {part['global_batch_size']}",
        f"checkpointing {part['gradient_checkpointing']}",
        f"attention {part['attention']}",
        *(["torch.compile"] if part.get("compile") else []),
        *([f"float8 {part['float8']}"] if part.get("float8") else []),
        *([f"{part['loss']} loss"] if part.get("loss") else []),
        *([f"kernels of {part['kernels']}"] if part.get("kernels") else []),
        *(["updates inside the backward pass"] if part.get("optimizer_in_backward") else []),
        *_clipped(part.get("max_grad_norm")),
        *([f"average of weights: {part['ema']}"] if part.get("ema") else []),
        *([f"allocator {part['allocator']}"] if part.get("allocator") else []),
        *_offloaded(part.get("offload"), option.get("memory")),
        *_shared(option.get("step")),
    ]
    if part.get("max_length") is not None:
        grouped = ", grouped by length" if part.get("group_by_length") else ""
        pieces.append(f"at most {count_text(part['max_length'])} tokens")
        pieces.append(f"padding {part['padding']}{grouped}")
    if part.get("lora"):
        own = {name: value for name, value in part["lora"].items() if name != "method"}
        pieces.append(f"{part['lora'].get('method', 'LoRA')} " + value_text("lora", own))
    return tuple(clean(piece) for piece in pieces)


def _offloaded(words: Sequence[str] | None, memory: Mapping[str, Any] | None) -> list[str]:
    if not words:
        return []
    held = (memory or {}).get("host_bytes")
    of_host = f" ({bytes_text(held)} of the host's memory)" if held else ""
    return [f"{', '.join(words)} offloaded{of_host}"]


def _shared(step: Mapping[str, Any] | None) -> list[str]:
    sharing = (step or {}).get("sharing")
    if not sharing:
        return []
    held = sharing["held_bytes"]
    own = ", ".join(f"{name} {bytes_text(size)}" for name, size in held.items())
    copies = f" × {sharing['dp_replicate']} copies" if sharing["dp_replicate"] > 1 else ""
    return [f"{sharing['plan']} over {sharing['dp_shard']} devices{copies} (of its own: {own})"]


def _clipped(norm: float | None) -> list[str]:
    if norm is None:
        return []
    return [f"gradients clipped at {norm:g}" if norm else "gradients not clipped"]


def price(option: Mapping[str, Any]) -> str:
    """The price's source with its age, or that there is none."""
    cost = option.get("cost")
    if not cost:
        return "no price is known"
    offer = cost.get("offer") or {}
    age = f"{offer['age_days']:,.0f} days old" if offer.get("age_days") is not None else None
    pieces = [
        f"{usd_text(cost['usd_per_gpu_hour'])} a GPU-hour"
        if cost.get("usd_per_gpu_hour") is not None
        else None,
        option.get("provider"),
        offer.get("region"),
        offer.get("instance_type"),
        "spot" if offer.get("spot") else None,
        cost.get("price_source"),
        cost.get("price_date"),
        age,
    ]
    return clean(", ".join(piece for piece in pieces if piece))


def fixes(option: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What would make it fit: (change, memory used, whether it then fits)."""
    found = []
    for fix in option.get("fixes") or []:
        change = clean(fix["change"]) + (f" ({clean(fix['gpu'])})" if fix.get("gpu") else "")
        found.append(
            (
                change,
                value_text("device_used_bytes", fix["device_used_bytes"]),
                "fits" if fix["fits"] else "still does not fit",
            )
        )
    return found


def peak(option: Mapping[str, Any]) -> str:
    """The moment of the peak and who holds most of it."""
    part = (option.get("memory") or {}).get("peak")
    if not part:
        return ""
    holders = ", ".join(
        f"{module['module'] or 'the model'} {bytes_text(module['bytes'])}"
        for module in part["modules"][:3]
    )
    return clean(
        f"in the {part['phase']} pass, at {part['operation']}"
        + (f" of {part['module']}" if part["module"] else "")
        + (f"; most is held by {holders}" if holders else "")
    )


def scratch(option: Mapping[str, Any]) -> str:
    """What training from scratch would really take."""
    part = option.get("scratch")
    if not part:
        return ""
    facts = [
        f"{label(key)} {value_text(key, value)}"
        for key, value in part.items()
        if value is not None and key != "source"
    ]
    return clean("; ".join(facts) + f" ({part['source'] or UNKNOWN})")


def headline(option: Mapping[str, Any]) -> Pairs:
    """The figures that a budget asks for, with their intervals."""
    return [
        *_fit_and_time(option),
        *_money(option.get("cost")),
        *([("serving", serving(option))] if serving(option) else []),
        *_step(option),
        *_energy(option),
    ]


def _fit_and_time(option: Mapping[str, Any]) -> Pairs:
    part, run = option.get("memory"), option.get("run")
    pairs = [("fits", one_line(fits(option)))]
    if part:
        used = figure_text(part["device_used_bytes"], bytes_text)
        whole = bytes_text(part["device_total_bytes"])
        pairs.append(("memory on the device", f"{used} of {whole}"))
    if run:
        pairs += [
            ("GPU time", figure_text(run["gpu_hours"], hours_text)),
            ("wall-clock time", figure_text(run["wall_hours"], hours_text)),
        ]
    return pairs


def _money(cost: Mapping[str, Any] | None) -> Pairs:
    if not cost:
        return [("cost", "no price is known")]
    pairs = [("cost", figure_text(cost["usd"], usd_text))]
    parts = {part: value for part, value in cost["breakdown"].items() if value > 0}
    if len(parts) > 1:
        text = ", ".join(f"{label(part)} {usd_text(value)}" for part, value in parts.items())
        pairs.append(("of which", text))
    if cost.get("project_usd"):
        pairs.append(("cost of the project", figure_text(cost["project_usd"], usd_text)))
    if cost.get("usd_per_request") is not None:
        pairs.append(("one request more", usd_text(cost["usd_per_request"])))
    return pairs


def _step(option: Mapping[str, Any]) -> Pairs:
    step = option.get("step")
    if not step:
        return []
    rate = one_line(speed(option))
    padded = step.get("padded_tokens_per_second")
    if padded is not None and count_text(padded) != count_text(step["tokens_per_second"]):
        rate = f"{rate} of the data, {count_text(padded)} tokens/s with padding"
    if step.get("mfu") is not None:
        rate = f"{rate}, {share_text(step['mfu'])} of peak (MFU)"
    seconds, flop = figure_text(step["seconds"], seconds_text), flop_text(step["model_flops"])
    pairs = [("step", f"{seconds}, {flop}, bound by the {step['bound_by']}"), ("speed", rate)]
    if step.get("pace_advice"):
        pairs.append(("to go faster", clean(step["pace_advice"])))
    return pairs


def _energy(option: Mapping[str, Any]) -> Pairs:
    """Energy and carbon, the grid that they stand on, and what codecarbon would say."""
    pairs: Pairs = []
    for key, title, word in (("energy_kwh", "energy", kwh_text), ("co2_kg", "CO₂", kg_text)):
        if option.get(key):
            pairs.append((title, figure_text(option[key], word)))
    if option.get("grid"):
        grid = option["grid"]
        grams = figure_text(grid["grams_co2e_per_kwh"], lambda grams: f"{grams:.0f} g")
        year = grid["year"] or UNKNOWN
        pairs.append(("grid", clean(f"{grams} CO₂e/kWh, {grid['place']}, {year}")))
    if option.get("codecarbon"):
        other = option["codecarbon"]
        energy, carbon = figure_text(other["kwh"], kwh_text), figure_text(other["co2_kg"], kg_text)
        text = clean(f"{energy}, {carbon} CO₂: {other['method']}")
        pairs.append(("codecarbon would say", text))
    return pairs


def every_figure(option: Mapping[str, Any]) -> Pairs:
    """All of the option's document, a line a leaf."""
    return list(flat(option))
