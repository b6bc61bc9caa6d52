"""The first screen: the question in words, and the figures of what is recommended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner import tables
from planner.budget.parts.subject import Json, Subject, is_stale
from planner.question.training_setting import SUPERVISED
from planner.training.registry import objectives
from planner.units import SECONDS_PER_HOUR, format_count, format_seconds, format_usd

#: What a sample is called, by modality.
NOUNS = {"image": "image", "audio": "clip", "image_text": "image with text"}


def strategy_words(strategy: str) -> str:
    """``qlora`` → ``QLoRA``: the glossary's term."""
    for row in tables.rows("glossary.csv"):
        if row["key"] == strategy:
            return row["term"]
    return strategy.replace("_", " ")


def title(subject: Subject) -> str:
    model, option = _model(subject), subject.option
    if option is None:
        return f"What training {model} would cost"
    return f"What {_lower(strategy_words(option['strategy']))} costs: {model}"


def question_words(subject: Subject) -> str:
    """One or two sentences: what is done to which model on what data, how long, and the limits."""
    option, model = subject.option, subject.document["model"] or {}
    parameters = model.get("parameters")
    size = f" ({format_count(parameters)} parameters)" if parameters else ""
    subject_words = f"{_model(subject)}{size}"
    if option is not None and option["run"] is None:
        way = ", ".join(filter(None, [strategy_words(option["strategy"]), option["variant"]]))
        first = f"{way}, in place of {subject_words} trained here{_requests(subject)}"
    else:
        learnt = f"{data_words(subject.document)}{_objective(subject.question)}"
        first = f"Train {subject_words} on {learnt}{_course(option)}"
    return f"{first}{_place(option)}.{_limits(subject.question)}"


def headline(subject: Subject) -> Json:
    option = subject.option or {}
    cost, run = option.get("cost") or {}, option.get("run") or {}
    age = (cost.get("offer") or {}).get("age_days")
    return {
        "option": subject.index,
        "strategy": option.get("strategy"),
        "variant": option.get("variant"),
        "model": _model(subject),
        "data": data_words(subject.document),
        "gpu": option.get("gpu"),
        "gpus": option.get("gpus", 0),
        "provider": option.get("provider"),
        "usd": cost.get("usd"),
        "wall_hours": run.get("wall_hours"),
        "gpu_hours": run.get("gpu_hours"),
        "price_date": cost.get("price_date"),
        "price_age_days": age,
        "price_stale": is_stale(age),
    }


def data_words(document: Mapping[str, Any]) -> str:
    """``20,000 samples, mean 192 tokens``; ``36,000 clips, mean 10 s``."""
    data = document["dataset"] or {}
    samples, modality = data.get("samples"), data.get("modality", "")
    if samples is None:
        return "data that was not counted"
    noun = NOUNS.get(modality, "sample")
    text = f"{samples:,} {noun}{'s' if samples != 1 else ''}"
    lengths, seconds = data.get("lengths"), data.get("audio_seconds")
    if modality == "text" and lengths:
        text += f", mean {lengths['mean']:,.0f} tokens"
    elif seconds:
        text += f", mean {format_seconds(seconds['mean'])}"
    return text


def _model(subject: Subject) -> str:
    return (subject.document["model"] or {}).get("name") or str(subject.question.get("model"))


def _objective(question: Mapping[str, Any]) -> str:
    """`` by GKD from Qwen2.5-7B``; empty for the task's own loss."""
    name, teacher = question.get("objective"), question.get("teacher")
    if name in (None, SUPERVISED):
        return ""
    return f" by {objectives()[name].title}" + (f" from {teacher}" if teacher else "")


def _course(option: Json | None) -> str:
    """``: LoRA, 3 epochs, 1,875 steps of 32``."""
    if option is None:
        return ""
    run, training = option["run"], option["training"]
    epochs = f"{run['epochs']:.3g} epoch{'' if run['epochs'] == 1 else 's'}"
    steps = f"{run['steps']:,} step{'' if run['steps'] == 1 else 's'}"
    words = _lower(strategy_words(option["strategy"]))
    return f": {words}, {epochs}, {steps} of {training['global_batch_size']:,}"


def _place(option: Json | None) -> str:
    """`` on 2 × NVIDIA L4 at runpod``."""
    if option is None or not option["gpu"]:
        return f" at {option['provider']}" if option and option["provider"] else ""
    count = f"{option['gpus']} × " if option["gpus"] > 1 else ""
    provider = option["provider"]
    where = {"given": " at the price given", "owned": " of your own", None: ""}
    return f", on {count}{option['gpu']}{where.get(provider, f' at {provider}')}"


def _requests(subject: Subject) -> str:
    load = subject.question.get("requests_per_month")
    if load is None:
        return ""
    months = subject.question["horizon_months"]
    return f", {load:,.0f} requests a month for {months:g} month{'' if months == 1 else 's'}"


def _limits(question: Mapping[str, Any]) -> str:
    """`` It may cost $20 and take 3.00 h.``"""
    parts = []
    if question.get("max_usd") is not None:
        parts.append(f"cost {format_usd(question['max_usd'])}")
    if question.get("max_hours") is not None:
        parts.append(f"take {format_seconds(question['max_hours'] * SECONDS_PER_HOUR)}")
    if question.get("deadline") is not None:
        parts.append(f"take until {str(question['deadline']).replace('T', ' ')}")
    return f" It may {' and '.join(parts)}." if parts else ""


def _lower(term: str) -> str:
    """Inside a sentence; names such as LoRA stay."""
    return term if term[1:].lower() != term[1:] else term[:1].lower() + term[1:]
