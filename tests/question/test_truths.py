"""Yes and no are no numbers, though Python counts them as 1 and 0."""

from __future__ import annotations

import pytest

from planner.errors import QuestionError
from planner.question.question import Question


@pytest.mark.parametrize("name", ["samples", "epochs", "max_usd", "micro_batch", "max_hours"])
@pytest.mark.parametrize(("value", "said"), [(True, "yes"), (False, "no")])
def test_a_number_is_not_yes_or_no(name, value, said):
    with pytest.raises(QuestionError, match=f"{name}: {said} is not a number"):
        Question.model_validate(
            {"model": "gpt2", "tokens_per_sample": 4, "samples": 4, name: value}
        )


def test_what_is_yes_or_no_stays_so():
    asked = {"model": "gpt2", "samples": 4, "tokens_per_sample": 4, "offline": True}
    assert Question.model_validate(asked).offline is True
