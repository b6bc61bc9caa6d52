"""An average of the weights that train: what it excludes, and what is said of it."""

from __future__ import annotations

from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.question import Question
from planner.training.host_memory import OPTIMIZER, together

#: Whose code each is.
WORDS = {
    "loop": "one weight after another, as diffusers' EMAModel",
    "list": "over lists, as diffusers' EMAModel with foreach_ema, whose differences are as large",
    "host": "as diffusers' EMAModel with offload_ema: it comes to the device at each update",
    "lerp": "in one operation in place, as timm's ModelEmaV3 and torchvision's",
}


def check_averaging(question: Question) -> None:
    """Raises QuestionError where the weights are not there to be averaged."""
    if question.ema and OPTIMIZER in together(question.offload or ()):
        raise QuestionError(
            "an average of weights that are updated on the host is not planned",
            where=FieldName("ema"),
            mend=f"Leave it out, or {FieldName('offload')}",
        )


def averaging_lines(question: Question) -> list[FirstLine]:
    """How the average is kept, and of what."""
    if question.ema is None:
        return []
    every = question.ema_every or 1
    often = "at every step" if every == 1 else f"every {every:,} steps"
    text = (
        f"an average of the weights that train, in their number format, is updated {often}, "
        f"{WORDS[question.ema]}"
    )
    return [FirstLine("run", text)]
