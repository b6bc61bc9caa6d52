"""Ultralytics' YOLO: parameters as its own files state them, its own loss traced, and names."""

import importlib.util
from typing import Any

import pytest

from planner.errors import ModelError
from planner.models.building.build import build
from planner.models.resolve import resolve
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

needs_ultralytics = pytest.mark.skipif(
    not importlib.util.find_spec("ultralytics"), reason="needs ultralytics"
)
#: The comments of ultralytics 8.4 cfg/models/v8/yolov8.yaml and 11/yolo11.yaml.
PUBLISHED = {"yolov8n": (3157200, 3157184), "yolov8m": (25902640, 25902624)}
PUBLISHED |= {"yolo11n": (2624080, 2624064), "yolo11m": (20114688, 20114672)}


def test_a_name_says_which_yolo_it_is_and_its_licence():
    for name in ("yolo:yolov8n", "yolov8n", "yolo:yolo11s"):
        facts = resolve(name)
        assert facts.library == "ultralytics" and facts.task == "object_detection"
        said = " ".join(line.text for line in facts.first_lines if line.warning)
        assert "Ultralytics" in said and "AGPL-3.0" in said and "Apache-2.0" in said
    with pytest.raises(ModelError, match="unknown YOLO 'resnet'"):
        resolve("yolo:resnet")


@needs_ultralytics
@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_that_the_library_states(name):
    built = build(resolve(f"yolo:{name}"))
    parameters = list(built.module.named_parameters())
    trained = sum(p.numel() for n, p in parameters if n not in built.frozen)
    assert (sum(p.numel() for _, p in parameters), trained) == PUBLISHED[name]


@needs_ultralytics
def test_classes_are_the_questions():
    module: Any = build(resolve("yolo:yolov8n"), classes=3).module
    assert module.model[-1].nc == 3


@needs_ultralytics
def test_what_is_not_covered_is_said():
    with pytest.raises(ModelError, match="recorded, not run"):
        build(resolve("yolo:yolov8n"), device="cpu")
    with pytest.raises(ModelError, match="knows no model 'yolov7n'"):
        build(resolve("yolo:yolov7n"))


@needs_ultralytics
@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n"])
def test_a_step_is_traced_with_its_matching(name):
    facts = resolve(f"yolo:{name}")
    recipe = Recipe(
        strategy="fine_tune",
        task=facts.task,
        precision="amp_fp16",
        optimizer="sgd",
        attention="sdpa",
        gradient_checkpointing="none",
    )
    source = trace_for(facts, recipe)
    source.keep = False
    trace = source.at(B=16)
    ops = {trace.signatures[i].op for i in trace.op_signature}
    assert "planner.nonzero.default" in ops and "aten.convolution_backward.default" in ops
    assert any("400 anchor points" in text for text in trace.meta["assumptions"])


@needs_ultralytics
def test_a_size_that_its_stride_does_not_divide_is_refused():
    with pytest.raises(ModelError, match="stride of 32.*multiple of 32, such as 352"):
        build(resolve("yolov8n", offline=True), image_size=333)
