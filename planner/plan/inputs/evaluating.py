"""What an evaluation is made of, where a question leaves it open: how many samples, whether it
writes text, how long and with how many beams."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.models.building.speech import is_ctc
from planner.models.facts import ModelFacts
from planner.plan.inputs.rows import default
from planner.question import Question

#: Tasks whose models write text token by token.
WRITING = ("causal_lm", "seq2seq_lm", "speech_recognition")
#: Scope of the defaults for speech recognition without a decoder.
CTC = "ctc"


@dataclass(frozen=True)
class Writing:
    """Text that an evaluation writes. ``tokens``: as asked, None for the longest target of a batch,
    up to ``most``."""

    beams: int
    tokens: float | None
    most: float


def held_out_samples(question: Question, samples: int, task: str) -> int:
    """Samples of one evaluation: as asked; else a share of the data, up to a number of them, since
    nobody holds out a twentieth of a web corpus."""
    if question.evaluation_samples is not None:
        return question.evaluation_samples
    most = default("evaluation_samples_most", task)[0]
    return math.ceil(min(default("evaluation_share")[0] * samples, most))


def generates(question: Question, facts: ModelFacts, task: str, published: bool | None) -> bool:
    """As asked; else as the published recipe says; else as examples of the task do. A model without
    a decoder never does."""
    scope = CTC if is_ctc(task, facts.config or {}) else task
    if scope not in WRITING:
        return False
    asked = question.evaluation_generates
    if asked is None:
        asked = published
    return bool(default("evaluation_generates", scope)[0]) if asked is None else asked


def writing(question: Question, task: str) -> Writing:
    """Of an evaluation that writes text."""
    return Writing(
        beams=question.beams or int(default("beams", task)[0]),
        tokens=question.generated_tokens,
        most=default("generated_tokens_most", task)[0],
    )
