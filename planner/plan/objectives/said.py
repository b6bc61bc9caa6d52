"""How an objective was understood, in the first lines."""

from __future__ import annotations

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.plan.inputs.rows import default
from planner.plan.objectives.asked import (
    PRECOMPUTED,
    SERVER,
    VLLM,
    objective_asked,
    rollout,
    traced,
)
from planner.plan.objectives.practised import own_length
from planner.plan.objectives.taught import taught_lines
from planner.question import Question
from planner.question.training_setting import JUDGED, TEXTS, TUNED_BY
from planner.training.objective import Objective


def objective_lines(question: Question, data: DatasetProfile) -> list[FirstLine]:
    """How the objective was understood. ``data``: as it was read."""
    objective = objective_asked(question)
    if objective is None:
        return []
    lines = [FirstLine("task", f"{objective.title}: {_learns(question, objective, data)}")]
    compared = _compared(question, objective)
    lines += [FirstLine("run", compared)] if compared else []
    cut = own_length(question)
    if cut is not None and data.lengths is not None and _longest(data) > cut:
        text = (
            f"texts are cut at {cut:,} tokens, as TRL does by default ({FieldName('max_length')})"
        )
        lines.append(FirstLine("run", text))
    if objective.teacher:
        lines += taught_lines(question, objective, data)
    if objective.writes:
        lines += _of_writing(question, objective)
    if objective.scores:
        text = "one number a text in place of the logits: a new head of the model"
        lines.append(FirstLine("run", text))
    if question.strategy is None:
        text = f"{objective.title} is planned with {', '.join(TUNED_BY)}: other strategies left out"
        lines.append(FirstLine("left_out", text))
    return lines


def _longest(data: DatasetProfile) -> float:
    sides = [side.max() for side in (data.lengths, data.rejected_lengths) if side is not None]
    return float(max([data.longest_input or 0.0, *sides]))


def _learns(question: Question, objective: Objective, data: DatasetProfile) -> str:
    if objective.samples == TEXTS:
        return objective.learns
    if objective.writes:
        made = rollout(question, objective)
        per = "a completion" if made.each == 1 else f"{made.each} completions"
        return f"to each of {data.samples:,} prompts the model writes {per}"
    if objective.samples == JUDGED:
        return (
            "each answer by itself, good or bad"
            if data.rejected_lengths is None
            else f"{2 * data.samples:,} single answers of {data.samples:,} pairs"
        )
    if data.rejected_lengths is None or data.lengths is None:
        return (
            f"{data.samples:,} pairs, both halves of the stated length, in one pass of twice as "
            "many sequences"
        )
    chosen, rejected = data.lengths.mean(), data.rejected_lengths.mean()
    return (
        f"both halves of a pair in one pass, prompts with chosen answers of mean {chosen:,.0f} "
        f"tokens, with rejected ones {rejected:,.0f}"
    )


def _compared(question: Question, objective: Objective) -> str:
    if not objective.reference:
        return ""
    kind = traced(question)["reference"]
    if kind is None:
        why = "" if question.reference else " (a divergence weight of 0, as TRL's default)"
        return f"compared with no reference{why}; {FieldName('reference')} model adds one"
    if kind == PRECOMPUTED:
        return "the reference's log-probabilities are worked out once, before the first step"
    when = "at every step" if objective.in_step else "on all that is written"
    return (
        f"the frozen reference runs {when}: a second copy of the weights, of adapters the same "
        f"weights with them off ({FieldName('reference')} changes it)"
    )


def _of_writing(question: Question, objective: Objective) -> list[FirstLine]:
    made = rollout(question, objective)
    assumed = ""
    if question.completion_tokens is None:
        assumed = f", the longest that TRL allows by default: {FieldName('completion_tokens')}"
    engine = question.generation_engine or "transformers"
    named = {
        "transformers": "transformers' generate",
        VLLM: f"vLLM, which holds {default('engine_memory_share')[0]:.0%} of the same GPU all the "
        "time: the memory that is used counts it",
        SERVER: "vLLM on a GPU of its own, paid as one of the training's while the run lasts",
    }[engine]
    lines = [
        FirstLine(
            "run",
            f"each completion has {made.tokens:,.0f} tokens{assumed}, written by {named} "
            f"({FieldName('generation_engine')})",
        )
    ]
    if objective.judges:
        text = (
            "the value and the reward model are taken as large as the policy; the value model "
            f"trains whole; each completion is trained on {objective.updates} times, as in TRL"
        )
        lines.append(FirstLine("run", text))
    elif not objective.teacher:
        text = "rewards are functions whose time is not counted"
        lines.append(FirstLine("run", text))
    return lines
