"""What was asked, in one sentence: the model, the task, the data and the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.words import clean, count_text, share_text, usd_text, value_text

#: How samples of a modality are called.
CALLED = {"image": "images", "audio": "clips"}


def asked(document: Mapping[str, Any], run: Mapping[str, Any] | None) -> str:
    """``Llama-3.2-1B (1.24B parameters), causal lm, on 20,000 samples of 200 tokens …``.

    ``run``: of the option that is recommended, or comes first: strategy, epochs, steps, batch and
    tokens_per_epoch, each None where it is not known.
    """
    return ", ".join(filter(None, [_model(document), _task(document), *_data(document)])) + (
        f"; {_run(run)}{_served(document)}." if run else f"{_served(document)}."
    )


def run_of(option: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The run of an option of ``estimate``."""
    if not option or not option.get("run"):
        return None
    run, training = option["run"], option.get("training") or {}
    return {
        "strategy": option["strategy"],
        "epochs": run["epochs"],
        "steps": run["steps"],
        "batch": training.get("global_batch_size"),
        "tokens_per_epoch": run.get("tokens_per_epoch"),
    }


def _served(document: Mapping[str, Any]) -> str:
    """What else the sums are of: trials, labels, requests."""
    question = document["question"]
    trials, failed = question.get("trials") or 1, question.get("failed_share") or 0
    lost = f", {share_text(failed)} of runs failed" if failed else ""
    parts = [f"dollars of {trials} trials{lost}, hours of one run"] if trials > 1 or failed else []
    if label := question.get("usd_per_label"):
        parts.append(f"with labels at {usd_text(label)} each")
    if requests := question.get("requests_per_month"):
        months = f"{question['horizon_months']:g} months"
        parts.append(f"{count_text(requests)} requests a month for {months}")
    return "".join(f"; {part}" for part in parts)


def _model(document: Mapping[str, Any]) -> str:
    model = document.get("model") or {}
    size = model.get("parameters")
    name = clean(model.get("name") or document["question"].get("model") or "")
    return f"{name} ({count_text(size)} parameters)" if size else name


def _task(document: Mapping[str, Any]) -> str:
    task = document["question"].get("task") or (document.get("model") or {}).get("task")
    return clean(task or "").replace("_", " ")


def _data(document: Mapping[str, Any]) -> list[str]:
    data = document.get("dataset")
    if not data:
        return []
    called = CALLED.get(data["modality"], "samples")
    if (data.get("columns") or {}).get("kind") == "chat":
        called = "chats"
    text = f"on {data.get('trained_as') or count_text(data['samples']) + ' ' + called}"
    if data["modality"] == "text" and data.get("lengths"):
        text += f" of {_lengths(data)} tokens"
    if data.get("audio_seconds"):
        text += f" of {float(format(data['audio_seconds']['mean'], '.3g')):,g} s"
    return [text]


def _lengths(data: Mapping[str, Any]) -> str:
    """The mean tokens of a sample, with those of its target: ``14 + 2 × 42`` of a query with a
    positive and a hard negative, ``120 + 80`` of a pair of texts."""
    halves = data.get("halves") or [data["lengths"]]
    own = " + ".join(count_text(round(half["mean"])) for half in halves)
    if not data.get("target_lengths"):
        return own
    times = f"{1 + data['negatives']} × " if data.get("negatives") else ""
    return f"{own} + {times}{count_text(round(data['target_lengths']['mean']))}"


def _run(run: Mapping[str, Any]) -> str:
    epochs = run["epochs"]
    parts = [f"{value_text('epochs', epochs)} epoch{'s' * (epochs != 1)}"]
    if run.get("tokens_per_epoch"):
        parts[0] += f" of {count_text(run['tokens_per_epoch'])} tokens"
    steps = f"{run['steps']:,} step{'s' * (run['steps'] != 1)}"
    batch = run["batch"]
    parts.append(f"{steps} of {batch:,} sample{'s' * (batch != 1)}" if batch else steps)
    return f"{clean(run['strategy'])}: {', '.join(parts)}"
