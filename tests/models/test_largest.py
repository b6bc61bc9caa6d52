"""The largest batch of a detector's images: by its family's published recipe, by a folder's own
images, and how its objects thin out in larger batches."""

import numpy as np
import pytest

from planner import tables
from planner.models.images.largest import Crowd, published_largest, sides_of
from planner.models.resolve import resolve

SHAPES = [(640, 480), (480, 640), (640, 360), (500, 500)]


def facts_of(name):
    return resolve(name, offline=True)


@pytest.mark.parametrize(
    ("name", "size", "padded"),
    [
        ("fasterrcnn_resnet50_fpn", (1333, 800), False),
        ("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", (640, 320), False),
        ("ssd300_vgg16", (300, 300), False),
        ("detr-resnet-50", (1333, 1333), False),
        ("rtdetr_r18vd", (800, 800), True),
        ("mask2former-swin-tiny", (1024, 1024), False),
        ("yolov8n", (640, 640), True),
    ],
)
def test_by_the_published_recipe(name, size, padded):
    facts = facts_of(name)
    found = published_largest(facts, facts.task)
    assert found is not None and found.size == size and found.crowd.padded is padded
    assert found.crowd.most > found.crowd.usual > 1


def test_nothing_larger_is_known_of_tasks_without_objects():
    facts = facts_of("segformer-b0")
    assert published_largest(facts, facts.task) is None
    assert published_largest(facts_of("resnet50"), "image_classification") is None


def test_an_asked_size_moves_the_largest_with_it():
    facts = facts_of("fasterrcnn_resnet50_fpn")
    assert published_largest(facts, facts.task, 400).size == (800, 400)
    yolo = facts_of("yolov8n")
    assert published_largest(yolo, yolo.task, 1280).size == (1280, 1280)


def test_groups_of_like_shape_are_as_large_as_one_image():
    facts = facts_of("fasterrcnn_resnet50_fpn")
    sides = sides_of(facts, facts.task)
    assert sides.of(SHAPES) == (1333, 750)  # 640 x 360: 16:9
    assert sides.of([(480, 640)]) == (1067, 800)  # a wide image for a high one


def test_batches_of_any_shape_are_padded_to_the_widest_and_the_highest():
    facts = facts_of("detr-resnet-50")
    sides = sides_of(facts, facts.task)
    assert sides.of(SHAPES) == (1333, 1067)
    assert sides.of([(640, 480)]) == (1067, 800)


def test_the_fullest_image_is_one_of_its_batch():
    crowd = Crowd(usual=7, most=93)
    assert crowd.objects(1) == 93
    assert crowd.objects(np.array([1, 2, 16])).tolist() == [93, 50, 13]
    assert Crowd(usual=7, most=93, padded=True).objects(np.array([1, 16])).tolist() == [93, 93]


def test_rows_name_what_the_library_has():
    rows = tables.rows("models", "largest_images.csv")
    assert {row["batches"] for row in rows} == {"grouped", "mixed", "fixed"}
    assert {row["objects"] for row in rows} == {"listed", "padded"}
    known = {row["name"] for row in tables.rows("models", "torchvision_models.csv")}
    families = {row["model_type"] for row in tables.rows("models", "model_types.csv")}
    for row in rows:
        if row["model"] == "any":
            continue
        if row["library"] == "torchvision":
            assert any(name.startswith(row["model"]) for name in known)
        else:
            assert row["model"] in families
