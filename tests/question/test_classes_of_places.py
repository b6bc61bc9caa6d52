"""A number of classes reaches the step of every task whose head has one."""

import pytest

from planner.question.settings import CLASSIFIERS
from planner.question.setup import Setup
from planner.training.recipe import recipe_of


@pytest.mark.parametrize(
    "task", ["text_classification", "semantic_segmentation", "object_detection"]
)
def test_classes_are_the_recipes(task):
    setup = Setup(
        model="segformer-b0",
        gpu="t4",
        micro_batch=2,
        strategy="fine_tune",
        task=task,
        precision="fp32",
        optimizer="adamw",
        classes=19,
    )
    assert task in CLASSIFIERS
    assert recipe_of(setup).classes == 19
