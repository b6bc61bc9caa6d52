"""Batches with values for models of images: places of images among the tokens, boxes inside."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from planner.models.building.build import build  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from small_seeing import SMALL  # noqa: E402


def small(tmp_path, name):
    import json

    file = tmp_path / "config.json"
    file.write_text(json.dumps(SMALL[name]))
    return resolve(str(file), task="image_text_to_text")


@pytest.mark.parametrize("name", ["llava", "smolvlm", "paligemma"])
def test_a_real_step_of_images_and_text_runs(tmp_path, name):
    built = build(small(tmp_path, name), device="cpu")
    batch = built.make_batch(2, 64, None)
    loss = built.loss(built.module, batch)
    loss.backward()
    assert torch.isfinite(loss)


def test_boxes_lie_in_the_image():
    built = build(resolve("rtdetr_r18vd", offline=True), device="cpu")
    batch = built.make_batch(2, None, None)
    assert (batch["boxes"] > 0).all() and (batch["boxes"] < 1).all()
    assert int(batch["class_labels"].max()) < built.module.config.num_labels
