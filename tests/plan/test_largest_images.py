"""A detector's memory is of the largest batch of its images, its time of the usual one; the answer
says which, and shipped answers need no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest

from planner import tables
from planner.answer.estimate import estimate
from planner.datasets.scanning import scan
from planner.devices.lookup import find_device
from planner.memory.live_bytes import peak_allocated
from planner.models.resolve import resolve
from planner.models.tasks import OF_OBJECTS
from planner.plan.inputs.problem import understand
from planner.plan.steps.point import evaluate
from planner.question import Question
from planner.trace.source import largest_of, shipped_models, trace_for
from planner.training.recipe import Recipe

ASKED = {"samples": 5000, "gpu": "a100-sxm-80", "strategy": ["fine_tune"], "micro_batch": 2}


def answered(model="fasterrcnn_resnet50_fpn", **fields):
    return estimate(Question(model=model, offline=True, **(ASKED | fields)))


def peak_of(document):
    return document["options"][0]["memory"]["allocated_bytes"]["p50"]


def hours_of(document):
    return document["options"][0]["run"]["wall_hours"]["p50"]


def words_of(document):
    return " ".join(line["text"] for line in document["first_lines"])


def live_bytes(model, batch, most):
    """At the largest batch of a published recipe with so many objects in the fullest image."""
    facts = resolve(model, offline=True)
    recipe = recipe_of_default(facts)
    peak = largest_of(facts, recipe).with_objects(None, most)
    trace = trace_for(facts, recipe, peak=peak).largest.at(B=batch)
    return float(peak_allocated(trace, trace.dims(B=batch)))


def recipe_of_default(facts, **changed):
    usual = {"strategy": "fine_tune", "precision": "amp_bf16", "optimizer": "adamw"}
    return Recipe(task=facts.task, **(usual | changed))


def test_more_objects_in_the_fullest_image_move_memory_and_no_time():
    few, many = answered(most_objects=10), answered(most_objects=80)
    assert peak_of(few) < peak_of(many)
    assert hours_of(few) == pytest.approx(hours_of(many))
    assert "80 objects in the fullest (from --most-objects" in words_of(many)


def test_the_published_sizes_are_the_default_and_said():
    document = answered()
    text = "images padded to 1,333 × 800 pixels (as the published recipe of its family makes them)"
    assert text in words_of(document)
    assert "objects in the fullest (as in COCO)" in words_of(document)


def test_the_fullest_image_weighs_less_in_a_larger_batch():
    """One image of the batch is the fullest: what it adds does not grow with the batch, but where
    every image has room for as many."""

    def added(model, batch):
        few, many = (live_bytes(model, batch, most) for most in (10, 200))
        return many - few

    alone, crowd = added("fasterrcnn_resnet50_fpn", 2), added("fasterrcnn_resnet50_fpn", 16)
    assert 0 < crowd < alone
    assert added("yolov8n", 16) > 4 * added("yolov8n", 2) > 0


@pytest.mark.parametrize("model", ["retinanet_resnet50_fpn", "detr-resnet-50", "yolov8n"])
def test_more_objects_never_hold_less(model):
    held = [live_bytes(model, 4, most) for most in (8, 60, 93, 400)]
    assert held == sorted(held)


def test_a_step_is_priced_at_the_usual_images_and_held_at_the_largest():
    facts = resolve("fasterrcnn_resnet50_fpn", offline=True)
    recipe = recipe_of_default(facts)
    spec = find_device("a100-sxm-80")
    alone = trace_for(facts, recipe)
    source = trace_for(facts, recipe, peak=largest_of(facts, recipe))
    usual, peak = (evaluate(facts, recipe, spec, micro_batch=2, source=s) for s in (alone, source))
    assert usual.step_seconds.p50 == peak.step_seconds.p50
    assert usual.allocated_bytes.p50 < peak.allocated_bytes.p50
    assert alone.largest is alone and source.largest is source.largest


def test_objects_are_settled_by_the_batch():
    facts = resolve("retinanet_resnet50_fpn", offline=True)
    recipe = recipe_of_default(facts)
    trace = trace_for(facts, recipe, peak=largest_of(facts, recipe)).largest.at(B=2)
    assert trace.symbols == ("B",)
    assert "T" in "".join(trace.monomials)
    assert trace.crowd.objects(np.array([2, 32])).tolist() == [50, 10]
    many, one = trace.dims(B=np.array([2, 4])), trace.dims(B=2)
    assert (many[:, 0] == one).all()


def annotated(folder, shapes, boxes):
    file = folder / "annotations" / "instances_train2017.json"
    file.parent.mkdir(parents=True)
    sizes = [{"id": i, "width": w, "height": h} for i, (w, h) in enumerate(shapes)]
    objects = [{"image_id": i} for i, count in enumerate(boxes) for _ in range(count)]
    document = {"images": sizes, "annotations": objects, "categories": [{"id": 1, "name": "a"}]}
    file.write_text(json.dumps(document))
    return str(folder)


def test_a_coco_folder_tells_its_own_largest_batch(tmp_path):
    folder = annotated(tmp_path, [(640, 384), (600, 600), (480, 640)], [3, 41, 1])
    profile = scan(folder)
    assert profile.objects.tolist() == [3, 41, 1]
    assert profile.image_shapes.tolist() == [[640, 384], [600, 600], [480, 640]]
    problem = understand(Question(model="retinanet_resnet50_fpn", data=folder, offline=True))
    said = " ".join(line.text for line in problem.first_lines)
    assert "images padded to 1,333 × 800 pixels (the data's own" in said
    assert "41 objects in the fullest (of the data)" in said
    recipe = recipe_of_default(problem.facts)
    peak = problem.source(recipe, problem.facts).peak
    assert peak.size == (1333, 800) and peak.crowd.most == 41
    assert peak.crowd.usual == pytest.approx(15)


def test_smaller_images_of_a_folder_are_their_own_shape(tmp_path):
    folder = annotated(tmp_path, [(600, 600)], [2])
    problem = understand(Question(model="retinanet_resnet50_fpn", data=folder, offline=True))
    said = " ".join(line.text for line in problem.first_lines)
    assert "images padded to 800 × 800 pixels (the largest of the data" in said


DETECTORS = [
    row["name"]
    for row in tables.rows("models", "catalogue.csv")
    if row["name"] in shipped_models() and row["task"] in OF_OBJECTS
]


@pytest.mark.parametrize("model", DETECTORS)
def test_the_largest_batch_of_a_shipped_detector_ships_too(model):
    facts = resolve(model, offline=True)
    recipe = recipe_of_default(facts)
    source = trace_for(facts, recipe, record=False, peak=largest_of(facts, recipe)).largest
    trace, usual = source.at(B=2), trace_for(facts, recipe, record=False).at(B=2)
    held, less = (float(peak_allocated(t, t.dims(B=2))) for t in (trace, usual))
    assert held >= less and trace.meta["recipe"]["largest"] == source.recipe.largest
    assert trace.meta["total_params"] == usual.meta["total_params"]


SHIPPED = """
import sys
from planner import tables
from planner.answer.estimate import estimate
from planner.question import Question
for model in ("fasterrcnn_resnet50_fpn", "yolov8n", "detr-resnet-50", "maskrcnn_resnet50_fpn"):
    estimate(Question(model=model, samples=5000, gpu="a100-sxm-80", strategy=["fine_tune"],
                      offline=True, most_objects=33))
    assert "torch" not in sys.modules, model
"""


def test_a_shipped_detector_is_answered_without_torch():
    subprocess.run([sys.executable, "-c", SHIPPED], check=True, timeout=120)


def test_batches_of_mixed_shapes_say_what_their_time_is_of():
    mixed = words_of_lines("facebook/detr-resnet-50")
    assert "without what mixed shapes are padded, and one image alone takes less" in mixed
    assert "mixed shapes" not in words_of_lines("fasterrcnn_resnet50_fpn")


def words_of_lines(model):
    problem = understand(Question(model=model, offline=True, **ASKED))
    return " ".join(line.text for line in problem.first_lines)


def test_objects_of_the_data_stand_beside_those_of_its_time(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    image.new("RGB", (64, 48)).save(tmp_path / "images" / "train" / "0.jpg")
    (tmp_path / "labels" / "train" / "0.txt").write_text("0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n")
    asked = Question(model="yolo:yolov8n", data=str(tmp_path), gpu="t4", offline=True)
    said = " ".join(line.text for line in understand(asked).first_lines)
    assert "its time is of 7 objects an image, the data has 2" in said
