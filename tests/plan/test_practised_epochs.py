"""How long detectors are trained where nothing is asked, and by which software."""

import pytest

from planner.plan.inputs.of_its_day import stack_lines
from planner.plan.inputs.practice import practice
from planner.plan.inputs.problem import understand
from planner.question import Question


def asked(model, **fields):
    problem = understand(Question(model=model, samples=2000, gpu="t4", **fields))
    return problem.question, problem.facts, problem.data


def made(model, strategy, **fields):
    question, facts, data = asked(model, **fields)
    return practice(question, facts, data, strategy, question.task or facts.task)


@pytest.mark.parametrize(
    ("model", "strategy", "epochs", "source"),
    [
        ("yolo:yolov8n", "fine_tune", 100, "ultralytics"),
        ("yolo:yolov8n", "feature_extraction", 100, "ultralytics"),
        ("yolo:yolov8n", "scratch", 300, "YOLOv5"),
        ("facebook/detr-resnet-50", "fine_tune", 100, "huggingface/transformers"),
        ("facebook/detr-resnet-50", "scratch", 300, "facebookresearch/detr"),
        ("torchvision:fasterrcnn_resnet50_fpn", "fine_tune", 26, "pytorch/vision"),
        ("torchvision:fasterrcnn_resnet50_fpn", "lora", 26, "pytorch/vision"),
        ("timm:resnet50", "fine_tune", 10, "our choice"),
        ("timm:resnet50", "feature_extraction", 10, "Kumar"),
    ],
)
def test_epochs_are_those_of_practice(model, strategy, epochs, source):
    found = made(model, strategy)
    assert found.epochs == epochs
    assert source in found.epochs_filled.source
    assert not any("times over" in line.text for line in found.lines)  # no odd recipe


def test_what_is_asked_wins():
    assert made("yolo:yolov8n", "fine_tune", epochs=7).epochs == 7


@pytest.mark.parametrize(
    ("model", "script"),
    [
        ("yolo:yolov8n", "Ultralytics' own trainer"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision's references/detection/train.py"),
        ("torchvision:resnet50", "torchvision's references/classification/train.py"),
        ("timm:resnet50", "timm's train.py"),
        ("own:tabular-mlp", "a loop of its own"),
    ],
)
def test_the_software_is_the_library_s_own(model, script):
    question, facts, _ = asked(model)
    (line,) = stack_lines(question, facts)
    assert line.text.startswith(f"runs as {script}, its loop priced as that of Hugging Face")
    assert "fp32" not in line.text


def test_an_asked_stack_and_transformers_models_run_as_they_did():
    question, facts, _ = asked("yolo:yolov8n", stack="loop")
    assert stack_lines(question, facts)[0].text.startswith("runs as a plain loop of today")
    question, facts, _ = asked("facebook/detr-resnet-50")
    assert stack_lines(question, facts)[0].text.startswith("runs as Hugging Face Trainer of today")
