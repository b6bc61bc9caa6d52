"""What learning from a teacher makes of a question: the teacher, and texts that it or the student
writes in the place of the data's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.plan.inputs.rows import default
from planner.plan.objectives.mixed import MixedProfile
from planner.question import Question
from planner.training.objective import BEFORE, IN_STEP, Objective


def check_teacher(question: Question, objective: Objective) -> None:
    """Raises QuestionError for an objective that learns from a teacher which none is named for, and
    for one that writes before the training on a GPU beside it."""
    if objective.teacher and not question.teacher:
        raise QuestionError(
            f"{objective.title} learns from a teacher, and none is named",
            where=FieldName("teacher"),
            mend=f"Name the student as the model and the larger model with {FieldName('teacher')}",
        )
    _check_engine(question, objective)


def _check_engine(question: Question, objective: Objective) -> None:
    if objective.teacher == BEFORE and question.generation_engine == "vllm_server":
        raise QuestionError(
            f"under {objective.title} everything is written before the training: no GPU is paid "
            "beside it",
            where=FieldName("generation_engine"),
            mend="Ask for vllm or transformers",
        )


def check_vocabulary(objective: Objective, student: ModelFacts, teacher: ModelFacts) -> None:
    """Raises QuestionError where both have not the same tokens, which TRL refuses."""
    if objective.teacher != IN_STEP:
        return
    own, other = _vocabulary(student), _vocabulary(teacher)
    if own is None or other is None or own == other:
        return
    raise QuestionError(
        f"{student.name} has {own:,} tokens and {teacher.name} {other:,}: {objective.title} "
        "compares chances of the same tokens",
        where=FieldName("teacher"),
        mend=f"Name a teacher with {own:,} tokens, or ask for {FieldName('objective')} "
        "sequence_distillation",
    )


def _vocabulary(facts: ModelFacts) -> int | None:
    config = facts.config or {}
    text = config.get("text_config")
    found = (text if isinstance(text, dict) else config).get("vocab_size")
    return found if isinstance(found, int) else None


def on_policy_share(question: Question) -> float:
    """Of the batches, what the student writes itself."""
    asked = question.on_policy_share
    return default("on_policy_share")[0] if asked is None else asked


def written_share(question: Question) -> float:
    """Of the batches, what the student or the teacher writes."""
    return 1.0 if question.teacher_writes else on_policy_share(question)


def prompt_lengths(data: DatasetProfile) -> np.ndarray:
    """Tokens of what stands before the answers, as counted, else as a share of the texts."""
    if data.prompt_lengths is not None:
        return np.maximum(1, data.prompt_lengths)
    assert data.lengths is not None
    return np.maximum(1.0, data.lengths * default("prompt_share")[0])


def answer_tokens(question: Question, objective: Objective, data: DatasetProfile) -> float:
    """Mean tokens of an answer that is written: as asked; of a teacher that writes once as long as
    the data's own, where it has some."""
    if question.completion_tokens:
        return question.completion_tokens
    usual = default("completion_tokens", objective.name)[0]
    if objective.teacher != BEFORE or data.lengths is None:
        return usual
    own = float(data.lengths.mean() - np.minimum(prompt_lengths(data), data.lengths).mean())
    return own if own >= 1 else usual


def taught(question: Question, objective: Objective, data: DatasetProfile) -> DatasetProfile:
    """Texts as the objective's batches are made of them."""
    if data.lengths is None:
        return data
    tokens = max(1, round(answer_tokens(question, objective, data)))
    if objective.replaces:
        return _mixed(question, data, tokens)
    if objective.teacher != BEFORE or question.completion_tokens is None:
        return data
    longest = None if data.longest_input is None else _longest_prompt(data) + tokens
    return replace(
        data,
        lengths=np.round(prompt_lengths(data) + tokens).astype(np.int64),
        longest_input=longest,
    )


def _longest_prompt(data: DatasetProfile) -> float:
    assert data.longest_input is not None
    return max(1.0, data.longest_input * default("prompt_share")[0])


def _mixed(question: Question, data: DatasetProfile, tokens: int) -> DatasetProfile:
    share = written_share(question)
    if not share:
        return data
    values = {name: getattr(data, name) for name in data.__dataclass_fields__}
    return MixedProfile(
        **values,
        written_share=share,
        written_prompts=prompt_lengths(data),
        written_tokens=tokens,
        longest_prompt=None if data.longest_input is None else _longest_prompt(data),
    )


def taught_lines(question: Question, objective: Objective, data: DatasetProfile) -> list[FirstLine]:
    """How the teacher, and what it or the student writes, were understood. ``data``: as read."""
    where = {
        IN_STEP: f"{question.teacher} lies beside the student and makes all logits in every step",
        BEFORE: f"{question.teacher} writes all answers once, before the first step, and is gone",
    }[objective.teacher]
    lines = [FirstLine("run", f"teacher {where} ({FieldName('teacher')})")]
    if objective.completes and not objective.writes and data.lengths is not None:
        if data.prompt_lengths is None:
            text = (
                f"{default('prompt_share')[0]:.0%} of a text is taken as its prompt (our choice): "
                "texts are counted whole"
            )
            lines.append(FirstLine("run", text))
        lines.append(FirstLine("run", _answers_said(question, objective, data)))
    return lines


def _answers_said(question: Question, objective: Objective, data: DatasetProfile) -> str:
    tokens = answer_tokens(question, objective, data)
    assumed = "" if question.completion_tokens else f" ({FieldName('completion_tokens')})"
    if objective.teacher == BEFORE:
        engine = question.generation_engine or "vllm"
        named = "vLLM on the same GPU" if engine != "transformers" else "transformers' generate"
        return (
            f"each answer has {tokens:,.0f} tokens{assumed}, written by {named} "
            f"({FieldName('generation_engine')})"
        )
    share = on_policy_share(question)
    given = "" if question.on_policy_share is not None else ", as TRL by default"
    others = "the teacher's" if question.teacher_writes else "the data's"
    return (
        f"the student writes the answers of {share:.0%} of the batches itself{given} "
        f"({FieldName('on_policy_share')}), {tokens:,.0f} tokens each{assumed}; the others are "
        f"{others}"
    )
