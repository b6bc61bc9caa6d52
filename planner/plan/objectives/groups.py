"""What TRL refuses of completions, and what the model's positions leave for their prompts. Raises
QuestionError in its place."""

from __future__ import annotations

import math

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.plan.inputs.rows import default
from planner.plan.objectives.asked import objective_asked, rollout
from planner.question import Question


def check_groups(question: Question) -> None:
    """Raises QuestionError for fewer completions a prompt than advantages are worked out of, and
    for a step that is asked for and holds no whole groups of them."""
    objective = objective_asked(question)
    if objective is None or not objective.grouped:
        return
    each = rollout(question, objective).each
    least, source = default("least_generations")
    if each < least:
        raise QuestionError(
            f"{objective.title} compares the completions of a prompt: {each} is less than the "
            f"{least:g} that TRL asks for ({source})",
            where=FieldName("generations_per_prompt"),
            mend=f"Ask for {least:g} or more",
        )
    size = question.global_batch or (question.micro_batch or 0) * question.gpus
    if size % each:
        raise _no_groups(question, size, each, source)


def _no_groups(question: Question, size: int, each: int, source: str) -> QuestionError:
    whole = [size // each * each, (size // each + 1) * each]
    if question.global_batch is None:  # a step of micro-batches that are asked for
        whole = [math.lcm(size, each)]
    named = " or ".join(f"{one:,}" for one in whole if one)
    return QuestionError(
        f"{size:,} completions a step are no whole groups of {each}, one group a prompt, which TRL "
        f"refuses ({source})",
        where=FieldName("micro_batch" if question.global_batch is None else "global_batch"),
        mend=f"Ask for {FieldName('global_batch')} {named}, or other "
        f"{FieldName('generations_per_prompt')}",
    )


def prompt_room(question: Question, facts: ModelFacts) -> int | None:
    """Tokens of a prompt that completions leave of the model's positions; None where nothing is
    written, or the model has no end."""
    objective = objective_asked(question)
    if objective is None or not objective.writes or facts.max_length is None:
        return None
    return facts.max_length - round(rollout(question, objective).tokens)


def check_positions(question: Question, facts: ModelFacts, data: DatasetProfile) -> None:
    """Raises QuestionError where a usual prompt with its completion is longer than the model."""
    room, mean = prompt_room(question, facts), data.mean_length
    if room is None or mean is None or mean <= room:
        return
    completion, whole = (facts.max_length or 0) - room, facts.max_length or 0
    short = f", {FieldName('completion_tokens')} of at most {whole - round(mean):,}"
    raise QuestionError(
        f"prompts of mean {mean:,.0f} tokens with completions of {completion:,} are longer than "
        f"the {whole:,} tokens that {facts.name} takes",
        where=FieldName("completion_tokens" if question.completion_tokens else "objective"),
        mend=f"Ask for shorter prompts{short if mean < whole else ''}, or a model that takes more",
    )


def room_lines(question: Question, facts: ModelFacts, data: DatasetProfile) -> list[FirstLine]:
    """That some prompts leave no room for their completions."""
    room = prompt_room(question, facts)
    if room is None or data.lengths is None:
        return []
    longest = max(float(data.lengths.max()), data.longest_input or 0.0)
    if longest <= room or (question.max_length or room + 1) <= room:
        return []
    completion = (facts.max_length or 0) - room
    text = (
        f"prompts are taken as cut at {room:,} tokens, which completions of {completion:,} leave "
        f"of the {facts.max_length:,} that {facts.name} takes; TRL cuts none, and longer ones fail"
    )
    return [FirstLine("run", text, warning=True)]
