"""What training programs do to data by default, and how texts are told apart: rows of
``profiles/datasets/constants.csv``."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import ProfileError

TABLE = ("datasets", "constants.csv")
#: Of encoders, which read no conversations.
ENCODER_TASKS = (
    "masked_lm",
    "text_classification",
    "token_classification",
    "question_answering",
    "text_embedding",
    "reranking",
    "contrastive",
)


@cache
def constant(key: str) -> float:
    """The value of a row, in the row's unit. Raises ProfileError."""
    for row in tables.rows(*TABLE):
        if row["key"] == key:
            return float(row["value"])
    raise ProfileError(f"no constant {key!r}", where="profiles/datasets/constants.csv")


def speech_rate_hz() -> int:
    """Samples a second of the sound that speech models take."""
    return int(constant("speech_rate"))
