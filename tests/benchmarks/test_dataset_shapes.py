"""Each shape of dataset is counted as the trainer's own rendering yields it."""

import pytest

from benchmarks import dataset_shapes


@pytest.mark.parametrize("kind", dataset_shapes.SHAPES, ids=lambda kind: kind.name)
def test_a_shape_is_counted_as_its_trainer_renders_it(kind):
    _, tokens, true, _ = dataset_shapes.row(kind, 24, seed=3)
    assert tokens == pytest.approx(true, rel=dataset_shapes.TOLERANCE)


def test_there_are_the_shapes_that_people_have():
    assert len({kind.name for kind in dataset_shapes.SHAPES}) == len(dataset_shapes.SHAPES) >= 25
