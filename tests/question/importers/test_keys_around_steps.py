"""Settings around a step in other tools' words: clipping."""

import pytest

from planner.question import Question
from planner.question.importers import importer_of
from planner.question.importers.keys import CANNOT_BE_ASKED

TUNE = {
    "model": {"_component_": "torchtune.models.llama3_2.llama3_2_1b"},
    "tokenizer": {},
    "loss": {},
}
BASE = {"model_name_or_path": "gpt2", "per_device_train_batch_size": 2}


@pytest.mark.parametrize(
    ("document", "norm"),
    [
        (TUNE | {"clip_grad_norm": 0.5}, 0.5),
        (TUNE | {"clip_grad_norm": None}, None),
        ({"zero_optimization": {"stage": 0}, "gradient_clipping": 0.3}, 0.3),
        ({"zero_optimization": {"stage": 0}, "gradient_clipping": "auto"}, None),
        ({"trainer": {"gradient_clip_val": 2}, "model": {}}, 2),
        (BASE | {"max_grad_norm": 0}, 0),
    ],
)
def test_the_norm_that_gradients_are_clipped_at_is_the_question_s(document, norm):
    found = importer_of(document).read(document, 1)
    assert found.values.get("max_grad_norm") == norm
    assert not [one.key for one in found.of(CANNOT_BE_ASKED) if "clip" in one.key]
    Question(**{"model": "gpt2", "samples": 10, "tokens_per_sample": 8, "max_grad_norm": norm})


def test_clipping_each_value_is_another_thing():
    document = {"trainer": {"gradient_clip_val": 2, "gradient_clip_algorithm": "value"}}
    found = importer_of(document).read(document, 1)
    assert [one.key for one in found.of(CANNOT_BE_ASKED)] == ["trainer.gradient_clip_algorithm"]
