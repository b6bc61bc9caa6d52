"""What will this training cost, and which way should I do it?

>>> from planner import estimate
>>> answer = estimate("gpt2", samples=1000, tokens_per_sample=200)   # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from planner.version import __version__

if TYPE_CHECKING:
    from planner.answer.estimate import estimate
    from planner.question import Question
    from planner.recording.recorder import record

__all__ = ["Question", "estimate", "record", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `import planner` alone stays free of pydantic and numpy.
    if name == "Question":
        from planner.question import Question

        return Question
    if name == "estimate":
        from planner.answer.estimate import estimate

        return estimate
    if name == "record":
        from planner.recording.recorder import record

        return record
    raise AttributeError(f"module 'planner' has no attribute {name!r}")
